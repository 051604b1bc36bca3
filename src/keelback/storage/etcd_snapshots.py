"""Snapshots of etcd, as `etcdctl snapshot save` makes them, and what a restored etcd must be told before it serves."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import grpc.aio

from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.etcd import DEADLINE_SECONDS, EtcdStore
from keelback.storage.protocol import Compacted
from keelback.storage.snapshot_files import SnapshotError, whole

DOWNLOAD_SECONDS = 3600.0
_PAGE_BYTES = 512
_DIGEST_BYTES = 32
_CHUNK = 1 << 20


async def save(store: EtcdStore, snapshot: Path) -> int:
    """Write what etcd holds, all of it; how many bytes that are. Raises SnapshotError."""
    with whole(snapshot) as partial:
        pieces = store.endpoints.download(
            "/etcdserverpb.Maintenance/Snapshot", pb.SnapshotRequest(), pb.SnapshotResponse, DOWNLOAD_SECONDS
        )
        with partial.open("wb") as file:
            try:
                async for piece in pieces:
                    # A piece is 32 KB: writing it takes no longer than anything else here.
                    file.write(piece.blob)
            except grpc.aio.AioRpcError as error:
                raise SnapshotError(f"etcd gave no snapshot: {error.details()}") from error
        check(partial)
        return partial.stat().st_size


def check(snapshot: Path) -> None:
    """Raises SnapshotError where a snapshot is not as it was made: its digest stands at its end."""
    if not snapshot.exists():
        raise SnapshotError(f"{snapshot} does not exist")
    size = snapshot.stat().st_size
    if size < _PAGE_BYTES or size % _PAGE_BYTES != _DIGEST_BYTES:
        raise SnapshotError(f"{snapshot} is no whole snapshot of an etcd: it has no digest at its end")
    digest = hashlib.sha256()
    with snapshot.open("rb") as file:
        left = size - _DIGEST_BYTES
        while left:
            chunk = file.read(min(left, _CHUNK))
            digest.update(chunk)
            left -= len(chunk)
        if file.read() != digest.digest():
            raise SnapshotError(f"{snapshot} is damaged: its digest is another")


async def begin_anew(store: EtcdStore, offset: int) -> int:
    """Count revisions with this offset from now on, and forget the past; the revision it goes on from.

    No API server may use this etcd meanwhile: it would go on counting as before. Raises StorageError.
    """
    request = pb.PutRequest(key=store.keys.offset_key, value=str(offset).encode())
    answer = await store.ask("/etcdserverpb.KV/Put", request, pb.PutResponse, DEADLINE_SECONDS, may_repeat=True)
    now = int(answer.header.revision)
    with contextlib.suppress(Compacted):
        await store.compact(now + store.keys.offset)
    return now + offset
