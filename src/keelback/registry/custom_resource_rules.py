"""x-kubernetes-validations: what is wrong with the rules of a definition, and what they say of an object (KEP-2876).

Rules are compiled for a definition when it is written, to refuse it, and once more when its first object is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from keelback.apimachinery import structural_schema_lists
from keelback.apimachinery.errors import (
    DUPLICATE,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    NOT_SUPPORTED,
    OMITTED,
    REQUIRED,
    TOO_LONG,
    TOO_MANY,
    TYPE_INVALID,
    FieldError,
    forbidden,
    invalid,
)
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.apimachinery.structural_schema_validation import MISSING, is_same
from keelback.cel.environment import RUNTIME_BUDGET, Budget, Environment, Patience, Program
from keelback.cel.errors import CompileError, CostLimitExceeded, EvaluationError
from keelback.cel.estimates import MAXIMUM, Estimate
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.schema_values import Convert, conversion
from keelback.cel.schemas import Declared, declared
from keelback.cel.types import BOOL, STRING, optional_of
from keelback.cel.values import NONE, OptionalValue, Value
from keelback.registry.custom_resource_field_paths import resolve
from keelback.registry.custom_resource_internal_form import of_rule
from keelback.registry.custom_resource_schemas import Node

EXPRESSION_COST_LIMIT: Final = 10_000_000
SCHEMA_COST_LIMIT: Final = 100_000_000
_SHOWN_RULES: Final = 4
_MAX_MESSAGE_BYTES: Final = 5 * 1024
_BLOCKING: Final = frozenset((NOT_SUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, TYPE_INVALID))
_OUT_OF_BUDGET: Final = "running out of cost budget, no further validation rules will be run"
_SELF_TYPE: Final = "selfType"


def has_rules(schema: SchemaTree) -> bool:
    """Whether there is a rule anywhere in a schema, junctors left out."""
    return bool(schema.get("x-kubernetes-validations")) or any(map(has_rules, _below(schema)))


def _below(schema: SchemaTree) -> Iterator[SchemaTree]:
    yield from (schema.get("properties") or {}).values()
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield schema[name]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule, compiled. A rule whose text is empty has no program."""

    given: Mapping[str, Any]
    program: Program | None = None
    message: Program | None = None
    error: str = ""
    message_error: str = ""
    field_path: str = ""

    @property
    def uses_old(self) -> bool:
        return self.program is not None and self.program.reads("oldSelf")

    @property
    def takes_no_old(self) -> bool:
        """It is evaluated without an old value, too: oldSelf is an optional then."""
        return bool(self.given.get("optionalOldSelf"))

    @property
    def shown(self) -> str:
        return str(self.given.get("message") or self.given.get("rule", "")).strip()

    @property
    def default_message(self) -> str:
        return self.shown if self.given.get("message") else f"failed rule: {self.shown}"


class _Compiler:
    """Compiles the rules of one node."""

    def __init__(self, schema: SchemaTree, seen: Declared) -> None:
        self._schema = schema
        self._type = seen.type

    @cached_property
    def _plain(self) -> Environment:
        return kubernetes().extend({"self": self._type, "oldSelf": self._type})

    @cached_property
    def _optional(self) -> Environment:
        return kubernetes().extend({"self": self._type, "oldSelf": optional_of(self._type)})

    def compile(self, given: Mapping[str, Any]) -> _Rule:
        text = given.get("rule", "")
        if not text.strip():
            return _Rule(given)
        environment = self._optional if given.get("optionalOldSelf") else self._plain
        try:
            program = environment.compile(text, expected=())
        except CompileError as error:
            return _Rule(given, error=_told(error, "compilation failed: "))
        if program.type != BOOL:
            return _Rule(given, error="cel expression must evaluate to a bool")
        message, why = self._message(environment, given.get("messageExpression", ""))
        path = given.get("fieldPath", "")
        return _Rule(given, program, message, "", why, _resolved(path, self._schema) if path else "")

    def _message(self, environment: Environment, text: str) -> tuple[Program | None, str]:
        if not text:
            return None, ""
        try:
            program = environment.compile(text, expected=())
        except CompileError as error:
            return None, _told(error, "messageExpression compilation failed: ")
        if program.type != STRING:
            return None, "messageExpression must evaluate to a string"
        return program, ""


def _told(error: CompileError, prefix: str) -> str:
    text = str(error)
    return text if text.startswith("program instantiation failed") else f"{prefix}{text}"


def _resolved(path: str, schema: SchemaTree) -> str:
    try:
        return resolve(path, schema)[0]
    except ValueError:
        return ""


@dataclass(slots=True)
class RuleCheck:
    """Compiles the rules of one definition's schema and adds up what they may cost.

    With `is_known` the schema was accepted before: what its rules cost is no reason to refuse it now.
    """

    is_known: bool = False
    _total: int = 0
    _costs: list[tuple[int, str]] = field(default_factory=list)

    def check(self, node: Node) -> Iterator[FieldError]:
        """What is wrong with the rules of one node."""
        place = f"{node.path}.x-kubernetes-validations"
        seen = declared(node.schema, _SELF_TYPE, is_resource=node.is_resource)
        if seen is None:
            why = "unable to convert structural schema to CEL declarations"
            told = f"internal error: failed to construct type information for x-kubernetes-validations rules: {why}"
            yield FieldError(place, INTERNAL, told)
            return
        compiler = _Compiler(node.schema, seen)
        for at, given in enumerate(node.schema["x-kubernetes-validations"]):
            yield from self._check(compiler.compile(given), node, seen, f"{place}[{at}]")

    def check_default(self, schema: SchemaTree, path: str) -> Iterator[FieldError]:
        """What the rules of a schema and below say of its default."""
        if has_rules(schema):
            found, _ = _validator(schema).validate(schema["default"], schema["default"], path, ratchets=False)
            yield from found

    def _check(self, rule: _Rule, node: Node, seen: Declared, place: str) -> Iterator[FieldError]:
        cost = _cost(rule.program, node, seen)
        if cost > EXPRESSION_COST_LIMIT and not self.is_known:
            yield forbidden(f"{place}.rule", _too_costly("estimated rule cost", cost, EXPRESSION_COST_LIMIT))
        self._observe(cost, f"{place}.rule")
        if rule.error:
            yield invalid(f"{place}.rule", of_rule(rule.given), rule.error)
        if rule.message_error:
            yield invalid(f"{place}.messageExpression", of_rule(rule.given), rule.message_error)
        elif rule.message is not None:
            cost = _cost(rule.message, None, seen)
            if cost > EXPRESSION_COST_LIMIT and not self.is_known:
                told = _too_costly("estimated messageExpression cost", cost, EXPRESSION_COST_LIMIT)
                yield forbidden(f"{place}.messageExpression", told)
            self._observe(cost, f"{place}.messageExpression")
        if rule.uses_old:
            if node.uncorrelatable:
                told = (
                    f"oldSelf cannot be used on the uncorrelatable portion of the schema within {node.uncorrelatable}"
                )
                yield invalid(f"{place}.rule", rule.given.get("rule", ""), told)
        elif rule.given.get("optionalOldSelf") is not None:
            told = "may not be set if oldSelf is not used in rule"
            yield invalid(f"{place}.optionalOldSelf", rule.given["optionalOldSelf"], told)

    def _observe(self, cost: int, place: str) -> None:
        self._total = min(self._total + cost, MAXIMUM)
        if cost >= SCHEMA_COST_LIMIT // 100:
            self._costs = sorted([*self._costs, (cost, place)], key=lambda one: -one[0])[:_SHOWN_RULES]

    def total(self, path: str) -> Iterator[FieldError]:
        """What is wrong with all of them together."""
        if self._total <= SCHEMA_COST_LIMIT:
            return
        for _, place in self._costs:
            told = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield forbidden(place, told)
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        yield forbidden(path, _too_costly(name, self._total, SCHEMA_COST_LIMIT))


def _cost(program: Program | None, node: Node | None, seen: Declared) -> int:
    """What evaluations of a program for one object may cost together; with no node, one evaluation."""
    if program is None:
        return 0

    def size(path: tuple[str, ...]) -> Estimate | None:
        return seen.size(path[1:])

    most = program.estimate_cost(size).most
    if node is None:
        return most
    times = seen.largest_count if node.cardinality is None else node.cardinality
    return min(most * times, MAXIMUM)


def _too_costly(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )


class RuleValidator:
    """The compiled rules of a schema, part by part."""

    def __init__(self, schema: SchemaTree, seen: Declared | None, *, is_resource: bool = False) -> None:
        self._schema = schema
        self._type = "" if schema.get("x-kubernetes-int-or-string") else schema.get("type") or ""
        self._rules: tuple[_Rule, ...] = ()
        self._convert: Convert = conversion(schema, is_resource=is_resource)
        if seen is not None and schema.get("x-kubernetes-validations"):
            compiler = _Compiler(schema, seen)
            self._rules = tuple(map(compiler.compile, schema["x-kubernetes-validations"]))
        self._properties: dict[str, RuleValidator] = {}
        for name, below in (schema.get("properties") or {}).items():
            if has_rules(below):
                self._properties[name] = _validator(below)
        others, items = schema.get("additionalProperties"), schema.get("items")
        self._values = _validator(others) if isinstance(others, Mapping) and has_rules(others) else None
        self._items = _validator(items) if isinstance(items, Mapping) and has_rules(items) else None
        self._is_correlatable = schema.get("x-kubernetes-map-type") in (None, "granular", "atomic")

    def validate(
        self,
        value: Any,
        old: Any = MISSING,
        path: str = "",
        *,
        ratchets: bool = True,
        patience: Patience | None = None,
    ) -> tuple[list[FieldError], list[FieldError]]:
        """What the rules find wrong, and what they would if it had not been so before (to be warned of).

        Raises TakesLongError where the patience ends first.
        """
        run = _Run(Budget(RUNTIME_BUDGET, patience=patience), ratchets)
        self._validate(run, value, old, path)
        return run.found, run.ratcheted

    def _validate(self, run: _Run, value: Any, old: Any, path: str) -> None:
        if value is None:
            return
        self._evaluate(run, value, old, path)
        if isinstance(value, list) and self._items is not None:
            self._validate_list(run, self._items, value, old, path)
        elif isinstance(value, dict):
            before = old if isinstance(old, dict) and self._is_correlatable else {}
            properties = self._schema.get("properties") or {}
            for name, one in value.items():
                if run.is_over:
                    return
                if name in self._properties:
                    below = f"{path}.{name}" if path else name
                    self._properties[name]._validate(run, one, before.get(name, MISSING), below)
                elif self._values is not None and name not in properties:
                    self._values._validate(run, one, before.get(name, MISSING), f"{path}[{name}]")

    def _validate_list(self, run: _Run, items: RuleValidator, value: list[Any], old: Any, path: str) -> None:
        keys = tuple(self._schema.get("x-kubernetes-list-map-keys") or ())
        is_map = self._schema.get("x-kubernetes-list-type") == "map" and isinstance(old, list)
        before = structural_schema_lists.by_key(old, keys, items._schema) if is_map else {}
        for at, one in enumerate(value):
            if run.is_over:
                return
            key = structural_schema_lists.key_of(one, keys, items._schema) if before else None
            items._validate(run, one, before.get(key, MISSING) if key else MISSING, f"{path}[{at}]")

    def _evaluate(self, run: _Run, value: Any, old: Any, path: str) -> None:
        if not self._rules:
            return
        if run.budget.remaining <= 0:
            run.end(invalid(path or "<nil>", self._type, f"validation failed due to {_OUT_OF_BUDGET}"))
            return
        has_old = old is not MISSING and old is not None
        values: dict[str, Value] = {"self": self._convert(value)}
        if has_old:
            values["oldSelf"] = self._convert(old)
        for rule in self._rules:
            if rule.error:
                run.found.append(invalid(path or "<nil>", self._type, f"rule compile error: {rule.error}"))
                continue
            if rule.program is None or (rule.uses_old and not has_old and not rule.takes_no_old):
                continue
            given = values
            if rule.takes_no_old:
                given = {"self": values["self"], "oldSelf": OptionalValue(values["oldSelf"]) if has_old else NONE}
            before = len(run.found)
            self._run(run, rule, given, value, path)
            is_new = len(run.found) > before
            if is_new and run.ratchets and not rule.uses_old and old is not MISSING and is_same(value, old):
                run.ratcheted.extend(run.found[before:])
                del run.found[before:]
            if run.is_over:
                return

    def _run(self, run: _Run, rule: _Rule, values: Mapping[str, Value], value: Any, path: str) -> None:
        assert rule.program is not None
        place = path or "<nil>"
        problem, is_limit = "", False
        result: Value = None
        try:
            result = rule.program.evaluate(values, run.budget)
        except CostLimitExceeded as error:
            problem, is_limit = error.message, True
        except EvaluationError as error:
            problem = error.message
        if run.budget.remaining < 0:
            run.end(invalid(place, self._type, f"validation failed due to {_OUT_OF_BUDGET}"))
        elif is_limit:
            told = f"'{problem}': no further validation rules will be run due to call cost exceeds limit for rule: "
            run.end(invalid(place, self._type, told + rule.shown))
        elif problem.startswith("no such overload"):
            told = (
                f"'{problem}': call arguments did not match a supported operator, function or macro signature for rule"
            )
            run.found.append(invalid(place, self._type, f"{told}: {rule.shown}"))
        elif problem:
            run.found.append(invalid(place, self._type, f"{problem} evaluating rule: {rule.shown}"))
        elif result is not True:
            if rule.field_path:
                place = f"{path}.{rule.field_path}" if path else rule.field_path
            self._refuse(run, rule, values, value, place)

    def _refuse(self, run: _Run, rule: _Rule, values: Mapping[str, Value], value: Any, place: str) -> None:
        message = rule.default_message
        if rule.message is not None:
            told, problem, ends = _message(rule, values, run.budget)
            if ends:
                run.end(invalid(place, self._type, problem))
                return
            message = told or message
        shown = OMITTED if isinstance(value, dict | list) else value
        match rule.given.get("reason"):
            case "FieldValueForbidden":
                run.found.append(FieldError(place, FORBIDDEN, message))
            case "FieldValueRequired":
                run.found.append(FieldError(place, REQUIRED, message))
            case "FieldValueDuplicate":
                run.found.append(FieldError(place, DUPLICATE, "", shown))
            case _:
                run.found.append(FieldError(place, INVALID, message, shown))


@dataclass(slots=True)
class _Run:
    """One validation under way."""

    budget: Budget
    ratchets: bool = True
    found: list[FieldError] = field(default_factory=list)
    ratcheted: list[FieldError] = field(default_factory=list)
    is_over: bool = False

    def end(self, why: FieldError) -> None:
        """Say why no rule is evaluated any more."""
        self.found.append(why)
        self.is_over = True


def _message(rule: _Rule, values: Mapping[str, Value], budget: Budget) -> tuple[str, str, bool]:
    """The text of a message expression if it made one; else what went wrong, and whether that ends the validation."""
    assert rule.message is not None
    text: Value = None
    problem, is_limit = "", False
    try:
        text = rule.message.evaluate(values, budget)
    except CostLimitExceeded:
        is_limit = True
    except EvaluationError as error:
        problem = error.message
    if budget.remaining < 0:
        return "", f"messageExpression evaluation failed due to {_OUT_OF_BUDGET}", True
    if is_limit:
        expression = rule.given.get("messageExpression", "")
        told = "no further validation rules will be run due to call cost exceeds limit for messageExpression"
        return "", f'{told}: "{expression}"', True
    if problem or not isinstance(text, str):
        return "", problem, False
    text = text.strip()
    if not text or "\n" in text or len(text.encode()) > _MAX_MESSAGE_BYTES:
        return "", "the text is empty, too long or has lines", False
    return text, "", False


def _validator(schema: SchemaTree) -> RuleValidator:
    is_resource = bool(schema.get("x-kubernetes-embedded-resource"))
    return RuleValidator(schema, declared(schema, _SELF_TYPE, is_resource=is_resource), is_resource=is_resource)


def validator(schema: SchemaTree) -> RuleValidator | None:
    """The rules of a whole schema; None if it has none."""
    if not has_rules(schema):
        return None
    return RuleValidator(schema, declared(schema, _SELF_TYPE, is_resource=True), is_resource=True)


def blocking(found: list[FieldError]) -> FieldError | None:
    """What to say where other complaints keep the rules from being evaluated; None where none does."""
    if not any(one.type in _BLOCKING for one in found):
        return None
    told = "some validation rules were not checked because the object was invalid; correct the existing errors to "
    return invalid("<nil>", None, f"{told}complete validation")
