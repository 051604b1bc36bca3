"""MutatingAdmissionPolicy: changes objects as expressions say, by apply configuration or by JSON patch (KEP-3962)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from keelback.admission import mutations, reinvocations
from keelback.admission.evaluation import (
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
    CONFIGURATION,
    PATCH,
    Compiled,
    Scope,
    Variables,
    compile_text,
    variables_of,
)
from keelback.admission.match_conditions import Conditions, MatchConditionFailure, conditions
from keelback.admission.matching import Matcher, is_exempt_from_policies
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.mutations import MutationError
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader, Rules
from keelback.admission.policies import (
    Bound,
    Invocation,
    Policies,
    in_version,
    invocations,
    namespace_of,
)
from keelback.admission.resources import Resources
from keelback.api.admissionregistration_v1 import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
)
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Kind, StatusCause, replace
from keelback.cel.environment import Budget, Patience
from keelback.cel.values import Value
from keelback.component.evaluations import Evaluations
from keelback.concurrency.clock import Clock

_IF_NEEDED: Final = "IfNeeded"
Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Evaluator:
    """A policy's expressions, compiled. Of each mutation: whether it is a JSON patch, and its expression."""

    conditions: Conditions | None
    variables: Variables
    mutations: tuple[tuple[bool, Compiled], ...]
    fails_closed: bool


class _Failures:
    """What went wrong, in order: text, and the reason for the status."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, bound: Bound[_Evaluator], binding: str, problem: str, reason: str = "") -> None:
        """Note it, unless the policy's failure policy is to go on."""
        if bound.evaluator.fails_closed:
            by = f"policy '{bound.name}' with binding '{binding}'" if binding else f"policy '{bound.name}'"
            self.found.append((f"{by} denied request: {problem}", reason))

    def check(self, request: AdmissionRequest) -> None:
        """Raise Forbidden (with the reason of the first) if there are any."""
        if not self.found:
            return
        status = request.forbidden("admission request denied by policy").status
        assert status.details is not None
        message, reason = self.found[0]
        causes = tuple(StatusCause(message=text) for text, _ in self.found)
        raise errors.from_status(
            replace(
                status, message=message, reason=reason or status.reason, details=replace(status.details, causes=causes)
            )
        )


class MutatingAdmissionPolicyPlugin(AdmissionPlugin):
    """Applies every policy, with each of its bindings and each of their parameters, before the webhooks are asked."""

    name = "MutatingAdmissionPolicy"
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
            MutatingAdmissionPolicy,
            MutatingAdmissionPolicyBinding,
            evaluations.compiling(_compile_policy),
        )

    async def admit(self, request: AdmissionRequest) -> Any:
        if is_exempt_from_policies(request):
            self._policies.note_change(request.kind)
            return request.obj
        policies = await self._policies.current()
        if not policies:
            return request.obj
        failures = _Failures()
        due = [
            one
            for bound in policies
            async for one in invocations(bound, request, self._matcher, self._resources, failures.add)
        ]
        if due:
            request = await self._apply(due, request, failures)
        failures.check(request)
        return request.obj

    async def _apply(
        self, due: list[Invocation[_Evaluator]], request: AdmissionRequest, failures: _Failures
    ) -> AdmissionRequest:
        reinvocation = request.reinvocation
        kept = reinvocations.of(reinvocation, self.name)
        kept.begin(reinvocation, request.obj)
        checks = AccessChecks(request, self._rules, self._evaluations)
        namespace = namespace_tree(await namespace_of(self._reader, request))
        first = request.obj
        for one in due:
            values = {**checks.values, "params": one.params}
            conditions_of_policy = one.bound.evaluator.conditions
            if conditions_of_policy is not None:
                labels = (one.bound.name, "policy", "admit", request.operation)
                seen = {**await self._values(one.kind, request), **values}
                hold = partial(conditions_of_policy.hold, seen, one.bound.evaluator.variables.compiled)
                started = time.perf_counter()
                try:
                    if not await checks.answering(hold, seen):
                        self._metrics.condition_exclusions.inc(*labels)
                        continue
                except MatchConditionFailure as failure:
                    self._metrics.condition_errors.inc(*labels)
                    failures.add(one.bound, one.binding.name, str(failure), "Invalid")
                    continue
                finally:
                    self._metrics.condition_seconds.observe(time.perf_counter() - started, *labels)
            if kept.is_skipped(reinvocation, _key(one)):
                continue
            before = request.obj
            if before is not None:
                given = {**values, "namespaceObject": namespace}
                request = await self._mutate(one, given, checks, request, failures)
            if request.obj != before:
                kept.changed(reinvocation)
            if one.bound.policy.spec.reinvocation_policy == _IF_NEEDED:
                kept.may_ask_again(_key(one))
        if request.obj is not first:
            kept.changed(reinvocation)
        kept.output = request.obj
        return request

    async def _values(self, kind: Kind, request: AdmissionRequest) -> dict[str, Value]:
        obj = await in_version(request.obj, request.kind, kind, self._resources)
        old = await in_version(request.old_obj, request.kind, kind, self._resources)
        return request_values(request, kind, tree_of(obj), tree_of(old))

    async def _mutate(
        self,
        one: Invocation[_Evaluator],
        values: Mapping[str, Value],
        checks: AccessChecks,
        request: AdmissionRequest,
        failures: _Failures,
    ) -> AdmissionRequest:
        """The request after all mutations of a policy, each seeing what those before it did."""
        for is_json_patch, expression in one.bound.evaluator.mutations:
            problem, started = "invalid_error", time.perf_counter()
            try:
                changed = await self._mutated(one, is_json_patch, expression, values, checks, request)
                problem = "no_error"
            except (MutationError, ExpressionFailure, OutOfBudgetError) as error:
                if isinstance(error, OutOfBudgetError):
                    problem = "out_of_budget"
                elif expression.program is None:
                    problem = "compile_error"
                failures.add(one.bound, one.binding.name, str(error), "Invalid")
                continue
            finally:
                seconds = time.perf_counter() - started
                self._metrics.mutations.checked(seconds, one.bound.name, one.binding.name, problem)
            if changed != request.obj:
                request = request.with_object(changed)
        return request

    async def _mutated(
        self,
        one: Invocation[_Evaluator],
        is_json_patch: bool,
        expression: Compiled,
        values: Mapping[str, Value],
        checks: AccessChecks,
        request: AdmissionRequest,
    ) -> Any:
        if expression.program is None:
            raise MutationError(expression.problem)
        seen = {**await self._values(one.kind, request), **values}
        tree: Tree = seen["object"]
        variables = one.bound.evaluator.variables.compiled

        def evaluate(patience: Patience) -> Value:
            return Evaluation(seen, variables, Budget(RUNTIME_BUDGET, patience=patience)).value(expression)

        value = await checks.answering(evaluate, seen)
        shown = await in_version(request.obj, request.kind, one.kind, self._resources)
        if is_json_patch:
            patched = mutations.json_patched(tree, value)
            unknown = self._resources.strict_errors(patched, shown)
            if unknown:
                raise errors.InternalError.of(f"strict decoding error: {', '.join(unknown)}")
        else:
            problems = mutations.misnamed_in(expression.text)
            if problems:
                raise MutationError("type mismatch: " + "\n".join(problems))
            patched = mutations.applied(tree, value, self._resources.schema_of(shown))
        if patched == tree:
            return request.obj
        try:
            changed = self._resources.from_tree(patched, shown, request.old_obj)
        except codecs.DecodeError as error:
            raise errors.InternalError.of(str(error)) from error
        return await self._resources.convert(changed, request.kind) if shown is not request.obj else changed


def _key(one: Invocation[_Evaluator]) -> tuple[str, str, str, str]:
    """What tells an application of a policy from others when the plugins are gone through once more."""
    metadata = (one.params or {}).get("metadata") or {}
    return one.bound.name, one.binding.name, metadata.get("namespace", ""), metadata.get("name", "")


def _compile_policy(policy: MutatingAdmissionPolicy) -> _Evaluator:
    spec = policy.spec
    scope = Scope(has_params=spec.param_kind is not None)
    variables = variables_of(((one.name, one.expression) for one in spec.variables), scope)
    types = variables.types()
    patches = Scope(has_params=scope.has_params, has_patches=True)
    compiled: list[tuple[bool, Compiled]] = []
    for one in spec.mutations:
        if one.json_patch is not None:
            compiled.append((True, compile_text(one.json_patch.expression, patches, PATCH, types)))
        elif one.apply_configuration is not None:
            expression = one.apply_configuration.expression
            compiled.append((False, compile_text(expression, patches, CONFIGURATION, types)))
    return _Evaluator(
        conditions(spec.match_conditions, scope, spec.failure_policy, types),
        variables,
        tuple(compiled),
        spec.failure_policy != "Ignore",
    )
