"""The embedded default: one SQLite file, an append-only log of writes, made durable in groups by one writer thread.

WAL with `synchronous=FULL`: what was acknowledged survives `kill -9` and loss of power. Compaction removes dead values
and gives their pages back, so that a cluster which only renews leases keeps a file of constant size.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from keelback.concurrency.clock import Clock
from keelback.storage.embedded import EmbeddedStore, Refused
from keelback.storage.key_index import KeyIndex, Record, prefix_end
from keelback.storage.protocol import FIRST_REVISION, Unavailable

GROUP_WINDOW_SECONDS = 0.002
SCHEMA_VERSION = 2
PAGE_BYTES = 4096
WAL_CHECKPOINT_PAGES = 1000
WAL_LIMIT_BYTES = 8 << 20
READ_AT_ONCE = 32
ROWS_AT_ONCE = 16
"""So many writes go in with one statement."""
SMALL_BYTES = 16 << 10
"""Not if one of them is larger: a statement keeps what it was last given."""
VACUUM_PAGES = 64
FREE_PAGES = 2_048
CACHE_KIB = 512
MAPPED_BYTES = 1 << 40

# Version 1 had these resources where their plurals say, not where Kubernetes has them. Services go before Endpoints
# come to be beside them.
_MOVED_IN_2 = (
    ("/registry/services/", "/registry/services/specs/"),
    ("/registry/endpoints/", "/registry/services/endpoints/"),
    ("/registry/nodes/", "/registry/minions/"),
    ("/registry/replicationcontrollers/", "/registry/controllers/"),
    ("/registry/ingresses/", "/registry/ingress/"),
    ("/registry/customresourcedefinitions/", "/registry/apiextensions.k8s.io/customresourcedefinitions/"),
    ("/registry/apiservices/", "/registry/apiregistration.k8s.io/apiservices/"),
)

# `value` stands last: what precedes it is read without touching the pages a large value overflows to.
_SCHEMA = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    expires REAL NOT NULL,
    value BLOB NOT NULL
);
CREATE TABLE compaction (revision INTEGER NOT NULL);
INSERT INTO compaction VALUES (%d);
PRAGMA user_version = %d;
"""


async def open_store(path: Path, clock: Clock) -> EmbeddedStore:
    """Open the file, making it (mode 0600) and its folder when missing.

    Raises `Unavailable` when another process has it open, or when it is not a store of this version.
    """
    log = SQLiteLog(path, asyncio.get_running_loop())
    try:
        index = await log.load()
    except Unavailable as error:
        await log.close()
        raise Unavailable(f"{path}: {error}") from error
    return EmbeddedStore(log, index, clock)


class SQLiteLog:
    """Appends in a writer thread; reads single values at once and many values in a reader thread."""

    group_window_seconds = GROUP_WINDOW_SECONDS

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._lock_file = _lock(path)
        self._near: sqlite3.Connection | None = None
        self._writer = _Worker("keelback-store-writer", lambda: _connect(path))
        self._reader = _Worker("keelback-store-reader", lambda: _connect(path))

    async def load(self) -> KeyIndex:
        """Read the index; remove what a compaction that was cut short has left."""
        await self._run(self._writer, _prepare)
        self._near = _connect(self._path)
        loaded: tuple[KeyIndex, list[int]] = await self._run(self._reader, _read_index)
        index, dead = loaded
        if dead:
            await self.compact(index.compacted, dead)
        return index

    def append(self, group: Sequence[tuple[Record, bytes]], done: Callable[[BaseException | None], None]) -> None:
        self._writer.submit(lambda connection: _append(connection, group), self._then(lambda _, error: done(error)))

    def value(self, revision: int) -> bytes | None:
        assert self._near is not None
        try:
            row = self._near.execute("SELECT value FROM log WHERE revision = ?", (revision,)).fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"the store cannot be read: {error}") from error
        return None if row is None else row[0]

    async def values(self, revisions: Sequence[int]) -> Mapping[int, bytes]:
        if len(revisions) <= READ_AT_ONCE:
            found = ((revision, self.value(revision)) for revision in revisions)
            return {revision: value for revision, value in found if value is not None}
        values: Mapping[int, bytes] = await self._run(
            self._reader, lambda connection: _read_values(connection, revisions)
        )
        return values

    async def compact(self, compacted: int, dead: Sequence[int]) -> None:
        await self._run(self._writer, lambda connection: _compact(connection, compacted, dead))

    def size_bytes(self) -> int:
        # What waits in the write-ahead log is on the disk too.
        sizes = (os.stat(f"{self._path}{suffix}").st_size for suffix in ("", "-wal"))
        try:
            return sum(sizes)
        except OSError as error:
            raise Unavailable(f"the store's files cannot be looked at: {error}") from error

    async def close(self) -> None:
        if self._near is not None:
            self._near.close()
        for worker in (self._reader, self._writer):
            await self._loop.run_in_executor(None, worker.close)
        os.close(self._lock_file)

    def _then(self, call: Callable[[Any, BaseException | None], None]) -> Callable[[Any, BaseException | None], None]:
        """Carries a worker's answer to the event loop, which may have been closed meanwhile."""

        def answered(result: Any, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call, result, error)

        return answered

    async def _run(self, worker: _Worker, work: Callable[[sqlite3.Connection], Any]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()

        def answer(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if isinstance(error, sqlite3.Error):
                future.set_exception(Unavailable(str(error)))
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        worker.submit(work, self._then(answer))
        return await future


class _Worker:
    """A thread with a connection of its own that does one thing after another."""

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        # Bounded by its callers: one group, one compaction step, the reads that requests wait for.
        self._work: queue.SimpleQueue[
            tuple[Callable[[sqlite3.Connection], Any], Callable[[Any, BaseException | None], None]] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[sqlite3.Connection], Any], answer: Callable[[Any, BaseException | None], None]
    ) -> None:
        self._work.put((work, answer))

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (item := self._work.get()) is not None:
            work, answer = item
            try:
                connection = connection or self._connect()
                result = work(connection)
            except Exception as error:  # the loop's edge: whoever asked is told
                answer(None, error)
            else:
                answer(result, None)
        if connection is not None:
            connection.close()


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Keep every store from opening the file. Raises `Unavailable` when one has it open."""
    descriptor = _hold(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    descriptor = _hold(path)
    # SQLite gives its -wal and -shm files the mode of the file itself.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return descriptor


def _hold(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(f"{path} is in use by another process") from None
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        # What is read often is in the watch caches, and what is written is at the end of the table.
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        # One transaction: a crash leaves an empty file or a whole one.
        connection.executescript("BEGIN IMMEDIATE;" + _SCHEMA % (FIRST_REVISION, SCHEMA_VERSION) + "COMMIT;")
    elif version == 1:
        _move_to_2(connection)
    elif version != SCHEMA_VERSION:
        raise Unavailable(f"the store has schema version {version}; this build reads version {SCHEMA_VERSION}")


def _move_to_2(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for old, new in _MOVED_IN_2:
        connection.execute(
            "UPDATE log SET key = ? || substr(key, ?) WHERE key >= ? AND key < ?",
            (new, len(old) + 1, old, prefix_end(old)),
        )
    connection.execute("PRAGMA user_version = 2")
    connection.execute("COMMIT")


def _read_index(connection: sqlite3.Connection) -> tuple[KeyIndex, list[int]]:
    with _mapped(connection):
        return _read_records(connection)


def _read_records(connection: sqlite3.Connection) -> tuple[KeyIndex, list[int]]:
    (compacted,) = connection.execute("SELECT revision FROM compaction").fetchone()
    rows = connection.execute("SELECT key, revision, create_revision, previous, expires FROM log ORDER BY revision")
    living: dict[str, Record] = {}
    dead: list[int] = []
    index: KeyIndex | None = None
    for row in rows:
        record = Record(*row)
        if record.revision > compacted:
            index = index or KeyIndex(compacted, living.values())
            if record.revision != index.revision + 1:
                raise Unavailable(f"the store is damaged: revision {index.revision + 1} is missing")
            index.apply(record)
            continue
        if record.key in living:
            dead.append(living.pop(record.key).revision)
        if record.is_deletion:
            dead.append(record.revision)
        else:
            living[record.key] = record
    return index or KeyIndex(compacted, living.values()), dead


def _read_values(connection: sqlite3.Connection, revisions: Sequence[int]) -> dict[int, bytes]:
    # One statement reads one snapshot; the revisions travel as one JSON text, whatever their number.
    wanted = "[" + ",".join(map(str, revisions)) + "]"
    return dict(
        connection.execute(
            "SELECT log.revision, log.value FROM json_each(?) AS wanted CROSS JOIN log ON log.revision = wanted.value",
            (wanted,),
        )
    )


@contextlib.contextmanager
def _mapped(connection: sqlite3.Connection) -> Iterator[None]:
    """Read the file where the kernel has it, without a copy of each page, while all of them are looked at. Not longer,
    for what is mapped counts as the process's memory."""
    connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
    try:
        yield
    finally:
        connection.execute("PRAGMA mmap_size = 0")


def _append(connection: sqlite3.Connection, group: Sequence[tuple[Record, bytes]]) -> None:
    """All of the group, or nothing. While a statement runs the interpreter is somebody else's, and to have it back is
    to wait where the loop is busy: so most groups are one statement, which needs no transaction around it."""
    are_small = max([len(value) for _, value in group]) <= SMALL_BYTES
    try:
        if are_small and len(group) <= ROWS_AT_ONCE:
            _insert(connection, group)
            return
        connection.execute("BEGIN IMMEDIATE")
        if are_small:
            for at in range(0, len(group), ROWS_AT_ONCE):
                _insert(connection, group[at : at + ROWS_AT_ONCE])
        else:
            connection.executemany(_INSERT_ONE, [_row(record, value) for record, value in group])
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise Refused(f"no space left for the store: {error}") from error
        raise


def _insert(connection: sqlite3.Connection, group: Sequence[tuple[Record, bytes]]) -> None:
    # Few different statements, so that each is compiled once: what is left over is filled with rows that are dropped.
    rows = 1 << (len(group) - 1).bit_length()
    values = [field for record, value in group for field in _row(record, value)]
    connection.execute(_INSERTS[rows], values + [None] * (rows * _COLUMNS - len(values)))


def _row(record: Record, value: bytes) -> tuple[int, str, int, int, float, bytes]:
    return (record.revision, record.key, record.create_revision, record.previous, record.expires, value)


_INTO: Final = "INSERT INTO log (revision, key, create_revision, previous, expires, value)"
_COLUMNS: Final = 6
_ROW: Final = "(?, ?, ?, ?, ?, ?)"
_INSERT_ONE: Final = f"{_INTO} VALUES {_ROW}"
_INSERTS: Final = {1: _INSERT_ONE} | {
    rows: f"{_INTO} SELECT * FROM (VALUES {', '.join([_ROW] * rows)}) WHERE column1 IS NOT NULL"  # noqa: S608 - constants
    for rows in (2, 4, 8, ROWS_AT_ONCE)
}


def _compact(connection: sqlite3.Connection, compacted: int, dead: Sequence[int]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("UPDATE compaction SET revision = ?", (compacted,))
        connection.executemany("DELETE FROM log WHERE revision = ?", [(revision,) for revision in dead])
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    _give_back(connection)


def _give_back(connection: sqlite3.Connection) -> None:
    """Shorten the file by a few pages where a third of it and more is free. Free pages are written to again, and each
    that is given back is another's that moves: as long as a store only changes what it has, none is."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if free > FREE_PAGES and free > pages // 3:
        # It answers with a row without columns for each page. `execute` stops at the first, a script goes on.
        connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
