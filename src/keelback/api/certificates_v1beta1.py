"""The types of certificates/v1beta1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.apimachinery.meta import Condition, ListMap, Object, Time, Value, kind, named, written, written_as


class ClusterTrustBundleSpec(Value):
    signer_name: str = ""
    trust_bundle: str = written("")


@kind("certificates.k8s.io/v1beta1", "clustertrustbundles", namespaced=False)
class ClusterTrustBundle(Object):
    spec: ClusterTrustBundleSpec = written(ClusterTrustBundleSpec())


class PodCertificateRequestSpec(Value):
    max_expiration_seconds: int | None = None
    node_name: str = written("")
    node_uid: str = written_as("nodeUID", "")
    pkix_public_key: bytes = named("pkixPublicKey", b"")
    pod_name: str = written("")
    pod_uid: str = written_as("podUID", "")
    proof_of_possession: bytes = b""
    service_account_name: str = written("")
    service_account_uid: str = written_as("serviceAccountUID", "")
    signer_name: str = written("")
    stub_pkcs10_request: bytes = named("stubPKCS10Request", b"")
    unverified_user_annotations: Mapping[str, str] = {}


class PodCertificateRequestStatus(Value):
    begin_refresh_at: Time | None = None
    certificate_chain: str = ""
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    not_after: Time | None = None
    not_before: Time | None = None


@kind("certificates.k8s.io/v1beta1", "podcertificaterequests")
class PodCertificateRequest(Object):
    spec: PodCertificateRequestSpec = written(PodCertificateRequestSpec())
    status: PodCertificateRequestStatus = written(PodCertificateRequestStatus())
