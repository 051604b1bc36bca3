"""`keelback explain pod`: for each node and plugin why not or how well, and what would have to change."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from keelback.apimachinery import errors
from keelback.bootstrap.cluster_state import ClusterError, kubeconfig_path
from keelback.client import Client, kubeconfig
from keelback.scheduler import configuration, plugin_registry, snapshot
from keelback.scheduler.config import Profile, SchedulerConfig
from keelback.scheduler.snapshot import GroupExplanation, PodExplanation, Snapshot
from keelback.scheduling import scheduling_gates
from keelback.scheduling.explanation import NodeExplanation, Refusal
from keelback.scheduling.pod_to_place import PodToPlace

_SECONDS = 60.0


def run(given: argparse.Namespace) -> int:
    """Explain one pod of a running cluster; 1 when it fits nowhere."""
    return asyncio.run(_run(given))


async def from_cluster(given: argparse.Namespace) -> tuple[Snapshot, str]:
    """The objects of the cluster that the kubeconfig names, and its context's namespace. Raises ClusterError."""
    path = Path(given.kubeconfig) if given.kubeconfig else kubeconfig_path(os.environ)
    try:
        profiles = profiles_of(given.config, given.plugin)
        access = kubeconfig.load(path, given.context)
        transport = kubeconfig.transport(access)
        try:
            async with asyncio.timeout(_SECONDS):
                return await snapshot.take(Client(transport), profiles), access.namespace
        finally:
            await transport.close()
    except (kubeconfig.KubeconfigError, errors.StatusError, OSError, ValueError) as error:
        raise ClusterError(f"the cluster that {path} names cannot be read: {error}") from error


def profiles_of(path: str, plugins: Sequence[str] = ()) -> Mapping[str, Profile]:
    """The profiles of a KubeSchedulerConfiguration file; none without a path. Raises ClusterError."""
    if not path:
        return {}
    try:
        own = plugin_registry.load(plugins)
        config = configuration.parse(Path(path).read_text(), SchedulerConfig(), own)
    except (OSError, ValueError) as error:
        raise ClusterError(f"--config {path}: {error}") from error
    if config.extenders:
        raise ClusterError(
            f"--config {path}: extenders are not asked here, and may decide otherwise: what would be said without them "
            "is to be had by a file that names none"
        )
    return config.profiles


async def _run(given: argparse.Namespace) -> int:
    taken, namespace = await from_cluster(given)
    namespace = given.namespace or namespace
    pod = taken.pods.get((namespace, given.pod))
    if pod is None:
        raise ClusterError(f'pods "{given.pod}" not found in namespace {namespace}')
    explained = taken.explain(pod)
    print("\n".join(written(explained, most=given.nodes)))
    return 0 if explained.node_name or pod.spec.node_name else 1


def written(explained: PodExplanation, most: int = 0) -> Iterator[str]:
    """The explanation for people, line by line; of `most` nodes at most, where it is not 0."""
    pod = explained.pod
    yield f"Pod:       {pod.metadata.namespace}/{pod.metadata.name} (scheduler {pod.spec.scheduler_name})"
    yield f"Now:       {_now(pod)}"
    yield from _outcome(explained)
    if explained.group is not None:
        yield from _group(explained.group)
    if explained.explanation.refusals:
        yield ""
        yield "No node is asked:"
        yield from _refusals(explained.explanation.refusals)
        return
    nodes = explained.explanation.nodes
    fitting = sum(not node.refusals for node in nodes)
    yield f"Nodes:     {fitting} of {len(nodes)} fit"
    for node in nodes[: most or len(nodes)]:
        yield ""
        yield from _node(node)
    if most and len(nodes) > most:
        yield ""
        yield f"... and {len(nodes) - most} more"


def _now(pod: PodToPlace) -> str:
    if pod.spec.node_name:
        return f"on node {pod.spec.node_name}"
    if pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        return f"{scheduling_gates.MESSAGE}: {gates}"
    if pod.status.nominated_node_name:
        return f"waits for room to be made on node {pod.status.nominated_node_name}"
    return "has no node"


def _outcome(explained: PodExplanation) -> Iterator[str]:
    if explained.node_name:
        yield f"Would go:  to node {explained.node_name}"
        return
    yield "Would go:  nowhere"
    yield f"Message:   {explained.message}"
    if explained.victims:
        yield f"Preempts:  {', '.join(explained.victims)} on node {explained.victims_node}"


def _group(group: GroupExplanation) -> Iterator[str]:
    policy = "basic" if group.min_count is None else f"gang, minCount {group.min_count}"
    yield f"Group:     {group.name} ({policy}): {group.pods} pods, {group.with_node} with a node"
    if group.message:
        yield f"  {group.message}"
    for name, outcome in group.outcomes:
        yield f"  {name}: {outcome}"


def _node(node: NodeExplanation) -> Iterator[str]:
    if node.refusals:
        yield f"{node.name}: does not fit"
        yield from _refusals(node.refusals)
        return
    yield f"{node.name}: fits, score {node.total}"
    for score in node.scores:
        yield f"  {score.plugin}: {score.score} x {score.weight}"


def _refusals(refusals: Iterable[Refusal]) -> Iterator[str]:
    for refusal in refusals:
        yield f"  {refusal.plugin}: {', '.join(refusal.reasons)}"
        for remedy in refusal.remedies:
            yield f"    -> {remedy}"
