"""As much of an API server as controllers rely on, in memory: objects, patches, watches, finalizers.

It stands in until a test needs the real pipeline; what a controller may rely on and no more.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from keelback.apimachinery.meta import Object
from keelback.auth.users import UserInfo
from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response, StreamingResponse
from keelback.concurrency.clock import Clock, SystemClock
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Controller
from keelback.reconcile.routine import Routine
from keelback.reconcile.writer import Writer
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

NAMESPACED = "/namespaces/"


class FakeServer:
    """Keeps objects by path and answers requests about them."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.versions = itertools.count(1)
        self.version = 0
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []
        self.changed = asyncio.Condition()
        self.held_back: set[str] = set()
        """The plurals of which watches hear nothing for now."""
        self.refuse: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda method, obj: None

    async def handle(self, request: Request) -> Response | StreamingResponse:
        query = {key: values[0] for key, values in parse_qs(request.query).items()}
        collection, name, subresource = split_path(request.path)
        if request.method == "GET":
            if query.get("watch"):
                return StreamingResponse(200, {}, lambda writer: self._watch(writer, collection, query))
            if name:
                found = self.objects.get(f"{collection}/{name}")
                return answer(found) if found else self._not_found(name)
            items = [obj for path, obj in self.objects.items() if in_collection(path, collection)]
            return answer({"metadata": {"resourceVersion": str(max(self.version, 1))}, "items": items})
        body = json.loads(request.body) if request.body else {}
        if request.method == "POST":
            return await self._create(collection, name, body)
        path = f"{collection}/{name}"
        old = self.objects.get(path)
        if old is None:
            return self._not_found(name)
        if request.method == "DELETE":
            return await self._delete(path, old)
        new = body
        if request.method == "PATCH":
            if uid := body.get("metadata", {}).get("uid"):
                assert uid == old["metadata"]["uid"]
            new = merged(old, body)
        await self._put(path, old, new, subresource)
        return answer(self.objects.get(path, new))

    async def _create(self, collection: str, name: str, body: dict[str, Any]) -> Response:
        metadata = body.setdefault("metadata", {})
        refusal = self.refuse("POST", body)
        if refusal:
            return answer(refusal, refusal["code"])
        if not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName']}{next(self.versions):05d}"
        path = f"{collection}/{metadata['name']}"
        if path in self.objects:
            return answer({"kind": "Status", "reason": "AlreadyExists", "code": 409, "message": "exists"}, 409)
        metadata |= {"uid": f"uid-{path}-{self.version}", "creationTimestamp": now(), "generation": 1}
        if NAMESPACED in collection:
            metadata["namespace"] = collection.split(NAMESPACED)[1].split("/")[0]
        await self._publish("ADDED", path, body)
        return answer(self.objects[path], 201)

    async def _delete(self, path: str, old: dict[str, Any]) -> Response:
        if old["metadata"].get("finalizers"):
            new = merged(old, {"metadata": {"deletionTimestamp": now()}})
            await self._publish("MODIFIED", path, new)
        else:
            await self._publish("DELETED", path, old)
        return answer({"kind": "Status", "status": "Success"})

    async def _put(self, path: str, old: dict[str, Any], new: dict[str, Any], subresource: str) -> None:
        new = json.loads(json.dumps(new))
        if subresource == "status":
            new["spec"] = old.get("spec", {})
        elif "status" in old:
            new["status"] = old["status"]
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        if new == old:
            return
        gone = new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers")
        await self._publish("DELETED" if gone else "MODIFIED", path, new)

    async def _publish(self, type: str, path: str, obj: dict[str, Any]) -> None:
        async with self.changed:
            self.version = next(self.versions)
            obj = json.loads(json.dumps(obj))
            obj["metadata"]["resourceVersion"] = str(self.version)
            if type == "DELETED":
                self.objects.pop(path, None)
            else:
                self.objects[path] = obj
            self.log.append((self.version, type, path, obj))
            self.changed.notify_all()

    async def _watch(self, writer: Any, collection: str, query: dict[str, str]) -> None:
        position = 0
        start = int(query["resourceVersion"])
        while True:
            while position < len(self.log) and collection.split("/")[-1] not in self.held_back:
                version, type, path, obj = self.log[position]
                position += 1
                if version > start and in_collection(path, collection):
                    writer.write(json.dumps({"type": type, "object": obj}).encode() + b"\n")
            async with self.changed:
                while len(self.log) == position or collection.split("/")[-1] in self.held_back:
                    await self.changed.wait()

    def _not_found(self, name: str) -> Response:
        return answer({"kind": "Status", "reason": "NotFound", "code": 404, "message": f"{name} not found"}, 404)


def split_path(path: str) -> tuple[str, str, str]:
    """(collection, name, subresource) of a path; the collection keeps its namespace."""
    parts = path.strip("/").split("/")
    prefix = 3 if parts[0] == "apis" else 2
    is_inside = len(parts) > prefix + 2 and parts[prefix] == "namespaces"
    if is_inside and parts[prefix + 2] not in ("status", "finalize"):
        prefix += 2
    rest = parts[prefix:]
    collection = "/" + "/".join(parts[: prefix + 1])
    return collection, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""


def in_collection(path: str, collection: str) -> bool:
    if path.rpartition("/")[0] == collection:
        return True
    parts = path.split(NAMESPACED)
    if NAMESPACED in collection or len(parts) != 2 or "/" not in parts[1]:
        return False
    return parts[0] + "/" + parts[1].split("/")[1] == collection


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386, and of strategic merges what adoption uses: owner references by uid and finalizers as a set."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif key == "ownerReferences":
            gone = {one["uid"] for one in value}
            kept = [one for one in result.get(key, []) if one["uid"] not in gone]
            result[key] = kept + [one for one in value if "$patch" not in one]
        elif key == "finalizers" and value:
            result[key] = list(dict.fromkeys([*result.get(key, []), *value]))
        elif key == "$deleteFromPrimitiveList/finalizers":
            result["finalizers"] = [one for one in result.get("finalizers", []) if one not in value]
        elif not key.startswith("$"):
            result[key] = merged(result.get(key), value)
    return result


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class HeardEvents:
    """Keeps what was said instead of writing it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    async def event(self, obj: Object, type: str, reason: str, message: str) -> None:
        self.said.append((type, reason, message))


class World:
    """A server, a client, and controllers run against them until the world is as it should be."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.server = FakeServer()
        self.client = Client(InProcessTransport(self.server.handle))
        self.chance = random.Random(7)
        self.clock = clock or SystemClock()
        self.caches = SharedCaches(self.client, self.clock, self.chance)
        self.events = HeardEvents()
        self.context = Context(Writer(self.client), self.caches, self.events, self.clock, self.chance)

    @asynccontextmanager
    async def running(self, *reconcilers: Any) -> AsyncIterator[None]:
        controllers = [Controller(one(self.context), self.caches, self.clock, self.chance) for one in reconcilers]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.run()) for one in controllers]
            running.append(tasks.create_task(self.caches.run()))
            yield
            for task in running:
                task.cancel()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Return when `holds` does, looked at after each change of the server's state."""
        async with asyncio.timeout(5), self.server.changed:
            await self.server.changed.wait_for(holds)

    def all(self, plural: str) -> Iterator[dict[str, Any]]:
        return (obj for path, obj in list(self.server.objects.items()) if path.split("/")[-2] == plural)

    async def set_status(self, path: str, status: dict[str, Any]) -> None:
        old = self.server.objects[path]
        await self.server._put(path, old, merged(old, {"status": status}), "status")

    async def make_pods_ready(self) -> None:
        for path in [path for path in self.server.objects if "/pods/" in path]:
            obj = self.server.objects[path]
            if obj.get("status", {}).get("phase") != "Running":
                ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
                await self.set_status(path, {"phase": "Running", "conditions": ready})


@pytest.fixture
def manual_clock() -> HandClock:
    return HandClock(datetime(2040, 5, 1, tzinfo=UTC))


@pytest.fixture
def world() -> Callable[..., World]:
    return World


class ServedWorld:
    """The real API server, and controllers that act as the service accounts they have in a cluster."""

    def __init__(self, server: Any, clock: Clock) -> None:
        self.client: Client = server.client(ADMINISTRATOR)
        self.clock = clock
        self.chance = random.Random(7)
        self.events = HeardEvents()
        self._server = server
        manager = UserInfo("system:kube-controller-manager", groups=("system:authenticated",))
        self._manager: Client = server.client(manager)
        self.caches = SharedCaches(self._manager, clock, self.chance)
        self.seen = SharedCaches(self.client, clock, self.chance)
        self._changed = asyncio.Event()

    def context(self, role: str) -> Context:
        """What the controller of this role is given."""
        if role == "kube-controller-manager":
            client = self._manager
        else:
            groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
            client = self._server.client(UserInfo(f"system:serviceaccount:kube-system:{role}", groups=groups))
        return Context(Writer(client), self.caches, self.events, self.clock, self.chance)

    @asynccontextmanager
    async def running(self, *made: Any) -> AsyncIterator[None]:
        """Controllers at work: reconcilers, or routines."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(
                    one.run()
                    if isinstance(one, Routine)
                    else Controller(one, self.caches, self.clock, self.chance).run()
                )
                for one in made
            ]
            running += [tasks.create_task(self.caches.run()), tasks.create_task(self.seen.run())]
            yield
            for task in running:
                task.cancel()

    async def until(self, cls: type[Object], holds: Callable[[list[Any]], Any]) -> Any:
        """What `holds` says of all objects of a type, as soon as that is true."""
        self.seen.subscribe(cls, lambda change: self._changed.set())
        async with asyncio.timeout(20):
            await self.seen.informer(cls).wait_synced()
            while not (result := holds(self.seen.store(cls).list())):
                self._changed.clear()
                await self._changed.wait()
        return result


@asynccontextmanager
async def serve(
    clock: Clock | None = None, *versions: tuple[str, str], gates: Mapping[str, bool] | None = None
) -> AsyncIterator[ServedWorld]:
    clock = clock or SystemClock()
    async with api_server(clock, optional_versions=versions, feature_gates=gates) as server:
        yield ServedWorld(server, clock)


@pytest.fixture
def served_world() -> Callable[..., Any]:
    return serve
