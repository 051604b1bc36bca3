"""Carry a scenario out in virtual time, and measure how the cluster is in the course of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from keelback.apimachinery import errors, quantity
from keelback.scheduling import fit_error
from keelback.testing.cluster import Cluster
from keelback.testing.cluster_objects import Tree, Trees, UnknownResource
from keelback.testing.cluster_parts import NoSuchComponent, Options
from keelback.testing.scenario import Moment, Scenario, ScenarioError

PHASES: Final = ("Running", "Pending", "Succeeded", "Failed")
Progress: TypeAlias = Callable[[float], None]
"""Told how far a scenario has come, in seconds of its time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How the cluster is at an instant. Shares are of what ready nodes offer, from 0 to 1."""

    seconds: float
    pods: Mapping[str, int]
    """How many pods have each phase."""
    ready_nodes: int
    cpu_share: float
    memory_share: float


@dataclass(slots=True)
class Outcome:
    """What came of a scenario."""

    samples: list[Sample] = field(default_factory=list)
    scheduling_seconds: list[float] = field(default_factory=list)
    """Of each pod that got a node, how long it waited for it, to the second."""
    ready_seconds: list[float] = field(default_factory=list)
    """Of each pod that became Ready, how long that took from its creation, to the second."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Why pods fitted nowhere when they were looked at, and how often that was seen."""
    told: list[tuple[float, str]] = field(default_factory=list)
    """What the scenario did, and when."""


def run(
    scenario: Scenario,
    progress: Progress = lambda seconds: None,
    *,
    speed: float = 0.0,
    begun: Callable[[Cluster], object] = lambda cluster: None,
) -> Outcome:
    """Carry it out, as fast as it goes or at a speed; `begun` gets the cluster, so that others may look at it.

    Raises ScenarioError where something that should happen cannot.
    """
    options = Options(
        nodes=scenario.nodes,
        seed=scenario.seed,
        job_seconds=scenario.job_seconds,
        stages=scenario.stages,
        speed=speed,
    )
    with Cluster(options) as cluster:
        begun(cluster)
        return _Run(scenario, cluster, progress).carry_out()


class _Run:
    def __init__(self, scenario: Scenario, cluster: Cluster, progress: Progress) -> None:
        self._scenario = scenario
        self._cluster = cluster
        self._progress = progress
        self._outcome = Outcome()
        self._measured: set[tuple[str, str]] = set()
        self._made = 0

    def carry_out(self) -> Outcome:
        scenario, began = self._scenario, self._cluster.now
        moments = list(scenario.moments)
        sample_at = 0.0
        while sample_at <= scenario.duration:
            # What happens at the very instant is seen by the next sample, when it has had its effect.
            while moments and moments[0].seconds < sample_at:
                moment = moments.pop(0)
                self._advance_to(began, moment.seconds)
                self._do(moment)
            self._advance_to(began, sample_at)
            self._outcome.samples.append(self._sample(sample_at))
            self._progress(sample_at)
            sample_at += scenario.sample
        return self._outcome

    def _advance_to(self, began: datetime, seconds: float) -> None:
        left = seconds - (self._cluster.now - began).total_seconds()
        if left > 0:
            self._cluster.advance(left)

    def _do(self, moment: Moment) -> None:
        one, cluster, verb = moment.happening, self._cluster, moment.verb
        try:
            match verb:
                case "apply":
                    source = one.apply if not isinstance(one.apply, str) else self._scenario.folder / one.apply
                    done = f"apply {', '.join(_name(tree) for tree in cluster.apply(source))}"
                case "create":
                    for _ in range(one.count):
                        cluster.apply(dict(one.create))
                    done = f"create {one.count} of {one.create['metadata']['generateName']}"
                case "scale":
                    cluster.patch(one.scale, {"spec": {"replicas": one.replicas}}, subresource="scale")
                    done = f"scale {one.scale} to {one.replicas}"
                case "patch":
                    cluster.patch(one.patch, one.change)
                    done = f"patch {one.patch}"
                case "delete":
                    cluster.delete(one.delete)
                    done = f"delete {one.delete}"
                case "disconnect" | "connect":
                    getattr(cluster, verb)(getattr(one, verb))
                    done = f"{verb} {getattr(one, verb)}"
                case _:
                    self._hold_back(getattr(one, verb), verb)
                    done = f"{verb} {getattr(one, verb)}"
        except (errors.StatusError, NoSuchComponent, UnknownResource, OSError, ValueError) as error:
            raise ScenarioError(f"at {moment.seconds:g} s, {verb}: {error}") from error
        self._outcome.told.append((moment.seconds, done))

    def _hold_back(self, node: str, verb: str) -> None:
        self._cluster.patch(f"node/{node}", {"spec": {"unschedulable": True if verb != "uncordon" else None}})
        if verb != "drain":
            return
        for pod in self._cluster.list("pods", namespace="", field_selector=f"spec.nodeName={node}"):
            metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
            if any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ())):
                continue
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
            try:
                self._cluster.request("POST", path, body=body)
            except errors.TooManyRequests:
                # A budget is in the way: `kubectl drain` would ask again, a scenario says so and goes on.
                self._outcome.told.append((0.0, f"{metadata['name']} was kept on {node} by a disruption budget"))

    def _sample(self, seconds: float) -> Sample:
        pods = self._cluster.list("pods", namespace="")
        nodes = [one for one in self._cluster.list("nodes", namespace="") if _condition(one, "Ready")]
        placed = [
            pod for pod in pods if pod["spec"].get("nodeName") and pod["status"]["phase"] in ("Pending", "Running")
        ]
        self._measure(pods)
        return Sample(
            seconds,
            Counter(pod["status"]["phase"] for pod in pods),
            len(nodes),
            _share(placed, nodes, "cpu", quantity.milli_value),
            _share(placed, nodes, "memory", quantity.value),
        )

    def _measure(self, pods: Trees) -> None:
        outcome = self._outcome
        for pod in pods:
            created, uid = _time(pod["metadata"]["creationTimestamp"]), pod["metadata"]["uid"]
            scheduled = _condition(pod, "PodScheduled")
            if scheduled is None:
                waits = [one for one in pod["status"].get("conditions", ()) if one["type"] == "PodScheduled"]
                outcome.refusals.update(fit_error.reasons(one.get("message", "")) for one in waits)
            for kind, found in (("PodScheduled", scheduled), ("Ready", _condition(pod, "Ready"))):
                if found is not None and (uid, kind) not in self._measured:
                    self._measured.add((uid, kind))
                    took = (_time(found["lastTransitionTime"]) - created).total_seconds()
                    (outcome.scheduling_seconds if kind == "PodScheduled" else outcome.ready_seconds).append(took)


def _share(pods: Trees, nodes: Trees, resource: str, amount: Callable[[str], int]) -> float:
    offered = sum(amount(node["status"]["allocatable"].get(resource, "0")) for node in nodes)
    asked = sum(
        amount(container.get("resources", {}).get("requests", {}).get(resource, "0"))
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    return asked / offered if offered else 0.0


def _condition(tree: Tree, kind: str) -> Tree | None:
    """The condition where it is true."""
    found = tree["status"].get("conditions", ())
    return next((one for one in found if one["type"] == kind and one["status"] == "True"), None)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _name(tree: Tree) -> str:
    return f"{tree['kind'].lower()}/{tree['metadata']['name']}"
