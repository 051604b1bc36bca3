"""The sentence about a pod that fits nowhere is upstream's, to the letter."""

from __future__ import annotations

import numpy as np

from keelback.scheduling.fit_error import Answers, Diagnosis, preemption_message, reasons
from keelback.scheduling.framework import Unschedulable


def test_reasons_are_counted_over_nodes_and_sorted_as_text() -> None:
    both = Unschedulable(("Insufficient cpu", "Insufficient memory"))
    tainted = Unschedulable(("node(s) had untolerated taint(s)",), unresolvable=True)
    answers = Answers(13)
    answers.add(both, np.arange(10))
    for row in (10, 11):
        answers.add(tainted, row)
    diagnosis = Diagnosis(12, answers.answers, answers.answer_of)
    assert diagnosis.hopeful().tolist() == list(range(10))
    assert [diagnosis.is_hopeless(row) for row in (9, 10, 12)] == [False, True, False]
    text = diagnosis.message(preemption_message(12, {Unschedulable(("Nope",)): 10}))
    assert text == (
        "0/12 nodes are available: 10 Insufficient cpu, 10 Insufficient memory, "
        "2 node(s) had untolerated taint(s). "
        "preemption: 0/12 nodes are available: 10 Nope, 2 Preemption is not helpful for scheduling."
    )


def test_what_keeps_a_pod_from_all_nodes_is_said_once() -> None:
    answer = Unschedulable(("pod has unbound immediate PersistentVolumeClaims",), unresolvable=True)
    assert Diagnosis(3, pre_filter=answer).message() == (
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    )


def test_without_nodes_there_is_nothing_to_count() -> None:
    assert Diagnosis(0).message() == "no nodes available to schedule pods"


def test_what_nodes_answered_is_the_beginning_of_the_sentence() -> None:
    answered = "0/2 nodes are available: 2 Insufficient example.com/gpu."
    assert reasons(f"{answered} no new claims to deallocate, preemption: 0/2 nodes are available: 2 Nope.") == answered
    assert reasons(answered) == answered
    assert reasons("no nodes available to schedule pods") == "no nodes available to schedule pods"
