"""Applying a Scale: the replicas have one owner, whichever way they were applied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

WEB = "/apis/apps/v1/namespaces/default/deployments/web"
Ask = Callable[..., Awaitable[tuple[int, Any]]]


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    }


def scale(replicas: int) -> dict[str, Any]:
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}}
    return {**body, "spec": {"replicas": replicas}}


def scenario(check: Callable[[Ask], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:

            async def ask(path: str, body: Any, query: str, method: str = "PATCH") -> tuple[int, Any]:
                form = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
                headers = {"content-type": form}
                request = Request(method, path, query, headers, json.dumps(body).encode(), identity=ADMINISTRATOR)
                answer = await api.handle(request)
                assert isinstance(answer, Response)
                return answer.status, json.loads(answer.content())

            await check(ask)

    asyncio.run(main())


def owners(tree: Any) -> dict[str, tuple[str, str]]:
    """Who owns the replicas, how, and through which subresource."""
    return {
        one["manager"]: (one["operation"], one.get("subresource", ""))
        for one in tree["metadata"]["managedFields"]
        if "f:replicas" in one["fieldsV1"].get("f:spec", {})
    }


def test_who_applies_a_scale_must_not_take_the_replicas_unasked() -> None:
    async def check(ask: Ask) -> None:
        status, made = await ask(WEB, deployment(2), "fieldManager=author")
        assert (status, owners(made)) == (201, {"author": ("Apply", "")})
        status, refused = await ask(f"{WEB}/scale", scale(5), "fieldManager=scaler")
        assert status == 409
        assert refused["details"]["causes"] == [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "author"',
                "field": ".spec.replicas",
            }
        ]
        status, scaled = await ask(f"{WEB}/scale", scale(5), "fieldManager=scaler&force=true")
        assert (status, scaled["spec"]["replicas"]) == (200, 5)
        assert "managedFields" not in scaled["metadata"]
        status, refused = await ask(WEB, deployment(2), "fieldManager=author")
        assert status == 409
        assert 'conflict with "scaler" with subresource "scale"' in refused["message"]
        without = deployment(2)
        del without["spec"]["replicas"]
        status, kept = await ask(WEB, without, "fieldManager=author")
        assert (status, kept["spec"]["replicas"]) == (200, 5)
        assert owners(kept) == {"scaler": ("Apply", "scale")}

    scenario(check)


def test_a_scale_of_another_object_is_refused() -> None:
    async def check(ask: Ask) -> None:
        await ask(WEB, deployment(2), "fieldManager=author")
        other = scale(3)
        other["metadata"] |= {"namespace": "default", "uid": "11111111-2222-3333-4444-555555555555"}
        status, refused = await ask(f"{WEB}/scale", other, "", method="PUT")
        assert (status, refused["reason"]) == (409, "Conflict")
        assert "UID in precondition: 11111111-2222-3333-4444-555555555555" in refused["message"]

    scenario(check)
