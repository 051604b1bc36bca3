"""`python -m keelback.testing.failover`: three API servers over three etcd members, and something always fails.

Clients as in `linearizability` ask through a balancer while servers and members, the leader before others, are killed
or cut off, and all are restarted one after another. What is judged is the same; how long writes stood still is told.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keelback.bootstrap import pki
from keelback.client.https import HTTPSTransport
from keelback.component.http import Request
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd
from keelback.storage._proto import etcd_pb2 as pb
from keelback.testing import etcd as testing_etcd
from keelback.testing import linearizability
from keelback.testing.balancer import Balancer, Health
from keelback.testing.etcd import EtcdCluster, Member, etcd_cluster, free_ports
from keelback.testing.histories import Operation, violations
from keelback.testing.linearizability import Outcome, World

SERVERS: Final = 3
MEMBERS: Final = 3
CUT_OFF_SECONDS: Final = 4.0
SHUTDOWN_DELAY_SECONDS: Final = 2.0
ELECTION_MILLISECONDS: Final = 1_000
"""As etcd has it unless told otherwise."""
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 0.7
# While etcd has no leader all servers are as well as can be.
_WITHOUT_ETCD: Final = "exclude=etcd&exclude=etcd-readiness"
_PATIENCE_SECONDS: Final = 0.02
_SHARED_FILES: Final = ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key")


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault, how long after it the longest time was in which no write was acknowledged, and what failed then."""

    what: str
    still_seconds: float
    failures: Counter[int]


@dataclass(slots=True)
class Failover:
    """What a run has shown."""

    outcome: Outcome = field(default_factory=Outcome)
    strikes: list[Struck] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(self.outcome)]
        for what in sorted({one.what for one in self.strikes}):
            own = [one for one in self.strikes if one.what == what]
            failures: Counter[int] = sum((one.failures for one in own), Counter())
            told = ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(failures.items()))
            longest = max(one.still_seconds for one in own)
            lines.append(f"  {what:<26} {len(own)} x, writes stood still for {longest:.2f} s; failed: {told or 'none'}")
        return "\n".join(lines)


class APIServerProcess:
    """`keelback apiserver` over an etcd."""

    def __init__(self, folder: Path, number: int, port: int, servers: Sequence[str]) -> None:
        self.port = port
        self.folder = folder / f"apiserver-{number}"
        self._arguments = (
            "apiserver",
            f"--etcd-servers={','.join(servers)}",
            f"--cert-dir={self.folder}",
            f"--secure-port={port}",
            f"--advertise-address=10.89.0.{number + 1}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--shutdown-delay-duration={SHUTDOWN_DELAY_SECONDS:g}s",
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "keelback.cli.main", *self._arguments, stdout=log, stderr=log
            )
        async with asyncio.timeout(_START_SECONDS):
            while await self.health() is not Health.READY:
                if self._process.returncode is not None:
                    raise RuntimeError(f"the API server ended: {(self.folder / 'log').read_text()}")
                await asyncio.sleep(_PATIENCE_SECONDS)

    async def health(self, query: str = "") -> Health:
        """What it says of itself, if it does in time."""
        transport = HTTPSTransport(f"https://127.0.0.1:{self.port}", _trusting(self.folder))
        try:
            response = await transport.send(Request("GET", "/readyz", query), timeout_seconds=_CHECK_SECONDS)
            return Health.READY if response.status == 200 else Health.UNREADY
        except (OSError, EOFError, TimeoutError):
            return Health.SILENT
        finally:
            await transport.close()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self) -> None:
        """Return when it has ended."""
        assert self._process is not None
        await self._process.wait()

    async def end(self) -> None:
        """Kill it."""
        if self._process is not None and self._process.returncode is None:
            self.send(signal.SIGKILL)
            await self.wait()


class Plane:
    """The servers, the members, and the balancer before the servers."""

    def __init__(self, folder: Path, cluster: EtcdCluster) -> None:
        self.cluster = cluster
        self._folder = folder
        ports = free_ports(SERVERS)
        self.servers = [APIServerProcess(folder, at, port, cluster.servers) for at, port in enumerate(ports)]
        self._by_port = {server.port: server for server in self.servers}
        self._balancer = Balancer(ports, lambda port: self._by_port[port].health(_WITHOUT_ETCD))
        self._transport: HTTPSTransport | None = None

    async def start(self) -> None:
        """Start all."""
        (self._folder / "tokens.csv").write_text('judge,judge,judge,"system:masters"\n')
        first = self.servers[0].folder
        pki.ensure_cluster_pki(first, SystemClock().now())
        for server in self.servers[1:]:
            # What the servers of a cluster have in common; the rest each makes for itself.
            server.folder.mkdir(mode=0o700)
            for name in _SHARED_FILES:
                shutil.copy2(first / name, server.folder)
        await asyncio.gather(*(server.start() for server in self.servers))
        await self._balancer.start()
        self._transport = HTTPSTransport(f"https://127.0.0.1:{self._balancer.port}", _trusting(first))

    async def end(self) -> None:
        """Kill all."""
        if self._transport is not None:
            await self._transport.close()
        await self._balancer.close()
        for server in self.servers:
            await server.end()

    async def transport(self) -> HTTPSTransport:
        """The way through the balancer."""
        assert self._transport is not None
        return self._transport

    def end_of_doubt(self) -> Callable[[], Awaitable[float]]:
        """What was once sent to etcd may happen as long as anybody looks."""

        async def never() -> float:
            await asyncio.sleep(_PATIENCE_SECONDS)
            return float("inf")

        return never

    async def leader(self) -> Member:
        """The member that leads now."""
        for member in self.cluster.members:
            store = await etcd.open_store((member.url,), SystemClock())
            try:
                answer = await store.ask(
                    "/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse, 5.0, may_repeat=True
                )
            finally:
                await store.close()
            if answer.leader == answer.header.member_id:
                return member
        raise RuntimeError("no member leads")


Strike = Callable[[Plane, random.Random], Awaitable[None]]


async def _kill_server(plane: Plane, chance: random.Random) -> None:
    server = chance.choice(plane.servers)
    await server.end()
    await server.start()


async def _cut_off_server(plane: Plane, chance: random.Random) -> None:
    server = chance.choice(plane.servers)
    server.send(signal.SIGSTOP)
    await asyncio.sleep(CUT_OFF_SECONDS)
    server.send(signal.SIGCONT)


async def _kill_member(plane: Plane, chance: random.Random) -> None:
    await _kill(plane, chance.choice(plane.cluster.members))


async def _kill_leader(plane: Plane, _: random.Random) -> None:
    await _kill(plane, await plane.leader())


async def _cut_off_member(plane: Plane, chance: random.Random) -> None:
    await _cut_off(plane, chance.choice(plane.cluster.members))


async def _cut_off_leader(plane: Plane, _: random.Random) -> None:
    await _cut_off(plane, await plane.leader())


async def _cut_off_majority(plane: Plane, chance: random.Random) -> None:
    """Nothing can be written meanwhile, nor read freshly."""
    members = chance.sample(plane.cluster.members, MEMBERS // 2 + 1)
    for member in members:
        member.send(signal.SIGSTOP)
    await asyncio.sleep(CUT_OFF_SECONDS)
    for member in members:
        member.send(signal.SIGCONT)
    await testing_etcd.answers(*plane.cluster.servers)


async def _restart_all(plane: Plane, _: random.Random) -> None:
    """One after another, servers and members, as at an upgrade."""
    for server in plane.servers:
        server.send(signal.SIGTERM)
        await server.wait()
        await server.start()
    for member in plane.cluster.members:
        member.send(signal.SIGTERM)
        await asyncio.to_thread(member.wait)
        plane.cluster.start(member)
        await testing_etcd.answers(member.url)


async def _kill(plane: Plane, member: Member) -> None:
    member.send(signal.SIGKILL)
    await asyncio.sleep(CUT_OFF_SECONDS)
    plane.cluster.start(member)
    await testing_etcd.answers(member.url)


async def _cut_off(plane: Plane, member: Member) -> None:
    member.send(signal.SIGSTOP)
    await asyncio.sleep(CUT_OFF_SECONDS)
    member.send(signal.SIGCONT)
    await testing_etcd.answers(member.url)


STRIKES: Final[dict[str, Strike]] = {
    "a server killed": _kill_server,
    "a server cut off": _cut_off_server,
    "a member killed": _kill_member,
    "the leader killed": _kill_leader,
    "a member cut off": _cut_off_member,
    "the leader cut off": _cut_off_leader,
    "a majority cut off for 4 s": _cut_off_majority,
    "all restarted in turn": _restart_all,
}


async def play(folder: Path, names: Sequence[str], chance: random.Random, quiet_answers: int = 100) -> Failover:
    """Strike in this order, with so many answers in between, and judge what was seen."""
    found = Failover()
    outcome = found.outcome
    async with etcd_cluster(folder, MEMBERS, ELECTION_MILLISECONDS) as cluster:
        plane = Plane(folder, cluster)
        try:
            await plane.start()
            world = World(plane, outcome)
            seeds = [random.Random(chance.random()) for _ in range(linearizability.WRITERS)]
            writers = [asyncio.create_task(linearizability.write(world, at, one)) for at, one in enumerate(seeds)]
            watchers = [
                asyncio.create_task(linearizability.watch(world, f"watcher {at}"))
                for at in range(linearizability.WATCHERS)
            ]
            try:
                for name in names:
                    await world.answers_reach(len(outcome.history.operations) + quiet_answers)
                    began, failed = time.monotonic(), outcome.failures.copy()
                    await STRIKES[name](plane, chance)
                    await world.answers_reach(len(outcome.history.operations) + quiet_answers)
                    still = standstill(outcome.history.operations, began, time.monotonic())
                    found.strikes.append(Struck(name, still, outcome.failures - failed))
                    outcome.rounds += 1
                world.is_over = True
                await asyncio.gather(*writers)
                await linearizability.make_last(world)
                async with asyncio.timeout(_END_SECONDS):
                    await asyncio.gather(*watchers)
            finally:
                for task in (*writers, *watchers):
                    task.cancel()
                await asyncio.gather(*writers, *watchers, return_exceptions=True)
        finally:
            await plane.end()
    _forget_what_never_happened(outcome)
    outcome.violations = violations(outcome.history)
    return found


def standstill(operations: Sequence[Operation], began: float, ended: float) -> float:
    """The longest time between two acknowledged writes in this span of it."""
    acknowledged = sorted(
        one.ended for one in operations if one.outcome == "ok" and one.verb != "get" and began <= one.ended <= ended
    )
    moments = [began, *acknowledged, ended]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def _forget_what_never_happened(outcome: Outcome) -> None:
    """Where watchers saw everything to the end, a write that none of them saw was not made, and is not looked for."""
    if outcome.gaps:
        return
    history = outcome.history
    seen = {event.value for watched in history.watches for event in watched.events}
    history.operations[:] = [
        one
        for one in history.operations
        if one.outcome != "unknown" or one.verb not in ("create", "update") or one.value in seen
    ]


def _trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.crt"))


def main() -> int:
    """Run; 1 if there are violations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each fault comes (5)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of everything by chance")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    names = list(STRIKES) * options.rounds
    chance.shuffle(names)
    with tempfile.TemporaryDirectory(prefix="keelback-failover-") as folder:
        found = asyncio.run(play(Path(folder), names, chance))
    sys.stdout.write(f"seed {options.seed}: {found}\n")
    sys.stdout.writelines(f"{one}\n" for one in found.outcome.violations)
    return bool(found.outcome.violations)


if __name__ == "__main__":
    sys.exit(main())
