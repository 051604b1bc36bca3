"""What the OpenAPI documents publish: every path and verb is answered, and public validators find nothing wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from keelback.apiserver.assembly import RunningAPIServer
from keelback.component.http import Request, Response
from keelback.registry.runtime_config import OPTIONAL
from keelback.testing.api import ADMINISTRATOR, api_server

METHODS = ("delete", "get", "head", "options", "patch", "post", "put")
UNKNOWN = "the server could not find the requested resource"
# What a request without a node to send it to is told.
NAMES_NO_POD = "target.name: Required value"


async def read(api: RunningAPIServer, path: str) -> Any:
    path, _, query = path.partition("?")
    answer = await api.handle(
        Request("GET", path, query, headers={"accept": "application/json"}, identity=ADMINISTRATOR)
    )
    assert isinstance(answer, Response)
    assert answer.status == 200, path
    return json.loads(answer.content())


def operations(document: Any) -> Iterator[tuple[str, str]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path.format(name="x", namespace="default", path="y")


def complaint(status: int, body: bytes) -> str:
    """Why an answer is that of nobody; empty when a handler gave it."""
    if status == 405 or status >= 500:
        message = json.loads(body)["message"] if body[:1] == b"{" else body.decode()
        return "" if message == NAMES_NO_POD else f"{status} {message}"
    if status == 404:
        # An object that is not there is named; a path that is not is not.
        tree = json.loads(body) if body[:1] == b"{" else {}
        if not tree.get("details", {}).get("name"):
            return f"404 {body.decode()}"
    return ""


@pytest.mark.parametrize("optional", [(), OPTIONAL], ids=["default", "all"])
def test_every_published_operation_is_answered(optional: tuple[tuple[str, str], ...]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120), api_server(optional_versions=optional) as api:
            document = await read(api, "/openapi/v2")
            found = []
            count = 0
            for method, path in operations(document):
                # No dry run would be a test of its own: the namespace of all these objects is the default one.
                query = "dryRun=All" if method in ("delete", "post", "put", "patch") else ""
                headers = {"content-type": "application/merge-patch+json" if method == "patch" else "application/json"}
                query = "timeoutSeconds=0" if "/watch/" in path else query
                body = b"{}" if method in ("post", "put", "patch") else b""
                request = Request(method.upper(), path, query, headers=headers, body=body, identity=ADMINISTRATOR)
                answer = await api.handle(request)
                content = answer.content() if isinstance(answer, Response) else b""
                count += 1
                if problem := complaint(getattr(answer, "status", 101), content):
                    found.append(f"{method} {path}: {problem}")
            assert not found
            assert count > (900 if optional else 700)

    asyncio.run(main())


def test_public_validators_find_nothing_wrong() -> None:
    async def main() -> tuple[Any, dict[str, Any]]:
        async with asyncio.timeout(120), api_server(optional_versions=OPTIONAL) as api:
            index = (await read(api, "/openapi/v3"))["paths"]
            return await read(api, "/openapi/v2"), {
                place: await read(api, one["serverRelativeURL"]) for place, one in index.items()
            }

    second, third = asyncio.run(main())
    assert not list(OpenAPIV2SpecValidator(second).iter_errors())
    assert {"api/v1", "apis/apps/v1", "openid/v1/jwks", "version"} <= third.keys()
    for place, document in third.items():
        assert not list(OpenAPIV30SpecValidator(document).iter_errors()), place
