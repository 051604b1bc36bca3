"""Patches that are no patches, and patches after which an object is none: each kind is refused in its own words."""

from __future__ import annotations

from typing import Any

from keelback.testing.requests import Ask, with_server

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
DEPLOYMENT = f"{DEPLOYMENTS}/d"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
INTO_MAP = "into Go value of type map[string]interface {}"
REJECTED = "the server rejected our request due to an error in our request"


async def have_deployment(ask: Ask) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    status, made = await ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    assert status == 201, made


async def check(ask: Ask, kind: str, cases: tuple[tuple[Any, int, str], ...]) -> None:
    await have_deployment(ask)
    for body, expected, told in cases:
        status, answer = await ask("PATCH", DEPLOYMENT, body, kind=kind)
        assert (body, status, answer.get("message", "")) == (body, expected, told)


@with_server
async def test_json_patches_are_lists_of_operations(ask: Ask) -> None:
    decoding = "error decoding patch: "
    into = "into Go value of type"
    cases = (
        (b"null", 200, ""),
        (b"{}", 400, f"{decoding}json: cannot unmarshal object {into} []handlers.jsonPatchOp"),
        (b'"a"', 400, f"{decoding}json: cannot unmarshal string {into} []handlers.jsonPatchOp"),
        (b"[1]", 400, f"{decoding}json: cannot unmarshal number {into} handlers.jsonPatchOp"),
        (b"[null]", 422, REJECTED),
        (
            b'[{"op":1}]',
            400,
            f"{decoding}json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
        (b"[", 400, f"{decoding}unexpected end of JSON input"),
        (b'[{"op":"remove","path":""}]', 422, REJECTED),
    )
    await check(ask, JSON_PATCH, cases)


@with_server
async def test_strategic_patches_are_objects(ask: Ask) -> None:
    cases = (
        (b"null", 200, ""),
        (b"[]", 400, f"json: cannot unmarshal array {INTO_MAP}"),
        (b'"a"', 400, f"json: cannot unmarshal string {INTO_MAP}"),
        (b'{"spec":', 400, "unexpected end of JSON input"),
        (b"x", 400, "invalid character 'x' looking for beginning of value"),
    )
    await check(ask, STRATEGIC, cases)


def undecodable(patch: str, told: str) -> str:
    return f' "" is invalid: patch: Invalid value: "map[{patch}]": {told}'


@with_server
async def test_what_was_merged_strategically_is_converted_not_decoded(ask: Ask) -> None:
    cases = (
        ({"spec": {"replicas": "x"}}, 422, undecodable("spec:map[replicas:x]", "unrecognized type: int32")),
        ({"spec": {"replicas": 1.5}}, 422, undecodable("spec:map[replicas:1.5]", "cannot convert float64 to int32")),
        ({"spec": {"paused": "yes"}}, 422, undecodable("spec:map[paused:yes]", "unrecognized type: bool")),
        (
            {"metadata": {"labels": {"a": 5}}},
            422,
            undecodable("metadata:map[labels:map[a:5]]", "cannot convert int64 to string"),
        ),
        (
            {"metadata": {"labels": {"a": True}}},
            422,
            undecodable("metadata:map[labels:map[a:true]]", "unrecognized type: string"),
        ),
        (
            {"spec": {"replicas": 3_000_000_000}},
            422,
            'Deployment.apps "d" is invalid: spec.replicas: Invalid value: -1294967296: '
            "must be greater than or equal to 0",
        ),
    )
    await check(ask, STRATEGIC, cases)
    status, patched = await ask("PATCH", DEPLOYMENT, b'{"spec":{"replicas":2.0}}', kind=STRATEGIC)
    assert (status, patched["spec"]["replicas"]) == (200, 2)
