"""Mutating admission policies on the real server. Time stands still until a test moves it, so nothing has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from keelback.testing.api import api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/mutatingadmissionpolicies"
BINDINGS = f"{GROUP}/mutatingadmissionpolicybindings"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"


def rule(*resources: str, group: str = "", version: str = "v1") -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources or ("configmaps",)),
    }


def apply(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


class World:
    """A server with policies in force."""

    def __init__(self, ask: Ask, clock: HandClock) -> None:
        self.ask = ask
        self.clock = clock

    async def policy(self, *mutations: dict[str, Any], name: str = "p", bind: Any = None, **spec: Any) -> None:
        """A policy for all ConfigMaps, bound, and in force."""
        given = {
            "matchConstraints": {"resourceRules": [rule()]},
            "reinvocationPolicy": "Never",
            "mutations": list(mutations),
            **spec,
        }
        status, answer = await self.ask("POST", POLICIES, {"metadata": {"name": name}, "spec": given})
        assert status == 201, answer
        binding = {"metadata": {"name": f"{name}-b"}, "spec": {"policyName": name, **(bind or {})}}
        status, answer = await self.ask("POST", BINDINGS, binding)
        assert status == 201, answer
        await self.clock.pass_time(1)

    async def config_map(self, name: str = "a", **body: Any) -> Any:
        """Create a ConfigMap, dry, which must succeed."""
        metadata = {"name": name, **body.pop("metadata", {})}
        status, made = await self.ask("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": metadata, **body})
        assert status == 201, made
        return made

    async def refusal(self, **body: Any) -> tuple[int, str, str]:
        """How the creation of a ConfigMap is refused: code, reason and message."""
        status, answer = await self.ask("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "a"}, **body})
        return status, answer.get("reason", ""), answer.get("message", "")


def with_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            clock = HandClock()
            async with api_server(clock) as api, asyncio.timeout(60):
                await test(World(asking(api.handle), clock))

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def deployment(**template: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "one"}], **template}
    labels = {"app": "web"}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


@with_world
async def test_an_apply_configuration_is_merged_as_the_types_say(world: World) -> None:
    await world.policy(
        apply(
            "Object{metadata: Object.metadata{annotations: {'by': request.userInfo.username}},"
            " spec: Object.spec{replicas: 2, template: Object.spec.template{spec: Object.spec.template.spec{containers:"
            " [Object.spec.template.spec.containers{name: 'side', image: 's'},"
            " Object.spec.template.spec.containers{name: 'main', imagePullPolicy: 'Always'}]}}}}"
        ),
        matchConstraints={"resourceRules": [rule("deployments", group="apps")]},
    )
    status, made = await world.ask("POST", DEPLOYMENTS, deployment())
    assert status == 201, made
    assert made["metadata"]["annotations"]["by"] == "admin"
    assert made["spec"]["replicas"] == 2
    containers = {one["name"]: one for one in made["spec"]["template"]["spec"]["containers"]}
    assert containers["main"]["image"] == "one"
    assert containers["main"]["imagePullPolicy"] == "Always"
    # What a policy puts in gets its defaults, and changes nothing that is there already.
    assert containers["side"]["terminationMessagePolicy"] == "File"
    status, again = await world.ask("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 5}}, kind=MERGE)
    assert (status, again["spec"]["replicas"]) == (200, 2)
    assert again["spec"]["template"] == made["spec"]["template"]
    assert again["metadata"]["generation"] == 1


@with_world
async def test_a_json_patch_may_hold_any_value(world: World) -> None:
    await world.policy(
        json_patch(
            "[JSONPatch{op: 'test', path: '/metadata/name', value: 'a'},"
            " JSONPatch{op: 'add', path: '/metadata/labels', value: {'x': 'y'}},"
            " JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/z'), value: 'w'}]"
            " + (has(object.data) ? [JSONPatch{op: 'move', from: '/data/k', path: '/data/moved'}] : [])"
        )
    )
    made = await world.config_map(data={"k": "v"})
    assert made["metadata"]["labels"] == {"x": "y", "example.com/z": "w"}
    assert made["data"] == {"moved": "v"}
    # A test that fails leaves the object as it was.
    assert "labels" not in (await world.config_map("b"))["metadata"]


@with_world
async def test_mutations_follow_each_other_and_see_variables_of_the_time(world: World) -> None:
    add = "Object{data: {'n%d': string(variables.count)}}"
    await world.policy(
        apply(add % 1),
        apply(add % 2),
        variables=[{"name": "count", "expression": "size(object.?data.orValue({}))"}],
    )
    assert (await world.config_map(data={"k": "v"}))["data"] == {"k": "v", "n1": "1", "n2": "2"}


@with_world
async def test_a_mutation_that_fails_refuses_unless_failures_are_ignored(world: World) -> None:
    await world.policy(
        json_patch("[JSONPatch{op: 'remove', path: '/data/none'}]"),
        apply("Object{immutable: true, data: {'k': object.data.nope}}"),
    )
    by = "policy 'p' with binding 'p-b' denied request: "
    status, reason, message = await world.refusal(data={})
    assert (status, reason) == (403, "Invalid")
    assert message.startswith(f"{by}JSON Patch: ")
    await world.ask("PATCH", f"{POLICIES}/p", {"spec": {"failurePolicy": "Ignore"}}, kind=MERGE)
    await world.clock.pass_time(1)
    assert "data" not in await world.config_map()


@with_world
async def test_what_would_be_replaced_as_a_whole_is_not_applied(world: World) -> None:
    selector = "Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}"
    await world.policy(apply(selector), matchConstraints={"resourceRules": [rule("deployments", group="apps")]})
    status, answer = await world.ask("POST", DEPLOYMENTS, deployment())
    assert (status, answer["message"]) == (
        403,
        "policy 'p' with binding 'p-b' denied request: error applying patch: invalid ApplyConfiguration: may not "
        "mutate atomic arrays, maps or structs: .spec.selector",
    )


@with_world
async def test_objects_of_the_wrong_name_and_unknown_fields_are_not_applied(world: World) -> None:
    await world.policy(apply("Object{metadata: Object.spec{labels: {'a': 'b'}}}"))
    assert (await world.refusal())[2] == (
        "policy 'p' with binding 'p-b' denied request: type mismatch: unexpected type name \"Object.spec\", expected "
        '"Object.metadata", which matches field name path from root Object type'
    )
    await world.ask("PATCH", f"{POLICIES}/p", {"spec": {"mutations": [apply("Object{nope: 1}")]}}, kind=MERGE)
    await world.clock.pass_time(1)
    assert (await world.refusal())[2] == (
        "policy 'p' with binding 'p-b' denied request: error applying patch: failed to convert patch object to typed "
        "object: .nope: field not declared in schema"
    )


@with_world
async def test_policies_act_by_name_and_those_that_wish_act_again_on_what_others_changed(world: World) -> None:
    count = "Object{data: {'count': string(size(object.?data.orValue({})))}}"
    await world.policy(apply(count), name="a", reinvocationPolicy="IfNeeded")
    await world.policy(apply("Object{data: {'b': 'b'}}"), name="b")
    await world.policy(apply(count.replace("count", "once")), name="c")
    # First: count=0, b, once=2; then a alone acts again: it sees three.
    assert (await world.config_map())["data"] == {"count": "3", "b": "b", "once": "2"}


@with_world
async def test_conditions_parameters_and_bindings_choose(world: World) -> None:
    for name in ("one", "two"):
        limit = {"metadata": {"name": name, "labels": {"kind": "label"}}, "data": {"key": name}}
        assert (await world.ask("POST", CONFIG_MAPS, limit))[0] == 201
    ref = {"selector": {"matchLabels": {"kind": "label"}}, "parameterNotFoundAction": "Deny"}
    await world.policy(
        apply("Object{data: {params.data.key: namespaceObject.metadata.name}}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        matchConditions=[{"name": "c", "expression": "object.metadata.name != 'skip' && params.data.key != ''"}],
        bind={"paramRef": ref, "matchResources": {"objectSelector": {"matchLabels": {"x": "y"}}}},
    )
    labelled = {"labels": {"x": "y"}}
    assert (await world.config_map(metadata=labelled))["data"] == {"one": "default", "two": "default"}
    assert "data" not in await world.config_map("skip", metadata=labelled)
    assert "data" not in await world.config_map()
    for name in ("one", "two"):
        assert (await world.ask("DELETE", f"{CONFIG_MAPS}/{name}"))[0] == 200
    await world.clock.pass_time(1)
    assert (await world.refusal(metadata={"name": "a", **labelled}))[2] == (
        "policy 'p' with binding 'p-b' denied request: failed to configure binding: no params found for policy binding "
        "with `Deny` parameterNotFoundAction"
    )


@with_world
async def test_what_a_policy_makes_invalid_is_refused_as_if_the_client_had_sent_it(world: World) -> None:
    await world.policy(apply("Object{metadata: Object.metadata{labels: {'not valid!': 'x'}}}"))
    status, reason, message = await world.refusal()
    assert (status, reason) == (422, "Invalid")
    assert "metadata.labels" in message


@with_world
async def test_built_in_plugins_see_what_policies_put_in(world: World) -> None:
    side = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'side', image: 's'}]}}"
    await world.policy(apply(side), matchConstraints={"resourceRules": [rule("pods")]})
    ranges = "/api/v1/namespaces/default/limitranges"
    limits = {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]}
    assert (await world.ask("POST", ranges, {"metadata": {"name": "l"}, "spec": limits}))[0] == 201
    await world.clock.pass_time(1)
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    status, made = await world.ask("POST", "/api/v1/namespaces/default/pods", pod)
    assert status == 201, made
    assert [one["resources"]["limits"] for one in made["spec"]["containers"]] == [{"cpu": "1"}, {"cpu": "1"}]
