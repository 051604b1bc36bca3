"""What only a store on disk can promise: it survives, it does not grow, it is nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keelback.concurrency.clock import SystemClock
from keelback.storage import sqlite
from keelback.storage.protocol import Unavailable

WRITER = """
import asyncio, sys
from pathlib import Path
from keelback.concurrency.clock import SystemClock
from keelback.storage import sqlite

async def write(store, number):
    step = 0
    while True:
        revision = await store.put(f"/w/{number}/{step % 20}", b"%d" % step * 50)
        sys.stdout.write(f"{number} {step} {revision}\\n")
        sys.stdout.flush()
        step += 1

async def compact(store):
    while True:
        await asyncio.sleep(0.02)
        revision = await store.current_revision()
        if revision > 50:
            await store.compact(revision - 40)

async def main():
    store = await sqlite.open_store(Path(sys.argv[1]), SystemClock())
    await asyncio.gather(compact(store), *(write(store, number) for number in range(8)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(3)
    path = tmp_path / "store.db"
    last_revision = 1
    acknowledged: dict[str, tuple[int, int]] = {}
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        # A random number of acknowledgements stands for a random moment.
        for _ in range(chance.randrange(40, 1500)):
            _note(process.stdout.readline(), acknowledged)
        process.kill()
        for line in process.stdout.read().splitlines(keepends=True):
            _note(line, acknowledged)
        process.wait()
        process.stdout.close()
        current = asyncio.run(_check(path, acknowledged))
        assert current > last_revision
        last_revision = current


def _note(line: str, acknowledged: dict[str, tuple[int, int]]) -> None:
    if line.endswith("\n"):
        number, step, revision = map(int, line.split())
        acknowledged[f"/w/{number}/{step % 20}"] = (step, revision)


async def _check(path: Path, acknowledged: dict[str, tuple[int, int]]) -> int:
    async with await sqlite.open_store(path, SystemClock()) as store:
        for key, (step, revision) in acknowledged.items():
            kv = await store.get(key)
            assert kv is not None
            # A write behind the last acknowledged one may have made it too.
            assert kv.mod_revision >= revision
            if kv.mod_revision == revision:
                assert kv.value == b"%d" % step * 50
        result = await store.range("/w/")
        assert result.count >= len(acknowledged)
        return await store.current_revision()


def test_renewing_leases_does_not_make_the_files_grow(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "store.db"
    sizes: list[int] = []
    wal_sizes: list[int] = []

    async def body() -> None:
        async with await sqlite.open_store(path, clock) as store:
            for node in range(100):
                await store.put(f"/pods/{node}", b"p" * 2600)
            for _ in range(12):
                for _ in range(10):
                    await asyncio.gather(*(store.put(f"/leases/{node}", b"l" * 400) for node in range(200)))
                await store.compact(await store.current_revision() - 200)
                sizes.append(path.stat().st_size)
                wal_sizes.append(path.with_name("store.db-wal").stat().st_size)

    asyncio.run(body())
    assert max(sizes[6:]) <= max(sizes[:6]) * 1.1 + 65536
    assert max(sizes) < 8 << 20
    assert max(wal_sizes) < 2 * sqlite.WAL_LIMIT_BYTES


def test_a_store_of_which_most_is_deleted_gives_its_pages_back(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "store.db"
    sizes: list[int] = []

    async def body() -> None:
        async with await sqlite.open_store(path, clock) as store:
            for _ in range(2):
                await asyncio.gather(*(store.put(f"/pods/{number}", b"p" * 3000) for number in range(4000)))
            sizes.append(path.stat().st_size)
            await store.compact(await store.current_revision())
            await asyncio.gather(*(store.delete(f"/pods/{number}") for number in range(4000)))
            for _ in range(5):
                await store.compact(await store.current_revision())
                await asyncio.gather(*(store.put("/leases/one", b"l" * 400) for _ in range(600)))

    asyncio.run(body())
    sizes.append(path.stat().st_size)
    assert sizes[1] < 2 * sqlite.FREE_PAGES * sqlite.PAGE_BYTES < sizes[0]


def test_a_restart_keeps_revision_history_and_time_to_live(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "store.db"

    async def first() -> int:
        async with await sqlite.open_store(path, clock) as store:
            await store.put("/a", b"1")
            await store.put("/a", b"2")
            await store.put("/mortal", b"", ttl_seconds=60)
            await store.delete("/a")
            return await store.current_revision()

    async def second(revision: int) -> None:
        async with await sqlite.open_store(path, clock) as store:
            assert await store.current_revision() == revision
            assert (await store.range("/", revision=3)).kvs[0].value == b"2"
            watch = store.watch("/", 2)
            assert len((await watch.__anext__()).events) == 4
            await asyncio.sleep(0)
            clock.advance(60)
            assert [event.type for event in (await watch.__anext__()).events] == ["delete"]
            # The newest revision is forgotten by compaction but never used again.
            await store.compact(revision + 1)

    async def third(revision: int) -> None:
        async with await sqlite.open_store(path, clock) as store:
            assert await store.current_revision() == revision
            assert (await store.range("/")).count == 0

    revision = asyncio.run(first())
    asyncio.run(second(revision))
    asyncio.run(third(revision + 1))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 15, 16, 17, 40])
@pytest.mark.parametrize("large", [False, True])
def test_groups_of_any_size_are_there_whole_after_a_restart(tmp_path: Path, clock: Any, size: int, large: bool) -> None:
    async def test() -> None:
        wanted = {f"/g/{number:02}": bytes([number]) * 20 for number in range(size)}
        if large:
            wanted["/g/00"] = b"x" * (sqlite.SMALL_BYTES + 1)
        async with await sqlite.open_store(tmp_path / "store.db", clock) as store:
            await asyncio.gather(*(store.put(key, value) for key, value in wanted.items()))
        async with await sqlite.open_store(tmp_path / "store.db", clock) as store:
            found = await store.range("/g/")
            assert {one.key: one.value for one in found.kvs} == wanted
            assert await store.current_revision() == size + 1

    asyncio.run(test())


def test_the_files_are_their_owners_alone(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "data" / "store.db"

    async def body() -> None:
        async with await sqlite.open_store(path, clock) as store:
            await store.put("/a", b"1")
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    asyncio.run(body())


def test_a_file_has_one_process_at_a_time(tmp_path: Path, clock: Any) -> None:
    async def body() -> None:
        async with await sqlite.open_store(tmp_path / "store.db", clock):
            with pytest.raises(Unavailable, match="in use"):
                await sqlite.open_store(tmp_path / "store.db", clock)
        await (await sqlite.open_store(tmp_path / "store.db", clock)).close()

    asyncio.run(body())


def test_what_is_no_store_is_refused(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "text.db").write_text("this is not a database" * 100)
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def body() -> None:
        with pytest.raises(Unavailable, match="not a database"):
            await sqlite.open_store(tmp_path / "text.db", clock)
        with pytest.raises(Unavailable, match="version 99"):
            await sqlite.open_store(tmp_path / "newer.db", clock)

    asyncio.run(body())


def test_a_damaged_file_is_refused_and_not_guessed_at(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "store.db"

    async def write() -> None:
        async with await sqlite.open_store(path, clock) as store:
            for number in range(5):
                await store.put(f"/{number}", b"x")

    asyncio.run(write())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM log WHERE revision = 4")
    connection.close()
    with pytest.raises(Unavailable, match="revision 4 is missing"):
        asyncio.run(_opened_and_closed(path, clock))


def test_a_store_that_cannot_be_read_says_so_and_keeps_running(tmp_path: Path, clock: Any) -> None:
    async def body() -> None:
        async with await sqlite.open_store(tmp_path / "store.db", clock) as store:
            for number in range(60):
                await store.put(f"/{number}", b"x")
            store._recent.clear()
            log = store._log
            assert isinstance(log, sqlite.SQLiteLog)
            rename = "ALTER TABLE log RENAME TO hidden"
            await log._run(log._writer, lambda connection: connection.execute(rename).fetchall())
            for failing in (store.get("/1"), store.range("/"), store.compact(30)):
                with pytest.raises(Unavailable):
                    await failing
            back = "ALTER TABLE hidden RENAME TO log"
            await log._run(log._writer, lambda connection: connection.execute(back).fetchall())
            assert (await store.range("/")).count == 60
            await store.put("/1", b"y")
            await store.compact(await store.current_revision())

    asyncio.run(body())


async def _opened_and_closed(path: Path, clock: Any) -> None:
    await (await sqlite.open_store(path, clock)).close()


def test_a_full_disk_refuses_writes_and_harms_nothing(tmp_path: Path, clock: Any) -> None:
    async def body() -> None:
        async with await sqlite.open_store(tmp_path / "store.db", clock) as store:
            kept = await store.put("/kept", b"1")
            log = store._log
            assert isinstance(log, sqlite.SQLiteLog)
            await log._run(log._writer, lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchall())
            results = await asyncio.gather(
                *(store.put(f"/big/{number}", b"x" * 9000) for number in range(40)), return_exceptions=True
            )
            assert all(isinstance(result, Unavailable) for result in results)
            await log._run(
                log._writer, lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall()
            )
            assert await store.put("/after", b"2") == kept + 1
            assert [kv.key for kv in (await store.range("/")).kvs] == ["/after", "/kept"]

    asyncio.run(body())


def test_a_file_of_the_first_version_has_its_keys_where_kubernetes_has_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    before = {
        "/registry/endpoints/default/web": "/registry/services/endpoints/default/web",
        "/registry/nodes/a": "/registry/minions/a",
        "/registry/pods/default/a": "/registry/pods/default/a",
        "/registry/services/default/web": "/registry/services/specs/default/web",
    }

    async def write() -> None:
        async with await sqlite.open_store(path, SystemClock()) as store:
            for key in before:
                await store.put(key, key.encode())

    async def read() -> dict[str, str]:
        async with await sqlite.open_store(path, SystemClock()) as store:
            return {kv.value.decode(): kv.key for kv in (await store.range("")).kvs}

    asyncio.run(write())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    assert asyncio.run(read()) == before
    assert asyncio.run(read()) == before, "it happens once"
