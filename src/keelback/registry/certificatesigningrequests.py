"""CertificateSigningRequests: what is asked for never changes, only what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from keelback.api import conditions
from keelback.api.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestStatus,
)
from keelback.apimachinery import field_set, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.field_set import FieldSet
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import replace
from keelback.registry import signer_names
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Requester, Strategy, human_duration
from keelback.registry.workloads import text

_DECISIONS: Final = frozenset({"Approved", "Denied"})
_LEAST_SECONDS: Final = 600
_USAGES: Final = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
# What somebody asked for is nobody's, as upstream.
_NOT_WRITTEN_BY: Final = {
    "": field_set.of(("spec",), ("status",)),
    "approval": field_set.of(("spec",), ("status", "certificate")),
    "status": field_set.of(("spec",), ("status", "conditions")),
}


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
    checks_metadata_as_new = True
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

    def not_written_by(self, subresource: str) -> FieldSet:
        return _NOT_WRITTEN_BY[subresource]

    def asked_by(self, new: CertificateSigningRequest, user: Requester) -> CertificateSigningRequest:
        spec = replace(new.spec, username=user.name, uid=user.uid, groups=tuple(user.groups), extra=dict(user.extra))
        return replace(new, spec=spec)

    field_names = ("spec.signerName",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"spec.signerName": narrow.spec.signer_name}

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

    def prepare_for_status_update(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest
    ) -> CertificateSigningRequest:
        # Decisions stay as they were; that one was added or taken away is for validation to refuse.
        held = new.status.conditions
        for decision in sorted(_DECISIONS):
            before = [one for one in old.status.conditions if one.type == decision]
            if len(before) == sum(one.type == decision for one in held):
                kept = iter(before)
                held = tuple(next(kept) if one.type == decision else one for one in held)
        return replace(new, spec=old.spec, status=replace(new.status, conditions=held))

    def with_times(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest, now: datetime
    ) -> CertificateSigningRequest:
        held = tuple(_timed(one, old.status.conditions, now.replace(microsecond=0)) for one in new.status.conditions)
        return new if held == new.status.conditions else replace(new, status=replace(new.status, conditions=held))

    def validate(self, new: CertificateSigningRequest) -> Iterator[FieldError]:
        spec = new.spec
        if problem := _request_problem(bytes(spec.request)):
            yield invalid("spec.request", spec.request, problem)
        yield from _usages(spec.usages)
        if spec.signer_name == "kubernetes.io/legacy-unknown":
            problem = "the legacy signerName is not allowed via this API version"
            yield invalid("spec.signerName", spec.signer_name, problem)
        else:
            yield from signer_names.problems(spec.signer_name, "spec.signerName")
        seconds = spec.expiration_seconds
        if seconds is not None and seconds < _LEAST_SECONDS:
            yield invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
            )
        yield from _conditions(new)

    def validate_update(self, new: CertificateSigningRequest, old: CertificateSigningRequest) -> Iterator[FieldError]:
        yield from _conditions(new)
        yield from _kept(new, old)

    def validate_status_update(
        self, new: CertificateSigningRequest, old: CertificateSigningRequest
    ) -> Iterator[FieldError]:
        yield from _conditions(new)
        for decision in sorted(_DECISIONS):
            if _count(new, decision) > _count(old, decision):
                yield forbidden("status.conditions", f'updates may not add a condition of type "{decision}"')
        certificate = bytes(new.status.certificate)
        if certificate != bytes(old.status.certificate):
            if problem := _certificate_problem(certificate):
                yield invalid("status.certificate", "<certificate data>", problem)
            if old.status.certificate:
                yield forbidden("status.certificate", "updates may not modify existing certificate content")
        yield from _kept(new, old)

    def validate_part_update(
        self, subresource: str, new: CertificateSigningRequest, old: CertificateSigningRequest
    ) -> Iterator[FieldError]:
        yield from _conditions(new)
        yield from _kept(new, old)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # Upstream does not care what requests are called.
        return names.path_segment(name, is_prefix=is_prefix)


def _count(request: CertificateSigningRequest, type: str) -> int:
    return sum(one.type == type for one in request.status.conditions)


def _timed(
    condition: CertificateSigningRequestCondition,
    before: Sequence[CertificateSigningRequestCondition],
    now: datetime,
) -> CertificateSigningRequestCondition:
    """The condition with the times it lacks: when it was written, and since when it has been so."""
    changed = condition.last_transition_time
    if changed is None:
        same = (one for one in before if (one.type, one.status) == (condition.type, condition.status))
        changed = next((one.last_transition_time for one in same if one.last_transition_time is not None), now)
    updated = now if condition.last_update_time is None else condition.last_update_time
    return replace(condition, last_update_time=updated, last_transition_time=changed)


def _request_problem(request: bytes) -> str:
    """Why a request is none that could be signed; empty for one that could."""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in request:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_pem_x509_csr(request)
        is_signed = parsed.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        return str(error)
    return "" if is_signed else "x509: signature check failed"


def _certificate_problem(certificate: bytes) -> str:
    """Why what was issued is no chain of certificates; empty for one that is, and where there is none yet."""
    blocks = _pem_blocks(certificate)
    for kind, content in blocks:
        if kind != b"CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {go_quoted(kind.decode(errors='replace'))}"
        if b":" in content:
            return "no PEM block headers are permitted"
    if certificate and not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    try:
        x509.load_pem_x509_certificates(certificate) if certificate else ()
    except ValueError:
        return "x509: malformed certificate"
    return ""


_pem_blocks: Final = re.compile(rb"-----BEGIN ([^\n-]*)-----\s(.*?)-----END \1-----", re.DOTALL).findall


def _usages(usages: Sequence[str]) -> Iterator[FieldError]:
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)


def _conditions(request: CertificateSigningRequest) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, one in enumerate(request.status.conditions):
        path = f"status.conditions[{index}]"
        allowed = ("True",) if one.type in (*_DECISIONS, "Failed") else ("False", "True", "Unknown")
        if not one.type:
            yield required(f"{path}.type")
        if not one.status:
            yield required(f"{path}.status")
        elif one.status not in allowed:
            yield not_supported(f"{path}.status", one.status, allowed)
        if one.type in _DECISIONS and seen & (_DECISIONS - {one.type}):
            yield invalid(f"{path}.type", one.type, "Approved and Denied conditions are mutually exclusive")
        if one.type in seen:
            yield duplicate(f"{path}.type", one.type)
        seen.add(one.type)


def _kept(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Iterator[FieldError]:
    """What was said once cannot be unsaid."""
    for kind in ("Approved", "Denied", "Failed"):
        is_gone = conditions.find(new.status.conditions, kind) is None
        if is_gone and conditions.find(old.status.conditions, kind) is not None:
            yield forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
