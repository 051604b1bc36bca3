from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from keelback.api import authentication_v1
from keelback.api.authorization_v1 import (
    FieldSelectorAttributes,
    LabelSelectorAttributes,
    LocalSubjectAccessReview,
    NonResourceAttributes,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery import errors
from keelback.apimachinery.meta import FieldSelectorRequirement, ObjectMeta
from keelback.auth import review_checks, reviews
from keelback.auth.attributes import Deciders
from keelback.auth.authentication import UnionTokenAuthenticator
from keelback.auth.authorizers import Chain
from keelback.auth.rbac import Policy, RBACAuthorizer
from keelback.auth.static_tokens import TokenFileAuthenticator
from keelback.auth.users import UserInfo

JOE = UserInfo("joe", "7", ("dev",))
POLICY = Policy(
    (
        ClusterRole(
            metadata=ObjectMeta(name="r"),
            rules=(
                PolicyRule(api_groups=("",), resources=("pods",), verbs=("get",)),
                PolicyRule(non_resource_urls=("/x",), verbs=("get",)),
            ),
        ),
        ClusterRoleBinding(
            metadata=ObjectMeta(name="b"),
            role_ref=RoleRef(kind="ClusterRole", name="r"),
            subjects=(Subject(kind="User", name="joe"),),
        ),
    )
)
RBAC = Deciders((RBACAuthorizer(POLICY),))
CHAIN = Chain(RBAC, ("RBAC",), POLICY)
GET_PODS = ResourceAttributes(verb="get", resource="pods", namespace="x")


def test_an_access_review_says_whether_and_why() -> None:
    spec = SubjectAccessReviewSpec(user="joe", resource_attributes=GET_PODS)
    status = asyncio.run(reviews.review_access(RBAC, SubjectAccessReview(spec=spec))).status
    assert status.allowed
    assert status.reason == 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "joe"'
    spec = SubjectAccessReviewSpec(user="ann", resource_attributes=GET_PODS)
    status = asyncio.run(reviews.review_access(RBAC, SubjectAccessReview(spec=spec))).status
    assert (status.allowed, status.denied, status.reason) == (False, False, "")


def test_one_may_ask_about_oneself() -> None:
    path = NonResourceAttributes(path="/x", verb="get")
    review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(non_resource_attributes=path))
    assert asyncio.run(reviews.review_own_access(RBAC, JOE, review)).status.allowed


def _own(spec: SelfSubjectAccessReviewSpec) -> None:
    asyncio.run(reviews.review_own_access(RBAC, JOE, SelfSubjectAccessReview(spec=spec)))


def test_half_a_question_is_refused_in_upstreams_words() -> None:
    path = NonResourceAttributes(path="/x", verb="get")
    with pytest.raises(errors.Invalid) as both:
        _own(SelfSubjectAccessReviewSpec(non_resource_attributes=path, resource_attributes=GET_PODS))
    assert both.value.message == (
        '.authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value:'
        ' {"Path":"/x","Verb":"get"}: cannot be specified in combination with resourceAttributes'
    )
    with pytest.raises(errors.Invalid) as neither:
        _own(SelfSubjectAccessReviewSpec())
    assert neither.value.message == (
        '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of'
        " nonResourceAttributes or resourceAttributes must be specified"
    )
    details = neither.value.status.details
    assert details is not None
    assert (details.group, details.kind, details.name) == ("authorization.k8s.io", "", "")
    review = SubjectAccessReview(spec=SubjectAccessReviewSpec(resource_attributes=GET_PODS))
    with pytest.raises(errors.Invalid) as nobody:
        asyncio.run(reviews.review_access(RBAC, review))
    assert nobody.value.message == (
        '.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must be'
        " specified"
    )


def test_a_local_review_stays_in_its_namespace() -> None:
    spec = SubjectAccessReviewSpec(user="joe", resource_attributes=GET_PODS)
    metadata = ObjectMeta(namespace="y")
    with pytest.raises(errors.Invalid) as refused:
        asyncio.run(reviews.review_local_access(RBAC, "y", LocalSubjectAccessReview(metadata=metadata, spec=spec)))
    assert refused.value.message == (
        '.authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "x": must match'
        " metadata.namespace"
    )


def test_ones_rules_are_listed() -> None:
    asked = SelfSubjectRulesReview(spec=SelfSubjectRulesReviewSpec(namespace="x"))
    status = reviews.review_own_rules(CHAIN, JOE, asked).status
    assert [rule.resources for rule in status.resource_rules] == [("pods",)]
    assert [rule.non_resource_urls for rule in status.non_resource_rules] == [("/x",)]
    assert not status.incomplete
    with pytest.raises(errors.BadRequest, match="no namespace on request"):
        reviews.review_own_rules(CHAIN, JOE, SelfSubjectRulesReview())


def test_one_may_ask_who_one_is() -> None:
    now = datetime(2026, 1, 1, microsecond=5, tzinfo=UTC)
    review = reviews.review_self(JOE, now)
    assert review.status.user_info == authentication_v1.UserInfo(username="joe", uid="7", groups=("dev",))
    assert review.metadata.creation_timestamp == now.replace(microsecond=0)


def _token(token: str, *audiences: str) -> authentication_v1.TokenReviewStatus:
    tokens = UnionTokenAuthenticator([TokenFileAuthenticator.parse("t,joe,7")])
    review = authentication_v1.TokenReview(spec=authentication_v1.TokenReviewSpec(token=token, audiences=audiences))
    return asyncio.run(reviews.review_token(tokens, review, ("api",))).status


def test_a_token_review_says_whose_it_is() -> None:
    good = _token("t")
    assert (good.authenticated, good.user.username, good.audiences) == (True, "joe", ("api",))
    assert _token("nonsense").error == "invalid bearer token"
    assert not _token("t", "other").authenticated
    with pytest.raises(errors.BadRequest, match="token is required for TokenReview in authentication"):
        _token("")


@pytest.mark.parametrize(
    ("resource", "metadata", "wanted"),
    [
        (
            ResourceAttributes(field_selector=FieldSelectorAttributes(), label_selector=LabelSelectorAttributes()),
            ObjectMeta(),
            [
                'spec.user: Invalid value: "": at least one of user or group must be specified',
                "spec.resourceAttributes.fieldSelector.requirements: Required value: when "
                "spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required",
                "spec.resourceAttributes.labelSelector.requirements: Required value: when "
                "spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required",
            ],
        ),
        (
            ResourceAttributes(
                namespace="x",
                field_selector=FieldSelectorAttributes(
                    raw_selector="a=b",
                    requirements=(
                        FieldSelectorRequirement(operator="In"),
                        FieldSelectorRequirement(key="k", operator="Exists", values=("v",)),
                        FieldSelectorRequirement(key="k", operator="Newer"),
                    ),
                ),
            ),
            ObjectMeta(name="n"),
            [
                'spec.user: Invalid value: "": at least one of user or group must be specified',
                'spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the '
                "same time as requirements",
                "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified",
                "spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when "
                "`operator` is 'In' or 'NotIn'",
                "spec.resourceAttributes.fieldSelector.requirements[1].values: Forbidden: may not be specified when "
                "`operator` is 'Exists' or 'DoesNotExist'",
                'metadata: Invalid value: {"name":"n"}: must be empty except for namespace',
                'spec.resourceAttributes.namespace: Invalid value: "x": must match metadata.namespace',
            ],
        ),
    ],
)
def test_selectors_and_metadata_of_a_review(
    resource: ResourceAttributes, metadata: ObjectMeta, wanted: list[str]
) -> None:
    review = LocalSubjectAccessReview(metadata=metadata, spec=SubjectAccessReviewSpec(resource_attributes=resource))
    with pytest.raises(errors.Invalid) as refused:
        review_checks.check_local_access("", review)
    assert refused.value.message == f'.authorization.k8s.io "" is invalid: [{", ".join(wanted)}]'
