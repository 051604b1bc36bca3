"""An authorizer elsewhere: it is sent a SubjectAccessReview and allows, denies, or leaves it to the next one."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keelback.api.authorization_v1 import SubjectAccessReviewStatus
from keelback.apimachinery import fields, labels
from keelback.auth.access_conditions import AccessConditions, ConditionsFailed
from keelback.auth.answer_cache import AnswerCache
from keelback.auth.attributes import NO_OPINION, Attributes, Decision, Verdict
from keelback.auth.review_webhook import REQUEST_SECONDS, ReviewFailed, ReviewWebhook
from keelback.client.kubeconfig import Access
from keelback.component.logs import logger
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

_KEPT: Final = 8192
_MOST_CONTROLLED: Final = 10_000
"""Answers to questions in which the caller has more characters of his own than these are not kept."""
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_log = logger("webhook_authorizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAuthorizerSettings:
    """One webhook: `--authorization-webhook-config-file` and its like, or an entry of an AuthorizationConfiguration."""

    name: str = "default"
    access: Access
    version: str = "v1beta1"
    timeout_seconds: float = REQUEST_SECONDS
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0
    """For how long answers are kept; 0 for not at all."""
    denies_on_failure: bool = False
    conditions: tuple[str, ...] = ()


class WebhookMetrics:
    """What is counted of all webhook authorizers, under upstream's names."""

    def __init__(self, metrics: Registry) -> None:
        self.evaluations = metrics.counter(
            "apiserver_authorization_webhook_evaluations_total",
            "Round-trips to authorization webhooks.",
            ("result", "name"),
        )
        self.fail_open = metrics.counter(
            "apiserver_authorization_webhook_evaluations_fail_open_total",
            "NoOpinion results due to webhook timeout or error.",
            ("result", "name"),
        )
        self.duration = metrics.histogram(
            "apiserver_authorization_webhook_duration_seconds",
            "Request latency in seconds.",
            ("result", "name"),
            _SECONDS,
        )
        self.condition_errors = metrics.counter(
            "apiserver_authorization_match_condition_evaluation_errors_total",
            "Total number of errors when an authorization webhook encounters a match condition error.",
            ("type", "name"),
        )
        self.exclusions = metrics.counter(
            "apiserver_authorization_match_condition_exclusions_total",
            "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.",
            ("type", "name"),
        )


class WebhookAuthorizer:
    """Asks the webhook, unless its match conditions exclude the action or its answer is still known."""

    def __init__(
        self, settings: WebhookAuthorizerSettings, clock: Clock, chance: random.Random, metrics: WebhookMetrics
    ) -> None:
        """Raises KubeconfigError for a server that cannot be reached that way."""
        self._settings = settings
        self._metrics = metrics
        self._conditions = AccessConditions.compile(settings.conditions) if settings.conditions else None
        self._cache: AnswerCache[Verdict] = AnswerCache(clock, _KEPT)
        self._webhook = ReviewWebhook(
            settings.access,
            f"authorization.k8s.io/{settings.version}",
            "SubjectAccessReview",
            clock,
            chance,
            settings.timeout_seconds,
        )

    async def authorize(self, attributes: Attributes) -> Verdict:
        if self._conditions is not None:
            try:
                if not self._conditions.hold(_condition_tree(attributes)):
                    self._metrics.exclusions.inc("Webhook", self._settings.name)
                    return NO_OPINION
            except ConditionsFailed as failure:
                self._metrics.condition_errors.inc("Webhook", self._settings.name)
                return self._failed(str(failure))
        spec = _spec(attributes, has_groups_as_group=self._settings.version == "v1beta1")
        key = hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).digest()

        async def ask() -> tuple[Verdict, float]:
            verdict = await self._ask(spec)
            if not _is_small(attributes):
                return verdict, 0.0
            settings = self._settings
            return verdict, settings.authorized_seconds if verdict.is_allowed else settings.unauthorized_seconds

        try:
            return await self._cache.shared(key, ask)
        except ReviewFailed as failure:
            _log.error("Failed to make webhook authorizer request", webhook=self._settings.name, error=str(failure))
            if not self._settings.denies_on_failure:
                self._metrics.fail_open.inc(failure.outcome, self._settings.name)
            return self._failed(str(failure))

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._webhook.close()

    def _failed(self, why: str) -> Verdict:
        decision = Decision.DENY if self._settings.denies_on_failure else Decision.NO_OPINION
        return Verdict(decision, error=why)

    async def _ask(self, spec: Mapping[str, Any]) -> Verdict:
        started = time.perf_counter()
        outcome = "success"
        try:
            return _verdict(await self._webhook.ask(spec))
        except ReviewFailed as failure:
            outcome = failure.outcome
            raise
        finally:
            self._metrics.evaluations.inc(outcome, self._settings.name)
            self._metrics.duration.observe(time.perf_counter() - started, outcome, self._settings.name)


def _verdict(tree: Mapping[str, Any]) -> Verdict:
    try:
        status = msgspec.convert(tree, SubjectAccessReviewStatus)
    except msgspec.ValidationError as error:
        raise ReviewFailed(f"the answer is no SubjectAccessReview: {error}") from error
    if status.denied and status.allowed:
        problem = "webhook subject access review returned both allow and deny response"
        return Verdict(Decision.DENY, status.reason, problem)
    decision = Decision.DENY if status.denied else Decision.ALLOW if status.allowed else Decision.NO_OPINION
    return Verdict(decision, status.reason)


def _spec(attributes: Attributes, *, has_groups_as_group: bool) -> dict[str, Any]:
    """The spec of the review that is sent. v1beta1 calls the groups `group`."""
    user = attributes.user
    spec: dict[str, Any] = {"user": user.name}
    if user.groups:
        spec["group" if has_groups_as_group else "groups"] = user.groups
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = user.extra
    if not attributes.is_resource_request:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
        return spec
    asked = {name: text for name, text in _resource_texts(attributes).items() if text}
    spec["resourceAttributes"] = {**asked, **_selectors(attributes)}
    return spec


def _condition_tree(attributes: Attributes) -> dict[str, Any]:
    """What match conditions see: every text, also where it is empty."""
    user = attributes.user
    tree: dict[str, Any] = {
        "user": user.name,
        "groups": list(user.groups),
        "uid": user.uid,
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    if attributes.is_resource_request:
        tree["resourceAttributes"] = {**_resource_texts(attributes), **_selectors(attributes)}
    else:
        tree["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    return tree


def _resource_texts(attributes: Attributes) -> dict[str, str]:
    return {
        "namespace": attributes.namespace,
        "verb": attributes.verb,
        "group": attributes.group,
        "version": attributes.version,
        "resource": attributes.resource,
        "subresource": attributes.subresource,
        "name": attributes.name,
    }


def _selectors(attributes: Attributes) -> dict[str, Any]:
    """The requirements of the selectors (KEP-4601). What cannot be said in a review is left out, which asks for more
    than is wanted, never for less."""
    found: dict[str, Any] = {}
    if attributes.field_selector and (requirements := _of_fields(attributes.field_selector)):
        found["fieldSelector"] = {"requirements": requirements}
    if attributes.label_selector and (requirements := _of_labels(attributes.label_selector)):
        found["labelSelector"] = {"requirements": requirements}
    return found


def _of_fields(text: str) -> list[dict[str, Any]]:
    try:
        requirements = fields.parse(text).requirements
    except fields.FieldSelectorError:
        return []
    return [
        {"key": one.field, "operator": "In" if one.equal else "NotIn", "values": [one.value]} for one in requirements
    ]


_OPERATORS: Final = {
    "=": "In",
    "==": "In",
    "in": "In",
    "!=": "NotIn",
    "notin": "NotIn",
    "exists": "Exists",
    "!": "DoesNotExist",
}


def _of_labels(text: str) -> list[dict[str, Any]]:
    try:
        requirements = labels.parse(text).requirements
    except labels.LabelSelectorError:
        return []
    # `gt` and `lt` have no name in reviews.
    return [
        {"key": one.key, "operator": _OPERATORS[one.operator], **({"values": list(one.values)} if one.values else {})}
        for one in requirements
        if one.operator in _OPERATORS
    ]


def _is_small(attributes: Attributes) -> bool:
    return sum(map(len, (*_resource_texts(attributes).values(), attributes.path))) < _MOST_CONTROLLED
