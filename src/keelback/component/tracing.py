"""Traces of requests by OpenTelemetry (KEP-647): an optional extra, `pip install keelback[tracing]`.

Spans go to a collector by OTLP over gRPC. Which requests are sampled is drawn; the others cost a coin's toss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from keelback.apimachinery import yaml
from keelback.component.http import AnyResponse, Handler, Request, Response, StreamingResponse, UpgradeResponse

_VERSIONS: Final = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_MILLION: Final = 1_000_000
_EXPORT_SECONDS: Final = 10
_MOST_WAITING: Final = 2048


class TracingError(ValueError):
    """The configuration cannot be followed; the text says why."""


class TracingConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where spans go, and of how many requests in a million."""

    api_version: str
    kind: str
    endpoint: str = "localhost:4317"
    sampling_rate_per_million: int = 0


def read(text: str) -> TracingConfiguration:
    """A TracingConfiguration file, read strictly. Raises TracingError."""
    try:
        tree, repeated = yaml.load(text)
        given = msgspec.convert(tree, TracingConfiguration)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise TracingError(str(error)) from error
    if repeated:
        raise TracingError(repeated[0])
    if given.kind != "TracingConfiguration" or given.api_version not in _VERSIONS:
        raise TracingError(f"{given.api_version} {given.kind} is not {_VERSIONS[0]} TracingConfiguration")
    if given.sampling_rate_per_million < 0:
        raise TracingError("samplingRatePerMillion: sampling rate must be positive")
    if given.sampling_rate_per_million > _MILLION:
        raise TracingError(
            "samplingRatePerMillion: sampling rate per million must be less than or equal to one million"
        )
    return given


class Tracing:
    """Makes spans and sends them. `close` it when the process ends."""

    def __init__(self, config: TracingConfiguration, service_name: str, version: str) -> None:
        """Raises TracingError where the extra's packages are not installed."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.propagate import extract
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
        except ImportError as error:
            raise TracingError(f"tracing takes more packages: pip install keelback[tracing] ({error})") from error
        self._trace = trace
        self._extract = extract
        resource = Resource.create({"service.name": service_name, "service.version": version})
        sampler = TraceIdRatioBased(config.sampling_rate_per_million / _MILLION)
        self._provider = TracerProvider(sampler=sampler, resource=resource)
        exporter = OTLPSpanExporter(endpoint=config.endpoint, insecure=True, timeout=_EXPORT_SECONDS)
        # A thread of its own sends: a collector that is away holds nobody up, and loses what does not fit.
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_MOST_WAITING))
        self._tracer = self._provider.get_tracer("keelback", version)

    def around(self, handler: Handler, name_of: Callable[[Request], str]) -> Handler:
        """The handler with a span for each request that is sampled, until its last byte is written.

        Who asks may be anybody, so a trace that a client has begun is linked, not continued: its sampling does not
        decide about ours (otelhttp's public endpoint).
        """

        async def handle(request: Request) -> AnyResponse:
            span = self._tracer.start_span(
                name_of(request), links=self._links(request), kind=self._trace.SpanKind.SERVER
            )
            if not span.is_recording():
                return await handler(request)
            span.set_attributes(_attributes(request))
            try:
                response = await handler(request)
            except BaseException:
                span.end()
                raise
            return _ended_by(span, response)

        return handle

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._provider.shutdown)

    def _links(self, request: Request) -> list[Any]:
        if "traceparent" not in request.headers:
            return []
        context = self._trace.get_current_span(self._extract(request.headers)).get_span_context()
        return [self._trace.Link(context)] if context.is_valid else []


def _attributes(request: Request) -> dict[str, str]:
    # The query may hold what only the server should know.
    found = {"http.request.method": request.method, "url.path": request.path, "client.address": request.remote}
    if agent := request.headers.get("user-agent"):
        found["user_agent.original"] = agent
    return {name: value for name, value in found.items() if value}


def _ended_by(span: Any, response: AnyResponse) -> AnyResponse:
    """The response, at whose end the span ends."""
    if isinstance(response, UpgradeResponse):
        span.set_attribute("http.response.status_code", 101)
    else:
        span.set_attribute("http.response.status_code", response.status)
        if audit_id := {name.lower(): value for name, value in response.headers.items()}.get("audit-id"):
            span.set_attribute("audit-id", audit_id)
    if isinstance(response, Response):
        span.end()
        return response
    serve: Any = response.serve

    async def serve_and_end(other_end: Any) -> None:
        try:
            await serve(other_end)
        finally:
            span.end()

    if isinstance(response, StreamingResponse):
        return msgspec.structs.replace(response, serve=serve_and_end)
    return UpgradeResponse(serve_and_end)
