"""Where an autoscaler's figures come from: the resource, custom and external metrics APIs. Amounts are in thousandths.

The latter two are served by whoever has registered them; where nobody has, that is what the error says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec

from keelback.api.autoscaling_v2 import CrossVersionObjectReference, MetricIdentifier
from keelback.api.metrics_v1beta1 import PodMetrics
from keelback.apimachinery import errors, labels, quantity
from keelback.apimachinery.meta import LabelSelector
from keelback.cel.times import parse_duration
from keelback.client import Client
from keelback.controllers.horizontal_pod_autoscaler_replicas import MetricError, Sample

_CUSTOM: Final = "custom.metrics.k8s.io"
_EXTERNAL: Final = "external.metrics.k8s.io"
_MINUTE: Final = 60


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

    async def resource(
        self, namespace: str, selector: labels.Selector, resource: str, container: str
    ) -> dict[str, Sample]:
        """What each pod (or its one container) uses of a resource; pods with less to say are left out."""
        try:
            listed = await self.client.list(PodMetrics, namespace, label_selector=str(selector))
        except (errors.StatusError, OSError, TimeoutError) as error:
            why = _text(error, "pods.metrics.k8s.io")
            raise MetricError(f"unable to fetch metrics from resource metrics API: {why}") from error
        if not listed.items:
            raise MetricError("no metrics returned from resource metrics API")
        found: dict[str, Sample] = {}
        for pod in listed.items:
            sample = _sample(pod, resource, container)
            if sample is not None:
                found[pod.metadata.name] = sample
        return found

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

    async def object(
        self, namespace: str, resource: str, described: CrossVersionObjectReference, metric: MetricIdentifier
    ) -> int:
        """A custom metric's figure of one object; `resource` is its plural and its group."""
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
            why = f"no custom metrics API ({_CUSTOM}) registered"
            raise MetricError(f"unable to fetch metrics from custom metrics API: {why}") from error
        except (errors.StatusError, OSError, TimeoutError) as error:
            why = _text(error, _CUSTOM)
            raise MetricError(f"unable to fetch metrics from custom metrics API: {why}") from error
        version = msgspec.json.decode(answer.content(), type=_Group).preferred_version.version
        return await self._values(f"/apis/{_CUSTOM}/{version}/{path}", query, "custom", _CUSTOM)

    async def _values(self, path: str, query: Mapping[str, str], api: str, what: str) -> tuple[_Value, ...]:
        given = urlencode({name: value for name, value in query.items() if value})
        try:
            answer = await self.client.request("GET", path, given)
            values = msgspec.json.decode(answer.content(), type=_Values).items
        except (errors.StatusError, OSError, TimeoutError, msgspec.DecodeError) as error:
            raise MetricError(f"unable to fetch metrics from {api} metrics API: {_text(error, what)}") from error
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


def _text(error: Exception, what: str) -> str:
    if isinstance(error, errors.NotFound):
        # As client-go words what it finds nobody for.
        return f"the server could not find the requested resource (get {what})"
    return str(error) or type(error).__name__
