"""The API group itself: a handler of its requests, as an aggregated API server would have one.

Who asks has been authenticated and authorized before. Which pods and nodes there are it asks the API server; what they
use it knows itself. What has no figures yet is not listed, and not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from keelback.apimachinery import errors, fields, labels, protobuf_encoding
from keelback.apimachinery.meta import StatusDetails
from keelback.client import Client
from keelback.component.http import Request, Response, query_values
from keelback.concurrency.clock import Clock
from keelback.metrics import answers
from keelback.metrics.answers import Tree
from keelback.metrics.observed import MeasuredNode, MeasuredPod
from keelback.metrics.scraper import Fetch, Scraper
from keelback.metrics.usage import Readings

_ROOT: Final = f"/apis/{answers.API_VERSION}"
_OPENAPI: Final = f"/openapi/v3{_ROOT}"
_JSON: Final = "application/json"
_PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_RUNNING: Final = "status.phase=Running"
RESOLUTION_SECONDS: Final = 15.0
"""How often kubelets are asked: metrics-server's default."""


class ResourceMetrics:
    """The group metrics.k8s.io. It answers at once; there are figures once `run` has asked the kubelets."""

    def __init__(self, clock: Clock, resolution_seconds: float = RESOLUTION_SECONDS) -> None:
        self._clock = clock
        self._resolution_seconds = resolution_seconds
        self._readings = Readings(resolution_seconds)
        self._client: Client | None = None

    async def run(self, client: Client, fetch: Fetch) -> None:
        """Ask the kubelets until cancelled; `client` reads nodes and pods."""
        self._client = client
        await Scraper(client, fetch, self._readings, self._clock, self._resolution_seconds).run()

    async def handle(self, request: Request) -> Response:
        """Answer a request below the group's paths: never raises what a client can cause."""
        try:
            tree = await self._answer(request)
            if _takes(request, _PROTOBUF) and "as=Table" not in request.headers["accept"]:
                return _in_protobuf(tree)
            return _encoded(tree)
        except errors.StatusError as error:
            return Response(error.code, {"content-type": "application/json"}, msgspec.json.encode(error.status))

    async def _answer(self, request: Request) -> Tree:
        if request.path == _ROOT:
            return answers.resource_list()
        if request.path == _OPENAPI:
            return answers.openapi()
        query = query_values(request.query)
        if request.method not in ("GET", "HEAD") or query.get("watch", "") in ("true", "1"):
            raise errors.MethodNotSupported("the server does not allow this method on the requested resource")
        accept = request.headers.get("accept", "")
        if not (_takes(request, _JSON) or _takes(request, _PROTOBUF)):
            raise errors.NotAcceptable(f"only the following media types are accepted: {_JSON}, {_PROTOBUF}")
        resource, namespace, name = _place(request.path)
        if name:
            items = [await self._get(resource, namespace, name)]
        else:
            items = await self._list(resource, namespace, query)
        if "as=Table" in accept:
            return answers.table(items, query.get("includeObject", "Metadata"))
        return items[0] if name else answers.list_of(resource, items)

    async def _list(self, resource: str, namespace: str, query: Mapping[str, str]) -> list[Tree]:
        label_selector, field_selector = query.get("labelSelector", ""), query.get("fieldSelector", "")
        _check(label_selector, field_selector)
        now = self._clock.now()
        items: list[Tree] = []
        if resource == "nodes":
            nodes = await self._reader().list(
                MeasuredNode, label_selector=label_selector, field_selector=field_selector
            )
            for node in nodes.items:
                usage = self._readings.node(node.metadata.name)
                if usage is not None:
                    items.append(answers.node_metrics(node.metadata, usage, now))
            return items
        running = f"{_RUNNING},{field_selector}" if field_selector else _RUNNING
        listed = await self._reader().list(
            MeasuredPod, namespace, label_selector=label_selector, field_selector=running
        )
        for pod in listed.items:
            containers = self._readings.pod(pod.metadata.namespace, pod.metadata.name)
            if containers:
                items.append(answers.pod_metrics(pod.metadata, containers, now))
        return items

    async def _get(self, resource: str, namespace: str, name: str) -> Tree:
        if resource == "nodes":
            usage = self._readings.node(name)
            if usage is not None:
                node = await self._reader().get(MeasuredNode, name)
                return answers.node_metrics(node.metadata, usage, self._clock.now())
        elif containers := self._readings.pod(namespace, name):
            pod = await self._reader().get(MeasuredPod, name, namespace)
            return answers.pod_metrics(pod.metadata, containers, self._clock.now())
        # As metrics-server words it.
        whole, shown = answers.KINDS[resource].lower(), f"{namespace}/{name}" if namespace else name
        raise errors.NotFound(
            f'{whole}.{answers.GROUP} "{shown}" not found',
            details=StatusDetails(name=shown, group=answers.GROUP, kind=whole),
        )

    def _reader(self) -> Client:
        if self._client is None:
            raise errors.ServiceUnavailable("the metrics API is starting")
        return self._client


def _encoded(tree: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, msgspec.json.encode(tree))


def _in_protobuf(tree: Tree) -> Response:
    kind, version = tree["kind"], tree.get("apiVersion", "v1")
    message = answers.as_message(tree) if version == answers.API_VERSION else tree
    return Response(200, {"content-type": _PROTOBUF}, protobuf_encoding.from_tree(message, version, kind))


def _takes(request: Request, media_type: str) -> bool:
    """Whether this form is the first that the client accepts."""
    wanted = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",") if one.strip()]
    known = {_JSON: _JSON, _PROTOBUF: _PROTOBUF, "application/*": _JSON, "*/*": _JSON}
    return next((known[one] for one in wanted if one in known), None if wanted else _JSON) == media_type


def _place(path: str) -> tuple[str, str, str]:
    """Resource, namespace and name of a path. Raises NotFound for one that means nothing here."""
    parts = path.removeprefix(_ROOT).strip("/").split("/")
    match parts:
        case ["nodes"] | ["pods"]:
            return parts[0], "", ""
        case ["nodes", name]:
            return "nodes", "", name
        case ["namespaces", namespace, "pods"]:
            return "pods", namespace, ""
        case ["namespaces", namespace, "pods", name]:
            return "pods", namespace, name
    raise errors.NotFound("the server could not find the requested resource", details=StatusDetails())


def _check(label_selector: str, field_selector: str) -> None:
    try:
        labels.parse(label_selector)
        asked = fields.parse(field_selector)
    except (labels.LabelSelectorError, fields.FieldSelectorError) as error:
        raise errors.BadRequest(str(error)) from error
    for one in asked.requirements:
        if one.field not in ("metadata.name", "metadata.namespace"):
            raise errors.BadRequest(f"field label not supported: {one.field}")
