"""ValidatingAdmissionPolicy: refuses, warns or notes where the expressions of a policy do not hold (KEP-3488)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from keelback.admission.evaluation import (
    OUT_OF_BUDGET,
    RUNTIME_BUDGET,
    AccessChecks,
    Evaluation,
    ExpressionFailure,
    OutOfBudgetError,
    namespace_tree,
    request_values,
    tree_of,
)
from keelback.admission.expressions import (
    BOOLEAN,
    TEXT,
    TEXT_OR_NULL,
    Compiled,
    Scope,
    Variables,
    compile_text,
    variables_of,
)
from keelback.admission.match_conditions import Conditions, MatchConditionFailure, conditions
from keelback.admission.matching import Matcher, is_exempt_from_policies
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader, Rules
from keelback.admission.policies import (
    Binding,
    Bound,
    Policies,
    in_version,
    invocations,
    namespace_of,
)
from keelback.admission.resources import Resources
from keelback.api.admissionregistration_v1 import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    Validation,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, StatusCause, replace
from keelback.cel.environment import Budget, Patience
from keelback.cel.values import Value
from keelback.component.evaluations import Evaluations
from keelback.concurrency.clock import Clock

FAILURE_ANNOTATION: Final = "validation.policy.admission.k8s.io/validation_failure"
_LONGEST_MESSAGE_BYTES: Final = 5 * 1024
_LONGEST_ANNOTATION_BYTES: Final = 10 * 1024
_CODES: Final = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class _Evaluator:
    """A policy's expressions, compiled."""

    conditions: Conditions | None
    variables: Variables
    validations: tuple[tuple[Validation, Compiled, Compiled | None], ...]
    annotations: tuple[tuple[str, Compiled], ...]
    fails_closed: bool


@dataclass(frozen=True, slots=True)
class _Denial:
    """One validation that did not hold. `index` is its place in the policy."""

    index: int
    message: str
    reason: str = ""
    seconds: float = 0.0
    """How long its expression took."""
    is_error: bool = False
    """Whether nobody knows if it holds."""

    @property
    def error_type(self) -> str:
        """What kept its expression from giving anything, as metrics tell it."""
        if not self.is_error:
            return "no_error"
        if self.message == OUT_OF_BUDGET:
            return "out_of_budget"
        return "compile_error" if self.message.startswith("compilation") else "invalid_error"


@dataclass(frozen=True, slots=True)
class _Refusal:
    policy: str
    binding: str
    message: str
    reason: str = ""


class _Evaluated(NamedTuple):
    """What the expressions of a policy gave."""

    denials: Sequence[_Denial] = ()
    annotations: Sequence[tuple[str, str, str]] = ()
    """Key, text, and what kept the text from being known."""
    forgiven: Sequence[_Denial] = ()
    """What nobody knows, and what the policy lets pass."""
    conditions_seconds: float | None = None
    """How long the match conditions took, if there are any."""
    is_excluded: bool = False
    """Whether they said no."""
    conditions_failed: bool = False


class ValidatingAdmissionPolicyPlugin(AdmissionPlugin):
    """Applies every policy, with each of its bindings and each of their parameters. The first refusal is told."""

    name = "ValidatingAdmissionPolicy"
    operations = frozenset(Operation)

    def __init__(
        self,
        reader: Reader,
        resources: Resources,
        rules: Rules,
        clock: Clock,
        evaluations: Evaluations,
        metrics: AdmissionMetrics,
    ) -> None:
        self._metrics = metrics
        self._evaluations = evaluations
        self._reader = reader
        self._resources = resources
        self._rules = rules
        self._matcher = Matcher(reader, resources)
        self._policies = Policies(
            reader,
            clock,
            ValidatingAdmissionPolicy,
            ValidatingAdmissionPolicyBinding,
            evaluations.compiling(_compile_policy),
        )

    async def validate(self, request: AdmissionRequest) -> None:
        if is_exempt_from_policies(request):
            self._policies.note_change(request.kind)
            return
        policies = await self._policies.current()
        if not policies:
            return
        refusals: list[_Refusal] = []
        given = _Given(request, AccessChecks(request, self._rules, self._evaluations), self._resources)
        for bound in policies:
            await self._apply(bound, given, refusals)
        if refusals:
            raise _refusal(request, refusals[0])

    async def _apply(self, bound: Bound[_Evaluator], given: _Given, refusals: list[_Refusal]) -> None:
        request = given.request

        def failed(bound: Bound[_Evaluator], binding: str, problem: str) -> None:
            if bound.evaluator.fails_closed:
                refusals.append(_Refusal(bound.name, binding, problem))

        annotations: dict[str, list[str]] = {}
        async for one in invocations(bound, request, self._matcher, self._resources, failed):
            namespace = await given.namespace(self._reader)
            values = await given.values(one.kind, one.params)
            evaluated = await given.checks.answering(partial(_evaluate, bound.evaluator, values, namespace), values)
            self._decide(bound, one.binding, evaluated, request, refusals, annotations)
        for key, texts in annotations.items():
            request.audit_annotations[f"{bound.name}/{key}"] = ", ".join(texts)

    def _decide(
        self,
        bound: Bound[_Evaluator],
        binding: Binding,
        evaluated: _Evaluated,
        request: AdmissionRequest,
        refusals: list[_Refusal],
        annotations: dict[str, list[str]],
    ) -> None:
        self._count_conditions(bound.name, evaluated, request)
        checked = self._metrics.validations.checked
        for denial in evaluated.forgiven:
            checked(denial.seconds, bound.name, binding.name, denial.error_type, "allow")
        for denial in evaluated.denials:
            for action in binding.object.spec.validation_actions:
                checked(denial.seconds, bound.name, binding.name, denial.error_type, action.lower())
                match action:
                    case "Deny":
                        refusals.append(_Refusal(bound.name, binding.name, denial.message, denial.reason))
                    case "Warn":
                        request.warn(
                            f"Validation failed for ValidatingAdmissionPolicy '{bound.name}' with binding "
                            f"'{binding.name}': {denial.message}"
                        )
                    case "Audit":
                        request.audit_annotations[FAILURE_ANNOTATION] = _noted(binding, denial)
        for key, text, problem in evaluated.annotations:
            if problem:
                refusals.append(_Refusal(bound.name, binding.name, problem))
            elif text not in (known := annotations.setdefault(key, [])):
                known.append(text)

    def _count_conditions(self, policy: str, evaluated: _Evaluated, request: AdmissionRequest) -> None:
        if evaluated.conditions_seconds is None:
            return
        labels = (policy, "policy", "validate", request.operation)
        self._metrics.condition_seconds.observe(evaluated.conditions_seconds, *labels)
        if evaluated.is_excluded:
            self._metrics.condition_exclusions.inc(*labels)
        if evaluated.conditions_failed:
            self._metrics.condition_errors.inc(*labels)


class _Given:
    """A request, and its objects as trees in each version that some policy asks for."""

    def __init__(self, request: AdmissionRequest, checks: AccessChecks, resources: Resources) -> None:
        self.request = request
        self.checks = checks
        self._resources = resources
        self._values: dict[Kind, dict[str, Value]] = {}
        self._namespace: Mapping[str, Any] | None = None
        self._has_namespace = False

    async def namespace(self, reader: Reader) -> Mapping[str, Any] | None:
        """What `namespaceObject` is. Raises NotFound."""
        if not self._has_namespace:
            self._namespace = namespace_tree(await namespace_of(reader, self.request))
            self._has_namespace = True
        return self._namespace

    async def values(self, kind: Kind, params: Mapping[str, Any] | None) -> dict[str, Value]:
        """The variables of an expression."""
        known = self._values.get(kind)
        if known is None:
            request = self.request
            known = self._values[kind] = {
                **request_values(
                    request,
                    kind,
                    tree_of(await in_version(request.obj, request.kind, kind, self._resources)),
                    tree_of(await in_version(request.old_obj, request.kind, kind, self._resources)),
                ),
                **self.checks.values,
            }
        return {**known, "params": params}


def _compile_policy(policy: ValidatingAdmissionPolicy) -> _Evaluator:
    spec = policy.spec
    scope = Scope(has_params=spec.param_kind is not None)
    variables = variables_of(((one.name, one.expression) for one in spec.variables), scope)
    types = variables.types()
    # Who may do what is no matter of messages.
    told = Scope(has_params=scope.has_params, has_authorizer=False)
    return _Evaluator(
        conditions(spec.match_conditions, scope, spec.failure_policy, types),
        variables,
        tuple(
            (
                one,
                compile_text(one.expression, scope, BOOLEAN, types),
                compile_text(one.message_expression, told, TEXT, types) if one.message_expression else None,
            )
            for one in spec.validations
        ),
        tuple(
            (one.key, compile_text(one.value_expression, scope, TEXT_OR_NULL, types)) for one in spec.audit_annotations
        ),
        spec.failure_policy != "Ignore",
    )


def _evaluate(
    evaluator: _Evaluator, values: Mapping[str, Value], namespace: Mapping[str, Any] | None, patience: Patience
) -> _Evaluated:
    """The validations that do not hold, and the audit annotations."""
    variables = evaluator.variables.compiled
    conditions_seconds = None
    if evaluator.conditions is not None:
        started = time.perf_counter()
        try:
            is_met = evaluator.conditions.hold(values, variables, patience)
        except MatchConditionFailure as failure:
            denial = _Denial(0, str(failure), is_error=True)
            return _Evaluated((denial,), conditions_seconds=time.perf_counter() - started, conditions_failed=True)
        conditions_seconds = time.perf_counter() - started
        if not is_met:
            return _Evaluated(conditions_seconds=conditions_seconds, is_excluded=True)
    values = {**values, "namespaceObject": namespace}
    try:
        denials, forgiven = _denials(evaluator, values, patience)
        return _Evaluated(denials, _annotations(evaluator, values, patience), forgiven, conditions_seconds)
    except OutOfBudgetError as error:
        over = (_Denial(0, str(error), is_error=True),)
        denials, forgiven = (over, ()) if evaluator.fails_closed else ((), over)
        return _Evaluated(denials, (), forgiven, conditions_seconds)


def _denials(
    evaluator: _Evaluator, values: Mapping[str, Value], patience: Patience
) -> tuple[Sequence[_Denial], Sequence[_Denial]]:
    """What does not hold, and what nobody knows but does not count."""
    budget = Budget(RUNTIME_BUDGET, patience=patience)
    evaluation = Evaluation(values, evaluator.variables.compiled, budget)
    failed: list[tuple[int, str, float]] = []
    forgiven: list[_Denial] = []
    before = time.perf_counter()
    for index, (_, expression, _) in enumerate(evaluator.validations):
        problem = None
        try:
            if evaluation.value(expression) is not True:
                problem = ""
        except ExpressionFailure as failure:
            problem = str(failure)
        now = time.perf_counter()
        if problem is not None:
            if problem and not evaluator.fails_closed:
                forgiven.append(_Denial(index, problem, seconds=now - before, is_error=True))
            else:
                failed.append((index, problem, now - before))
        before = now
    if not failed:
        return (), forgiven
    # Messages are computed only where they are needed, from what the validations left of the budget.
    messages = Evaluation(
        {name: value for name, value in values.items() if not name.startswith("authorizer")},
        evaluator.variables.compiled,
        budget,
    )
    denials = [
        _Denial(index, problem, seconds=seconds, is_error=True)
        if problem
        else _denial(index, seconds, evaluator, messages)
        for index, problem, seconds in failed
    ]
    return denials, forgiven


def _denial(index: int, seconds: float, evaluator: _Evaluator, messages: Evaluation) -> _Denial:
    validation, _, expression = evaluator.validations[index]
    message = ""
    if expression is not None:
        try:
            message = _usable(messages.value(expression))
        except ExpressionFailure:
            message = ""
        except OutOfBudgetError as error:
            return _Denial(index, f"failed messageExpression: {error}", seconds=seconds)
    message = message or validation.message.strip() or f"failed expression: {validation.expression.strip()}"
    return _Denial(index, message, validation.reason or "Invalid", seconds)


def _usable(value: Value) -> str:
    """A computed message, unless it is none: too long, of several lines, or no text."""
    text = value.strip() if isinstance(value, str) else ""
    return "" if "\n" in text or len(text.encode()) > _LONGEST_MESSAGE_BYTES else text


def _annotations(evaluator: _Evaluator, values: Mapping[str, Value], patience: Patience) -> list[tuple[str, str, str]]:
    if not evaluator.annotations:
        return []
    evaluation = Evaluation(values, evaluator.variables.compiled, Budget(RUNTIME_BUDGET, patience=patience))
    found: list[tuple[str, str, str]] = []
    for key, expression in evaluator.annotations:
        try:
            value = evaluation.value(expression)
        except ExpressionFailure as failure:
            if evaluator.fails_closed:
                found.append((key, "", str(failure)))
            continue
        if isinstance(value, str) and (text := value.strip()):
            found.append((key, text.encode()[:_LONGEST_ANNOTATION_BYTES].decode(errors="ignore"), ""))
    return found


def _noted(binding: Binding, denial: _Denial) -> str:
    """The audit annotation of a failed validation."""
    failure = {
        "message": denial.message,
        "policy": binding.object.spec.policy_name,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": list(binding.object.spec.validation_actions),
    }
    return json.dumps([failure], separators=(",", ":"), ensure_ascii=False)


def _refusal(request: AdmissionRequest, refusal: _Refusal) -> errors.StatusError:
    by = f"'{refusal.policy}' with binding '{refusal.binding}'" if refusal.binding else f"'{refusal.policy}'"
    message = f"ValidatingAdmissionPolicy {by} denied request: {refusal.message}"
    status = request.forbidden(message).status
    details = status.details
    assert details is not None
    reason = refusal.reason or "Invalid"
    return errors.from_status(
        replace(
            status,
            reason=reason,
            code=_CODES.get(reason, 422),
            details=replace(details, causes=(StatusCause(message=message),)),
        )
    )
