"""Nodes: readiness, addresses, and which of them a selector picks."""

from __future__ import annotations

import pytest

from keelback.api import nodes
from keelback.api.core_v1 import (
    Affinity,
    Node,
    NodeAddress,
    NodeAffinity,
    NodeCondition,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeStatus,
)


def requirement(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=(NodeSelectorRequirement(key=key, operator=operator, values=values),))


@pytest.mark.parametrize(
    ("term", "picks"),
    [
        (requirement("disk", "In", "ssd", "nvme"), True),
        (requirement("disk", "NotIn", "ssd"), False),
        (requirement("missing", "NotIn", "ssd"), True),
        (requirement("disk", "Exists"), True),
        (requirement("missing", "DoesNotExist"), True),
        (requirement("size", "Gt", "9"), True),
        (requirement("size", "Lt", "9"), False),
        (requirement("disk", "Gt", "9"), False),
        (NodeSelectorTerm(), False),
        (
            NodeSelectorTerm(
                match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=("n1",)),)
            ),
            True,
        ),
    ],
)
def test_a_term_picks_nodes_by_labels_and_name(term: NodeSelectorTerm, picks: bool) -> None:
    assert nodes.matches_term("n1", {"disk": "ssd", "size": "10"}, term) is picks


def test_the_node_selector_and_the_required_affinity_must_both_pick() -> None:
    required = NodeSelector(node_selector_terms=(requirement("disk", "In", "hdd"), requirement("disk", "In", "ssd")))
    affinity = Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))
    assert nodes.selected_by("n1", {"disk": "ssd", "zone": "a"}, {"zone": "a"}, affinity)
    assert not nodes.selected_by("n1", {"disk": "ssd", "zone": "b"}, {"zone": "a"}, affinity)
    assert not nodes.selected_by("n1", {"disk": "tape", "zone": "a"}, {"zone": "a"}, affinity)
    assert nodes.selected_by("n1", {}, {}, None)


def test_readiness_and_addresses_are_read_from_the_status() -> None:
    status = NodeStatus(
        conditions=(NodeCondition(type="Ready", status="True"),),
        addresses=(NodeAddress(type="Hostname", address="n1"), NodeAddress(type="InternalIP", address="10.0.0.1")),
    )
    node = Node(status=status)
    assert nodes.is_ready(node)
    assert nodes.address(node) == "10.0.0.1"
    assert not nodes.is_ready(Node())
    assert nodes.address(Node()) == ""
