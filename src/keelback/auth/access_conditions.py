"""Match conditions of webhook authorizers: expressions over a SubjectAccessReview's spec, called `request` (KEP-3221).

All must hold for the webhook to be asked. One that says no decides, also beside others that fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from keelback.apimachinery.go_text import aggregate
from keelback.cel.environment import Budget, Environment, Program
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.types import BOOL, STRING, list_of, map_of, object_of

_REQUIREMENT: Final = object_of(
    "kubernetes.SelectorRequirement", {"key": STRING, "operator": STRING, "values": list_of(STRING)}
)
_FIELD_SELECTOR: Final = object_of(
    "kubernetes.FieldSelectorAttributes", {"rawSelector": STRING, "requirements": list_of(_REQUIREMENT)}
)
_LABEL_SELECTOR: Final = object_of(
    "kubernetes.LabelSelectorAttributes", {"rawSelector": STRING, "requirements": list_of(_REQUIREMENT)}
)
_RESOURCE: Final = object_of(
    "kubernetes.ResourceAttributes",
    {
        **dict.fromkeys(("namespace", "verb", "group", "version", "resource", "subresource", "name"), STRING),
        "fieldSelector": _FIELD_SELECTOR,
        "labelSelector": _LABEL_SELECTOR,
    },
)
_PATH: Final = object_of("kubernetes.NonResourceAttributes", {"path": STRING, "verb": STRING})
_SPEC: Final = object_of(
    "kubernetes.SubjectAccessReviewSpec",
    {
        "resourceAttributes": _RESOURCE,
        "nonResourceAttributes": _PATH,
        "user": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
        "uid": STRING,
    },
)


class ConditionsFailed(Exception):
    """Some condition failed, and none said no."""


@dataclass(frozen=True, slots=True)
class AccessConditions:
    """The conditions of one webhook."""

    programs: tuple[Program, ...]

    @classmethod
    def compile(cls, expressions: Sequence[str]) -> AccessConditions:
        """Raises CompileError for what `problem` would have told of."""
        return cls(tuple(_environment().compile(one) for one in expressions))

    @staticmethod
    def problem(expression: str) -> str:
        """Why there can be no such condition; empty if there can."""
        try:
            program = _environment().compile(expression, expected=())
        except CompileError as error:
            return f"compilation failed: {error}"
        return "" if program.type == BOOL else f"must evaluate to bool but got {program.type}"

    def hold(self, spec: Mapping[str, Any]) -> bool:
        """Whether all hold for this spec, of which every text is there, the empty ones too. Raises ConditionsFailed."""
        failures: list[str] = []
        for program in self.programs:
            try:
                if program.evaluate({"request": spec}, Budget()) is not True:
                    return False
            except EvaluationError as error:
                failures.append(f"cel evaluation error: expression '{program.text}' resulted in error: {error.message}")
        if failures:
            raise ConditionsFailed(aggregate(failures))
        return True


@cache
def _environment() -> Environment:
    return kubernetes().extend(variables={"request": _SPEC})
