"""As much of an API server as the scheduler relies on, in memory, and a clock that moves when told."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from keelback.api.core_v1 import ObjectReference
from keelback.apimachinery.meta import Object
from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response, StreamingResponse
from keelback.component.metrics import Registry
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.scheduler import Scheduler
from keelback.testing.clock import HandClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeServer:
    """Objects by path; every change is an event for those who watch."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []
        self.changed = asyncio.Condition()
        self.refuse_binding: Callable[[str], int] = lambda name: 0
        """The status code that a pod's binding is refused with; 0 for none."""
        self.refuse_deletion = False

    async def handle(self, request: Request) -> Response | StreamingResponse:
        query = {key: values[0] for key, values in parse_qs(request.query).items()}
        parts = request.path.strip("/").split("/")
        head = 3 if parts[0] == "apis" else 2
        if len(parts) == head:
            return answer({"resources": []})  # every group is served
        namespace = ""
        if parts[head] == "namespaces" and len(parts) > head + 2:
            namespace, head = parts[head + 1], head + 2
        plural, name, subresource = (*parts[head:], "", "")[:3]
        if request.method == "GET" and query.get("watch"):
            start = int(query["resourceVersion"])
            return StreamingResponse(200, {}, lambda writer: self._watch(writer, plural, start))
        if request.method == "GET" and name:
            found = self.objects.get(f"{plural}/{namespace}/{name}")
            return answer(found) if found else failure(404, "NotFound")
        if request.method == "GET":
            items = [obj for path, obj in self.objects.items() if path.startswith(f"{plural}/")]
            return answer({"metadata": {"resourceVersion": str(len(self.log) + 1)}, "items": items})
        body = json.loads(request.body) if request.body else {}
        path = f"{plural}/{namespace}/{name}"
        if subresource == "binding":
            return await self._bind(path, name, body)
        if request.method == "POST":
            return answer(await self.put(plural, body), 201)
        if path not in self.objects:
            return failure(404, "NotFound")
        if request.method == "DELETE" and self.refuse_deletion:
            return failure(500, "InternalError")
        if request.method == "DELETE":
            await self.delete(path)
            return answer({"kind": "Status", "status": "Success"})
        new = merged(self.objects[path], body) if request.method == "PATCH" else body
        return answer(await self.put(plural, new))

    async def put(self, plural: str, obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        path = f"{plural}/{metadata.get('namespace', '')}/{metadata['name']}"
        metadata.setdefault("uid", f"uid-{metadata['name']}-{len(self.log)}")
        await self._publish("MODIFIED" if path in self.objects else "ADDED", path, obj)
        return self.objects[path]

    async def delete(self, path: str) -> None:
        await self._publish("DELETED", path, self.objects[path])

    async def _bind(self, path: str, name: str, body: dict[str, Any]) -> Response:
        code = self.refuse_binding(name)
        if code:
            return failure(code, "InternalError")
        if path not in self.objects:
            return failure(404, "NotFound")
        if self.objects[path]["spec"].get("nodeName"):
            return failure(409, "Conflict")
        scheduled = {"type": "PodScheduled", "status": "True"}
        patch = {"spec": {"nodeName": body["target"]["name"]}, "status": {"conditions": [scheduled]}}
        await self.put("pods", merged(self.objects[path], patch))
        return answer({"kind": "Status", "status": "Success"}, 201)

    async def _publish(self, type: str, path: str, obj: dict[str, Any]) -> None:
        async with self.changed:
            obj = json.loads(json.dumps(obj))
            obj["metadata"]["resourceVersion"] = str(len(self.log) + 2)
            if type == "DELETED":
                self.objects.pop(path)
            else:
                self.objects[path] = obj
            self.log.append((len(self.log) + 2, type, path, obj))
            self.changed.notify_all()

    async def _watch(self, writer: Any, plural: str, start: int) -> None:
        position = 0
        while True:
            while position < len(self.log):
                version, type, path, obj = self.log[position]
                position += 1
                if version > start and path.startswith(f"{plural}/"):
                    writer.write(json.dumps({"type": type, "object": obj}).encode() + b"\n")
            async with self.changed:
                while len(self.log) == position:
                    await self.changed.wait()


def merged(old: Any, patch: Any) -> Any:
    """A merge that knows conditions by their type, as a strategic merge patch of a status does."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif key == "conditions":
            types = {one["type"] for one in value}
            result[key] = [one for one in result.get(key, []) if one["type"] not in types] + value
        else:
            result[key] = merged(result.get(key), value)
    return result


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())


def failure(code: int, reason: str) -> Response:
    return answer({"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": reason}, code)


class World:
    """A server, a scheduler on it, and what was said about pods."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.server = FakeServer()
        self.clock = HandClock(START)
        self.said: list[tuple[str, str, str, str]] = []
        self.registry = Registry()
        client = Client(InProcessTransport(self.server.handle), clock=self.clock)
        recorders = dict.fromkeys(config.scheduler_names, self)
        self.scheduler = Scheduler(client, config, self.clock, random.Random(1), recorders, self.registry)

    async def event(self, obj: Object | ObjectReference, type: str, reason: str, message: str) -> None:
        assert isinstance(obj, ObjectReference)
        async with self.server.changed:
            self.said.append((obj.name, type, reason, message))
            self.server.changed.notify_all()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.scheduler.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Return when `holds` does, looked at after each change of the server's state and each event."""
        async with asyncio.timeout(10), self.server.changed:
            await self.server.changed.wait_for(holds)

    async def settle(self) -> None:
        """Let everything that needs no time happen."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def add_node(self, name: str, *, cpu: str = "4", taints: Any = (), **labels: str) -> None:
        labels = {"kubernetes.io/hostname": name, **labels}
        allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        await self.server.put(
            "nodes",
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {"taints": list(taints)},
                "status": {"allocatable": allocatable},
            },
        )

    async def add_pod(self, name: str, *, cpu: str = "1", namespace: str = "default", **spec: Any) -> None:
        container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}
        await self.server.put(
            "pods",
            {
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": name.split("-")[0]}},
                "spec": {"containers": [container], "schedulerName": "default-scheduler", **spec},
                "status": {"phase": "Pending"},
            },
        )

    def pod(self, name: str) -> dict[str, Any]:
        return self.server.objects[f"pods/default/{name}"]

    def node_of(self, name: str) -> str:
        found = self.server.objects.get(f"pods/default/{name}")
        return str(found["spec"].get("nodeName", "")) if found else ""

    def condition(self, name: str, type: str = "PodScheduled") -> dict[str, Any]:
        conditions = self.pod(name)["status"].get("conditions", [])
        return next((one for one in conditions if one["type"] == type), {})

    def messages(self, name: str, reason: str) -> list[str]:
        return [message for who, _, why, message in self.said if (who, why) == (name, reason)]


@pytest.fixture
def make_world() -> Callable[..., World]:
    def make(**config: Any) -> World:
        return World(SchedulerConfig(**config))

    return make
