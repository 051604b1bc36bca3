"""The kubelet's HTTP API of simulated nodes: logs, exec, attach and port-forward as their scripts say.

It has no port: the API server of the same process hands its requests over, connections that leave HTTP among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from keelback.apimachinery.errors import BadRequest, NotFound
from keelback.apimachinery.meta import Status
from keelback.component import portforward, remotecommand
from keelback.component.http import (
    AnyResponse,
    Request,
    StreamingResponse,
    Writer,
    parse_query,
    query_flag,
    query_values,
)
from keelback.component.remotecommand import CommandStreams, Stream, Wanted
from keelback.concurrency.clock import Clock
from keelback.kubelet.logs import options_of
from keelback.simulation import scripts
from keelback.simulation.pods import SimulatedContainerStatus, SimulatedPod, SimulatedState
from keelback.simulation.scripts import ContainerAsked, Scripts

_LOOK_SECONDS: Final = 1.0
_FIRST_BYTES_SECONDS: Final = 1.0
_MOST_STDIN: Final = 1 << 20

Find = Callable[[str, str], SimulatedPod | None]
"""The pod of a namespace and name, if it is here."""


class SimulatedStreams:
    """Answers for the containers of one fleet. Raises StatusErrors with the words of a kubelet."""

    def __init__(self, find: Find, scripts: Scripts, clock: Clock) -> None:
        self._find = find
        self._scripts = scripts
        self._clock = clock

    async def handle(self, request: Request) -> AnyResponse:
        """Answer one request."""
        match request.path.strip("/").split("/"):
            case ["containerLogs", namespace, name, container]:
                return self._log(request, self._pod(namespace, name), container)
            case ["exec", namespace, name, container]:
                return self._exec(request, self._pod(namespace, name), container)
            case ["attach", namespace, name, container]:
                return self._attach(request, self._pod(namespace, name), container)
            case ["portForward", namespace, name]:
                return self._port_forward(request, self._pod(namespace, name))
            case _:
                raise NotFound("404 page not found: a simulated kubelet has logs, exec, attach and port-forward")

    def _pod(self, namespace: str, name: str) -> SimulatedPod:
        pod = self._find(namespace, name)
        if pod is None:
            raise NotFound(f'pod "{name}_{namespace}" not found')
        return pod

    def _log(self, request: Request, pod: SimulatedPod, container: str) -> AnyResponse:
        values = query_values(request.query)
        life = _life(pod, container)
        try:
            options = options_of(values, self._clock.now())
        except ValueError as error:
            raise BadRequest(str(error)) from error
        attempt, state = life.restart_count, life.state
        is_previous = query_flag(values.get("previous"))
        if is_previous or state.waiting is not None:
            attempt -= 0 if state.waiting is not None else 1
            state = life.last_state
        written_at = _began(state)
        if written_at is None:
            raise BadRequest(_no_log(pod, life, is_previous=is_previous))
        text = scripts.log_text(self._scripts, _asked(pod, container, attempt), pod.metadata.annotations)
        wanted = scripts.selected(text, written_at, options)

        async def serve(writer: Writer) -> None:
            writer.write(wanted)
            await writer.drain()
            if options.follow:
                await self._until_ended(pod, container, attempt, lambda: writer.closed)

        return StreamingResponse(200, {"content-type": "text/plain"}, serve)

    async def _until_ended(self, pod: SimulatedPod, container: str, attempt: int, is_left: Callable[[], bool]) -> None:
        while not is_left():
            now = self._find(pod.metadata.namespace, pod.metadata.name)
            if now is None or now.metadata.uid != pod.metadata.uid:
                return
            life = _life(now, container)
            if life.restart_count != attempt or life.state.running is None:
                return
            await self._clock.sleep(_LOOK_SECONDS)

    def _exec(self, request: Request, pod: SimulatedPod, container: str) -> AnyResponse:
        life = _running(pod, container)
        wanted = Wanted.of(request)
        command = [value for key, value in parse_query(request.query) if key == "command"]
        if not command:
            raise BadRequest("you must specify at least 1 command")
        asked = _asked(pod, container, life.restart_count)

        async def serve(streams: CommandStreams) -> Status | None:
            # Annotations say nothing of input: who types at a terminal should not have to end it first.
            reads = bool(self._scripts.commands) and streams.stdin is not None and not wanted.tty
            stdin = await _all_of(streams.stdin) if reads and streams.stdin is not None else b""
            try:
                ended = scripts.ran(self._scripts, asked, pod.metadata.annotations, command, stdin)
            except ValueError as error:
                return remotecommand.failure(str(error))
            errors = streams.stderr or streams.stdout
            for stream, text in ((streams.stdout, ended.stdout), (errors, ended.stderr)):
                if stream is not None and text:
                    await stream.write((text.replace("\n", "\r\n") if wanted.tty else text).encode())
            return remotecommand.exit_status(ended.exit_code)

        return remotecommand.respond(request, wanted, serve)

    def _attach(self, request: Request, pod: SimulatedPod, container: str) -> AnyResponse:
        life = _running(pod, container)
        wanted = Wanted.of(request)
        asked = _asked(pod, container, life.restart_count)
        text = scripts.log_text(self._scripts, asked, pod.metadata.annotations)

        async def serve(streams: CommandStreams) -> Status | None:
            if streams.stdout is not None and text:
                await streams.stdout.write((text.replace("\n", "\r\n") if wanted.tty else text).encode())
            await self._until_ended(pod, container, life.restart_count, lambda: False)
            return remotecommand.SUCCESS

        return remotecommand.respond(request, wanted, serve)

    def _port_forward(self, request: Request, pod: SimulatedPod) -> AnyResponse:
        first = pod.spec.containers[0].name
        asked = _asked(pod, first, _life(pod, first).restart_count)

        async def serve(port: int, data: Stream, error: Stream) -> None:
            try:
                async with asyncio.timeout(_FIRST_BYTES_SECONDS):
                    sent = await data.read()
            except TimeoutError:
                sent = b""  # a protocol in which the server speaks first
            try:
                answer = scripts.answered(self._scripts, asked, pod.metadata.annotations, port, sent)
            except ValueError as wrong:
                await error.write(str(wrong).encode())
                return
            if answer is None:
                text = f"error forwarding port {port} to the pod: nothing is said of this port of a simulated pod"
                await error.write(text.encode())
                return
            await data.write(answer)
            await data.close_write()

        return portforward.respond(request, serve)


def _life(pod: SimulatedPod, container: str) -> SimulatedContainerStatus:
    for life in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if life.name == container:
            return life
    return SimulatedContainerStatus(name=container)


def _running(pod: SimulatedPod, container: str) -> SimulatedContainerStatus:
    life = _life(pod, container)
    if life.state.running is None:
        meta = pod.metadata
        raise NotFound(f'container not found ("{container}" in pod "{meta.name}_{meta.namespace}")')
    return life


def _began(state: SimulatedState) -> datetime | None:
    if state.running is not None:
        return state.running.started_at
    return state.terminated.started_at if state.terminated is not None else None


def _no_log(pod: SimulatedPod, life: SimulatedContainerStatus, *, is_previous: bool) -> str:
    if is_previous:
        return f'previous terminated container "{life.name}" in pod "{pod.metadata.name}" not found'
    reason = life.state.waiting.reason if life.state.waiting is not None else "ContainerCreating"
    return f'container "{life.name}" in pod "{pod.metadata.name}" is waiting to start: {reason}'


def _asked(pod: SimulatedPod, container: str, attempt: int) -> ContainerAsked:
    meta = pod.metadata
    return ContainerAsked(
        namespace=meta.namespace, pod=meta.name, container=container, labels=meta.labels, attempt=attempt
    )


async def _all_of(stream: Stream) -> bytes:
    """What is sent until the input ends, up to a bound."""
    found = b""
    while len(found) < _MOST_STDIN and (piece := await stream.read()):
        found += piece
    return found
