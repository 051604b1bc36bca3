"""One version of a custom resource whose versions a webhook converts, as a store of its own.

What is stored in another version is brought to this one as it is read or watched, and to the storage version as it is
written; so nothing above knows that there are versions. Compare-and-swap is on the revisions of the store beneath.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from keelback.admission.webhook_client import HTTPSWebhookCaller
from keelback.admission.webhook_reviews import WebhookFailure
from keelback.api import admissionregistration_v1
from keelback.api.apiextensions_v1 import WebhookConversion
from keelback.apiserver import conversion_reviews
from keelback.apiserver.conversion_reviews import ConversionFailed
from keelback.component.metrics import Histogram, Registry
from keelback.storage.layer import StoreLayer
from keelback.storage.protocol import Event, KeyValue, Page, RangeResult, Store, Watch, WatchBatch

TIMEOUT_SECONDS = 30.0
_MAX_OBJECTS_A_CALL = 500
_OTHER_VERSION = b" "
"""Follows what was converted on its way out: a write that changes nothing must yet bring it to the storage version."""


def call_seconds(metrics: Registry) -> Histogram:
    """Where it is told how long calls of conversion webhooks last."""
    return metrics.histogram(
        "apiserver_crd_conversion_webhook_duration_seconds",
        "CRD webhook conversion duration in seconds",
        ("crd_name", "from_version", "to_version", "succeeded"),
        tuple(0.001 * 2**power for power in range(15)),
    )


class _Type(msgspec.Struct):
    apiVersion: str = ""  # noqa: N815 - a name on the wire


_TYPE = msgspec.json.Decoder(_Type)


class ConversionWebhook:
    """Brings objects of one definition to a version. Every call has its deadline."""

    def __init__(
        self,
        caller: HTTPSWebhookCaller,
        conversion: WebhookConversion,
        new_uid: Callable[[], str],
        name: str,
        seconds: Histogram,
    ) -> None:
        """`name` is the definition's; `seconds` takes how long calls last."""
        self._caller = caller
        self._name = name
        self._seconds = seconds
        self._versions = conversion.conversion_review_versions
        self._new_uid = new_uid
        client = conversion.client_config
        assert client is not None, "validation has seen to it"
        service = client.service
        target = client.url or ""
        if service is not None:
            path = f"/{(service.path or '').lstrip('/')}"
            target = f"https://{service.name}.{service.namespace}.svc:{service.port}{path}"
        self._url = urlunsplit(urlsplit(target)._replace(query=f"timeout={TIMEOUT_SECONDS:.0f}s"))
        self._config = admissionregistration_v1.WebhookClientConfig(
            ca_bundle=client.ca_bundle,
            url=client.url,
            service=None
            if service is None
            else admissionregistration_v1.ServiceReference(
                name=service.name, namespace=service.namespace, path=service.path, port=service.port
            ),
        )

    async def convert(self, objects: Sequence[dict[str, Any]], desired: str) -> list[dict[str, Any]]:
        """The objects in the desired apiVersion; those that have it already are not sent. Raises ConversionFailed."""
        made = list(objects)
        others = [at for at, one in enumerate(objects) if one.get("apiVersion") != desired]
        for start in range(0, len(others), _MAX_OBJECTS_A_CALL):
            places = others[start : start + _MAX_OBJECTS_A_CALL]
            for at, one in zip(places, await self._call([objects[at] for at in places], desired), strict=True):
                made[at] = one
        return made

    async def _call(self, objects: list[dict[str, Any]], desired: str) -> list[dict[str, Any]]:
        started, succeeded = time.perf_counter(), "false"
        try:
            made = await self._asked(objects, desired)
            succeeded = "true"
            return made
        finally:
            present, wanted = (version.rpartition("/")[2] for version in (str(objects[0].get("apiVersion")), desired))
            self._seconds.observe(time.perf_counter() - started, self._name, present, wanted, succeeded)

    async def _asked(self, objects: list[dict[str, Any]], desired: str) -> list[dict[str, Any]]:
        uid = self._new_uid()
        review = conversion_reviews.request(self._versions, uid, desired, objects)
        try:
            answer = await self._caller.call(self._config, self._url, review, TIMEOUT_SECONDS)
        except WebhookFailure as failure:
            subject = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={objects[0].get('kind')}"
            raise ConversionFailed(f'{subject} failed: Post "{self._url}": {failure}') from failure
        return conversion_reviews.converted(answer, self._versions, uid, desired, objects)


class ConvertingStore(StoreLayer):
    """A Store of the objects below `prefix`, in one version. See the module."""

    def __init__(
        self,
        store: Store,
        webhook: ConversionWebhook,
        *,
        prefix: str,
        served: str,
        stored: str,
        as_read: Callable[[dict[str, Any]], dict[str, Any]],
        as_served: Callable[[dict[str, Any]], bytes],
        as_stored: Callable[[dict[str, Any]], bytes],
    ) -> None:
        """`as_read` gives a stored object the defaults of its version; the others write what a webhook answered."""
        super().__init__(store)
        self.webhook = webhook
        self._prefix = prefix
        self._served = served
        self._stored = stored
        self._as_read = as_read
        self._as_served = as_served
        self._as_stored = as_stored

    async def get(self, key: str) -> KeyValue | None:
        found = await self._store.get(key)
        if found is None:
            return None
        (value,) = await self._to_served([found.value])
        if _TYPE.decode(found.value).apiVersion != self._stored:
            value += _OTHER_VERSION
        return msgspec.structs.replace(found, value=value)

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        found = await self._store.range(prefix, start=start, limit=limit, revision=revision)
        return msgspec.structs.replace(found, kvs=await self._all_served(found.kvs))

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        async for kvs, revision in self._store.pages(prefix):
            yield Page(await self._all_served(kvs), revision)

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        (made,) = await self.webhook.convert([msgspec.json.decode(value)], self._stored)
        return await self._store.put(
            key, self._as_stored(made), expected_revision=expected_revision, ttl_seconds=ttl_seconds
        )

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        revision, before = await self._store.delete(key, expected_revision=expected_revision)
        return revision, before

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        # Everything is watched, though little is told: revisions pass on.
        return _ConvertingWatch(
            self._store.watch("", from_revision, with_previous=False), self._prefix, self._to_served
        )

    async def close(self) -> None:
        """Nothing: the store beneath is another's."""

    async def _all_served(self, kvs: Sequence[KeyValue]) -> list[KeyValue]:
        # What cannot be decrypted has nothing to convert, and goes on as it is.
        values = iter(await self._to_served([one.value for one in kvs if not one.unreadable]))
        return [one if one.unreadable else msgspec.structs.replace(one, value=next(values)) for one in kvs]

    async def _to_served(self, values: Sequence[bytes]) -> list[bytes]:
        if not values:
            return []
        trees = [self._as_read(msgspec.json.decode(one)) for one in values]
        return [self._as_served(one) for one in await self.webhook.convert(trees, self._served)]


class _ConvertingWatch:
    """The changes of one resource, converted; of all else only that time goes on."""

    def __init__(self, watch: Watch, prefix: str, to_served: Callable[[Sequence[bytes]], Any]) -> None:
        self._watch = watch
        self._prefix = prefix
        self._to_served = to_served

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        batch = await self._watch.__anext__()
        own = [event for event in batch.events if event.kv.key.startswith(self._prefix)]
        puts = [event for event in own if _is_readable(event)]
        if puts:
            values = iter(await self._to_served([event.kv.value for event in puts]))
            own = [_with_value(event, next(values)) if _is_readable(event) else event for event in own]
        return WatchBatch(own, batch.revision)

    def close(self) -> None:
        self._watch.close()


def _is_readable(event: Event) -> bool:
    return event.type == "put" and not event.kv.unreadable


def _with_value(event: Event, value: bytes) -> Event:
    return msgspec.structs.replace(event, kv=msgspec.structs.replace(event.kv, value=value))
