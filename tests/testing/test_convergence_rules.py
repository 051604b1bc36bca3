"""Each rule sees what breaks it: a rule that nothing breaks would say nothing of a cluster that keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keelback.testing.clock import HandClock
from keelback.testing.convergence_rules import broken_at_rest, broken_on_the_way
from keelback.testing.faults import Asked
from keelback.testing.recording import Recording, Write

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_READY = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}


def _recording(*writes: Write, asked: tuple[Asked, ...] = ()) -> Recording:
    return Recording(HandClock(), list(writes), list(asked))


def _write(key: str, after: dict[str, Any] | None, before: dict[str, Any] | None = None, seconds: float = 0) -> Write:
    return Write(_NOW + timedelta(seconds=seconds), f"/registry/{key}", before, after)


def _object(uid: str, owner: str = "", kind: str = "Deployment", **parts: Any) -> dict[str, Any]:
    references = [{"uid": owner, "kind": kind, "name": owner, "controller": True}] if owner else []
    metadata = {"name": uid, "namespace": "default", "uid": uid, "ownerReferences": references}
    return {"metadata": metadata | parts.pop("metadata", {}), **parts}


def _deployment(replicas: int) -> dict[str, Any]:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    return _object("d", metadata={"generation": 1}, spec={"replicas": replicas, "strategy": strategy})


def _replica_set(uid: str, replicas: int, available: int = 0) -> dict[str, Any]:
    return _object(uid, "d", spec={"replicas": replicas}, status={"availableReplicas": available})


def _asked(client: str, verb: str, resource: str, name: str, status: int) -> Asked:
    return Asked(_NOW, client, verb, resource, "default", name, "", status)


def test_more_pods_than_a_deployments_surge_allows() -> None:
    begun = (_write("deployments/default/d", _deployment(3)), _write("replicasets/default/old", _replica_set("old", 3)))
    well = _write("replicasets/default/new", _replica_set("new", 1))
    badly = _write("replicasets/default/new", _replica_set("new", 2))
    assert broken_on_the_way(_recording(*begun, well)) == []
    assert "5 where 4 may be" in broken_on_the_way(_recording(*begun, badly))[0]


def test_fewer_pods_than_a_deployment_must_keep() -> None:
    old = _replica_set("old", 3, available=3)
    begun = (_write("deployments/default/d", _deployment(3)), _write("replicasets/default/old", old))
    well = _write("replicasets/default/old", _replica_set("old", 2, available=3), old)
    badly = _write("replicasets/default/old", _replica_set("old", 1, available=3), old)
    assert broken_on_the_way(_recording(*begun, well)) == []
    assert "1 are left where 2 must be" in broken_on_the_way(_recording(*begun, badly))[0]


def test_a_job_that_counts_a_pod_twice_or_forgets_one() -> None:
    pod = _object("p", "j", "Job", status={"phase": "Succeeded"})
    jobs = [_object("j", spec={}, status={"succeeded": number}) for number in (1, 2, 0)]
    begun = (_write("pods/default/p", pod), _write("jobs/default/j", jobs[0]))
    assert broken_on_the_way(_recording(*begun)) == []
    assert (
        "counts 2 succeeded where 1 have been"
        in broken_on_the_way(_recording(*begun, _write("jobs/default/j", jobs[1], jobs[0])))[0]
    )
    assert (
        "counted 1 succeeded, and now 0"
        in broken_on_the_way(_recording(*begun, _write("jobs/default/j", jobs[2], jobs[0])))[0]
    )


def test_an_eviction_that_leaves_fewer_than_the_budget_says() -> None:
    pods = [_object(f"guarded-{number}", status=_READY) for number in range(4)]
    made = [_write(f"pods/default/guarded-{number}", pod) for number, pod in enumerate(pods)]
    asked = tuple(_asked("keelback-test", "create", "pods/eviction", f"guarded-{number}", 201) for number in range(2))
    gone = [_write(f"pods/default/guarded-{number}", None, pods[number]) for number in range(2)]
    assert broken_on_the_way(_recording(*made, gone[0], asked=asked)) == []
    assert "2 are left" in broken_on_the_way(_recording(*made, *gone, asked=asked))[0]
    waiting = _object("guarded-1", status={"phase": "Pending"})
    never_ran = [_write("pods/default/guarded-1", waiting), _write("pods/default/guarded-1", None, waiting)]
    assert broken_on_the_way(_recording(made[0], *never_ran, made[2], made[3], asked=asked)) == []


def test_what_the_garbage_collector_takes_from_an_owner_that_stays() -> None:
    owned = _object("rs", "d")
    made = (_write("deployments/default/d", _deployment(1)), _write("configmaps/default/rs", owned))
    gone = _write("configmaps/default/rs", None, owned)
    collector = _asked("kube-controller-manager/generic-garbage-collector", "delete", "configmaps", "rs", 200)
    person = _asked("keelback-test", "delete", "configmaps", "rs", 200)
    assert "was collected though" in broken_on_the_way(_recording(*made, gone, asked=(collector,)))[0]
    assert broken_on_the_way(_recording(*made, gone, asked=(person,))) == []
    # It may have come to ask for what an eviction had begun a moment before.
    eviction = _asked("keelback-test", "create", "pods/eviction", "rs", 201)
    assert broken_on_the_way(_recording(*made, gone, asked=(eviction, collector))) == []
    left = _write("deployments/default/d", None, _deployment(1))
    assert broken_on_the_way(_recording(*made, left, gone, asked=(collector,))) == []


def test_a_pod_more_than_a_quota_allows() -> None:
    quota = _write("resourcequotas/limited/pods", _object("q", status={"used": {}}))
    made = [_write(f"pods/limited/{number}", _object(str(number), status={})) for number in range(6)]
    assert broken_on_the_way(_recording(quota, *made[:5])) == []
    assert "6 pods where a quota allows 5" in broken_on_the_way(_recording(quota, *made))[0]


def test_two_controllers_and_a_claim_that_changes_its_volume() -> None:
    pod = _object("p", "j")
    pod["metadata"]["ownerReferences"] *= 2
    claims = [_object("c", spec={"volumeName": name}) for name in ("one", "two")]
    assert "two controllers" in broken_on_the_way(_recording(_write("pods/default/p", pod)))[0]
    assert (
        "bound to one, and now to two"
        in broken_on_the_way(_recording(_write("persistentvolumeclaims/default/c", claims[1], claims[0])))[0]
    )


def test_what_is_left_over_at_rest() -> None:
    held = {
        "/registry/pods/default/p": _object("p", "gone", metadata={"finalizers": ["f"], "deletionTimestamp": "t"}),
        "/registry/jobs/default/j": _object(
            "j",
            spec={"completions": 2},
            status={"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
        ),
        "/registry/services/specs/default/s": _object("s", spec={"selector": {"a": "b"}}),
        "/registry/pods/default/q": _object("q", metadata={"labels": {"a": "b"}}, status=_READY),
        "/registry/resourcequotas/default/r": _object("r", status={"used": {"pods": "7", "count/jobs.batch": "1"}}),
        "/registry/poddisruptionbudgets/default/b": _object(
            "b", spec={"selector": {"matchLabels": {"a": "b"}}}, status={"currentHealthy": 2}
        ),
        "/registry/persistentvolumeclaims/default/c": _object("c", spec={}, status={"phase": "Pending"}),
    }
    broken = "\n".join(broken_at_rest(held))
    for said in ("orphan", "does not go", "never counted", "1 of 2", "in its slices", "a quota says", "2", "Pending"):
        assert said in broken
    assert "where 1 are healthy" in broken
    assert broken_at_rest({}) == []
