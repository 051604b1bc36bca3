"""The node's log files over HTTP, and nothing beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keelback.component.http import Response, StreamingResponse
from keelback.kubelet.node_logs import serve


class Kept:
    closed = False

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None: ...


def answer(root: Path, *below: str) -> tuple[int, bytes]:
    async def ask() -> tuple[int, bytes]:
        found = await serve(root, below)
        if isinstance(found, Response):
            return found.status, found.content()
        assert isinstance(found, StreamingResponse)
        kept = Kept()
        await found.serve(kept)
        return found.status, kept.data

    return asyncio.run(ask())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    (root / "pods" / "a&b").mkdir(parents=True)
    (root / "kubelet.log").write_text("line\n" * 50_000)
    (root / "latest").symlink_to("kubelet.log")
    (tmp_path / "secret").write_text("no")
    (root / "out").symlink_to(tmp_path / "secret")
    return root


def test_directories_are_listed(root: Path) -> None:
    status, body = answer(root)
    assert status == 200
    assert b'<a href="kubelet.log">kubelet.log</a>' in body
    assert b'<a href="pods/">pods/</a>' in body
    assert b'<a href="a%26b/">a&amp;b/</a>' in answer(root, "pods")[1]


@pytest.mark.parametrize("name", ["kubelet.log", "latest"])
def test_files_are_sent_whole(root: Path, name: str) -> None:
    assert answer(root, name) == (200, b"line\n" * 50_000)


@pytest.mark.parametrize("below", [("none",), ("out",), ("..", "secret"), ("pods", "..", "..", "secret")])
def test_what_is_not_there_or_not_below_is_not_found(root: Path, below: tuple[str, ...]) -> None:
    assert answer(root, *below)[0] == 404
