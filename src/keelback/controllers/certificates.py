"""The certificate controllers: approve what kubelets may have, sign what is approved, and clean up afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from keelback.api import conditions
from keelback.api.authorization_v1 import ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec
from keelback.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from keelback.apimachinery.meta import replace
from keelback.controllers.certificate_signer import subject_of
from keelback.controllers.config import Config
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, TerminalError, again_after

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY})

_CLIENT_USAGES = frozenset({"client auth", "digital signature", "key encipherment"})
_SERVING_USAGES = frozenset({"server auth", "digital signature", "key encipherment"})

_KEEP = {"Approved": timedelta(hours=1), "Denied": timedelta(hours=1), "Failed": timedelta(hours=1)}
_KEEP_PENDING = timedelta(hours=24)
_MINIMUM_SECONDS = 600


def complaint(request: CertificateSigningRequest) -> str:
    """Why the signer must refuse the request; empty if it need not."""
    usages = frozenset(request.spec.usages)
    try:
        name, organizations, alternative = subject_of(request.spec.request)
    except ValueError as error:
        return f"unable to parse csr {request.metadata.name}: {error}"
    match request.spec.signer_name:
        case "kubernetes.io/kube-apiserver-client":
            if "client auth" not in usages or not usages <= _CLIENT_USAGES:
                return "usages did not match, expected only client auth, digital signature, key encipherment"
        case "kubernetes.io/kube-apiserver-client-kubelet":
            if not _names_node(name, organizations) or alternative:
                return "the subject is not that of a node, or it has alternative names"
            if "client auth" not in usages or not usages <= _CLIENT_USAGES:
                return "usages did not match a kubelet's client certificate"
        case "kubernetes.io/kubelet-serving":
            if not _names_node(name, organizations) or not alternative:
                return "the subject is not that of a node, or it has no alternative names"
            if "server auth" not in usages or not usages <= _SERVING_USAGES:
                return "usages did not match a kubelet's serving certificate"
    return ""


def is_approved(request: CertificateSigningRequest) -> bool:
    """Whether the request was approved and not denied as well."""
    return conditions.is_true(request.status.conditions, "Approved") and not (
        conditions.is_true(request.status.conditions, "Denied")
    )


def expiry(request: CertificateSigningRequest) -> datetime | None:
    """When the request is old enough to be deleted."""
    for type, keep in _KEEP.items():
        held = conditions.find(request.status.conditions, type)
        if held is not None and held.last_update_time is not None:
            return held.last_update_time + keep
    created = request.metadata.creation_timestamp
    return None if created is None else created + _KEEP_PENDING


@dataclass(frozen=True, slots=True)
class SigningReconciler:
    """Signs approved requests of the built-in signers."""

    context: Context
    config: Config
    name: ClassVar = "certificatesigningrequest-signing-controller"
    role: ClassVar = "certificate-controller"
    component: ClassVar = "certificate-controller"
    kind: ClassVar = CertificateSigningRequest
    owns: ClassVar = ()

    async def reconcile(self, request: CertificateSigningRequest) -> Result:
        signer = self.config.signers.get(request.spec.signer_name, self.config.signer)
        held = request.status
        if signer is None or held.certificate or not is_approved(request):
            return DONE
        if request.spec.signer_name not in SIGNERS or conditions.is_true(held.conditions, "Failed"):
            return DONE
        now = self.context.now()
        why = complaint(request)
        if why:
            failed = CertificateSigningRequestCondition(
                type="Failed",
                status="True",
                reason="SignerValidationFailure",
                message=why,
                last_update_time=now,
                last_transition_time=now,
            )
            await self._write(replace(request, status=replace(held, conditions=(*held.conditions, failed))))
            return DONE
        duration = self.config.cluster_signing_duration_seconds
        if request.spec.expiration_seconds is not None:
            duration = min(duration, max(request.spec.expiration_seconds, _MINIMUM_SECONDS))
        try:
            signed = signer.sign(request.spec.request, request.spec.usages, timedelta(seconds=duration), now)
        except ValueError as error:
            raise TerminalError(f"cannot sign {request.metadata.name}: {error}") from error
        await self._write(replace(request, status=replace(held, certificate=signed)))
        return DONE

    async def _write(self, request: CertificateSigningRequest) -> None:
        # Status has no other writer but approval, which has a subresource of its own; a conflict tries again.
        await self.context.client.update(request, "status")


@dataclass(frozen=True, slots=True)
class ApprovingReconciler:
    """Approves a kubelet's client certificate where its user is allowed to have that done."""

    context: Context
    name: ClassVar = "certificatesigningrequest-approving-controller"
    role: ClassVar = "certificate-controller"
    component: ClassVar = "certificate-controller"
    kind: ClassVar = CertificateSigningRequest
    owns: ClassVar = ()

    async def reconcile(self, request: CertificateSigningRequest) -> Result:
        if request.status.conditions or request.spec.signer_name != KUBELET_CLIENT or complaint(request):
            return DONE
        name, _, _ = subject_of(request.spec.request)
        for subresource, message in (
            ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
            ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
        ):
            if subresource == "selfnodeclient" and request.spec.username != name:
                continue
            if await self._is_allowed(request, subresource):
                await self._approve(request, message)
                return DONE
        return DONE

    async def _is_allowed(self, request: CertificateSigningRequest, subresource: str) -> bool:
        spec = request.spec
        attributes = ResourceAttributes(
            group="certificates.k8s.io",
            resource="certificatesigningrequests",
            verb="create",
            version="*",
            subresource=subresource,
        )
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=spec.username, groups=spec.groups, uid=spec.uid, extra=spec.extra, resource_attributes=attributes
            )
        )
        answer = await self.context.client.create(review)
        return answer.status.allowed

    async def _approve(self, request: CertificateSigningRequest, message: str) -> None:
        now = self.context.now()
        approved = CertificateSigningRequestCondition(
            type="Approved",
            status="True",
            reason="AutoApproved",
            message=message,
            last_update_time=now,
            last_transition_time=now,
        )
        status = replace(request.status, conditions=(*request.status.conditions, approved))
        await self.context.client.update(replace(request, status=status), "approval")


@dataclass(frozen=True, slots=True)
class CleanerReconciler:
    """Deletes requests that have been answered for an hour, or not for a day."""

    context: Context
    name: ClassVar = "certificatesigningrequest-cleaner-controller"
    role: ClassVar = "certificate-controller"
    component: ClassVar = "certificate-controller"
    kind: ClassVar = CertificateSigningRequest
    owns: ClassVar = ()

    async def reconcile(self, request: CertificateSigningRequest) -> Result:
        due = expiry(request)
        if due is None:
            return DONE
        left = (due - self.context.now()).total_seconds()
        if left > 0:
            return again_after(left)
        uid = request.metadata.uid
        await self.context.client.delete(CertificateSigningRequest, request.metadata.name, uid=uid)
        return DONE


def _names_node(name: str, organizations: tuple[str, ...]) -> bool:
    return name.startswith("system:node:") and organizations == ("system:nodes",)
