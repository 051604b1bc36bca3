"""The roles and bindings every cluster starts with: what people and the control plane's own components may do.

Controllers' roles are in `bootstrap_policy_controllers`. `objects()` has everything, roles first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from keelback.api.rbac_v1 import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.auth import bootstrap_policy_controllers as controllers
from keelback.auth.bootstrap_policy_rules import (
    EVENTS,
    READ,
    READ_UPDATE,
    READ_WRITE,
    WRITE,
    group,
    rule,
    service_account,
    urls,
    user,
)
from keelback.auth.rbac import RBACObject

# Reconciliation at start keeps objects that carry the annotation up to date.
AUTOUPDATE_ANNOTATION = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {AUTOUPDATE_ANNOTATION: "true"}

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
_CERTIFICATES, _STORAGE, _RESOURCE = "certificates.k8s.io", "storage.k8s.io", "resource.k8s.io"

_REVIEW_TOKENS = rule("create", _AUTHENTICATION, "tokenreviews")
_REVIEW_ACCESS = rule("create", _AUTHORIZATION, "subjectaccessreviews")

NODE_RULES: tuple[PolicyRule, ...] = (
    _REVIEW_TOKENS,
    rule("create", _AUTHORIZATION, "subjectaccessreviews localsubjectaccessreviews"),
    rule(READ, "core", "services"),
    rule("create get list watch", "core", "nodes"),
    rule("update patch", "core", "nodes/status"),
    rule("update patch", "core", "nodes"),
    rule("create update patch", "core", "events"),
    rule(READ, "core", "pods"),
    rule("create delete", "core", "pods"),
    rule("update patch", "core", "pods/status"),
    rule("create", "core", "pods/eviction"),
    rule(READ, "core", "secrets configmaps"),
    rule("get", "core", "persistentvolumeclaims persistentvolumes"),
    rule("get", "core", "endpoints"),
    rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),
    rule("get create update patch delete", "coordination.k8s.io", "leases"),
    rule("get", _STORAGE, "volumeattachments"),
    rule("create", "core", "serviceaccounts/token"),
    rule("get update patch", "core", "persistentvolumeclaims/status"),
    rule("get watch list", _STORAGE, "csidrivers"),
    rule("get create update patch delete", _STORAGE, "csinodes"),
    rule(READ, "node.k8s.io", "runtimeclasses"),
    rule("get", _RESOURCE, "resourceclaims"),
    # The rest of what nodes do to slices depends on which node it is: the Node authorizer decides.
    rule("deletecollection", _RESOURCE, "resourceslices"),
    rule("get", "core", "serviceaccounts"),
)

_AGGREGATE_TO_EDIT: tuple[PolicyRule, ...] = (
    rule(READ, "core", "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy"),
    rule("impersonate", "core", "serviceaccounts"),
    rule(WRITE, "core", "pods pods/attach pods/proxy pods/exec pods/portforward"),
    rule("create", "core", "pods/eviction"),
    rule(
        WRITE,
        "core",
        "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy"
        " persistentvolumeclaims configmaps secrets events",
    ),
    rule("create", "core", "serviceaccounts/token"),
    rule(
        WRITE,
        "apps",
        "statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback"
        " replicasets replicasets/scale",
    ),
    rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(WRITE, "batch", "jobs cronjobs"),
    rule(
        WRITE,
        "extensions",
        "daemonsets deployments deployments/scale deployments/rollback ingresses replicasets replicasets/scale"
        " replicationcontrollers/scale networkpolicies",
    ),
    rule(WRITE, "policy", "poddisruptionbudgets"),
    rule(WRITE, "networking.k8s.io", "networkpolicies ingresses"),
    rule(READ_WRITE, "coordination.k8s.io", "leases"),
    rule(WRITE, _RESOURCE, "resourceclaims resourceclaimtemplates"),
)

_AGGREGATE_TO_VIEW: tuple[PolicyRule, ...] = (
    rule(
        READ,
        "core",
        "pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints"
        " persistentvolumeclaims persistentvolumeclaims/status configmaps",
    ),
    rule(
        READ,
        "core",
        "limitranges resourcequotas bindings events pods/status resourcequotas/status namespaces/status"
        " replicationcontrollers/status pods/log",
    ),
    # Within a namespace this is the right to read that namespace, which tells its holder that it has access there.
    rule(READ, "core", "namespaces"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(
        READ,
        "apps",
        "controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status"
        " deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale",
    ),
    rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    rule(READ, "batch", "jobs cronjobs cronjobs/status jobs/status"),
    rule(
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status"
        " replicasets replicasets/scale replicasets/status replicationcontrollers/scale networkpolicies",
    ),
    rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    rule(READ, "networking.k8s.io", "networkpolicies ingresses ingresses/status"),
    rule(READ, "events.k8s.io", "events"),
    rule(READ, _RESOURCE, "resourceclaims resourceclaims/status resourceclaimtemplates"),
)

_KUBE_SCHEDULER: tuple[PolicyRule, ...] = (
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
    rule(READ, "core", "nodes"),
    rule("get list watch delete", "core", "pods"),
    rule("create", "core", "pods/binding bindings"),
    rule("patch update", "core", "pods/status"),
    rule(READ, "core", "services replicationcontrollers"),
    rule(READ, "apps extensions", "replicasets"),
    rule(READ, "apps", "statefulsets"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "core", "persistentvolumeclaims persistentvolumes"),
    _REVIEW_TOKENS,
    _REVIEW_ACCESS,
    rule(READ, _STORAGE, "csinodes"),
    rule(READ, _STORAGE, "volumeattachments"),
    rule(READ, "core", "namespaces"),
    rule(READ, _STORAGE, "csidrivers"),
    rule(READ, _STORAGE, "csistoragecapacities"),
    rule(READ, _RESOURCE, "deviceclasses"),
    rule(READ_UPDATE, _RESOURCE, "resourceclaims"),
    rule(READ_UPDATE, _RESOURCE, "resourceclaims/status"),
    rule(READ_UPDATE, "core", "pods/finalizers"),
    rule(READ, _RESOURCE, "resourceslices"),
    rule(READ, _RESOURCE, "devicetaintrules"),
    # What stands for extended resources is made, and unmade, by the scheduler.
    rule("create delete", _RESOURCE, "resourceclaims"),
    rule("update patch", _RESOURCE, "resourceclaims/binding"),
)

_POD_GROUPS: tuple[PolicyRule, ...] = (
    rule(READ, "scheduling.k8s.io", "podgroups"),
    rule("patch update", "scheduling.k8s.io", "podgroups/status"),
)
"""What a scheduler may do besides where GenericWorkload is on."""

_KUBE_CONTROLLER_MANAGER: tuple[PolicyRule, ...] = (
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get update", "coordination.k8s.io", "leases", "kube-controller-manager"),
    rule("create", "core", "secrets serviceaccounts"),
    rule("delete", "core", "secrets"),
    rule("get", "core", "namespaces secrets serviceaccounts configmaps"),
    rule("update", "core", "secrets serviceaccounts"),
    _REVIEW_TOKENS,
    _REVIEW_ACCESS,
    rule("list watch", "*", "*"),
    rule("create", "core", "serviceaccounts/token"),
)

_CLUSTER_ROLES: Mapping[str, tuple[PolicyRule, ...]] = {
    "cluster-admin": (rule("*", "*", "*"), urls("*", "*")),
    "system:monitoring": (
        urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
        urls("get", "/flagz"),
        urls("get", "/statusz"),
    ),
    # Read without a namespace's or a person's secrets: enough to find out what the server serves.
    "system:discovery": (
        urls("get", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"),
        urls("get", "/.well-known /.well-known/*"),
    ),
    "system:basic-user": (
        rule("create", _AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", _AUTHENTICATION, "selfsubjectreviews"),
    ),
    "system:public-info-viewer": (urls("get", "/healthz /livez /readyz /version /version/"),),
    "system:heapster": (
        rule(READ, "core", "events pods nodes namespaces"),
        rule(READ, "extensions", "deployments"),
    ),
    "system:node": NODE_RULES,
    "system:node-problem-detector": (
        rule("get", "core", "nodes"),
        rule("patch", "core", "nodes/status"),
        EVENTS,
    ),
    "system:kubelet-api-admin": (
        rule("get list watch", "core", "nodes"),
        rule("proxy", "core", "nodes"),
        rule("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
        rule("*", "core", "nodes/configz nodes/healthz nodes/pods"),
    ),
    "system:node-bootstrapper": (rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),),
    "system:auth-delegator": (_REVIEW_TOKENS, _REVIEW_ACCESS),
    "system:kube-aggregator": (rule(READ, "core", "endpoints services"),),
    "system:kube-controller-manager": _KUBE_CONTROLLER_MANAGER,
    "system:kube-dns": (rule("list watch", "core", "endpoints services"),),
    "system:persistent-volume-provisioner": (
        rule("get list watch create delete", "core", "persistentvolumes"),
        rule("get list watch update", "core", "persistentvolumeclaims"),
        rule(READ, _STORAGE, "storageclasses"),
        rule("watch", "core", "events"),
        EVENTS,
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        rule("create", _CERTIFICATES, "certificatesigningrequests/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        rule("create", _CERTIFICATES, "certificatesigningrequests/selfnodeclient"),
    ),
    "system:volume-scheduler": (
        rule(READ_UPDATE, "core", "persistentvolumes"),
        rule(READ, _STORAGE, "storageclasses"),
        rule(READ_UPDATE, "core", "persistentvolumeclaims"),
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (
        rule("approve", _CERTIFICATES, "signers", "kubernetes.io/legacy-unknown"),
    ),
    "system:certificates.k8s.io:kubelet-serving-approver": (
        rule("approve", _CERTIFICATES, "signers", "kubernetes.io/kubelet-serving"),
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (
        rule("approve", _CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client"),
    ),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (
        rule("approve", _CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
    ),
    "system:service-account-issuer-discovery": (
        urls(
            "get",
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
        ),
    ),
    "system:node-proxier": (
        rule("list watch", "core", "services endpoints"),
        rule(READ, "core", "nodes"),
        EVENTS,
        rule("list watch", "networking.k8s.io", "servicecidrs"),
        rule("list watch", "discovery.k8s.io", "endpointslices"),
    ),
    "system:kube-scheduler": _KUBE_SCHEDULER,
}

# Roles made of other roles: name, label that gathers the parts, the role this one is itself a part of.
_AGGREGATED = (("admin", None), ("edit", "admin"), ("view", "edit"))

_AGGREGATE_PARTS: Mapping[str, tuple[PolicyRule, ...]] = {
    "admin": (
        rule("create", _AUTHORIZATION, "localsubjectaccessreviews"),
        rule(READ_WRITE, "rbac.authorization.k8s.io", "roles rolebindings"),
    ),
    "edit": _AGGREGATE_TO_EDIT,
    "view": _AGGREGATE_TO_VIEW,
}

_CLUSTER_ROLE_BINDINGS: tuple[tuple[str, tuple[Subject, ...]], ...] = (
    ("cluster-admin", (group("system:masters"),)),
    ("system:monitoring", (group("system:monitoring"),)),
    ("system:discovery", (group("system:authenticated"),)),
    ("system:basic-user", (group("system:authenticated"),)),
    (
        "system:public-info-viewer",
        (
            group("system:authenticated"),
            group("system:unauthenticated"),
        ),
    ),
    ("system:node-proxier", (user("system:kube-proxy"),)),
    (
        "system:kube-controller-manager",
        (user("system:kube-controller-manager"),),
    ),
    ("system:kube-dns", (service_account("kube-dns"),)),
    (
        "system:kube-scheduler",
        (user("system:kube-scheduler"),),
    ),
    (
        "system:volume-scheduler",
        (user("system:kube-scheduler"),),
    ),
    # Without subjects since the Node authorizer took over.
    ("system:node", ()),
    (
        "system:service-account-issuer-discovery",
        (group("system:serviceaccounts"),),
    ),
)


def cluster_roles(gates: Mapping[str, bool] = MappingProxyType({})) -> list[ClusterRole]:
    """The default ClusterRoles, those of the controllers included; `gates` are what was asked of feature gates."""
    plain = {**_CLUSTER_ROLES, **controllers.CLUSTER_ROLES}
    if gates.get("GenericWorkload", False):
        plain["system:kube-scheduler"] += _POD_GROUPS
    return [
        *(ClusterRole(metadata=_metadata(name), rules=rules) for name, rules in plain.items()),
        *(_aggregated(name, part_of) for name, part_of in _AGGREGATED),
        *(
            ClusterRole(
                metadata=_metadata(f"system:aggregate-to-{name}", labels=_aggregate_to(name)),
                rules=rules,
            )
            for name, rules in _AGGREGATE_PARTS.items()
        ),
    ]


def cluster_role_bindings() -> list[ClusterRoleBinding]:
    """The default ClusterRoleBindings, those of the controllers included."""
    return [
        *(_cluster_binding(name, subjects) for name, subjects in _CLUSTER_ROLE_BINDINGS),
        *(_cluster_binding(name, (service_account(account),)) for name, account in controllers.service_accounts()),
    ]


def roles() -> list[Role]:
    """The default Roles in kube-system and kube-public."""
    return [
        Role(metadata=_metadata(name, namespace=namespace), rules=rules)
        for (namespace, name), rules in controllers.ROLES.items()
    ]


def role_bindings() -> list[RoleBinding]:
    """The default RoleBindings in kube-system and kube-public."""
    return [
        RoleBinding(
            metadata=_metadata(name, namespace=namespace),
            role_ref=RoleRef(kind="Role", name=role),
            subjects=subjects,
        )
        for namespace, name, role, subjects in controllers.ROLE_BINDINGS
    ]


def objects(gates: Mapping[str, bool] = MappingProxyType({})) -> list[RBACObject]:
    """Everything, roles before the bindings that refer to them."""
    return [*cluster_roles(gates), *cluster_role_bindings(), *roles(), *role_bindings()]


def aggregate_rules(role: ClusterRole, all_roles: Iterable[ClusterRole]) -> tuple[PolicyRule, ...]:
    """The rules an aggregated role has: those of the roles it selects, in the order of their names, each once."""
    if role.aggregation_rule is None:
        return role.rules or ()
    gathered: list[PolicyRule] = []
    for other in sorted(all_roles, key=lambda candidate: candidate.metadata.name):
        if other.metadata.name == role.metadata.name or not _is_selected(role.aggregation_rule, other):
            continue
        gathered.extend(one for one in other.rules or () if one not in gathered)
    return tuple(gathered)


def with_aggregation(all_roles: Iterable[ClusterRole]) -> list[ClusterRole]:
    """The roles with their aggregated rules filled in, so that a new cluster need not wait for its controller."""
    from_parts = {role.metadata.name: role for role in all_roles}
    # view is a part of edit, and edit of admin: fill from the inside out.
    for name in ("view", "edit", "admin"):
        if name in from_parts:
            role = from_parts[name]
            rules = aggregate_rules(role, from_parts.values())
            from_parts[name] = ClusterRole(metadata=role.metadata, aggregation_rule=role.aggregation_rule, rules=rules)
    return list(from_parts.values())


def _is_selected(aggregation: AggregationRule, role: ClusterRole) -> bool:
    labels = role.metadata.labels
    return any(
        all(labels.get(key) == value for key, value in selector.match_labels.items())
        for selector in aggregation.cluster_role_selectors
    )


def _aggregated(name: str, part_of: str | None) -> ClusterRole:
    return ClusterRole(
        metadata=_metadata(name, labels=_aggregate_to(part_of) if part_of else {}),
        aggregation_rule=AggregationRule(cluster_role_selectors=(LabelSelector(match_labels=_aggregate_to(name)),)),
    )


def _aggregate_to(name: str) -> dict[str, str]:
    return {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"}


def _cluster_binding(name: str, subjects: tuple[Subject, ...]) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=_metadata(name), role_ref=RoleRef(kind="ClusterRole", name=name), subjects=subjects
    )


def _metadata(name: str, *, namespace: str = "", labels: Mapping[str, str] = {}) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, labels={**_LABELS, **labels}, annotations=_ANNOTATIONS)
