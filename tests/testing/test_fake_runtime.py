"""What tests may do to the fake runtime, beyond the contract that it shares with real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from keelback.concurrency.clock import SystemClock
from keelback.cri.runtime import ContainerRuntimeError, NotFound, Unavailable
from keelback.cri.values import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventType,
    ExecResult,
    ImageSpec,
    PodSandboxConfig,
    SandboxState,
)
from keelback.testing.fake_runtime import FakeRuntime
from keelback.testing.scripts import Script

POD = PodSandboxConfig("web", "default", "uid-web")


def run(scenario: Callable[[FakeRuntime], Awaitable[None]], **settings: object) -> None:
    async def body() -> None:
        runtime = FakeRuntime(SystemClock(), images={"web:1"}, **settings)  # type: ignore[arg-type]
        try:
            await scenario(runtime)
        finally:
            await runtime.close()

    asyncio.run(body())


async def started(runtime: FakeRuntime, name: str = "main", pod: PodSandboxConfig = POD, log_path: str = "") -> str:
    sandbox_id = await runtime.run_pod_sandbox(pod)
    config = ContainerConfig(name, ImageSpec("web:1"), log_path=log_path)
    container_id = await runtime.create_container(sandbox_id, config, pod)
    await runtime.start_container(container_id)
    return container_id


async def drained(events: AsyncIterator[ContainerEvent]) -> None:
    async for _ in events:
        pass


def test_a_script_goes_by_container_name_before_image() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        events = runtime.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        container_id = await started(runtime)
        await first
        async for event in events:
            if event.type is ContainerEventType.STOPPED:
                break
        assert (await runtime.container_status(container_id)).exit_code == 5

    run(scenario, scripts={"main": Script(exit_code=5, run_seconds=0), "web:1": Script(exit_code=6, run_seconds=0)})


def test_a_container_ends_when_the_test_says_so() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        container_id = await started(runtime)
        assert runtime.running() == ["main"]
        runtime.end(container_id, 137, "OOMKilled")
        runtime.end(container_id, 0)
        status = await runtime.container_status(container_id)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")
        assert runtime.running() == []

    run(scenario)


def test_a_sandbox_may_end_under_its_containers() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        await started(runtime)
        (sandbox,) = await runtime.list_pod_sandboxes()
        runtime.end_sandbox(sandbox.id)
        assert (await runtime.list_pod_sandboxes())[0].state is SandboxState.NOT_READY

    run(scenario)


def test_a_start_may_fail_with_a_text() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        with pytest.raises(ContainerRuntimeError, match="no such file"):
            await started(runtime)
        (container,) = await runtime.list_containers()
        assert (await runtime.container_status(container.id)).reason == "StartError"

    run(scenario, scripts={"main": Script(start_error="exec: no such file or directory")})


def test_only_what_is_pullable_is_pulled_and_the_pulls_are_counted() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        await runtime.pull_image(ImageSpec("db:1"))
        with pytest.raises(NotFound):
            await runtime.pull_image(ImageSpec("none:1"))
        assert runtime.pulls == ["db:1", "none:1"]
        assert [image.repo_tags for image in await runtime.list_images()] == [("db:1",), ("web:1",)]

    run(scenario, pullable={"db:1"})


def test_a_runtime_that_is_down_says_so_and_breaks_its_streams() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        events = runtime.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await started(runtime)
        assert (await first).type is ContainerEventType.CREATED
        runtime.restart()
        with pytest.raises(Unavailable):
            await drained(events)
        runtime.is_down = True
        with pytest.raises(Unavailable):
            await runtime.list_containers()
        runtime.is_down = False

    run(scenario)


def test_a_test_may_answer_commands_itself() -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        container_id = await started(runtime)
        assert (await runtime.exec_sync(container_id, ["probe"], 1)).exit_code == 1

    run(scenario, execute=lambda container, command: ExecResult(b"", b"unhealthy", 1))


def test_scripted_output_is_in_the_log(tmp_path: Path) -> None:
    async def scenario(runtime: FakeRuntime) -> None:
        pod = PodSandboxConfig("web", "default", "uid", log_directory=str(tmp_path))
        await started(runtime, pod=pod, log_path="main/0.log")
        lines = (tmp_path / "main" / "0.log").read_text().splitlines()
        assert [line.split(" ", 1)[1] for line in lines] == ["stdout F one", "stdout F two"]

    run(scenario, scripts={"main": Script(output="one\ntwo\n")})
