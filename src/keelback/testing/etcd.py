"""Real etcd members on loopback, for tests: Debian's `etcd`, with elections in tenths of a second."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd
from keelback.storage.protocol import Unavailable

QUICK_ELECTION_MILLISECONDS = 500
"""Half of what etcd waits unless told otherwise."""
_START_SECONDS = 30.0


def is_installed() -> bool:
    """Whether this machine has an etcd."""
    return shutil.which("etcd") is not None


@dataclass(eq=False, slots=True)
class Member:
    """One member; `url` is where clients reach it."""

    name: str
    url: str
    peer_url: str
    folder: Path
    election_milliseconds: int
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self, initial_cluster: str) -> None:
        """Start it, or start it again on what it has on disk."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "etcd",
                    f"--name={self.name}",
                    f"--data-dir={self.folder / 'data'}",
                    f"--listen-client-urls={self.url}",
                    f"--advertise-client-urls={self.url}",
                    f"--listen-peer-urls={self.peer_url}",
                    f"--initial-advertise-peer-urls={self.peer_url}",
                    f"--initial-cluster={initial_cluster}",
                    f"--heartbeat-interval={self.election_milliseconds // 10}",
                    f"--election-timeout={self.election_milliseconds}",
                    "--log-level=error",
                    *self.flags,
                ],
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        """SIGKILL ends it, SIGSTOP cuts it off and SIGCONT brings it back."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def wait(self) -> None:
        """Return when it has ended."""
        assert self.process is not None
        self.process.wait()


class EtcdCluster:
    """Members that make one cluster."""

    def __init__(self, folder: Path, size: int = 1, election_milliseconds: int = QUICK_ELECTION_MILLISECONDS) -> None:
        self.members: list[Member] = []
        ports = free_ports(2 * size)
        for number in range(size):
            home = folder / f"etcd-{number}"
            home.mkdir(mode=0o700, parents=True)
            url, peer_url = (f"http://127.0.0.1:{port}" for port in ports[2 * number : 2 * number + 2])
            self.members.append(Member(f"etcd-{number}", url, peer_url, home, election_milliseconds))

    @property
    def servers(self) -> tuple[str, ...]:
        """Where clients reach the members."""
        return tuple(member.url for member in self.members)

    @property
    def initial(self) -> str:
        """The members, as each is told of them at its first start."""
        return ",".join(f"{one.name}={one.peer_url}" for one in self.members)

    def start(self, member: Member) -> None:
        """Start a member, or start it again."""
        member.start(self.initial)

    async def begin(self) -> None:
        """Start all, and wait until they answer."""
        for member in self.members:
            self.start(member)
        async with asyncio.timeout(_START_SECONDS):
            for member in self.members:
                await answers(member.url)

    def stop(self) -> None:
        """Kill all."""
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.send(signal.SIGKILL)


async def answers(*servers: str) -> None:
    """Return when one of these members does."""
    while True:
        with contextlib.suppress(Unavailable):
            await (await etcd.open_store(servers, SystemClock())).close()
            return


@asynccontextmanager
async def etcd_cluster(
    folder: Path, size: int = 1, election_milliseconds: int = QUICK_ELECTION_MILLISECONDS
) -> AsyncIterator[EtcdCluster]:
    """A cluster that answers; it ends with the block."""
    cluster = EtcdCluster(folder, size, election_milliseconds)
    try:
        await cluster.begin()
        yield cluster
    finally:
        cluster.stop()


def free_ports(count: int) -> Sequence[int]:
    """Ports of loopback on which nobody listens now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
