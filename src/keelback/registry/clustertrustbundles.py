"""ClusterTrustBundles: certificates that whoever reads them may trust, named after the signer they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from keelback.api.certificates_v1beta1 import ClusterTrustBundle
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid
from keelback.registry.signer_names import problems as signer_name_problems
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_OMITTED = "<value omitted>"
_BEGIN, _END = b"-----BEGIN ", b"-----END "
_IMMUTABLE = "field is immutable"


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    signer_name: str = ""


class ClusterTrustBundleFields(msgspec.Struct, frozen=True):
    """What bundles can be selected by."""

    spec: _Spec = _Spec()


class ClusterTrustBundleStrategy(Strategy[ClusterTrustBundle]):
    kind = ClusterTrustBundle
    counts_generations = False
    columns = (text("SignerName", lambda one: one.spec.signer_name), AGE)
    field_type: ClassVar[type[msgspec.Struct]] = ClusterTrustBundleFields
    field_names = ("spec.signerName",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"spec.signerName": narrow.spec.signer_name}

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # What a name may be depends on the signer: `validate` says it.
        return ()

    def validate(self, new: ClusterTrustBundle) -> Iterator[FieldError]:
        for complaint in _name_complaints(new.metadata.name, new.spec.signer_name):
            yield invalid("metadata.name", new.metadata.name, complaint)
        if new.spec.signer_name:
            yield from signer_name_problems(new.spec.signer_name, "spec.signerName")
        yield from _bundle(new.spec.trust_bundle, "spec.trustBundle")

    def validate_update(self, new: ClusterTrustBundle, old: ClusterTrustBundle) -> Iterator[FieldError]:
        if new.spec.trust_bundle != old.spec.trust_bundle:
            yield from _bundle(new.spec.trust_bundle, "spec.trustBundle")
        if new.spec.signer_name != old.spec.signer_name:
            yield invalid("spec.signerName", new.spec.signer_name, _IMMUTABLE)


def _name_complaints(name: str, signer: str) -> names.Complaints:
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
        return names.name_is_dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return (f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}",)
    return names.name_is_dns_subdomain(name.removeprefix(prefix))


def _bundle(bundle: str, path: str) -> Iterator[FieldError]:
    """What is wrong with a text of PEM blocks: each is a certificate, and there is at least one."""
    seen: dict[bytes, int] = {}
    count = 0
    rest = bundle.encode()
    while True:
        begin = rest.find(_BEGIN)
        end = rest.find(_END, begin)
        if begin < 0 or end < 0:
            break
        stop = rest.find(b"\n", end)
        block, rest = rest[begin : stop + 1 or None], b"" if stop < 0 else rest[stop + 1 :]
        kind = block[len(_BEGIN) :].partition(b"-----")[0].decode(errors="replace")
        if kind != "CERTIFICATE":
            yield invalid(path, _OMITTED, f"entry {count} has bad block type: {kind}")
        elif b": " in block:
            yield invalid(path, _OMITTED, f"entry {count} has PEM block headers")
        else:
            try:
                der = x509.load_pem_x509_certificate(block).fingerprint(SHA256())
            except ValueError as error:
                yield invalid(path, _OMITTED, f"entry {count} does not parse as X.509: {error}")
            else:
                if der in seen:
                    yield invalid(path, _OMITTED, f"duplicate trust anchor (indices {seen[der]} and {count})")
                seen.setdefault(der, count)
        count += 1
    if not count:
        yield invalid(path, _OMITTED, "at least one trust anchor must be provided")
