"""The reviews: clients ask who somebody is and what they may do. Each answers the review with its status filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from keelback.api import authentication_v1
from keelback.api.authorization_v1 import (
    LocalSubjectAccessReview,
    NonResourceRule,
    ResourceAttributes,
    ResourceRule,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
)
from keelback.apimachinery import errors
from keelback.apimachinery.go_text import aggregate
from keelback.apimachinery.meta import (
    FieldSelectorRequirement,
    LabelSelectorRequirement,
    ObjectMeta,
    replace,
)
from keelback.auth.attributes import Attributes, Authorizer, Decision
from keelback.auth.authentication import AuthenticationFailed, TokenAuthenticator
from keelback.auth.authorizers import RuleSource
from keelback.auth.review_checks import check_access, check_local_access, check_own_access
from keelback.auth.users import UserInfo

_GROUP = "authorization.k8s.io"


async def review_access(authorizer: Authorizer, review: SubjectAccessReview) -> SubjectAccessReview:
    """Whether the user in the review may do what it says. Raises Invalid."""
    check_access(review)
    return replace(review, status=await _decide(authorizer, _user(review.spec), review.spec))


async def review_local_access(
    authorizer: Authorizer, namespace: str, review: LocalSubjectAccessReview
) -> LocalSubjectAccessReview:
    """The same, about one namespace, which the review may not leave. Raises Invalid."""
    check_local_access(namespace, review)
    return replace(review, status=await _decide(authorizer, _user(review.spec), review.spec))


def check_token(review: authentication_v1.TokenReview) -> None:
    """Raises BadRequest where there is no token."""
    if not review.spec.token:
        raise errors.BadRequest("token is required for TokenReview in authentication")


async def review_own_access(
    authorizer: Authorizer, user: UserInfo, review: SelfSubjectAccessReview
) -> SelfSubjectAccessReview:
    """Whether the caller may do what the review says. Raises Invalid."""
    check_own_access(review)
    return replace(review, status=await _decide(authorizer, user, _of_user(user, review)))


def review_own_rules(source: RuleSource, user: UserInfo, review: SelfSubjectRulesReview) -> SelfSubjectRulesReview:
    """Everything the caller may do in the review's namespace. Raises BadRequest without one."""
    if not review.spec.namespace:
        raise errors.BadRequest("no namespace on request")
    rules, unresolved = source.rules_for(user, review.spec.namespace)
    status = SubjectRulesReviewStatus(
        resource_rules=tuple(
            ResourceRule(
                verbs=rule.verbs,
                api_groups=rule.api_groups,
                resources=rule.resources,
                resource_names=rule.resource_names,
            )
            for rule in rules
            if rule.resources
        ),
        non_resource_rules=tuple(
            NonResourceRule(verbs=rule.verbs, non_resource_urls=rule.non_resource_urls)
            for rule in rules
            if rule.non_resource_urls
        ),
        incomplete=bool(unresolved),
        evaluation_error=aggregate(unresolved) if unresolved else "",
    )
    return SelfSubjectRulesReview(status=status)


def review_self(user: UserInfo, now: datetime) -> authentication_v1.SelfSubjectReview:
    """Who the caller is. Nothing of what was asked is repeated."""
    status = authentication_v1.SelfSubjectReviewStatus(user_info=_shown(user))
    metadata = ObjectMeta(creation_timestamp=now.replace(microsecond=0))
    return authentication_v1.SelfSubjectReview(metadata=metadata, status=status)


async def review_token(
    tokens: TokenAuthenticator, review: authentication_v1.TokenReview, api_audiences: Sequence[str]
) -> authentication_v1.TokenReview:
    """Whose token it is, if it is good for one of the review's audiences. Raises BadRequest without a token."""
    check_token(review)
    wanted = review.spec.audiences
    try:
        known = await tokens.authenticate_token(review.spec.token, wanted)
    except AuthenticationFailed as failure:
        return replace(review, status=authentication_v1.TokenReviewStatus(error=str(failure)))
    if known is None:
        return replace(review, status=authentication_v1.TokenReviewStatus(error="invalid bearer token"))
    audiences = known.audiences
    if not audiences:
        # Tokens that know nothing of audiences are for the API server.
        audiences = tuple(one for one in api_audiences if not wanted or one in wanted)
        if not audiences:
            return replace(review, status=authentication_v1.TokenReviewStatus())
    status = authentication_v1.TokenReviewStatus(authenticated=True, user=_shown(known.user), audiences=audiences)
    return replace(review, status=status)


def attributes_of(user: UserInfo, spec: SubjectAccessReviewSpec) -> Attributes:
    """The action a review asks about."""
    path = spec.non_resource_attributes
    if path is not None:
        return Attributes(user, path.verb, path=path.path, is_resource_request=False)
    asked = spec.resource_attributes or ResourceAttributes()
    fields, labels = asked.field_selector, asked.label_selector
    return Attributes(
        user,
        asked.verb,
        group=asked.group,
        version=asked.version,
        resource=asked.resource,
        subresource=asked.subresource,
        namespace=asked.namespace,
        name=asked.name,
        field_selector=fields.raw_selector or _selector(fields.requirements) if fields is not None else "",
        label_selector=labels.raw_selector or _selector(labels.requirements) if labels is not None else "",
    )


async def _decide(authorizer: Authorizer, user: UserInfo, spec: SubjectAccessReviewSpec) -> SubjectAccessReviewStatus:
    verdict = await authorizer.authorize(attributes_of(user, spec))
    return SubjectAccessReviewStatus(
        allowed=verdict.is_allowed,
        denied=verdict.decision is Decision.DENY,
        reason=verdict.reason,
        evaluation_error=verdict.error,
    )


def _of_user(user: UserInfo, review: SelfSubjectAccessReview) -> SubjectAccessReviewSpec:
    return SubjectAccessReviewSpec(
        user=user.name,
        resource_attributes=review.spec.resource_attributes,
        non_resource_attributes=review.spec.non_resource_attributes,
    )


def _selector(requirements: Sequence[FieldSelectorRequirement | LabelSelectorRequirement]) -> str:
    """Requirements for exactly one value, as a selector's text: authorizers look at no others."""
    return ",".join(
        f"{one.key}={one.values[0]}" for one in requirements if one.operator == "In" and len(one.values) == 1
    )


def _user(spec: SubjectAccessReviewSpec) -> UserInfo:
    return UserInfo(spec.user, spec.uid, spec.groups, spec.extra)


def _shown(user: UserInfo) -> authentication_v1.UserInfo:
    return authentication_v1.UserInfo(username=user.name, uid=user.uid, groups=user.groups, extra=user.extra)
