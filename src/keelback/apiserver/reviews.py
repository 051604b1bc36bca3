"""Reviews: kinds that are asked, not kept. Each is answered by POST with the same object and its status filled in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from keelback.api import authentication_v1, authorization_v1
from keelback.apimachinery import codecs, errors
from keelback.apiserver import bodies, negotiation, options
from keelback.apiserver.context import RequestContext
from keelback.auth import reviews
from keelback.auth.attributes import Authorizer
from keelback.auth.authentication import TokenAuthenticator
from keelback.auth.rbac import Policy
from keelback.component.http import AnyResponse
from keelback.registry.strategy import Strategy

Answer = Callable[[RequestContext, Any], Awaitable[Any]]
Route = Callable[[RequestContext], Awaitable[AnyResponse]]

KINDS = (
    authentication_v1.TokenReview,
    authentication_v1.SelfSubjectReview,
    authorization_v1.SubjectAccessReview,
    authorization_v1.LocalSubjectAccessReview,
    authorization_v1.SelfSubjectAccessReview,
    authorization_v1.SelfSubjectRulesReview,
)


def routes(
    authorizer: Authorizer, policy: Policy, tokens: TokenAuthenticator, audiences: tuple[str, ...]
) -> Iterator[tuple[type[Any], Route]]:
    """Each review kind with what answers it."""

    async def token(context: RequestContext, review: Any) -> Any:
        return await reviews.review_token(tokens, review, audiences)

    async def self_subject(context: RequestContext, review: Any) -> Any:
        return reviews.review_self(context.user, review, context.now)

    async def access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_access(authorizer, review)

    async def local_access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_local_access(authorizer, context.info.namespace, review)

    async def own_access(context: RequestContext, review: Any) -> Any:
        return await reviews.review_own_access(authorizer, context.user, review)

    async def own_rules(context: RequestContext, review: Any) -> Any:
        return reviews.review_own_rules(policy, context.user, review)

    answers: tuple[Answer, ...] = (token, self_subject, access, local_access, own_access, own_rules)
    for kind, answer in zip(KINDS, answers, strict=True):
        yield kind, _route(kind, answer)


def _route(kind: type[Any], answer: Answer) -> Route:
    strategy: Strategy[Any] = type(f"{kind.__name__}Strategy", (Strategy,), {"kind": kind})()

    async def route(context: RequestContext) -> AnyResponse:
        if context.info.verb != "create":
            raise errors.MethodNotSupported.unrouted()
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        chosen = options.write_options(context, "CreateOptions")
        review = bodies.decode(context, strategy, chosen.field_validation)
        answered = await answer(context, review)
        return negotiation.respond(201, codecs.encode(answered), accepted, warnings=context.warnings)

    return route
