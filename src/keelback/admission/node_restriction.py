"""NodeRestriction: a kubelet writes its own Node and the pods on it, nothing of other nodes. Off unless asked for."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader, User, resource_key
from keelback.api.authentication_v1 import TokenRequest
from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import Node, Pod, PodSpec
from keelback.api.pods import is_mirror
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object

_GROUP = "system:nodes"
_PREFIX = "system:node:"
_RESTRICTED_DOMAIN = "node-restriction.kubernetes.io"
# Labels of Kubernetes' own domains that a kubelet may set on its node.
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
_KUBELET_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OWN_DOMAINS = ("kubernetes.io", "k8s.io")

_RESOURCES = frozenset(
    {
        "pods",
        "pods/status",
        "pods/resize",
        "pods/eviction",
        "nodes",
        "nodes/status",
        "serviceaccounts/token",
        "persistentvolumeclaims",
        "persistentvolumeclaims/status",
        "coordination.k8s.io/leases",
        "storage.k8s.io/csinodes",
        "resource.k8s.io/resourceslices",
    }
)


class NodeRestriction(AdmissionPlugin):
    """Holds members of system:nodes to their node; all others pass."""

    name = "NodeRestriction"
    resources = _RESOURCES
    operations = frozenset({Operation.CREATE, Operation.UPDATE, Operation.DELETE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        node = _node_name(request.user)
        if node is None:
            return
        if not node:
            raise request.forbidden(f'could not determine node from user "{request.user.name}"')
        match resource_key(request.kind, request.subresource):
            case "pods":
                self._check_pod(request, node)
            case "pods/status":
                _check_pod_status(request, node)
            case "pods/resize":
                raise request.forbidden(f'node "{node}" is not allowed to resize pods')
            case "pods/eviction":
                await self._check_eviction(request, node)
            case "nodes" | "nodes/status":
                _check_node(request, node)
            case "serviceaccounts/token":
                await self._check_token(request, node)
            case "persistentvolumeclaims":
                raise request.forbidden("may only update PVC status")
            case "persistentvolumeclaims/status":
                _check_claim_status(request, node)
            case "coordination.k8s.io/leases":
                _check_lease(request, node)
            case "storage.k8s.io/csinodes":
                if _name(request) != node:
                    raise request.forbidden("can only access CSINode with the same name as the requesting node")
            case _:
                _check_resource_slice(request, node)

    def _check_pod(self, request: AdmissionRequest, node: str) -> None:
        if request.operation is Operation.CREATE:
            _check_mirror_pod(request, request.new(Pod), node)
        elif request.operation is Operation.DELETE:
            if request.old(Pod).spec.node_name != node:
                raise request.forbidden(f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            raise request.forbidden(
                f'unexpected operation "{request.operation}", node "{node}" can only create and delete mirror pods'
            )

    async def _check_eviction(self, request: AdmissionRequest, node: str) -> None:
        pod = await self._reader.get(Pod, _name(request), request.namespace)
        if pod.spec.node_name != node:
            raise request.forbidden(f'node "{node}" can only evict pods with spec.nodeName set to itself')

    async def _check_token(self, request: AdmissionRequest, node: str) -> None:
        bound = request.new(TokenRequest).spec.bound_object_ref
        if bound is None or bound.api_version != "v1" or bound.kind != "Pod" or not bound.name:
            raise request.forbidden("node requested token not bound to a pod")
        if not bound.uid:
            raise request.forbidden("node requested token with a pod binding without a uid")
        try:
            pod = await self._reader.get(Pod, bound.name, request.namespace)
        except errors.NotFound as error:
            raise request.forbidden(error.message) from None
        if pod.metadata.uid != bound.uid:
            raise request.forbidden(
                f"the UID in the bound object reference ({bound.uid}) does not match the UID in record."
                " The object might have been deleted and then recreated"
            )
        if pod.spec.node_name != node:
            raise request.forbidden("node requested token bound to a pod scheduled on a different node")


def _check_mirror_pod(request: AdmissionRequest, pod: Pod, node: str) -> None:
    if not is_mirror(pod):
        raise request.forbidden(
            f'pod does not have "kubernetes.io/config.mirror" annotation, node "{node}" can only create mirror pods'
        )
    if pod.spec.node_name != node:
        raise request.forbidden(f'node "{node}" can only create pods with spec.nodeName set to itself')
    owners = pod.metadata.owner_references
    if len(owners) > 1:
        raise request.forbidden(f'node "{node}" can only create pods with a single owner reference set to itself')
    if not owners:
        raise request.forbidden(f'node "{node}" can only create pods with an owner reference set to itself')
    owner = owners[0]
    if (owner.api_version, owner.kind, owner.name) != ("v1", "Node", node):
        raise request.forbidden(f'node "{node}" can only create pods with an owner reference set to itself')
    if not owner.controller:
        raise request.forbidden(f'node "{node}" can only create pods with a controller owner reference set to itself')
    if owner.block_owner_deletion:
        raise request.forbidden(f'node "{node}" must not set blockOwnerDeletion on an owner reference')
    what = _referenced(pod.spec)
    if what:
        raise request.forbidden(f'node "{node}" can not create pods that reference {what}')


def _referenced(spec: PodSpec) -> str:
    if spec.service_account_name:
        return "a service account"
    if spec.image_pull_secrets or any(volume.secret is not None for volume in spec.volumes):
        return "secrets"
    if any(volume.config_map is not None for volume in spec.volumes):
        return "configmaps"
    if any(volume.persistent_volume_claim is not None for volume in spec.volumes):
        return "persistentvolumeclaims"
    return "resource claims" if spec.resource_claims else ""


def _check_pod_status(request: AdmissionRequest, node: str) -> None:
    old, new = request.old(Pod), request.new(Pod)
    if old.spec.node_name != node:
        raise request.forbidden(_only(node, "update pod status for pods with spec.nodeName set to itself"))
    if old.metadata.labels != new.metadata.labels:
        raise request.forbidden(f'node "{node}" cannot update labels through pod status')


def _check_node(request: AdmissionRequest, node: str) -> None:
    name = _name(request)
    if name != node:
        raise request.forbidden(f'node "{node}" is not allowed to modify node "{name}"')
    if not isinstance(request.obj, Node):
        return
    new = request.obj
    if request.operation is Operation.CREATE:
        forbidden = _forbidden_labels({}, new.metadata.labels)
        if forbidden:
            raise request.forbidden(f'node "{node}" is not allowed to set the following labels: {forbidden}')
        return
    old = request.old(Node)
    if old.spec.taints != new.spec.taints:
        raise request.forbidden(f'node "{node}" is not allowed to modify taints')
    forbidden = _forbidden_labels(old.metadata.labels, new.metadata.labels)
    if forbidden:
        raise request.forbidden(f"is not allowed to modify labels: {forbidden}")
    if old.metadata.owner_references != new.metadata.owner_references:
        raise request.forbidden(f'node "{node}" is not allowed to modify ownerReferences')


def _only(node: str, what: str) -> str:
    return f'node "{node}" can only {what}'


def _forbidden_labels(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return ", ".join(sorted(key for key in changed if not _may_set_label(key)))


def _may_set_label(key: str) -> bool:
    domain, slash, _ = key.rpartition("/")
    if not slash:
        return True
    if _is_within(domain, (_RESTRICTED_DOMAIN,)):
        return False
    if not _is_within(domain, _OWN_DOMAINS):
        return True
    return key in _KUBELET_LABELS or _is_within(domain, _KUBELET_LABEL_DOMAINS)


def _is_within(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _check_claim_status(request: AdmissionRequest, node: str) -> None:
    old, new = request.old(Object), request.new(Object)
    if getattr(old, "spec", None) != getattr(new, "spec", None) or old.metadata.labels != new.metadata.labels:
        raise request.forbidden(f'node "{node}" is not allowed to update fields other than status')


def _check_lease(request: AdmissionRequest, node: str) -> None:
    if request.namespace != "kube-node-lease":
        raise request.forbidden('can only access leases in the "kube-node-lease" system namespace')
    name = request.obj.metadata.name if isinstance(request.obj, Lease) else request.name
    if name != node:
        raise request.forbidden("can only access node lease with the same name as the requesting node")


def _check_resource_slice(request: AdmissionRequest, node: str) -> None:
    some = request.obj if request.obj is not None else request.old_obj
    spec = getattr(some, "spec", None)
    if spec is not None and getattr(spec, "node_name", node) != node:
        raise request.forbidden(
            "can only create or delete ResourceSlices with the same NodeName as the requesting node"
        )


def _node_name(user: User) -> str | None:
    if _GROUP not in user.groups:
        return None
    return user.name[len(_PREFIX) :] if user.name.startswith(_PREFIX) else ""


def _name(request: AdmissionRequest) -> str:
    return request.name or (request.obj.metadata.name if isinstance(request.obj, Object) else "")
