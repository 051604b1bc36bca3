"""CertificateSigningRequests: what is asked for never changes, only what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api import conditions
from keelback.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestStatus
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Requester, Strategy, human_duration
from keelback.registry.workloads import text


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    signer_name: str = ""


class CertificateSigningRequestFields(msgspec.Struct, frozen=True):
    """What requests can be selected by."""

    spec: _Spec = _Spec()


def _condition(request: CertificateSigningRequest) -> str:
    held = request.status.conditions
    if conditions.find(held, "Denied") is not None:
        words = ["Denied"]
    elif conditions.find(held, "Approved") is not None:
        words = ["Approved"]
    else:
        words = ["Pending"]
    if conditions.find(held, "Failed") is not None:
        words.append("Failed")
    if request.status.certificate:
        words.append("Issued")
    return ",".join(words)


def _duration(request: CertificateSigningRequest) -> str:
    seconds = request.spec.expiration_seconds
    return NONE if seconds is None else human_duration(seconds)


class CertificateSigningRequestStrategy(Strategy[CertificateSigningRequest]):
    kind = CertificateSigningRequest
    subresources = ("approval", "status")
    counts_generations = False
    columns = (
        AGE,
        text("SignerName", lambda one: one.spec.signer_name),
        text("Requestor", lambda one: one.spec.username),
        text("RequestedDuration", _duration),
        text("Condition", _condition),
    )
    field_type: ClassVar[type[msgspec.Struct]] = CertificateSigningRequestFields

    def asked_by(self, new: CertificateSigningRequest, user: Requester) -> CertificateSigningRequest:
        spec = replace(new.spec, username=user.name, uid=user.uid, groups=tuple(user.groups), extra=dict(user.extra))
        return replace(new, spec=spec)

    field_names = ("spec.signerName",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"spec.signerName": narrow.spec.signer_name}

    def default(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest | None = None
    ) -> CertificateSigningRequest:
        if new.spec.usages:
            return new
        usages = ("digital signature", "key encipherment")
        return replace(new, spec=replace(new.spec, usages=usages))

    def prepare_for_create(self, new: CertificateSigningRequest) -> CertificateSigningRequest:
        return replace(new, status=CertificateSigningRequestStatus())

    def prepare_for_update(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest
    ) -> CertificateSigningRequest:
        return replace(new, spec=old.spec, status=old.status)

    def prepare_for_approval(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest
    ) -> CertificateSigningRequest:
        """The object of an update of its /approval: the conditions alone change."""
        return replace(new, spec=old.spec, status=replace(old.status, conditions=new.status.conditions))

    def validate(self, new: CertificateSigningRequest) -> Iterator[FieldError]:
        if not new.spec.signer_name:
            yield required("spec.signerName")
        elif "/" not in new.spec.signer_name:
            yield invalid(
                "spec.signerName",
                new.spec.signer_name,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            )
        if not new.spec.request:
            yield invalid("spec.request", "", "PEM block type must be CERTIFICATE REQUEST")
        seconds = new.spec.expiration_seconds
        if seconds is not None and seconds < 600:
            yield invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
            )

    def validate_update(self, new: CertificateSigningRequest, old: CertificateSigningRequest) -> Iterator[FieldError]:
        held = new.status.conditions
        if conditions.find(held, "Approved") is not None and conditions.find(held, "Denied") is not None:
            yield invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive")
