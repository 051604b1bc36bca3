"""The types of authorization/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.apimachinery.meta import (
    FieldSelectorRequirement,
    LabelSelectorRequirement,
    Object,
    Value,
    kind,
    named,
    written,
)


class FieldSelectorAttributes(Value):
    raw_selector: str = ""
    requirements: tuple[FieldSelectorRequirement, ...] = ()


class LabelSelectorAttributes(Value):
    raw_selector: str = ""
    requirements: tuple[LabelSelectorRequirement, ...] = ()


class SubjectAccessReviewSpec(Value):
    extra: Mapping[str, tuple[str, ...]] = {}
    groups: tuple[str, ...] = ()
    non_resource_attributes: NonResourceAttributes | None = None
    resource_attributes: ResourceAttributes | None = None
    uid: str = ""
    user: str = ""


class SubjectAccessReviewStatus(Value):
    allowed: bool = written(False)
    denied: bool = False
    evaluation_error: str = ""
    reason: str = ""


@kind("authorization.k8s.io/v1", "localsubjectaccessreviews")
class LocalSubjectAccessReview(Object):
    spec: SubjectAccessReviewSpec = written(SubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = written(SubjectAccessReviewStatus())


class NonResourceAttributes(Value):
    path: str = ""
    verb: str = ""


class NonResourceRule(Value):
    non_resource_urls: tuple[str, ...] = named("nonResourceURLs", ())
    verbs: tuple[str, ...] = written(())


class ResourceAttributes(Value):
    field_selector: FieldSelectorAttributes | None = None
    group: str = ""
    label_selector: LabelSelectorAttributes | None = None
    name: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    verb: str = ""
    version: str = ""


class ResourceRule(Value):
    api_groups: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = written(())


class SelfSubjectAccessReviewSpec(Value):
    non_resource_attributes: NonResourceAttributes | None = None
    resource_attributes: ResourceAttributes | None = None


@kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False)
class SelfSubjectAccessReview(Object):
    spec: SelfSubjectAccessReviewSpec = written(SelfSubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = written(SubjectAccessReviewStatus())


class SelfSubjectRulesReviewSpec(Value):
    namespace: str = ""


class SubjectRulesReviewStatus(Value):
    evaluation_error: str = ""
    incomplete: bool = written(False)
    non_resource_rules: tuple[NonResourceRule, ...] = written(())
    resource_rules: tuple[ResourceRule, ...] = written(())


@kind("authorization.k8s.io/v1", "selfsubjectrulesreviews", namespaced=False)
class SelfSubjectRulesReview(Object):
    spec: SelfSubjectRulesReviewSpec = written(SelfSubjectRulesReviewSpec())
    status: SubjectRulesReviewStatus = written(SubjectRulesReviewStatus())


@kind("authorization.k8s.io/v1", "subjectaccessreviews", namespaced=False)
class SubjectAccessReview(Object):
    spec: SubjectAccessReviewSpec = written(SubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = written(SubjectAccessReviewStatus())
