"""One pod that waits for a node, and those that wait for the same as it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace

Reason: TypeAlias = tuple[frozenset[str], bool]
"""The plugins that rejected pods, and whether these wait for victims of theirs."""


@dataclass(slots=True, eq=False)
class QueuedPod:
    """One waiting pod and its history of attempts."""

    pod: PodToPlace
    info: PodInfo
    queued_at: float
    """When it last became ready to be tried."""
    arrived_at: float
    """When it was first seen."""
    attempts: int = 0
    plugins: frozenset[str] = frozenset()
    """Those that rejected it the last time."""
    rejected_at: float = 0.0
    tried_at: int = 0
    """How many changes the queue had heard of when it was last tried."""
    awaits_victims: bool = False
    """Whether pods that it preempted are still to go."""
    failed: bool = False
    """Whether its last attempt failed, rather than finding no node."""
    place: str = ""
    """Which part of the queue holds it; empty while it is being tried."""
    is_single: bool = True
    """Whether its last rejection was for reasons of its own, which others of its shape need not share."""
    among: Alike | None = None
    """While it is rejected: those that it waits among."""
    leads: Alike | None = None
    """For whom it is tried, besides itself."""

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid


@dataclass(slots=True, eq=False)
class Alike:
    """Pods of one shape that were rejected for one reason, or a single pod that is like no other."""

    key: PodInfo | str
    """Their shape; the uid of a single one."""
    reason: Reason
    rejected_at: float
    """When one of them was last tried in vain."""
    pods: dict[str, QueuedPod] = field(default_factory=dict)
    """By uid, and who was rejected first comes first."""
    leader: QueuedPod | None = None
    """Who was taken from among them to be tried for all."""
    woken: tuple[float, str] = (0.0, "")
    """When and why the last leader was taken."""
    said: str = ""
    """What people are told of them; empty where one may have been told something else."""
    told_at: float = -math.inf
    """When telling them all something else last began."""
