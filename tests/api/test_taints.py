"""Taints and tolerations: who is kept away, and by what."""

from __future__ import annotations

import pytest

from keelback.api import taints
from keelback.api.core_v1 import Taint, Toleration

GPU = Taint(key="dedicated", value="gpu", effect="NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "accepts"),
    [
        (Toleration(key="dedicated", value="gpu", effect="NoSchedule"), True),
        (Toleration(key="dedicated", operator="Equal", value="gpu"), True),
        (Toleration(key="dedicated", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="dedicated", value="cpu"), False),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(key="dedicated", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="dedicated", operator="Nonsense", value="gpu"), False),
    ],
)
def test_a_toleration_accepts_what_it_names_and_empty_means_any(toleration: Toleration, accepts: bool) -> None:
    assert taints.tolerates(toleration, GPU) is accepts


@pytest.mark.parametrize(
    ("operator", "threshold", "accepts"), [("Lt", "100", True), ("Gt", "100", False), ("Lt", "1e3", False)]
)
def test_numeric_operators_compare_whole_numbers(operator: str, threshold: str, accepts: bool) -> None:
    taint = Taint(key="cost", value="50", effect="NoSchedule")
    assert taints.tolerates(Toleration(key="cost", operator=operator, value=threshold), taint) is accepts


def test_soft_taints_keep_nobody_away() -> None:
    soft = Taint(key="k", effect="PreferNoSchedule")
    assert taints.untolerated((soft, GPU), ()) is GPU
    assert taints.untolerated((soft,), ()) is None


def test_key_and_effect_identify_a_taint() -> None:
    changed = Taint(key="dedicated", value="tpu", effect="NoSchedule")
    other = Taint(key="dedicated", value="gpu", effect="NoExecute")
    assert taints.with_taint((GPU, other), changed) == (other, changed)
    assert taints.without_taint((GPU, other), changed) == (other,)
    assert taints.has_taint((GPU,), changed)
