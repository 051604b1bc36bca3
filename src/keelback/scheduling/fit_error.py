"""Why a pod fits nowhere, in upstream's words: what `kubectl describe pod` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from keelback.scheduling.framework import Unschedulable

NO_NODES = "no nodes available to schedule pods"

_ABSENT_FROM_PREEMPTION = "Preemption is not helpful for scheduling"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What each node answered. `pre_filter` is set when no node was asked."""

    total: int
    """How many nodes there are."""
    answers: Sequence[Unschedulable] = ()
    """The different answers."""
    answer_of: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """For each row of the table which of them is that node's; -1 where it was not refused."""
    pre_filter: Unschedulable | None = None
    plugins: frozenset[str] = frozenset()
    """The plugins that said no: what happens next matters only if it can change their mind."""

    def message(self, preemption: str = "") -> str:
        """The whole sentence; `preemption` is what became of trying to make room."""
        if self.total == 0:
            return NO_NODES
        text = f"0/{self.total} nodes are available:"
        if self.pre_filter is not None:
            text += f" {', '.join(self.pre_filter.reasons)}."
        else:
            counts = np.bincount(self.answer_of[self.answer_of >= 0], minlength=len(self.answers)).tolist()
            text += _histogram(_counted(zip(self.answers, counts, strict=True)))
        return f"{text} {preemption}" if preemption else text

    def hopeful(self) -> npt.NDArray[np.intp]:
        """The rows of the nodes that would take the pod if pods were removed from them."""
        if self.pre_filter is not None:
            return np.arange(0 if self.pre_filter.unresolvable else self.total)
        # The last place is where the row finds itself that has no answer.
        helps = np.array([*(not answer.unresolvable for answer in self.answers), False])
        return np.flatnonzero(helps[self.answer_of])

    def is_hopeless(self, row: int) -> bool:
        """Whether a node has said that removing its pods would not help."""
        number = int(self.answer_of[row]) if row < len(self.answer_of) else -1
        return number >= 0 and self.answers[number].unresolvable


class Answers:
    """Collects what nodes answer, each different answer once."""

    def __init__(self, total: int) -> None:
        self.answers: list[Unschedulable] = []
        self.answer_of = np.full(total, -1, np.int32)
        self._numbers: dict[Unschedulable, int] = {}

    def add(self, answer: Unschedulable, rows: npt.NDArray[np.intp] | int) -> None:
        """These nodes answer so."""
        number = self._numbers.get(answer)
        if number is None:
            number = self._numbers[answer] = len(self.answers)
            self.answers.append(answer)
        self.answer_of[rows] = number


def single_node_message(answer: Unschedulable) -> str:
    """The sentence about a pod that lost the node it had: of that one node alone, as upstream has it."""
    return f"0/1 nodes are available:{_histogram(Counter(answer.reasons))}"


def reasons(message: str) -> str:
    """Of the whole sentence, what nodes answered: without what was tried to make room."""
    first, separator, _ = message.partition(". ")
    return f"{first}." if separator else message


def preemption_message(total: int, tried: Mapping[Unschedulable, int]) -> str:
    """What preemption adds when it found no node: `tried` says how many nodes gave each answer."""
    counts = _counted(tried.items())
    if (untried := total - sum(tried.values())) > 0:
        counts[_ABSENT_FROM_PREEMPTION] += untried
    return f"preemption: 0/{total} nodes are available:{_histogram(counts)}"


def _counted(answers: Iterable[tuple[Unschedulable, int]]) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for answer, number in answers:
        if number:
            for reason in answer.reasons:
                reasons[reason] += number
    return reasons


def _histogram(reasons: Counter[str]) -> str:
    sentences = sorted(f"{number} {reason}" for reason, number in reasons.items())
    return f" {', '.join(sentences)}." if sentences else ""
