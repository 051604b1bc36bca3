"""Every way to read: versions, matches, pages, selectors and forms, as tables against the real server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keelback.component.http import Request, Response
from keelback.concurrency.clock import Clock, SystemClock
from keelback.storage import memory
from keelback.storage.embedded import EmbeddedStore
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking, with_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PARTS = "/apis/example.com/v1/namespaces/default/parts"
INVALID = 'ListOptions.meta.k8s.io "" is invalid: '
UNLESS = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
BAD = 'resourceVersionMatch: Unsupported value: "bad": supported values: "Exact", "NotOlderThan"'
ZERO = 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
GARBAGE = (
    'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
)
FUTURE = 10**9


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def names(page: Any) -> list[str]:
    return [one["metadata"]["name"] for one in page["items"]]


class World:
    """A server with some past: c0 to c4 were made, then c3 deleted and c1 changed. `past` is before c4, c3's end and
    c1's change."""

    def __init__(self, ask: Ask, clock: HandClock, store: EmbeddedStore) -> None:
        self.ask = ask
        self.clock = clock
        self.store = store
        self.past = self.current = 0

    async def prepare(self) -> None:
        for number in range(5):
            _, made = await self.ask("POST", CONFIG_MAPS, config_map(f"c{number}", labels={"n": str(number)}))
            if number == 3:
                self.past = int(made["metadata"]["resourceVersion"])
        await self.ask("DELETE", f"{CONFIG_MAPS}/c3")
        patch = {"metadata": {"labels": {"changed": "yes"}}}
        _, made = await self.ask("PATCH", f"{CONFIG_MAPS}/c1", patch, kind="application/merge-patch+json")
        self.current = int(made["metadata"]["resourceVersion"])

    async def passing(self, answer: Awaitable[tuple[int, Any]]) -> tuple[int, Any]:
        """The answer, while the time passes for which a version that has not happened is waited for."""
        task = asyncio.ensure_future(answer)
        while not task.done():
            await self.clock.pass_time(1)
        return task.result()


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    clock = HandClock()
    store = memory.open_store(clock)
    async with asyncio.timeout(60), api_server(clock, store=store) as api:
        world = World(asking(api.handle), clock, store)
        await world.prepare()
        yield world


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with a_world() as world:
            await test(world)

    def run() -> None:
        asyncio.run(main())

    run.__name__ = test.__name__
    return run


# What the five words say that an answer can be.
NEWEST, PAGE, PAST, PAST_PAGE, LATER = "newest", "page", "past", "past page", "later"
LISTS: tuple[tuple[str, str, str, str], ...] = (
    # version, match, answer without a limit, answer with limit=2
    ("", "", NEWEST, PAGE),
    ("", "NotOlderThan", INVALID + UNLESS, INVALID + UNLESS),
    ("", "Exact", INVALID + UNLESS, INVALID + UNLESS),
    ("", "bad", f"{INVALID}[{UNLESS}, {BAD}]", f"{INVALID}[{UNLESS}, {BAD}]"),
    ("0", "", NEWEST, NEWEST),
    ("0", "NotOlderThan", NEWEST, NEWEST),
    ("0", "Exact", INVALID + ZERO, INVALID + ZERO),
    ("0", "bad", INVALID + BAD, INVALID + BAD),
    ("past", "", NEWEST, PAST_PAGE),
    ("past", "NotOlderThan", NEWEST, PAGE),
    ("past", "Exact", PAST, PAST_PAGE),
    ("past", "bad", INVALID + BAD, INVALID + BAD),
    ("current", "", NEWEST, PAGE),
    ("current", "NotOlderThan", NEWEST, PAGE),
    ("current", "Exact", NEWEST, PAGE),
    ("future", "", LATER, LATER),
    ("future", "NotOlderThan", LATER, LATER),
    ("future", "Exact", LATER, LATER),
    ("future", "bad", INVALID + BAD, INVALID + BAD),
    ("abc", "", GARBAGE, GARBAGE),
    ("abc", "NotOlderThan", GARBAGE, GARBAGE),
    ("abc", "Exact", GARBAGE, GARBAGE),
    ("abc", "bad", INVALID + BAD, INVALID + BAD),
)


@in_world
async def test_every_version_with_every_match_and_limit(world: World) -> None:
    versions = {"past": str(world.past), "current": str(world.current), "future": str(FUTURE)}
    found, expected = [], []
    for version, match, *answers in LISTS:
        for limit, answer in zip(("", "2"), answers, strict=True):
            given = {"resourceVersion": versions.get(version, version), "resourceVersionMatch": match, "limit": limit}
            query = "&".join(f"{name}={value}" for name, value in given.items() if value)
            status, body = await world.passing(world.ask("GET", f"{CONFIG_MAPS}?{query}"))
            found.append((version, match, limit, _answer(world, status, body)))
            expected.append((version, match, limit, answer))
    assert found == expected


def _answer(world: World, status: int, body: Any) -> str:
    """An answer in the table's words."""
    if status == 504:
        assert body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert body["message"] == f"Timeout: Too large resource version: {FUTURE}, current: {world.current}"
        return LATER
    if status != 200:
        assert status == (400 if body["reason"] == "BadRequest" else 422)
        return str(body["message"])
    meta = body["metadata"]
    version, remaining = int(meta["resourceVersion"]), meta.get("remainingItemCount")
    pages = {
        ("c0 c1 c2 c4", None, world.current): NEWEST,
        ("c0 c1", 2, world.current): PAGE,
        ("c0 c1 c2 c3", None, world.past): PAST,
        ("c0 c1", 2, world.past): PAST_PAGE,
    }
    assert ("continue" in meta) is (remaining is not None)
    return pages[" ".join(names(body)), remaining, version]


@in_world
async def test_one_object_at_every_version(world: World) -> None:
    path = f"{CONFIG_MAPS}/c1"
    newest = str(world.current)
    for version in ("", "0", str(world.past), newest):
        status, found = await world.ask("GET", f"{path}?resourceVersion={version}")
        # A get is never older than what was asked for, and may be newer.
        assert (status, found["metadata"]["resourceVersion"]) == (200, newest)
    status, later = await world.passing(world.ask("GET", f"{path}?resourceVersion={FUTURE}"))
    assert (status, later["reason"], later["details"]["retryAfterSeconds"]) == (504, "Timeout", 1)
    status, garbage = await world.ask("GET", f"{path}?resourceVersion=abc")
    assert (status, garbage.get("reason"), garbage["message"]) == (
        500,
        None,
        GARBAGE.removeprefix("invalid resource version: "),
    )


# Pages.


@in_world
async def test_pages_show_one_moment_whatever_happens_meanwhile(world: World) -> None:
    ask = world.ask
    _, first = await ask("GET", f"{CONFIG_MAPS}?limit=1")
    token = first["metadata"]["continue"]
    await ask("DELETE", f"{CONFIG_MAPS}/c2")
    await ask("POST", CONFIG_MAPS, config_map("c20"))
    patch = {"data": {"k": "new"}}
    await ask("PATCH", f"{CONFIG_MAPS}/c4", patch, kind="application/merge-patch+json")
    _, second = await ask("GET", f"{CONFIG_MAPS}?limit=1&continue={token}")
    token = second["metadata"]["continue"]
    assert (names(second), second["metadata"]["remainingItemCount"]) == (["c1"], 2)
    _, third = await ask("GET", f"{CONFIG_MAPS}?continue={token}")
    assert (names(third), "data" in third["items"][1]) == (["c2", "c4"], False)
    assert {one["metadata"]["resourceVersion"] for one in (first, second, third)} == {str(world.current)}
    assert set(third["metadata"]) == {"resourceVersion"}
    # A token is good for version 0, which says that any will do, and for no other.
    assert (await ask("GET", f"{CONFIG_MAPS}?continue={token}&resourceVersion=0"))[0] == 200
    status, refused = await ask("GET", f"{CONFIG_MAPS}?continue={token}&resourceVersion={world.past}")
    assert (status, refused["message"]) == (400, "specifying resource version is not allowed when using continue")


@in_world
async def test_a_token_that_has_expired_comes_with_one_to_go_on_without_consistency(world: World) -> None:
    ask = world.ask
    _, first = await ask("GET", f"{CONFIG_MAPS}?limit=2")
    await ask("POST", CONFIG_MAPS, config_map("c3"))
    # What is kept for the pages of a list goes with the next list, once it is old.
    await world.clock.pass_time(150)
    await ask("GET", f"{CONFIG_MAPS}?limit=2")
    await world.store.compact(await world.store.current_revision())
    status, expired = await ask("GET", f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (status, expired["reason"]) == (410, "Expired")
    assert expired["message"].startswith("The provided continue parameter is too old to display a consistent list")
    inexact = expired["metadata"]["continue"]
    status, rest = await ask("GET", f"{CONFIG_MAPS}?limit=2&continue={inexact}")
    assert (status, names(rest), rest["metadata"]["remainingItemCount"]) == (200, ["c2", "c3"], 1)
    # From here on the list is consistent again, with this page's moment.
    status, last = await ask("GET", f"{CONFIG_MAPS}?limit=2&continue={rest['metadata']['continue']}")
    assert (status, names(last)) == (200, ["c4"])
    assert last["metadata"]["resourceVersion"] == rest["metadata"]["resourceVersion"]
    status, expired = await ask("GET", f"{CONFIG_MAPS}?resourceVersion={world.past}&resourceVersionMatch=Exact")
    message = "The resourceVersion for the provided list is too old."
    assert (status, expired["reason"], expired["message"]) == (410, "Expired", message)


def _token(**fields: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("abc!", "illegal base64 data at input byte 3"),
        ("abcde", "illegal base64 data at input byte 4"),
        ("YWJj", "invalid character 'a' looking for beginning of value"),
        ("W10", "json: cannot unmarshal array into Go value of type storage.continueToken"),
        (
            _token(v="meta.k8s.io/v2", rv=5, start="a\0"),
            "server does not recognize this encoded version meta.k8s.io/v2",
        ),
        (
            _token(v="meta.k8s.io/v1", rv=0, start="a\0"),
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (_token(v="meta.k8s.io/v1", rv=5, start=""), "encoded start key empty (version meta.k8s.io/v1)"),
        (_token(v="meta.k8s.io/v1", rv=5, start="../../secrets/kube-system/"), "../../secrets/kube-system/"),
        (
            _token(v="meta.k8s.io/v1", rv="5", start="a"),
            "json: cannot unmarshal string into Go struct field continueToken.rv of type int64",
        ),
    ],
)
def test_a_tampered_token_is_refused(token: str, problem: str) -> None:
    @with_server
    async def run(ask: Ask) -> None:
        status, refused = await ask("GET", f"{CONFIG_MAPS}?continue={token}")
        assert (status, refused["message"]) == (400, f"invalid continue token: continue key is not valid: {problem}")

    run()


@in_world
async def test_what_remains_is_counted_only_without_selectors(world: World) -> None:
    for query, counted, shown in (
        ("limit=1", 3, "c0"),
        ("limit=3", 1, "c0 c1 c2"),
        ("limit=4", None, "c0 c1 c2 c4"),
        ("limit=0", None, "c0 c1 c2 c4"),
        ("limit=-1", None, "c0 c1 c2 c4"),
        ("limit=1&labelSelector=n", None, "c0"),
        ("limit=1&fieldSelector=metadata.name!=c0", None, "c1"),
    ):
        status, page = await world.ask("GET", f"{CONFIG_MAPS}?{query}")
        meta = page["metadata"]
        assert (status, " ".join(names(page)), meta.get("remainingItemCount")) == (200, shown, counted)
        assert ("continue" in meta) is (len(names(page)) in (1, 3))


# Selectors.


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("n=1", "c1"),
        ("n==1", "c1"),
        ("n!=1", "c0 c2 c4"),
        ("n in (1,2)", "c1 c2"),
        ("n notin (1,2)", "c0 c4"),
        ("x notin (1)", "c0 c1 c2 c4"),
        ("n", "c0 c1 c2 c4"),
        ("!changed", "c0 c2 c4"),
        ("n>1", "c2 c4"),
        ("n<2", "c0 c1"),
        ("n>0,n<4,!changed", "c2"),
        ("changed=yes,n in (0)", ""),
        ("x=", ""),
        ("", "c0 c1 c2 c4"),
        (" n = 1 ", "c1"),
        ("n in (1,2", 400),
        ("n in 1", 400),
        ("n>x", 400),
        ("=", 400),
        ("n=a b", 400),
        ("n,,", 400),
        ("-n=1", 400),
    ],
)
def test_label_selectors(selector: str, found: str | int) -> None:
    @in_world
    async def run(world: World) -> None:
        query = selector.replace(" ", "%20").replace("=", "%3D").replace("<", "%3C").replace(">", "%3E")
        status, page = await world.ask("GET", f"{CONFIG_MAPS}?labelSelector={query}")
        assert (" ".join(names(page)) if status == 200 else status) == found

    run()


@in_world
async def test_field_selectors(world: World) -> None:
    for selector, found in (
        ("metadata.name=c1", "c1"),
        ("metadata.name!=c1", "c0 c2 c4"),
        ("metadata.namespace=default,metadata.name==c2", "c2"),
        ("metadata.namespace!=default", ""),
        ("metadata.name=c3", ""),
        ("spec.x=1", '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ):
        status, page = await world.ask("GET", f"{CONFIG_MAPS}?fieldSelector={selector}")
        assert (" ".join(names(page)) if status == 200 else page["message"]) == found
    status, page = await world.ask("GET", "/api/v1/namespaces/default/pods?fieldSelector=spec.x=1")
    assert (status, page["message"]) == (400, "field label not supported: spec.x")


def parts_definition() -> dict[str, Any]:
    properties = {"color": {"type": "string"}, "size": {"type": "integer"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}],
    }
    names_ = {"plural": "parts", "singular": "part", "kind": "Part", "listKind": "PartList"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names_, "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "parts.example.com"},
        "spec": spec,
    }


async def make_parts(ask: Ask) -> None:
    """Six parts of three colours."""
    assert (await ask("POST", CRDS, parts_definition()))[0] == 201
    for _ in range(1000):
        if (await ask("GET", PARTS))[0] == 200:
            break
        await asyncio.sleep(0)
    for number in range(6):
        spec = {"color": ("red", "green", "blue")[number % 3], "size": number}
        part = {"apiVersion": "example.com/v1", "kind": "Part", "metadata": {"name": f"p{number}"}, "spec": spec}
        assert (await ask("POST", PARTS, part))[0] == 201


@with_server
async def test_custom_objects_are_selected_by_the_fields_their_definition_names(ask: Ask) -> None:
    await make_parts(ask)
    for selector, found in (
        ("spec.color=red", "p0 p3"),
        ("spec.color!=red", "p1 p2 p4 p5"),
        ("spec.color=red,spec.size=3", "p3"),
        ("spec.size=4", "p4"),
        ("metadata.name=p1,spec.color=green", "p1"),
        ("spec.other=1", "field label not supported: spec.other"),
    ):
        status, page = await ask("GET", f"{PARTS}?fieldSelector={selector}")
        assert (" ".join(names(page)) if status == 200 else page["message"]) == found
    status, gone = await ask("DELETE", f"{PARTS}?fieldSelector=spec.color=green")
    assert (status, names(gone)) == (200, ["p1", "p4"])
    assert names((await ask("GET", PARTS))[1]) == ["p0", "p2", "p3", "p5"]


# Forms.


async def bytes_of(method: str, path: str, clock: Clock, **headers: str) -> tuple[int, bytes]:
    async with api_server(clock) as api:
        path, _, query = path.partition("?")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await api.handle(Request(method, path, query, given, identity=ADMINISTRATOR))
        assert isinstance(answer, Response)
        return answer.status, answer.content()


@pytest.mark.parametrize(
    ("query", "headers", "is_indented"),
    [
        ("", {}, False),
        ("?pretty=true", {}, True),
        ("?pretty=1", {}, True),
        ("?pretty=false", {"user_agent": "curl/8.5.0"}, False),
        ("?pretty=maybe", {"user_agent": "curl/8.5.0"}, False),
        ("?pretty=", {"user_agent": "curl/8.5.0"}, True),
        ("", {"user_agent": "curl/8.5.0"}, True),
        ("", {"user_agent": "Wget/1.21"}, True),
        ("", {"user_agent": "Mozilla/5.0 (X11)"}, True),
        ("", {"user_agent": "kubectl/v1.36.0"}, False),
        ("", {"accept": "application/json;pretty=1"}, True),
    ],
)
def test_an_answer_for_people_is_indented(query: str, headers: dict[str, str], is_indented: bool) -> None:
    for path in ("/api/v1/namespaces/default", "/api/v1/namespaces/none", "/api"):
        _, content = asyncio.run(bytes_of("GET", path + query, SystemClock(), **headers))
        assert content.startswith(b'{\n  "kind":') is is_indented, (path, content[:60])
        json.loads(content)


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces", "/api/v1/namespaces/default", "/api", "/apis/apps/v1", "/version"]
)
def test_resources_and_discovery_know_no_head(path: str) -> None:
    status, content = asyncio.run(bytes_of("HEAD", path, SystemClock()))
    assert status == 405
    assert json.loads(content)["message"] == "the server does not allow this method on the requested resource"


@pytest.mark.parametrize("path", ["/livez", "/apis", "/apis/apps"])
def test_what_is_served_without_routes_knows_head(path: str) -> None:
    assert asyncio.run(bytes_of("HEAD", path, SystemClock()))[0] == 200
