"""Expressions in the environment of Kubernetes: their values, their failures, their costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import pytest

from keelback.cel.environment import Budget, Environment
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import Estimate
from keelback.cel.libraries import authorization, json_patches, kubernetes
from keelback.cel.types import Type
from keelback.cel.values import Value

Evaluate: TypeAlias = Callable[..., Value]
Fail: TypeAlias = Callable[[str], str]
Costs: TypeAlias = Callable[..., tuple[Estimate, int]]

_ENVIRONMENT = kubernetes.kubernetes().extend(libraries=(json_patches.LIBRARY,))
_LIMIT = 10_000_000


def allow(check: authorization.AccessCheck) -> authorization.Verdict:
    """Everybody may do everything."""
    return authorization.Verdict(is_allowed=True)


def with_variables(variables: Mapping[str, Type] | None) -> Environment:
    return _ENVIRONMENT.extend(variables={"authorizer": authorization.AUTHORIZER, **(variables or {})})


@pytest.fixture
def evaluate() -> Evaluate:
    """The value of an expression."""

    def value_of(
        text: str, values: Mapping[str, Value] | None = None, variables: Mapping[str, Type] | None = None
    ) -> Value:
        program = with_variables(variables).compile(text, expected=())
        return program.evaluate({"authorizer": authorization.AuthorizerValue(allow), **(values or {})})

    return value_of


@pytest.fixture
def fail(evaluate: Evaluate) -> Fail:
    """What the evaluation of an expression fails with."""

    def message_of(text: str) -> str:
        with pytest.raises(EvaluationError) as failure:
            evaluate(text)
        return failure.value.message

    return message_of


@pytest.fixture
def costs_of() -> Costs:
    """The static estimate of an expression, and what it costs when it runs.

    Strings of unknown length are taken to have up to twelve characters, as upstream's tests do.
    """

    def found(
        text: str,
        values: Mapping[str, Value] | None = None,
        variables: Mapping[str, Type] | None = None,
        sizes: Mapping[tuple[str, ...], Estimate] | None = None,
    ) -> tuple[Estimate, int]:
        program = with_variables(variables).compile(text, expected=())
        budget = Budget(_LIMIT)
        program.evaluate({"authorizer": authorization.AuthorizerValue(allow), **(values or {})}, budget)
        return program.estimate_cost(sizes or {}), _LIMIT - budget.remaining

    return found
