"""Controllers count under upstream's names what upstream's count."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback import controllers
from keelback.api.batch_v1 import Job, JobSpec
from keelback.api.core_v1 import Container, PodSpec, PodTemplateSpec, Service, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.component.metrics import Registry
from keelback.controllers import slice_metrics
from keelback.controllers.endpointslices import Plan
from keelback.controllers.jobs import JobReconciler
from keelback.reconcile.controller_metrics import ControllerMetrics, Count, Level, Spread, Work, powers


def declared() -> dict[str, Count | Level | Spread]:
    found: dict[str, Count | Level | Spread] = {}
    for module in pkgutil.iter_modules(controllers.__path__):
        for value in vars(importlib.import_module(f"keelback.controllers.{module.name}")).values():
            for one in (value.count, value.duration) if isinstance(value, Work) else (value,):
                if isinstance(one, Count | Level | Spread):
                    found[one.name] = one
    return found


def test_counters_are_told_apart_by_their_names_and_say_what_they_are() -> None:
    for name, metric in declared().items():
        assert metric.description
        # Upstream's older counters lack the ending.
        assert name.endswith(("_total", "_changes", "_syncs")) == isinstance(metric, Count), name


def test_a_metric_is_there_from_its_first_use_on_and_what_is_gone_is_not_shown() -> None:
    registry = Registry()
    metrics = ControllerMetrics(registry)
    count, level, spread = (
        Count("a_total", "A", ("x",)),
        Level("b", "B", ("x",)),
        Spread("c", "C", (), powers(1, 2, 3)),
    )
    assert registry.exposition() == b""
    present: dict[tuple[str, ...], float] = {("one",): 1.0}
    metrics.at_collection(level, lambda: present)
    metrics.inc(count, "one")
    metrics.observe(spread, 3)
    text = registry.exposition().decode()
    assert all(line in text for line in ('a_total{x="one"} 1', 'b{x="one"} 1', 'c_bucket{le="4"} 1', "c_sum 3"))
    present = {}
    assert "b{" not in registry.exposition().decode()


def test_a_job_is_counted_from_its_first_pod_to_its_end(world: Any) -> None:
    async def play() -> None:
        cluster = world()
        template = PodTemplateSpec(spec=PodSpec(restart_policy="Never", containers=(Container(name="c", image="one"),)))
        async with cluster.running(JobReconciler):
            spec = JobSpec(completions=2, parallelism=2, backoff_limit=0, template=template)
            await cluster.client.create(Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=spec))
            await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
            paths = [path for path in cluster.server.objects if "/pods/" in path]
            await cluster.set_status(paths[0], {"phase": "Succeeded"})
            await cluster.until(lambda: next(cluster.all("jobs"))["status"].get("succeeded") == 1)
            await cluster.set_status(paths[1], {"phase": "Failed"})
            await cluster.until(
                lambda: any(
                    one["type"] == "Failed" for one in next(cluster.all("jobs"))["status"].get("conditions", ())
                )
            )
        text = cluster.context.metrics.exposition().decode()
        mode = 'completion_mode="NonIndexed"'
        for line in (
            f'job_controller_jobs_finished_total{{{mode},result="failed",reason="BackoffLimitExceeded"}} 1',
            f'job_controller_job_pods_finished_total{{{mode},result="succeeded"}} 1',
            f'job_controller_job_pods_finished_total{{{mode},result="failed"}} 1',
            'job_controller_job_pods_creation_total{reason="new",status="succeeded"} 2',
            'job_controller_terminated_pods_tracking_finalizer_total{event="add"} 2',
            'job_controller_terminated_pods_tracking_finalizer_total{event="delete"} 2',
        ):
            assert line in text
        assert f'job_controller_job_syncs_total{{{mode},result="success",action="pods_created"}}' in text

    asyncio.run(play())


addresses = st.sets(st.integers(1, 30).map(lambda number: f"10.0.0.{number}"), max_size=12)


@given(addresses, addresses)
def test_endpoints_that_move_between_slices_are_neither_added_nor_removed(before: set[str], after: set[str]) -> None:
    def made(held: set[str]) -> EndpointSlice:
        return EndpointSlice(address_type="IPv4", endpoints=tuple(Endpoint(addresses=(one,)) for one in sorted(held)))

    registry = Registry()
    done = Plan(create=[made(after)], delete=[made(before)])
    service = Service(metadata=ObjectMeta(name="web"), spec=ServiceSpec())
    slice_metrics.count_sync(ControllerMetrics(registry), service, done, by_zone=False)
    text = registry.exposition().decode()
    assert f"endpoint_slice_controller_endpoints_added_per_sync_sum {len(after - before)}" in text
    assert f"endpoint_slice_controller_endpoints_removed_per_sync_sum {len(before - after)}" in text
    assert slice_metrics.held([made(after)], 5) == (1, max(1, -(-len(after) // 5)), len(after))
