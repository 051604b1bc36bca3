"""The controllers' bootstrap policy: each is a service account in kube-system and may do no more than it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keelback.api.rbac_v1 import PolicyRule, Subject
from keelback.apimachinery.meta import replace
from keelback.auth.bootstrap_policy_rules import EVENTS, READ, rule, service_account, user

_PREFIX = "system:controller:"
_BATCH, _APPS, _STORAGE, _RESOURCE = "batch", "apps", "storage.k8s.io", "resource.k8s.io"
_APPS_AND_EXTENSIONS, _EXTENSIONS_AND_APPS = "apps extensions", "extensions apps"
_CERTIFICATES = "certificates.k8s.io"

_RULES: Mapping[str, tuple[PolicyRule, ...]] = {
    "attachdetach-controller": (
        rule("list watch", "core", "persistentvolumes persistentvolumeclaims"),
        rule(READ, "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("list watch", "core", "pods"),
        EVENTS,
        rule("get create delete list watch", _STORAGE, "volumeattachments"),
        rule("get watch list", _STORAGE, "csidrivers"),
        rule("get watch list", _STORAGE, "csinodes"),
    ),
    # It writes roles that hold more than itself, so it may escalate.
    "clusterrole-aggregation-controller": (
        rule("escalate get list watch update patch", "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "cronjob-controller": (
        rule("get list watch update", _BATCH, "cronjobs"),
        rule("get list watch create update delete patch", _BATCH, "jobs"),
        rule("update", _BATCH, "cronjobs/status"),
        rule("update", _BATCH, "cronjobs/finalizers"),
        rule("list watch delete", "core", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": (
        rule(READ, _EXTENSIONS_AND_APPS, "daemonsets"),
        rule("update", _EXTENSIONS_AND_APPS, "daemonsets/status"),
        rule("update", _EXTENSIONS_AND_APPS, "daemonsets/finalizers"),
        rule("list watch", "core", "nodes"),
        rule("list watch create delete patch", "core", "pods"),
        rule("create", "core", "pods/binding"),
        rule("get list watch create delete update patch", _APPS, "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        rule("get list watch update", _EXTENSIONS_AND_APPS, "deployments"),
        rule("update", _EXTENSIONS_AND_APPS, "deployments/status"),
        rule("update", _EXTENSIONS_AND_APPS, "deployments/finalizers"),
        rule("get list watch create update patch delete", _APPS_AND_EXTENSIONS, "replicasets"),
        rule("get list watch update", "core", "pods"),
        EVENTS,
    ),
    "disruption-controller": (
        rule(READ, _EXTENSIONS_AND_APPS, "deployments"),
        rule(READ, _APPS_AND_EXTENSIONS, "replicasets"),
        rule(READ, "core", "replicationcontrollers"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, _APPS, "statefulsets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        rule("patch update", "core", "pods/status"),
        rule("get", "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        rule(READ, "core", "services pods"),
        rule("get list watch create update delete", "core", "endpoints"),
        rule("create", "core", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        rule(READ, "core", "services pods nodes"),
        # Owner references that block deletion need the right to change the owner's finalizers.
        rule("update", "core", "services/finalizers"),
        rule("get list watch create update delete", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        rule(READ, "core", "services endpoints"),
        rule("update", "core", "services/finalizers"),
        rule("update", "core", "endpoints/finalizers"),
        rule("get list watch create update delete", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "expand-controller": (
        rule("get list watch update patch", "core", "persistentvolumes"),
        rule("update patch", "core", "persistentvolumeclaims/status"),
        rule(READ, "core", "persistentvolumeclaims"),
        EVENTS,
        rule("get", "core", "services"),
    ),
    "ephemeral-volume-controller": (
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("get list watch create", "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "resource-claim-controller": (
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("get list watch create delete", _RESOURCE, "resourceclaims"),
        rule("update patch", _RESOURCE, "resourceclaims resourceclaims/status"),
        rule("update patch", _RESOURCE, "resourceclaims/binding"),
        rule("update patch", "core", "pods/status"),
        EVENTS,
    ),
    "device-taint-eviction-controller": (
        rule("get list watch delete", "core", "pods"),
        rule("update patch", "core", "pods/status"),
        rule(READ, _RESOURCE, "resourceclaims"),
        rule(READ, _RESOURCE, "resourceslices"),
        rule(READ, _RESOURCE, "deviceclasses"),
        rule(READ, _RESOURCE, "devicetaintrules"),
        rule("patch", _RESOURCE, "devicetaintrules/status"),
        EVENTS,
    ),
    "resourcepoolstatusrequest-controller": (
        rule("get list watch delete", _RESOURCE, "resourcepoolstatusrequests"),
        rule("update", _RESOURCE, "resourcepoolstatusrequests/status"),
        rule(READ, _RESOURCE, "resourceslices resourceclaims devicetaintrules"),
    ),
    "podgroup-protection-controller": (
        rule("get list watch update", "scheduling.k8s.io", "podgroups"),
        rule(READ, "core", "pods"),
    ),
    "generic-garbage-collector": (
        rule("get list watch patch update delete", "*", "*"),
        EVENTS,
    ),
    "horizontal-pod-autoscaler": (
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list watch", "core", "pods"),
        rule("list watch", "metrics.k8s.io", "pods"),
        rule(READ, "custom.metrics.k8s.io", "*"),
        rule(READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": (
        rule("get list watch update patch", _BATCH, "jobs"),
        rule("update", _BATCH, "jobs/status"),
        rule("update", _BATCH, "jobs/finalizers"),
        rule("list watch create delete patch", "core", "pods"),
        EVENTS,
    ),
    "namespace-controller": (
        rule("get list watch delete", "core", "namespaces"),
        rule("update", "core", "namespaces/finalize namespaces/status"),
        rule("get list watch delete deletecollection", "*", "*"),
    ),
    "node-controller": (
        rule("get list watch update delete patch", "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("patch update", "core", "pods/status"),
        rule("list watch get delete", "core", "pods"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        rule("get list watch update create delete", "core", "persistentvolumes"),
        rule("update", "core", "persistentvolumes/status"),
        rule("get list watch update", "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule("list watch get create delete", "core", "pods"),
        rule(READ, _STORAGE, "storageclasses"),
        rule("list watch", "core", "nodes"),
        EVENTS,
        rule("watch", "core", "events"),
        rule("get", "core", "services"),
    ),
    "pod-garbage-collector": (
        rule("list watch delete", "core", "pods"),
        rule(READ, "core", "nodes"),
        rule("patch", "core", "pods/status"),
    ),
    "replicaset-controller": (
        rule("get list watch update", _APPS_AND_EXTENSIONS, "replicasets"),
        rule("update", _APPS_AND_EXTENSIONS, "replicasets/status"),
        rule("update", _APPS_AND_EXTENSIONS, "replicasets/finalizers"),
        rule("list watch patch create delete", "core", "pods"),
        EVENTS,
    ),
    "replication-controller": (
        rule("get list watch update", "core", "replicationcontrollers"),
        rule("update", "core", "replicationcontrollers/status"),
        rule("update", "core", "replicationcontrollers/finalizers"),
        rule("list watch patch create delete", "core", "pods"),
        EVENTS,
    ),
    "resourcequota-controller": (
        rule("list watch", "*", "*"),
        rule("update", "core", "resourcequotas/status"),
        EVENTS,
    ),
    "route-controller": (
        rule("list watch", "core", "nodes"),
        rule("patch", "core", "nodes/status"),
        EVENTS,
    ),
    "service-account-controller": (rule("create", "core", "serviceaccounts"), EVENTS),
    "service-controller": (
        rule(READ, "core", "services"),
        rule("patch update", "core", "services/status"),
        rule("list watch", "core", "nodes"),
        EVENTS,
    ),
    "service-cidrs-controller": (
        rule("get list watch patch update", "networking.k8s.io", "servicecidrs"),
        rule("patch update", "networking.k8s.io", "servicecidrs/finalizers"),
        rule("patch update", "networking.k8s.io", "servicecidrs/status"),
        rule(READ, "networking.k8s.io", "ipaddresses"),
        EVENTS,
    ),
    "statefulset-controller": (
        rule("list watch", "core", "pods"),
        rule(READ, _APPS, "statefulsets"),
        rule("update", _APPS, "statefulsets/status"),
        rule("update", _APPS, "statefulsets/finalizers"),
        rule("get create delete update patch", "core", "pods"),
        rule("get create delete update patch list watch", _APPS, "controllerrevisions"),
        rule("get create list watch", "core", "persistentvolumeclaims"),
        rule("update delete", "core", "persistentvolumeclaims"),
        rule("update", "core", "pods/finalizers"),
        EVENTS,
    ),
    "ttl-controller": (rule("update patch list watch", "core", "nodes"), EVENTS),
    "certificate-controller": (
        rule("get list watch delete", _CERTIFICATES, "certificatesigningrequests"),
        rule("update", _CERTIFICATES, "certificatesigningrequests/status certificatesigningrequests/approval"),
        rule("approve", _CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
        rule(
            "sign",
            _CERTIFICATES,
            "signers",
            "kubernetes.io/legacy-unknown",
            "kubernetes.io/kube-apiserver-client",
            "kubernetes.io/kube-apiserver-client-kubelet",
            "kubernetes.io/kubelet-serving",
        ),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "pvc-protection-controller": (
        rule("get list watch update", "core", "persistentvolumeclaims"),
        rule("list watch get", "core", "pods"),
        EVENTS,
    ),
    "pv-protection-controller": (rule("get list watch update", "core", "persistentvolumes"), EVENTS),
    "volumeattributesclass-protection-controller": (
        rule("list watch get", "core", "persistentvolumeclaims"),
        rule("list watch get", "core", "persistentvolumes"),
        rule("get list watch update", _STORAGE, "volumeattributesclasses"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (rule("get list watch delete", _BATCH, "jobs"), EVENTS),
    "root-ca-cert-publisher": (rule("create update", "core", "configmaps"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        EVENTS,
    ),
    "podcertificaterequestcleaner": (rule("get list watch delete", _CERTIFICATES, "podcertificaterequests"),),
    "kube-apiserver-serving-clustertrustbundle-publisher": (
        rule("attest", _CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-serving"),
        rule("create update delete list watch", _CERTIFICATES, "clustertrustbundles"),
        EVENTS,
    ),
    "storage-version-garbage-collector": (
        rule(READ, "coordination.k8s.io", "leases"),
        rule("get list watch patch update delete", "internal.apiserver.k8s.io", "storageversions"),
        rule("get patch update", "internal.apiserver.k8s.io", "storageversions/status"),
    ),
    # It lists and applies objects of any resource. Creation, because applying asks for it: with a uid, none succeeds.
    "storage-version-migrator-controller": (
        rule("list watch create patch", "*", "*"),
        rule("update", "storagemigration.k8s.io", "storageversionmigrations/status"),
    ),
    "legacy-service-account-token-cleaner": (
        rule("get", "core", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
        rule("patch delete", "core", "secrets"),
    ),
    "selinux-warning-controller": (
        EVENTS,
        rule(READ, "core", "persistentvolumes"),
        rule(READ, "core", "persistentvolumeclaims"),
        rule(READ, "core", "pods"),
        rule(READ, _STORAGE, "csidrivers"),
    ),
}


def _with_patch(one: PolicyRule) -> PolicyRule:
    """Controllers here patch the fields they own where upstream's replace whole objects: who may update may patch."""
    if "update" not in one.verbs or "patch" in one.verbs:
        return one
    return replace(one, verbs=tuple(sorted((*one.verbs, "patch"))))


CLUSTER_ROLES: Mapping[str, tuple[PolicyRule, ...]] = {
    f"{_PREFIX}{name}": tuple(map(_with_patch, rules)) for name, rules in _RULES.items()
}

ROLES: Mapping[tuple[str, str], tuple[PolicyRule, ...]] = {
    ("kube-system", "extension-apiserver-authentication-reader"): (
        rule(READ, "core", "configmaps", "extension-apiserver-authentication"),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (rule(READ, "core", "secrets"),),
    ("kube-system", "system:controller:cloud-provider"): (rule("create get list watch", "core", "configmaps"),),
    ("kube-system", "system:controller:token-cleaner"): (rule("get list watch delete", "core", "secrets"), EVENTS),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        rule("watch", "core", "configmaps"),
        rule("get update", "core", "configmaps", "kube-controller-manager"),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        rule("watch", "core", "configmaps"),
        rule("get update", "core", "configmaps", "kube-scheduler"),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        rule(READ, "core", "configmaps"),
        rule("update", "core", "configmaps", "cluster-info"),
        EVENTS,
    ),
}

_CONTROLLER_MANAGER, _SCHEDULER = user("system:kube-controller-manager"), user("system:kube-scheduler")

# Namespace, name, role, subjects.
ROLE_BINDINGS: tuple[tuple[str, str, str, tuple[Subject, ...]], ...] = (
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        (_CONTROLLER_MANAGER, _SCHEDULER),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        (_CONTROLLER_MANAGER, service_account("kube-controller-manager")),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        (_SCHEDULER, service_account("kube-scheduler")),
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        (service_account("bootstrap-signer"),),
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        (service_account("cloud-provider"),),
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        (service_account("token-cleaner"),),
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        (service_account("bootstrap-signer"),),
    ),
)


def service_accounts() -> Iterator[tuple[str, str]]:
    """Each controller's ClusterRole and the service account in kube-system that is bound to it."""
    for name in _RULES:
        yield f"{_PREFIX}{name}", name
