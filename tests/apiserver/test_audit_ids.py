"""Every answer names its request."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from keelback.apiserver.server import with_headers
from keelback.component.http import (
    AnyResponse,
    Connection,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
    Writer,
)
from keelback.testing.api import ADMINISTRATOR, api_server


async def ask(*requests: Request) -> list[AnyResponse]:
    async with api_server() as server:
        return [await server.handle(request) for request in requests]


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/api/v1/namespaces/default", "", 200),
        ("GET", "/api/v1/namespaces/none", "", 404),
        ("POST", "/api/v1/namespaces", "", 400),
        ("GET", "/version", "", 200),
        ("GET", "/none", "", 404),
        ("GET", "/api/v1/namespaces", "watch=true", 200),
    ],
)
def test_every_answer_has_one_of_its_own(method: str, path: str, query: str, status: int) -> None:
    request = Request(method, path, query, identity=ADMINISTRATOR)
    answers = asyncio.run(ask(request, request))
    ids = set()
    for answer in answers:
        assert isinstance(answer, Response | StreamingResponse)
        assert answer.status == status
        ids.add(answer.headers["audit-id"])
        given = uuid.UUID(answer.headers["audit-id"])
        assert (given.version, given.variant) == (4, uuid.RFC_4122)
    assert len(ids) == 2


def test_an_unauthenticated_request_has_one_too() -> None:
    (answer,) = asyncio.run(ask(Request("GET", "/api/v1/pods", headers={"authorization": "Bearer wrong"})))
    assert isinstance(answer, Response)
    assert answer.status == 401
    assert answer.headers["audit-id"]


def test_the_one_that_a_client_gives_is_echoed_as_it_is() -> None:
    request = Request("GET", "/version", headers={"audit-id": "deploy 17"}, identity=ADMINISTRATOR)
    (answer,) = asyncio.run(ask(request))
    assert isinstance(answer, Response)
    assert answer.headers["audit-id"] == "deploy 17"


def test_one_that_an_answer_brings_along_is_kept() -> None:
    async def serve(writer: Writer) -> None:
        return

    marked = with_headers(StreamingResponse(200, {"audit-id": "a"}, serve), "b", {})
    assert isinstance(marked, StreamingResponse)
    assert marked.headers == {"audit-id": "a"}


def test_a_connection_that_leaves_http_is_left_alone() -> None:
    async def serve(connection: Connection) -> None:
        return

    upgrade = UpgradeResponse(serve)
    assert with_headers(upgrade, "b", {}) is upgrade
