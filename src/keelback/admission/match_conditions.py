"""Match conditions: expressions that must all hold before a webhook is called or a policy is applied (KEP-3716)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keelback.admission.evaluation import (
    MATCH_CONDITIONS_BUDGET,
    Evaluation,
    ExpressionFailure,
    OutOfBudgetError,
)
from keelback.admission.expressions import BOOLEAN, Compiled, Scope, compile_text
from keelback.api.admissionregistration_v1 import MatchCondition
from keelback.cel.environment import Budget, Patience
from keelback.cel.types import Type
from keelback.cel.values import Value


class MatchConditionFailure(Exception):
    """Some condition failed and none said no; the text has what each failed with."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one webhook or policy."""

    compiled: tuple[Compiled, ...]
    fails_closed: bool

    def hold(self, values: Mapping[str, Value], variables: Mapping[str, Compiled], patience: Patience) -> bool:
        """Whether all hold. A plain no counts more than a failure. Raises MatchConditionFailure, if that refuses."""
        evaluation = Evaluation(values, variables, Budget(MATCH_CONDITIONS_BUDGET, patience=patience))
        failures: list[str] = []
        try:
            # A condition that says no does not spare the others: their costs may end it all, as upstream.
            results = [_result(evaluation, one, failures) for one in self.compiled]
        except OutOfBudgetError as error:
            results, failures = [], [str(error)]
        if False in results:
            return False
        if failures and self.fails_closed:
            said = list(dict.fromkeys(failures))
            raise MatchConditionFailure(said[0] if len(said) == 1 else f"[{', '.join(said)}]")
        return not failures


def conditions(
    given: Sequence[MatchCondition],
    scope: Scope,
    failure_policy: str,
    variables: Mapping[str, Type] | None = None,
) -> Conditions | None:
    """The conditions compiled; None if there are none."""
    if not given:
        return None
    compiled = tuple(compile_text(one.expression, scope, BOOLEAN, variables) for one in given)
    return Conditions(compiled, failure_policy != "Ignore")


def _result(evaluation: Evaluation, compiled: Compiled, failures: list[str]) -> bool | None:
    try:
        return bool(evaluation.value(compiled))
    except ExpressionFailure as failure:
        failures.append(str(failure))
        return None
