"""The node's log directory over HTTP, as /logs/ shows it: directories as lists of links, files as they are."""

from __future__ import annotations

import asyncio
import html
import os
import stat
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from keelback.component.http import Response, StreamingResponse, Writer, text_response

_CHUNK = 1 << 16
_HTML = {"content-type": "text/html; charset=utf-8"}
_PLAIN = {"content-type": "text/plain; charset=utf-8"}


async def serve(root: Path, below: Sequence[str]) -> Response | StreamingResponse:
    """What lies below the log directory. Links are followed within it, and never out of it."""
    return await asyncio.to_thread(_answer, root, below)


def _answer(root: Path, below: Sequence[str]) -> Response | StreamingResponse:
    not_found = text_response("404 page not found", HTTPStatus.NOT_FOUND)
    real_root = Path(os.path.realpath(root))
    path = Path(os.path.realpath(real_root.joinpath(*below)))
    if ".." in below or not path.is_relative_to(real_root):
        return not_found
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Response(200, _HTML, _listing(path))
    except OSError:
        return not_found
    if not stat.S_ISREG(mode):
        return not_found

    async def send(writer: Writer) -> None:
        with await asyncio.to_thread(path.open, "rb") as file:
            while (chunk := await asyncio.to_thread(file.read, _CHUNK)) and not writer.closed:
                writer.write(chunk)
                await writer.drain()

    return StreamingResponse(200, _PLAIN, send)


def _listing(directory: Path) -> bytes:
    names = sorted(one.name + ("/" if one.is_dir() else "") for one in os.scandir(directory))
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in names]
    return ("<pre>\n" + "".join(f"{line}\n" for line in lines) + "</pre>\n").encode()
