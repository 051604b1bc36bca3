"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: admission by servers that the cluster's users run.

Mutating webhooks are called one after the other, validating ones all at once. One that cannot be asked refuses the
request, unless its failure policy is Ignore.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec

from keelback.admission import match_conditions, reinvocations, webhook_reviews
from keelback.admission.evaluation import AccessChecks, request_values, tree_of
from keelback.admission.expressions import Scope
from keelback.admission.match_conditions import MatchConditionFailure
from keelback.admission.matching import Matcher, criteria, is_exempt
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader, Rules
from keelback.admission.policies import in_version
from keelback.admission.resources import Resources
from keelback.admission.webhook_metrics import Kind as CallKind
from keelback.admission.webhook_metrics import WebhookCall
from keelback.admission.webhook_reviews import Answer, WebhookFailure, refusal
from keelback.api.admissionregistration_v1 import (
    MatchCondition,
    MutatingWebhook,
    MutatingWebhookConfiguration,
    RuleWithOperations,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
    WebhookClientConfig,
)
from keelback.apimachinery import codecs, errors, json_patch
from keelback.apimachinery.meta import Kind, LabelSelector
from keelback.component.evaluations import Evaluations

_OPERATIONS: Final = frozenset(Operation)
_IF_NEEDED: Final = "IfNeeded"
_IGNORE: Final = "Ignore"
_NO_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")


class AnsweredWithError(WebhookFailure):
    """The webhook's server answered, but with an error."""


class WebhookCaller(Protocol):
    """How webhooks are reached."""

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        """POST the review and return the answer's body. Raises WebhookFailure."""
        ...


class Webhook(Protocol):
    """What mutating and validating webhooks have in common."""

    @property
    def name(self) -> str: ...
    @property
    def admission_review_versions(self) -> Sequence[str]: ...
    @property
    def rules(self) -> Sequence[RuleWithOperations]: ...
    @property
    def client_config(self) -> WebhookClientConfig: ...
    @property
    def failure_policy(self) -> str: ...
    @property
    def match_policy(self) -> str: ...
    @property
    def match_conditions(self) -> Sequence[MatchCondition]: ...
    @property
    def namespace_selector(self) -> LabelSelector: ...
    @property
    def object_selector(self) -> LabelSelector: ...
    @property
    def side_effects(self) -> str: ...
    @property
    def timeout_seconds(self) -> int: ...


@dataclass(frozen=True, slots=True)
class WebhookDependencies:
    """What asking webhooks needs."""

    reader: Reader
    resources: Resources
    rules: Rules
    caller: WebhookCaller
    new_uid: Callable[[], str]
    evaluations: Evaluations
    metrics: AdmissionMetrics


class _Dispatcher:
    """What both plugins do alike: choose webhooks, and ask one."""

    def __init__(self, given: WebhookDependencies, *, is_mutating: bool) -> None:
        self.reader = given.reader
        self.resources = given.resources
        self._rules = given.rules
        self._evaluations = given.evaluations
        self._caller = given.caller
        self._new_uid = given.new_uid
        self._metrics = given.metrics
        self._is_mutating = is_mutating
        self._kind: CallKind = "admit" if is_mutating else "validating"
        self._matcher = Matcher(given.reader, given.resources)

    async def concerned(self, webhook: Webhook, request: AdmissionRequest) -> Kind | None:
        """The version of the resource in which the webhook must be asked; None if it need not.

        Raises Forbidden if its match conditions fail and it does not ignore that.
        """
        asked = criteria(webhook.rules, webhook.match_policy, webhook.namespace_selector, webhook.object_selector)
        kind = await self._matcher.matched(asked, request, needs_rules=True)
        if kind is None or not webhook.match_conditions:
            return kind
        conditions = match_conditions.conditions(webhook.match_conditions, Scope(), webhook.failure_policy)
        assert conditions is not None
        obj, old = await self._seen(request, kind)
        checks = AccessChecks(request, self._rules, self._evaluations)
        values = {
            **request_values(request, kind, tree_of(obj), tree_of(old)),
            **checks.values,
        }
        labels = (webhook.name, "webhook", self._kind, request.operation)
        started = time.perf_counter()
        try:
            is_met = await checks.answering(partial(conditions.hold, values, {}), values)
        except MatchConditionFailure as failure:
            self._metrics.condition_errors.inc(*labels)
            raise request.forbidden(str(failure)) from failure
        finally:
            self._metrics.condition_seconds.observe(time.perf_counter() - started, *labels)
        if not is_met:
            self._metrics.condition_exclusions.inc(*labels)
        return kind if is_met else None

    async def _seen(self, request: AdmissionRequest, kind: Kind) -> tuple[Any, Any]:
        return (
            await in_version(request.obj, request.kind, kind, self.resources),
            await in_version(request.old_obj, request.kind, kind, self.resources),
        )

    def call(self, webhook: Webhook, request: AdmissionRequest) -> WebhookCall:
        """A call, to be counted."""
        fails_open = webhook.failure_policy == _IGNORE
        return WebhookCall(self._metrics, webhook.name, self._kind, request.operation, fails_open=fails_open)

    async def ask(self, webhook: Webhook, request: AdmissionRequest, kind: Kind, call: WebhookCall) -> Answer:
        """The webhook's answer if it allows. Raises StatusError if it refuses, WebhookFailure if it cannot be asked."""
        if request.dry_run and webhook.side_effects not in _NO_SIDE_EFFECTS:
            raise errors.BadRequest(f'admission webhook "{webhook.name}" does not support dry run')
        version = webhook_reviews.version_for(webhook)
        uid = self._new_uid()
        obj, old = await self._seen(request, kind)
        body = webhook_reviews.review(request, kind, obj, old, uid=uid, version=version)
        answer = webhook_reviews.read(
            await self._call(webhook, body), uid=uid, version=version, is_mutating=self._is_mutating
        )
        for key, value in (answer.audit_annotations or {}).items():
            request.audit_annotations[f"{webhook.name}/{key}"] = value
        for warning in answer.warnings or ():
            request.warn(warning)
        if not answer.allowed:
            refused = refusal(webhook.name, answer.status)
            call.refuse(refused.code)
            raise refused
        return answer

    async def _call(self, webhook: Webhook, body: bytes) -> bytes:
        url = _url(webhook.client_config, webhook.timeout_seconds)
        try:
            async with asyncio.timeout(webhook.timeout_seconds):
                return await self._caller.call(webhook.client_config, url, body, webhook.timeout_seconds)
        except TimeoutError:
            raise WebhookFailure(f'failed to call webhook: Post "{url}": context deadline exceeded') from None
        except AnsweredWithError as failure:
            raise WebhookFailure(f"failed to call webhook: {failure}", failure.code) from failure
        except WebhookFailure as failure:
            raise WebhookFailure(f'failed to call webhook: Post "{url}": {failure}') from failure


class _WebhookPlugin(AdmissionPlugin):
    operations = _OPERATIONS

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        return operation in self.operations


class MutatingAdmissionWebhook(_WebhookPlugin):
    """Asks webhooks that may change the object. Those that wish it are asked again if others changed it after them."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, given: WebhookDependencies) -> None:
        self._dispatcher = _Dispatcher(given, is_mutating=True)

    async def admit(self, request: AdmissionRequest) -> Any:
        if is_exempt(request):
            return request.obj
        configurations = await self._dispatcher.reader.list(MutatingWebhookConfiguration)
        if not configurations:
            return request.obj
        reinvocation = request.reinvocation
        kept = reinvocations.of(reinvocation, self.name)
        kept.begin(reinvocation, request.obj)
        for index, (key, webhook) in enumerate(_in_order(configurations)):
            kind = await self._dispatcher.concerned(webhook, request)
            if kind is None or kept.is_skipped(reinvocation, key):
                continue
            changed = await self._apply(webhook, key, index, request, kind)
            if changed is not request.obj:
                request = request.with_object(changed)
                kept.changed(reinvocation)
            if webhook.reinvocation_policy == _IF_NEEDED:
                kept.may_ask_again(key)
        kept.output = request.obj
        return request.obj

    async def _apply(
        self, webhook: MutatingWebhook, key: tuple[str, str, int], index: int, request: AdmissionRequest, kind: Kind
    ) -> Any:
        """The object as the webhook leaves it: the very same if it changes nothing, or could not be asked."""
        call = f"round_{int(request.reinvocation.is_second_round)}_index_{index}"
        changed, patch = request.obj, b""
        try:
            with self._dispatcher.call(webhook, request) as counted:
                answer = await self._dispatcher.ask(webhook, request, kind, counted)
                patch = answer.patch or b""
                if patch:
                    changed = await self._patched(webhook, answer, request, kind)
        except WebhookFailure as failure:
            _fail(webhook, failure)
            request.audit_annotations[f"failed-open.mutation.webhook.admission.k8s.io/{call}"] = webhook.name
        is_changed = changed is not request.obj
        request.audit_annotations[f"mutation.webhook.admission.k8s.io/{call}"] = webhook_reviews.annotation(
            key[0], webhook.name, mutated=is_changed
        )
        if is_changed:
            request.audit_annotations[f"patch.webhook.admission.k8s.io/{call}"] = webhook_reviews.annotation(
                key[0], webhook.name, patch=msgspec.json.decode(patch), patchType="JSONPatch"
            )
        return changed

    async def _patched(self, webhook: Webhook, answer: Answer, request: AdmissionRequest, kind: Kind) -> Any:
        """The object after the answer's patch. Raises WebhookFailure, InternalError."""
        try:
            operations = msgspec.json.decode(answer.patch or b"", type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise WebhookFailure(f"received undecodable patch in webhook response: {error}") from error
        if not operations:
            return request.obj
        if request.obj is None:
            raise errors.InternalError.of(
                f'admission webhook "{webhook.name}" attempted to modify the object, which is '
                "not supported for this operation"
            )
        if answer.patch_type != "JSONPatch":
            raise WebhookFailure(f'unsupported patch type "{answer.patch_type}"')
        resources = self._dispatcher.resources
        shown = await in_version(request.obj, request.kind, kind, resources)
        try:
            tree = json_patch.apply(codecs.to_tree(shown), operations)
            changed = resources.from_tree(tree, shown, request.old_obj)
        except (json_patch.JSONPatchError, codecs.DecodeError) as error:
            raise errors.InternalError.of(str(error)) from error
        if shown is not request.obj:
            changed = await resources.convert(changed, request.kind)
        return request.obj if changed == request.obj else changed


class ValidatingAdmissionWebhook(_WebhookPlugin):
    """Asks webhooks that may refuse the object."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, given: WebhookDependencies) -> None:
        self._dispatcher = _Dispatcher(given, is_mutating=False)

    async def validate(self, request: AdmissionRequest) -> None:
        if is_exempt(request):
            return
        configurations = await self._dispatcher.reader.list(ValidatingWebhookConfiguration)
        if not configurations:
            return
        asked: list[tuple[int, Webhook, Kind]] = []
        for index, (_, webhook) in enumerate(_in_order(configurations)):
            kind = await self._dispatcher.concerned(webhook, request)
            if kind is not None:
                asked.append((index, webhook, kind))
        answers = await asyncio.gather(*(self._check(*one, request) for one in asked), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _check(self, index: int, webhook: Webhook, kind: Kind, request: AdmissionRequest) -> None:
        try:
            with self._dispatcher.call(webhook, request) as counted:
                await self._dispatcher.ask(webhook, request, kind, counted)
        except WebhookFailure as failure:
            _fail(webhook, failure)
            key = f"failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
            request.audit_annotations[key] = webhook.name


def _in_order(configurations: Sequence[Any]) -> Iterator[tuple[tuple[str, str, int], Any]]:
    """Every webhook with a key of its own, by the names of the configurations and as they stand there."""
    for configuration in sorted(configurations, key=lambda one: one.metadata.name):
        seen: dict[str, int] = {}
        webhook: MutatingWebhook | ValidatingWebhook
        for webhook in configuration.webhooks:
            seen[webhook.name] = at = seen.get(webhook.name, -1) + 1
            yield (configuration.metadata.name, webhook.name, at), webhook


def _fail(webhook: Webhook, failure: WebhookFailure) -> None:
    if webhook.failure_policy != _IGNORE:
        raise errors.InternalError.of(f'failed calling webhook "{webhook.name}": {failure}') from failure


def _url(config: WebhookClientConfig, timeout_seconds: int) -> str:
    service = config.service
    if service is None:
        base = config.url or ""
    else:
        base = f"https://{service.name}.{service.namespace}.svc:{service.port}{service.path or '/'}"
    return f"{base}{'&' if '?' in base else '?'}{urlencode({'timeout': f'{timeout_seconds}s'})}"
