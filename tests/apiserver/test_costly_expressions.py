"""Expressions that cost much, within upstream's limits, hold up nobody but who asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, with_clock, with_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GRIDS = "/apis/example.com/v1/namespaces/default/grids"
ROW = {"type": "array", "maxItems": 40, "items": {"type": "integer"}}
RULE = "self.rows.all(x, self.rows.all(y, self.rows.all(z, x == y || y == z || z.size() == 40)))"
SPEC = {
    "type": "object",
    "properties": {"rows": {"type": "array", "maxItems": 40, "items": ROW}},
    "x-kubernetes-validations": [{"rule": RULE}],
}
ROWS = [[*range(39), row] for row in range(24)]


def definition() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": SPEC}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "grids", "kind": "Grid"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "grids.example.com"}, "spec": spec}


def grid(name: str, rows: list[list[int]]) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Grid", "metadata": {"name": name}, "spec": {"rows": rows}}


async def answered_meanwhile(ask: Ask, costly: Awaitable[tuple[int, Any]]) -> tuple[int, Any]:
    """The answer to a costly request, during which others were answered."""
    asked = asyncio.ensure_future(costly)
    for _ in range(3):
        status, _ = await ask("GET", "/api/v1/namespaces/default")
        assert status == 200
        assert not asked.done()
    return await asked


async def served(ask: Ask, path: str) -> None:
    """Return when a path is served."""
    while True:
        if (await ask("GET", path))[0] == 200:
            return
        await asyncio.sleep(0)


@with_server
async def test_others_are_answered_while_the_rules_of_a_custom_resource_are_evaluated(ask: Ask) -> None:
    status, answer = await ask("POST", DEFINITIONS, definition())
    assert status == 201, answer
    await served(ask, GRIDS)
    status, answer = await answered_meanwhile(ask, ask("POST", GRIDS, grid("a", ROWS)))
    assert status == 201, answer
    changed = grid("a", ROWS[1:])
    changed["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"]
    status, answer = await answered_meanwhile(ask, ask("PUT", f"{GRIDS}/a", changed))
    assert status == 200, answer


def policy(expression: str) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    constraints = {"resourceRules": [rule]}
    return {
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": constraints, "validations": [{"expression": expression}]},
    }


@with_clock
async def test_others_are_answered_while_a_policy_is_evaluated(ask: Ask, clock: HandClock) -> None:
    group = "/apis/admissionregistration.k8s.io/v1"
    three = "object.data.all(x, object.data.all(y, object.data.all(z, x != '' || y != z)))"
    status, answer = await ask("POST", f"{group}/validatingadmissionpolicies", policy(three))
    assert status == 201, answer
    binding = {"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}}
    status, answer = await ask("POST", f"{group}/validatingadmissionpolicybindings", binding)
    assert status == 201, answer
    await clock.pass_time(1)
    body = {"metadata": {"generateName": "c"}, "data": {f"k{at}": "v" for at in range(50)}}
    path = "/api/v1/namespaces/default/configmaps"
    status, answer = await answered_meanwhile(ask, ask("POST", path, body))
    assert status == 201, answer
    body["data"] = {f"k{at}": "v" for at in range(200)}
    status, answer = await ask("POST", path, body)
    assert status == 422
    assert answer["message"].endswith("resulted in error: operation cancelled: actual cost limit exceeded")
