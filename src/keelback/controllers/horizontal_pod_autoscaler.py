"""The horizontal pod autoscaler: keeps what it scales as large as its metrics ask for, through any kind's /scale."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keelback.api.autoscaling_v1 import Scale
from keelback.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricSpec
from keelback.api.core_v1 import Pod
from keelback.apimachinery import errors, labels
from keelback.apimachinery.meta import replace
from keelback.client import Change
from keelback.client.metric_values import MetricsReader
from keelback.component import logs
from keelback.controllers import horizontal_pod_autoscaler_plan as planning
from keelback.controllers.config import HorizontalPodAutoscaling
from keelback.controllers.horizontal_pod_autoscaler_limits import History
from keelback.controllers.horizontal_pod_autoscaler_metrics import Failure, Proposal, evaluate
from keelback.controllers.scales import Scales
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Level, Work, powers
from keelback.reconcile.resource_mapping import ResourceMapping
from keelback.reconcile.result import Result, again_after

_ACTION_AND_ERROR = (
    "The label 'action' should be either 'scale_down', 'scale_up', or 'none'. Also, the label 'error' should be either "
    "'spec', 'internal', or 'none'. Note that if both spec and internal errors happen during a reconciliation, the "
    "first one to occur is reported in `error` label."
)
_OF_METRIC = f"{_ACTION_AND_ERROR} The label 'metric_type' corresponds to HPA.spec.metrics[*].type"
RECONCILIATIONS = Work(
    "horizontal_pod_autoscaler_controller_reconciliations_total",
    f"Number of reconciliations of HPA controller. {_ACTION_AND_ERROR}",
    "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds",
    f"The time(seconds) that the HPA controller takes to reconcile once. {_ACTION_AND_ERROR}",
    ("action", "error"),
    powers(0.001, 2, 15),
)
COMPUTATIONS = Work(
    "horizontal_pod_autoscaler_controller_metric_computation_total",
    f"Number of metric computations. {_OF_METRIC}",
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


@dataclass(slots=True)
class HorizontalPodAutoscalerReconciler:
    """Measures, plans and scales each autoscaler's target, once in a sync period."""

    context: Context
    settings: HorizontalPodAutoscaling
    name: ClassVar = "horizontal-pod-autoscaler-controller"
    role: ClassVar = "horizontal-pod-autoscaler"
    component: ClassVar = "horizontal-pod-autoscaler"
    kind: ClassVar = HorizontalPodAutoscaler
    owns: ClassVar = ()
    _histories: dict[tuple[str, str], History] = field(default_factory=dict)
    _selectors: dict[tuple[str, str], labels.Selector] = field(default_factory=dict)
    _scales: Scales = field(init=False)
    _figures: MetricsReader = field(init=False)

    def __post_init__(self) -> None:
        client = self.context.client.client
        mapping = ResourceMapping(client, self.context.clock)
        self._scales, self._figures = Scales(client, mapping), MetricsReader(client, mapping.named)
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
        seconds, action = self.context.clock.monotonic() - started, _action(plan.status.current_replicas, plan.replicas)
        self.context.metrics.done(RECONCILIATIONS, seconds, action, plan.error)
        return again_after(self.settings.sync_period.total_seconds())

    async def _carried_out(self, autoscaler: HorizontalPodAutoscaler, history: History) -> planning.Plan:
        namespace, target, now = autoscaler.metadata.namespace, autoscaler.spec.scale_target_ref, self.context.now()
        try:
            scale = await self._scales.get(namespace, target)
        except (errors.StatusError, LookupError) as error:
            return planning.without_scale(autoscaler, str(error), history, now)
        current = scale.spec.replicas
        plan = planning.plan_by_bounds(autoscaler, current, history, now)
        if plan is None:
            try:
                answers = await self._answers(autoscaler, scale)
            except planning.SelectorProblem as problem:
                return planning.without_selector(autoscaler, current, problem, history, now)
            plan = planning.plan(autoscaler, current, answers, history, self.settings, now)
        if plan.replicas is None:
            return plan
        try:
            wanted = replace(scale, spec=replace(scale.spec, replicas=plan.replicas))
            await self._scales.put(namespace, target, wanted)
        except errors.StatusError as error:
            return planning.not_rescaled(autoscaler, plan, str(error), now)
        _log.info("Rescaled", key=f"{namespace}/{autoscaler.metadata.name}", size=plan.replicas)
        return planning.rescaled(autoscaler, plan, current, now)

    async def _answers(self, autoscaler: HorizontalPodAutoscaler, scale: Scale) -> Sequence[Proposal | Failure]:
        namespace, selector = autoscaler.metadata.namespace, planning.selector_of(scale)
        self._selectors[namespace, autoscaler.metadata.name] = selector
        # Asked for when needed: autoscalers are few, and whole pods much to hold for them alone.
        listed = await self.context.client.list(Pod, namespace, label_selector=str(selector))
        self._refuse_shared_pods(namespace, scale.status.selector, listed.items)
        rules = planning.rules(autoscaler, self.settings, self.context.now())

        async def answer(metric: MetricSpec) -> Proposal | Failure:
            started = self.context.clock.monotonic()
            found = evaluate(metric, await self._figures.read(metric, namespace, selector), scale, listed.items, rules)
            seconds = self.context.clock.monotonic() - started
            wanted = found.replicas if isinstance(found, Proposal) else None
            said = (_action(scale.spec.replicas, wanted), "internal" if wanted is None else "none", metric.type)
            self.context.metrics.done(COMPUTATIONS, seconds, *said)
            return found

        return await asyncio.gather(*map(answer, autoscaler.spec.metrics))

    def _refuse_shared_pods(self, namespace: str, selector: str, pods: Sequence[Pod]) -> None:
        """Two autoscalers of the same pods would undo each other's work. Raises SelectorProblem."""
        sharing = sorted(
            f"{namespace}/{name}"
            for (where, name), selects in self._selectors.items()
            if where == namespace and any(selects.matches(pod.metadata.labels) for pod in pods)
        )
        if len(sharing) > 1:
            told = f"pods by selector {selector} are controlled by multiple HPAs: [{' '.join(sharing)}]"
            raise planning.SelectorProblem("AmbiguousSelector", told)


def _action(current: int, wanted: int | None) -> str:
    if wanted is None or wanted == current:
        return "none"
    return "scale_up" if wanted > current else "scale_down"
