"""Traces: what a real OTLP collector is sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from keelback.apiserver.span_names import of_request
from keelback.component import tracing
from keelback.component.http import AnyResponse, Handler, Request, Response, StreamingResponse, Writer
from keelback.component.tracing import Tracing, TracingConfiguration, TracingError

V1 = "apiserver.config.k8s.io/v1"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans it is sent, each with its resource's attributes."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, str], object]] = []

    def Export(self, request, context):  # type: ignore[no-untyped-def]
        for group in request.resource_spans:
            resource = {one.key: one.value.string_value for one in group.resource.attributes}
            self.spans += [(resource, span) for scope in group.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    server, kept = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield kept, f"127.0.0.1:{port}"
    server.stop(None).wait()


class _Writer:
    closed = False

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    async def wait_closed(self) -> None: ...


async def answer(request: Request) -> AnyResponse:
    if request.query:

        async def serve(writer: Writer) -> None:
            writer.write(b"{}")

        return StreamingResponse(200, {"Audit-Id": "b"}, serve)
    return Response(404 if "absent" in request.path else 200, {"Audit-Id": "a"})


async def traced(rate: int, endpoint: str, *requests: Request) -> None:
    made = Tracing(TracingConfiguration(V1, "TracingConfiguration", endpoint, rate), "apiserver", "1")
    handler: Handler = made.around(answer, of_request)
    for request in requests:
        response = await handler(request)
        if isinstance(response, StreamingResponse):
            await response.serve(_Writer())
    await made.close()


def test_each_sampled_request_is_a_span_until_its_end(collector: tuple[Collector, str]) -> None:
    kept, endpoint = collector
    pod = "/api/v1/namespaces/default/pods/web"
    requests = (
        Request("GET", pod, headers={"user-agent": "kubectl/v1.36", "traceparent": PARENT}, remote="127.0.0.1"),
        Request("DELETE", f"{pod}/absent"),
        Request("GET", "/apis/apps/v1/deployments", "watch=1"),
        Request("GET", "/healthz"),
    )
    asyncio.run(traced(1_000_000, endpoint, *requests))
    assert [span.name for _, span in kept.spans] == [
        "GET /api/v1/namespaces/{:namespace}/pods/{:name}",
        "DELETE /api/v1/namespaces/{:namespace}/pods/{:name}/absent",
        "GET /apis/apps/v1/deployments",
        "GET /healthz",
    ]
    resource, first = kept.spans[0]
    assert resource["service.name"] == "apiserver"
    found = {one.key: one.value.string_value or one.value.int_value for one in first.attributes}
    assert found == {
        "http.request.method": "GET",
        "url.path": pod,
        "client.address": "127.0.0.1",
        "user_agent.original": "kubectl/v1.36",
        "http.response.status_code": 200,
        "audit-id": "a",
    }
    assert [link.trace_id.hex() for link in first.links] == ["0af7651916cd43dd8448eb211c80319c"]
    assert first.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"
    assert not first.parent_span_id


def test_what_is_not_sampled_is_not_sent(collector: tuple[Collector, str]) -> None:
    kept, endpoint = collector
    asyncio.run(traced(0, endpoint, *(Request("GET", "/healthz") for _ in range(20))))
    assert kept.spans == []


def test_a_configuration_says_where_and_how_many() -> None:
    text = f"apiVersion: {V1}\nkind: TracingConfiguration\nendpoint: collector:4317\nsamplingRatePerMillion: 100\n"
    assert tracing.read(text) == TracingConfiguration(V1, "TracingConfiguration", "collector:4317", 100)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("samplingRatePerMillion: -1", "sampling rate must be positive"),
        ("samplingRatePerMillion: 1000001", "less than or equal to one million"),
        ("sampling: 5", "unknown field `sampling`"),
        ("endpoint: a\nendpoint: b", "already set"),
    ],
)
def test_what_it_cannot_say(rest: str, said: str) -> None:
    with pytest.raises(TracingError, match=said):
        tracing.read(f"apiVersion: {V1}\nkind: TracingConfiguration\n{rest}\n")


def test_without_the_packages_it_says_how_to_get_them() -> None:
    program = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from keelback.component.tracing import Tracing, TracingConfiguration, TracingError\n"
        "try:\n"
        "    Tracing(TracingConfiguration('v', 'k'), 'apiserver', '1')\n"
        "except TracingError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install keelback[tracing]" in done.stdout
