"""`python -m keelback.testing.linearizability`: is the API server one register per object, whatever kills it?

Clients compare and swap, list at revisions and watch over a real server process on SQLite, or on an etcd of some
members, which is killed at any moment and started again; then `histories` looks for what no order of the writes
explains. (`failover` has several servers, and lets members fail too.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from keelback.apiserver import assembly
from keelback.bootstrap import pki
from keelback.client.https import HTTPSTransport
from keelback.component import event_loop
from keelback.component.http import Request
from keelback.component.metrics import Registry
from keelback.component.serving import Server
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, sqlite
from keelback.storage.protocol import Store
from keelback.testing.etcd import etcd_cluster
from keelback.testing.histories import History, Listed, Operation, Seen, Watched, violations

WRITERS: Final = 6
WATCHERS: Final = 3
KEYS: Final = 4
_PATH: Final = "/api/v1/namespaces/default/configmaps"
_LABEL: Final = "linearizability"
_LAST: Final = "last"
_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "authorization": "Bearer judge"}
_REQUEST_SECONDS: Final = 10.0
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 0.02
_NO_ANSWER: Final = (OSError, EOFError, TimeoutError)
_NOT_DONE: Final = (429, 503)
_REFUSALS: Final[Mapping[int, Literal["missing", "conflict"]]] = {404: "missing", 409: "conflict"}


@dataclass(slots=True)
class Outcome:
    """What a run has shown."""

    rounds: int = 0
    gaps: int = 0
    """How often a watcher could not go on where it was."""
    failures: Counter[int] = field(default_factory=Counter)
    """How often a request was answered with each status that is no answer; 0 for none at all."""
    history: History = field(default_factory=History)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        history = self.history
        unknown = sum(one.outcome == "unknown" for one in history.operations)
        events = sum(len(one.events) for one in history.watches)
        return (
            f"{self.rounds} kills, {len(history.operations)} operations ({unknown} of unknown outcome), "
            f"{len(history.lists)} lists, {events} events to {WATCHERS} watchers ({self.gaps} gaps), "
            f"{len(self.violations)} violations"
        )


async def play(
    folder: Path, rounds: int, chance: random.Random, operations: int, etcd_servers: Sequence[str] = ()
) -> Outcome:
    """Kill the server so many times, after up to `operations` answers each, and judge what was seen."""
    outcome = Outcome()
    server = _Process(folder, etcd_servers)
    world = World(server, outcome)
    await server.start()
    clients = [asyncio.create_task(write(world, number, random.Random(chance.random()))) for number in range(WRITERS)]
    watchers = [asyncio.create_task(watch(world, f"watcher {number}")) for number in range(WATCHERS)]
    try:
        for _ in range(rounds):
            await world.answers_reach(len(outcome.history.operations) + chance.randint(1, operations))
            await server.kill()
            outcome.rounds += 1
            await server.start()
        world.is_over = True
        await asyncio.gather(*clients)
        await make_last(world)
        async with asyncio.timeout(_END_SECONDS):
            await asyncio.gather(*watchers)
    finally:
        for task in (*clients, *watchers):
            task.cancel()
        await asyncio.gather(*clients, *watchers, return_exceptions=True)
        await server.kill()
    outcome.violations = violations(outcome.history)
    return outcome


class Subject(Protocol):
    """What is judged."""

    async def transport(self) -> HTTPSTransport:
        """The way to it; waits for one."""
        ...

    def end_of_doubt(self) -> Callable[[], Awaitable[float]]:
        """For a request that is sent now and has no answer: until when it may still happen."""
        ...


class _Process:
    """The server's process. `transport` reaches the one that runs, `died_at` is when the last one was surely dead."""

    def __init__(self, folder: Path, etcd_servers: Sequence[str]) -> None:
        self._folder = folder
        self._etcd_servers = etcd_servers
        self._process: asyncio.subprocess.Process | None = None
        self._death: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._transport: HTTPSTransport | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError where it does not come up."""
        arguments = [sys.executable, "-m", "keelback.testing.linearizability", "--serve", str(self._folder)]
        if self._etcd_servers:
            arguments += ["--etcd-servers", ",".join(self._etcd_servers)]
        self._process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            if await self._process.stdout.readline() != b"ready\n":
                raise RuntimeError("the server did not start")
        self._transport = HTTPSTransport("http://localhost", unix_path=str(self._folder / "socket"))
        self._up.set()

    async def kill(self) -> None:
        """Kill it as it is."""
        process = self._process
        if process is None:
            return
        self._process = None
        self._up.clear()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
        self._death.set_result(time.monotonic())
        self._death = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        await self._transport.close()

    async def transport(self) -> HTTPSTransport:
        """The way to the running server; waits for one."""
        await self._up.wait()
        assert self._transport is not None
        return self._transport

    def end_of_doubt(self) -> Callable[[], Awaitable[float]]:
        """When the server that runs now will have died; with etcd, which goes on, there is no such end."""
        death = self._death

        async def end() -> float:
            return max(await death, float("inf") if self._etcd_servers else 0.0)

        return end


class World:
    """What the clients share."""

    def __init__(self, server: Subject, outcome: Outcome) -> None:
        self.server = server
        self.outcome = outcome
        self.history = outcome.history
        self.is_over = False
        self._answered = asyncio.Event()

    def add(self, operation: Operation) -> None:
        self.history.operations.append(operation)
        self._answered.set()

    async def answers_reach(self, count: int) -> None:
        while len(self.history.operations) < count:
            self._answered.clear()
            await self._answered.wait()


# Writers.


class _Writer:
    """One client: knows the revisions it has seen last, and uses them as conditions."""

    def __init__(self, world: World, number: int, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._values = (f"{number}-{count}" for count in itertools.count())
        self._known: dict[str, int] = {}
        self._newest = 0

    async def act(self) -> None:
        """Do something."""
        chance = self._chance
        key = f"k{chance.randrange(KEYS)}"
        match chance.choices(("get", "update", "create", "delete", "list"), (25, 35, 18, 12, 10))[0]:
            case "list":
                await self._list(chance.choice((0, 0, self._newest)), chance.choice(("", "limit=1", "limit=2")))
            case "get":
                await self._do("get", key, "GET", f"{_PATH}/{key}", None)
            case "create":
                await self._do("create", key, "POST", _PATH, _object(key, value := next(self._values)), value)
            case "update":
                expected = self._known.get(key, 1)
                body = _object(key, value := next(self._values), expected)
                await self._do("update", key, "PUT", f"{_PATH}/{key}", body, value, expected)
            case "delete":
                expected = self._known.get(key, 1)
                body = {"preconditions": {"resourceVersion": str(expected)}}
                await self._do("delete", key, "DELETE", f"{_PATH}/{key}", body, "", expected)

    async def _do(
        self,
        verb: Literal["create", "update", "delete", "get"],
        key: str,
        method: str,
        path: str,
        body: Any,
        value: str = "",
        expected: int = 0,
    ) -> None:
        transport = await self._world.server.transport()
        end_of_doubt = self._world.server.end_of_doubt()
        operation = Operation(verb, key, time.monotonic(), 0.0, "unknown", expected, value)
        try:
            status, answer = await _sent(transport, Request(method, path, "", _HEADERS, _encoded(body)))
        except _NO_ANSWER:
            status, answer = 0, {}
        ended = time.monotonic()
        if status in (200, 201):
            revision = expected
            if verb != "delete":
                revision = self._known[key] = int(answer["metadata"]["resourceVersion"])
                value = answer["data"]["value"]
                self._newest = max(self._newest, revision)
            found = msgspec.structs.replace(operation, ended=ended, outcome="ok", value=value, revision=revision)
        elif status in _REFUSALS:
            outcome = "exists" if verb == "create" else _REFUSALS[status]
            found = msgspec.structs.replace(operation, ended=ended, outcome=outcome)
        elif status in _NOT_DONE:
            self._world.outcome.failures[status] += 1
            return await asyncio.sleep(_PATIENCE_SECONDS)
        elif status == 0 or status >= 500:
            # It may still happen, until the server is dead.
            self._world.outcome.failures[status] += 1
            found = msgspec.structs.replace(operation, ended=await end_of_doubt())
        else:
            raise AssertionError(f"{method} {path} was answered with {status}: {answer}")
        self._world.add(found)
        return None

    async def _list(self, asked: int, limit: str) -> None:
        transport = await self._world.server.transport()
        started = time.monotonic()
        exact = f"resourceVersion={asked}&resourceVersionMatch=Exact" if asked else ""
        items: dict[str, tuple[str, int]] = {}
        token, revision = "", 0
        while True:
            first = f"{exact}&{limit}" if not token else f"continue={token}&{limit}"
            try:
                status, page = await _sent(
                    transport, Request("GET", _PATH, f"{first}&labelSelector={_LABEL}", _HEADERS)
                )
            except _NO_ANSWER:
                return
            if status != 200:
                # Compacted, or the server is about to die.
                return
            for one in page["items"]:
                meta = one["metadata"]
                items[meta["name"]] = (one["data"]["value"], int(meta["resourceVersion"]))
            revision = int(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue", "")
            if not token:
                break
        self._world.history.lists.append(Listed(started, time.monotonic(), asked, revision, items))


async def write(world: World, number: int, chance: random.Random) -> None:
    """Act as one client until it is over."""
    writer = _Writer(world, number, chance)
    while not world.is_over:
        await writer.act()


async def make_last(world: World) -> None:
    """Make a last write, which ends the watches."""
    transport = await world.server.transport()
    started = time.monotonic()
    _, answer = await _sent(transport, Request("POST", _PATH, "", _HEADERS, _encoded(_object(_LAST, _LAST))))
    revision = int(answer["metadata"]["resourceVersion"])
    world.add(Operation("create", _LAST, started, time.monotonic(), "ok", 0, _LAST, revision))


# Watchers.


async def watch(world: World, name: str) -> None:
    """Watch until the last write was seen, on from the last revision whenever the connection ends."""
    watched: Watched | None = None
    while watched is None or watched.events[-1:] == [] or watched.events[-1].key != _LAST:
        transport = await world.server.transport()
        try:
            if watched is None:
                watched = await _begun(transport, name)
                world.history.watches.append(watched)
            async for event in _events(transport, watched.through):
                if event is None:
                    world.outcome.gaps += 1
                    watched = None
                    break
                watched.through = event.revision
                if event.key:
                    watched.events.append(event)
                if event.key == _LAST:
                    break
        except _NO_ANSWER:
            # The server is dying or has just died; to ask it again at once would be vain.
            await asyncio.sleep(_PATIENCE_SECONDS)


async def _begun(transport: HTTPSTransport, name: str) -> Watched:
    status, page = await _sent(transport, Request("GET", _PATH, f"labelSelector={_LABEL}", _HEADERS))
    if status != 200:
        raise ConnectionError(f"a list was answered with {status}")
    revision = int(page["metadata"]["resourceVersion"])
    return Watched(name, revision, through=revision)


async def _events(transport: HTTPSTransport, after: int) -> AsyncIterator[Seen | None]:
    """The events after a revision; bookmarks have no key. None where the revision is too old to go on from."""
    query = f"watch=1&allowWatchBookmarks=true&resourceVersion={after}&labelSelector={_LABEL}"
    async with transport.stream(Request("GET", _PATH, query, _HEADERS), timeout_seconds=_REQUEST_SECONDS) as stream:
        if stream.status != 200:
            raise ConnectionError(f"a watch was answered with {stream.status}")
        rest = b""
        async for chunk in stream.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                obj = event["object"]
                if event["type"] == "ERROR":
                    yield None
                    return
                meta = obj["metadata"]
                value = obj.get("data", {}).get("value", "")
                yield Seen(event["type"], meta.get("name", ""), value, int(meta["resourceVersion"]))


# Requests.


def _object(key: str, value: str, expected: int = 0) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": key, "labels": {_LABEL: "yes"}}
    if expected:
        metadata["resourceVersion"] = str(expected)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def _encoded(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


async def _sent(transport: HTTPSTransport, request: Request) -> tuple[int, Any]:
    response = await transport.send(request, timeout_seconds=_REQUEST_SECONDS)
    return response.status, json.loads(response.content())


# The server.


async def _serve(folder: Path, etcd_servers: str) -> None:
    clock = SystemClock()
    keys = pki.ensure_cluster_pki(folder / "pki", clock.now())
    store: Store
    if etcd_servers:
        store = await etcd.open_store(tuple(etcd_servers.split(",")), clock)
    else:
        store = await sqlite.open_store(folder / "store.db", clock)
    config = assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("192.0.2.1", 6443),
        store_is_shared=bool(etcd_servers),
        token_file_text='judge,judge,judge,"system:masters"\n',  # noqa: S106
    )
    api = await assembly.start(store, config, clock, random.Random(), Registry())
    async with Server(api.handle, unix_path=str(folder / "socket")):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await api.run()


async def _played(folder: Path, options: argparse.Namespace, chance: random.Random) -> Outcome:
    if not options.members:
        return await play(folder, options.rounds, chance, options.operations)
    async with etcd_cluster(folder, options.members) as cluster:
        return await play(folder, options.rounds, chance, options.operations, cluster.servers)


def main() -> int:
    """Run; 1 if there are violations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often the server is killed (20)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of everything by chance")
    parser.add_argument("--operations", type=int, default=1500, help="the most answers between two kills (1500)")
    parser.add_argument("--members", type=int, default=0, help="the size of the etcd to keep it in (0: SQLite)")
    parser.add_argument("--etcd-servers", default="", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        event_loop.run(_serve(options.serve, options.etcd_servers))
        return 0
    with tempfile.TemporaryDirectory(prefix="keelback-linearizability-") as folder:
        chance = random.Random(options.seed)
        outcome = asyncio.run(_played(Path(folder), options, chance))
    sys.stdout.write(f"seed {options.seed}: {outcome}\n")
    sys.stdout.writelines(f"{one}\n" for one in outcome.violations)
    return bool(outcome.violations)


if __name__ == "__main__":
    sys.exit(main())
