"""How many of the pods on each node a selector picks, and which affinity terms they carry: counted as pods come and go.

Nobody looks at the pods of a node to place another: a count is a column, made when first asked for and kept current.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from keelback.scheduling.columns import Column, LabelColumn, Rows
from keelback.scheduling.pod_info import AffinityTerm, PodInfo, PodMatcher

Counts: TypeAlias = npt.NDArray[np.float64]

_MOST_COUNTERS: Final = 4096
_MOST_SHAPES: Final = 20_000


@dataclass(frozen=True, slots=True)
class CountKey:
    """The pods that every matcher picks; with or without those being deleted."""

    matchers: tuple[PodMatcher, ...]
    with_terminating: bool

    @property
    def namespace(self) -> str | None:
        """The one namespace that pods can be of, or None when it takes more to know."""
        first = self.matchers[0]
        if first.namespace_selector is None and len(first.namespaces) == 1:
            return next(iter(first.namespaces))
        return None

    @property
    def reads_namespaces(self) -> bool:
        """Whether namespaces' labels decide."""
        return any(matcher.namespace_selector is not None for matcher in self.matchers)


class TermKind(enum.Enum):
    """How a term of a pod that already runs bears on one that does not."""

    ANTI_AFFINITY_REQUIRED = enum.auto()
    AFFINITY_REQUIRED = enum.auto()
    PREFERRED = enum.auto()


@dataclass(frozen=True, slots=True)
class ExistingTerm:
    """A term that pods on nodes carry; its weight is negative for preferred anti-affinity."""

    kind: TermKind
    term: AffinityTerm
    weight: int = 1


@dataclass(slots=True)
class Tally:
    """How many pods there are of a sort: on each node, and in each domain of the topologies that were asked about."""

    column: Column
    total: int = 0
    domains: list[tuple[LabelColumn, Counts]] = field(default_factory=list)

    @property
    def by_node(self) -> Counts:
        """How many each row has. Not to be changed."""
        return self.column.values

    def add(self, row: int, number: int) -> None:
        """Count pods of one node in, or out."""
        self.column.data[row] += number
        self.total += number
        for label, sums in self.domains:
            sums[label.column.data[row]] += number


@dataclass(slots=True)
class _Group:
    # All pods that no selector can tell apart.
    namespace: str
    labels: Mapping[str, str]
    terminating: bool
    by_node: dict[str, int] = field(default_factory=dict)
    tallies: dict[CountKey, Tally] = field(default_factory=dict)


_GroupKey = tuple[tuple[str, frozenset[tuple[str, str]]], bool]


class PodCounts:
    """The counts over all nodes of a table."""

    def __init__(self, rows: Rows, row_of: Mapping[str, int]) -> None:
        self._rows = rows
        self._row_of = row_of
        self._groups: dict[_GroupKey, _Group] = {}
        self._counters: OrderedDict[CountKey, Tally] = OrderedDict()
        self._by_domain: list[Tally] = []
        """Those that know how many there are in some domains."""
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self.terms: dict[ExistingTerm, Tally] = {}
        self._terms_picking: dict[PodInfo, list[ExistingTerm]] = {}

    def matching(self, key: CountKey) -> Tally:
        """How many pods the key picks, and where."""
        tally = self._counters.get(key)
        if tally is None:
            tally = self._count(key)
        else:
            self._counters.move_to_end(key)
        return tally

    def by_domain(self, tally: Tally, label: LabelColumn) -> Counts:
        """How many there are in each domain of a topology, by the number of the label's value; kept current from then
        on, until nodes' labels change. Not to be changed."""
        for known, sums in tally.domains:
            if known is label:
                return sums
        sums = label.sums(tally.by_node)
        if not tally.domains:
            self._by_domain.append(tally)
        tally.domains.append((label, sums))
        return sums

    def forget_domains(self) -> None:
        """Nodes are about to be in other domains than they were."""
        for tally in self._by_domain:
            tally.domains.clear()
        self._by_domain.clear()

    def terms_picking(self, info: PodInfo) -> list[ExistingTerm]:
        """The terms carried by pods on nodes that pick a pod of this shape."""
        info = info.shape
        found = self._terms_picking.get(info)
        if found is None:
            if len(self._terms_picking) >= _MOST_SHAPES:
                self._terms_picking.clear()
            labels = self.namespace_labels(info.namespace)
            found = self._terms_picking[info] = [
                existing for existing in self.terms if existing.term.matcher.picks(info.namespace, info.labels, labels)
            ]
        return found

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace, as far as known."""
        return self._namespaces.get(namespace, {})

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Learn a namespace's labels, or (None) that it is gone; whether that changed anything."""
        if self._namespaces.get(name) == labels:
            return False
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = labels
        for key in [key for key in self._counters if key.reads_namespaces]:
            self._forget(key)
        self._terms_picking.clear()
        return True

    def add(self, info: PodInfo, terminating: bool, node_name: str, row: int) -> None:
        """Count a pod in."""
        key = (info.group, terminating)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(info.namespace, info.labels, terminating)
            group.tallies = {counted: tally for counted, tally in self._counters.items() if self._picks(counted, group)}
        group.by_node[node_name] = group.by_node.get(node_name, 0) + 1
        for tally in group.tallies.values():
            tally.add(row, 1)
        for term in carried_terms(info):
            use = self.terms.get(term)
            if use is None:
                use = self.terms[term] = Tally(self._rows.column(np.float64))
                self._terms_picking.clear()
            use.add(row, 1)

    def remove(self, info: PodInfo, terminating: bool, node_name: str, row: int) -> None:
        """Count a pod out, as it was counted in."""
        key = (info.group, terminating)
        group = self._groups[key]
        for tally in group.tallies.values():
            tally.add(row, -1)
        left = group.by_node[node_name] - 1
        if left:
            group.by_node[node_name] = left
        else:
            del group.by_node[node_name]
            if not group.by_node:
                del self._groups[key]
        for term in carried_terms(info):
            use = self.terms[term]
            use.add(row, -1)
            if not use.total:
                self._rows.drop(use.column)
                del self.terms[term]
                self._terms_picking.clear()

    def _count(self, key: CountKey) -> Tally:
        tally = self._counters[key] = Tally(self._rows.column(np.float64))
        for group in self._groups.values():
            if self._picks(key, group):
                group.tallies[key] = tally
                for node_name, number in group.by_node.items():
                    tally.add(self._row_of[node_name], number)
        if len(self._counters) > _MOST_COUNTERS:
            self._forget(next(iter(self._counters)))
        return tally

    def _forget(self, key: CountKey) -> None:
        self._rows.drop(self._counters.pop(key).column)
        for group in self._groups.values():
            group.tallies.pop(key, None)

    def _picks(self, key: CountKey, group: _Group) -> bool:
        if group.terminating and not key.with_terminating:
            return False
        # Most counters are of one namespace: most groups are ruled out by one comparison.
        only = key.namespace
        if only is not None and only != group.namespace:
            return False
        labels = self.namespace_labels(group.namespace)
        return all(matcher.picks(group.namespace, group.labels, labels) for matcher in key.matchers)


def carried_terms(info: PodInfo) -> list[ExistingTerm]:
    """The terms that a pod of this shape brings to the node it runs on."""
    if not (info.anti_affinity_required or info.affinity_required or info.affinity_preferred):
        return []
    return [
        *(ExistingTerm(TermKind.ANTI_AFFINITY_REQUIRED, term) for term in info.anti_affinity_required),
        *(ExistingTerm(TermKind.AFFINITY_REQUIRED, term) for term in info.affinity_required),
        *(ExistingTerm(TermKind.PREFERRED, term, weight) for weight, term in info.affinity_preferred),
    ]
