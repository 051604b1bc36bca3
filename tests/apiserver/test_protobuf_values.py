"""A server over a store in which kube-apiserver has left protobuf."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.apimachinery import protobuf, protobuf_encoding
from keelback.apiserver.protobuf_values import ProtobufValues
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.protocol import CompareFailed
from keelback.testing.api import api_server
from keelback.testing.requests import asking

CONFIG_MAP = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default"},"data":{"k":"v"}}'
KEY = "/registry/configmaps/default/a"
PATH = "/api/v1/namespaces/default/configmaps"
LEFT = protobuf_encoding.from_json(CONFIG_MAP)


def test_both_forms_are_read_however_they_are_asked_for() -> None:
    async def main() -> None:
        beneath = memory.open_store(SystemClock())
        async with ProtobufValues(beneath) as store:
            watch = store.watch("/", with_previous=True)
            first = await beneath.put(KEY, LEFT)
            await beneath.put("/other", b"{}")
            json = protobuf.to_json(LEFT)
            found = await store.get(KEY)
            assert found is not None
            assert (found.value, found.is_stale) == (json, True)
            assert [one.value for one in (await store.range("/")).kvs] == [b"{}", json]
            assert [one.value async for page in store.pages("/registry/") for one in page.kvs] == [json]
            with pytest.raises(CompareFailed) as failed:
                await store.put(KEY, b"{}", expected_revision=0)
            assert failed.value.current is not None
            assert failed.value.current.value == json
            with pytest.raises(CompareFailed):
                await store.delete(KEY, expected_revision=first + 1)
            _, before = await store.delete(KEY)
            assert before is not None
            assert before.value == json
            seen = []
            async for batch in watch:
                seen += batch.events
                if seen[-1].type == "delete":
                    break
            watch.close()
            assert seen[0].kv.value == json
            assert seen[-1].prev is not None
            assert seen[-1].prev.value == json
            # Whose kind is not known stays what it is.
            unknown = LEFT.replace(b"ConfigMap", b"ConfigBag")
            await beneath.put(KEY, unknown)
            assert (await store.range(KEY)).kvs[0].value == unknown

    asyncio.run(main())


def test_a_server_follows_upstreams_on_its_store() -> None:
    async def main() -> None:
        store = memory.open_store(SystemClock())
        await store.put(KEY, LEFT)
        async with api_server(store=store, store_is_shared=True) as api, asyncio.timeout(30):
            ask = asking(api.handle)
            status, found = await ask("GET", f"{PATH}/a")
            assert (status, found["data"]) == (200, {"k": "v"})
            _, listed = await ask("GET", PATH)
            assert [one["metadata"]["name"] for one in listed["items"]] == ["a"]
            patch: dict[str, Any] = {"data": {"l": "w"}}
            status, made = await ask("PATCH", f"{PATH}/a", patch, kind="application/merge-patch+json")
            assert (status, made["data"]) == (200, {"k": "v", "l": "w"})
            kept = await store.get(KEY)
            assert kept is not None
            assert kept.value.startswith(b"{")

    asyncio.run(main())
