"""What webhooks are sent and what they answer: AdmissionReview of admission.k8s.io, v1 and v1beta1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from keelback.admission.evaluation import request_tree
from keelback.admission.plugin import AdmissionRequest
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Kind, Status, replace

VERSIONS: Final = ("v1", "v1beta1")
_GROUP: Final = "admission.k8s.io"


class WebhookFailure(Exception):
    """The webhook could not be asked; the text says why. `code` is what its server answered, or what that comes to."""

    def __init__(self, problem: str, code: int = 503) -> None:
        super().__init__(problem)
        self.code = code


class Answer(msgspec.Struct, rename="camel"):
    """AdmissionResponse."""

    uid: str = ""
    allowed: bool = False
    status: Status | None = None
    patch: bytes | None = None
    patch_type: str | None = None
    audit_annotations: dict[str, str] | None = None
    warnings: list[str] | None = None


class _Review(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    response: Answer | None = None


class _Takes(Protocol):
    @property
    def admission_review_versions(self) -> Sequence[str]: ...


def version_for(webhook: _Takes) -> str:
    """The first version that both sides know. Raises WebhookFailure."""
    for version in webhook.admission_review_versions or VERSIONS:
        if version in VERSIONS:
            return version
    raise WebhookFailure(
        "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)", 400
    )


def review(request: AdmissionRequest, kind: Kind, obj: Any, old: Any, *, uid: str, version: str = "v1") -> bytes:
    """The AdmissionReview that asks about a request, with its objects in the version the webhook was matched by."""
    body: dict[str, Any] = {"uid": uid, **request_tree(request, kind)}
    body.pop("dryRun")
    chosen = body.pop("options")
    body |= {"object": _raw(obj), "oldObject": _raw(old), "dryRun": request.dry_run, "options": chosen}
    return msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": body})


def read(answer: bytes, *, uid: str, version: str, is_mutating: bool) -> Answer:
    """A webhook's answer. Raises WebhookFailure for one that makes no sense."""
    try:
        sent = msgspec.json.decode(answer, type=_Review)
    except msgspec.DecodeError as error:
        raise WebhookFailure(f"failed to call webhook: {error}") from error
    try:
        return _checked(sent, uid, is_mutating=is_mutating) if version == "v1" else _checked_v1beta1(sent)
    except ValueError as error:
        raise WebhookFailure(f"received invalid webhook response: {error}") from error


def _checked(sent: _Review, uid: str, *, is_mutating: bool) -> Answer:
    response = sent.response
    if response is None:
        raise ValueError("webhook response was absent")
    if response.uid != uid:
        raise ValueError(f'expected response.uid="{uid}", got "{response.uid}"')
    if (sent.api_version, sent.kind) != (f"{_GROUP}/v1", "AdmissionReview"):
        group, _, version = sent.api_version.rpartition("/")
        found = f"{group}/{version}, Kind={sent.kind}"
        raise ValueError(f"expected webhook response of {_GROUP}/v1, Kind=AdmissionReview, got {found}")
    if not is_mutating:
        if response.patch:
            raise ValueError("validating webhook may not return response.patch")
        if response.patch_type is not None:
            raise ValueError("validating webhook may not return response.patchType")
        return response
    if response.patch and response.patch_type is None:
        raise ValueError("webhook returned response.patch but not response.patchType")
    if not response.patch and response.patch_type is not None:
        raise ValueError("webhook returned response.patchType but not response.patch")
    if response.patch_type == "":
        raise ValueError('webhook returned invalid response.patchType of ""')
    return response


def _checked_v1beta1(sent: _Review) -> Answer:
    """The older version says less of itself: no uid needs to come back, and every patch is a JSON patch."""
    if sent.response is None:
        raise ValueError("webhook response was absent")
    sent.response.patch_type = "JSONPatch" if sent.response.patch else None
    return sent.response


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


def annotation(configuration: str, webhook: str, **more: Any) -> str:
    """The value of an audit annotation about a webhook's call."""
    return json.dumps({"configuration": configuration, "webhook": webhook, **more}, separators=(",", ":"))


def _raw(obj: Any) -> msgspec.Raw | None:
    return None if obj is None else msgspec.Raw(codecs.encode(obj))
