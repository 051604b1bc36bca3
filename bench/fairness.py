"""What one tenant's flood costs another: single gets of one user, by turns alone and beside the floods of a second.

    python bench/fairness.py [seconds] [connections] [rounds] [--without]

Each kind of flood comes from a process of its own over so many connections, as fast as it is answered. In each round it
is let go and held (SIGCONT, SIGSTOP), and the gets of both times are compared: a machine that is busy is so for both.
The flood is niced, for on a machine with few cores the kernel's scheduler would be measured otherwise. Wall time of the
gets, of which each begins a millisecond after the one before has ended.

`--without` measures the same without priority and fairness too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from apiserver import BASE, Connection, pod

PODS = 5_000
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


def shown(taken: list[float]) -> str:
    ordered = sorted(taken)
    late = ordered[int(len(ordered) * 0.99)]
    return f"median {statistics.median(ordered):5.2f} ms, mean {statistics.fmean(ordered):5.2f}, p99 {late:6.2f}"


async def compare(kind: str, quiet: Connection, seconds: float, rounds: int, command: list[str]) -> None:
    """Gets alone and beside the flood, by turns."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    calm: list[float] = []
    beside: list[float] = []
    ratios: list[float] = []
    try:
        for _ in range(rounds):
            os.kill(process.pid, signal.SIGSTOP)
            # What it has asked for already is answered, or waits for room to be sent.
            await asyncio.sleep(0.3)
            alone = await gets(quiet, seconds)
            os.kill(process.pid, signal.SIGCONT)
            await asyncio.sleep(0.3)
            together = await gets(quiet, seconds)
            calm += alone
            beside += together
            ratios.append(statistics.median(together) / statistics.median(alone))
    finally:
        process.kill()
    told = [int(line) for line in (await process.stdout.read()).split()]
    await process.wait()
    # It tells its count every half second that it runs.
    rate = (told[-1] - told[0]) / (0.5 * (len(told) - 1)) if len(told) > 1 else 0.0
    print(f"  alone                                {shown(calm)}")
    print(f"  beside {rate:6.0f} {kind + ' a second':<23} {shown(beside)}")
    times = statistics.median(beside) / statistics.median(calm)
    print(
        f"  {times:.2f} times the median; of single rounds {min(ratios):.2f} to {max(ratios):.2f}   (aim: 2)",
        flush=True,
    )


async def run(seconds: float, connections: int, rounds: int, port: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    several = [await Connection(port, context).open() for _ in range(8)]
    status, body = await several[0].ask(
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json.dumps(BINDING).encode()
    )
    assert status == 201, body

    async def fill(connection: Connection, first: int) -> None:
        for number in range(first, PODS, len(several)):
            status, body = await connection.ask("POST", BASE, pod(number))
            assert status == 201, body

    await asyncio.gather(*(fill(one, first) for first, one in enumerate(several)))
    quiet = await Connection(port, context, "quiet-token").open()
    await gets(quiet, 0.5)
    for kind in FLOODS:
        command = ["nice", "-n", "15", sys.executable, __file__, "--flood", kind, str(connections), str(port), ca]
        await compare(kind, quiet, seconds, rounds, command)


def main() -> None:
    if sys.argv[1:2] == ["--flood"]:
        kind, connections, port, ca = sys.argv[2:]
        asyncio.run(flood(kind, int(connections), int(port), ca))
        return
    numbers = [one for one in sys.argv[1:] if one != "--without"]
    seconds, connections, rounds = (float(given) for given in (*numbers, *("1", "32", "8")[len(numbers) :]))
    for enabled in ("true", "false") if "--without" in sys.argv else ("true",):
        print(f"--enable-priority-and-fairness={enabled}, floods over {connections:g} connections")
        with tempfile.TemporaryDirectory() as folder:
            process = str(Path(__file__).with_name("apiserver_process.py"))
            command = [sys.executable, process, folder, enabled]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
                assert server.stdout is not None
                try:
                    ca = str(Path(folder) / "pki" / "ca.crt")
                    port = int(server.stdout.readline())
                    asyncio.run(run(seconds, int(connections), int(rounds), port, ca))
                finally:
                    server.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        server.wait(timeout=20)


if __name__ == "__main__":
    main()
