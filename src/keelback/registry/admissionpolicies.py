"""The four kinds of admission policy and binding; what their expressions say is checked by whom compiles them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from keelback.api.admissionregistration_v1 import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    MutatingAdmissionPolicySpec,
    Mutation,
    ParamRef,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicySpec,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text

_UNSET: Final = "<unset>"
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_FAILURE_POLICIES: Final = ("Fail", "Ignore")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_REINVOCATIONS: Final = ("IfNeeded", "Never")
_is_identifier = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch


def _param_kind(policy: Any) -> str:
    given = policy.spec.param_kind
    return _UNSET if given is None else f"{given.api_version}/{given.kind}"


def _param_ref(binding: Any) -> str:
    given = binding.spec.param_ref
    if given is None:
        return _UNSET
    if given.name:
        return f"{given.namespace or '*'}/{given.name}"
    return given.namespace or "*"


_BINDING_COLUMNS = (text("PolicyName", lambda one: one.spec.policy_name), text("ParamRef", _param_ref), AGE)


class ValidatingAdmissionPolicyStrategy(Strategy[ValidatingAdmissionPolicy]):
    kind = ValidatingAdmissionPolicy
    subresources = ("status",)
    columns = (number("Validations", lambda one: len(one.spec.validations)), text("ParamKind", _param_kind), AGE)

    def validate(self, new: ValidatingAdmissionPolicy) -> Iterator[FieldError]:
        spec = new.spec
        yield from _shared(spec)
        if not spec.validations and not spec.audit_annotations:
            detail = "validations or auditAnnotations must contain at least one item"
            yield required("spec.validations", detail)
            yield required("spec.auditAnnotations", detail)
        for index, validation in enumerate(spec.validations):
            path = f"spec.validations[{index}]"
            if not validation.expression.strip():
                yield required(f"{path}.expression", "expression is not specified")
            if validation.reason is not None and validation.reason not in _REASONS:
                yield not_supported(f"{path}.reason", validation.reason, _REASONS)


class ValidatingAdmissionPolicyBindingStrategy(Strategy[ValidatingAdmissionPolicyBinding]):
    kind = ValidatingAdmissionPolicyBinding
    columns = _BINDING_COLUMNS

    def validate(self, new: ValidatingAdmissionPolicyBinding) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.policy_name:
            yield required("spec.policyName")
        yield from _param_ref_problems(spec.param_ref)
        if not spec.validation_actions:
            yield required("spec.validationActions", "at least one validation action is required")
        for index, action in enumerate(spec.validation_actions):
            if action not in _ACTIONS:
                yield not_supported(f"spec.validationActions[{index}]", action, _ACTIONS)
        if {"Deny", "Warn"} <= set(spec.validation_actions):
            yield invalid(
                "spec.validationActions",
                list(spec.validation_actions),
                "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                "response and headers serves no purpose)",
            )


class MutatingAdmissionPolicyStrategy(Strategy[MutatingAdmissionPolicy]):
    kind = MutatingAdmissionPolicy
    columns = (number("Mutations", lambda one: len(one.spec.mutations)), text("ParamKind", _param_kind), AGE)

    def validate(self, new: MutatingAdmissionPolicy) -> Iterator[FieldError]:
        spec = new.spec
        yield from _shared(spec)
        if not spec.mutations:
            yield required("spec.mutations", "mutations must contain at least one item")
        for index, mutation in enumerate(spec.mutations):
            yield from _mutation(mutation, f"spec.mutations[{index}]")
        if not spec.reinvocation_policy:
            yield required("spec.reinvocationPolicy")
        elif spec.reinvocation_policy not in _REINVOCATIONS:
            yield not_supported("spec.reinvocationPolicy", spec.reinvocation_policy, _REINVOCATIONS)


class MutatingAdmissionPolicyBindingStrategy(Strategy[MutatingAdmissionPolicyBinding]):
    kind = MutatingAdmissionPolicyBinding
    columns = _BINDING_COLUMNS

    def validate(self, new: MutatingAdmissionPolicyBinding) -> Iterator[FieldError]:
        if not new.spec.policy_name:
            yield required("spec.policyName")
        yield from _param_ref_problems(new.spec.param_ref)


def _shared(spec: ValidatingAdmissionPolicySpec | MutatingAdmissionPolicySpec) -> Iterator[FieldError]:
    if spec.failure_policy not in _FAILURE_POLICIES:
        yield not_supported("spec.failurePolicy", spec.failure_policy, _FAILURE_POLICIES)
    if spec.param_kind is not None:
        version = spec.param_kind.api_version
        if not version:
            yield required("spec.paramKind.apiVersion")
        elif version.count("/") > 1:
            yield invalid("spec.paramKind.apiVersion", version, f"unexpected GroupVersion string: {version}")
        if not spec.param_kind.kind:
            yield required("spec.paramKind.kind")
    if spec.match_constraints is None:
        yield required("spec.matchConstraints")
    elif not spec.match_constraints.resource_rules:
        yield required("spec.matchConstraints.resourceRules")
    for index, variable in enumerate(spec.variables):
        path = f"spec.variables[{index}]"
        if not variable.name:
            yield required(f"{path}.name")
        elif not _is_identifier(variable.name):
            yield invalid(f"{path}.name", variable.name, "must be a valid CEL identifier")
        if not variable.expression.strip():
            yield required(f"{path}.expression", "expression is not specified")
    seen: set[str] = set()
    for index, condition in enumerate(spec.match_conditions):
        path = f"spec.matchConditions[{index}]"
        if not condition.expression.strip():
            yield required(f"{path}.expression")
        for complaint in names.qualified_name(condition.name):
            yield invalid(f"{path}.name", condition.name, complaint)
        if condition.name in seen:
            yield duplicate(f"{path}.name", condition.name)
        seen.add(condition.name)


def _mutation(mutation: Mutation, path: str) -> Iterator[FieldError]:
    match mutation.patch_type:
        case "JSONPatch":
            if mutation.json_patch is None:
                yield required(f"{path}.jsonPatch", "must be specified when patchType is JSONPatch")
            if mutation.apply_configuration is not None:
                yield invalid(
                    f"{path}.applyConfiguration",
                    "{applyConfiguration}",
                    "must not be specified when patchType is JSONPatch",
                )
        case "ApplyConfiguration":
            if mutation.apply_configuration is None:
                yield required(f"{path}.applyConfiguration", "must be specified when patchType is ApplyConfiguration")
            if mutation.json_patch is not None:
                yield invalid(
                    f"{path}.jsonPatch", "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"
                )
        case "":
            yield required(f"{path}.patchType")
        case _:
            yield not_supported(f"{path}.patchType", mutation.patch_type, ("ApplyConfiguration", "JSONPatch"))


def _param_ref_problems(ref: ParamRef | None) -> Iterator[FieldError]:
    path = "spec.paramRef"
    if ref is None:
        return
    if ref.name:
        if ref.selector is not None:
            yield forbidden(f"{path}.name", "name and selector are mutually exclusive")
            yield forbidden(f"{path}.selector", "name and selector are mutually exclusive")
    elif ref.selector is None:
        yield required(path, "one of name or selector must be specified")
    action = ref.parameter_not_found_action
    if action is None:
        yield required(f"{path}.parameterNotFoundAction")
    elif action not in ("Allow", "Deny"):
        yield not_supported(f"{path}.parameterNotFoundAction", action, ("Allow", "Deny"))
