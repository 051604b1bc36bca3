"""Snapshots are whole, are taken while others write, and what is made of them never gives a revision out again."""

from __future__ import annotations

import asyncio
import itertools
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, etcd_snapshots, moving, sqlite, sqlite_snapshots
from keelback.storage.etcd import EtcdStore
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.protocol import Compacted, Store, Unavailable
from keelback.storage.snapshot_files import SnapshotError
from keelback.testing import etcd as testing_etcd
from keelback.testing.etcd import EtcdCluster

_numbers = itertools.count()
needs_etcd = pytest.mark.skipif(not testing_etcd.is_installed(), reason="etcd is not installed")


def told(moved: int, total: int) -> None:
    assert moved <= total


async def opened(cluster: EtcdCluster, outside: str, *, may_be_unfinished: bool = False) -> EtcdStore:
    keys = KeySpace(outside=outside)
    return await etcd.open_store(cluster.servers, SystemClock(), keys=keys, may_be_unfinished=may_be_unfinished)


def test_a_snapshot_of_a_store_that_is_written_to_is_one_moment_of_it(tmp_path: Path) -> None:
    path, saved, made = tmp_path / "store.db", tmp_path / "saved", tmp_path / "new" / "store.db"

    async def write(store: Store, is_over: asyncio.Event) -> None:
        # Whatever moment is saved, b is a's last value or the one before it.
        for number in itertools.count(1):
            await store.put("/registry/a", b"%d" % number)
            await store.put("/registry/b", b"%d" % number)
            if is_over.is_set():
                return

    async def main() -> None:
        async with await sqlite.open_store(path, SystemClock()) as store:
            is_over = asyncio.Event()
            await store.put("/registry/c", b"c" * 100_000)
            writing = asyncio.ensure_future(write(store, is_over))
            await store.watch("/registry/b").__anext__()
            revision = await asyncio.to_thread(sqlite_snapshots.save, path, saved)
            is_over.set()
            await writing
            newest = await store.current_revision()
        assert revision <= newest
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        begun = await asyncio.to_thread(sqlite_snapshots.restore, saved, made)
        async with await sqlite.open_store(made, SystemClock()) as store:
            assert await store.current_revision() == begun > newest
            first, second = [await store.get(f"/registry/{name}") for name in "ab"]
            assert first is not None
            assert second is not None
            assert int(first.value) - int(second.value) in (0, 1)
            assert first.mod_revision <= revision
            with pytest.raises(Compacted):
                await store.watch("", revision + 1).__anext__()
            assert await store.put("/registry/a", b"") == begun + 1

    asyncio.run(main())


def test_what_is_no_snapshot_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    nonsense, store = tmp_path / "nonsense", tmp_path / "store.db"
    nonsense.write_bytes(b"not a snapshot" * 100)
    with pytest.raises(SnapshotError, match="no snapshot"):
        sqlite_snapshots.restore(nonsense, store)
    with pytest.raises(SnapshotError, match="digest"):
        etcd_snapshots.check(nonsense)
    with pytest.raises(SnapshotError, match="does not exist"):
        sqlite_snapshots.save(store, tmp_path / "saved")

    async def main() -> None:
        async with await sqlite.open_store(store, SystemClock()):
            sqlite_snapshots.save(store, tmp_path / "saved")
            with pytest.raises(SnapshotError, match="exists already"):
                sqlite_snapshots.save(store, tmp_path / "saved")
            with pytest.raises(SnapshotError, match="in use"):
                sqlite_snapshots.restore(tmp_path / "saved", store)

    asyncio.run(main())
    assert [path.name for path in tmp_path.glob("*.part")] == []


@needs_etcd
def test_a_snapshot_of_etcd_is_whole_or_refused(tmp_path: Path, one_member: EtcdCluster) -> None:
    saved = tmp_path / "saved"

    async def main() -> None:
        async with await opened(one_member, "/saved") as store:
            await asyncio.gather(*(store.put(f"/registry/{number}", b"x" * 5_000) for number in range(200)))
            assert await etcd_snapshots.save(store, saved) == saved.stat().st_size

    asyncio.run(main())
    etcd_snapshots.check(saved)
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    with pytest.raises(SnapshotError, match="damaged"):
        etcd_snapshots.check(saved)
    saved.write_bytes(content[:-100])
    with pytest.raises(SnapshotError, match="no whole snapshot"):
        etcd_snapshots.check(saved)


@needs_etcd
def test_a_store_that_is_moved_to_etcd_goes_on_above_its_revisions(tmp_path: Path, one_member: EtcdCluster) -> None:
    outside = f"/moved-{next(_numbers)}"

    async def main() -> None:
        async with await sqlite.open_store(tmp_path / "store.db", SystemClock()) as source:
            for number in range(3_000):
                await source.put("/registry/churned", b"%d" % number)
            await asyncio.gather(*(source.put(f"/registry/pods/{number:04}", b"%d" % number) for number in range(1500)))
            await source.put("/registry/events/a", b"e", ttl_seconds=600)
            await source.put("/registry/events/over", b"e", ttl_seconds=300)
            there = {kv.key: kv.value for kv in (await source.range("")).kvs}
            newest = await source.current_revision()
            later = datetime.now(UTC) + timedelta(seconds=400)
            async with await opened(one_member, outside, may_be_unfinished=True) as target:
                moved, goes_on = await moving.move(source, target, later, told)
        assert moved == len(there)
        del there["/registry/events/over"]
        async with await opened(one_member, outside) as store:
            kept = await store.range("")
            assert {kv.key: kv.value for kv in kept.kvs} == there
            assert min(kv.mod_revision for kv in kept.kvs) > newest
            assert kept.revision >= goes_on
            with pytest.raises(Compacted):
                await store.watch("", newest + 1).__anext__()
            for old in (1, newest):
                with pytest.raises(Compacted):
                    await store.range("", revision=old)
            assert await store.put("/registry/new", b"", expected_revision=0) > goes_on

    asyncio.run(main())


@needs_etcd
def test_a_move_that_was_cut_short_keeps_servers_away_and_is_done_again(
    tmp_path: Path, one_member: EtcdCluster
) -> None:
    outside = f"/moved-{next(_numbers)}"

    class CutShort(Exception):
        pass

    def cut_short(moved: int, total: int) -> None:
        raise CutShort

    async def main() -> None:
        async with await sqlite.open_store(tmp_path / "store.db", SystemClock()) as source:
            await source.put("/registry/a", b"a")
            async with await opened(one_member, outside, may_be_unfinished=True) as target:
                with pytest.raises(CutShort):
                    await moving.move(source, target, datetime.now(UTC), cut_short)
            with pytest.raises(Unavailable, match="not finished"):
                await opened(one_member, outside)
            async with await opened(one_member, outside, may_be_unfinished=True) as target:
                assert (await moving.move(source, target, datetime.now(UTC), told))[0] == 1
                with pytest.raises(Unavailable, match="already"):
                    await moving.move(source, target, datetime.now(UTC), told)
        async with await opened(one_member, outside) as store:
            assert [kv.value for kv in (await store.range("")).kvs] == [b"a"]

    asyncio.run(main())
