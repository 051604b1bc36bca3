"""Random operations on a store, compared step by step with a dumb model that keeps every state it ever had."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, memory, sqlite
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.protocol import FIRST_REVISION, Compacted, CompareFailed, KeyValue, Store
from keelback.testing.etcd import EtcdCluster

T = TypeVar("T")

KEYS = st.sampled_from(["/a", "/a/", "/a/x", "/a/y", "/b/x", "/b/y/z"])
PREFIXES = st.sampled_from(["", "/", "/a/", "/b/", "/a"])
VALUES = st.binary(max_size=4)
EXPECTED = st.sampled_from(["none", "right", "wrong"])


class StoreMachine(RuleBasedStateMachine):
    """The model: the state of the keys at every revision."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.wait(self.open())
        self.states: dict[int, dict[str, KeyValue]] = {FIRST_REVISION: {}}
        self.revision = FIRST_REVISION
        self.compacted = FIRST_REVISION

    async def open(self) -> Store:
        return memory.open_store(SystemClock())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.runner.close()

    @property
    def now(self) -> dict[str, KeyValue]:
        return self.states[self.revision]

    def expectation(self, key: str, kind: str) -> tuple[int | None, bool]:
        actual = self.now[key].mod_revision if key in self.now else 0
        if kind == "none":
            return None, True
        return (actual, True) if kind == "right" else (actual + 1, False)

    @rule(key=KEYS, value=VALUES, kind=EXPECTED)
    def put(self, key: str, value: bytes, kind: str) -> None:
        expected, fits = self.expectation(key, kind)
        if not fits:
            with pytest.raises(CompareFailed) as caught:
                self.wait(self.store.put(key, value, expected_revision=expected))
            assert caught.value.current == self.now.get(key)
            return
        revision = self.wait(self.store.put(key, value, expected_revision=expected))
        assert revision == self.revision + 1
        created = self.now[key].create_revision if key in self.now else revision
        self.states[revision] = {**self.now, key: KeyValue(key, value, created, revision)}
        self.revision = revision

    @rule(key=KEYS, kind=EXPECTED)
    def delete(self, key: str, kind: str) -> None:
        expected, fits = self.expectation(key, kind)
        if not fits:
            with pytest.raises(CompareFailed):
                self.wait(self.store.delete(key, expected_revision=expected))
            return
        revision, previous = self.wait(self.store.delete(key, expected_revision=expected))
        assert previous == self.now.get(key)
        if previous is not None:
            self.states[revision] = {other: kv for other, kv in self.now.items() if other != key}
            self.revision = revision

    @rule(prefix=PREFIXES, start=st.one_of(st.just(""), KEYS), limit=st.integers(0, 3), back=st.integers(0, 6))
    def range(self, prefix: str, start: str, limit: int, back: int) -> None:
        at = self.revision - back
        if at < self.compacted:
            if at > 0:
                with pytest.raises(Compacted):
                    self.wait(self.store.range(prefix, revision=at))
            return
        wanted = [kv for key, kv in sorted(self.states[at].items()) if key.startswith(prefix) and key >= start]
        result = self.wait(self.store.range(prefix, start=start, limit=limit, revision=at))
        assert list(result.kvs) == (wanted[:limit] if limit else wanted)
        assert (result.count, result.revision) == (len(wanted), at)
        assert result.more == (len(result.kvs) < len(wanted))

    @rule(prefix=PREFIXES, back=st.integers(0, 10))
    def replay(self, prefix: str, back: int) -> None:
        begin = max(self.revision - back, self.compacted)
        wanted = []
        for revision in range(begin + 1, self.revision + 1):
            before, after = self.states[revision - 1], self.states[revision]
            wanted += [
                (key, before.get(key), after.get(key))
                for key in before.keys() | after.keys()
                if before.get(key) != after.get(key) and key.startswith(prefix)
            ]
        if not wanted:
            return

        async def read() -> list[tuple[str, KeyValue | None, KeyValue | None]]:
            watch = self.store.watch(prefix, begin + 1)
            found: list[tuple[str, KeyValue | None, KeyValue | None]] = []
            while len(found) < len(wanted):
                batch = await watch.__anext__()
                found += [(e.kv.key, e.prev, e.kv if e.type == "put" else None) for e in batch.events]
            watch.close()
            return found

        assert self.wait(read()) == wanted

    @rule(back=st.integers(0, 8))
    def compact(self, back: int) -> None:
        target = self.revision - back
        if target <= self.compacted:
            return
        self.wait(self.store.compact(target))
        self.compacted = target

    @invariant()
    def agrees_about_now(self) -> None:
        assert self.wait(self.store.current_revision()) == self.revision
        for key in ("/a", "/a/x", "/b/y/z"):
            assert self.wait(self.store.get(key)) == self.now.get(key)


class SQLiteMachine(StoreMachine):
    """The same, and the store may be closed and opened at any moment."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__()

    async def open(self) -> Store:
        return await sqlite.open_store(Path(self.folder.name) / "store.db", SystemClock())

    @rule()
    def reopen(self) -> None:
        self.wait(self.store.close())
        self.store = self.wait(self.open())

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


def etcd_machine(servers: tuple[str, ...]) -> type[StoreMachine]:
    """The same on etcd, where each run has a part of its own and counts revisions from there on."""
    parts = itertools.count()

    class EtcdMachine(StoreMachine):
        async def open(self) -> Store:
            async with await etcd.open_store(servers, SystemClock()) as now:
                offset = FIRST_REVISION - await now.current_revision()
            keys = KeySpace(inside="", outside=f"/model-{next(parts):04}", offset=offset)
            return await etcd.open_store(servers, SystemClock(), keys=keys)

    return EtcdMachine


def test_the_memory_store_behaves_like_the_model() -> None:
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def test_the_sqlite_store_behaves_like_the_model() -> None:
    slow = settings(
        max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(SQLiteMachine, settings=slow)


def test_the_etcd_store_behaves_like_the_model(one_member: EtcdCluster) -> None:
    slow = settings(
        max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(etcd_machine(one_member.servers), settings=slow)
