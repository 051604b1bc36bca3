"""A store whose requests are counted is the store that it was."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from keelback.apiserver.store_metrics import MeteredStore
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock, SystemClock
from keelback.encryption.config import GroupResource
from keelback.storage import memory
from keelback.storage.protocol import CompareFailed, Unavailable
from keelback.testing.api import api_server


def test_what_compacts_is_given_the_store_itself() -> None:
    given: asyncio.Queue[Any] = asyncio.Queue()

    async def compact(store: Any, clock: Clock) -> NoReturn:
        given.put_nowait(store)
        await asyncio.Event().wait()
        raise AssertionError

    async def test() -> None:
        store = memory.open_store(SystemClock())
        async with asyncio.timeout(30), api_server(store=store, compact=compact):
            assert await given.get() is store, "it may ask what only a store of its kind answers"

    asyncio.run(test())


def test_lost_races_are_answers_and_a_closed_store_is_an_error() -> None:
    metrics = Registry()

    async def test() -> None:
        beneath = memory.open_store(SystemClock())
        store = MeteredStore(beneath, lambda key: GroupResource("", "pods") if "/pods/" in key else None, metrics)
        await store.put("/registry/pods/a/b", b"1", expected_revision=0)
        with pytest.raises(CompareFailed):
            await store.delete("/registry/pods/a/b", expected_revision=7)
        await store.put("/registry/masterleases/10.0.0.1", b"1", ttl_seconds=15)
        assert [page.kvs[0].value async for page in store.pages("/registry/pods/")] == [b"1"]
        await store.close()
        with pytest.raises(Unavailable):
            await store.get("/registry/pods/a/b")
        await store.measure_size()

    asyncio.run(test())
    counted = {
        line
        for line in metrics.exposition().decode().splitlines()
        if line.startswith(("etcd_request_errors_total{", "etcd_requests_total{", "apiserver_storage_size_bytes{"))
    }
    assert counted == {
        'etcd_requests_total{operation="create",group="",resource="pods"} 1',
        'etcd_requests_total{operation="delete",group="",resource="pods"} 1',
        'etcd_requests_total{operation="create",group="",resource="masterleases"} 1',
        'etcd_requests_total{operation="list",group="",resource="pods"} 1',
        'etcd_requests_total{operation="get",group="",resource="pods"} 1',
        'etcd_request_errors_total{operation="get",group="",resource="pods"} 1',
    }
