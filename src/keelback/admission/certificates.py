"""Who may approve, sign and attest for which signer: the plugins of certificates.k8s.io."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, IsAllowed, Operation, Question
from keelback.api.certificates_v1 import CertificateSigningRequest
from keelback.api.certificates_v1beta1 import ClusterTrustBundle

_GROUP = "certificates.k8s.io"
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateApproval(AdmissionPlugin):
    """To approve or deny a request needs the verb `approve` on its signer."""

    name = "CertificateApproval"
    resources = frozenset({f"{_GROUP}/certificatesigningrequests/approval"})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, is_allowed: IsAllowed) -> None:
        self._is_allowed = is_allowed

    async def validate(self, request: AdmissionRequest) -> None:
        signer = request.old(CertificateSigningRequest).spec.signer_name
        if not await _may(self._is_allowed, request, "approve", signer):
            raise request.forbidden(f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(AdmissionPlugin):
    """To write the certificate or that it failed needs the verb `sign` on the signer."""

    name = "CertificateSigning"
    resources = frozenset({f"{_GROUP}/certificatesigningrequests/status"})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, is_allowed: IsAllowed) -> None:
        self._is_allowed = is_allowed

    async def validate(self, request: AdmissionRequest) -> None:
        old, new = request.old(CertificateSigningRequest), request.new(CertificateSigningRequest)
        if old.status.certificate == new.status.certificate and old.status.conditions == new.status.conditions:
            return
        signer = old.spec.signer_name
        if not await _may(self._is_allowed, request, "sign", signer):
            raise request.forbidden(f'user not permitted to sign requests with signerName "{signer}"')


class ClusterTrustBundleAttest(AdmissionPlugin):
    """To say which authorities a signer has needs the verb `attest` on it."""

    name = "ClusterTrustBundleAttest"
    resources = frozenset({f"{_GROUP}/clustertrustbundles"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, is_allowed: IsAllowed) -> None:
        self._is_allowed = is_allowed

    async def validate(self, request: AdmissionRequest) -> None:
        spec = request.new(ClusterTrustBundle).spec
        if not spec.signer_name:
            return
        if request.old_obj is not None and request.old(ClusterTrustBundle).spec == spec:
            return
        if not await _may(self._is_allowed, request, "attest", spec.signer_name):
            raise request.forbidden(f'user not permitted to attest for signerName "{spec.signer_name}"')


class CertificateSubjectRestriction(AdmissionPlugin):
    """Nobody asks for a client certificate of system:masters: it could not be taken back."""

    name = "CertificateSubjectRestriction"
    resources = frozenset({f"{_GROUP}/certificatesigningrequests"})

    async def validate(self, request: AdmissionRequest) -> None:
        spec = request.new(CertificateSigningRequest).spec
        if spec.signer_name != _CLIENT_SIGNER:
            return
        try:
            subject = x509.load_pem_x509_csr(spec.request).subject
        except ValueError as error:
            raise request.forbidden(f"could not parse request: {error}") from error
        if any(one.value == "system:masters" for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
            raise request.forbidden(f"use of {_CLIENT_SIGNER} signer with system:masters group is not allowed")


async def _may(is_allowed: IsAllowed, request: AdmissionRequest, verb: str, signer: str) -> bool:
    """Whether the right is held for this signer, or for all signers of its domain."""
    names = (signer, f"{signer.partition('/')[0]}/*")
    for name in names:
        if await is_allowed(Question(request.user, verb, _GROUP, "signers", name)):
            return True
    return False
