"""Snapshots of the SQLite store, taken while a server uses it, and stores made of them.

A store that goes back in time would give out resourceVersions anew that clients have seen with other contents. So what
is restored goes on far above, and knows of no past: watches and lists that go on from before are told to begin anew.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from keelback.storage.protocol import Unavailable
from keelback.storage.snapshot_files import SnapshotError, whole
from keelback.storage.sqlite import SCHEMA_VERSION, held_alone

BUMP_REVISIONS = 1_000_000_000
"""How far above the snapshot's revision a restored store goes on: no cluster writes so often between two snapshots."""
_BUSY_SECONDS = 10.0


def save(store: Path, snapshot: Path) -> int:
    """Copy the store as it is now; its revision. Writers go on meanwhile. Raises SnapshotError."""
    if not store.exists():
        raise SnapshotError(f"{store} does not exist")
    with whole(snapshot) as partial, _opened(store) as source, _opened(partial) as copy:
        try:
            # In one step, which reads one state: in several, each write would make it begin anew.
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.Error as error:
            raise SnapshotError(f"{store} cannot be copied: {error}") from error
        return _checked(copy, store)


def check(snapshot: Path) -> int:
    """The revision of a snapshot. Raises SnapshotError where it is damaged, or no snapshot of this version."""
    if not snapshot.exists():
        raise SnapshotError(f"{snapshot} does not exist")
    with _opened(snapshot) as connection:
        return _checked(connection, snapshot)


def restore(snapshot: Path, store: Path) -> int:
    """Make a store of a snapshot, where there is none; the revision it begins at. Raises SnapshotError."""
    check(snapshot)
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with held_alone(store), whole(store) as partial:
            shutil.copyfile(snapshot, partial)
            with _opened(partial) as connection:
                revision = _checked(connection, snapshot) + BUMP_REVISIONS
                with connection:
                    connection.execute("UPDATE compaction SET revision = ?", (revision,))
            return revision
    except Unavailable as error:
        raise SnapshotError(str(error)) from error


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if version != SCHEMA_VERSION:
            raise SnapshotError(f"{path} has schema version {version}; this build reads version {SCHEMA_VERSION}")
        if verdict != "ok":
            raise SnapshotError(f"{path} is damaged: {verdict}")
        (compacted,) = connection.execute("SELECT revision FROM compaction").fetchone()
        (newest,) = connection.execute("SELECT max(revision) FROM log").fetchone()
    except sqlite3.Error as error:
        raise SnapshotError(f"{path} is no snapshot of a store: {error}") from error
    return max(int(compacted), int(newest or 0))


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS))
