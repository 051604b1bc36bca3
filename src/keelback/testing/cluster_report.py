"""What happened in a cluster, for whoever's test failed: what is not well and why, the last events and requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from keelback.apimachinery.errors import StatusError
from keelback.testing.cluster_objects import Objects, Tree
from keelback.testing.faults import Asked

_KINDS: Final = (
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "jobs.batch",
    "pods",
    "persistentvolumeclaims",
    "nodes",
)
_GOOD: Final = {
    ("Ready", "True"),
    ("Available", "True"),
    ("Complete", "True"),
    ("SuccessCriteriaMet", "True"),
    ("Progressing", "True"),
}
_BAD_WHEN_TRUE: Final = {"ReplicaFailure", "Failed", "FailureTarget", "MemoryPressure", "DiskPressure", "PIDPressure"}
_LAST_EVENTS: Final = 15
_LAST_REQUESTS: Final = 15


async def report(objects: Objects, requests: Sequence[Asked], now: datetime) -> str:
    """Several lines of text; it says so where all is well."""
    events = await objects.list("events", "", "", "")
    troubled = [line for kind in _KINDS for line in _not_well(await objects.list(kind, "", "", ""))]
    parts = [
        f"the cluster's time is {now:%Y-%m-%d %H:%M:%S}",
        _section("not well", troubled or ["nothing: workloads, pods, claims and nodes are as they should be"]),
        _section("last events", [_event(one) for one in in_order(events)[-_LAST_EVENTS:]]),
        _section("last requests", [_request(one) for one in list(requests)[-_LAST_REQUESTS:]]),
    ]
    return "\n".join(part for part in parts if part)


async def about(objects: Objects, target: str, namespace: str) -> str:
    """What is known of one object: its conditions, and the events about it."""
    try:
        resource, name = await objects.find(target)
        tree = await objects.get(target, namespace)
    except StatusError as error:
        return str(error)
    events = await objects.list("events", namespace if resource.is_namespaced else "", "", "")
    lines = [_condition(one) for one in tree.get("status", {}).get("conditions", ())]
    lines += [_event(one) for one in in_order(events) if one["involvedObject"].get("name") == name]
    return "\n".join(f"  {line}" for line in lines) or "  it has no conditions, and there are no events about it"


def _section(title: str, lines: Iterable[str]) -> str:
    shown = [f"  {line}" for line in lines]
    return "\n".join([f"{title}:", *shown]) if shown else ""


def _not_well(trees: list[Tree]) -> Iterable[str]:
    for tree in trees:
        status = tree.get("status", {})
        is_over = status.get("phase") in ("Succeeded", "Failed")
        bad = [
            one
            for one in status.get("conditions", ())
            if (one["type"], one["status"]) not in _GOOD
            and (one["type"] in _BAD_WHEN_TRUE) == (one["status"] == "True")
        ]
        if tree["kind"] == "Pod" and is_over and status["phase"] == "Succeeded":
            continue
        if bad or status.get("phase") in ("Pending", "Failed"):
            phase = f", {status['phase']}" if "phase" in status else ""
            yield f"{_name(tree)}{phase}"
            yield from (f"  {_condition(one)}" for one in bad)


def _name(tree: Tree) -> str:
    metadata = tree["metadata"]
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{tree['kind'].lower()} {namespace}{metadata['name']}"


def _condition(one: Tree) -> str:
    why = ": ".join(text for text in (one.get("reason", ""), one.get("message", "")) if text)
    return f"{one['type']} is {one['status']}" + (f" ({why})" if why else "")


def in_order(events: list[Tree]) -> list[Tree]:
    """Events as they came about: by their time, and within a second as they were written."""
    return sorted(events, key=lambda event: (_when(event)[:19], int(event["metadata"]["resourceVersion"])))


def _when(event: Tree) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _event(event: Tree) -> str:
    about = event["involvedObject"]
    times = f" (x{event['count']})" if event.get("count", 1) > 1 else ""
    what = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    return f"{_when(event)[11:19]} {event.get('type')} {what} {event.get('reason')}{times}: {event.get('message', '')}"


def _request(asked: Asked) -> str:
    return f"{asked.at:%H:%M:%S} {asked.status or 'failed'} {asked.verb} {asked.path} by {asked.client or 'unknown'}"
