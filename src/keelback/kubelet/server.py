"""The kubelet's HTTPS API: logs, exec, attach and port-forward for the API server, statistics for others.

Who asks must be known and allowed, by the API server's own answers; only the health check is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import msgspec

from keelback.api import pods
from keelback.apimachinery.codecs import encode
from keelback.apimachinery.errors import StatusError
from keelback.auth.authentication import AuthenticationFailed
from keelback.component.http import (
    JSON_HEADERS,
    AnyResponse,
    Request,
    Response,
    StreamingResponse,
    Writer,
    parse_query,
    query_flag,
    query_values,
    text_response,
)
from keelback.component.logs import logger
from keelback.component.remotecommand import Wanted
from keelback.component.serving import Server, server_context
from keelback.cri.runtime import ContainerRuntimeError
from keelback.cri.values import ContainerState, ContainerStatus
from keelback.kubelet import logs, node_logs, stats, streaming
from keelback.kubelet.kubelet import Kubelet
from keelback.kubelet.server_access import Access
from keelback.kubelet.worker import PodWorker

_log = logger("kubelet.server")
_PLAIN: Mapping[str, str] = {"content-type": "text/plain"}


class _Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class KubeletServer:
    """Serves one kubelet."""

    def __init__(self, kubelet: Kubelet) -> None:
        config = kubelet.config
        self._kubelet = kubelet
        authority = config.client_ca.read_bytes() if config.client_ca is not None else None
        self._access = Access(kubelet.client, kubelet.clock, config.node_name, authority, config.anonymous)
        self._stats = stats.Statistics(kubelet)

    async def run(self) -> None:
        """Listen until cancelled."""
        config = self._kubelet.config
        context = None
        if config.tls_certificate is not None and config.tls_key is not None:
            context = server_context(config.tls_certificate, config.tls_key, config.client_ca)
        server = Server(self.handle, context, config.address, config.port, clock=self._kubelet.clock)
        async with server:
            await asyncio.Event().wait()

    async def handle(self, request: Request) -> AnyResponse:
        """Answer one request."""
        if request.path == "/healthz" and request.method == "GET":
            # Liveness must not depend on the API server.
            return text_response("ok")
        try:
            await self._authorize(request)
            return await self._route(request)
        except _Refused as refused:
            return text_response(str(refused), refused.status)
        except ContainerRuntimeError as error:
            return text_response(str(error), HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _authorize(self, request: Request) -> None:
        try:
            user = await self._access.user(request)
            if user is None:
                raise _Refused(HTTPStatus.UNAUTHORIZED, "Unauthorized")
            if not await self._access.may(user, request):
                what = f"user={user.name}, verb={request.method.lower()}, resource=nodes, path={request.path}"
                raise _Refused(HTTPStatus.FORBIDDEN, f"Forbidden ({what})")
        except AuthenticationFailed as error:
            raise _Refused(HTTPStatus.UNAUTHORIZED, "Unauthorized") from error
        except (StatusError, OSError, TimeoutError) as error:
            raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"Authorization error: {error}") from error

    async def _route(self, request: Request) -> AnyResponse:
        parts = request.path.strip("/").split("/")
        match parts:
            case ["pods" | "runningpods"]:
                return self._pods()
            case ["containerLogs", namespace, name, container]:
                return await self._logs(request, namespace, name, container)
            case ["exec", namespace, name, container] | ["exec", namespace, name, _, container]:
                return await self._exec(request, namespace, name, container)
            case ["attach", namespace, name, container] | ["attach", namespace, name, _, container]:
                return await self._attach(request, namespace, name, container)
            # Not by GET: who may read through a node's proxy must not be able to run anything by that.
            case ["run", namespace, name, container] if request.method == "POST":
                return await self._run(request, namespace, name, container)
            case ["portForward", namespace, name] | ["portForward", namespace, name, _]:
                return await self._port_forward(request, namespace, name)
            case ["stats", "summary"]:
                return Response(200, JSON_HEADERS, msgspec.json.encode(await self._stats.summary()))
            case ["metrics"]:
                return Response(200, _PLAIN, self._stats.own())
            case ["metrics", "resource"]:
                return Response(200, _PLAIN, await self._stats.resource())
            case ["metrics", "cadvisor"]:
                return Response(200, _PLAIN, await self._stats.cadvisor())
            case ["metrics", "probes"]:
                return Response(200, _PLAIN, self._stats.probes())
            case ["logs", *below] if request.method in ("GET", "HEAD"):
                return await node_logs.serve(self._kubelet.config.pod_logs.parent, below)
            case ["configz"]:
                return Response(200, JSON_HEADERS, msgspec.json.encode({"kubeletconfig": self._configuration()}))
            case _:
                return text_response("404 page not found", HTTPStatus.NOT_FOUND)

    def _configuration(self) -> Mapping[str, object]:
        config = self._kubelet.config
        return {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "port": config.port,
            "clusterDomain": config.cluster_domain,
            "clusterDNS": list(config.cluster_dns),
            "maxPods": config.max_pods,
            "nodeStatusUpdateFrequency": f"{config.status_seconds:g}s",
            "nodeLeaseDurationSeconds": config.lease_duration_seconds,
            "imageGCHighThresholdPercent": config.image_high_percent,
            "imageGCLowThresholdPercent": config.image_low_percent,
            "containerLogMaxFiles": config.container_log_max_files,
        }

    def _pods(self) -> Response:
        listed = b",".join(encode(pod) for pod in self._kubelet.all_pods())
        head = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":['
        return Response(200, JSON_HEADERS, (head, listed, b"]}"))

    # Finding

    def _worker(self, namespace: str, name: str) -> PodWorker:
        worker = self._kubelet.worker_of(namespace, name)
        if worker is None:
            raise _Refused(HTTPStatus.NOT_FOUND, f'pod "{name}_{namespace}" not found')
        return worker

    def _running(self, worker: PodWorker, name: str) -> ContainerStatus:
        status = worker.observed.latest(name)
        if status is None or status.container.state != ContainerState.RUNNING:
            meta = worker.pod.metadata
            raise _Refused(
                HTTPStatus.NOT_FOUND, f'container not found ("{name}" in pod "{meta.name}_{meta.namespace}")'
            )
        return status

    # Logs

    async def _logs(self, request: Request, namespace: str, name: str, container: str) -> AnyResponse:
        worker = self._worker(namespace, name)
        values = query_values(request.query)
        try:
            options = logs.options_of(values, self._kubelet.clock.now())
        except ValueError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        if container not in pods.container_names(worker.pod.spec):
            text = f'container "{container}" not found in pod "{name}"'
            raise _Refused(HTTPStatus.NOT_FOUND, text)
        status = self._log_of(worker, container, previous=query_flag(values.get("previous")))
        path = Path(status.log_path)
        if not await asyncio.to_thread(path.exists):
            raise _Refused(HTTPStatus.NOT_FOUND, f"unable to retrieve container logs for {status.container.id}")
        clock = self._kubelet.clock

        async def serve(writer: Writer) -> None:
            def is_running() -> bool:
                return not writer.closed and worker.is_running(status.container.id)

            try:
                async for piece in logs.read(path, options, clock, is_running):
                    if writer.closed:
                        return
                    writer.write(piece)
                    await writer.drain()
            except FileNotFoundError:
                writer.write(f"unable to retrieve container logs for {status.container.id}".encode())

        return StreamingResponse(200, _PLAIN, serve)

    def _log_of(self, worker: PodWorker, container: str, *, previous: bool) -> ContainerStatus:
        history = worker.observed.history(container)
        meta = worker.pod.metadata
        if previous:
            # What the status calls the last state: while a container waits to be restarted, that is its latest end.
            told = pods.container_status(worker.status, container)
            ended = told.last_state.terminated if told is not None else None
            for one in history:
                if ended is not None and ended.container_id.endswith(f"//{one.container.id}"):
                    return one
            text = f'previous terminated container "{container}" in pod "{meta.name}" not found'
            raise _Refused(HTTPStatus.BAD_REQUEST, text)
        if not history:
            told = pods.container_status(worker.status, container)
            waiting = told.state.waiting if told is not None else None
            reason = waiting.reason if waiting is not None else "ContainerCreating"
            text = f'container "{container}" in pod "{meta.name}" is waiting to start: {reason}'
            raise _Refused(HTTPStatus.BAD_REQUEST, text)
        return history[0]

    # Streams

    async def _exec(self, request: Request, namespace: str, name: str, container: str) -> AnyResponse:
        status = self._running(self._worker(namespace, name), container)
        wanted = _wanted(request)
        command = [value for key, value in parse_query(request.query) if key == "command"]
        if not command:
            raise _Refused(HTTPStatus.BAD_REQUEST, "you must specify at least 1 command")
        url = await self._kubelet.runtime.exec_url(
            status.container.id,
            command,
            stdin=wanted.stdin,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
            tty=wanted.tty,
        )
        return streaming.command(request, wanted, url)

    async def _attach(self, request: Request, namespace: str, name: str, container: str) -> AnyResponse:
        worker = self._worker(namespace, name)
        status = self._running(worker, container)
        wanted = _wanted(request)
        url = await self._kubelet.runtime.attach_url(
            status.container.id, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.tty
        )
        return streaming.command(request, wanted, url)

    async def _port_forward(self, request: Request, namespace: str, name: str) -> AnyResponse:
        sandbox = self._worker(namespace, name).observed.sandbox
        if sandbox is None:
            raise _Refused(HTTPStatus.NOT_FOUND, f'pod "{name}_{namespace}" has no sandbox')
        sandbox_id = sandbox.sandbox.id
        return streaming.forward(request, lambda port: self._kubelet.runtime.port_forward_url(sandbox_id, [port]))

    async def _run(self, request: Request, namespace: str, name: str, container: str) -> Response:
        status = self._running(self._worker(namespace, name), container)
        command = query_values(request.query).get("cmd", "").split(" ")
        result = await self._kubelet.runtime.exec_sync(status.container.id, command, 60.0)
        return Response(200, _PLAIN, result.stdout + result.stderr)


def _wanted(request: Request) -> Wanted:
    wanted = Wanted.of(request)
    if not wanted.any:
        raise _Refused(HTTPStatus.BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr")
    return wanted
