"""A node reaches the world's edge through its gateway, and learns there at once what is not to be had."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.network import egress, gateway, namespaces
from keelback.network.fabric import Fabric


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    fabric = Fabric(tmp_path / "fabric")
    fabric.create()
    yield fabric
    fabric.destroy()


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")
def test_the_proxy_and_the_names_are_served_on_the_gateway_address(fabric: Fabric) -> None:
    async def scenario() -> bytes:
        serving = asyncio.ensure_future(gateway.serve(fabric, "nameserver 127.0.0.1\n"))
        try:
            await asyncio.sleep(0)
            host = str(fabric.plan.gateway)
            (await namespaces.connect_in(fabric.path, host, 53)).close()
            connection = await namespaces.connect_in(fabric.path, host, egress.PORT)
            reader, writer = await asyncio.open_connection(sock=connection)
            writer.write(b"CONNECT localhost:6443 HTTP/1.1\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    assert b"403 localhost is this machine" in asyncio.run(scenario())


def test_nodes_are_told_the_gateway_as_their_proxy(tmp_path: Path) -> None:
    assert gateway.egress_url(Fabric(tmp_path / "fabric")) == "http://10.89.0.1:3128"
