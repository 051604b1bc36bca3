"""The horizontal pod autoscaler: keeps what it scales as large as its metrics ask for, through any kind's /scale."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keelback.api.autoscaling_v1 import Scale
from keelback.api.autoscaling_v2 import CrossVersionObjectReference, HorizontalPodAutoscaler, MetricSpec
from keelback.apimachinery import codecs, errors, labels
from keelback.apimachinery.meta import Kind, replace
from keelback.client import Change
from keelback.component import logs
from keelback.controllers import horizontal_pod_autoscaler_plan as planning
from keelback.controllers.horizontal_pod_autoscaler_limits import History
from keelback.controllers.horizontal_pod_autoscaler_metrics import MetricsReader
from keelback.controllers.horizontal_pod_autoscaler_plan import Plan, Settings
from keelback.controllers.horizontal_pod_autoscaler_proposals import Failure, Figures, Proposal, Target, evaluate
from keelback.controllers.horizontal_pod_autoscaler_replicas import MetricError, ScaledPod
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Level, Spread, powers
from keelback.reconcile.resource_mapping import ResourceMapping
from keelback.reconcile.result import Result, again_after

_ACTION_AND_ERROR = (
    "The label 'action' should be either 'scale_down', 'scale_up', or 'none'. Also, the label 'error' should be either "
    "'spec', 'internal', or 'none'. Note that if both spec and internal errors happen during a reconciliation, the "
    "first one to occur is reported in `error` label."
)
_OF_METRIC = f"{_ACTION_AND_ERROR} The label 'metric_type' corresponds to HPA.spec.metrics[*].type"
RECONCILIATIONS = Count(
    "horizontal_pod_autoscaler_controller_reconciliations_total",
    f"Number of reconciliations of HPA controller. {_ACTION_AND_ERROR}",
    ("action", "error"),
)
RECONCILIATION_DURATION = Spread(
    "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds",
    f"The time(seconds) that the HPA controller takes to reconcile once. {_ACTION_AND_ERROR}",
    ("action", "error"),
    powers(0.001, 2, 15),
)
COMPUTATIONS = Count(
    "horizontal_pod_autoscaler_controller_metric_computation_total",
    f"Number of metric computations. {_OF_METRIC}",
    ("action", "error", "metric_type"),
)
COMPUTATION_DURATION = Spread(
    "horizontal_pod_autoscaler_controller_metric_computation_duration_seconds",
    f"The time(seconds) that the HPA controller takes to calculate one metric. {_OF_METRIC}",
    ("action", "error", "metric_type"),
    powers(0.001, 2, 15),
)
NUMBER = Level(
    "horizontal_pod_autoscaler_controller_num_horizontal_pod_autoscalers",
    "Current number of controlled HPA objects.",
)
DESIRED = Level(
    "horizontal_pod_autoscaler_controller_desired_replicas",
    "Current desired replica count for HPA objects.",
    ("namespace", "hpa_name"),
)
_log = logs.logger("horizontal-pod-autoscaler-controller")


class _SelectorProblem(Exception):
    def __init__(self, reason: str, told: str, message: str = "") -> None:
        super().__init__(told)
        self.reason, self.told, self.message = reason, told, message or told


@dataclass(slots=True)
class HorizontalPodAutoscalerReconciler:
    """Measures, plans and scales each autoscaler's target, once in a sync period."""

    context: Context
    settings: Settings
    name: ClassVar = "horizontal-pod-autoscaler-controller"
    role: ClassVar = "horizontal-pod-autoscaler"
    component: ClassVar = "horizontal-pod-autoscaler"
    kind: ClassVar = HorizontalPodAutoscaler
    owns: ClassVar = ()
    _histories: dict[tuple[str, str], History] = field(default_factory=dict)
    _selectors: dict[tuple[str, str], labels.Selector] = field(default_factory=dict)
    _mapping: ResourceMapping = field(init=False)

    def __post_init__(self) -> None:
        self._mapping = ResourceMapping(self.context.client.client, self.context.clock)
        store = self.context.caches.store(HorizontalPodAutoscaler)
        self.context.metrics.at_collection(NUMBER, lambda: {(): float(len(store.list()))})
        self.context.metrics.at_collection(
            DESIRED,
            lambda: {
                (one.metadata.namespace, one.metadata.name): float(one.status.desired_replicas) for one in store.list()
            },
        )

    def is_relevant(self, change: Change[HorizontalPodAutoscaler]) -> bool:
        """Its own statuses, and what others write of one, are not news."""
        return change.old is None or change.new is None or change.old.spec != change.new.spec

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        self._histories.pop((namespace, name), None)
        self._selectors.pop((namespace, name), None)
        return Result()

    async def reconcile(self, autoscaler: HorizontalPodAutoscaler) -> Result:
        key, started = (autoscaler.metadata.namespace, autoscaler.metadata.name), self.context.clock.monotonic()
        plan = await self._carried_out(autoscaler, self._histories.get(key, History()))
        self._histories[key] = plan.history
        for type_, reason, message in plan.events:
            await self.context.events.event(autoscaler, type_, reason, message)
        if plan.status != autoscaler.status:
            await self.context.client.update(replace(autoscaler, status=plan.status), "status")
        labels = (_action(plan.status.current_replicas or 0, plan.replicas), plan.error)
        self.context.metrics.inc(RECONCILIATIONS, *labels)
        self.context.metrics.observe(RECONCILIATION_DURATION, self.context.clock.monotonic() - started, *labels)
        return again_after(self.settings.sync_period.total_seconds())

    async def _carried_out(self, autoscaler: HorizontalPodAutoscaler, history: History) -> Plan:
        reference, now = autoscaler.spec.scale_target_ref, self.context.now()
        try:
            kind = await self._kind(reference)
            path = kind.path(autoscaler.metadata.namespace, reference.name, "scale")
            scale = codecs.decode(Scale, (await self.context.client.request("GET", path)).content())
        except (errors.StatusError, LookupError) as error:
            why = str(error.args[0]) if isinstance(error, LookupError) else str(error)
            return planning.without_scale(autoscaler, why, history, now)
        current = scale.spec.replicas
        plan = planning.plan_by_bounds(autoscaler, current, history, now)
        if plan is None:
            try:
                answers = await self._answers(autoscaler, scale)
            except _SelectorProblem as problem:
                return planning.without_selector(
                    autoscaler, current, problem.reason, problem.told, problem.message, history, now
                )
            plan = planning.plan(autoscaler, current, answers, history, self.settings, now)
        if plan.replicas is None:
            return plan
        try:
            wanted = replace(scale, spec=replace(scale.spec, replicas=plan.replicas))
            await self.context.client.client.request("PUT", path, "", codecs.encode(wanted))
        except errors.StatusError as error:
            return planning.not_rescaled(autoscaler, plan, str(error), now)
        _log.info("Rescaled", key=f"{autoscaler.metadata.namespace}/{autoscaler.metadata.name}", size=plan.replicas)
        return planning.rescaled(autoscaler, plan, current, now)

    async def _kind(self, reference: CrossVersionObjectReference) -> Kind:
        """The kind that a reference means. Raises LookupError, with upstream's text, where there is none."""
        group = reference.api_version.rpartition("/")[0]
        kind = await self._mapping.of(group, reference.kind)
        if kind is None:
            raise LookupError(f'no matches for kind "{reference.kind}" in group "{group}"')
        return kind

    async def _answers(self, autoscaler: HorizontalPodAutoscaler, scale: Scale) -> Sequence[Proposal | Failure]:
        namespace = autoscaler.metadata.namespace
        selector = self._selector(autoscaler, scale.status.selector)
        # Asked for when needed: autoscalers are few, and pods' requests are much to hold for them alone.
        listed = await self.context.client.list(ScaledPod, namespace, label_selector=str(selector))
        self._refuse_shared_pods(autoscaler, scale.status.selector, listed.items)
        target = Target(scale.spec.replicas, scale.status.replicas, namespace, listed.items)
        rules = planning.rules(autoscaler, self.settings, self.context.clock.now())
        metrics = autoscaler.spec.metrics

        async def answer(metric: MetricSpec) -> Proposal | Failure:
            started = self.context.clock.monotonic()
            found = evaluate(metric, await self._figures(namespace, selector, metric), target, rules)
            action = "none" if isinstance(found, Failure) else _action(target.replicas, found.replicas)
            labels = (action, "internal" if isinstance(found, Failure) else "none", metric.type)
            self.context.metrics.inc(COMPUTATIONS, *labels)
            self.context.metrics.observe(COMPUTATION_DURATION, self.context.clock.monotonic() - started, *labels)
            return found

        return await asyncio.gather(*map(answer, metrics))

    def _selector(self, autoscaler: HorizontalPodAutoscaler, text: str) -> labels.Selector:
        if not text:
            message = "the HPA target's scale is missing a selector"
            raise _SelectorProblem("SelectorRequired", "selector is required", message)
        try:
            selector = labels.parse(text)
        except labels.LabelSelectorError as error:
            told = f"couldn't convert selector into a corresponding internal selector object: {error}"
            raise _SelectorProblem("InvalidSelector", told) from error
        self._selectors[autoscaler.metadata.namespace, autoscaler.metadata.name] = selector
        return selector

    def _refuse_shared_pods(self, autoscaler: HorizontalPodAutoscaler, text: str, pods: Sequence[ScaledPod]) -> None:
        """Two autoscalers of the same pods would undo each other's work."""
        namespace = autoscaler.metadata.namespace
        sharing = sorted(
            name
            for (where, name), selector in self._selectors.items()
            if where == namespace and any(selector.matches(pod.metadata.labels) for pod in pods)
        )
        if len(sharing) > 1:
            listed = " ".join(f"{namespace}/{name}" for name in sharing)
            raise _SelectorProblem(
                "AmbiguousSelector", f"pods by selector {text} are controlled by multiple HPAs: [{listed}]"
            )

    async def _figures(self, namespace: str, selector: labels.Selector, metric: MetricSpec) -> Figures:
        reader = MetricsReader(self.context.client.client)
        try:
            if metric.resource is not None:
                return await reader.resource(namespace, selector, metric.resource.name, "")
            if metric.container_resource is not None:
                source = metric.container_resource
                return await reader.resource(namespace, selector, source.name, source.container)
            if metric.pods is not None:
                return await reader.pods(namespace, selector, metric.pods.metric)
            if metric.external is not None:
                return await reader.external(namespace, metric.external.metric)
            if metric.object is not None:
                described = metric.object.described_object
                kind = await self._kind(described)
                resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
                return await reader.object(namespace, resource, described, metric.object.metric)
        except MetricError as error:
            return error
        except LookupError as error:
            return MetricError(f"unable to fetch metrics from custom metrics API: {error.args[0]}")
        return MetricError("no metric source was set")


def _action(current: int, wanted: int | None) -> str:
    if wanted is None or wanted == current:
        return "none"
    return "scale_up" if wanted > current else "scale_down"
