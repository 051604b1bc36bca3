"""What the writer of a custom resource is warned of."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/widgets"
RULE = {"rule": "self.size > 3", "message": "too small"}


def definition(*rules: dict[str, str]) -> dict[str, Any]:
    spec = {"type": "object", "properties": {"size": {"type": "integer"}}, "x-kubernetes-validations": rules}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "kind": "Widget"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]},
    }


def test_finalizers_without_a_path_and_rules_that_were_broken_before() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:

            async def ask(method: str, path: str, body: Any) -> tuple[int, str]:
                kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
                data = json.dumps(body).encode()
                answer = await api.handle(
                    Request(method, path, "", {"content-type": kind}, data, identity=ADMINISTRATOR)
                )
                assert isinstance(answer, Response)
                return answer.status, str(answer.headers.get("warning", ""))

            await ask("POST", DEFINITIONS, definition())
            metadata = {"name": "a", "finalizers": ["mine"]}
            made = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 2}}
            status, told = 404, ""
            while status == 404:
                await asyncio.sleep(0)
                status, told = await ask("POST", WIDGETS, made)
            assert told == (
                '299 - "metadata.finalizers: \\"mine\\": prefer a domain-qualified finalizer name including a path (/) '
                'to avoid accidental conflicts with other finalizer writers"'
            )
            patch = {"spec": definition(RULE)["spec"]}
            assert await ask("PATCH", f"{DEFINITIONS}/widgets.example.com", patch) == (200, "")
            told = ""
            while not told:
                await asyncio.sleep(0)
                status, told = await ask("PATCH", f"{WIDGETS}/a", {"metadata": {"labels": {"x": "y"}}})
                assert status == 200
            assert told == '299 - "spec: Invalid value: too small"'

    asyncio.run(main())
