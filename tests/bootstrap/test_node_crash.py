"""Whoever makes and ends nodes may be killed at any moment: the next one finds or clears away what is there."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import cgroups
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeSpec, destroy_remains
from keelback.concurrency.clock import SystemClock
from keelback.network.fabric import Fabric

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("containerd") is None, reason="needs root and containerd"),
]
ROUNDS = 15
MAKE_AND_END = """
import asyncio, sys
from test_node_crash import make, end
async def main():
    await make(sys.argv[1], 0)
    second = await make(sys.argv[1], 1)
    await second.containerd.wait_ready()
    await second.destroy(keep_data=True)
asyncio.run(main())
"""


def place(name: str) -> tuple[Fabric, Path, Path]:
    run = Path("/run/keelback") / name
    return Fabric(run / "fabric"), run, Path("/var/tmp/keelback") / name


async def make(name: str, index: int) -> NodeEnvironment:
    fabric, run, data = place(name)
    fabric.create()
    node = f"node-{index}"
    spec = NodeSpec(node, index, (f"10.244.{index}.0/24",), run / node, data / node, f"/{name}/{node}")
    return await NodeEnvironment.create(spec, fabric, SystemClock())


async def end(name: str) -> None:
    fabric, run, data = place(name)
    for index in range(2):
        await destroy_remains(run / f"node-{index}", fabric)
    fabric.destroy()
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)


def processes_of(name: str) -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/{name}/".encode() in line:
            found.append(line.decode())
    return found


@pytest.fixture
def name() -> Iterator[str]:
    name = f"kbcrash-{os.getpid()}"
    yield name
    asyncio.run(end(name))


def test_nothing_is_lost_or_left_after_kills_at_random_moments(name: str) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    for number in range(ROUNDS):
        # From before the first namespace to after the end of the second node.
        command = [sys.executable, "-c", MAKE_AND_END, name]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=0.2 + 0.5 * chance.random())
            assert process.returncode == 0, f"round {number} of seed {seed}: {errors.decode()}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    async def look() -> None:
        nodes = [await make(name, index) for index in range(2)]
        for node in nodes:
            await node.containerd.wait_ready()
        # A pid 1 and a containerd for each, whatever was begun and never finished.
        assert len(processes_of(name)) == 4, f"seed {seed}: {processes_of(name)}"

    asyncio.run(look())
    asyncio.run(end(name))
    assert processes_of(name) == []
    assert name not in Path("/proc/self/mountinfo").read_text()
    assert not any((mount / name).exists() for mount, _ in cgroups.hierarchies())
