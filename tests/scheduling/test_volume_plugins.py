"""The volume plugins over columns say what a plain scheduler says that looks at one node at a time."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import (
    AWSElasticBlockStoreVolumeSource,
    GCEPersistentDiskVolumeSource,
    ISCSIVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    RBDVolumeSource,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import label_selectors
from keelback.scheduling.cluster_objects import (
    AttachedVolume,
    CapacityInfo,
    ClaimInfo,
    ClassInfo,
    ClusterObjects,
    VolumeInfo,
)
from keelback.scheduling.framework import EVERY, CycleState, FilterPlugin, Unschedulable
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.node_volume_limits import NodeVolumeLimits
from keelback.scheduling.pod_info import PodInfo, PodShapes
from keelback.scheduling.pod_to_place import ClaimSource, PodToPlace, SpecToPlace, VolumeToPlace
from keelback.scheduling.volume_binding import VolumeBinding
from keelback.scheduling.volume_restrictions import VolumeRestrictions
from keelback.scheduling.volume_zone import TOPOLOGY_LABELS, VolumeZone

EBS, EBS_PLUGIN = "ebs.csi.aws.com", "kubernetes.io/aws-ebs"
OLD_ZONE, ZONE = TOPOLOGY_LABELS[0], api_nodes.ZONE


class World:
    """A random cluster with little but storage in it."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.table, self.objects, self.shapes = NodeTable(), ClusterObjects(), PodShapes()
        self.placed: list[tuple[str, PodInfo]] = []
        for number in range(chance.randint(1, 5)):
            labels = {key: chance.choice("ab") for key in (ZONE, OLD_ZONE) if chance.random() < 0.6}
            self.table.set_info(NodeInfo(f"n{number}", labels, allocatable={"pods": 9}))
            limits = {driver: chance.randint(0, 3) for driver in ("disk", "net", EBS) if chance.random() < 0.6}
            migrated = frozenset((EBS_PLUGIN,) if chance.random() < 0.5 else ())
            self.objects.set_node_drivers(f"n{number}", limits, migrated)
            for attached in range(chance.randint(0, 2)):
                self.objects.set_attachment(f"n{number}", f"a{number}-{attached}", self._attachment())
        self._classes()
        for number in range(6):
            self._volume(f"pv{number}")
        for number in range(6):
            self._claim(f"c{number}")
        for number in range(chance.randint(0, 6)):
            node, info = chance.choice(self.table.nodes).name, self.pod()
            self.placed.append((node, info))
            self.table.add_pod(PlacedPod(f"u{number}", "default", f"p{number}", node, info))
        if self.placed and chance.random() < 0.5:
            # Pods that leave are counted out.
            node, _ = self.placed.pop(0)
            self.table.remove_pod(node, "u0")

    def pod(self) -> PodInfo:
        claims = [f"c{self.chance.randint(0, 5)}" for _ in range(self.chance.randint(0, 3))]
        volumes = [VolumeToPlace(persistent_volume_claim=ClaimSource(claim_name=claim)) for claim in claims]
        volumes += [self._inline() for _ in range(self.chance.choice((0, 0, 0, 1, 2)))]
        return self.shapes.of(
            PodToPlace(metadata=ObjectMeta(namespace="default"), spec=SpecToPlace(volumes=tuple(volumes)))
        )

    def _inline(self) -> VolumeToPlace:
        chance, read_only = self.chance, self.chance.random() < 0.6
        match chance.randint(0, 3):
            case 0:
                ebs = AWSElasticBlockStoreVolumeSource(volume_id=chance.choice("xy"), read_only=read_only)
                return VolumeToPlace(aws_elastic_block_store=ebs)
            case 1:
                disk = GCEPersistentDiskVolumeSource(pd_name=chance.choice("xy"), read_only=read_only)
                return VolumeToPlace(gce_persistent_disk=disk)
            case 2:
                return VolumeToPlace(iscsi=ISCSIVolumeSource(iqn=chance.choice("xy"), read_only=read_only))
            case _:
                monitors = tuple(chance.sample(("m1", "m2", "m3"), chance.randint(1, 2)))
                rbd = RBDVolumeSource(monitors=monitors, pool="p", image=chance.choice("xy"), read_only=read_only)
                return VolumeToPlace(rbd=rbd)

    def _attachment(self) -> AttachedVolume:
        if self.chance.random() < 0.6:
            return AttachedVolume(f"pv{self.chance.randint(0, 7)}")
        return AttachedVolume("", EBS, self.chance.choice("xyz"), EBS_PLUGIN)

    def _classes(self) -> None:
        chance, objects = self.chance, self.objects
        topologies = ((), (((ZONE, ("a",)),),), (((ZONE, ("a", "b")), (OLD_ZONE, ("b",))), ()))
        objects.classes["local"] = ClassInfo(True, False, "kubernetes.io/no-provisioner")
        for driver in ("disk", "net"):
            objects.classes[driver] = ClassInfo(True, True, driver, chance.choice(topologies))
            if chance.random() < 0.5:
                objects.drivers_with_capacity[driver] = True
            for number in range(chance.randint(0, 2)):
                selector = chance.choice((None, (), label_selectors.equals({ZONE: chance.choice("ab")})))
                info = CapacityInfo(driver, selector, chance.randint(-1, 3))
                objects.capacities[("default", f"{driver}-{number}")] = info

    def _volume(self, name: str) -> None:
        chance = self.chance
        affinity = None
        if chance.random() < 0.4:
            requirement = NodeSelectorRequirement(key=ZONE, operator="In", values=(chance.choice("ab"),))
            affinity = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(requirement,)),))
        self.objects.volumes[name] = VolumeInfo(
            node_affinity=affinity,
            storage_class=chance.choice(("local", "disk")),
            access_modes=("ReadWriteOnce",),
            storage_bytes=chance.randint(1, 3),
            labels={key: chance.choice(("a", "b", "a__b")) for key in (ZONE, OLD_ZONE) if chance.random() < 0.3},
            claim=chance.choice((None, None, None, ("default", "c0"))),
            volume_mode=chance.choice(("Filesystem", "Filesystem", "Block")),
            driver=chance.choice(("", "disk", "net")),
            handle=chance.choice(("one", "two", name)),
        )

    def _claim(self, name: str) -> None:
        chance = self.chance
        bound = chance.random() < 0.5
        self.objects.claims[("default", name)] = ClaimInfo(
            volume_name=f"pv{chance.randint(0, 6)}" if bound else "",
            storage_class=chance.choice(("local", "disk", "net")),
            access_modes=("ReadWriteOncePod",) if chance.random() < 0.2 else ("ReadWriteOnce",),
            storage_bytes=chance.randint(1, 3),
            is_bound=bound,
            selected_node="n0" if not bound and chance.random() < 0.2 else "",
        )


def inline_ebs(pod: PodInfo) -> set[tuple[str, str] | None]:
    return {(EBS, key[1]) for key, _ in pod.disks if key[0] == "aws"}


class Oracle:
    """Upstream's algorithms for one node."""

    def __init__(self, world: World, pod: PodInfo) -> None:
        self.world, self.objects, self.pod = world, world.objects, pod
        self.claims = {name: self.objects.claims[("default", name)] for name in pod.claims}

    def volume_restrictions(self, node: NodeInfo) -> list[str]:
        for where, pod in self.world.placed:
            for disk, read_only in pod.disks if where == node.name else ():
                if any(disk == other and not (read_only and only) for other, only in self.pod.disks):
                    return ["node(s) had no available disk"]
        for name, claim in self.claims.items():
            if "ReadWriteOncePod" in claim.access_modes and any(name in pod.claims for _, pod in self.world.placed):
                return ["node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"]
        return []

    def attached(self, name: str) -> tuple[str, str] | None:
        claim = self.objects.claims[("default", name)]
        if claim.volume_name in self.objects.volumes:
            volume = self.objects.volumes[claim.volume_name]
            return (volume.driver, volume.handle) if volume.driver else None
        return self.objects.classes[claim.storage_class].provisioner, f"default/{name}"

    def known(self, attached: AttachedVolume) -> tuple[str, str] | None:
        volume = self.objects.volumes.get(attached.volume_name)
        if volume is not None:
            return (volume.driver, volume.handle) if volume.driver else None
        return (attached.driver, attached.handle) if attached.driver else None

    def node_volume_limits(self, node: NodeInfo) -> list[str]:
        limits = self.objects.volume_limits.get(node.name, {})
        here = {self.attached(name) for where, pod in self.world.placed if where == node.name for name in pod.claims}
        here |= {self.known(one) for one in self.objects.attachments.get(node.name, {}).values()}
        new = {self.attached(name) for name in self.claims}
        if EBS_PLUGIN in self.objects.migrated_plugins.get(node.name, ()):
            here |= {ebs for where, pod in self.world.placed if where == node.name for ebs in inline_ebs(pod)}
            new |= inline_ebs(self.pod)
        else:
            here = {one for one in here if one is None or one[0] != EBS}
        new -= here
        for driver in {one[0] for one in new if one is not None}:
            total = sum(one is not None and one[0] == driver for one in here | new)
            if driver in limits and total > limits[driver]:
                return ["node(s) exceed max volume count"]
        return []

    def volume_zone(self, node: NodeInfo) -> list[str]:
        if not any(key in node.labels for key in TOPOLOGY_LABELS):
            return []
        for claim in self.claims.values():
            volume = self.objects.volumes.get(claim.volume_name)
            for key, value in volume.labels.items() if volume is not None else ():
                mine = node.labels.get(key, node.labels.get(ZONE) if key == OLD_ZONE else None)
                if mine is None or mine not in value.split("__"):
                    return ["node(s) had no available volume zone"]
        return []

    def reachable(self, volume: VolumeInfo, node: NodeInfo) -> bool:
        return volume.node_affinity is None or api_nodes.matches(node.name, node.labels, volume.node_affinity)

    def suits(self, name: str, claim: ClaimInfo, volume: VolumeInfo, node: NodeInfo) -> bool:
        return (
            not claim.selected_node
            and volume.claim in (None, ("default", name))
            and volume.storage_class == claim.storage_class
            and volume.volume_mode == claim.volume_mode
            and volume.storage_bytes >= claim.storage_bytes
            and set(claim.access_modes) <= set(volume.access_modes)
            and self.reachable(volume, node)
        )

    def volume_binding(self, node: NodeInfo) -> list[str]:
        reasons = set()
        chosen: set[str] = set()
        for name, claim in sorted(self.claims.items(), key=lambda one: one[1].storage_bytes):
            if claim.is_bound:
                volume = self.objects.volumes.get(claim.volume_name)
                if volume is None:
                    reasons.add("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
                elif not self.reachable(volume, node):
                    reasons.add("node(s) didn't match PersistentVolume's node affinity")
                continue
            found = sorted(
                (volume.claim is None, volume.storage_bytes, pv)
                for pv, volume in self.objects.volumes.items()
                if pv not in chosen and self.suits(name, claim, volume, node)
            )
            if found:
                chosen.add(found[0][2])
            else:
                reasons |= self.provision(claim, node)
        return sorted(reasons)

    def provision(self, claim: ClaimInfo, node: NodeInfo) -> set[str]:
        nothing = {"node(s) didn't find available persistent volumes to bind"}
        made_by = self.objects.classes[claim.storage_class]
        if not made_by.provisions or (claim.selected_node and claim.selected_node != node.name):
            return nothing
        if claim.selected_node:
            return set()
        if made_by.allowed_topologies and not any(
            term and all(node.labels.get(key) in values for key, values in term) for term in made_by.allowed_topologies
        ):
            return nothing
        if made_by.provisioner not in self.objects.drivers_with_capacity:
            return set()
        for one in self.objects.capacities.values():
            if (
                one.storage_class == claim.storage_class
                and one.largest_bytes >= claim.storage_bytes
                and label_selectors.picks(one.node_topology, node.labels)
            ):
                return set()
        return {"node(s) did not have enough free storage"}


@settings(max_examples=800, deadline=None)
@given(st.integers(0, 2**32))
def test_columns_say_what_the_plain_scheduler_says(seed: int) -> None:
    world = World(seed)
    pod = world.pod()
    oracle = Oracle(world, pod)
    plugins: tuple[tuple[FilterPlugin, object], ...] = (
        (VolumeRestrictions(), oracle.volume_restrictions),
        (NodeVolumeLimits(), oracle.node_volume_limits),
        (VolumeZone(), oracle.volume_zone),
    )
    for plugin, expected in plugins:
        assert said(plugin, world, pod) == {node.name: expected(node) for node in world.table.nodes}, plugin.name  # type: ignore[operator]
    binding = said(VolumeBinding(), world, pod)
    for node in world.table.nodes:
        wanted = oracle.volume_binding(node)
        # Which reasons a node gets that is out of the question for several may differ, whether it is may not.
        assert bool(binding[node.name]) == bool(wanted), node.name
        if len(wanted) == 1 and len(oracle.claims) == 1:
            assert binding[node.name] == wanted


def said(plugin: FilterPlugin, world: World, pod: PodInfo) -> dict[str, list[str]]:
    state = CycleState(world.objects)
    mask = plugin.filter(state, pod, world.table, EVERY)
    found: dict[str, list[str]] = {}
    for row, node in enumerate(world.table.nodes):
        answer = Unschedulable(()) if mask is None or mask[row] else plugin.why_not(state, pod, world.table, row)
        found[node.name] = list(answer.reasons)
        assert mask is None or mask[row] or plugin.remedies(state, pod, world.table, row)  # type: ignore[attr-defined]
    return found


def test_two_claims_of_one_pod_do_not_get_the_same_volume() -> None:
    world = World(0)
    objects = world.objects
    objects.volumes = {"pv": VolumeInfo(storage_class="local", storage_bytes=9)}
    for name, size in itertools.product(("c0", "c1"), (5,)):
        objects.claims[("default", name)] = ClaimInfo(storage_class="local", storage_bytes=size)
    volumes = tuple(VolumeToPlace(persistent_volume_claim=ClaimSource(claim_name=name)) for name in ("c0", "c1"))
    pod = world.shapes.of(
        PodToPlace(metadata=ObjectMeta(namespace="default"), spec=SpecToPlace(volumes=tuple(volumes)))
    )
    reasons = ["node(s) didn't find available persistent volumes to bind"]
    assert set(map(tuple, said(VolumeBinding(), world, pod).values())) == {tuple(reasons)}
