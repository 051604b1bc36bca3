"""The expressions of an AuthenticationConfiguration: over `claims`, a token's, and over `user`, who is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from keelback.cel.environment import Budget, Environment, Program
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.types import ANY, BOOL, STRING, list_of, map_of, object_of
from keelback.cel.values import Value

_USER: Final = object_of(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)
_COMPILED: Final = 1024
"""Texts kept compiled: they are checked where the file is read, and used where its authenticators are made."""


class ExpressionFailed(Exception):
    """An expression gives no value for this token."""


@dataclass(frozen=True, slots=True)
class CompiledExpression:
    """One expression: its program, or why there is none."""

    text: str
    variable: str
    program: Program | None
    problem: str = ""

    def selects(self, variable: str, field: str) -> bool:
        """Whether the expression looks at a field of a variable by its name."""
        return self.program is not None and self.program.selects(variable, field)

    def value(self, tree: Mapping[str, Any]) -> Value:
        """What it gives for these claims, or this user. Raises ExpressionFailed."""
        if self.program is None:
            raise ExpressionFailed(self.problem)
        try:
            return self.program.evaluate({self.variable: tree}, Budget())
        except EvaluationError as error:
            raise ExpressionFailed(f"expression '{self.text}' resulted in error: {error.message}") from error


def of_claims(text: str, *, must_be_bool: bool = False) -> CompiledExpression:
    """An expression over `claims`."""
    return _compiled(text, "claims", must_be_bool)


def of_user(text: str) -> CompiledExpression:
    """A condition on `user`."""
    return _compiled(text, "user", True)


@lru_cache(maxsize=_COMPILED)
def _compiled(text: str, variable: str, must_be_bool: bool) -> CompiledExpression:
    try:
        program = _environment(variable).compile(text, expected=())
    except CompileError as error:
        return CompiledExpression(text, variable, None, f"compilation failed: {error}")
    if must_be_bool and program.type != BOOL:
        return CompiledExpression(text, variable, None, "must evaluate to bool")
    return CompiledExpression(text, variable, program)


@cache
def _environment(variable: str) -> Environment:
    type = _USER if variable == "user" else map_of(STRING, ANY)
    return kubernetes().extend(variables={variable: type})
