"""The selinux-warning controller: warns of pods that share a volume and want it labelled differently.

Off unless named, for a cluster without SELinux has nothing to warn of. Wherever the pods run: on one node only one of
them could use the volume. https://kep.k8s.io/1710
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, zip_longest
from typing import ClassVar

from keelback.api.core_v1 import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource,
    Pod,
    SELinuxOptions,
    VolumeMount,
)
from keelback.api.storage_v1 import CSIDriver
from keelback.apimachinery.meta import Object, Value, narrow, written
from keelback.client import Change
from keelback.controllers.observed import HeldMeta
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Level
from keelback.reconcile.loop import Key, Source
from keelback.reconcile.result import DONE, Result

CONFLICTS = Level(
    "selinux_warning_controller_selinux_volume_conflict",
    "Conflict between two Pods using the same volume",
    ("property", "pod1_namespace", "pod1_name", "pod1_value", "pod2_namespace", "pod2_name", "pod2_value"),
)
_RECURSIVE, _MOUNT_OPTION = "Recursive", "MountOption"
_BY_CLAIM, _BY_DRIVER = "by-claim", "by-driver"


class SecurityContextView(Value):
    se_linux_change_policy: str | None = None
    se_linux_options: SELinuxOptions | None = None


class ContainerView(Value):
    security_context: SecurityContextView | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()


class VolumeView(Value):
    name: str = ""
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    ephemeral: Value | None = None


class PodSpecView(Value):
    security_context: SecurityContextView | None = None
    containers: tuple[ContainerView, ...] = ()
    init_containers: tuple[ContainerView, ...] = ()
    volumes: tuple[VolumeView, ...] = ()


class PodStatusView(Value):
    phase: str = ""


@narrow(Pod)
class LabelledPod(Object):
    """A pod, as far as it says how its volumes are to be labelled."""

    metadata: HeldMeta = written(HeldMeta())
    spec: PodSpecView = written(PodSpecView())
    status: PodStatusView = written(PodStatusView())


@dataclass(frozen=True, slots=True)
class Use:
    """How a pod wants a volume: the label it is to be mounted with, and who changes labels that are others."""

    label: str
    policy: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """What one pod is told of another."""

    what: str
    reason: str
    pod: Key
    value: str
    other_pod: Key
    other_value: str

    @property
    def message(self) -> str:
        """The event's text; what is in other namespaces is not told."""
        if self.pod[0] == self.other_pod[0]:
            return (
                f'{self.what} "{self.value}" conflicts with pod {self.other_pod[1]} that uses the same volume as this '
                f'pod with {self.what} "{self.other_value}". If both pods land on the same node, only one of them may '
                "access the volume."
            )
        return (
            f'{self.what} "{self.value}" conflicts with another pod that uses the same volume as this pod with a '
            f"different {self.what}. If both pods land on the same node, only one of them may access the volume."
        )


def labels_differ(left: str, right: str) -> bool:
    """Whether two labels cannot be one: parts that are left to the node's defaults may be anything."""
    parts = zip_longest(left.split(":", 3), right.split(":", 3), fillvalue="")
    return any(one and other and one != other for one, other in parts)


def conflicts(uses: Mapping[Key, Use]) -> list[Conflict]:
    """What there is to tell the pods that use one volume, each of each other."""
    found = []
    for (pod, use), (other_pod, other) in permutations(sorted(uses.items()), 2):
        if use.policy != other.policy:
            reason = "SELinuxChangePolicyConflict"
            found.append(Conflict("SELinuxChangePolicy", reason, pod, use.policy, other_pod, other.policy))
        if labels_differ(use.label, other.label):
            found.append(Conflict("SELinux label", "SELinuxLabelConflict", pod, use.label, other_pod, other.label))
    return found


def labels_of(pod: LabelledPod, volume: str) -> frozenset[str]:
    """The labels with which a pod's containers use one of its volumes; not what they leave to the runtime."""
    whole = pod.spec.security_context.se_linux_options if pod.spec.security_context is not None else None
    found = set()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        own = container.security_context.se_linux_options if container.security_context is not None else None
        options = own if own is not None else whole
        if options is not None and any(mount.name == volume for mount in container.volume_mounts):
            label = ":".join((options.user, options.role, options.type, options.level))
            found.add("" if label == ":::" else label)
    return frozenset(found)


def use_of(pod: LabelledPod, label: str, *, mounts_with_label: bool) -> Use:
    """How a pod uses a volume whose driver can, or cannot, mount it with a label."""
    context = pod.spec.security_context
    policy = (context.se_linux_change_policy if context is not None else None) or _MOUNT_OPTION
    if not mounts_with_label or not label or policy == _RECURSIVE:
        return Use("", _RECURSIVE)
    return Use(label, policy)


@dataclass(frozen=True, slots=True)
class SELinuxWarningReconciler:
    """Looks at a pod when it comes or ends, its claims are bound, or their driver says something else of itself."""

    context: Context
    volumes: dict[str, dict[Key, Use]] = field(default_factory=dict)
    """Who uses each volume, by its name."""
    name: ClassVar = "selinux-warning-controller"
    role: ClassVar = "selinux-warning-controller"
    component: ClassVar = "selinux_warning"
    kind: ClassVar = LabelledPod
    owns: ClassVar = ()

    def __post_init__(self) -> None:
        self.context.metrics.at_collection(CONFLICTS, self._levels)

    def sources(self) -> Sequence[Source]:
        caches = self.context.caches
        caches.index(LabelledPod, _BY_CLAIM, _claim_keys)
        caches.index(PersistentVolume, _BY_DRIVER, _driver)
        return (
            Source(PersistentVolumeClaim, self._pods_of_claim, _is_bound_anew),
            Source(PersistentVolume, self._pods_of_volume, _has_claim_anew),
            Source(CSIDriver, self._pods_of_driver, _mounts_otherwise),
        )

    def is_relevant(self, change: Change[LabelledPod]) -> bool:
        return change.old is None or change.new is None or change.old.status.phase != change.new.status.phase

    async def reconcile(self, pod: LabelledPod) -> Result:
        key = (pod.metadata.namespace, pod.metadata.name)
        self._forget(key)
        if pod.status.phase in ("Succeeded", "Failed"):
            return DONE
        for volume, claim in _claims(pod):
            held = self._volume(pod.metadata.namespace, claim)
            if held is None:
                continue
            labels = labels_of(pod, volume)
            if len(labels) > 1:
                text = f'Volume "{volume}" is mounted twice with different SELinux labels inside this pod'
                await self.context.events.event(pod, "Warning", "MultipleSELinuxLabels", text)
                continue
            uses = self.volumes.setdefault(held.metadata.name, {})
            uses[key] = use_of(pod, next(iter(labels), ""), mounts_with_label=self._mounts_with_label(held))
            await self._tell(one for one in conflicts(uses) if key in (one.pod, one.other_pod))
        return DONE

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        self._forget((namespace, name))
        return DONE

    async def _tell(self, found: Iterable[Conflict]) -> None:
        for one in found:
            pod = self.context.caches.store(LabelledPod).get(*one.pod)
            if pod is not None:
                await self.context.events.event(pod, "Normal", one.reason, one.message)

    def _forget(self, pod: Key) -> None:
        for volume in [name for name, uses in self.volumes.items() if uses.pop(pod, None) is not None and not uses]:
            del self.volumes[volume]

    def _volume(self, namespace: str, claim: str) -> PersistentVolume | None:
        held = self.context.caches.store(PersistentVolumeClaim).get(namespace, claim)
        return None if held is None else self.context.caches.store(PersistentVolume).get("", held.spec.volume_name)

    def _mounts_with_label(self, volume: PersistentVolume) -> bool:
        if volume.spec.csi is None:
            return volume.spec.iscsi is not None or volume.spec.fc is not None
        driver = self.context.caches.store(CSIDriver).get("", volume.spec.csi.driver)
        return driver is not None and driver.spec.se_linux_mount

    def _levels(self) -> dict[tuple[str, ...], float]:
        found = (one for uses in self.volumes.values() for one in conflicts(uses))
        return {(one.what, *one.pod, one.value, *one.other_pod, one.other_value): 1.0 for one in found}

    def _pods_of_claim(self, claim: PersistentVolumeClaim) -> list[Key]:
        return self._pods(claim.metadata.namespace, claim.metadata.name)

    def _pods_of_volume(self, volume: PersistentVolume) -> list[Key]:
        claim = volume.spec.claim_ref
        return [] if claim is None else self._pods(claim.namespace, claim.name)

    def _pods_of_driver(self, driver: CSIDriver) -> list[Key]:
        volumes = self.context.caches.store(PersistentVolume).by_index(_BY_DRIVER, driver.metadata.name)
        return [key for one in volumes for key in self._pods_of_volume(one)]

    def _pods(self, namespace: str, claim: str) -> list[Key]:
        users = self.context.caches.store(LabelledPod).by_index(_BY_CLAIM, (namespace, claim))
        return [(one.metadata.namespace, one.metadata.name) for one in users]


def _claims(pod: LabelledPod) -> list[tuple[str, str]]:
    """The pod's volumes that are claims, each with the claim's name."""
    volumes = pod.spec.volumes
    named = [(one.name, one.persistent_volume_claim.claim_name) for one in volumes if one.persistent_volume_claim]
    made = [(one.name, f"{pod.metadata.name}-{one.name}") for one in pod.spec.volumes if one.ephemeral is not None]
    return named + made


def _claim_keys(pod: LabelledPod) -> list[Key]:
    return [(pod.metadata.namespace, claim) for _, claim in _claims(pod)]


def _driver(volume: PersistentVolume) -> list[str]:
    return [] if volume.spec.csi is None else [volume.spec.csi.driver]


def _is_bound_anew(change: Change[PersistentVolumeClaim]) -> bool:
    if change.old is None or change.new is None:
        return True
    return change.old.spec.volume_name != change.new.spec.volume_name


def _has_claim_anew(change: Change[PersistentVolume]) -> bool:
    if change.old is None or change.new is None:
        return True
    before, after = change.old.spec.claim_ref, change.new.spec.claim_ref
    return (before and before.uid) != (after and after.uid)


def _mounts_otherwise(change: Change[CSIDriver]) -> bool:
    before = change.old is not None and change.old.spec.se_linux_mount
    after = change.new is not None and change.new.spec.se_linux_mount
    return before != after
