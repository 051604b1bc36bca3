"""A pod's worker on containerd, inside a node: what the fake runtime promises is so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import images
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeSpec, destroy_remains
from keelback.concurrency.clock import SystemClock
from keelback.network.fabric import Fabric

BUSYBOX = next((path for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if path.exists()), None)

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("containerd") is None or BUSYBOX is None,
        reason="needs root, containerd and a static busybox",
    ),
]


@pytest.fixture(scope="module")
def node() -> Iterator[NodeEnvironment]:
    name = f"test-kubelet-{os.getpid()}"
    run, data = Path("/run/keelback") / name, Path("/var/tmp/keelback") / name
    fabric = Fabric(run / "fabric")
    spec = NodeSpec("node", 0, ("10.244.0.0/24",), run / "node", data / "node", f"/{name}/node")

    async def start() -> NodeEnvironment:
        fabric.create()
        made = await NodeEnvironment.create(spec, fabric, SystemClock())
        await made.containerd.wait_ready()
        files = {"bin/busybox": images.File.program(BUSYBOX.read_bytes()), "tmp": images.File.directory(0o1777)}
        busybox = images.from_files("localhost/busybox:latest", files, images.ImageConfig())
        for image in (images.pause_image(), busybox):
            await images.load(made.socket, image, SystemClock())
        return made

    try:
        yield asyncio.run(start())
    finally:
        asyncio.run(destroy_remains(spec.run_directory, fabric))
        fabric.destroy()
        for directory in (run, data):
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                directory.parent.rmdir()


@pytest.mark.parametrize("scenario", ["lives", "ends", "adopts", "pulls", "probes"])
def test_a_pod_on_containerd(node: NodeEnvironment, scenario: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("on_node.py")
    output = tmp_path / "output"

    async def play() -> int:
        arguments = (scenario, str(node.socket), str(node.address), node.spec.cgroup_parent, str(BUSYBOX))
        with output.open("wb") as file:
            process: subprocess.Popen[bytes] = await node.run([sys.executable, str(script), *arguments], output=file)
            return await asyncio.to_thread(process.wait)

    assert asyncio.run(play()) == 0, output.read_text()
