"""What is written to is read from the watch caches, which must have the store's very bytes or say that they do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from keelback.apimachinery.errors import NotFound
from keelback.client import Client
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.embedded import EmbeddedStore
from keelback.testing.api import ADMINISTRATOR, api_server

DEFINITION: dict[str, Any] = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": version,
                "served": True,
                "storage": version == "v1",
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
            for version in ("v1", "v2")
        ],
    },
}
POD = {"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SCALER = {
    "metadata": {"name": "s"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3},
}


async def _post(client: Client, path: str, tree: dict[str, Any]) -> None:
    await client.request("POST", path, body=json.dumps(tree).encode(), headers={"content-type": "application/json"})


async def _patch(client: Client, path: str, tree: dict[str, Any]) -> None:
    headers = {"content-type": "application/merge-patch+json"}
    await client.request("PATCH", path, body=json.dumps(tree).encode(), headers=headers)


async def _served(client: Client, path: str) -> None:
    """Return when the resource is served."""
    while True:
        try:
            await client.request("GET", path)
        except NotFound:
            await asyncio.sleep(0)
        else:
            return


async def _held(store: EmbeddedStore) -> dict[str, bool]:
    """Of every key whether a cache had its value, each of which was the store's own."""
    held: dict[str, bool] = {}
    for one in (await store.range("/")).kvs:
        value = store.held_elsewhere(one.key, one.mod_revision)
        assert value in (None, one.value), one.key
        assert store.held_elsewhere(one.key, 0) is None
        held[one.key] = value is not None
    return held


def test_a_cache_has_what_the_store_has_byte_for_byte() -> None:
    async def body() -> None:
        store = memory.open_store(SystemClock())
        async with api_server(store=store) as api:
            client = api.client(ADMINISTRATOR, "test")
            pods = "/api/v1/namespaces/default/pods"
            await _post(client, pods, POD)
            await _patch(client, f"{pods}/a", {"metadata": {"labels": {"a": None}, "annotations": {"c": "é"}}})
            await _post(client, "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", SCALER)
            await _post(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
            for version in ("v1", "v2"):
                widgets = f"/apis/example.com/{version}/namespaces/default/widgets"
                await _served(client, widgets)
                kind = {"kind": "Widget", "apiVersion": f"example.com/{version}"}
                await _post(client, widgets, {**kind, "metadata": {"name": version}, "spec": {"a": [1.5]}})
            # The caches may be a moment behind. Of custom resources of two versions each may be stored in either.
            while not all(  # noqa: ASYNC110 - what comes from the store last is nobody's event
                is_held for key, is_held in (await _held(store)).items() if "/widgets/" not in key
            ):
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(body(), 30))
