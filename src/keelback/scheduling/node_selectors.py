"""Which nodes selectors pick: answered for all nodes at once, one label's column after the other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from keelback.scheduling.label_selectors import Selector
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable

Mask: TypeAlias = npt.NDArray[np.bool_]


def selector_mask(nodes: NodeTable, selector: NodeSelector) -> Mask:
    """Which nodes any term of the selector picks."""
    mask = np.zeros(len(nodes), np.bool_)
    for term in selector.node_selector_terms:
        mask |= term_mask(nodes, term)
    return mask


def picks(node: NodeInfo, selector: NodeSelector) -> bool:
    """Whether any term of the selector picks this node."""
    return any(_term_picks(node, term) for term in selector.node_selector_terms)


def _term_picks(node: NodeInfo, term: NodeSelectorTerm) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    return api_nodes.matches_requirements(node.labels, term.match_expressions) and all(
        _is_about_name(one) and api_nodes.holds(node.name, one.operator, one.values) for one in term.match_fields
    )


def _is_about_name(requirement: NodeSelectorRequirement) -> bool:
    return requirement.key == "metadata.name" and requirement.operator in ("In", "NotIn")


def term_mask(nodes: NodeTable, term: NodeSelectorTerm) -> Mask:
    """Which nodes a term picks: none if it is empty."""
    if not term.match_expressions and not term.match_fields:
        return np.zeros(len(nodes), np.bool_)
    mask = np.ones(len(nodes), np.bool_)
    for requirement in term.match_expressions:
        mask &= _requirement_mask(nodes, requirement)
    for requirement in term.match_fields:
        mask &= _name_mask(nodes, requirement)
    return mask


def requirements_mask(nodes: NodeTable, selector: Selector) -> Mask:
    """Which nodes a label selector picks."""
    if selector is None:
        return np.zeros(len(nodes), np.bool_)
    mask = np.ones(len(nodes), np.bool_)
    for one in selector:
        mask &= _requirement_mask(nodes, NodeSelectorRequirement(key=one.key, operator=one.operator, values=one.values))
    return mask


def values_mask(nodes: NodeTable, key: str, values: tuple[str, ...]) -> Mask:
    """Which nodes have a label with one of the values."""
    label = nodes.labels.get(key)
    numbers = [label.numbers[value] for value in values if value in label.numbers] if label else []
    if label is None or not numbers:
        return np.zeros(len(nodes), np.bool_)
    if len(numbers) == 1:
        return np.equal(label.ids, numbers[0])
    return np.isin(label.ids, numbers)


def _requirement_mask(nodes: NodeTable, requirement: NodeSelectorRequirement) -> Mask:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    label = nodes.labels.get(key)
    if label is None:
        return np.full(len(nodes), api_nodes.holds(None, operator, values))
    match operator:
        case "In":
            return values_mask(nodes, key, values)
        case "NotIn":
            return ~values_mask(nodes, key, values)
        case "Exists":
            return np.not_equal(label.ids, 0)
        case "DoesNotExist":
            return np.equal(label.ids, 0)
        case _:
            # Comparisons look at each distinct value once.
            by_value = [False, *(api_nodes.holds(value, operator, values) for value in label.names[1:])]
            mask: Mask = np.array(by_value)[label.ids]
            return mask


def _name_mask(nodes: NodeTable, requirement: NodeSelectorRequirement) -> Mask:
    mask = np.zeros(len(nodes), np.bool_)
    if not _is_about_name(requirement):
        return mask
    for name in requirement.values:
        row = nodes.row_of.get(name)
        if row is not None:
            mask[row] = True
    return mask if requirement.operator == "In" else ~mask
