"""Which parts of the language Kubernetes has, and which it has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.errors import CompileError, CostLimitExceeded
from keelback.cel.libraries.kubernetes import kubernetes

Evaluate = Callable[..., object]


@pytest.mark.parametrize(
    "expression",
    [
        "cel.bind(x, 1, x + 1)",
        "math.greatest(1, 2)",
        "base64.encode(b'a')",
        "'abc'.reverse()",
        "[1, 'a']",
        "jsonpatch.escapeKey('a')",
        "type(quantity('1')) == kubernetes.Quantity",
        "format.dns1123Label",
    ],
)
def test_what_kubernetes_leaves_out_does_not_compile(expression: str) -> None:
    with pytest.raises(CompileError):
        kubernetes().compile(expression, expected=())


@pytest.mark.parametrize(
    "expression",
    [
        "1 < 1.5 && 2u > 1",
        "timestamp('2026-01-01T12:00:00+02:00').getHours() == 10",
        "optional.of(1).orValue(2) == 1",
        "[1, 2].exists_one(i, v, v == 1)",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "isURL('/a') && isIP('::1') && isCIDR('::/0') && isQuantity('1') && isSemver('1.0.0')",
        "format.uuid().validate('x').hasValue()",
        "sets.contains([1], [1]) && [2, 1].sort() == [1, 2]",
    ],
)
def test_what_kubernetes_has_holds(evaluate: Evaluate, expression: str) -> None:
    assert evaluate(expression) is True


def test_environments_are_shared_and_widened_for_each_use() -> None:
    assert kubernetes() is kubernetes()
    assert kubernetes().extend() is not kubernetes()


def test_a_list_that_no_budget_could_pay_is_not_made(evaluate: Evaluate) -> None:
    with pytest.raises(CostLimitExceeded):
        evaluate("lists.range(10000000).size()")


def test_a_precision_of_gigabytes_is_refused(fail: Callable[[str], str]) -> None:
    assert fail("dyn('%.999999999f').format([1.5])").endswith("precision 999999999 is too large")
