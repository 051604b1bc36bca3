"""What kubelets may do: their role's rules, and of secrets and the like only what pods on their own node refer to."""

from __future__ import annotations

from keelback.auth.attributes import ALLOWED, NO_OPINION, Attributes, Decision, Verdict
from keelback.auth.bootstrap_policy import NODE_RULES
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import CompiledRules
from keelback.auth.users import node_name

_LEASE_NAMESPACE = "kube-node-lease"
_RELATED = frozenset({"secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "resourceclaims"})
# The kubelet watches these one by one, so list and watch of a single named object count as reading it.
_WATCHED_SINGLY = frozenset({"secrets", "configmaps"})
_OWN_VERBS = frozenset({"get", "update", "patch", "delete", "create"})


class NodeAuthorizer:
    """Decides about members of system:nodes by the node in their name."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph
        self._rules = CompiledRules.of(NODE_RULES)

    def authorize(self, attributes: Attributes) -> Verdict:
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
                return self._related(node, attributes, ("get", "update", "patch"))
            case ("", _) | ("resource.k8s.io", _) if resource in _RELATED:
                verbs = ("get", "list", "watch") if resource in _WATCHED_SINGLY else ("get",)
                return self._related(node, attributes, verbs, subresource="")
            case "storage.k8s.io", "volumeattachments":
                return self._related(node, attributes, ("get",), subresource="")
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

    def _related(
        self, node: str, attributes: Attributes, verbs: tuple[str, ...], *, subresource: str | None = None
    ) -> Verdict:
        if attributes.verb not in verbs:
            what = "/".join(verbs) if len(verbs) < 3 else "read" if subresource == "" else "get/update/patch"
            text = "can only read resources of this type" if what == "read" else f"can only {what} this type"
            return _no(text)
        if subresource is not None and attributes.subresource != subresource:
            return _no("cannot read subresource")
        if not attributes.name:
            return _no("No Object name found")
        if self._graph.is_related(node, attributes.resource, attributes.namespace, attributes.name):
            return ALLOWED
        return _no_relationship(node)

    def _service_account(self, node: str, attributes: Attributes) -> Verdict:
        if attributes.subresource == "token" and attributes.verb == "create":
            if self._graph.is_related(node, attributes.resource, attributes.namespace, attributes.name):
                return ALLOWED
            return _no_relationship(node)
        if attributes.verb == "get" and not attributes.subresource:
            if self._graph.is_related(node, attributes.resource, attributes.namespace, attributes.name):
                return ALLOWED
            return _no_relationship(node)
        return _no("can only get individual service accounts or create tokens for individual service accounts")

    def _lease(self, node: str, attributes: Attributes) -> Verdict:
        if attributes.namespace != _LEASE_NAMESPACE:
            return _no(f'can only access leases in the "{_LEASE_NAMESPACE}" system namespace')
        return self._named_like_the_node(node, attributes, what="node lease")

    def _named_like_the_node(self, node: str, attributes: Attributes, *, what: str = "CSINode") -> Verdict:
        if attributes.verb not in _OWN_VERBS:
            return _no(f"can only get, create, update, patch, or delete a {what}")
        if attributes.subresource:
            return _no(f"cannot authorize {what} subresources")
        # A create need not say the name yet; NodeRestriction looks at the object.
        if attributes.name != node and (attributes.verb != "create" or attributes.name):
            article = "" if what == "node lease" else "its own "
            return _no(f"can only access {article}{what} with the same name as the requesting node")
        return ALLOWED

    def _node(self, node: str, attributes: Attributes) -> Verdict | None:
        if attributes.verb in ("get", "list", "watch") and not attributes.subresource:
            if attributes.name == node or _selects(attributes, "metadata.name", node):
                return ALLOWED
            if attributes.verb == "get":
                return _no(
                    f"node {_quoted_single(node)} cannot read {_quoted_single(attributes.name)},"
                    " only its own Node object"
                )
            return _no(f"node {_quoted_single(node)} cannot read all nodes, only its own Node object")
        return None

    def _pod(self, node: str, attributes: Attributes) -> Verdict | None:
        if attributes.verb not in ("get", "list", "watch", "deletecollection") or attributes.subresource not in (
            "",
            "status",
        ):
            return None
        if attributes.verb == "get":
            if self._graph.is_related(node, "pods", attributes.namespace, attributes.name):
                return ALLOWED
            return _no_relationship(node)
        if attributes.verb == "deletecollection":
            return None
        if _selects(attributes, "spec.nodeName", node):
            return ALLOWED
        if attributes.name and self._graph.is_related(node, "pods", attributes.namespace, attributes.name):
            return ALLOWED
        return _no("can only list/watch pods with spec.nodeName field selector")

    def _resource_slice(self, node: str, attributes: Attributes) -> Verdict | None:
        if attributes.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if attributes.verb in ("get", "create", "update", "patch", "delete"):
            return ALLOWED
        if attributes.verb in ("list", "watch", "deletecollection") and _selects(attributes, "spec.nodeName", node):
            return ALLOWED
        return _no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")


def _selects(attributes: Attributes, field: str, value: str) -> bool:
    return any(part in (f"{field}={value}", f"{field}=={value}") for part in attributes.field_selector.split(","))


def _no_relationship(node: str) -> Verdict:
    return _no(f"no relationship found between node {_quoted_single(node)} and this object")


def _no(reason: str) -> Verdict:
    return Verdict(Decision.NO_OPINION, reason)


def _quoted_single(text: str) -> str:
    return f"'{text}'"


def _quoted(text: str) -> str:
    return f'"{text}"'
