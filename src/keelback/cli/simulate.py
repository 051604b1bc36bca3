"""`keelback simulate`: where pods would go if a cluster were otherwise, without touching it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from keelback.apimachinery import yaml
from keelback.apimachinery.meta import Object
from keelback.bootstrap.cluster_state import ClusterError
from keelback.cli import explain
from keelback.scheduler import simulation
from keelback.scheduler.simulation import Outcome
from keelback.scheduler.snapshot import OBSERVED, Snapshot

_KINDS: Final[Mapping[tuple[str, str], type[Any]]] = {(cls().api_version, cls().kind): cls for cls in OBSERVED}


def run(given: argparse.Namespace) -> int:
    """Simulate, and print where each waiting pod would go; 1 when some would go nowhere."""
    taken = _from_files(given) if given.cluster else asyncio.run(explain.from_cluster(given))[0]
    for path in given.add:
        for obj in read(Path(path)):
            taken.put(obj)
    try:
        for name in given.cordon:
            simulation.cordon(taken, name)
        for name in given.drain:
            simulation.drain(taken, name)
    except LookupError as error:
        raise ClusterError(str(error.args[0])) from error
    outcomes = simulation.place_all(taken)
    print("\n".join(written(outcomes)))
    return 0 if all(one.node_name for one in outcomes) else 1


def read(path: Path) -> list[Object]:
    """The objects of a file that a scheduler looks at: one, or a List as kubectl prints it. Raises ClusterError."""
    try:
        tree, _ = yaml.load(path.read_text())
        trees = tree["items"] if isinstance(tree, dict) and str(tree.get("kind", "")).endswith("List") else [tree]
        return [found for number, one in enumerate(trees) if (found := _object(one, number)) is not None]
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise ClusterError(f"{path}: {error}") from error


def written(outcomes: list[Outcome]) -> Iterator[str]:
    """The outcomes for people, line by line."""
    if not outcomes:
        yield "No pod waits for a node."
    for one in outcomes:
        yield f"{one.namespace}/{one.name} -> {one.node_name or 'nowhere: ' + one.message}"
        if one.victims:
            yield f"  preempts {', '.join(one.victims)}"


def _from_files(given: argparse.Namespace) -> Snapshot:
    taken = Snapshot(explain.profiles_of(given.config, given.plugin))
    found = [obj for path in given.cluster for obj in read(Path(path))]
    # Pods come last: what they are judged by must be known before.
    for obj in sorted(found, key=lambda obj: OBSERVED.index(type(obj))):
        taken.put(obj)
    return taken


def _object(tree: Any, number: int) -> Object | None:
    if not isinstance(tree, dict) or "kind" not in tree:
        raise ValueError(f"item {number} is no Kubernetes object")
    cls = _KINDS.get((str(tree.get("apiVersion")), str(tree["kind"])))
    if cls is None:
        return None
    metadata: dict[str, Any] = dict(tree.get("metadata") or {})
    # Who wrote what (`kubectl get --show-managed-fields`) places no pod.
    metadata.pop("managedFields", None)
    if tree["kind"] in ("Pod", "PodGroup", "ResourceClaim", "ResourceClaimTemplate"):
        metadata.setdefault("namespace", "default")
    if tree["kind"] in ("Pod", "ResourceClaim"):
        # A pod that is in no cluster yet has no uid, and pods are told apart by theirs.
        metadata.setdefault("uid", f"{metadata['namespace']}/{metadata.get('name')}")
    obj: Object = msgspec.convert({**tree, "metadata": metadata}, cls)
    return obj
