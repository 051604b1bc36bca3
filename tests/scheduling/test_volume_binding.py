"""Claims: bound ones tie a pod to where their volume is, unbound ones to where one can be had."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import builtin, volume_binding
from keelback.scheduling.cluster_objects import ClaimInfo, ClassInfo, ClusterObjects, VolumeInfo
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.label_selectors import picks
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo, PodShapes
from keelback.scheduling.pod_to_place import ClaimSource, PodToPlace, SpecToPlace, VolumeToPlace

SHAPES = PodShapes()
BOUND = ClaimInfo(volume_name="pv", is_bound=True, phase="Bound")


def using(*claims: str) -> PodInfo:
    volumes = tuple(VolumeToPlace(persistent_volume_claim=ClaimSource(claim_name=claim)) for claim in claims)
    return SHAPES.of(PodToPlace(metadata=ObjectMeta(namespace="default"), spec=SpecToPlace(volumes=volumes)))


def in_zone(zone: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key="zone", operator="In", values=(zone,))
    return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(requirement,)),))


class World:
    """Two nodes, one in each zone."""

    def __init__(self) -> None:
        self.table, self.objects = NodeTable(), ClusterObjects()
        for zone in ("a", "b"):
            self.table.set_info(NodeInfo(f"n-{zone}", {"zone": zone}, allocatable={"pods": 10}))
        self.evaluator = Evaluator(builtin.DEFAULT, self.table, self.objects)

    def feasible(self, pod: PodInfo) -> set[str]:
        mask = self.evaluator.feasible(pod)
        return {node.name for node, fits in zip(self.table.nodes, mask, strict=True) if fits}

    def message(self, pod: PodInfo) -> str:
        assert self.evaluator.choose(pod, random.Random(1)) is None
        return self.evaluator.explain(pod).message()


def test_a_bound_claim_ties_the_pod_to_where_its_volume_is() -> None:
    world = World()
    world.objects.claims[("default", "data")] = BOUND
    world.objects.volumes["pv"] = VolumeInfo(node_affinity=in_zone("b"))
    assert world.feasible(using("data")) == {"n-b"}
    world.objects.volumes["pv"] = VolumeInfo(node_affinity=in_zone("c"))
    assert world.message(using("data")) == (
        "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."
    )


def test_a_claim_that_waits_needs_a_volume_or_a_provisioner() -> None:
    world = World()
    world.objects.classes["local"] = ClassInfo(waits_for_consumer=True, provisions=False)
    world.objects.claims[("default", "data")] = ClaimInfo(storage_class="local", storage_bytes=10)
    assert world.message(using("data")) == (
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    )
    world.objects.volumes["pv"] = VolumeInfo(in_zone("a"), "local", storage_bytes=10)
    assert world.feasible(using("data")) == {"n-a"}
    world.objects.classes["local"] = ClassInfo(waits_for_consumer=True, provisions=True)
    assert world.feasible(using("data")) == {"n-a", "n-b"}


def test_what_is_wrong_with_the_claim_itself_is_said_for_all_nodes() -> None:
    world = World()
    assert world.message(using("data")) == '0/2 nodes are available: persistentvolumeclaim "data" not found.'
    world.objects.claims[("default", "data")] = ClaimInfo(terminating=True)
    assert world.message(using("data")) == '0/2 nodes are available: persistentvolumeclaim "data" is being deleted.'
    world.objects.claims[("default", "data")] = ClaimInfo(storage_class="fast")
    assert world.message(using("data")) == (
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    )


def test_a_claim_for_one_pod_is_used_by_one_pod() -> None:
    world = World()
    claim = ClaimInfo(volume_name="pv", is_bound=True, access_modes=("ReadWriteOncePod",))
    world.objects.claims[("default", "data")] = claim
    world.objects.volumes["pv"] = VolumeInfo()
    pod = using("data")
    assert world.feasible(pod) == {"n-a", "n-b"}
    world.table.add_pod(PlacedPod("u", "default", "p", "n-a", pod))
    assert world.message(pod) == (
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and "
        "ReadWriteOncePod access mode."
    )
    world.table.remove_pod("n-a", "u")
    assert world.feasible(pod) == {"n-a", "n-b"}


VOLUMES = st.builds(
    VolumeInfo,
    node_affinity=st.sampled_from((None, in_zone("a"), in_zone("b"))),
    storage_class=st.sampled_from(("local", "other")),
    phase=st.sampled_from(("Available", "Bound")),
    access_modes=st.sampled_from((("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany"))),
    storage_bytes=st.integers(1, 3),
    labels=st.sampled_from(({}, {"speed": "high"})),
    claim=st.sampled_from((None, ("default", "data"), ("default", "other"))),
)


@given(st.lists(VOLUMES, max_size=5), st.integers(1, 3), st.sampled_from(("ReadWriteOnce", "ReadOnlyMany")))
def test_the_best_fitting_volume_is_chosen_exactly_where_the_filter_says_yes(
    volumes: list[VolumeInfo], wanted: int, mode: str
) -> None:
    world = World()
    world.objects.classes["local"] = ClassInfo(waits_for_consumer=True, provisions=False)
    claim = ClaimInfo(storage_class="local", storage_bytes=wanted, access_modes=(mode,))
    world.objects.claims[("default", "data")] = claim
    world.objects.volumes.update({f"pv{number}": volume for number, volume in enumerate(volumes)})
    for row, node in enumerate(world.table.nodes):
        fitting = [
            (volume.claim is None, volume.storage_bytes)
            for volume in volumes
            if volume.phase == "Available"
            and volume.claim in (None, ("default", "data"))
            and volume.storage_class == "local"
            and volume.storage_bytes >= wanted
            and mode in volume.access_modes
            and picks((), volume.labels)
            and volume.node_affinity in (None, in_zone(node.labels["zone"]))
        ]
        key = ("default", "data")
        name = volume_binding.choose_volumes(world.objects, [(key, claim)], world.table, row)[key]
        assert (node.name in world.feasible(using("data"))) == bool(fitting)
        found = world.objects.volumes[name] if name else None
        # A volume that is reserved for the claim comes first.
        best = (found.claim is None, found.storage_bytes) if found is not None else None
        assert best == min(fitting, default=None)
