"""The bindings of admission policies: where a policy holds, with which parameters, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api.admissionregistration_v1 import (
    MutatingAdmissionPolicyBinding,
    ParamRef,
    ValidatingAdmissionPolicyBinding,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.registry import label_selectors
from keelback.registry.admission_rules import immutable_operations, match_resources_problems
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_UNSET: Final = "<unset>"
_ACTIONS: Final = ("Audit", "Deny", "Warn")


def _param_ref(binding: Any) -> str:
    given = binding.spec.param_ref
    if given is None:
        return _UNSET
    if given.name:
        return f"{given.namespace or '*'}/{given.name}"
    return given.namespace or "*"


_BINDING_COLUMNS = (text("PolicyName", lambda one: one.spec.policy_name), text("ParamRef", _param_ref), AGE)


class ValidatingAdmissionPolicyBindingStrategy(Strategy[ValidatingAdmissionPolicyBinding]):
    kind = ValidatingAdmissionPolicyBinding
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = _BINDING_COLUMNS

    def validate(self, new: ValidatingAdmissionPolicyBinding) -> Iterator[FieldError]:
        spec = new.spec
        yield from _policy_name(spec.policy_name)
        yield from _param_ref_problems(spec.param_ref)
        if spec.match_resources is not None:
            yield from match_resources_problems(spec.match_resources, "spec.matchResources")
        seen: set[str] = set()
        for index, action in enumerate(spec.validation_actions):
            if action not in _ACTIONS:
                yield not_supported(f"spec.validationActions[{index}]", action, _ACTIONS)
            if action in seen:
                yield duplicate(f"spec.validationActions[{index}]", action)
            seen.add(action)
        if {"Deny", "Warn"} <= seen:
            yield invalid(
                "spec.validationActions",
                list(spec.validation_actions),
                "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                "response and headers serves no purpose)",
            )
        if not seen:
            yield required("spec.validationActions", "at least one validation action is required")


class MutatingAdmissionPolicyBindingStrategy(Strategy[MutatingAdmissionPolicyBinding]):
    kind = MutatingAdmissionPolicyBinding
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = _BINDING_COLUMNS

    def validate(self, new: MutatingAdmissionPolicyBinding) -> Iterator[FieldError]:
        spec = new.spec
        yield from _policy_name(spec.policy_name)
        yield from _param_ref_problems(spec.param_ref)
        if spec.match_resources is not None:
            yield from match_resources_problems(spec.match_resources, "spec.matchResources")
            yield from immutable_operations(spec.match_resources, "spec.matchResources.resourceRules.operations")


def _policy_name(name: str) -> Iterator[FieldError]:
    if not name:
        yield required("spec.policyName")
        return
    for complaint in names.name_is_dns_subdomain(name):
        yield invalid("spec.policyName", name, complaint)


def _param_ref_problems(ref: ParamRef | None) -> Iterator[FieldError]:
    path = "spec.paramRef"
    if ref is None:
        return
    if ref.name:
        for complaint in names.path_segment(ref.name):
            yield invalid(f"{path}.name", ref.name, complaint)
        if ref.selector is not None:
            yield forbidden(f"{path}.name", "name and selector are mutually exclusive")
    if ref.selector is not None:
        yield from label_selectors.validate(ref.selector, f"{path}.selector")
        if ref.name:
            yield forbidden(f"{path}.selector", "name and selector are mutually exclusive")
    if not ref.name and ref.selector is None:
        yield required(path, "one of name or selector must be specified")
    action = ref.parameter_not_found_action
    if not action:
        yield required(f"{path}.parameterNotFoundAction")
    elif action not in ("Allow", "Deny"):
        yield not_supported(f"{path}.parameterNotFoundAction", action, ("Deny", "Allow"), in_given_order=True)
