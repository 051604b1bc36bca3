"""The contract of a container runtime: one suite, every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from keelback.bootstrap import sample
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError, DeadlineExceeded, NotFound
from keelback.cri.values import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventType,
    ContainerState,
    ImageSpec,
    LinuxResources,
    NamespaceMode,
    NamespaceOptions,
    PodSandboxConfig,
    SandboxSecurityContext,
    SandboxState,
)

IMAGE = ImageSpec(sample.IMAGE)
FOREVER = ("/usr/local/bin/serve",)


class World(Protocol):
    logs: Path
    logs_inside: str
    cgroup_parent: str

    def run(self, scenario: object) -> None: ...


def pod(world: World, name: str = "web", **changes: object) -> PodSandboxConfig:
    settings: dict[str, object] = {
        "namespace": "default",
        "uid": f"uid-{name}",
        "hostname": name,
        "labels": {"app": name},
        "log_directory": f"{world.logs_inside}/{name}",
        "cgroup_parent": f"{world.cgroup_parent}/pod{name}",
        **changes,
    }
    return PodSandboxConfig(name, **settings)  # type: ignore[arg-type]


async def make(
    runtime: ContainerRuntime, config: PodSandboxConfig, *command: str, name: str = "main", attempt: int = 0
) -> tuple[str, str]:
    """A sandbox with one container, made and not started."""
    sandbox_id = await runtime.run_pod_sandbox(config)
    container = ContainerConfig(name, IMAGE, attempt=attempt, command=command or FOREVER, labels={"of": config.name})
    return sandbox_id, await runtime.create_container(sandbox_id, container, config)


# The suite looks on from outside, as a node does: an end of a real process is found by asking again.
async def ended(runtime: ContainerRuntime, container_id: str) -> None:
    while (await runtime.container_status(container_id)).container.state is not ContainerState.EXITED:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_it_says_what_it_is_and_that_it_is_ready(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        assert (await runtime.version()).api_version
        assert {condition.type: condition.status for condition in await runtime.conditions()} == {
            "RuntimeReady": True,
            "NetworkReady": True,
        }

    world.run(scenario)


def test_a_sandbox_has_an_address_until_it_is_stopped(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        config = pod(world, annotations={"a": "b"})
        sandbox_id = await runtime.run_pod_sandbox(config)
        status = await runtime.pod_sandbox_status(sandbox_id)
        assert status.sandbox.state is SandboxState.READY
        assert [ip.startswith("10.244.") for ip in status.ips] == [True]
        assert (status.sandbox.name, status.sandbox.uid) == ("web", "uid-web")
        assert dict(status.sandbox.annotations) == {"a": "b"}
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        stopped = await runtime.pod_sandbox_status(sandbox_id)
        assert stopped.sandbox.state is SandboxState.NOT_READY
        await runtime.remove_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
        with pytest.raises(NotFound):
            await runtime.pod_sandbox_status(sandbox_id)

    world.run(scenario)


def test_a_pod_on_the_node_network_has_no_address_of_its_own(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        options = NamespaceOptions(network=NamespaceMode.NODE)
        config = pod(world, security_context=SandboxSecurityContext(options), hostname="")
        status = await runtime.pod_sandbox_status(await runtime.run_pod_sandbox(config))
        assert status.network is NamespaceMode.NODE
        assert status.ips == ()

    world.run(scenario)


def test_names_are_reserved_within_an_attempt(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        config = pod(world)
        sandbox_id, _ = await make(runtime, config)
        with pytest.raises(ContainerRuntimeError):
            await runtime.run_pod_sandbox(config)
        with pytest.raises(ContainerRuntimeError):
            await runtime.create_container(sandbox_id, ContainerConfig("main", IMAGE), config)
        await runtime.create_container(sandbox_id, ContainerConfig("main", IMAGE, attempt=1), config)

    world.run(scenario)


def test_lists_are_filtered_by_state_and_labels(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        one, first = await make(runtime, pod(world, "one"))
        two, second = await make(runtime, pod(world, "two"))
        await runtime.start_container(second)
        await runtime.stop_pod_sandbox(one)
        assert [item.id for item in await runtime.list_pod_sandboxes(state=SandboxState.READY)] == [two]
        assert [item.id for item in await runtime.list_pod_sandboxes(labels={"app": "one"})] == [one]
        assert [item.id for item in await runtime.list_pod_sandboxes(id=two)] == [two]
        assert {item.id for item in await runtime.list_containers()} == {first, second}
        assert [item.id for item in await runtime.list_containers(state=ContainerState.RUNNING)] == [second]
        assert [item.id for item in await runtime.list_containers(sandbox_id=one)] == [first]
        assert [item.id for item in await runtime.list_containers(labels={"of": "two"})] == [second]

    world.run(scenario)


def test_a_container_is_created_then_runs_then_has_ended(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        sandbox_id, container_id = await make(runtime, pod(world))
        created = await runtime.container_status(container_id)
        assert created.container.state is ContainerState.CREATED
        assert created.container.sandbox_id == sandbox_id
        assert created.started_at == 0
        await runtime.start_container(container_id)
        running = await runtime.container_status(container_id)
        assert running.container.state is ContainerState.RUNNING
        assert running.started_at >= running.container.created_at > 0
        with pytest.raises(ContainerRuntimeError):
            await runtime.start_container(container_id)
        await runtime.stop_container(container_id, 0)
        stopped = await runtime.container_status(container_id)
        assert (stopped.container.state, stopped.exit_code) == (ContainerState.EXITED, 137)
        assert stopped.finished_at >= stopped.started_at
        await runtime.stop_container(container_id, 10)
        await runtime.remove_container(container_id)
        await runtime.remove_container(container_id)
        with pytest.raises(NotFound):
            await runtime.container_status(container_id)
        await runtime.stop_container(container_id, 10)

    world.run(scenario)


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (7, "Error")])
def test_an_end_has_its_code_and_reason(world: World, code: int, reason: str) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        _, container_id = await make(runtime, pod(world), "sh", "-c", f"exit {code}")
        await runtime.start_container(container_id)
        await ended(runtime, container_id)
        status = await runtime.container_status(container_id)
        assert (status.exit_code, status.reason) == (code, reason)

    world.run(scenario)


def test_who_listens_to_the_stop_signal_ends_by_itself(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        _, container_id = await make(runtime, pod(world))
        await runtime.start_container(container_id)
        await runtime.stop_container(container_id, 30)
        assert (await runtime.container_status(container_id)).exit_code == 0

    world.run(scenario)


def test_who_does_not_listen_is_killed_after_the_grace(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        _, container_id = await make(runtime, pod(world), "sleep", "600")
        await runtime.start_container(container_id)
        await runtime.stop_container(container_id, 0.01)
        assert (await runtime.container_status(container_id)).exit_code == 137

    world.run(scenario)


def test_stopping_the_sandbox_ends_its_containers(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        sandbox_id, container_id = await make(runtime, pod(world))
        await runtime.start_container(container_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        assert (await runtime.container_status(container_id)).container.state is ContainerState.EXITED
        await runtime.remove_pod_sandbox(sandbox_id)
        assert not await runtime.list_containers(sandbox_id=sandbox_id)

    world.run(scenario)


def test_the_log_has_one_stamped_line_for_each_line_said(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        config = pod(world)
        (world.logs / "web" / "main").mkdir(parents=True, exist_ok=True)
        sandbox_id = await runtime.run_pod_sandbox(config)
        container = ContainerConfig("main", IMAGE, command=("echo", "hello", "there"), log_path="main/0.log")
        container_id = await runtime.create_container(sandbox_id, container, config)
        await runtime.start_container(container_id)
        await ended(runtime, container_id)
        assert (await runtime.container_status(container_id)).log_path.endswith("web/main/0.log")
        stamp, stream, tag, text = (world.logs / "web" / "main" / "0.log").read_text().strip().split(" ", 3)
        assert stamp[10] == "T"
        assert stamp.endswith("Z")
        assert (stream, tag, text) == ("stdout", "F", "hello there")

    world.run(scenario)


def test_commands_run_to_their_end_inside(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        _, container_id = await make(runtime, pod(world))
        with pytest.raises(ContainerRuntimeError):
            await runtime.exec_sync(container_id, ["true"], 10)
        await runtime.start_container(container_id)
        said = await runtime.exec_sync(container_id, ["echo", "a", "b"], 10)
        assert (said.stdout, said.exit_code) == (b"a b\n", 0)
        assert (await runtime.exec_sync(container_id, ["sh", "-c", "exit 3"], 10)).exit_code == 3
        with pytest.raises(DeadlineExceeded):
            await runtime.exec_sync(container_id, ["sleep", "600"], 1)
        for url in (
            await runtime.exec_url(container_id, ["sh"], stdin=True),
            await runtime.attach_url(container_id),
        ):
            assert url.startswith("http://127.0.0.1:")

    world.run(scenario)


async def events_until(
    events: AsyncIterator[ContainerEvent], container_id: str, kind: ContainerEventType
) -> list[ContainerEvent]:
    seen = []
    async for event in events:
        seen.append(event)
        if event.container_id == container_id and event.type is kind:
            return seen
    raise AssertionError("the stream ended")


def test_an_end_is_told_and_may_be_looked_at_then(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        events = runtime.events()
        # A generator subscribes when it is first asked: wait for an event that is sure to come.
        first = asyncio.ensure_future(anext(events))
        sandbox_id, container_id = "", ""
        for attempt in range(100):
            sandbox_id, container_id = await make(runtime, pod(world, f"web{attempt}"), "sh", "-c", "sleep 0.2; exit 4")
            await asyncio.sleep(0.02)
            if first.done():
                break
        await first
        await runtime.start_container(container_id)
        seen = await events_until(events, container_id, ContainerEventType.STOPPED)
        assert seen[-1].exit_code == 4
        assert seen[-1].sandbox_id == sandbox_id
        assert (await runtime.container_status(container_id)).container.state is ContainerState.EXITED
        assert ContainerEventType.STARTED in {event.type for event in seen if event.container_id == container_id}
        await runtime.remove_pod_sandbox(sandbox_id)
        await events_until(events, container_id, ContainerEventType.DELETED)
        await events.aclose()  # type: ignore[attr-defined]

    world.run(scenario)


def test_limits_may_change_while_it_runs(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        config = pod(world)
        sandbox_id = await runtime.run_pod_sandbox(config)
        limits = LinuxResources(cpu_period=100_000, cpu_quota=20_000, cpu_shares=204, memory_limit_bytes=64 << 20)
        container = ContainerConfig("main", IMAGE, command=FOREVER, resources=limits)
        container_id = await runtime.create_container(sandbox_id, container, config)
        await runtime.start_container(container_id)
        more = LinuxResources(cpu_period=100_000, cpu_quota=40_000, cpu_shares=409, memory_limit_bytes=96 << 20)
        await runtime.update_container_resources(container_id, more)
        resources = (await runtime.container_status(container_id)).resources
        assert resources is not None
        assert (resources.cpu_quota, resources.memory_limit_bytes) == (40_000, 96 << 20)

    world.run(scenario)


def test_usage_is_told_of_what_runs(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        sandbox_id, container_id = await make(runtime, pod(world))
        await runtime.start_container(container_id)
        assert (await runtime.container_stats(container_id)).timestamp > 0
        assert [item.id for item in await runtime.list_container_stats(sandbox_id=sandbox_id)] == [container_id]
        (usage,) = await runtime.list_pod_sandbox_stats(id=sandbox_id)
        assert (usage.name, [item.id for item in usage.containers]) == ("web", [container_id])

    world.run(scenario)


def test_images_are_found_by_name_and_by_id_and_missing_ones_are_told(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        image = await runtime.image_status(IMAGE)
        assert image is not None
        assert sample.IMAGE in image.repo_tags
        assert await runtime.image_status(ImageSpec(image.id)) == image
        assert image in await runtime.list_images()
        assert await runtime.image_status(ImageSpec("localhost/none:1")) is None
        assert all(directory.startswith("/") for directory in await runtime.image_layers(image.id))
        assert await runtime.image_layers(image.id)
        with pytest.raises(NotFound):
            await runtime.image_layers("localhost/none:1")
        await runtime.remove_image(ImageSpec("localhost/none:1"))
        with pytest.raises(ContainerRuntimeError):
            await runtime.pull_image(ImageSpec("localhost/none:1"))
        config = pod(world)
        sandbox_id = await runtime.run_pod_sandbox(config)
        with pytest.raises(NotFound):
            await runtime.create_container(sandbox_id, ContainerConfig("c", ImageSpec("localhost/none:1")), config)
        assert (await runtime.image_filesystems()).images

    world.run(scenario)


def test_what_does_not_exist_is_not_found(world: World) -> None:
    async def scenario(runtime: ContainerRuntime) -> None:
        nothing = "0" * 64
        with pytest.raises(NotFound):
            await runtime.container_status(nothing)
        with pytest.raises(NotFound):
            await runtime.start_container(nothing)
        with pytest.raises(NotFound):
            await runtime.exec_sync(nothing, ["true"], 1)
        with pytest.raises(NotFound):
            await runtime.port_forward_url(nothing, [80])

    world.run(scenario)
