"""The paths outside the resources: discovery, health, version, metrics, token issuer documents."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from keelback.apimachinery import errors
from keelback.apimachinery.kubernetes_versions import KubernetesVersion
from keelback.apimachinery.meta import StatusDetails
from keelback.apiserver import status_pages
from keelback.apiserver.context import RequestContext
from keelback.apiserver.discovery import Discovery
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.routes import Route
from keelback.apiserver.server import APIServer
from keelback.component.health import HealthChecks
from keelback.component.http import AnyResponse, Response, text_response
from keelback.component.metrics import CONTENT_TYPE, Registry
from keelback.concurrency.clock import Clock


def version_info(version: KubernetesVersion) -> dict[str, str]:
    """What /version answers: the Kubernetes version whose API is served."""
    emulated = {
        "emulationMajor": "1",
        "emulationMinor": str(version.minor),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": str(version.minor - 1),
    }
    return {
        "major": "1",
        "minor": str(version.minor),
        **(emulated if version.minor >= _EMULATION_SINCE else {}),
        "gitVersion": f"{version.git_version}+keelback",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": "linux/amd64" if platform.machine() == "x86_64" else f"linux/{platform.machine()}",
    }


_EMULATION_SINCE = 33
"""The minor version whose answer first tells what it emulates."""
_PATHS = (
    "/.well-known/openid-configuration",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/version",
)


def add(
    server: APIServer,
    discovery: Discovery,
    openapi: OpenAPI,
    issuer_documents: tuple[bytes, bytes],
    health: Sequence[HealthChecks],
    kubernetes_version: KubernetesVersion,
    clock: Clock,
    flags: Mapping[str, str],
) -> None:
    """Route them all but the metrics."""
    version_document = msgspec.json.encode(version_info(kubernetes_version))

    async def answer_version(context: RequestContext) -> AnyResponse:
        _require_accepted(context, "application/json")
        return Response(200, {"content-type": "application/json"}, version_document)

    server.routes.add_path("/version", answer_version)
    for checks in health:

        async def answer_health(context: RequestContext, checks: HealthChecks = checks) -> AnyResponse:
            return await checks.respond(context.request)

        server.routes.add_path(f"/{checks.endpoint}", answer_health)
        server.routes.add_path(f"/{checks.endpoint}/", answer_health)
    server.routes.add_path("/openapi/v2", openapi.v2)
    server.routes.add_path("/openapi/v3", openapi.v3)
    server.routes.add_path("/openapi/v3/", openapi.v3)
    server.routes.add_path("/api", discovery.api)
    server.routes.add_path("/apis", discovery.apis)
    server.routes.add_path("/api/", _or_not_found(discovery.resources))
    server.routes.add_path("/apis/", _discovered(discovery, server))
    _add_issuer(server, issuer_documents)

    checked = {path for one in health for path in one.paths()}

    pages = ("/flagz", "/statusz") if kubernetes_version.minor >= status_pages.SINCE_MINOR else ()

    def listed() -> list[str]:
        return sorted({*_PATHS, *pages, *checked, *discovery.paths()})

    if pages:
        version = (f"python{platform.python_version()}", f"1.{kubernetes_version.minor}")
        server.routes.add_path("/statusz", status_pages.statusz(clock.now(), clock.now, version, listed))
        server.routes.add_path("/flagz", status_pages.flagz(flags))

    async def answer_index(context: RequestContext) -> AnyResponse:
        body = msgspec.json.encode({"paths": listed()})
        return Response(200, {"content-type": "application/json"}, body)

    server.routes.add_path("/", answer_index)
    server.routes.add_path("/index.html", answer_index)


def add_metrics(
    server: APIServer,
    metrics: Registry,
    health_metrics: Registry,
    prepare: Callable[[], Awaitable[None]],
) -> None:
    """Route the metrics; `prepare` is awaited before they are shown."""

    async def answer_metrics(context: RequestContext) -> AnyResponse:
        await prepare()
        return Response(200, {"content-type": CONTENT_TYPE}, metrics.exposition())

    async def answer_slis(context: RequestContext) -> AnyResponse:
        return Response(200, {"content-type": CONTENT_TYPE}, health_metrics.exposition())

    server.routes.add_path("/metrics", answer_metrics)
    server.routes.add_path("/metrics/slis", answer_slis)


def publish_build(metrics: Registry, kubernetes_version: KubernetesVersion) -> None:
    """The version as a metric: its labels say it."""
    told = version_info(kubernetes_version)
    labels = {
        "build_date": "buildDate",
        "compiler": "compiler",
        "git_commit": "gitCommit",
        "git_tree_state": "gitTreeState",
        "git_version": "gitVersion",
        "go_version": "goVersion",
        "major": "major",
        "minor": "minor",
        "platform": "platform",
    }
    gauge = metrics.gauge(
        "kubernetes_build_info",
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build "
        "date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        tuple(labels),
    )
    gauge.set(1, *(told[name] for name in labels.values()))


def _add_issuer(server: APIServer, documents: tuple[bytes, bytes]) -> None:
    configuration, keys = documents

    async def answer_configuration(context: RequestContext) -> AnyResponse:
        _require_accepted(context, "application/json")
        return Response(
            200, {"content-type": "application/json", "cache-control": "public, max-age=3600"}, configuration
        )

    async def answer_keys(context: RequestContext) -> AnyResponse:
        _require_accepted(context, "application/jwk-set+json")
        return Response(
            200, {"content-type": "application/jwk-set+json", "cache-control": "public, max-age=3600"}, keys
        )

    server.routes.add_path("/.well-known/openid-configuration", answer_configuration)
    server.routes.add_path("/openid/v1/jwks", answer_keys)


def _require_accepted(context: RequestContext, media_type: str) -> None:
    """Raises NotAcceptable where an Accept header names neither the type nor everything; parameters do not count."""
    accept = context.request.headers.get("accept", "")
    accepted = {clause.split(";")[0].strip() for clause in accept.split(",")}
    if accept and accepted.isdisjoint(("*/*", media_type)):
        raise errors.NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {media_type}")


def _or_not_found(find: Callable[[RequestContext], Awaitable[AnyResponse | None]]) -> Route:
    async def route(context: RequestContext) -> AnyResponse:
        parts = context.info.path.strip("/").split("/")
        found = await find(context) if len(parts) == 2 else None
        if found is None:
            raise errors.NotFound("the server could not find the requested resource", details=StatusDetails())
        return found

    return route


def _discovered(discovery: Discovery, server: APIServer) -> Route:
    async def route(context: RequestContext) -> AnyResponse:
        parts = context.info.path.strip("/").split("/")
        known = parts[1] in discovery.groups() and parts[1] not in server.routes.custom_groups
        found = None
        if len(parts) == 2:
            found = await discovery.group(context)
        elif len(parts) == 3:
            found = await discovery.resources(context)
        if found is not None:
            return found
        if known and len(parts) > 2:
            raise errors.NotFound("the server could not find the requested resource", details=StatusDetails())
        return text_response("404 page not found\n", 404)

    return route
