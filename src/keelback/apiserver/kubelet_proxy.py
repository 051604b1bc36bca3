"""What the API server passes on: logs, exec, attach and port-forward to kubelets, proxy requests to pods, nodes and
Services."""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from keelback.api.core_v1 import Node, Pod, Service
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import Kind, StatusDetails
from keelback.apiserver import connect_options, websocket_stream
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.context import RequestContext
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.proxied_links import MAX_HTML_BYTES, Seen, decoded
from keelback.auth.attributes import Authorizer
from keelback.client.https import HTTPSTransport, client_context
from keelback.client.upgrade_proxy import pass_on
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, Writer, parse_query
from keelback.component.websocket import is_upgrade
from keelback.concurrency.clock import Clock

OptionsT = TypeVar("OptionsT")

AskSimulated: TypeAlias = Callable[[str, Request], Awaitable[AnyResponse]]
"""Has the kubelet of a simulated node answer a request. Raises StatusError as it refuses, OSError where it is gone."""

KUBELET_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
"""By which of its addresses a node is best reached, as kubeadm has it."""
_DIAL_SECONDS = 30.0
_SIMULATED_LABEL = "node.keelback.dev/simulated"
_HOP_HEADERS = frozenset(
    ("connection", "host", "transfer-encoding", "content-length", "authorization", "upgrade", "keep-alive", "te")
)
_PATH_SAFE = "/$&+,:;=@"  # besides the unreserved: as Go writes paths
# A proxied server must not open the API server's origin to others.
_CORS_HEADERS = frozenset(f"access-control-allow-{name}" for name in ("credentials", "headers", "methods", "origin"))


class KubeletProxy:
    """Connects clients with kubelets and pods."""

    def __init__(
        self,
        lookup: CacheLookup,
        binder: AdmissionBinder,
        authorizer: Authorizer,
        *,
        certificate: Path,
        key: Path,
        ca_pem: bytes,
        address_types: Sequence[str] = ADDRESS_TYPES,
        make_socket: Callable[[], socket.socket] | None,
        clock: Clock,
        chance: random.Random | None = None,
        simulated: AskSimulated | None = None,
    ) -> None:
        self._lookup = lookup
        self._binder = binder
        self._authorizer = authorizer
        self._certificate = certificate
        self._key = key
        self._ca_pem = ca_pem
        self._address_types = address_types
        self._make_socket = make_socket
        self._clock = clock
        self._chance = chance or random.Random(0)
        self._ask_simulated = simulated
        self._kubelets: dict[str, HTTPSTransport] = {}

    async def pod_log(self, context: RequestContext) -> AnyResponse:
        """GET …/pods/NAME/log"""
        connect_options.check_log_options(context)
        pod = await self._pod(context)
        container = self._container(pod, context.query.get("container", ""), "")
        if pod.spec.node_name == "":
            return Response(200, {"content-type": "text/plain"}, b"")
        query = [(name, value) for name, value in parse_query(context.request.query) if name != "container"]
        meta = pod.metadata
        path = f"/containerLogs/{meta.namespace}/{meta.name}/{container}"
        request = Request("GET", path, urlencode(query), {"accept": "text/plain, */*"})
        answer = await self._simulated(pod.spec.node_name, request)
        if answer is None:
            answer = await self._stream(await self._kubelet(pod.spec.node_name), request, tells_why=True)
        if is_upgrade(context.request, "websocket") and isinstance(answer, StreamingResponse):
            return websocket_stream.respond(context.request, answer.serve)
        return answer

    async def pod_exec(self, context: RequestContext) -> AnyResponse:
        """…/pods/NAME/exec"""
        options = await self._admitted(context, Pod.__kind__, connect_options.exec_options(context))
        await self._check_may_create(context)
        return await self._remote_command(context, "exec", options)

    async def pod_attach(self, context: RequestContext) -> AnyResponse:
        """…/pods/NAME/attach"""
        options = await self._admitted(context, Pod.__kind__, connect_options.attach_options(context))
        await self._check_may_create(context)
        return await self._remote_command(context, "attach", options)

    async def pod_portforward(self, context: RequestContext) -> AnyResponse:
        """…/pods/NAME/portforward"""
        await self._admitted(context, Pod.__kind__, connect_options.port_forward_options(context))
        await self._check_may_create(context)
        pod = await self._running(context)
        path = f"/portForward/{pod.metadata.namespace}/{pod.metadata.name}"
        return await self._connected(pod.spec.node_name, context, path, context.request.query)

    async def _remote_command(
        self, context: RequestContext, verb: str, options: connect_options.Streams
    ) -> AnyResponse:
        container = self._container(await self._pod(context), options.container, verb)
        pod = await self._running(context)
        path = f"/{verb}/{pod.metadata.namespace}/{pod.metadata.name}/{container}"
        query = urlencode(connect_options.kubelet_query(options))
        return await self._connected(pod.spec.node_name, context, path, query)

    async def _connected(self, node_name: str, context: RequestContext, path: str, query: str) -> AnyResponse:
        """The client's connection joined with the kubelet of a node."""
        given = context.request
        request = Request(given.method, path, query, given.headers, given.body)
        answer = await self._simulated(node_name, request)
        return answer or await self._pass_on(await self._kubelet(node_name), context, path, query)

    async def _simulated(self, node_name: str, request: Request) -> AnyResponse | None:
        """What the kubelet of a simulated node answers; None for a node that is none."""
        if self._ask_simulated is None:
            return None
        node = await self._lookup.get(Node, node_name)
        if _SIMULATED_LABEL not in node.metadata.labels:
            return None
        try:
            return await self._ask_simulated(node_name, request)
        except OSError as error:
            raise errors.InternalError(f"error dialing backend: {error}") from error

    async def _check_may_create(self, context: RequestContext) -> None:
        """Over WebSocket these requests are GETs; the right to read must not be enough. Raises Forbidden."""
        attributes = context.attributes()
        if attributes.verb == "create":
            return
        verdict = await self._authorizer.authorize(msgspec.structs.replace(attributes, verb="create"))
        if not verdict.is_allowed:
            name = context.info.name
            raise errors.Forbidden(
                f'pods "{name}" is forbidden: {verdict.reason}', details=StatusDetails(name=name, kind="pods")
            )

    async def _admitted(self, context: RequestContext, kind: Kind, options: OptionsT) -> OptionsT:
        """The options of a connection as admission leaves them. Raises StatusError where it is refused."""
        bound = self._binder.bind(context, kind, subresource=context.info.subresource, dry_run=False)
        admitted: OptionsT = await bound.admit("CONNECT", options, None)
        await bound.validate("CONNECT", admitted, None)
        return admitted

    async def pod_proxy(self, context: RequestContext) -> AnyResponse:
        """…/pods/[SCHEME:]NAME[:PORT]/proxy/PATH"""
        await self._admitted(context, Pod.__kind__, connect_options.PodProxyOptions(path=_path(context)))
        scheme, name, port = _target(context.info.name, "pod")
        pod = await self._lookup.get(Pod, name, context.info.namespace)
        if not port:
            ports = [one.container_port for container in pod.spec.containers for one in container.ports]
            port = str(ports[0]) if ports else "80"
        return await self._forward(context, scheme, pod.status.pod_ip, port)

    async def service_proxy(self, context: RequestContext) -> AnyResponse:
        """…/services/[SCHEME:]NAME[:PORT]/proxy/PATH"""
        await self._admitted(context, Service.__kind__, connect_options.ServiceProxyOptions(path=_path(context)))
        scheme, name, port = _target(context.info.name, "service")
        service = await self._lookup.get(Service, name, context.info.namespace)
        if port.isdecimal():
            named = next((one.name for one in service.spec.ports if one.port == int(port)), None)
            if named is None:
                raise errors.ServiceUnavailable(f'no service port {port} found for service "{name}"')
            port = named
        found: list[tuple[str, int]] = []
        for one in await self._lookup.list(EndpointSlice, context.info.namespace):
            if one.metadata.labels.get("kubernetes.io/service-name") != name:
                continue
            number = next((p.port for p in one.ports or () if (p.name or "") == port), None)
            found.extend(
                (endpoint.addresses[0], number)
                for endpoint in one.endpoints or ()
                if number and endpoint.addresses and endpoint.conditions.ready is not False
            )
        if not found:
            raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')
        host, number = self._chance.choice(found)
        return await self._forward(context, scheme, host, str(number))

    async def node_proxy(self, context: RequestContext) -> AnyResponse:
        """/nodes/[SCHEME:]NAME[:PORT]/proxy/PATH: the kubelet's own API, or another port of the node."""
        await self._admitted(context, Node.__kind__, connect_options.NodeProxyOptions(path=_path(context)))
        scheme, name, port = _target(context.info.name, "node")
        transport = await self._kubelet(name)
        host, _, own_port = transport.address.rpartition(":")
        if port and port != own_port:
            return await self._forward(context, scheme, host, port)
        return await self._proxied(context, transport)

    async def _forward(self, context: RequestContext, scheme: str, host: str, port: str) -> AnyResponse:
        if not may_be_proxied(host):
            raise errors.BadRequest("address not allowed")
        if not port.isdecimal() or int(port) >= 1 << 16:
            raise errors.ServiceUnavailable(f"error trying to reach service: dial tcp: address {port}: invalid port")
        tls = client_context(insecure=True) if scheme == "https" else None
        address = f"[{host}]" if ":" in host else host
        transport = HTTPSTransport(
            f"{scheme or 'http'}://{address}:{port}", tls, make_socket=self._make_socket, clock=self._clock
        )
        return await self._proxied(context, transport, close=True)

    async def _proxied(self, context: RequestContext, transport: HTTPSTransport, *, close: bool = False) -> AnyResponse:
        given = context.request
        prefix, path = _proxy_path(context)
        if "upgrade" in given.headers:
            return await self._pass_on(transport, context, path or "/", given.query, all_headers=True)
        if not path and given.method in ("GET", "HEAD"):
            # Relative links would lead astray (upstream's issue 4958).
            query = f"?{given.query}" if given.query else ""
            return Response(301, {"location": f"{quote(given.path, safe=_PATH_SAFE)}/{query}"}, b"")
        headers = {name: value for name, value in given.headers.items() if name not in _HOP_HEADERS}
        seen = Seen("https", given.headers.get("host", ""), prefix, transport.address)
        earlier = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
        headers["x-forwarded-for"] = ", ".join([*earlier, given.remote or "127.0.0.1"])
        headers |= {
            "x-forwarded-uri": quote(prefix + path, safe=_PATH_SAFE),
            "x-forwarded-host": seen.host,
            "x-forwarded-proto": seen.scheme,
        }
        request = Request(given.method, path or "/", given.query, headers, given.body)
        return await self._stream(transport, request, close=close, seen=seen)

    async def _stream(
        self,
        transport: HTTPSTransport,
        request: Request,
        *,
        close: bool = False,
        tells_why: bool = False,
        seen: Seen | None = None,
    ) -> StreamingResponse:
        """Another server's answer, as it comes; with `tells_why` a refusal in plain text becomes a Status, with `seen`
        its links lead through the proxy."""
        stack = transport.stream(request, timeout_seconds=_DIAL_SECONDS)
        try:
            answer = await stack.__aenter__()
        except (OSError, TimeoutError) as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error}") from error
        if tells_why and answer.status >= 400:
            text = (await answer.content()).decode(errors="replace").strip()
            await stack.__aexit__(None, None, None)
            raise _refusal(answer.status, text)
        headers = {name: value for name, value in answer.headers.items() if name not in _HOP_HEADERS}
        if request.method == "HEAD" and "content-length" in answer.headers:
            headers["content-length"] = answer.headers["content-length"]
        chunks = answer.chunks()
        held: list[bytes] = []
        if seen is not None:
            headers = {name: value for name, value in headers.items() if name not in _CORS_HEADERS}
            if "location" in headers:
                headers["location"] = seen.url(headers["location"])
            elif headers.get("content-type", "").partition(";")[0].strip() == "text/html":
                held, is_whole = await _held(chunks)
                plain = decoded(b"".join(held), headers.get("content-encoding", "")) if is_whole else None
                if plain is not None:
                    headers.pop("content-encoding", None)
                    held = [seen.document(plain)]

        async def serve(writer: Writer) -> None:
            try:
                for piece in held:
                    writer.write(piece)
                async for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
            finally:
                await stack.__aexit__(None, None, None)
                if close:
                    await transport.close()

        return StreamingResponse(answer.status, headers, serve)

    async def _pass_on(
        self,
        transport: HTTPSTransport,
        context: RequestContext,
        path: str,
        query: str,
        *,
        all_headers: bool = False,
    ) -> AnyResponse:
        try:
            return await pass_on(transport, context.request, path, query, all_headers=all_headers)
        except (OSError, TimeoutError) as error:
            raise errors.InternalError(f"error dialing backend: {error}") from error

    async def _kubelet(self, node_name: str) -> HTTPSTransport:
        node = await self._lookup.get(Node, node_name)
        if _SIMULATED_LABEL in node.metadata.labels:
            raise errors.BadRequest(
                f"containers on node {node_name} are simulated: there is nothing to read or to enter"
            )
        address = _address(node, self._address_types)
        port = node.status.daemon_endpoints.kubelet_endpoint
        server = f"https://{address}:{(port.port if port else 0) or KUBELET_PORT}"
        known = self._kubelets.get(server)
        if known is None:
            tls = client_context(self._ca_pem.decode(), self._certificate, self._key)
            known = self._kubelets[server] = HTTPSTransport(
                server, tls, make_socket=self._make_socket, clock=self._clock
            )
        return known

    async def _pod(self, context: RequestContext) -> Pod:
        return await self._lookup.get(Pod, context.info.name, context.info.namespace)

    async def _running(self, context: RequestContext) -> Pod:
        pod = await self._pod(context)
        if not pod.spec.node_name:
            raise errors.BadRequest(f"pod {pod.metadata.name} does not have a host assigned")
        if pod.status.phase in ("Succeeded", "Failed"):
            raise errors.BadRequest(
                f"cannot exec into a container in a completed pod; current phase is {pod.status.phase}"
            )
        return pod

    @staticmethod
    def _container(pod: Pod, wanted: str, verb: str) -> str:
        spec = pod.spec
        names = [one.name for one in (*spec.containers, *spec.init_containers)]
        names.extend(one.name for one in spec.ephemeral_containers)
        if wanted:
            if wanted not in names:
                raise errors.BadRequest(f"container {wanted} is not valid for pod {pod.metadata.name}")
            return wanted
        if len(spec.containers) == 1:
            return spec.containers[0].name
        default = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container", "")
        if default in names and verb:
            return default
        listed = " ".join(one.name for one in spec.containers)
        problem = f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{listed}]"
        if spec.init_containers:
            problem += f" or one of the init containers: [{' '.join(one.name for one in spec.init_containers)}]"
        raise errors.BadRequest(problem)


def _address(node: Node, types: Sequence[str]) -> str:
    """Where to reach the kubelet, by the best type of address that the node has."""
    known = node.status.addresses
    for wanted in types:
        for one in known:
            if one.type == wanted:
                return one.address
    listed = " ".join(f"{{{one.type} {one.address}}}" for one in known)
    raise errors.StatusError(f"no preferred addresses found; known addresses: [{listed}]", code=500)


def _refusal(code: int, text: str) -> errors.StatusError:
    """As upstream's response checker words what a kubelet refuses."""
    match code:
        case 400:
            return errors.BadRequest(text)
        case 500:
            return errors.InternalError(f"Internal error occurred: {text}")
        case _:
            return errors.StatusError(text, code=code, reason="NotFound" if code == 404 else "Unknown")


def _path(context: RequestContext) -> str:
    """The path behind the proxy, as its options have it."""
    return f"/{context.info.rest}" if context.info.rest else ""


def _target(name: str, kind: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]` taken apart."""
    parts = name.split(":")
    match parts:
        case [str(plain)] if plain:
            return "", plain, ""
        case [str(plain), port] if plain:
            return "", plain, port
        case ["" | "http" | "https" as scheme, str(plain), port] if plain:
            return scheme, plain, port
        case _:
            raise errors.BadRequest(f"invalid {kind} request {go_quoted(name)}")


def may_be_proxied(host: str) -> bool:
    """Whether an address may be a proxy's target: those of this machine and of its link are none of a client's business
    (upstream's IsProxyableIP)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Go's parser makes an IPv4 address of one written within IPv6.
    address = getattr(address, "ipv4_mapped", None) or address
    is_here = address.is_loopback or address.is_unspecified or address.is_link_local
    return not (is_here or address.is_multicast or host == "255.255.255.255")


def _proxy_path(context: RequestContext) -> tuple[str, str]:
    """The path up to the proxy, and what follows it: nothing, or from the slash on."""
    # /api/v1/nodes/NAME/proxy, or with namespaces/NAME before the resource.
    parts = context.request.path.split("/")
    count = 8 if context.info.namespace else 6
    prefix, rest = parts[:count], parts[count:]
    return "/".join(prefix), "".join(f"/{part}" for part in rest)


async def _held(chunks: AsyncIterator[bytes]) -> tuple[list[bytes], bool]:
    """The beginning of a body, and whether it is all of it; no more than must be kept to rewrite a document."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > MAX_HTML_BYTES:
            return held, False
    return held, True
