"""A pod's worker on the fake runtime: what becomes of a pod in the runtime and in the API."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keelback.api.core_v1 import (
    ConfigMap,
    ConfigMapVolumeSource,
    Container,
    ContainerResizePolicy,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    ExecAction,
    ObjectFieldSelector,
    Probe,
    ResourceRequirements,
    Volume,
    VolumeMount,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.testing.scripts import Script


def test_a_pod_runs_and_becomes_ready(scenario, make_pod):
    async def body(world):
        world.work(make_pod())
        await world.until(world.is_ready)
        assert world.status.phase == "Running"
        assert world.status.pod_ip
        assert world.container().container_id.startswith("fake://")
        assert world.reasons() == ["Pulling", "Pulled", "Created", "Started"]

    scenario(body)


def test_init_containers_come_first_and_sidecars_stay(scenario, make_pod):
    async def body(world):
        world.runtime.scripts["prepare"] = Script(run_seconds=0)
        init = (
            Container(name="proxy", image="db:1", restart_policy="Always"),
            Container(name="prepare", image="db:1"),
        )
        world.work(make_pod(init_containers=init))
        await world.until(world.is_ready)
        assert world.runtime.running() == ["proxy", "web"]
        assert world.container("prepare").state.terminated.reason == "Completed"

    scenario(body)


def test_a_container_that_crashes_again_waits_ten_seconds(scenario, make_pod):
    async def body(world):
        worker = world.work(make_pod())
        for _ in range(2):
            await world.until(world.is_ready)
            world.runtime.end(worker.observed.containers[0].container.id, 3, "Error")
            await world.until(lambda: not world.is_ready())
        await world.until(lambda: world.waits_for("CrashLoopBackOff"))
        assert world.container().last_state.terminated.exit_code == 3
        assert "back-off 10s restarting failed container=web pod=web_default(uid-web)" in (
            world.container().state.waiting.message
        )
        assert ("Warning", "BackOff") in [event[:2] for event in world.events]
        world.clock.advance(11)
        await world.until(world.is_ready)
        assert world.container().restart_count == 2

    scenario(body)


def test_a_back_off_is_told_again_every_ten_to_fifteen_seconds(scenario, make_pod):
    async def body(world):
        worker = world.work(make_pod())
        for _ in range(3):
            await world.until(world.is_ready, advance=1)
            world.runtime.end(worker.observed.containers[0].container.id, 3, "Error")
            await world.until(lambda: not world.is_ready())
        # Ten seconds once, then twenty.
        began, told = world.clock.monotonic(), world.reasons().count("BackOff")
        await world.until(world.is_ready, advance=0.5)
        waited = world.clock.monotonic() - began
        again = world.reasons().count("BackOff") - told
        assert waited / 15 - 1 <= again <= waited / 10 + 1

    scenario(body)


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (4, "Failed", "Error")])
def test_a_pod_that_never_restarts_ends_as_its_containers_do(scenario, make_pod, code, phase, reason):
    async def body(world):
        world.runtime.scripts["web"] = Script(run_seconds=0, exit_code=code)
        world.work(make_pod(restart_policy="Never"))
        await world.until(lambda: world.status and world.status.phase == phase)
        assert world.container().state.terminated.exit_code == code
        assert world.container().state.terminated.reason == reason

    scenario(body)


def test_an_image_that_cannot_be_pulled_backs_off_and_comes(scenario, make_pod):
    async def body(world):
        world.work(make_pod(Container(name="web", image="missing:1")))
        await world.until(lambda: world.waits_for("ErrImagePull"))
        await world.until(lambda: world.waits_for("ImagePullBackOff"), advance=0.5)
        assert 'Back-off pulling image "missing:1"' in [message for _, _, message in world.events]
        world.runtime.pullable.add("missing:1")
        await world.until(world.is_ready, advance=1)

    scenario(body)


def test_a_pull_policy_of_never_says_so(scenario, make_pod):
    async def body(world):
        world.work(make_pod(Container(name="web", image="web:1", image_pull_policy="Never")))
        await world.until(lambda: world.waits_for("ErrImageNeverPull"))
        assert world.container().state.waiting.message == (
            'Container image "web:1" is not present with pull policy of Never'
        )

    scenario(body)


def test_a_missing_config_map_holds_the_pod_until_it_is_there(scenario, make_pod):
    async def body(world):
        container = Container(
            name="web", image="web:1", volume_mounts=(VolumeMount(name="config", mount_path="/etc/app"),)
        )
        volume = Volume(name="config", config_map=ConfigMapVolumeSource(name="settings"))
        worker = world.work(make_pod(container, volumes=(volume,)))
        await world.until(lambda: "FailedMount" in world.reasons())
        assert world.events[-1][2] == ('MountVolume.SetUp failed for volume "config" : configmap "settings" not found')
        held = ConfigMap(metadata=ObjectMeta(name="settings"), data={"mode": "fast"})
        world.objects.held[ConfigMap, "settings"] = held
        await world.until(world.is_ready, advance=1)
        config = world.runtime.container_config(worker.observed.containers[0].container.id)
        mount = next(one for one in config.mounts if one.container_path == "/etc/app")
        assert (world.root / mount.host_path / "mode").read_text() == "fast"

    scenario(body)


def test_a_failing_liveness_probe_restarts_the_container(scenario, make_pod):
    async def body(world):
        probe = Probe(exec=ExecAction(command=("false",)), period_seconds=1, failure_threshold=2)
        world.work(make_pod(Container(name="web", image="web:1", liveness_probe=probe)))
        await world.until(lambda: world.status and world.container().restart_count == 1, advance=0.5)
        assert "Container web failed liveness probe, will be restarted" in [event[2] for event in world.events]
        assert "Unhealthy" in world.reasons()

    scenario(body)


def test_a_failing_probe_complains_once_a_period(scenario, make_pod):
    async def body(world):
        probe = Probe(exec=ExecAction(command=("false",)), period_seconds=10)
        world.work(make_pod(Container(name="web", image="web:1", readiness_probe=probe)))
        await world.until(lambda: world.reasons().count("Unhealthy") == 4, advance=0.5)
        assert world.clock.monotonic() >= 27

    scenario(body)


def test_a_readiness_probe_decides_about_ready_and_restarts_nothing(scenario, make_pod):
    async def body(world):
        probe = Probe(exec=ExecAction(command=("false",)), period_seconds=1)
        world.work(make_pod(Container(name="web", image="web:1", readiness_probe=probe)))
        await world.until(lambda: world.reasons().count("Unhealthy") >= 4, advance=0.5)
        assert not world.is_ready()
        assert world.container().restart_count == 0
        ready = next(one for one in world.status.conditions if one.type == "Ready")
        assert ready.message == "containers with unready status: [web]"

    scenario(body)


def test_readiness_is_not_asked_about_before_its_initial_delay(scenario, make_pod):
    async def body(world):
        probe = Probe(exec=ExecAction(command=("true",)), initial_delay_seconds=30, period_seconds=5)
        world.work(make_pod(Container(name="web", image="web:1", readiness_probe=probe)))
        await world.until(lambda: world.status and world.container().started, advance=0.1)
        started = world.clock.monotonic()
        await world.until(world.is_ready, advance=0.5)
        # The first probe comes at a random moment of a period; each step of the clock may be half a second too long.
        assert 30 <= world.clock.monotonic() - started <= 37
        assert world.container().restart_count == 0

    scenario(body)


def test_each_failing_liveness_probe_counts_one_more_restart(scenario, make_pod):
    async def body(world):
        probe = Probe(exec=ExecAction(command=("false",)), period_seconds=1, failure_threshold=1)
        world.work(make_pod(Container(name="web", image="web:1", liveness_probe=probe)))
        counts = [0]

        def has_restarted_five_times():
            if world.status and world.status.container_statuses:
                counts.append(world.container().restart_count)
            return counts[-1] == 5

        await world.until(has_restarted_five_times, advance=2)
        assert sorted(counts) == counts
        assert set(counts) == set(range(6))

    scenario(body)


def test_a_deleted_pod_leaves_nothing(scenario, make_pod):
    async def body(world):
        container = Container(name="web", image="web:1", volume_mounts=(VolumeMount(name="m", mount_path="/m"),))
        memory = Volume(name="m", empty_dir=EmptyDirVolumeSource(medium="Memory"))
        worker = world.work(make_pod(container, volumes=(memory,)))
        await world.until(world.is_ready)
        assert world.mounter.mounted
        world.delete(worker)
        await world.until(lambda: world.removed, advance=1)
        assert world.gone == ["uid-web"]
        assert not world.mounter.mounted
        assert not await world.runtime.list_pod_sandboxes()
        assert not list((world.root / "kubelet" / "pods").iterdir())
        assert not list((world.root / "pods").iterdir())
        assert not list((world.root / "containers").iterdir())

    scenario(body)


def test_deletion_breaks_off_what_is_under_way(scenario, make_pod):
    async def body(world):
        worker = world.work(make_pod(Container(name="web", image="missing:1")))
        await world.until(lambda: world.waits_for("ErrImagePull"))
        world.delete(worker)
        await world.until(lambda: world.removed)

    scenario(body)


def test_a_container_that_was_only_created_does_not_hold_up_deletion(scenario, make_pod):
    async def body(world):
        world.runtime.scripts["web"] = Script(start_seconds=3600)
        worker = world.work(make_pod())
        await world.until(lambda: "Created" in world.reasons())
        world.delete(worker)
        await world.until(lambda: world.removed)
        assert "Killing" not in world.reasons()
        assert not await world.runtime.list_containers()

    scenario(body)


def test_a_second_kubelet_adopts_what_runs(scenario, make_pod):
    async def body(world):
        first = world.work(make_pod())
        await world.until(world.is_ready)
        before = first.observed.containers[0].container.id
        world.stop()
        told = replace(make_pod(), status=world.status)
        world.status = None
        second = world.work(told)
        await world.until(world.is_ready)
        assert [one.container.id for one in second.observed.containers] == [before]
        assert world.container().restart_count == 0

    scenario(body)


def test_a_sandbox_that_dies_is_replaced(scenario, make_pod):
    async def body(world):
        worker = world.work(make_pod())
        await world.until(world.is_ready)
        old = worker.observed.sandbox.sandbox.id
        world.runtime.end_sandbox(old)
        worker.wake()
        await world.until(lambda: world.is_ready() and worker.observed.sandbox.sandbox.id != old, advance=1)
        assert "SandboxChanged" in world.reasons()
        assert world.container().restart_count == 1

    scenario(body)


def test_the_active_deadline_ends_the_pod(scenario, make_pod):
    async def body(world):
        world.work(make_pod(active_deadline_seconds=60, termination_grace_period_seconds=1))
        await world.until(world.is_ready)
        world.clock.advance(timedelta(minutes=2).total_seconds())
        await world.until(lambda: world.status.phase == "Failed", advance=1)
        assert world.status.reason == "DeadlineExceeded"
        assert not world.runtime.running()

    scenario(body)


@pytest.mark.parametrize("policy", ["NotRequired", "RestartContainer"])
def test_resources_change_in_place_unless_a_restart_is_asked_for(scenario, make_pod, policy):
    def sized(limit):
        return Container(
            name="web",
            image="web:1",
            resources=ResourceRequirements(limits={"cpu": limit}),
            resize_policy=(ContainerResizePolicy(resource_name="cpu", restart_policy=policy),),
        )

    async def body(world):
        worker = world.work(make_pod(sized("100m")))
        await world.until(world.is_ready)
        first = world.container().container_id
        worker.update(make_pod(sized("300m")))
        await world.until(lambda: world.container().resources.limits == {"cpu": "300m"} and world.is_ready(), advance=1)
        latest = worker.observed.containers[0]
        if policy == "NotRequired":
            assert (world.container().container_id, latest.resources.cpu_quota) == (first, 30_000)
        else:
            await world.until(lambda: world.container().restart_count == 1 and world.is_ready(), advance=1)

    scenario(body)


def test_new_labels_are_shown_at_once(scenario, make_pod):
    async def body(world):
        items = (DownwardAPIVolumeFile(path="labels", field_ref=ObjectFieldSelector(field_path="metadata.labels")),)
        volume = Volume(name="about", downward_api=DownwardAPIVolumeSource(items=items))
        mount = VolumeMount(name="about", mount_path="/about")
        pod = make_pod(Container(name="web", image="web:1", volume_mounts=(mount,)), volumes=(volume,))
        worker = world.work(pod)
        await world.until(world.is_ready)
        worker.update(replace(pod, metadata=replace(pod.metadata, labels={"tier": "front"})))
        shown = world.node.volumes.pod_directory(pod.metadata.uid) / "volumes/kubernetes.io~downward-api/about/labels"
        await world.until(lambda: shown.read_text() == 'tier="front"')

    scenario(body)
