"""Every implementation of `ContainerRuntime`, each in a world of its own that is cleared after every test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keelback.bootstrap import images, sample
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeSpec
from keelback.concurrency.clock import SystemClock
from keelback.cri.containerd import CRIRuntime
from keelback.cri.runtime import ContainerRuntime
from keelback.network.fabric import Fabric
from keelback.testing.fake_runtime import FakeRuntime


@dataclass
class World:
    """A runtime to be had in an event loop, and where the logs of its containers are."""

    open: Callable[[], ContainerRuntime]
    logs: Path
    logs_inside: str
    cgroup_parent: str

    def run(self, scenario: Callable[[ContainerRuntime], Awaitable[None]]) -> None:
        async def body() -> None:
            runtime = self.open()
            try:
                async with asyncio.timeout(60):
                    await scenario(runtime)
            finally:
                for sandbox in await runtime.list_pod_sandboxes():
                    await runtime.stop_pod_sandbox(sandbox.id)
                    await runtime.remove_pod_sandbox(sandbox.id)
                await runtime.close()

        asyncio.run(body())


@pytest.fixture(scope="session")
def containerd_world() -> Iterator[World]:
    if os.geteuid() != 0 or shutil.which("containerd") is None:
        pytest.skip("needs root and containerd")
    name = f"test-cri-{os.getpid()}"
    run, data = Path("/run/keelback") / name, Path("/var/tmp/keelback") / name
    fabric = Fabric(run / "fabric")
    spec = NodeSpec("node", 0, ("10.244.0.0/24",), run / "node", data / "node", f"/{name}/node")

    async def start() -> NodeEnvironment:
        fabric.create()
        node = await NodeEnvironment.create(spec, fabric, SystemClock())
        await node.containerd.wait_ready()
        for image in (images.pause_image(), sample.build()):
            await images.load(node.socket, image, SystemClock())
        return node

    async def end(node: NodeEnvironment) -> None:
        await node.destroy()
        fabric.destroy()

    node = asyncio.run(start())
    try:
        yield World(
            lambda: CRIRuntime(node.socket),
            spec.data_directory / "log" / "pods",
            "/var/log/pods",
            f"{spec.cgroup_parent}/kubepods",
        )
    finally:
        asyncio.run(end(node))
        for directory in (run, data):
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                directory.parent.rmdir()


@pytest.fixture(params=["fake", pytest.param("containerd", marks=pytest.mark.containers)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "containerd":
        return request.getfixturevalue("containerd_world")
    return World(lambda: FakeRuntime(SystemClock(), images={sample.IMAGE}), tmp_path, str(tmp_path), "/kubepods")
