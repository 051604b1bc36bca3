"""Another API server behind this one, as users run it: HTTPS, the proxy's certificate, its own answers."""

from __future__ import annotations

import asyncio
import base64
import gc
import gzip
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from keelback.api.apiregistration_v1 import APIService, APIServiceSpec, ServiceReference
from keelback.api.core_v1 import ConfigMap, Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver.assembly import RunningAPIServer
from keelback.auth.users import UserInfo
from keelback.bootstrap.pki import ClusterPKI, ensure_cluster_pki
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse
from keelback.component.serving import Server
from keelback.concurrency.clock import SystemClock
from keelback.testing.api import ADMINISTRATOR, api_server

GROUP = "wardle.example.com"
ROOT = f"/apis/{GROUP}/v1"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
FLUNDERS = {
    "name": "flunders",
    "singularName": "flunder",
    "namespaced": True,
    "kind": "Flunder",
    "verbs": ["get", "list"],
}
JANE = UserInfo("jane", "u1", ("a, b", "system:masters"), {"scopes": ("read", "write"), "example.com/room no": ("7",)})


class _ToThisMachine(socket.socket):
    """Endpoints have addresses of a cluster: the test's server has none of those."""

    def connect(self, address: Any) -> None:
        super().connect(("127.0.0.1", address[1]))


class Remote:
    """The aggregated server: what it is asked, and a handler for each path."""

    def __init__(self, pki: ClusterPKI) -> None:
        self.pki = pki
        self.asked: list[web.BaseRequest] = []
        self.port = 0
        self.is_well = True
        self.answers: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {}

    def serve(self, path: str, document: Any, **headers: str) -> None:
        """Answer a path with a document."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            tag = headers.get("etag")
            if tag and request.headers.get("If-None-Match") == tag:
                return web.Response(status=304, headers={"etag": tag})
            return web.json_response(document, headers=headers)

        self.answers[path] = answer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer anything."""
        self.asked.append(request)
        if not self.is_well:
            return web.Response(status=500)
        answer = self.answers.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)

    def at(self, path: str) -> web.BaseRequest:
        """The last request of a path."""
        return next(one for one in reversed(self.asked) if one.path == path)


class Setting:
    """Both servers, and an administrator of the first."""

    def __init__(self, api: RunningAPIServer, remote: Remote) -> None:
        self.api = api
        self.remote = remote
        self.client = api.client(ADMINISTRATOR)

    def api_service(self, **spec: Any) -> APIService:
        given = {
            "group": GROUP,
            "version": "v1",
            "group_priority_minimum": 2000,
            "version_priority": 100,
            "service": ServiceReference(name="api", namespace="default", port=443),
            "ca_bundle": self.remote.pki.ca.certificate_pem,
            **spec,
        }
        return APIService(
            metadata=ObjectMeta(name=f"{given['version']}.{given['group']}"), spec=APIServiceSpec(**given)
        )

    def endpoints(self) -> EndpointSlice:
        return EndpointSlice(
            metadata=ObjectMeta(name="api-1", namespace="default", labels={"kubernetes.io/service-name": "api"}),
            address_type="IPv4",
            ports=(EndpointPort(name="https", port=self.remote.port, protocol="TCP"),),
            endpoints=(Endpoint(addresses=("10.244.0.7",)),),
        )

    async def serve(self, **spec: Any) -> None:
        """Have the remote server serve the group, and wait until it does."""
        await self.client.create(SERVICE)
        await self.client.create(self.endpoints())
        made = await self.client.create(self.api_service(**spec))
        await self.until("Passed", made.metadata.name)

    async def until(self, reason: str, name: str = f"v1.{GROUP}") -> str:
        """Wait for a reason of the Available condition; its message."""
        while True:
            found = await self.client.get(APIService, name)
            for one in found.status.conditions:
                if one.reason == reason:
                    return one.message
            await asyncio.sleep(0)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        user: UserInfo = ADMINISTRATOR,
        more: Mapping[str, str] | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        path, _, query = path.partition("?")
        given = {**{name.replace("_", "-"): value for name, value in headers.items()}, **(more or {})}
        answer = await self.api.handle(Request(method, path, query, given, body, identity=user))
        if isinstance(answer, Response):
            return answer.status, dict(answer.headers), answer.content()
        assert isinstance(answer, StreamingResponse)
        writer = Written()
        await answer.serve(writer)
        return answer.status, dict(answer.headers), b"".join(writer.pieces)

    async def read(self, path: str, accept: str = "application/json") -> Any:
        """A document."""
        status, _, body = await self.ask("GET", path, accept=accept)
        assert status == 200, body
        return json.loads(body)

    async def document_until(self, path: str, holds: Callable[[Any], bool], accept: str = "application/json") -> Any:
        """A document, once it is as it should be."""
        while True:
            status, _, body = await self.ask("GET", path, accept=accept)
            if status == 200 and holds(found := json.loads(body)):
                return found
            await asyncio.sleep(0)


class Written:
    """What a streaming answer writes; the reader can leave."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self.left.is_set()

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.arrived.set()

    async def drain(self) -> None:
        return None

    async def wait_closed(self) -> None:
        await self.left.wait()


SERVICE = Service(
    metadata=ObjectMeta(name="api", namespace="default"),
    spec=ServiceSpec(ports=(ServicePort(name="https", port=443),)),
)


@asynccontextmanager
async def setting(folder: Path, make_socket: Callable[[], socket.socket] = _ToThisMachine) -> AsyncIterator[Setting]:
    """The two servers; nothing is registered yet."""
    async with asyncio.timeout(60), api_server(make_socket=make_socket) as api:
        pki = ensure_cluster_pki(folder, SystemClock().now(), names=("api.default.svc",))
        remote = Remote(pki)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pki.apiserver.certificate_path, pki.apiserver.key_path)
        published = await api.client(ADMINISTRATOR).get(ConfigMap, "extension-apiserver-authentication", "kube-system")
        context.load_verify_locations(cadata=published.data["requestheader-client-ca-file"])
        context.verify_mode = ssl.CERT_OPTIONAL
        runner = web.ServerRunner(web.Server(remote.handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        remote.port = runner.addresses[0][1]
        remote.serve(ROOT, {"kind": "APIResourceList", "groupVersion": f"{GROUP}/v1", "resources": [FLUNDERS]})
        try:
            yield Setting(api, remote)
        finally:
            await runner.cleanup()


def named(name: str) -> UserInfo:
    """Somebody of this name, who may do everything."""
    return UserInfo(name, groups=("system:masters",))


def run(test: Callable[[Setting], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with setting(folder) as given:
            await test(given)

    asyncio.run(main())
    # aiohttp's server forgets who is shaking hands with it when it ends, as the prober may be at any time.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_who_asks_is_told_in_headers_that_no_client_can_write(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()
        given.remote.serve(f"{ROOT}/flunders", {"items": []})
        status, _, body = await given.ask(
            "GET",
            f"{ROOT}/flunders?limit=5&x=a%20b",
            user=JANE,
            authorization="Bearer secret",
            x_remote_user="admin",
            x_remote_group="system:masters",
            x_remote_extra_scopes="all",
            x_remote_uid="0",
            more={"x_remote-user": "root"},
            connection="close, X-Remote-User",
            cookie="kept=1",
            user_agent="kubectl",
        )
        assert (status, json.loads(body)) == (200, {"items": []})
        asked = given.remote.at(f"{ROOT}/flunders")
        assert asked.rel_url.raw_query_string == "limit=5&x=a%20b"
        told = [(name.lower(), value) for name, value in asked.headers.items() if "remote" in name.lower()]
        assert sorted(told) == [
            ("x-remote-extra-example.com%2froom%20no", "7"),
            ("x-remote-extra-scopes", "read"),
            ("x-remote-extra-scopes", "write"),
            ("x-remote-group", "a, b"),
            ("x-remote-group", "system:masters"),
            ("x-remote-uid", "u1"),
            ("x-remote-user", "jane"),
        ]
        assert "authorization" not in asked.headers
        assert (asked.headers["cookie"], asked.headers["user-agent"]) == ("kept=1", "kubectl")
        assert asked.transport is not None
        certificate = asked.transport.get_extra_info("peercert")
        assert certificate["subject"] == ((("commonName", "front-proxy-client"),),)

    run(test, tmp_path)


def test_who_is_impersonated_is_who_asks(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()
        given.remote.serve(f"{ROOT}/flunders", {})
        headers = {"impersonate-user": "bob", "impersonate-group": "system:masters", "impersonate-extra-team": "x"}
        assert (await given.ask("GET", f"{ROOT}/flunders", more=headers))[0] == 200
        asked = given.remote.at(f"{ROOT}/flunders")
        assert asked.headers["x-remote-user"] == "bob"
        assert asked.headers["x-remote-extra-team"] == "x"
        assert not [name for name in asked.headers if name.lower().startswith("impersonate")]
        agent = "Browser\t1 caf\xe9"
        assert (await given.ask("GET", f"{ROOT}/flunders", user=named("zoë"), user_agent=agent))[0] == 200
        asked = given.remote.at(f"{ROOT}/flunders")
        assert asked.headers["x-remote-user"] == "zoë"
        assert dict(asked.raw_headers)[b"user-agent"] == agent.encode("latin-1")
        # What cannot stand in a header is refused, not cut off.
        status, _, body = await given.ask("GET", f"{ROOT}/flunders", user=named("eve\r\nx-remote-group: a"))
        assert (status, body[:31]) == (503, b"error trying to reach service: ")

    run(test, tmp_path)


def test_only_who_may_is_passed_on(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()
        status, _, body = await given.ask("GET", f"{ROOT}/flunders", user=UserInfo("bob"))
        assert status == 403
        assert 'cannot list resource "flunders" in API group "wardle.example.com"' in json.loads(body)["message"]
        assert f"{ROOT}/flunders" not in [one.path for one in given.remote.asked]

    run(test, tmp_path)


def test_the_condition_says_what_is_missing(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        client, remote = given.client, given.remote
        remote.is_well = False
        await client.create(given.api_service())
        assert await given.until("ServiceNotFound") == 'service/api in "default" is not present'
        status, headers, body = await given.ask("GET", f"{ROOT}/flunders")
        assert (status, headers["content-type"], body) == (
            503,
            "text/plain; charset=utf-8",
            b"service unavailable\n",
        )
        wrong = replace(SERVICE, spec=ServiceSpec(ports=(ServicePort(name="https", port=80),)))
        made = await client.create(wrong)
        assert await given.until("ServicePortError") == 'service/api in "default" is not listening on port 443'
        await client.update(replace(made, spec=replace(made.spec, ports=SERVICE.spec.ports)))
        message = 'cannot find endpointslices for service/api in "default"'
        assert await given.until("EndpointsNotFound") == message
        slice_ = await client.create(replace(given.endpoints(), endpoints=()))
        message = 'endpointslices for service/api in "default" have no addresses with port name "https"'
        assert await given.until("MissingEndpoints") == message
        await client.update(replace(slice_, endpoints=given.endpoints().endpoints))
        url = f"https://10.244.0.7:{remote.port}{ROOT}"
        message = f"failing or missing response from {url}: bad status from {url}: 500"
        assert await given.until("FailedDiscoveryCheck") == message
        prober = remote.at(ROOT).headers
        assert prober["x-remote-user"] == "system:kube-aggregator"
        assert prober.getall("x-remote-group") == ["system:masters", "system:authenticated"]
        remote.is_well = True
        assert await given.until("Passed") == "all checks passed"
        assert (await given.ask("GET", ROOT))[0] == 200
        metrics = (await given.ask("GET", "/metrics"))[2].decode()
        assert f'aggregator_unavailable_apiservice{{name="v1.{GROUP}"}} 0' in metrics
        await client.delete(EndpointSlice, "api-1", "default")
        await given.until("EndpointsNotFound")
        metrics = (await given.ask("GET", "/metrics"))[2].decode()
        assert f'aggregator_unavailable_apiservice_total{{name="v1.{GROUP}",reason="EndpointsNotFound"}} 1' in metrics

    run(test, tmp_path)


def test_discovery_and_its_order(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        listed = [one["name"] for one in (await given.read("/apis"))["groups"]]
        await given.serve(group_priority_minimum=17750)
        groups = (await given.read("/apis"))["groups"]
        # After events.k8s.io, which has that priority too and is built in.
        names = [one["name"] for one in groups]
        assert names == [*listed[:3], GROUP, *listed[3:]]
        version = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
        assert groups[3] == {"name": GROUP, "versions": [version], "preferredVersion": version}
        assert (await given.read(f"/apis/{GROUP}"))["kind"] == "APIGroup"
        assert (await given.read(ROOT))["resources"] == [FLUNDERS]
        found = await given.document_until(
            "/apis", lambda all_: versions(all_)[0]["freshness"] == "Current", AGGREGATED
        )
        assert versions(found) == [
            {
                "version": "v1",
                "resources": [
                    {
                        "resource": "flunders",
                        "responseKind": {"group": "", "version": "", "kind": "Flunder"},
                        "scope": "Namespaced",
                        "singularResource": "flunder",
                        "verbs": ["get", "list"],
                    }
                ],
                "freshness": "Current",
            }
        ]
        before = (await given.ask("GET", "/apis", accept=AGGREGATED))[1]["etag"]
        given.remote.is_well = False
        service = await given.client.get(Service, "api", "default")
        await given.client.update(replace(service, metadata=replace(service.metadata, labels={"a": "b"})))
        await given.until("FailedDiscoveryCheck")
        found = await given.document_until("/apis", lambda all_: versions(all_)[0]["freshness"] == "Stale", AGGREGATED)
        assert versions(found) == [{"version": "v1", "freshness": "Stale"}]
        status, headers, _ = await given.ask("GET", "/apis", accept=AGGREGATED, if_none_match=before)
        assert (status, headers["etag"] != before) == (200, True)
        protobuf = AGGREGATED.replace("application/json", "application/vnd.kubernetes.protobuf")
        assert (await given.ask("GET", "/apis", accept=protobuf))[0] == 200
        # It comes back, with something else.
        resources = [{**FLUNDERS, "name": "fischers", "kind": "Fischer"}]
        given.remote.serve(ROOT, {"kind": "APIResourceList", "groupVersion": f"{GROUP}/v1", "resources": resources})
        given.remote.is_well = True
        await given.document_until("/apis", lambda all_: "Fischer" in json.dumps(versions(all_)), AGGREGATED)
        await given.client.delete(APIService, f"v1.{GROUP}")
        await given.document_until("/apis", lambda all_: [one["name"] for one in all_["groups"]] == listed)
        assert (await given.ask("GET", f"{ROOT}/flunders"))[0] == 404

    def versions(document: Any) -> Any:
        return next(one for one in document["items"] if one["metadata"]["name"] == GROUP)["versions"]

    run(test, tmp_path)


def test_openapi_documents_are_merged(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"metadata": {"type": "object"}}}
    path = f"{ROOT}/flunders"
    v2 = {
        "swagger": "2.0",
        "info": {"title": "Wardle", "version": "v1"},
        "paths": {
            path: {
                "get": {"responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/wardle.v1.F"}}}}
            },
            "/api/v1/pods": {"get": {"responses": {}}},
        },
        "definitions": {"wardle.v1.F": schema, "unused": schema},
    }
    place = f"apis/{GROUP}/v1"
    v3 = {
        "openapi": "3.0.0",
        "info": {"title": "Wardle", "version": "v1"},
        "paths": {},
        "components": {"schemas": {"F": schema}},
    }

    async def test(given: Setting) -> None:
        given.remote.serve("/openapi/v2", v2)
        before = (await given.ask("GET", "/openapi/v2"))[1]["etag"]
        given.remote.serve(
            "/openapi/v3", {"paths": {place: {"serverRelativeURL": "x"}, "api/v1": {"serverRelativeURL": "y"}}}
        )
        given.remote.serve(f"/openapi/v3/{place}", v3)
        given.remote.serve("/openapi/v3/api/v1", v3)
        await given.serve()
        index = await given.document_until("/openapi/v3", lambda found: place in found["paths"])
        url = index["paths"][place]["serverRelativeURL"]
        assert await given.read(url) == v3
        assert "Pod" in json.dumps(await given.read(index["paths"]["api/v1"]["serverRelativeURL"]))
        _, headers, body = await given.ask("GET", "/openapi/v2")
        assert headers["etag"] != before
        merged = json.loads(body)
        assert merged["paths"][path] == v2["paths"][path]  # type: ignore[index]
        assert merged["paths"]["/api/v1/namespaces/{namespace}/pods"]
        assert (merged["definitions"]["wardle.v1.F"], "unused" in merged["definitions"]) == (schema, False)
        assert given.remote.at("/openapi/v2").headers["x-remote-user"] == "system:aggregator"
        protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        assert path.encode() in (await given.ask("GET", "/openapi/v2", accept=protobuf))[2]

    run(test, tmp_path)


def test_a_document_that_is_malformed_spoils_no_others(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        operation = {"responses": {"200": {"description": "OK", "schema": {"type": ["object"]}}}}
        given.remote.serve("/openapi/v2", {"swagger": "2.0", "paths": {ROOT + "/flunders": {"get": operation}}})
        await given.serve()
        while "/openapi/v2" not in [one.path for one in given.remote.asked]:
            await given.read("/apis")
        # Once more, so that what was read has been judged.
        await given.read("/apis")
        for accept in ("application/json", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"):
            status, _, body = await given.ask("GET", "/openapi/v2", accept=accept)
            assert (status, b"flunders" in body) == (200, False)

    run(test, tmp_path)


def test_bodies_come_back_as_they_are(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()
        path = f"{ROOT}/namespaces/default/flunders"

        async def echo(request: web.BaseRequest) -> web.StreamResponse:
            sent = await request.read()
            headers = {"content-type": request.headers["content-type"], "content-encoding": "gzip"}
            answer = web.Response(body=gzip.compress(sent, mtime=0), headers=headers, status=201)
            answer.headers["access-control-allow-origin"] = "*"
            answer.headers["x-own"] = "kept"
            return answer

        given.remote.answers[path] = echo
        body = b"k8s\x00\x01\x02"
        status, headers, answered = await given.ask(
            "POST", path, body, content_type="application/vnd.kubernetes.protobuf", accept_encoding="gzip"
        )
        assert (status, headers["content-encoding"], headers["x-own"]) == (201, "gzip", "kept")
        assert "access-control-allow-origin" not in headers
        assert gzip.decompress(answered) == body
        status, headers, answered = await given.ask("HEAD", ROOT)
        assert (status, answered) == (200, b"")

        async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=302, headers={"location": "https://elsewhere.example.com/"})

        given.remote.answers[path] = elsewhere
        refused = (502, b"the backend attempted to redirect this request, which is not permitted")
        for method in ("GET", "POST"):
            status, headers, answered = await given.ask(method, path)
            assert ((status, answered), "location" in headers) == (refused, False)

    run(test, tmp_path)


def test_a_watch_is_passed_on_event_by_event(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()
        steps: asyncio.Queue[bytes] = asyncio.Queue()
        ended = asyncio.Event()

        async def watch(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "application/json"})
            await response.prepare(request)
            try:
                while True:
                    await response.write(await steps.get())
            finally:
                ended.set()

        given.remote.answers[f"{ROOT}/flunders"] = watch
        answer: AnyResponse = await given.api.handle(
            Request("GET", f"{ROOT}/flunders", "watch=1", identity=ADMINISTRATOR)
        )
        assert isinstance(answer, StreamingResponse)
        writer = Written()
        serving = asyncio.ensure_future(answer.serve(writer))
        for event in (b"one\n", b"two\n"):
            writer.arrived.clear()
            steps.put_nowait(event)
            await writer.arrived.wait()
        assert b"".join(writer.pieces) == b"one\ntwo\n"
        # Who watches leaves, and the other server is told though nothing happens.
        writer.left.set()
        await serving
        while not ended.is_set():
            steps.put_nowait(b"three\n")
            await asyncio.sleep(0)

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, (200, "{}")),
        ({"ca_bundle": b"", "insecure_skip_tls_verify": True}, (200, "{}")),
        ({"ca_bundle": b""}, (503, "x509: certificate signed by unknown authority")),
        (
            {"ca_bundle": b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"},
            (500, "unable to load root certificates: unable to parse bytes as PEM block"),
        ),
    ],
    ids=["right", "not verified", "another authority", "no certificate"],
)
def test_the_other_servers_certificate(tmp_path: Path, spec: dict[str, Any], said: tuple[int, str]) -> None:
    async def test(given: Setting) -> None:
        given.remote.serve(f"{ROOT}/flunders", {})
        # The check of availability verifies nothing: as upstream, only requests show it.
        await given.serve(**spec)
        status, _, body = await given.ask("GET", f"{ROOT}/flunders")
        assert status == said[0]
        assert said[1] in body.decode()

    run(test, tmp_path)


def test_it_goes_before_what_is_served_here(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        taken = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
        given.remote.serve("/apis/autoscaling/v2", {"kind": "APIResourceList", "resources": []})
        given.remote.serve(taken, {"kind": "Other"})
        await given.client.create(SERVICE)
        await given.client.create(given.endpoints())
        held = await given.client.get(APIService, "v2.autoscaling")
        spec = replace(given.api_service().spec, group="autoscaling", version="v2")
        await given.client.update(replace(held, spec=spec))
        await given.until("Passed", "v2.autoscaling")
        assert (await given.read(taken))["kind"] == "Other"
        assert [one["version"] for one in (await given.read("/apis/autoscaling"))["versions"]] == ["v2", "v1"]
        replaced = await given.client.get(APIService, "v2.autoscaling")
        await given.client.update(replace(replaced, spec=held.spec))
        await given.until("Local", "v2.autoscaling")
        assert (await given.read(taken))["kind"] == "HorizontalPodAutoscalerList"

    run(test, tmp_path)


def test_connections_are_upgraded(tmp_path: Path) -> None:
    async def test(given: Setting) -> None:
        await given.serve()

        async def echo(request: web.BaseRequest) -> web.StreamResponse:
            connection = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
            await connection.prepare(request)
            async for message in connection:
                await connection.send_str(f"{message.data} from {request.headers['x-remote-user']}")
            return connection

        path = f"{ROOT}/namespaces/default/flunders/one/exec"
        given.remote.answers[path] = echo
        token = base64.urlsafe_b64encode(b"admin-token").decode().rstrip("=")
        protocols = (f"base64url.bearer.authorization.k8s.io.{token}", "v5.channel.k8s.io")
        async with (
            Server(given.api.handle) as front,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{front.bound_port}{path}", protocols=protocols) as connection,
        ):
            assert connection.protocol == "v5.channel.k8s.io"
            await connection.send_str("hello")
            assert await connection.receive_str() == "hello from admin"
        asked = given.remote.at(path).headers
        assert asked["sec-websocket-protocol"] == "v5.channel.k8s.io"
        assert asked["connection"] == "Upgrade"
        # One that is not there is answered without an upgrade.
        status, _, _ = await given.ask("GET", f"{path}/none", connection="Upgrade", upgrade="SPDY/3.1")
        assert status == 404

    run(test, tmp_path)
