"""Asking a container how it is: by HTTP, TCP, gRPC or a command. Run it in the network namespace of the node."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import grpc

from keelback.api.core_v1 import HTTPGetAction, LifecycleHandler, Pod, Probe
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError, DeadlineExceeded
from keelback.kubelet.plan import AnyContainer

_MAX_BODY = 10 * 1024
_MAX_OUTPUT = 10 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether it went well, and what it said."""

    ok: bool
    text: str = ""
    is_known: bool = True
    """False: it could not be asked, which says nothing about the container."""


async def probe(
    action: Probe | LifecycleHandler,
    container: AnyContainer,
    pod: Pod,
    container_id: str,
    pod_ip: str,
    runtime: ContainerRuntime,
    timeout_seconds: float,
) -> Answer:
    """Do what a probe or a hook says, once."""
    if action.exec is not None:
        return await run_command(runtime, container_id, action.exec.command, timeout_seconds)
    if action.http_get is not None:
        return await http_get(action.http_get, container, pod_ip, timeout_seconds)
    if action.tcp_socket is not None:
        host = action.tcp_socket.host or pod_ip
        return await tcp(host, port_number(action.tcp_socket.port, container), timeout_seconds)
    if isinstance(action, Probe) and action.grpc is not None:
        return await grpc_health(pod_ip, action.grpc.port, action.grpc.service, timeout_seconds)
    return Answer(False, "missing probe handler")


async def run_command(
    runtime: ContainerRuntime, container_id: str, command: tuple[str, ...], timeout_seconds: float
) -> Answer:
    """Run a command in the container; well is exit code 0."""
    try:
        result = await runtime.exec_sync(container_id, command, timeout_seconds)
    except DeadlineExceeded:
        return Answer(False, f'command timed out: "{" ".join(command)}" timed out after {timeout_seconds:g}s')
    except ContainerRuntimeError as error:
        return Answer(False, f"rpc error: {error}", is_known=False)
    output = (result.stdout + result.stderr)[:_MAX_OUTPUT].decode(errors="replace")
    return Answer(result.exit_code == 0, output)


async def tcp(host: str, port: int, timeout_seconds: float) -> Answer:
    """Open a connection and close it."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Answer(False, f"dial tcp {_address(host, port)}: i/o timeout")
    except OSError as error:
        return Answer(False, f"dial tcp {_address(host, port)}: connect: {_reason(error)}")
    writer.close()
    return Answer(True)


async def http_get(action: HTTPGetAction, container: AnyContainer, pod_ip: str, timeout_seconds: float) -> Answer:
    """One GET; well is a status from 200 to 399. A redirect to another host counts as well, and is not followed."""
    host = action.host or pod_ip
    port = port_number(action.port, container)
    scheme = (action.scheme or "HTTP").lower()
    path = action.path if action.path.startswith("/") else "/" + action.path
    url = f"{scheme}://{_address(host, port)}{path}"
    for _ in range(10):
        try:
            async with asyncio.timeout(timeout_seconds):
                status, headers, body = await _request(scheme, host, port, path, _headers(action, host, port))
        except TimeoutError:
            return Answer(False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded)')
        except (OSError, ValueError) as error:
            text = _reason(error) if isinstance(error, OSError) else str(error)
            return Answer(False, f'Get "{url}": dial tcp {_address(host, port)}: connect: {text}')
        if status not in (301, 302, 303, 307, 308):
            break
        target = urlsplit(urljoin(url, headers.get("location", "")))
        if target.hostname != host or target.scheme not in ("http", "https"):
            break
        scheme, port = target.scheme, target.port or (443 if target.scheme == "https" else 80)
        path = urlunsplit(("", "", target.path or "/", target.query, ""))
        url = f"{scheme}://{_address(host, port)}{path}"
    else:
        return Answer(False, f'Get "{url}": stopped after 10 redirects')
    if 200 <= status < 400:
        return Answer(True, body[:_MAX_BODY].decode(errors="replace"))
    return Answer(False, f"HTTP probe failed with statuscode: {status}")


def _headers(action: HTTPGetAction, host: str, port: int) -> Mapping[str, str]:
    headers = {"host": _address(host, port), "user-agent": "kube-probe/1.36", "accept": "*/*"}
    for one in action.http_headers:
        if one.name.lower() in headers and not one.value:
            headers.pop(one.name.lower())
        else:
            headers[one.name.lower()] = one.value
    return headers


async def _request(
    scheme: str, host: str, port: int, path: str, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, str], bytes]:
    context = None
    if scheme == "https":
        # As upstream: a probe asks whether it answers, not who it is.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "connection: close"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        status_line = (await reader.readline()).decode("latin-1").split(None, 2)
        if len(status_line) < 2 or not status_line[0].startswith("HTTP/") or not status_line[1].isdigit():
            raise ValueError("malformed HTTP response")
        found: dict[str, str] = {}
        while (line := (await reader.readline()).decode("latin-1").strip()) and len(found) < 100:
            name, _, value = line.partition(":")
            found[name.strip().lower()] = value.strip()
        body = await reader.read(_MAX_BODY)
    finally:
        writer.close()
    return int(status_line[1]), found, body


async def grpc_health(host: str, port: int, service: str, timeout_seconds: float) -> Answer:
    """The grpc.health.v1 check; well is SERVING."""
    name = service.encode()
    assert len(name) < 128, "the API allows no longer service names"
    request = b"\n" + bytes([len(name)]) + name if name else b""
    async with grpc.aio.insecure_channel(_address(host, port)) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer: bytes = await check(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            match error.code():
                case grpc.StatusCode.UNIMPLEMENTED:
                    text = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                case grpc.StatusCode.DEADLINE_EXCEEDED:
                    text = f"timeout: health rpc did not complete within {timeout_seconds:g}s"
                case _:
                    text = f"error: health rpc probe failed: {error.details()}"
            return Answer(False, text)
    # Field 1, a varint: 1 is SERVING.
    if answer[:2] == b"\x08\x01":
        return Answer(True, "service healthy")
    state = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}.get(answer[1] if len(answer) > 1 else 0, "UNKNOWN")
    return Answer(False, f'service unhealthy (responded with "{state}")')


def port_number(port: int | str, container: AnyContainer) -> int:
    """A port by number or by the name of one of the container's. Raises ValueError."""
    if isinstance(port, int):
        return port
    for one in container.ports:
        if one.name == port:
            return one.container_port
    if port.isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port!r} in {container.name}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
