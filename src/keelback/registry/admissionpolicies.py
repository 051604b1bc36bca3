"""The two kinds of admission policy. Expressions that do not compile are refused, in cel-go's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from keelback.admission.expressions import (
    BOOLEAN,
    CONFIGURATION,
    PATCH,
    TEXT,
    TEXT_OR_NULL,
    Scope,
    Variables,
    compile_text,
)
from keelback.api.admissionregistration_v1 import (
    AuditAnnotation,
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicySpec,
    Mutation,
    ParamKind,
    TypeChecking,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required
from keelback.cel.types import Type
from keelback.registry import condition_lists
from keelback.registry.admission_rules import (
    FAILURE_POLICIES,
    immutable_operations,
    match_condition_problems,
    match_resources_problems,
)
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text

_UNSET: Final = "<unset>"
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_REINVOCATIONS: Final = ("IfNeeded", "Never")
_MOST_ANNOTATIONS: Final = 20
_LONGEST_VALUE_EXPRESSION: Final = 5 * 1024
_RESERVED: Final = re.compile(
    "true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void"
    "|while"
).fullmatch
_is_name = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch

Policy = ValidatingAdmissionPolicy | MutatingAdmissionPolicy


def _param_kind(policy: Any) -> str:
    given = policy.spec.param_kind
    return _UNSET if given is None else f"{given.api_version}/{given.kind}"


class ValidatingAdmissionPolicyStrategy(Strategy[ValidatingAdmissionPolicy]):
    kind = ValidatingAdmissionPolicy
    keeps_metadata_in_status = True
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    subresources = ("status",)
    columns = (number("Validations", lambda one: len(one.spec.validations)), text("ParamKind", _param_kind), AGE)

    def validate(self, new: ValidatingAdmissionPolicy) -> Iterator[FieldError]:
        return self._problems(new, None)

    def validate_update(self, new: ValidatingAdmissionPolicy, old: ValidatingAdmissionPolicy) -> Iterator[FieldError]:
        return self._problems(new, old)

    def validate_status_update(
        self, new: ValidatingAdmissionPolicy, old: ValidatingAdmissionPolicy
    ) -> Iterator[FieldError]:
        checked = new.status.type_checking
        if checked is not None:
            yield from _type_checking_problems(checked, "status.typeChecking.expressionWarnings")
        yield from condition_lists.validate(new.status.conditions, "status.conditions")

    def _problems(self, new: ValidatingAdmissionPolicy, old: ValidatingAdmissionPolicy | None) -> Iterator[FieldError]:
        spec = new.spec
        yield from _shared(spec, old.spec if old is not None else None)
        scope = Scope(has_params=spec.param_kind is not None)
        variables = Variables()
        yield from _variables(spec, scope, variables)
        if not spec.validations and not spec.audit_annotations:
            detail = "validations or auditAnnotations must contain at least one item"
            yield required("spec.validations", detail)
            yield required("spec.auditAnnotations", detail)
            return
        types = variables.types() if spec.variables else None
        for index, validation in enumerate(spec.validations):
            yield from _validation(validation, f"spec.validations[{index}]", scope, types)
        yield from _annotations(new.metadata.name, spec.audit_annotations, scope, types)


class MutatingAdmissionPolicyStrategy(Strategy[MutatingAdmissionPolicy]):
    kind = MutatingAdmissionPolicy
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = (number("Mutations", lambda one: len(one.spec.mutations)), text("ParamKind", _param_kind), AGE)

    def validate(self, new: MutatingAdmissionPolicy) -> Iterator[FieldError]:
        return self._problems(new, None)

    def validate_update(self, new: MutatingAdmissionPolicy, old: MutatingAdmissionPolicy) -> Iterator[FieldError]:
        return self._problems(new, old)

    def _problems(self, new: MutatingAdmissionPolicy, old: MutatingAdmissionPolicy | None) -> Iterator[FieldError]:
        spec = new.spec
        yield from _shared(spec, old.spec if old is not None else None, is_mutating=True)
        has_params = spec.param_kind is not None
        variables = Variables()
        yield from _variables(spec, Scope(has_params=has_params), variables)
        if not spec.mutations:
            yield required("spec.mutations", "mutations must contain at least one item")
        patches = Scope(has_params=has_params, has_patches=True)
        types = variables.types() if spec.variables else None
        for index, mutation in enumerate(spec.mutations):
            yield from _mutation(mutation, f"spec.mutations[{index}]", patches, types)
        if not spec.reinvocation_policy:
            yield required("spec.reinvocationPolicy")
        elif spec.reinvocation_policy not in _REINVOCATIONS:
            yield not_supported("spec.reinvocationPolicy", spec.reinvocation_policy, _REINVOCATIONS)


_Spec = ValidatingAdmissionPolicySpec | MutatingAdmissionPolicySpec


def _shared(spec: _Spec, old: _Spec | None, *, is_mutating: bool = False) -> Iterator[FieldError]:
    if spec.failure_policy not in FAILURE_POLICIES:
        yield not_supported("spec.failurePolicy", spec.failure_policy, FAILURE_POLICIES)
    if spec.param_kind is not None:
        yield from _param_kind_problems(spec.param_kind)
    if spec.match_constraints is None:
        yield required("spec.matchConstraints")
    else:
        yield from match_resources_problems(spec.match_constraints, "spec.matchConstraints")
        if not spec.match_constraints.resource_rules:
            yield required("spec.matchConstraints.resourceRules")
        if is_mutating:
            yield from immutable_operations(spec.match_constraints, "spec.matchConstraints.resourceRules.operations")
    # Conditions that were accepted once stay accepted as long as neither they nor the parameters change.
    is_unchanged = (
        old is not None and spec.match_conditions == old.match_conditions and spec.param_kind == old.param_kind
    )
    if not is_unchanged:
        has_params = spec.param_kind is not None
        yield from match_condition_problems(spec.match_conditions, "spec.matchConditions", has_params=has_params)


def _param_kind_problems(given: ParamKind) -> Iterator[FieldError]:
    path = "spec.paramKind"
    version = given.api_version
    if not version:
        yield required(f"{path}.apiVersion")
    elif version.count("/") > 1:
        yield invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    else:
        group, _, number_ = version.rpartition("/")
        complaints = names.dns1123_subdomain(group) if group else ()
        if complaints:
            yield invalid(f"{path}.apiVersion", group, ",".join(complaints))
        if not number_:
            yield invalid(f"{path}.apiVersion", version, "version must be specified")
        elif complaints := names.dns1035_label(number_):
            yield invalid(f"{path}.apiVersion", number_, ",".join(complaints))
    if not given.kind:
        yield required(f"{path}.kind")
    elif complaints := names.dns1035_label(given.kind.lower()):
        said = f"may have mixed case, but should otherwise match: {','.join(complaints)}"
        yield invalid(f"{path}.kind", given.kind, said)


def _variables(spec: _Spec, scope: Scope, variables: Variables) -> Iterator[FieldError]:
    for index, variable in enumerate(spec.variables):
        path = f"spec.variables[{index}]"
        if not variable.name.strip():
            yield required(f"{path}.name", "name is not specified")
        elif not _is_name(variable.name) or _RESERVED(variable.name):
            yield invalid(f"{path}.name", variable.name, "must be a valid CEL identifier")
        if not variable.expression.strip():
            yield required(f"{path}.expression", "expression is not specified")
            continue
        compiled = variables.add(variable.name, variable.expression, scope)
        if compiled.problem:
            yield invalid(f"{path}.expression", variable.expression, compiled.problem)


def _compiled(
    path: str, expression: str, scope: Scope, expected: tuple[Type, ...], types: dict[str, Type] | None
) -> Iterator[FieldError]:
    compiled = compile_text(expression, scope, expected, types)
    if compiled.problem:
        yield invalid(path, expression, compiled.problem)


def _validation(validation: Validation, path: str, scope: Scope, types: dict[str, Type] | None) -> Iterator[FieldError]:
    if not validation.expression.strip():
        yield required(f"{path}.expression", "expression is not specified")
    else:
        yield from _compiled(f"{path}.expression", validation.expression, scope, BOOLEAN, types)
    told = validation.message_expression
    if told and not told.strip():
        yield invalid(f"{path}.messageExpression", told, "must be non-empty if specified")
    elif told:
        without_authorizer = Scope(has_params=scope.has_params, has_authorizer=False)
        yield from _compiled(f"{path}.messageExpression", told, without_authorizer, TEXT, types)
    message = validation.message
    if message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip() or "\r" in message.strip():
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    if validation.reason is not None and validation.reason not in _REASONS:
        yield not_supported(f"{path}.reason", validation.reason, _REASONS)


def _annotations(
    name: str, given: Sequence[AuditAnnotation], scope: Scope, types: dict[str, Type] | None
) -> Iterator[FieldError]:
    if len(given) > _MOST_ANNOTATIONS:
        complaint = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
        yield invalid("spec.auditAnnotations", list(given), complaint)
    seen: set[str] = set()
    for index, annotation in enumerate(given):
        path = f"spec.auditAnnotations[{index}]"
        if name:
            for complaint in names.qualified_name(f"{name}/{annotation.key}"):
                yield invalid(f"{path}.key", f"{name}/{annotation.key}", complaint)
        else:
            yield invalid(f"{path}.key", annotation.key, "requires metadata.name be non-empty")
        expression = annotation.value_expression
        if not expression.strip():
            yield required(f"{path}.valueExpression", "valueExpression is not specified")
        elif len(expression.strip().encode()) > _LONGEST_VALUE_EXPRESSION:
            yield required(f"{path}.valueExpression", f"must not exceed {_LONGEST_VALUE_EXPRESSION} bytes in length")
        else:
            compiled = compile_text(expression.strip(), scope, TEXT_OR_NULL, types)
            if compiled.problem:
                yield invalid(f"{path}.valueExpression", expression, compiled.problem)
        if annotation.key in seen:
            yield duplicate(f"{path}.key", annotation.key)
        seen.add(annotation.key)


def _mutation(mutation: Mutation, path: str, scope: Scope, types: dict[str, Type] | None) -> Iterator[FieldError]:
    json_patch, configuration = mutation.json_patch, mutation.apply_configuration
    match mutation.patch_type:
        case "JSONPatch":
            if json_patch is None:
                yield required(f"{path}.jsonPatch", "must be specified when patchType is JSONPatch")
            else:
                yield from _patch(f"{path}.jsonPatch.expression", json_patch.expression, scope, PATCH, types)
            if configuration is not None:
                yield invalid(
                    f"{path}.applyConfiguration",
                    "{applyConfiguration}",
                    "must not be specified when patchType is JSONPatch",
                )
        case "ApplyConfiguration":
            if configuration is None:
                yield required(f"{path}.applyConfiguration", "must be specified when patchType is ApplyConfiguration")
            else:
                yield from _patch(
                    f"{path}.applyConfiguration.expression", configuration.expression, scope, CONFIGURATION, types
                )
            if json_patch is not None:
                yield invalid(
                    f"{path}.jsonPatch", "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"
                )
        case "":
            yield required(f"{path}.patchType")
        case _:
            yield not_supported(f"{path}.patchType", mutation.patch_type, ("ApplyConfiguration", "JSONPatch"))


def _patch(
    path: str, expression: str, scope: Scope, expected: tuple[Type, ...], types: dict[str, Type] | None
) -> Iterator[FieldError]:
    trimmed = expression.strip()
    if trimmed:
        yield from _compiled(path, trimmed, scope, expected, types)
    else:
        yield required(path)


def _type_checking_problems(checked: TypeChecking, path: str) -> Iterator[FieldError]:
    for index, one in enumerate(checked.expression_warnings):
        if not one.warning:
            yield required(f"{path}[{index}].warning")
        if not one.field_ref.strip():
            yield required(f"{path}[{index}].fieldRef")
