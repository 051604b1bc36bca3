"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: admission by servers that the cluster's users run.

Mutating webhooks are called one after the other, validating ones all at once. One that cannot be asked refuses the
request, unless its failure policy is Ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.admission.webhook_matching import (
    Webhook,
    is_exempt,
    matches_namespace,
    matches_objects,
    matches_rules,
    needs_namespace,
)
from keelback.api.admissionregistration_v1 import (
    MatchCondition,
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
    WebhookClientConfig,
)
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import codecs, errors, json_patch
from keelback.apimachinery.meta import Kind, Object, Status, narrow, replace

_OPERATIONS = frozenset(Operation)


class WebhookFailure(Exception):
    """The webhook could not be asked; the text says why."""


class WebhookCaller(Protocol):
    """How webhooks are reached."""

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        """POST the review and return the answer's body. Raises WebhookFailure."""
        ...


# Whether a webhook's match conditions hold. They are expressions: the server gives this once it can evaluate them.
MatchConditions = Callable[[Sequence[MatchCondition], AdmissionRequest], Awaitable[bool]]


@narrow(Namespace)
class _NamespaceLabels(Object):
    """A namespace, of which only the labels are of interest."""


class _AdmissionResponse(msgspec.Struct, rename="camel"):
    uid: str = ""
    allowed: bool = False
    status: Status | None = None
    patch: bytes | None = None
    patch_type: str | None = None
    audit_annotations: dict[str, str] | None = None
    warnings: list[str] | None = None


class _AdmissionReview(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    response: _AdmissionResponse | None = None


class _Dispatcher:
    """What both plugins do alike: choose webhooks, ask one, and read its answer."""

    def __init__(
        self, reader: Reader, caller: WebhookCaller, new_uid: Callable[[], str], conditions: MatchConditions | None
    ) -> None:
        self.reader = reader
        self._caller = caller
        self._new_uid = new_uid
        self._conditions = conditions

    async def concerns(self, webhook: Webhook, request: AdmissionRequest) -> bool:
        """Whether the webhook must be asked."""
        if not matches_rules(webhook, request) or not matches_objects(webhook, request):
            return False
        if needs_namespace(webhook, request) and not matches_namespace(webhook, await self._labels(request)):
            return False
        if not webhook.match_conditions:
            return True
        if self._conditions is None:
            raise WebhookFailure("match conditions cannot be evaluated")
        return await self._conditions(webhook.match_conditions, request)

    async def ask(self, webhook: Webhook, request: AdmissionRequest) -> _AdmissionResponse:
        """The webhook's answer if it allows. Raises StatusError if it refuses, WebhookFailure if it cannot be asked."""
        if request.dry_run and webhook.side_effects not in ("None", "NoneOnDryRun"):
            raise errors.BadRequest(f'admission webhook "{webhook.name}" does not support dry run')
        uid = self._new_uid()
        url = _url(webhook.client_config, webhook.timeout_seconds)
        try:
            async with asyncio.timeout(webhook.timeout_seconds):
                answer = await self._caller.call(
                    webhook.client_config, url, review(request, uid), webhook.timeout_seconds
                )
        except TimeoutError:
            raise WebhookFailure(f'failed to call webhook: Post "{url}": context deadline exceeded') from None
        except WebhookFailure as failure:
            raise WebhookFailure(f'failed to call webhook: Post "{url}": {failure}') from failure
        response = _read(answer, uid)
        for warning in response.warnings or ():
            request.warn(warning)
        for key, value in (response.audit_annotations or {}).items():
            request.audit_annotations[f"{webhook.name}/{key}"] = value
        if not response.allowed:
            raise refusal(webhook.name, response.status)
        return response

    async def _labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        if request.kind is Namespace.__kind__:
            own = request.obj if isinstance(request.obj, Namespace) else request.old_obj
            return own.metadata.labels if isinstance(own, Namespace) else {}
        try:
            return (await self.reader.get(_NamespaceLabels, request.namespace)).metadata.labels
        except errors.NotFound as error:
            raise WebhookFailure(error.message) from None


class _WebhookPlugin(AdmissionPlugin):
    operations = _OPERATIONS

    def __init__(
        self,
        reader: Reader,
        caller: WebhookCaller,
        new_uid: Callable[[], str],
        conditions: MatchConditions | None = None,
    ) -> None:
        self._dispatcher = _Dispatcher(reader, caller, new_uid, conditions)

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        return operation in self.operations


class MutatingAdmissionWebhook(_WebhookPlugin):
    """Asks webhooks that may change the object. Those that wish it are asked again if others changed it after them."""

    name = "MutatingAdmissionWebhook"

    async def admit(self, request: AdmissionRequest) -> Any:
        if is_exempt(request):
            return request.obj
        configurations = await self._dispatcher.reader.list(MutatingWebhookConfiguration)
        webhooks = [
            webhook
            for configuration in sorted(configurations, key=lambda one: one.metadata.name)
            for webhook in configuration.webhooks
        ]
        if not webhooks:
            return request.obj
        asked: list[tuple[MutatingWebhook, Any]] = []
        for webhook in webhooks:
            changed = await self._apply(webhook, request)
            if changed is not None:
                request = request.with_object(changed)
                asked.append((webhook, changed))
        for webhook, seen in asked:
            if webhook.reinvocation_policy == "IfNeeded" and seen is not request.obj:
                changed = await self._apply(webhook, request)
                if changed is not None:
                    request = request.with_object(changed)
        return request.obj

    async def _apply(self, webhook: MutatingWebhook, request: AdmissionRequest) -> Any:
        """The object as the webhook leaves it; None if it was not asked or may be ignored."""
        try:
            if not await self._dispatcher.concerns(webhook, request):
                return None
            response = await self._dispatcher.ask(webhook, request)
            if not response.patch:
                return request.obj
            changed = patched(request.obj, response.patch)
            return request.obj if changed == request.obj else changed
        except WebhookFailure as failure:
            _fail(webhook, failure)
            return None


class ValidatingAdmissionWebhook(_WebhookPlugin):
    """Asks webhooks that may refuse the object."""

    name = "ValidatingAdmissionWebhook"

    async def validate(self, request: AdmissionRequest) -> None:
        if is_exempt(request):
            return
        configurations = await self._dispatcher.reader.list(ValidatingWebhookConfiguration)
        webhooks = [
            webhook
            for configuration in sorted(configurations, key=lambda one: one.metadata.name)
            for webhook in configuration.webhooks
        ]
        if not webhooks:
            return
        answers = await asyncio.gather(*(self._check(webhook, request) for webhook in webhooks), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _check(self, webhook: Webhook, request: AdmissionRequest) -> None:
        try:
            if await self._dispatcher.concerns(webhook, request):
                await self._dispatcher.ask(webhook, request)
        except WebhookFailure as failure:
            _fail(webhook, failure)


def review(request: AdmissionRequest, uid: str) -> bytes:
    """The AdmissionReview that asks about a request."""
    kind, user = request.kind, request.user
    some = request.obj if request.obj is not None else request.old_obj
    shown = getattr(some, "__kind__", kind)
    resource = {"group": kind.group, "version": kind.version, "resource": kind.plural}
    group_kind = {"group": shown.group, "version": shown.version, "kind": shown.kind}
    user_info: dict[str, Any] = {"username": user.name}
    if user.uid:
        user_info["uid"] = user.uid
    if user.groups:
        user_info["groups"] = user.groups
    if user.extra:
        user_info["extra"] = user.extra
    body: dict[str, Any] = {"uid": uid, "kind": group_kind, "resource": resource}
    if request.subresource:
        body["subResource"] = request.subresource
    body |= {"requestKind": group_kind, "requestResource": resource}
    if request.subresource:
        body["requestSubResource"] = request.subresource
    if request.name:
        body["name"] = request.name
    if request.namespace:
        body["namespace"] = request.namespace
    body |= {
        "operation": request.operation.value,
        "userInfo": user_info,
        "object": _raw(request.obj),
        "oldObject": _raw(request.old_obj),
        "dryRun": request.dry_run,
        "options": _raw(request.options()),
    }
    return msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": body})


def refusal(webhook_name: str, status: Status | None) -> errors.StatusError:
    """The error with which a webhook's no reaches the client."""
    said = status if status is not None and status.status != "Success" else Status()
    text = f'admission webhook "{webhook_name}" denied the request'
    if said.message:
        text = f"{text}: {said.message}"
    elif said.reason:
        text = f"{text}: {said.reason}"
    else:
        text = f"{text} without explanation"
    return errors.from_status(replace(said, status="Failure", message=text, code=max(said.code, 400)))


def patched(obj: Any, patch: bytes) -> Any:
    """The object after a webhook's JSON patch. Raises WebhookFailure if the patch does not apply."""
    try:
        tree = json_patch.apply(_tree(obj), msgspec.json.decode(patch, type=list[dict[str, Any]]))
        return codecs.convert(type(obj), tree) if isinstance(obj, Object) else tree
    except (json_patch.JSONPatchError, msgspec.DecodeError, codecs.DecodeError) as error:
        raise WebhookFailure(str(error)) from error


def _fail(webhook: Webhook, failure: WebhookFailure) -> None:
    if webhook.failure_policy != "Ignore":
        raise errors.InternalError(
            f'Internal error occurred: failed calling webhook "{webhook.name}": {failure}'
        ) from failure


def _read(answer: bytes, uid: str) -> _AdmissionResponse:
    try:
        response = msgspec.json.decode(answer, type=_AdmissionReview).response
    except msgspec.DecodeError as error:
        raise WebhookFailure(f"received invalid webhook response: {error}") from error
    if response is None:
        raise WebhookFailure("received invalid webhook response: webhook response was absent")
    if response.uid != uid:
        raise WebhookFailure(f'received invalid webhook response: expected response.uid="{uid}", got "{response.uid}"')
    if response.patch and response.patch_type != "JSONPatch":
        raise WebhookFailure(
            "received invalid webhook response: webhook returned response.patch but not response.patchType"
            if response.patch_type is None
            else f'received invalid webhook response: invalid response.patchType="{response.patch_type}"'
        )
    return response


def _url(config: WebhookClientConfig, timeout_seconds: int) -> str:
    service = config.service
    if service is None:
        base = config.url or ""
    else:
        base = f"https://{service.name}.{service.namespace}.svc:{service.port}{service.path or '/'}"
    return f"{base}{'&' if '?' in base else '?'}{urlencode({'timeout': f'{timeout_seconds}s'})}"


def _raw(obj: Any) -> msgspec.Raw | None:
    if obj is None:
        return None
    return msgspec.Raw(codecs.encode(obj) if hasattr(obj, "__kind__") else msgspec.json.encode(obj))


def _tree(obj: Any) -> Any:
    return msgspec.json.decode(codecs.encode(obj)) if hasattr(obj, "__kind__") else obj
