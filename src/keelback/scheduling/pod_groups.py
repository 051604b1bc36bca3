"""Pod groups (KEP-4671): which pods belong together, and whether enough of them are there to be placed at all.

A gang (GangScheduling) is placed when `minCount` of its pods can be, and not before; a basic group pod by pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from keelback.scheduling.pod_info import PodInfo

PLUGIN: Final = "GangScheduling"

UNSCHEDULABLE: Final = "pod group is unschedulable"
TOO_FEW_PODS: Final = "waiting for minCount pods from a gang to appear in scheduling queue"
TOO_FEW_PLACED: Final = "waiting for minCount pods from a gang to be scheduled"
AWAITS_VICTIMS: Final = "pod group is waiting for preemption to complete"

GroupKey: TypeAlias = tuple[str, str]
"""Namespace and name."""

_NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PodGroupInfo:
    """What scheduling reads of a PodGroup."""

    min_count: int | None = None
    """How many pods must be placed together; None of a basic group."""


class PodGroups:
    """The groups of a cluster and their pods."""

    def __init__(self, *, gangs: bool = True) -> None:
        """Without `gangs` (the feature gate GangScheduling), every group is a basic one and holds nobody back."""
        self.infos: dict[GroupKey, PodGroupInfo] = {}
        self._gangs = gangs
        self._members: dict[GroupKey, dict[str, str]] = {}

    def members(self, key: GroupKey) -> Mapping[str, str]:
        """The group's pods that have not ended, by uid, with the node each is bound to; empty for none yet."""
        return self._members.get(key, _NOBODY)

    def see(self, key: GroupKey, uid: str, node_name: str) -> bool:
        """Learn of a pod of the group; whether it is new."""
        members = self._members.setdefault(key, {})
        is_new = uid not in members
        members[uid] = node_name
        return is_new

    def forget(self, key: GroupKey, uid: str) -> None:
        """A pod of the group has ended, or is gone."""
        members = self._members.get(key)
        if members is not None and members.pop(uid, None) is not None and not members:
            del self._members[key]

    def min_count(self, key: GroupKey) -> int:
        """How many of the group's pods need a node for any of them to get one."""
        info = self.infos.get(key) if self._gangs else None
        return 1 if info is None or info.min_count is None else info.min_count

    def why_held(self, pod: PodInfo) -> str:
        """Why the pod is not to be tried yet, in upstream's words; empty when it is."""
        if not pod.pod_group or not self._gangs:
            return ""
        key = key_of(pod)
        if key not in self.infos:
            return f'waiting for pod\'s pod group "{pod.pod_group}" to appear in scheduling queue'
        return TOO_FEW_PODS if len(self.members(key)) < self.min_count(key) else ""


def key_of(pod: PodInfo) -> GroupKey:
    """The group of a pod that has one."""
    return pod.namespace, pod.pod_group
