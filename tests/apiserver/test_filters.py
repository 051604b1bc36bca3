"""What stands around all requests, over real connections: origins, strict transport security, connections that end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httptools

from keelback.apiserver.filters import FilterSettings
from keelback.component.serving import Server
from keelback.testing.api import api_server

ADMIN = "Authorization: Bearer admin-token"
WATCH = "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1"


class _Head:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()


async def asked(port: int, request_line: str, *headers: str) -> tuple[int, Mapping[str, str]]:
    """The status and the headers of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join((f"{request_line} HTTP/1.1", "Host: x", *headers, "", "")).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    found = _Head()
    parser = httptools.HttpResponseParser(found)
    parser.feed_data(head)
    return parser.get_status_code(), found.headers


def run(settings: FilterSettings, *requests: tuple[str, ...]) -> list[tuple[int, Mapping[str, str]]]:
    async def main() -> list[Any]:
        async with (
            asyncio.timeout(30),
            api_server(decided={"filters": settings}) as api,
            Server(api.termination.handle) as server,
        ):
            return [await asked(server.bound_port, *one) for one in requests]

    return asyncio.run(main())


def test_pages_of_allowed_origins_may_ask() -> None:
    settings = FilterSettings(cors_allowed_origins=(r"//good\.example(:|$)", "^https://other$"))
    good, bad = "Origin: https://good.example:8443", "Origin: https://good.example.evil"
    answers = run(
        settings,
        ("OPTIONS /api/v1/pods", good),
        ("GET /api/v1/namespaces", good, ADMIN),
        ("GET /api/v1/namespaces", good, "Authorization: Bearer wrong"),
        (f"GET {WATCH}", good, ADMIN),
        ("GET /api/v1/namespaces", bad, ADMIN),
        ("OPTIONS /api/v1/pods", bad, ADMIN),
        ("GET /api/v1/namespaces", ADMIN),
    )
    expected = {
        "Access-Control-Allow-Origin": "https://good.example:8443",
        "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE, PATCH",
        "Access-Control-Allow-Headers": "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, "
        "X-Requested-With, If-Modified-Since",
        "Access-Control-Expose-Headers": "Date",
        "Access-Control-Allow-Credentials": "true",
    }
    # Whoever is refused for lack of credentials is told in a way that the page can read.
    assert [status for status, _ in answers] == [204, 200, 401, 200, 200, 405, 200]
    for _, headers in answers[:4]:
        assert {name: value for name, value in headers.items() if name.startswith("Access-Control")} == expected
        assert "Audit-Id" in headers
        assert headers["Cache-Control"] == "no-cache, private"
    for _, headers in answers[4:]:
        assert not any(name.startswith("Access-Control") for name in headers)


def test_every_answer_tells_browsers_of_https() -> None:
    settings = FilterSettings(strict_transport_security=("max-age=31536000", "includeSubDomains"))
    paths = ("/", "/healthz", "/openapi/v2", "/api", "/api/v1", "/apis", "/apis/apps/v1", "/api/v1/namespaces", WATCH)
    answers = run(settings, *((f"GET {path}", ADMIN) for path in paths), ("GET /api",), ("BREW /api",))
    assert {headers.get("Strict-Transport-Security") for _, headers in answers} == {
        "max-age=31536000; includeSubDomains"
    }


def test_some_answers_are_the_last_of_their_connection() -> None:
    answers = run(FilterSettings(goaway_chance=0.02), *[("GET /healthz", ADMIN)] * 300)
    ended = [headers.get("Connection") for _, headers in answers]
    assert {status for status, _ in answers} == {200}
    assert 0 < ended.count("close") < 30


def test_nothing_is_said_that_was_not_asked_for() -> None:
    answers = run(FilterSettings(), ("OPTIONS /api/v1/pods", "Origin: https://a", ADMIN), ("GET /healthz", ADMIN))
    assert [status for status, _ in answers] == [405, 200]
    for _, headers in answers:
        assert not headers.keys() & {"Access-Control-Allow-Origin", "Strict-Transport-Security", "Connection"}
