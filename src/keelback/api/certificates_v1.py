"""The types of certificates/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.apimachinery.meta import ListMap, Object, Time, Value, kind, written


class CertificateSigningRequestSpec(Value):
    expiration_seconds: int | None = None
    extra: Mapping[str, tuple[str, ...]] = {}
    groups: tuple[str, ...] = ()
    request: bytes = written(b"")
    signer_name: str = written("")
    uid: str = ""
    usages: tuple[str, ...] = ()
    username: str = ""


class CertificateSigningRequestStatus(Value):
    certificate: bytes = b""
    conditions: Annotated[tuple[CertificateSigningRequestCondition, ...], ListMap("type")] = ()


@kind("certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False, short_names=("csr",))
class CertificateSigningRequest(Object):
    spec: CertificateSigningRequestSpec = written(CertificateSigningRequestSpec())
    status: CertificateSigningRequestStatus = written(CertificateSigningRequestStatus())


class CertificateSigningRequestCondition(Value):
    last_transition_time: Time | None = written(None)
    last_update_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")
