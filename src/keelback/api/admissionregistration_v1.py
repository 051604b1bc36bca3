"""The types of admissionregistration/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Atomic, Condition, LabelSelector, ListMap, ListSet, Object, Value, kind, written


class ApplyConfiguration(Value):
    expression: str = ""


class AuditAnnotation(Value):
    key: str = written("")
    value_expression: str = written("")


class ExpressionWarning(Value):
    field_ref: str = written("")
    warning: str = written("")


class JSONPatch(Value):
    expression: str = ""


class MatchCondition(Value):
    expression: str = written("")
    name: str = written("")


class MatchResources(Value):
    exclude_resource_rules: tuple[NamedRuleWithOperations, ...] = ()
    match_policy: str = written("Equivalent")
    namespace_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    object_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    resource_rules: tuple[NamedRuleWithOperations, ...] = ()


class MutatingAdmissionPolicySpec(Value):
    failure_policy: str = written("Fail")
    match_conditions: Annotated[tuple[MatchCondition, ...], ListMap("name", merge_key="name")] = ()
    match_constraints: Annotated[MatchResources | None, Atomic()] = None
    mutations: tuple[Mutation, ...] = ()
    param_kind: Annotated[ParamKind | None, Atomic()] = None
    reinvocation_policy: str = written("")
    variables: tuple[Variable, ...] = ()


@kind("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", namespaced=False, categories=("api-extensions",))
class MutatingAdmissionPolicy(Object):
    spec: MutatingAdmissionPolicySpec = written(MutatingAdmissionPolicySpec())


class MutatingAdmissionPolicyBindingSpec(Value):
    match_resources: Annotated[MatchResources | None, Atomic()] = None
    param_ref: Annotated[ParamRef | None, Atomic()] = None
    policy_name: str = ""


@kind(
    "admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
)
class MutatingAdmissionPolicyBinding(Object):
    spec: MutatingAdmissionPolicyBindingSpec = written(MutatingAdmissionPolicyBindingSpec())


class WebhookClientConfig(Value):
    ca_bundle: bytes = b""
    service: ServiceReference | None = None
    url: str | None = None


class MutatingWebhook(Value):
    admission_review_versions: tuple[str, ...] = written(())
    client_config: WebhookClientConfig = written(WebhookClientConfig())
    failure_policy: str = written("Fail")
    match_conditions: Annotated[tuple[MatchCondition, ...], ListMap("name", merge_key="name")] = ()
    match_policy: str = written("Equivalent")
    name: str = written("")
    namespace_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    object_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    reinvocation_policy: str = written("Never")
    rules: tuple[RuleWithOperations, ...] = ()
    side_effects: str = written("")
    timeout_seconds: int = written(10)


@kind(
    "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", namespaced=False, categories=("api-extensions",)
)
class MutatingWebhookConfiguration(Object):
    webhooks: Annotated[tuple[MutatingWebhook, ...], ListMap("name", merge_key="name")] = ()


class Mutation(Value):
    apply_configuration: ApplyConfiguration | None = None
    json_patch: JSONPatch | None = None
    patch_type: str = written("")


class NamedRuleWithOperations(Value):
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = written("*")


class ParamKind(Value):
    api_version: str = ""
    kind: str = ""


class ParamRef(Value):
    name: str = ""
    namespace: str = ""
    parameter_not_found_action: str | None = None
    selector: Annotated[LabelSelector | None, Atomic()] = None


class RuleWithOperations(Value):
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = written("*")


class ServiceReference(Value):
    name: str = written("")
    namespace: str = written("")
    path: str | None = None
    port: int = written(443)


class TypeChecking(Value):
    expression_warnings: tuple[ExpressionWarning, ...] = ()


class ValidatingAdmissionPolicySpec(Value):
    audit_annotations: tuple[AuditAnnotation, ...] = ()
    failure_policy: str = written("Fail")
    match_conditions: Annotated[tuple[MatchCondition, ...], ListMap("name", merge_key="name")] = ()
    match_constraints: Annotated[MatchResources | None, Atomic()] = None
    param_kind: Annotated[ParamKind | None, Atomic()] = None
    validations: tuple[Validation, ...] = ()
    variables: Annotated[tuple[Variable, ...], ListMap("name", merge_key="name")] = ()


class ValidatingAdmissionPolicyStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = ()
    observed_generation: int = 0
    type_checking: TypeChecking | None = None


@kind(
    "admissionregistration.k8s.io/v1", "validatingadmissionpolicies", namespaced=False, categories=("api-extensions",)
)
class ValidatingAdmissionPolicy(Object):
    spec: ValidatingAdmissionPolicySpec = written(ValidatingAdmissionPolicySpec())
    status: ValidatingAdmissionPolicyStatus = written(ValidatingAdmissionPolicyStatus())


class ValidatingAdmissionPolicyBindingSpec(Value):
    match_resources: Annotated[MatchResources | None, Atomic()] = None
    param_ref: Annotated[ParamRef | None, Atomic()] = None
    policy_name: str = written("")
    validation_actions: Annotated[tuple[str, ...], ListSet()] = written(())


@kind(
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
)
class ValidatingAdmissionPolicyBinding(Object):
    spec: ValidatingAdmissionPolicyBindingSpec = written(ValidatingAdmissionPolicyBindingSpec())


class ValidatingWebhook(Value):
    admission_review_versions: tuple[str, ...] = written(())
    client_config: WebhookClientConfig = written(WebhookClientConfig())
    failure_policy: str = written("Fail")
    match_conditions: Annotated[tuple[MatchCondition, ...], ListMap("name", merge_key="name")] = ()
    match_policy: str = written("Equivalent")
    name: str = written("")
    namespace_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    object_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    rules: tuple[RuleWithOperations, ...] = ()
    side_effects: str = written("")
    timeout_seconds: int = written(10)


@kind(
    "admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
)
class ValidatingWebhookConfiguration(Object):
    webhooks: Annotated[tuple[ValidatingWebhook, ...], ListMap("name", merge_key="name")] = ()


class Validation(Value):
    expression: str = written("")
    message: str = ""
    message_expression: str = ""
    reason: str | None = None


class Variable(Value):
    expression: str = written("")
    name: str = written("")
