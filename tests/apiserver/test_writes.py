"""What every write has in common: dry runs, generated names, preconditions, and the many ways of deleting."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keelback.component.http import Request, Response
from keelback.storage import memory
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking, with_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "example:1"}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example:1"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec}


def options(**given: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "DeleteOptions", **given}


async def names(ask: Ask, path: str) -> list[str]:
    _, page = await ask("GET", path)
    return [one["metadata"]["name"] for one in page["items"]]


# Dry runs.


@with_server
async def test_a_dry_run_of_every_verb_answers_as_if_and_changes_nothing(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, config_map("a", labels={"x": "y"}))
    await ask("POST", DEPLOYMENTS, deployment("d"))
    await ask("POST", PODS, pod("p", nodeName="n"))
    _, before = await ask("GET", CONFIG_MAPS)
    _, old_deployment = await ask("GET", f"{DEPLOYMENTS}/d")
    _, old_pod = await ask("GET", f"{PODS}/p")
    changed = {**config_map("a"), "data": {"k": "v"}}
    add = [{"op": "add", "path": "/data", "value": {"k": "v"}}]
    scale = {"spec": {"replicas": 7}}
    status = {"status": {"replicas": 7}}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    for method, path, body, kind, code in (
        ("POST", CONFIG_MAPS, config_map("b"), "application/json", 201),
        ("POST", CONFIG_MAPS, config_map("", generateName="g-"), "application/json", 201),
        ("POST", CONFIG_MAPS, config_map("a"), "application/json", 409),
        ("PUT", f"{CONFIG_MAPS}/a", changed, "application/json", 200),
        ("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}, MERGE, 200),
        ("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}, STRATEGIC, 200),
        ("PATCH", f"{CONFIG_MAPS}/a", add, JSON_PATCH, 200),
        ("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", changed, APPLY, 200),
        ("PATCH", f"{CONFIG_MAPS}/new?fieldManager=m", config_map("new"), APPLY, 201),
        ("DELETE", f"{CONFIG_MAPS}/a", None, "application/json", 200),
        ("DELETE", CONFIG_MAPS, None, "application/json", 200),
        ("PATCH", f"{DEPLOYMENTS}/d/scale", scale, MERGE, 200),
        ("PATCH", f"{DEPLOYMENTS}/d/status", status, MERGE, 200),
        ("DELETE", f"{DEPLOYMENTS}/d?propagationPolicy=Foreground", None, "application/json", 200),
        ("DELETE", f"{PODS}/p", None, "application/json", 200),
        ("DELETE", f"{PODS}/p?gracePeriodSeconds=0", None, "application/json", 200),
        ("POST", f"{PODS}/p/binding", binding, "application/json", 409),
        ("POST", f"{PODS}/p/eviction", eviction, "application/json", 201),
    ):
        joined = "&" if "?" in path else "?"
        answer = await ask(method, f"{path}{joined}dryRun=All", body, kind=kind)
        assert answer[0] == code, (method, path, answer)
    _, after = await ask("GET", CONFIG_MAPS)
    # Not even the revision has moved.
    assert after == before
    assert (await ask("GET", f"{DEPLOYMENTS}/d"))[1] == old_deployment
    assert (await ask("GET", f"{PODS}/p"))[1] == old_pod


@pytest.mark.parametrize("value", ["Some", "", "all", "All&dryRun=All", "true"])
def test_dry_runs_are_all_or_not_at_all(value: str) -> None:
    @with_server
    async def run(ask: Ask) -> None:
        await ask("POST", CONFIG_MAPS, config_map("a"))
        for method, path, name in (
            ("POST", CONFIG_MAPS, "CreateOptions"),
            ("PUT", f"{CONFIG_MAPS}/a", "UpdateOptions"),
            ("DELETE", f"{CONFIG_MAPS}/a", "DeleteOptions"),
            ("DELETE", CONFIG_MAPS, "DeleteOptions"),
        ):
            body = None if method == "DELETE" else config_map("a")
            status, refused = await ask(method, f"{path}?dryRun={value}", body)
            assert (status, refused["reason"]) == (422, "Invalid")
            assert refused["message"].startswith(f'{name}.meta.k8s.io "" is invalid: dryRun: Unsupported value:')
        assert "a" in await names(ask, CONFIG_MAPS)

    run()


# Generated names.


def test_a_generated_name_that_is_taken_is_made_again() -> None:
    async def first_name(taken: str) -> tuple[int, str]:
        """The name that a server makes first, where one is taken. The same chance makes the same names."""
        store = memory.open_store(HandClock())
        async with asyncio.timeout(30), api_server(HandClock(), seed=11, store=store) as api:
            if taken:
                value = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"%b","namespace":"default"}}'
                await store.put(f"/registry/configmaps/default/{taken}", value % taken.encode())
            status, made = await asking(api.handle)("POST", CONFIG_MAPS, config_map("", generateName="gen-"))
            return status, made["metadata"]["name"]

    _, free = asyncio.run(first_name(""))
    status, other = asyncio.run(first_name(free))
    assert (status, other[:4], len(other)) == (201, "gen-", 9)
    assert other != free


@with_server
async def test_a_given_name_that_is_taken_is_not_made_again(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, config_map("a"))
    status, refused = await ask("POST", CONFIG_MAPS, config_map("a", generateName="gen-"))
    message = 'configmaps "a" already exists, the server was not able to generate a unique name for the object'
    assert (status, refused["reason"], refused["message"]) == (409, "AlreadyExists", message)
    assert refused["details"] == {"name": "a", "kind": "configmaps", "retryAfterSeconds": 1}
    status, refused = await ask("POST", CONFIG_MAPS, config_map("a"))
    assert (status, refused["message"]) == (409, 'configmaps "a" already exists')


@with_server
async def test_a_long_beginning_is_cut(ask: Ask) -> None:
    status, made = await ask("POST", CONFIG_MAPS, config_map("", generateName="x" * 200))
    assert (status, len(made["metadata"]["name"]), made["metadata"]["generateName"]) == (201, 63, "x" * 200)


# Preconditions.


@with_server
async def test_conditions_of_writes(ask: Ask) -> None:
    _, made = await ask("POST", CONFIG_MAPS, config_map("a"))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    path = f"{CONFIG_MAPS}/a"
    wrong = config_map("a", resourceVersion="1")
    for method, body, kind, code in (
        ("PUT", wrong, "application/json", 409),
        ("PATCH", wrong, MERGE, 409),
        ("PATCH", wrong, STRATEGIC, 409),
        ("PATCH", [{"op": "add", "path": "/metadata/resourceVersion", "value": "1"}], JSON_PATCH, 409),
        ("PUT", config_map("a", uid="other"), "application/json", 409),
        ("PATCH", {"metadata": {"uid": "other"}}, MERGE, 422),
        ("PATCH", [{"op": "test", "path": "/metadata/uid", "value": "other"}], JSON_PATCH, 422),
        ("DELETE", options(preconditions={"uid": "other"}), "application/json", 409),
        ("DELETE", options(preconditions={"resourceVersion": "1"}), "application/json", 409),
        ("DELETE", options(preconditions={"uid": uid, "resourceVersion": "1"}), "application/json", 409),
    ):
        status, refused = await ask(method, path, body, kind=kind)
        assert status == code, (method, kind, refused)
    _, unchanged = await ask("GET", path)
    assert unchanged["metadata"]["resourceVersion"] == version
    body = options(preconditions={"uid": uid, "resourceVersion": version})
    assert (await ask("DELETE", path, body))[0] == 200


# Deleting.


@pytest.mark.parametrize(
    ("given", "held_by", "code"),
    [
        (options(), None, 200),
        (options(propagationPolicy="Background"), None, 200),
        (options(propagationPolicy="Orphan"), ["orphan"], 200),
        (options(propagationPolicy="Foreground"), ["foregroundDeletion"], 200),
        (options(orphanDependents=True), ["orphan"], 200),
        (options(orphanDependents=False), None, 200),
        (options(propagationPolicy="Sideways"), 422, 422),
        (options(propagationPolicy="Orphan", orphanDependents=True), 422, 422),
    ],
)
def test_what_becomes_of_dependents_is_written_in_finalizers(given: Any, held_by: Any, code: int) -> None:
    @with_server
    async def run(ask: Ask) -> None:
        path = f"{DEPLOYMENTS}/d"
        await ask("POST", DEPLOYMENTS, deployment("d"))
        status, answer = await ask("DELETE", path, given)
        assert status == code, answer
        status, left = await ask("GET", path)
        if code == 422:
            assert "deletionTimestamp" not in left["metadata"]
        elif held_by is None:
            assert status == 404
        else:
            assert left["metadata"]["finalizers"] == held_by
            assert left["metadata"]["deletionTimestamp"]
            # The last word counts: once nothing holds it, it goes.
            status, _ = await ask("DELETE", path, options(propagationPolicy="Background"))
            assert status == 200
            assert (await ask("GET", path))[0] == 404

    run()


@with_server
async def test_options_come_in_the_query_as_well(ask: Ask) -> None:
    for query, held_by in (("propagationPolicy=Orphan", ["orphan"]), ("orphanDependents=true", ["orphan"])):
        await ask("POST", DEPLOYMENTS, deployment("d"))
        await ask("DELETE", f"{DEPLOYMENTS}/d?{query}")
        _, left = await ask("GET", f"{DEPLOYMENTS}/d")
        assert left["metadata"]["finalizers"] == held_by
        await ask("PATCH", f"{DEPLOYMENTS}/d", {"metadata": {"finalizers": None}}, kind=MERGE)
        assert (await ask("GET", f"{DEPLOYMENTS}/d"))[0] == 404


@with_server
async def test_a_bound_pod_gets_its_grace_and_a_second_delete_only_shortens_it(ask: Ask) -> None:
    await ask("POST", PODS, pod("p", nodeName="n"))
    path = f"{PODS}/p"
    status, waiting = await ask("DELETE", path)
    first = waiting["metadata"]
    assert (status, first["deletionGracePeriodSeconds"]) == (200, 30)
    _, longer = await ask("DELETE", path, options(gracePeriodSeconds=100))
    assert longer["metadata"]["deletionTimestamp"] == first["deletionTimestamp"]
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
    _, shorter = await ask("DELETE", path, options(gracePeriodSeconds=5))
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < first["deletionTimestamp"]
    status, gone = await ask("DELETE", path, options(gracePeriodSeconds=0))
    assert (status, gone["kind"]) == (200, "Pod")
    assert (await ask("GET", path))[0] == 404


@with_server
async def test_a_pod_without_a_node_goes_at_once(ask: Ask) -> None:
    await ask("POST", PODS, pod("p"))
    assert (await ask("DELETE", f"{PODS}/p"))[0] == 200
    assert (await ask("GET", f"{PODS}/p"))[0] == 404


@with_server
async def test_finalizers_outlast_the_grace(ask: Ask) -> None:
    held = pod("p", nodeName="n")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await ask("POST", PODS, held)
    path = f"{PODS}/p"
    await ask("DELETE", path, options(gracePeriodSeconds=0))
    _, waiting = await ask("GET", path)
    assert (waiting["metadata"]["deletionGracePeriodSeconds"], waiting["metadata"]["finalizers"]) == (
        0,
        ["example.com/hold"],
    )
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    status, refused = await ask("PATCH", path, more, kind=MERGE)
    assert status == 422
    assert 'found new finalizers []string{"example.com/more"}' in refused["message"]
    assert (await ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, kind=MERGE))[0] == 200
    status, last = await ask("PATCH", path, {"metadata": {"finalizers": []}}, kind=MERGE)
    assert (status, last["metadata"]["labels"]) == (200, {"a": "b"})
    assert (await ask("GET", path))[0] == 404


# Collections.


@with_server
async def test_collections_are_deleted_by_selectors_and_in_pages(ask: Ask) -> None:
    for number in range(6):
        labels = {"parity": ("even", "odd")[number % 2]}
        await ask("POST", CONFIG_MAPS, config_map(f"c{number}", labels=labels))
    for query, deleted, left in (
        ("labelSelector=parity%3Dodd&limit=1", ["c1"], ["c0", "c2", "c3", "c4", "c5"]),
        ("fieldSelector=metadata.name%3Dc4", ["c4"], ["c0", "c2", "c3", "c5"]),
        ("labelSelector=nothing", [], ["c0", "c2", "c3", "c5"]),
        ("labelSelector=parity+notin+(odd)", ["c0", "c2"], ["c3", "c5"]),
        ("", ["c3", "c5"], []),
    ):
        status, gone = await ask("DELETE", f"{CONFIG_MAPS}?{query}")
        assert (status, gone["kind"]) == (200, "ConfigMapList")
        assert [one["metadata"]["name"] for one in gone["items"]] == deleted
        assert await names(ask, CONFIG_MAPS) == left


@with_server
async def test_a_collection_keeps_what_finalizers_hold(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, config_map("held", finalizers=["example.com/hold"]))
    await ask("POST", CONFIG_MAPS, config_map("free"))
    assert (await ask("DELETE", CONFIG_MAPS))[0] == 200
    assert await names(ask, CONFIG_MAPS) == ["held"]
    for query, code in (("labelSelector=(", 400), ("fieldSelector=nope%3D1", 400), ("propagationPolicy=x", 422)):
        assert (await ask("DELETE", f"{CONFIG_MAPS}?{query}"))[0] == code


def test_of_a_thousand_creators_of_one_name_one_succeeds() -> None:
    async def main() -> list[int]:
        async with asyncio.timeout(60), api_server() as api:
            body = json.dumps(config_map("one")).encode()
            request = Request(
                "POST", CONFIG_MAPS, "", {"content-type": "application/json"}, body, identity=ADMINISTRATOR
            )
            answers = await asyncio.gather(*(api.handle(request) for _ in range(1000)))
            return [int(one.status) for one in answers if isinstance(one, Response)]

    statuses = asyncio.run(main())
    assert (statuses.count(201), statuses.count(409)) == (1, 999)
