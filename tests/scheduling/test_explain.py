"""What is said of nodes that were never looked at, and of a pod that insists on one."""

from __future__ import annotations

import random

from keelback.api.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import builtin
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import compile_pod
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace


def evaluator() -> Evaluator:
    table = NodeTable()
    for name in ("n1", "n2", "n3"):
        table.set_info(NodeInfo(name, allocatable={"cpu": 1000, "pods": 10}))
    return Evaluator(builtin.DEFAULT, table, ClusterObjects())


def pod_of_a_daemon(*names: str, cpu: str = "2") -> PodToPlace:
    terms = tuple(
        NodeSelectorTerm(match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=(name,)),))
        for name in names
    )
    required = NodeSelector(node_selector_terms=terms)
    resources = ResourceRequirements(requests={"cpu": cpu})
    return PodToPlace(
        metadata=ObjectMeta(namespace="default"),
        spec=SpecToPlace(
            affinity=Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required)),
            containers=(ContainerToPlace(resources=resources),),
        ),
    )


def test_nodes_that_a_daemons_pod_does_not_name_are_not_looked_at() -> None:
    assert evaluator().explain(compile_pod(pod_of_a_daemon("n2"))).message() == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    assert evaluator().choose(compile_pod(pod_of_a_daemon("n2", cpu="1")), random.Random(1)) == "n2"


def test_terms_that_exclude_each_other_are_said_once() -> None:
    fields = tuple(NodeSelectorRequirement(key="metadata.name", operator="In", values=(name,)) for name in ("n1", "n2"))
    pod = pod_of_a_daemon()
    required = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_fields=fields),))
    affinity = Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))
    info = compile_pod(PodToPlace(metadata=pod.metadata, spec=SpecToPlace(affinity=affinity)))
    assert evaluator().explain(info).message() == "0/3 nodes are available: pod affinity terms conflict."


def test_a_pod_that_insists_on_a_node_fits_no_other() -> None:
    info = compile_pod(PodToPlace(metadata=ObjectMeta(namespace="default")), node_name="n3")
    assert evaluator().choose(info, random.Random(1)) == "n3"
    nowhere = compile_pod(PodToPlace(metadata=ObjectMeta(namespace="default")), node_name="gone")
    assert evaluator().explain(nowhere).message() == (
        "0/3 nodes are available: 3 node(s) didn't match the requested node name."
    )
