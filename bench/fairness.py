"""What one tenant's flood costs another: single gets of one user, alone and beside the floods of a second.

    python bench/fairness.py [seconds] [connections]

Each kind of flood comes from a process of its own over so many connections, as fast as it is answered; it is niced, for
on a machine with few cores the kernel's scheduler would be measured otherwise. Wall time of the gets, of which each
begins a millisecond after the one before has ended; with priority and fairness, and without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from apiserver import BASE, Connection, pod

PODS = 2_000
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "tenants"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": one} for one in ("quiet", "flood")],
}
FLOODS = ("gets", "lists of 500", f"lists of {PODS}", "creates")


async def flood(kind: str, connections: int, port: int, ca: str) -> None:
    """Ask until this process is ended."""
    context = ssl.create_default_context(cafile=ca)
    opened = [await Connection(port, context, "flood-token").open() for _ in range(connections)]
    answered = 0

    async def ask(connection: Connection, number: int) -> None:
        nonlocal answered
        while True:
            number += connections
            match kind:
                case "gets":
                    status, _ = await connection.ask("GET", f"{BASE}/web-74b97b66ff-{number % PODS:05d}")
                case "creates":
                    status, _ = await connection.ask("POST", BASE, pod(PODS + number))
                case "lists of 500":
                    status, _ = await connection.ask("GET", f"{BASE}?limit=500")
                case _:
                    status, _ = await connection.ask("GET", BASE)
            assert status in (200, 201, 429), status
            answered += 1

    async def tell() -> None:
        while True:
            await asyncio.sleep(0.5)
            print(answered, flush=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(tell())
        for index, connection in enumerate(opened):
            group.create_task(ask(connection, index))


async def gets(connection: Connection, seconds: float) -> list[float]:
    """Milliseconds of one get after the other."""
    taken = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        status, body = await connection.ask("GET", f"{BASE}/web-74b97b66ff-00000")
        assert status == 200, body
        taken.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.001)
    return sorted(taken)


def report(what: str, taken: list[float], alone: float) -> float:
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    mean = sum(taken) / len(taken)
    times = f"{mean / alone:5.2f} times" if alone else ""
    print(f"  {what:<48} mean {mean:6.2f} ms, median {middle:6.2f}, p99 {late:7.2f}   {times}")
    return mean


async def run(seconds: float, connections: int, port: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    administrator = await Connection(port, context).open()
    status, body = await administrator.ask(
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json.dumps(BINDING).encode()
    )
    assert status == 201, body
    for number in range(PODS):
        status, body = await administrator.ask("POST", BASE, pod(number))
        assert status == 201, body
    quiet = await Connection(port, context, "quiet-token").open()
    await gets(quiet, seconds / 4)
    alone = report("nothing else asked", await gets(quiet, seconds), 0.0)
    for kind in FLOODS:
        command = ["nice", "-n", "15", sys.executable, __file__, "--flood", kind, str(connections), str(port), ca]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        before = int(await process.stdout.readline())
        taken = await gets(quiet, seconds)
        process.kill()
        told = (await process.stdout.read()).split()
        await process.wait()
        rate = (int(told[-1]) - before) / (0.5 * len(told)) if told else 0.0
        report(f"beside {rate:.0f} {kind} a second", taken, alone)


def main() -> None:
    if sys.argv[1:2] == ["--flood"]:
        kind, connections, port, ca = sys.argv[2:]
        asyncio.run(flood(kind, int(connections), int(port), ca))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    for enabled in ("true", "false"):
        print(f"--enable-priority-and-fairness={enabled}, floods over {connections} connections")
        with tempfile.TemporaryDirectory() as folder:
            process = str(Path(__file__).with_name("apiserver_process.py"))
            command = [sys.executable, process, folder, enabled]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
                assert server.stdout is not None
                try:
                    ca = str(Path(folder) / "pki" / "ca.crt")
                    asyncio.run(run(seconds, connections, int(server.stdout.readline()), ca))
                finally:
                    server.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        server.wait(timeout=20)


if __name__ == "__main__":
    main()
