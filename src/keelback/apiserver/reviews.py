"""Reviews: kinds that are asked, not kept. Each is answered by POST with the same object and its status filled in.

They pass admission as what is kept does. Only the rules review is not shown to what validates, as upstream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from keelback.api import authentication_v1, authorization_v1
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import with_metadata
from keelback.apiserver import bodies, negotiation, options
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.context import RequestContext
from keelback.apiserver.ownership import ManagedFields
from keelback.apiserver.resource_store import Write, without_system_fields
from keelback.auth import review_checks, reviews
from keelback.auth.attributes import Authorizer
from keelback.auth.authentication import TokenAuthenticator
from keelback.auth.authorizers import RuleSource
from keelback.component.http import AnyResponse
from keelback.registry.other_versions import in_version
from keelback.registry.strategy import Strategy

Check = Callable[[RequestContext, Any], None]
Answer = Callable[[RequestContext, Any], Awaitable[Any]]
Route = Callable[[RequestContext], Awaitable[AnyResponse]]
Adapter = Callable[[Strategy[Any]], Strategy[Any]]

KINDS = (
    authentication_v1.TokenReview,
    authentication_v1.SelfSubjectReview,
    authorization_v1.SubjectAccessReview,
    authorization_v1.LocalSubjectAccessReview,
    authorization_v1.SelfSubjectAccessReview,
    authorization_v1.SelfSubjectRulesReview,
)


def routes(
    authorizer: Authorizer,
    rules: RuleSource,
    tokens: TokenAuthenticator,
    audiences: tuple[str, ...],
    admission: AdmissionBinder,
    adapted: Adapter,
    optional: Iterable[tuple[str, str]] = (),
) -> Iterator[tuple[type[Any], Route]]:
    """Each review kind with what answers it; `adapted` makes a strategy one of the server's Kubernetes version.

    `optional` are group versions that are off by default; those of reviews are other versions of SelfSubjectReview.
    """

    async def token(context: RequestContext, review: Any) -> Any:
        return await reviews.review_token(tokens, review, audiences)

    async def self_subject(context: RequestContext, review: Any) -> Any:
        return reviews.review_self(context.user, context.now)

    async def access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_access(authorizer, review)

    async def local_access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_local_access(authorizer, context.info.namespace, review)

    async def own_access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_own_access(authorizer, context.user, review)

    async def own_rules(context: RequestContext, review: Any) -> Any:
        return reviews.review_own_rules(rules, context.user, review)

    def check_local(context: RequestContext, review: Any) -> None:
        review_checks.check_local_access(context.info.namespace, review)

    answers: tuple[tuple[Check, Answer], ...] = (
        (lambda _, review: reviews.check_token(review), token),
        (_nothing_to_check, self_subject),
        (lambda _, review: review_checks.check_access(review), access),
        (check_local, local_access),
        (lambda _, review: review_checks.check_own_access(review), own_access),
        (_nothing_to_check, own_rules),
    )
    for kind, (check, answer) in zip(KINDS, answers, strict=True):
        yield kind, _route(adapted(_strategy_of(kind)()), check, answer, admission)
    for group, version in optional:
        if group == authentication_v1.SelfSubjectReview.__kind__.group:
            strategy = in_version(_strategy_of(authentication_v1.SelfSubjectReview), version)
            yield (
                strategy.kind,
                _route(adapted(strategy), _nothing_to_check, _self_subject_as(strategy.kind), admission),
            )


def _strategy_of(kind: type[Any]) -> type[Strategy[Any]]:
    made: type[Strategy[Any]] = type(f"{kind.__name__}Strategy", (Strategy,), {"kind": kind})
    return made


def _self_subject_as(kind: type[Any]) -> Answer:
    async def answer(context: RequestContext, review: Any) -> Any:
        answered = reviews.review_self(context.user, context.now)
        return kind(metadata=answered.metadata, status=answered.status)

    return answer


def _nothing_to_check(context: RequestContext, review: Any) -> None:
    return None


def _route(strategy: Strategy[Any], check: Check, answer: Answer, binder: AdmissionBinder) -> Route:
    kind = strategy.kind
    ownership = ManagedFields(strategy.schema)
    is_validated = kind is not authorization_v1.SelfSubjectRulesReview

    async def route(context: RequestContext) -> AnyResponse:
        if context.info.verb != "create":
            raise errors.MethodNotSupported.unrouted()
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""), has_table=False)
        chosen = options.write_options(context, "CreateOptions")
        review = bodies.decode(context, strategy, chosen.field_validation)
        admission = binder.bind(context, kind.__kind__, subresource="", dry_run=chosen.dry_run)
        review = _in_namespace(without_system_fields(review), context.info.namespace)
        write = Write(context.now, context.field_manager, admission)
        review = with_metadata(review, managed_fields=ownership.track(None, review, write))
        review = await admission.admit("CREATE", review, None)
        check(context, review)
        if is_validated:
            await admission.validate("CREATE", review, None)
        answered = await answer(context, review)
        return negotiation.respond(201, codecs.encode(answered), accepted, warnings=context.warnings)

    return route


def _in_namespace(review: Any, namespace: str) -> Any:
    given = review.metadata.namespace
    if namespace and given and given != namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return review if given == namespace else with_metadata(review, namespace=namespace)
