"""As much of an API server as an informer asks for: lists, and watches that bring what is put."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object, with_metadata
from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response, StreamingResponse


class FakeAPI:
    """Objects by kind and name. It stands in for the kinds that proxies and DNS read."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.log: list[tuple[str, Object]] = []
        self.changed = asyncio.Condition()

    @property
    def client(self) -> Client:
        return Client(InProcessTransport(self.handle))

    async def put(self, obj: Object) -> None:
        key = (obj.__kind__.plural, obj.metadata.namespace, obj.metadata.name)
        new = with_metadata(obj, resource_version=str(len(self.log) + 2), uid="-".join(key))
        await self._publish("MODIFIED" if key in self.objects else "ADDED", new)
        self.objects[key] = new

    async def delete(self, obj: Object) -> None:
        del self.objects[obj.__kind__.plural, obj.metadata.namespace, obj.metadata.name]
        await self._publish("DELETED", with_metadata(obj, resource_version=str(len(self.log) + 2)))

    async def handle(self, request: Request) -> Response | StreamingResponse:
        plural = request.path.rsplit("/", 1)[1]
        if "watch=" in request.query:
            start = len(self.log)
            return StreamingResponse(200, {}, lambda writer: self._watch(writer, plural, start))
        items = b",".join(codecs.encode(obj) for (kind, *_), obj in self.objects.items() if kind == plural)
        body = b'{"metadata":{"resourceVersion":"%d"},"items":[%s]}' % (len(self.log) + 1, items)
        return Response(200, {"content-type": "application/json"}, body)

    async def _publish(self, type: str, obj: Object) -> None:
        async with self.changed:
            self.log.append((type, obj))
            self.changed.notify_all()

    async def _watch(self, writer: Any, plural: str, position: int) -> None:
        while True:
            for type, obj in self.log[position:]:
                if obj.__kind__.plural == plural:
                    writer.write(b'{"type":"%s","object":%s}\n' % (type.encode(), codecs.encode(obj)))
            position = len(self.log)
            async with self.changed:
                await self.changed.wait_for(lambda position=position: len(self.log) > position)  # type: ignore[misc]


@pytest.fixture
def api() -> FakeAPI:
    return FakeAPI()
