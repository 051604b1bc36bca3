"""HTTP probes: what counts as well, and where a redirect leads them."""

from __future__ import annotations

import asyncio

import pytest

from keelback.api.core_v1 import Container, HTTPGetAction, HTTPHeader
from keelback.kubelet.probing import Answer, http_get


def probed(path: str) -> tuple[Answer, list[str]]:
    """What a probe of a server of a few paths says, and the paths that were asked for."""
    asked: list[str] = []

    async def play() -> Answer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split()[1]
            asked.append(target)
            port = writer.get_extra_info("sockname")[1]
            places = {
                "/local": "/ok?x=1",
                "/beside/below": "ok",
                "/whole": f"http://127.0.0.1:{port}/ok",
                "/away": "http://192.0.2.1/ok",
                "/ever": "/ever",
            }
            location = places.get(target, "")
            status = "302 Found" if location else ("200 OK" if "/ok" in target else "500 Oh")
            writer.write(f"HTTP/1.1 {status}\r\nlocation: {location}\r\n\r\nx-probe: {'x-probe: y' in head}".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            action = HTTPGetAction(path=path, port=port, http_headers=(HTTPHeader(name="X-Probe", value="y"),))
            return await http_get(action, Container(name="c"), "127.0.0.1", 5.0)

    return asyncio.run(play()), asked


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("/ok", ["/ok"]),
        ("/local", ["/local", "/ok?x=1"]),
        ("/beside/below", ["/beside/below", "/beside/ok"]),
        ("/whole", ["/whole", "/ok"]),
        ("/away", ["/away"]),
    ],
)
def test_redirects_are_followed_to_the_same_host_and_count_as_well_to_others(path: str, paths: list[str]) -> None:
    answer, asked = probed(path)
    assert answer.ok
    assert asked == paths
    assert "x-probe: True" in answer.text


def test_errors_and_endless_redirects_are_failures() -> None:
    answer, _ = probed("/fails")
    assert (answer.ok, answer.text) == (False, "HTTP probe failed with statuscode: 500")
    answer, asked = probed("/ever")
    assert (answer.ok, len(asked)) == (False, 10)
    assert "stopped after 10 redirects" in answer.text
