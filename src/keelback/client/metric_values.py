"""What pods and other objects measure, by the resource, custom and external metrics APIs. Amounts are in thousandths.

The latter two are served by whoever has registered them; where nobody has, that is what the error says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from keelback.api.autoscaling_v2 import MetricIdentifier, MetricSpec, ObjectMetricSource
from keelback.api.metrics_v1beta1 import PodMetrics
from keelback.apimachinery import errors, labels, quantity
from keelback.apimachinery.meta import Kind, LabelSelector
from keelback.cel.times import parse_duration
from keelback.client.client import Client

_CUSTOM: Final = "custom.metrics.k8s.io"
_EXTERNAL: Final = "external.metrics.k8s.io"
_MINUTE: Final = 60


class MetricError(Exception):
    """Why there is no figure, or none that can be used: a text for people, upstream's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod's figure, on average over the `window` that ended `at`."""

    value: int
    at: datetime
    window: timedelta = timedelta(0)


Figures: TypeAlias = Mapping[str, Sample] | int | MetricError
"""What was measured: a figure of each pod by its name, or one of everything; or why nothing was."""


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Value(msgspec.Struct, frozen=True, rename="camel"):
    value: str | int | float
    timestamp: datetime | None = None
    window_seconds: int | None = None
    described_object: _Named = _Named()

    @property
    def milli(self) -> int:
        return quantity.milli_value(str(self.value))


class _Values(msgspec.Struct, frozen=True):
    items: tuple[_Value, ...] = ()


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    version: str


class _Group(msgspec.Struct, frozen=True, rename="camel"):
    preferred_version: _Version


@dataclass(frozen=True, slots=True)
class MetricsReader:
    """Asks for figures. Everything that goes wrong is a MetricError with upstream's text."""

    client: Client
    kind_named: Callable[[str, str], Awaitable[Kind]]
    """What a reference's apiVersion and kind mean. Raises LookupError with a text for people."""

    async def read(self, metric: MetricSpec, namespace: str, selector: labels.Selector) -> Figures:
        """What a metric's source says now of the pods that `selector` selects, or of what it names itself."""
        what = ""
        try:
            if metric.resource is not None:
                what = f"metrics for resource {metric.resource.name}: "
                return await self.resource(namespace, selector, metric.resource.name)
            if metric.container_resource is not None:
                source = metric.container_resource
                what = f"metrics for resource {source.name}: "
                return await self.resource(namespace, selector, source.name, source.container)
            if metric.pods is not None:
                what = f"metric {metric.pods.metric.name}: "
                return await self.pods(namespace, selector, metric.pods.metric)
            if metric.object is not None:
                named, described = metric.object.metric.name, metric.object.described_object
                # The words come in upstream's order, odd as it is: people search for them.
                what = f"metric {named}: {described.kind} on {namespace} {described.name}/"
                return await self.object(namespace, metric.object)
            if metric.external is not None:
                wanted = metric.external.metric
                what = f"external metric {namespace}/{wanted.name}/{labels.go_printed(wanted.selector)}: "
                return await self.external(namespace, wanted)
        except MetricError as error:
            return MetricError(f"unable to get {what}{error}")
        return MetricError("no metric source was set")

    async def resource(
        self, namespace: str, selector: labels.Selector, resource: str, container: str = ""
    ) -> dict[str, Sample]:
        """What each pod (or its one container) uses of a resource; pods with less to say are left out."""
        try:
            listed = await self.client.list(PodMetrics, namespace, label_selector=str(selector))
        except (errors.StatusError, OSError, TimeoutError) as error:
            raise _unfetched("resource", _text(error, "pods.metrics.k8s.io")) from error
        if not listed.items:
            raise MetricError("no metrics returned from resource metrics API")
        samples = {pod.metadata.name: _sample(pod, resource, container) for pod in listed.items}
        return {name: sample for name, sample in samples.items() if sample is not None}

    async def pods(self, namespace: str, selector: labels.Selector, metric: MetricIdentifier) -> dict[str, Sample]:
        """A custom metric's figure of each pod."""
        query = {"labelSelector": str(selector), "metricLabelSelector": _selector(metric.selector)}
        values = await self._custom(f"namespaces/{namespace}/pods/*/{metric.name}", query)
        return {
            one.described_object.name: Sample(
                one.milli,
                one.timestamp or datetime.fromtimestamp(0, UTC),
                timedelta(seconds=_MINUTE if one.window_seconds is None else one.window_seconds),
            )
            for one in values
        }

    async def object(self, namespace: str, source: ObjectMetricSource) -> int:
        """A custom metric's figure of one object."""
        described, metric = source.described_object, source.metric
        try:
            resource = (await self.kind_named(described.api_version, described.kind)).resource
        except LookupError as error:
            raise _unfetched("custom", str(error.args[0])) from error
        if (resource, described.kind) == ("namespaces", "Namespace"):
            path = f"namespaces/{described.name}/metrics/{metric.name}"
        else:
            path = f"namespaces/{namespace}/{resource}/{described.name}/{metric.name}"
        values = await self._custom(path, {"metricLabelSelector": _selector(metric.selector)})
        return values[0].milli

    async def external(self, namespace: str, metric: MetricIdentifier) -> int:
        """The sum of an external metric's figures."""
        query = {"labelSelector": _selector(metric.selector)}
        path = f"/apis/{_EXTERNAL}/v1beta1/namespaces/{namespace}/{metric.name}"
        values = await self._values(path, query, "external", f"{metric.name}.{_EXTERNAL}")
        return sum(one.milli for one in values)

    async def _custom(self, path: str, query: Mapping[str, str]) -> tuple[_Value, ...]:
        try:
            answer = await self.client.request("GET", f"/apis/{_CUSTOM}")
        except errors.NotFound as error:
            raise _unfetched("custom", f"no custom metrics API ({_CUSTOM}) registered") from error
        except (errors.StatusError, OSError, TimeoutError) as error:
            raise _unfetched("custom", _text(error, _CUSTOM)) from error
        version = msgspec.json.decode(answer.content(), type=_Group).preferred_version.version
        return await self._values(f"/apis/{_CUSTOM}/{version}/{path}", query, "custom", _CUSTOM)

    async def _values(self, path: str, query: Mapping[str, str], api: str, what: str) -> tuple[_Value, ...]:
        given = urlencode({name: value for name, value in query.items() if value})
        try:
            answer = await self.client.request("GET", path, given)
            values = msgspec.json.decode(answer.content(), type=_Values).items
        except (errors.StatusError, OSError, TimeoutError, msgspec.DecodeError) as error:
            raise _unfetched(api, _text(error, what)) from error
        if not values:
            raise MetricError(f"no metrics returned from {api} metrics API")
        return values


def _sample(pod: PodMetrics, resource: str, container: str) -> Sample | None:
    if container:
        chosen = [one for one in pod.containers if one.name == container]
        if not chosen:
            where = f"{pod.metadata.namespace}/{pod.metadata.name}"
            raise MetricError(
                f"failed to get container metrics: container {container} not present in metrics for pod {where}"
            )
    else:
        chosen = list(pod.containers)
    if not chosen or any(resource not in one.usage for one in chosen):
        return None
    window = parse_duration(pod.window)
    return Sample(
        sum(quantity.milli_value(one.usage[resource]) for one in chosen),
        pod.timestamp or datetime.fromtimestamp(0, UTC),
        timedelta(0) if window is None else timedelta(microseconds=window.nanoseconds // 1000),
    )


def _selector(selector: LabelSelector | None) -> str:
    try:
        return str(labels.from_label_selector(selector))
    except labels.LabelSelectorError as error:
        raise MetricError(str(error)) from error


def _unfetched(api: str, why: str) -> MetricError:
    return MetricError(f"unable to fetch metrics from {api} metrics API: {why}")


def _text(error: Exception, what: str) -> str:
    if isinstance(error, errors.NotFound):
        # As client-go words what it finds nobody for.
        return f"the server could not find the requested resource (get {what})"
    return str(error) or type(error).__name__
