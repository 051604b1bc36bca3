"""What one tenant's flood costs another: single gets of one user, by turns alone and beside the floods of a second.

    python bench/fairness.py [seconds] [connections] [rounds] [--without | --loop]

Each kind of flood comes from a process of its own over so many connections, as fast as it is answered. In each round it
is let go and held (SIGCONT, SIGSTOP), and the gets of both times are compared: a machine that is busy is so for both.
The flood is niced, for on a machine with few cores the kernel's scheduler would be measured otherwise. Wall time of the
gets, of which each begins a millisecond after the one before has ended.

In a third part of each round the same flood goes to a second server, which has the same objects: what it costs the gets
then is what the machine's processors, caches and memory cost them, and nothing that the first server could do better.

`--without` measures the same without priority and fairness too.

`--loop` measures the server's event loop instead, by its own CPU time, which depends little on what else the machine
does: how long a get waits until it is read, and then until it is answered, alone and beside each flood. The server is
niced then, so that the floods keep it busy.
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from apiserver import BASE, Connection, pod

PODS = 5_000
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "tenants"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": one} for one in ("quiet", "flood")],
}


class Served(NamedTuple):
    """A server that is up."""

    port: int
    ca: str
    process: subprocess.Popen[bytes]


Servers: TypeAlias = Mapping[str, Served]
"""The one whose gets are measured, by the empty name, and another that only bears floods."""
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


class Flood:
    """One kind of flood to one server, held until it is let go."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def begin(cls, kind: str, connections: int, server: Served) -> Flood:
        given = ("--flood", kind, str(connections), str(server.port), server.ca)
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "15", sys.executable, __file__, *given, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        flood = cls(process)
        flood.hold()
        return flood

    def hold(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def let_go(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    async def end(self) -> float:
        """How much was answered, in each second in which it ran."""
        self._process.kill()
        assert self._process.stdout is not None
        told = [int(line) for line in (await self._process.stdout.read()).split()]
        await self._process.wait()
        # It tells its count every half second that it runs.
        return (told[-1] - told[0]) / (0.5 * (len(told) - 1)) if len(told) > 1 else 0.0


async def compare(
    kind: str, quiet: Connection, seconds: float, connections: int, rounds: int, servers: Servers
) -> None:
    """Gets alone, beside the flood, and beside the same flood to the other server, by turns."""
    floods = {name: await Flood.begin(kind, connections, server) for name, server in servers.items()}
    calm: list[float] = []
    beside: dict[str, list[float]] = {name: [] for name in floods}
    ratios: dict[str, list[float]] = {name: [] for name in floods}
    rates: dict[str, float] = {}
    try:
        for _ in range(rounds):
            # What it has asked for already is answered, or waits for room to be sent.
            await asyncio.sleep(0.3)
            alone = await gets(quiet, seconds)
            calm += alone
            for name, flood in floods.items():
                flood.let_go()
                await asyncio.sleep(0.3)
                together = await gets(quiet, seconds)
                flood.hold()
                await asyncio.sleep(0.1)
                beside[name] += together
                ratios[name].append(statistics.median(together) / statistics.median(alone))
    finally:
        for name, flood in floods.items():
            rates[name] = await flood.end()
    print(f"  alone                                             {shown(calm)}")
    for name, rate in rates.items():
        print(f"  beside {rate:6.0f} {kind + ' a second' + name:<36} {shown(beside[name])}")
        times = statistics.median(beside[name]) / statistics.median(calm)
        single = f"of single rounds {min(ratios[name]):.2f} to {max(ratios[name]):.2f}"
        print(f"  {times:.2f} times the median; {single}" + ("" if name else "   (aim: 2)"), flush=True)


async def fill(server: Served) -> ssl.SSLContext:
    """The pods, and tenants who may do everything."""
    context = ssl.create_default_context(cafile=server.ca)
    several = [await Connection(server.port, context).open() for _ in range(8)]
    status, body = await several[0].ask(
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json.dumps(BINDING).encode()
    )
    assert status == 201, body

    async def create(connection: Connection, first: int) -> None:
        for number in range(first, PODS, len(several)):
            status, body = await connection.ask("POST", BASE, pod(number))
            assert status == 201, body

    await asyncio.gather(*(create(one, first) for first, one in enumerate(several)))
    return context


async def run(seconds: float, connections: int, rounds: int, servers: Servers) -> None:
    context, *_ = [await fill(server) for server in servers.values()]
    quiet = await Connection(servers[""].port, context, "quiet-token").open()
    await gets(quiet, 0.5)
    for kind in FLOODS:
        await compare(kind, quiet, seconds, connections, rounds, servers)


async def run_loop(seconds: float, connections: int, rounds: int, server: Served) -> None:
    """The loop's own time, alone and beside each flood."""
    quiet = await Connection(server.port, await fill(server), "quiet-token").open()

    async def measured() -> dict[str, float]:
        server.process.send_signal(signal.SIGUSR1)
        await gets(quiet, seconds)
        server.process.send_signal(signal.SIGUSR1)
        assert server.process.stdout is not None
        told: dict[str, float] = json.loads(await asyncio.to_thread(server.process.stdout.readline))
        return told

    for kind in FLOODS:
        flood = await Flood.begin(kind, connections, server)
        alone, beside = [], []
        try:
            for _ in range(rounds):
                await asyncio.sleep(0.3)
                alone.append(await measured())
                flood.let_go()
                await asyncio.sleep(0.3)
                beside.append(await measured())
                flood.hold()
        finally:
            await flood.end()
        print(kind)
        for what, told in (("alone", alone), ("beside", beside)):
            read, answered = (statistics.median(one[name] for one in told) for name in ("read", "answered"))
            longest = max(one["longest"] for one in told)
            print(
                f"  {what:<7} a get waits {read:.3f} ms of the loop's CPU, is answered after {answered:.3f} more; "
                f"longest iteration {longest:.1f} ms",
                flush=True,
            )


@contextlib.contextmanager
def serve(enabled: str, script: str = "apiserver_process.py", niceness: int = 0) -> Iterator[Served]:
    """A server in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        process = str(Path(__file__).with_name(script))
        command = ["nice", "-n", str(niceness), sys.executable, process, folder, enabled]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            try:
                yield Served(int(server.stdout.readline()), str(Path(folder) / "pki" / "ca.crt"), server)
            finally:
                server.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(timeout=20)


def main() -> None:
    if sys.argv[1:2] == ["--flood"]:
        kind, connections, port, ca = sys.argv[2:]
        asyncio.run(flood(kind, int(connections), int(port), ca))
        return
    numbers = [one for one in sys.argv[1:] if not one.startswith("--")]
    seconds, connections, rounds = (float(given) for given in (*numbers, *("1", "32", "8")[len(numbers) :]))
    if "--loop" in sys.argv:
        with serve("true", "fairness_process.py", 19) as server:
            asyncio.run(run_loop(seconds, int(connections), int(rounds), server))
        return
    for enabled in ("true", "false") if "--without" in sys.argv else ("true",):
        print(f"--enable-priority-and-fairness={enabled}, floods over {connections:g} connections")
        with serve(enabled) as server, serve(enabled) as other:
            servers = {"": server, " to another server": other}
            asyncio.run(run(seconds, int(connections), int(rounds), servers))


if __name__ == "__main__":
    main()
