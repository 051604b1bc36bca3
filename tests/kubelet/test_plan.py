"""What a pod's worker decides, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keelback.api.core_v1 import Container as SpecContainer
from keelback.api.core_v1 import ContainerRestartRule, ContainerRestartRuleOnExitCodes, EphemeralContainer, Pod, PodSpec
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.cri.values import (
    Container,
    ContainerState,
    ContainerStatus,
    NamespaceMode,
    PodSandbox,
    PodSandboxStatus,
    SandboxState,
)
from keelback.kubelet.crash_loop import CrashLoop, after_start, go_duration, waits_until
from keelback.kubelet.observed import HASH_ANNOTATION, PodRuntime
from keelback.kubelet.plan import ProbeResults, container_hash, plan

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECOND = 1_000_000_000


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


def a_pod(*main: str, init=(), sidecars=(), restart_policy="Always", **spec):
    return Pod(
        metadata=ObjectMeta(name="web", namespace="default", uid="u1"),
        spec=PodSpec(
            containers=tuple(SpecContainer(name=name, image=f"{name}:1") for name in main),
            init_containers=(
                *(SpecContainer(name=name, image=f"{name}:1", restart_policy="Always") for name in sidecars),
                *(SpecContainer(name=name, image=f"{name}:1") for name in init),
            ),
            restart_policy=restart_policy,
            **spec,
        ),
    )


def a_sandbox(identity="s0", *, attempt=0, state=SandboxState.READY, ips=("10.0.0.2",), network=NamespaceMode.POD):
    return PodSandboxStatus(
        PodSandbox(identity, "web", "default", "u1", attempt, state, created_at=attempt + 1), ips, network
    )


def running(name, *, attempt=0, sandbox="s0", image=None):
    digest = container_hash(SpecContainer(name=name, image=image or f"{name}:1"))
    return ContainerStatus(
        Container(
            f"{name}-{attempt}",
            sandbox,
            name,
            attempt,
            ContainerState.RUNNING,
            attempt + 1,
            annotations={HASH_ANNOTATION: digest},
        ),
        started_at=nanoseconds(NOW - timedelta(minutes=1)),
    )


def exited(name, code=0, *, attempt=0, sandbox="s0", ended=NOW):
    return ContainerStatus(
        Container(f"{name}-{attempt}", sandbox, name, attempt, ContainerState.EXITED, attempt + 1),
        finished_at=nanoseconds(ended),
        exit_code=code,
    )


def observed(*containers, sandboxes=None):
    return PodRuntime("u1", (a_sandbox(),) if sandboxes is None else tuple(sandboxes), tuple(containers))


def started(actions):
    return [(one.name, one.attempt) for one in actions.start]


def test_a_new_pod_gets_a_sandbox_and_all_its_containers():
    actions = plan(a_pod("a", "b"), PodRuntime("u1"), NOW)
    assert actions.create_sandbox
    assert not actions.kill_pod
    assert started(actions) == [("a", 0), ("b", 0)]


def test_a_new_pod_with_init_containers_starts_only_the_first():
    assert started(plan(a_pod("a", init=("i", "j")), PodRuntime("u1"), NOW)) == [("i", 0)]


def test_a_pod_that_runs_is_left_alone():
    assert plan(a_pod("a", "b"), observed(running("a"), running("b")), NOW).is_nothing


def test_init_containers_run_one_after_the_other():
    pod = a_pod("a", init=("i", "j"))
    assert plan(pod, observed(running("i")), NOW).is_nothing
    assert started(plan(pod, observed(exited("i")), NOW)) == [("j", 0)]
    assert started(plan(pod, observed(exited("j"), exited("i")), NOW)) == [("a", 0)]


def test_a_failed_init_container_is_tried_again_unless_the_policy_is_never():
    assert started(plan(a_pod("a", init=("i",)), observed(exited("i", 1)), NOW)) == [("i", 1)]
    actions = plan(a_pod("a", init=("i",), restart_policy="Never"), observed(exited("i", 1)), NOW)
    assert actions.kill_pod
    assert not actions.create_sandbox


def test_init_containers_do_not_run_again_when_a_main_container_restarts():
    assert started(plan(a_pod("a", init=("i",)), observed(exited("a", 1)), NOW)) == [("a", 1)]


def test_a_sidecar_starts_before_the_main_containers_and_is_kept_running():
    pod = a_pod("a", sidecars=("s",))
    assert started(plan(pod, PodRuntime("u1"), NOW)) == [("s", 0)]
    assert started(plan(pod, observed(running("s")), NOW)) == [("a", 0)]
    waiting = ProbeResults(not_started=frozenset({"s-0"}))
    assert plan(pod, observed(running("s")), NOW, waiting).is_nothing
    assert started(plan(pod, observed(exited("s"), running("a")), NOW)) == [("s", 1)]


def test_sidecars_go_when_the_main_containers_have_ended():
    pod = a_pod("a", sidecars=("s",), restart_policy="Never")
    assert plan(pod, observed(running("s"), exited("a")), NOW).kill_pod


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides(policy, code, restarts):
    actions = plan(a_pod("a", "b", restart_policy=policy), observed(exited("a", code), running("b")), NOW)
    assert started(actions) == ([("a", 1)] if restarts else [])
    assert not actions.kill_pod


@pytest.mark.parametrize("policy", ["OnFailure", "Never"])
def test_a_pod_whose_containers_have_all_ended_is_killed_for_good(policy):
    actions = plan(a_pod("a", restart_policy=policy), observed(exited("a")), NOW)
    assert actions.kill_pod
    assert not actions.create_sandbox
    assert not actions.start


def test_a_container_may_have_a_policy_and_rules_of_its_own():
    rule = ContainerRestartRule(
        action="Restart", exit_codes=ContainerRestartRuleOnExitCodes(operator="In", values=(42,))
    )
    one = SpecContainer(name="a", image="a:1", restart_policy="Never", restart_policy_rules=(rule,))
    pod = a_pod("b")
    pod = replace(pod, spec=replace(pod.spec, containers=(one, *pod.spec.containers)))
    assert started(plan(pod, observed(exited("a", 42), running("b")), NOW)) == [("a", 1)]
    assert started(plan(pod, observed(exited("a", 1), running("b")), NOW)) == []


def test_a_container_whose_image_changed_is_killed_to_be_started_again():
    actions = plan(a_pod("a"), observed(running("a", image="a:0")), NOW)
    assert [one.container_id for one in actions.kill] == ["a-0"]
    assert actions.kill[0].message == "Container a definition changed, will be restarted"


def test_a_failed_liveness_probe_kills():
    actions = plan(a_pod("a"), observed(running("a")), NOW, ProbeResults(liveness_failed=frozenset({"a-0"})))
    assert actions.kill[0].message == "Container a failed liveness probe, will be restarted"
    assert actions.kill[0].cause == "liveness"


def test_a_dead_sandbox_is_replaced_with_all_that_was_in_it():
    dead = a_sandbox(state=SandboxState.NOT_READY, ips=())
    actions = plan(a_pod("a", init=("i",)), observed(exited("a", 255), exited("i"), sandboxes=[dead]), NOW)
    assert actions.kill_pod
    assert actions.create_sandbox
    assert actions.sandbox_attempt == 1
    assert started(actions) == [("i", 1)]


def test_containers_of_an_earlier_sandbox_are_history():
    sandboxes = [a_sandbox("s1", attempt=1), a_sandbox("s0", state=SandboxState.NOT_READY)]
    actions = plan(a_pod("a"), observed(exited("a", 255, sandbox="s0"), sandboxes=sandboxes), NOW)
    assert started(actions) == [("a", 1)]


def test_a_sandbox_that_died_ends_a_pod_that_never_restarts():
    dead = a_sandbox(state=SandboxState.NOT_READY, ips=())
    actions = plan(a_pod("a", restart_policy="Never"), observed(exited("a", 255), sandboxes=[dead]), NOW)
    assert actions.kill_pod
    assert not actions.create_sandbox


def test_an_ephemeral_container_is_started_once():
    pod = a_pod("a", ephemeral_containers=(EphemeralContainer(name="debug", image="busybox"),))
    assert started(plan(pod, observed(running("a")), NOW)) == [("debug", 0)]
    assert plan(pod, observed(exited("debug"), running("a")), NOW).is_nothing


def test_a_crash_loop_waits_and_says_until_when():
    loops = {"a": CrashLoop(timedelta(seconds=20), NOW)}
    actions = plan(a_pod("a"), observed(exited("a", 1)), NOW + timedelta(seconds=5), crash_loops=loops)
    assert not actions.start
    assert not actions.kill_pod
    assert actions.wait[0].until == NOW + timedelta(seconds=20)
    later = plan(a_pod("a"), observed(exited("a", 1)), NOW + timedelta(seconds=20), crash_loops=loops)
    assert started(later) == [("a", 1)]


def test_a_pod_being_deleted_starts_nothing_again():
    pod = a_pod("a", "b")
    pod = replace(pod, metadata=replace(pod.metadata, deletion_timestamp=NOW))
    assert not plan(pod, observed(exited("a"), running("b")), NOW).start


def test_the_back_off_doubles_to_five_minutes_and_is_forgotten_after_ten():
    entry, delays = None, []
    for turn in range(7):
        ended = NOW + timedelta(seconds=turn)
        entry = after_start(entry, ended, ended)
        delays.append(go_duration(entry.delay))
    assert delays == ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]
    assert waits_until(entry, NOW + timedelta(seconds=60), NOW + timedelta(seconds=61)) is not None
    long_after = NOW + timedelta(minutes=11)
    assert waits_until(entry, long_after, long_after) is None
    assert after_start(entry, long_after, long_after).delay == timedelta(seconds=10)
