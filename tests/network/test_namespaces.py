"""Namespaces are entered for one thing at a time, and the process stays where it was."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.network import namespaces
from keelback.network.namespaces import Kind, Namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "net"
    namespaces.keep_network_namespace(path)
    namespaces.run(Namespaces.network(path), ["ip", "link", "set", "lo", "up"])
    yield path
    namespaces.release_network_namespace(path)


def own_netns() -> int:
    return os.stat("/proc/self/ns/net").st_ino


def test_a_kept_namespace_is_another_one_and_is_released_wholly(tmp_path: Path) -> None:
    path = tmp_path / "net"
    before = own_netns()
    namespaces.keep_network_namespace(path)
    namespaces.keep_network_namespace(path)
    assert namespaces.is_kept(path)
    assert os.stat(path).st_ino != before
    assert own_netns() == before
    namespaces.release_network_namespace(path)
    namespaces.release_network_namespace(path)
    assert not path.exists()
    assert str(path) not in Path("/proc/self/mountinfo").read_text()


def test_one_process_listens_and_connects_in_another_network_namespace(netns: Path) -> None:
    async def talk() -> bytes:
        listener = namespaces.listen_in(netns, "127.0.0.1", 0)
        port = listener.getsockname()[1]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"from within")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, sock=listener):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            connection = await namespaces.connect_in(netns, "127.0.0.1", port)
            reader, writer = await asyncio.open_connection(sock=connection)
            heard = await reader.read()
            writer.close()
            await writer.wait_closed()
            return heard

    assert asyncio.run(talk()) == b"from within"


def test_settings_reach_only_the_namespace_entered(netns: Path) -> None:
    inside = Namespaces.network(netns)
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    assert namespaces.write_sysctls(inside, {"net.ipv4.ip_default_ttl": "33", "net.ipv4.no_such": "1"}) == [
        "net.ipv4.no_such"
    ]
    ttl = namespaces.within(inside, lambda: Path("/proc/sys/net/ipv4/ip_default_ttl").read_text())
    assert ttl.strip() == "33"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before


def test_the_first_program_in_a_new_pid_namespace_is_its_pid_1() -> None:
    def start() -> str:
        shell = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True, cwd="/")
        return shell.stdout

    assert namespaces.within_new(Kind.PID | Kind.MOUNT, start).strip() == "1"


def test_a_program_that_fails_inside_says_so(netns: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        namespaces.run(Namespaces.network(netns), ["ip", "link", "show", "eth0"])
    with pytest.raises(FileNotFoundError):
        namespaces.run(Namespaces.network(Path("/nowhere/net")), ["true"])
