"""Whatever is written, lists and watches agree with a dumb model: a dictionary of trees and a filter over it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.apiserver.watch_cache import ListOptions, WatchCache, WatchOptions
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_selection import Selection
from keelback.apiserver.watch_stream import Watcher
from keelback.apiserver.watch_wire import CachedResource
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory

PREFIX = "/registry/widgets/"


class _Spec(msgspec.Struct):
    color: str = ""


class _Fields(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


RESOURCE = CachedResource(
    prefix=PREFIX,
    kind="Widget",
    api_version="x.io/v1",
    field_type=_Fields,
    fields=lambda widget: {"spec.color": widget.spec.color},
    indexed_fields=("spec.color",),
)

Tree = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """The same filter twice: as the cache takes it, and as a function of the tree."""

    namespace: str
    labels: Selection | None
    fields: Selection | None
    holds: Callable[[Tree], bool]


def selection(name: str, value: str, kind: str) -> Selection:
    matches: dict[str, Callable[[Any], bool]] = {
        "=": lambda values: values.get(name) == value,
        "!=": lambda values: values.get(name) != value,
        "exists": lambda values: name in values,
    }
    required: dict[str, tuple[tuple[str, frozenset[str] | None], ...]] = {
        "=": ((name, frozenset((value,))),),
        "exists": ((name, None),),
    }
    return Selection(f"{name}{kind}{value}", matches[kind], required.get(kind, ()))


def question(namespace: str, label: tuple[str, str, str] | None, field: tuple[str, str, str] | None) -> Question:
    labels = selection(*label) if label else None
    fields = selection(*field) if field else None

    def holds(tree: Tree) -> bool:
        metadata = tree["metadata"]
        values = {"metadata.name": metadata["name"], "spec.color": tree["spec"]["color"]}
        return (
            (not namespace or metadata["namespace"] == namespace)
            and (labels is None or labels.matches(metadata["labels"]))
            and (fields is None or fields.matches(values))
        )

    return Question(namespace, labels, fields, holds)


NAMESPACES = st.sampled_from(["a", "ab", "b"])
NAMES = st.sampled_from(["x", "y", "z"])
VALUES = st.sampled_from(["1", "2"])
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), VALUES)
QUESTIONS = st.builds(
    question,
    st.one_of(st.just(""), NAMESPACES),
    st.one_of(st.none(), st.tuples(st.sampled_from(["app", "tier"]), VALUES, st.sampled_from(["=", "!=", "exists"]))),
    st.one_of(
        st.none(),
        st.tuples(st.just("spec.color"), VALUES, st.sampled_from(["=", "!="])),
        st.tuples(st.just("metadata.name"), NAMES, st.sampled_from(["=", "!="])),
    ),
)
WRITES = st.lists(st.tuples(NAMESPACES, NAMES, st.one_of(st.none(), st.tuples(LABELS, VALUES))), max_size=30)


@settings(deadline=None, max_examples=150)
@given(before=WRITES, after=WRITES, asked=st.lists(QUESTIONS, min_size=1, max_size=4), limit=st.integers(1, 4))
def test_lists_and_watches_agree_with_the_model(
    before: list[Any], after: list[Any], asked: list[Question], limit: int
) -> None:
    async def body() -> None:
        clock = SystemClock()
        async with memory.open_store(clock) as store, asyncio.TaskGroup() as group:
            feed = CacheFeed(store, clock)
            await feed.start()
            cache = await feed.add(RESOURCE)
            running = group.create_task(feed.run())
            model: dict[str, Tree] = {}
            await write(store, model, before)
            pages = [await page_of(cache, one, limit) for one in asked]
            expected = [matching(model, one) for one in asked]
            watchers = [await cache.watch(watch_options(one, None)) for one in asked]
            resumed = [await cache.watch(watch_options(one, cache.revision)) for one in asked]
            await write(store, model, after)
            for one, watcher, resuming, page, then in zip(asked, watchers, resumed, pages, expected, strict=True):
                listed = await everything(cache, one, page, limit)
                assert [tree["metadata"]["uid"] for tree in listed] == [tree["metadata"]["uid"] for tree in then]
                now = {key(tree): tree["metadata"]["uid"] for tree in matching(model, one)}
                fresh = (
                    await cache.list(ListOptions(namespace=one.namespace, labels=one.labels, fields=one.fields))
                ).objects()
                assert {key(tree): tree["metadata"]["uid"] for tree in map(json.loads, fresh)} == now
                assert replayed(watcher, {}) == now
                assert replayed(resuming, {key(tree): tree["metadata"]["uid"] for tree in then}) == now
            running.cancel()

    asyncio.run(body())


async def write(store: Any, model: dict[str, Tree], writes: list[Any]) -> None:
    for namespace, name, content in writes:
        place = f"{PREFIX}{namespace}/{name}"
        if content is None:
            await store.delete(place)
            model.pop(place, None)
            continue
        labels, color = content
        uid = str(await store.current_revision() + 1)
        tree = {
            "kind": "Widget",
            "apiVersion": "x.io/v1",
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "uid": uid},
            "spec": {"color": color},
        }
        await store.put(place, json.dumps(tree, separators=(",", ":")).encode())
        model[place] = tree


def matching(model: dict[str, Tree], one: Question) -> list[Tree]:
    return [tree for _, tree in sorted(model.items()) if one.holds(tree)]


def key(tree: Tree) -> str:
    return f"{tree['metadata']['namespace']}/{tree['metadata']['name']}"


def watch_options(one: Question, version: int | None) -> WatchOptions:
    return WatchOptions(namespace=one.namespace, labels=one.labels, fields=one.fields, resource_version=version)


async def page_of(cache: WatchCache, one: Question, limit: int, continue_: str = "") -> Any:
    return await cache.list(
        ListOptions(namespace=one.namespace, labels=one.labels, fields=one.fields, limit=limit, continue_=continue_)
    )


async def everything(cache: WatchCache, one: Question, page: Any, limit: int) -> list[Tree]:
    """The rest of a list in pages, all at the revision of the first; some from kept snapshots, some from the store."""
    found = page.objects()
    while page.continue_:
        cache._snapshots.clear()
        assert len(page.entries) == limit
        if page.remaining is not None:
            assert page.remaining > 0
        page = await page_of(cache, one, limit, page.continue_)
        found += page.objects()
    return list(map(json.loads, found))


def replayed(watcher: Watcher, state: dict[str, str]) -> dict[str, str]:
    """What a client's cache holds after the events that are there."""
    while records := watcher.ready_records():
        for record in records:
            tree = json.loads(record.object)
            assert int(tree["metadata"]["resourceVersion"]) == record.revision
            if record.type == "DELETED":
                assert state.pop(key(tree)) == tree["metadata"]["uid"], "a deletion carries the last state seen"
            else:
                assert (key(tree) in state) == (record.type == "MODIFIED")
                state[key(tree)] = tree["metadata"]["uid"]
    return state
