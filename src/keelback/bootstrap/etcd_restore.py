"""A member's data from a snapshot of an etcd: what `etcdctl snapshot restore` does, and that revisions only rise.

etcd itself would count on from the snapshot's revision, and give out numbers again that clients have seen. So a member
that only this machine reaches runs for a moment on the restored data, where it is told to begin anew (`begin_anew`).
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from keelback.bootstrap.cluster_state import ClusterError
from keelback.concurrency.clock import Clock
from keelback.storage import etcd, etcd_snapshots
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.snapshot_files import SnapshotError
from keelback.storage.sqlite_snapshots import BUMP_REVISIONS

_START_SECONDS = 60.0
_END_SECONDS = 10.0
_RESTORE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class NewMember:
    """The member that the data is for, as `etcdctl snapshot restore` is told of it."""

    data_dir: Path
    name: str = "default"
    initial_cluster: str = ""
    initial_cluster_token: str = ""
    initial_advertise_peer_urls: str = ""


async def restore(snapshot: Path, member: NewMember, prefix: str, clock: Clock) -> int:
    """Make the member's data directory; the revision it goes on from. Raises ClusterError and SnapshotError."""
    for program in ("etcd", "etcdctl"):
        if shutil.which(program) is None:
            raise ClusterError(f"{program} is not installed (Debian's packages are etcd-server and etcd-client)")
    etcd_snapshots.check(snapshot)
    if member.data_dir.exists():
        raise SnapshotError(f"{member.data_dir} exists already")
    member.data_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=member.data_dir.parent, prefix=".keelback-restore-") as folder:
        first, second = Path(folder) / "data", Path(folder) / "snapshot"
        await _etcdctl("snapshot", "restore", str(snapshot), f"--data-dir={first}")
        async with _running(first) as server:
            store = await etcd.open_store((server,), clock, keys=KeySpace(outside=prefix))
            try:
                revision = await etcd_snapshots.begin_anew(store, store.keys.offset + BUMP_REVISIONS)
                await etcd_snapshots.save(store, second)
            finally:
                await store.close()
        named = {
            "name": member.name,
            "initial-cluster": member.initial_cluster,
            "initial-cluster-token": member.initial_cluster_token,
            "initial-advertise-peer-urls": member.initial_advertise_peer_urls,
        }
        flags = (f"--{flag}={value}" for flag, value in named.items() if value)
        await _etcdctl("snapshot", "restore", str(second), f"--data-dir={member.data_dir}", *flags)
    return revision


@asynccontextmanager
async def _running(data: Path) -> AsyncIterator[str]:
    """A member on this data that only this machine reaches."""
    client, peer = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    process = await asyncio.create_subprocess_exec(
        "etcd",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        "--log-level=error",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield client
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _etcdctl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        *arguments,
        env={"ETCDCTL_API": "3", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_RESTORE_SECONDS):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise SnapshotError(f"etcdctl {' '.join(arguments[:2])} failed: {said.decode(errors='replace').strip()}")


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
