"""CPU microseconds that the scheduler's own part of a pod takes, on the workloads of scheduler_perf: no API, no store.

    python bench/deciding.py [--scale 0.2] [--profile FILE] [workload ...]

Of each pod: taking it in (its shape, the queue), deciding (filters, scores, the choice, what is counted), and hearing
of its binding. What comes meanwhile is counted too, as often as it would come at a thousand pods a second.
"""

from __future__ import annotations

import argparse
import cProfile
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from scheduler_workloads import WORKLOADS, Make, Tree, Workload, roomy

from keelback.api.resource_v1 import DeviceClass, ResourceClaimTemplate, ResourceSlice
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object, replace
from keelback.client.informer import Change
from keelback.concurrency.backoff import Backoff
from keelback.scheduler import simulated_claims
from keelback.scheduler.cycle import Cycle, Refused
from keelback.scheduler.observation import Observation
from keelback.scheduler.observed_types import Claim, NamespaceLabels, NodeDrivers, ServiceSelector, Volume
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.snapshot import Snapshot
from keelback.scheduling import builtin
from keelback.scheduling.events import Event
from keelback.scheduling.node_info import NodeToPlaceOn
from keelback.scheduling.pod_to_place import PodToPlace

PODS_A_SECOND: Final = 1000
KINDS: Final[Mapping[str, type[Object]]] = {
    "Node": NodeToPlaceOn,
    "Namespace": NamespaceLabels,
    "Service": ServiceSelector,
    "PersistentVolumeClaim": Claim,
    "PersistentVolume": Volume,
    "CSINode": NodeDrivers,
    "DeviceClass": DeviceClass,
    "ResourceClaimTemplate": ResourceClaimTemplate,
    "ResourceSlice": ResourceSlice,
    "Pod": PodToPlace,
}
"""What the scheduler reads of what the workloads make; the rest is for others."""
TOLERATIONS: Final = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]


def observed(tree: Tree) -> Object | None:
    """An object as the scheduler sees it once the API server has taken it in."""
    cls = KINDS.get(tree["kind"])
    if cls is None:
        return None
    if tree["kind"] == "Pod":
        spec = {"tolerations": TOLERATIONS, "schedulerName": "default-scheduler", **tree["spec"]}
        spec["priority"] = 1000 if spec.get("priorityClassName") == "high" else 0
        tree = {**tree, "spec": spec}
    tree = {**tree, "metadata": {**tree["metadata"], "uid": f"{tree['kind']}-{tree['metadata']['name']}"}}
    return codecs.decode(cls, msgspec.json.encode(tree))


@dataclass(slots=True)
class Times:
    """CPU seconds."""

    seen: float = 0.0
    decided: float = 0.0
    confirmed: float = 0.0
    meanwhile: float = 0.0


@dataclass(slots=True)
class Desk:
    """The scheduler without its writes: what it decides is as good as done."""

    queue: SchedulingQueue = field(init=False)
    snapshot: Snapshot = field(init=False)
    cycle: Cycle = field(init=False)
    now: float = 0.0
    placed: int = 0

    def __post_init__(self) -> None:
        wakes_on: dict[str, frozenset[Event]] = {
            plugin.name: getattr(plugin, "wakes_on", frozenset()) for plugin in builtin.DEFAULT.all()
        }
        self.queue = SchedulingQueue(Backoff(1.0, 10.0), 300.0, wakes_on)
        self.snapshot = Snapshot()
        self.snapshot.observation = Observation(("default-scheduler",), self.queue, lambda: self.now, lambda: None)
        self.cycle = Cycle(builtin.DEFAULT, self.snapshot.observation, random.Random(0))

    def learn(self, trees: Iterator[Tree]) -> None:
        for tree in trees:
            obj = observed(tree)
            if obj is not None:
                self.snapshot.put(obj)
                if isinstance(obj, PodToPlace):
                    simulated_claims.make(self.snapshot, obj)

    def work(self, times: Times) -> None:
        """Try all that are ready."""
        observation = self.snapshot.observation
        while self.queue.ready:
            started = time.thread_time()
            queued = self.queue.pop(self.now)
            assert queued is not None
            decision = self.cycle.decide(queued)
            if isinstance(decision, Refused):
                self._refused(decision)
                times.decided += time.thread_time() - started
                continue
            self.queue.remove(queued.uid)
            times.decided += time.thread_time() - started
            simulated_claims.settle(self.snapshot, decision)
            pod = queued.pod
            bound = replace(pod, spec=replace(pod.spec, node_name=decision.node_name))
            started = time.thread_time()
            observation.on_pod(Change("MODIFIED", pod, bound))
            times.confirmed += time.thread_time() - started
            self.snapshot.pods[bound.metadata.namespace, bound.metadata.name] = bound
            self.placed += not pod.metadata.name.startswith("churn")

    def _refused(self, refused: Refused) -> None:
        observation, queued = self.snapshot.observation, refused.queued
        victims = refused.candidate.victims if refused.candidate is not None else ()
        observation.awaited.add(queued.uid, (victim.uid for victim in victims))
        self.queue.reject(queued, refused.plugins, self.now, awaits_victims=bool(victims), speaks_for_alike=not victims)
        if refused.nominated_node_name is not None:
            observation.nominate(queued.pod, refused.nominated_node_name)
        for victim in victims:
            self.snapshot.remove_pod(self.snapshot.pods[victim.namespace, victim.name])


def named(make: Make, prefix: str, numbers: range) -> Iterator[Tree]:
    for number in numbers:
        tree = make(number)
        tree["metadata"]["name"] = f"{prefix}-{number}"
        yield tree


def carry_out(work: Workload, scale: float, profile: cProfile.Profile | None) -> tuple[int, Times]:
    """How many pods were placed, and the CPU of it."""
    nodes, first, measured = (round(count * scale) for count in (work.nodes, work.first, work.measured))
    desk = Desk()
    desk.learn(map(work.node, range(max(1, nodes))))
    if work.name == "SchedulingDaemonset":
        desk.learn(iter([{**roomy(0), "metadata": {**roomy(0)["metadata"], "name": "node-roomy"}}]))
    desk.learn(work.before(first + measured))
    for tree in named(work.first_pod, "first", range(measured, measured + first)):
        desk.learn(iter([tree]))
        desk.work(Times())
    if work.held is not None:
        desk.learn(named(work.held, "held", range(measured // (2 if work.node is roomy else 1))))
        desk.work(Times())
    pods = list(map(observed, named(work.measured_pod, "measured", range(measured))))
    times, desk.placed = Times(), 0
    every = round(work.churn.seconds * PODS_A_SECOND) if work.churn is not None else 0
    if profile is not None:
        profile.enable()
    for number, obj in enumerate(pods):
        assert isinstance(obj, PodToPlace)
        desk.now = number / PODS_A_SECOND
        if work.churn is not None and number % every == 0:
            started = time.thread_time()
            _churn(desk, work, number // every)
            times.meanwhile += time.thread_time() - started
        obj = simulated_claims.make(desk.snapshot, obj)
        started = time.thread_time()
        desk.queue.flush_backoff(desk.now)
        desk.snapshot.put(obj)
        times.seen += time.thread_time() - started
        desk.work(times)
    if profile is not None:
        profile.disable()
    return desk.placed, times


def _churn(desk: Desk, work: Workload, number: int) -> None:
    assert work.churn is not None
    made = list(named_churn(work.churn.makes, number))
    if work.churn.recreates and number:
        for tree in named_churn(work.churn.makes, number - 1):
            _forget(desk, tree)
    desk.learn(iter(made))


def named_churn(makes: tuple[Callable[[int], Tree], ...], number: int) -> Iterator[Tree]:
    for make in makes:
        tree = make(10**6 + number)
        tree["metadata"]["name"] = f"churn-{number}"
        yield tree


def _forget(desk: Desk, tree: Tree) -> None:
    obj: Any = observed(tree)
    observation = desk.snapshot.observation
    match obj:
        case PodToPlace():
            desk.snapshot.remove_pod(obj)
        case NodeToPlaceOn():
            observation.on_node(Change("DELETED", obj, None))
        case ServiceSelector():
            observation.on_service(Change("DELETED", obj, None))


def main() -> None:
    """Print one line a workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="how their names begin; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes; 1 is the suite's own")
    parser.add_argument("--profile", default="", metavar="FILE", help="write cProfile's statistics there")
    given = parser.parse_args()
    print(f"{'workload':<48}{'pods':>7}{'taken in':>10}{'decided':>9}{'bound':>7}{'meanwhile':>11}{'all us':>8}")
    profile = cProfile.Profile() if given.profile else None
    for work in WORKLOADS:
        if given.workloads and not any(work.name.startswith(one) for one in given.workloads):
            continue
        placed, times = carry_out(work, given.scale, profile)
        parts = [part / max(placed, 1) * 1e6 for part in (times.seen, times.decided, times.confirmed, times.meanwhile)]
        shown = "".join(f"{part:>{width}.1f}" for part, width in zip(parts, (10, 9, 7, 11), strict=True))
        print(f"{work.name:<48}{placed:>7}{shown}{sum(parts):>8.1f}", flush=True)
    if profile is not None:
        profile.dump_stats(given.profile)


if __name__ == "__main__":
    main()
