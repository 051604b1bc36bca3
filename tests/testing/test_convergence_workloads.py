"""Each rule for StatefulSets and DaemonSets sees what breaks it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keelback.testing.clock import HandClock
from keelback.testing.convergence_rules import broken_on_the_way
from keelback.testing.convergence_workloads import miscounted
from keelback.testing.faults import Asked
from keelback.testing.recording import Recording, Write

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
_MANAGER = "kube-controller-manager"

Tree = dict[str, Any]


def _set(kind: str, **spec: Any) -> Tree:
    return {"kind": kind, "metadata": {"name": "s", "uid": "s", "generation": 1}, "spec": spec, "status": {}}


def _pod(name: str, node: str = "", *, ready: bool = True, owner: str = "s") -> Tree:
    references = [{"uid": owner, "controller": True}] if owner else []
    metadata = {"name": name, "uid": name, "ownerReferences": references}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": _READY if ready else {"phase": "Pending"}}


def _made(resource: str, *trees: Tree) -> list[Write]:
    return [Write(_NOW, f"/registry/{resource}/default/{one['metadata']['name']}", None, one) for one in trees]


def _gone(pod: Tree, seconds: float = 1) -> Write:
    return Write(_NOW + timedelta(seconds=seconds), f"/registry/pods/default/{pod['metadata']['name']}", pod, None)


def _broken(writes: list[Write], deleter: str) -> list[str]:
    asked = [
        Asked(one.at, f"{_MANAGER}/{deleter}", "delete", "pods", "default", one.key.rpartition("/")[2], "", 200)
        for one in writes
        if one.after is None
    ]
    return broken_on_the_way(Recording(HandClock(), writes, asked))


def test_a_stateful_set_that_is_updated_by_more_than_one_pod_at_a_time() -> None:
    pods = [_pod(f"s-{number}") for number in range(3)]
    begun = [*_made("statefulsets", _set("StatefulSet", replicas=3)), *_made("pods", *pods)]
    once = [*begun, _gone(pods[2])]
    twice = [*once, _gone(pods[1], 2)]
    assert _broken(once, "statefulset-controller") == []
    assert "1 of 3 are left" in _broken(twice, "statefulset-controller")[0]
    # Others may: an eviction asks nobody's update.
    assert _broken(twice, "node-controller") == []


def test_a_pod_of_an_ordered_set_that_does_not_wait_for_those_before_it() -> None:
    begun = _made("statefulsets", _set("StatefulSet", replicas=3))
    parallel = _made("statefulsets", _set("StatefulSet", replicas=3, podManagementPolicy="Parallel"))
    well = _made("pods", _pod("s-0"), _pod("s-1", ready=False))
    badly = _made("pods", _pod("s-0", ready=False), _pod("s-1", ready=False))
    assert _broken([*begun, *well], "") == []
    assert "made before [0]" in _broken([*begun, *badly], "")[0]
    assert _broken([*parallel, *badly], "") == []


def test_a_daemon_set_that_leaves_more_nodes_without_than_it_may() -> None:
    nodes = [{"metadata": {"name": f"n-{number}"}} for number in range(3)]
    pods = [_pod(f"s-{number}", f"n-{number}") for number in range(3)]
    begun = [*_made("minions", *nodes), *_made("daemonsets", _set("DaemonSet")), *_made("pods", *pods)]
    twice = [*begun, _gone(pods[0]), _gone(pods[1], 2)]
    replaced = [*begun, _gone(pods[0]), *_made("pods", _pod("s-3", "n-0")), _gone(pods[1], 2)]
    assert _broken(twice[:-1], "daemon-set-controller") == []
    assert "1 of 3 are left" in _broken(twice, "daemon-set-controller")[0]
    assert _broken(replaced, "daemon-set-controller") == []


def test_a_lost_node_counts_for_a_daemon_set_as_long_as_it_has_a_pod() -> None:
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
    nodes = [{"metadata": {"name": name}} for name in ("a", "b")]
    nodes.append({"metadata": {"name": "lost"}, "spec": {"taints": [taint]}})
    pods = [_pod("s-a", "a"), _pod("s-b", "b")]
    begun = [*_made("minions", *nodes), *_made("daemonsets", _set("DaemonSet")), *_made("pods", *pods)]
    assert _broken([*begun, _gone(pods[0])], "daemon-set-controller") == []
    starting = _made("pods", _pod("s-lost", "lost", ready=False))
    assert "1 of 3 are left" in _broken([*begun, *starting, _gone(pods[0])], "daemon-set-controller")[0]


def test_workloads_that_do_not_say_what_they_have_and_pods_of_nobody() -> None:
    workload = _set("StatefulSet", replicas=1) | {"status": {"replicas": 1, "readyReplicas": 1}}
    pods = [_pod("s-0"), _pod("s-1")]
    held = {one.key: one.after for one in [*_made("statefulsets", workload), *_made("pods", *pods)] if one.after}
    assert list(miscounted({key: held[key] for key in list(held)[:2]})) == []
    assert "where there are {'replicas': 2" in next(iter(miscounted(held)))
    lonely = {one.key: one.after for one in _made("pods", _pod("p", owner="")) if one.after}
    assert list(miscounted(lonely)) == ["pods/p belongs to nobody"]
    daemons = _set("DaemonSet") | {"status": {"currentNumberScheduled": 2, "numberReady": 2}}
    twice = [*_made("daemonsets", daemons), *_made("pods", _pod("a", "n-0"), _pod("b", "n-0"))]
    assert list(miscounted({one.key: one.after for one in twice if one.after})) == [
        "daemonsets/s has more than one pod on ['n-0']"
    ]
