"""The four kinds of admission policy and binding: their columns."""

from __future__ import annotations

from typing import Any

from keelback.api.admissionregistration_v1 import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text

_UNSET = "<unset>"


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


class ValidatingAdmissionPolicyBindingStrategy(Strategy[ValidatingAdmissionPolicyBinding]):
    kind = ValidatingAdmissionPolicyBinding
    columns = _BINDING_COLUMNS


class MutatingAdmissionPolicyStrategy(Strategy[MutatingAdmissionPolicy]):
    kind = MutatingAdmissionPolicy
    columns = (number("Mutations", lambda one: len(one.spec.mutations)), text("ParamKind", _param_kind), AGE)


class MutatingAdmissionPolicyBindingStrategy(Strategy[MutatingAdmissionPolicyBinding]):
    kind = MutatingAdmissionPolicyBinding
    columns = _BINDING_COLUMNS
