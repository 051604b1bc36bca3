"""What kubelets may do: their role's rules, and of secrets and the like only what pods on their own node refer to."""

from __future__ import annotations

from keelback.auth.attributes import ALLOWED, NO_OPINION, Attributes, Decision, Verdict
from keelback.auth.bootstrap_policy import NODE_RULES
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import CompiledRules
from keelback.auth.users import node_name

_LEASE_NAMESPACE = "kube-node-lease"
_READ_VERBS = frozenset({"get", "list", "watch"})
_OWN_VERBS = frozenset({"get", "update", "patch", "delete", "create"})


class NodeAuthorizer:
    """Decides about members of system:nodes by the node in their name."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph
        self._rules = CompiledRules.of(NODE_RULES)

    def decide(self, attributes: Attributes) -> Verdict:
        node = node_name(attributes.user)
        if node is None:
            return NO_OPINION
        if not node:
            return _no(f"unknown node for user {_quoted(attributes.user.name)}")
        if attributes.is_resource_request:
            verdict = self._authorize_own(node, attributes)
            if verdict is not None:
                return verdict
        return ALLOWED if self._rules.allows(attributes) else NO_OPINION

    def _authorize_own(self, node: str, attributes: Attributes) -> Verdict | None:
        """About resources of which a node sees only a part; None for all others."""
        resource, subresource = attributes.resource, attributes.subresource
        match attributes.group, resource:
            case "", "serviceaccounts":
                return self._service_account(node, attributes)
            case "", "persistentvolumeclaims" if subresource == "status":
                if attributes.verb not in ("update", "patch"):
                    return _no("can only get/update/patch this type")
                return self._related(node, attributes)
            case "", "secrets" | "configmaps":
                return self._read(node, attributes)
            case ("", "persistentvolumeclaims" | "persistentvolumes") | ("resource.k8s.io", "resourceclaims"):
                return self._get(node, attributes)
            case "storage.k8s.io", "volumeattachments":
                return self._get(node, attributes)
            case "coordination.k8s.io", "leases":
                return self._lease(node, attributes)
            case "storage.k8s.io", "csinodes":
                return self._named_like_the_node(node, attributes)
            case "", "nodes":
                return self._node(node, attributes)
            case "", "pods":
                return self._pod(node, attributes)
            case "resource.k8s.io", "resourceslices":
                return self._resource_slice(node, attributes)
            case _:
                return None

    def _related(self, node: str, attributes: Attributes) -> Verdict:
        if not attributes.name:
            return _no("No Object name found")
        if self._graph.is_related(node, attributes.resource, attributes.namespace, attributes.name):
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _get(self, node: str, attributes: Attributes) -> Verdict:
        if attributes.verb != "get":
            return _no("can only get individual resources of this type")
        if attributes.subresource:
            return _no("cannot get subresource")
        return self._related(node, attributes)

    def _read(self, node: str, attributes: Attributes) -> Verdict:
        """The kubelet watches these one by one, so list and watch of one named object count as reading it."""
        if attributes.verb not in _READ_VERBS:
            return _no("can only read resources of this type")
        if attributes.subresource:
            return _no("cannot read subresource")
        if not attributes.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, attributes)

    def _service_account(self, node: str, attributes: Attributes) -> Verdict:
        """Tokens, and the object itself for what its annotations say to image credential providers."""
        if not attributes.name or (attributes.verb, attributes.subresource) not in (("create", "token"), ("get", "")):
            return _no("can only create tokens for individual service accounts")
        return self._related(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> Verdict:
        if attributes.namespace != _LEASE_NAMESPACE:
            return _no(f'can only access leases in the "{_LEASE_NAMESPACE}" system namespace')
        return self._named_like_the_node(node, attributes, what="node lease")

    def _named_like_the_node(self, node: str, attributes: Attributes, *, what: str = "CSINode") -> Verdict:
        if attributes.verb not in _OWN_VERBS:
            return _no(f"can only get, create, update, patch, or delete a {what}")
        if attributes.subresource:
            return _no(f"cannot authorize {what} subresources")
        # Nobody knows the name of what is being created: NodeRestriction looks at the object.
        if attributes.verb != "create" and attributes.name != node:
            return _no(f"can only access {what} with the same name as the requesting node")
        return ALLOWED

    def _node(self, node: str, attributes: Attributes) -> Verdict:
        match attributes.subresource, attributes.verb:
            # Which node it writes is NodeRestriction's business.
            case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
                return ALLOWED
            case "", "get" | "list" | "watch":
                name = attributes.name
                if name == node:
                    return ALLOWED
                which = f"'{name}'" if name else "all nodes"
                return _no(f"node '{node}' cannot read {which}, only its own Node object")
            case _:
                return NO_OPINION

    def _pod(self, node: str, attributes: Attributes) -> Verdict:
        match attributes.subresource, attributes.verb:
            case "", "get":
                return self._get(node, attributes)
            case "", "list" | "watch":
                if _selects(attributes, "spec.nodeName", node):
                    return ALLOWED
                if attributes.name:
                    return self._related(node, attributes)
                return _no("can only list/watch pods with spec.nodeName field selector")
            # Which pods it writes is NodeRestriction's business.
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return ALLOWED
            case _:
                return NO_OPINION

    def _resource_slice(self, node: str, attributes: Attributes) -> Verdict:
        if attributes.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        match attributes.verb:
            case "create":
                return ALLOWED
            case "get" | "update" | "patch" | "delete":
                return self._related(node, attributes)
            case "list" | "watch" | "deletecollection":
                if _selects(attributes, "spec.nodeName", node):
                    return ALLOWED
                return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            case _:
                return _no(
                    "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch,"
                    " delete, deletecollection"
                )


def _selects(attributes: Attributes, field: str, value: str) -> bool:
    return any(part in (f"{field}={value}", f"{field}=={value}") for part in attributes.field_selector.split(","))


def _no(reason: str) -> Verdict:
    return Verdict(Decision.NO_OPINION, reason)


def _quoted(text: str) -> str:
    return f'"{text}"'
