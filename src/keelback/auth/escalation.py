"""Nobody grants more than they have: the check on writing roles and bindings, with upstream's wording.

Who holds the verb `escalate` on a role, or `bind` on the role a binding refers to, is exempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from keelback.apimachinery import errors
from keelback.apimachinery.go_text import aggregate
from keelback.apimachinery.meta import replace
from keelback.auth.attributes import Attributes, Authorizer
from keelback.auth.rbac import GROUP, Policy, RoleNotFound, rules_for
from keelback.auth.users import MASTERS_GROUP, UserInfo

_FULL_AUTHORITY = (
    PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)),
    PolicyRule(verbs=("*",), non_resource_urls=("*",)),
)


class EscalationDenied(Exception):
    """The write is refused; the text is the detail of a 403 about the role or binding."""


class EscalationChecker:
    """Checks writes of roles and bindings against what the writer holds."""

    def __init__(self, policy: Policy, authorizer: Authorizer) -> None:
        self._policy = policy
        self._authorizer = authorizer

    async def why_not(self, user: UserInfo, new: object, old: object = None) -> str:
        """Why the user may not write this role or binding; empty if it may. Raises NotFound for a binding's role."""
        try:
            if isinstance(new, (Role, ClusterRole)):
                await self.check_role(user, new, old if isinstance(old, (Role, ClusterRole)) else None)
            elif isinstance(new, (RoleBinding, ClusterRoleBinding)):
                await self.check_binding(user, new, old if isinstance(old, (RoleBinding, ClusterRoleBinding)) else None)
        except EscalationDenied as denied:
            return str(denied)
        except RoleNotFound as missing:
            # Upstream names the missing role as if it were the binding.
            assert isinstance(new, (RoleBinding, ClusterRoleBinding))
            raise errors.NotFound.of(new.__kind__, missing.name) from missing
        return ""

    async def check_role(self, user: UserInfo, new: Role | ClusterRole, old: Role | ClusterRole | None = None) -> None:
        """Raise EscalationDenied if the role would hold rules its writer does not."""
        if MASTERS_GROUP in user.groups:
            return
        is_cluster_role = isinstance(new, ClusterRole)
        if old is not None and new.rules == old.rules and _aggregation(new) == _aggregation(old):
            return
        resource = "clusterroles" if is_cluster_role else "roles"
        if await self._may(user, "escalate", resource, new.metadata.namespace, new.metadata.name):
            return
        self._confirm(user, new.rules or (), new.metadata.namespace)
        if is_cluster_role and _aggregation(new) is not None and _aggregation(new) != _aggregation(old):
            try:
                self._confirm(user, _FULL_AUTHORITY, "")
            except EscalationDenied:
                raise EscalationDenied("must have cluster-admin privileges to use the aggregationRule") from None

    async def check_binding(
        self,
        user: UserInfo,
        new: RoleBinding | ClusterRoleBinding,
        old: RoleBinding | ClusterRoleBinding | None = None,
    ) -> None:
        """Raise EscalationDenied if the binding would give away rules its writer does not hold, RoleNotFound if it
        refers to no role."""
        if MASTERS_GROUP in user.groups:
            return
        if old is not None and new.role_ref == old.role_ref and new.subjects == old.subjects:
            return
        namespace = new.metadata.namespace
        role_ref = new.role_ref
        resource = "clusterroles" if role_ref.kind == "ClusterRole" else "roles"
        if await self._may(user, "bind", resource, namespace, role_ref.name):
            return
        self._confirm(user, self._policy.role_rules(role_ref, namespace), namespace)

    async def _may(self, user: UserInfo, verb: str, resource: str, namespace: str, name: str) -> bool:
        attributes = Attributes(user, verb, group=GROUP, version="*", resource=resource, namespace=namespace, name=name)
        return (await self._authorizer.authorize(attributes)).is_allowed

    def _confirm(self, user: UserInfo, rules: Sequence[PolicyRule], namespace: str) -> None:
        held, errors = rules_for(self._policy, user, namespace)
        missing = uncovered(held, rules)
        if not missing:
            return
        described = sorted(describe(rule) for rule in compact(missing))
        groups = " ".join(_quoted(group) for group in user.groups)
        message = (
            f"user {_quoted(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions"
            " not currently held:\n" + "\n".join(described)
        )
        if errors:
            message += f"; resolution errors: [{aggregate(errors).strip('[]')}]"
        raise EscalationDenied(message)


def uncovered(held: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The smallest pieces of `wanted` that no rule of `held` covers."""
    return [piece for rule in wanted for piece in _pieces(rule) if not any(_covers(owner, piece) for owner in held)]


def compact(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The same rules with the verbs of one group, resource and name joined."""
    joined: dict[tuple[object, ...], PolicyRule] = {}
    for rule in rules:
        key = (rule.api_groups, rule.resources, rule.resource_names, rule.non_resource_urls)
        known = joined.get(key)
        joined[key] = rule if known is None else replace(known, verbs=tuple(dict.fromkeys((*known.verbs, *rule.verbs))))
    return list(joined.values())


def describe(rule: PolicyRule) -> str:
    """A rule as messages show it."""
    parts = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", rule.verbs),
    )
    shown = (f"{name}:[{' '.join(map(_quoted, values))}]" for name, values in parts if values)
    return "{" + ", ".join(shown) + "}"


def _pieces(rule: PolicyRule) -> Iterator[PolicyRule]:
    for group in rule.api_groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                piece = PolicyRule(api_groups=(group,), resources=(resource,), verbs=(verb,))
                if rule.resource_names:
                    for name in rule.resource_names:
                        yield replace(piece, resource_names=(name,))
                else:
                    yield piece
    for url in rule.non_resource_urls:
        for verb in rule.verbs:
            yield PolicyRule(non_resource_urls=(url,), verbs=(verb,))


def _covers(owner: PolicyRule, piece: PolicyRule) -> bool:
    (verb,) = piece.verbs
    if verb not in owner.verbs and "*" not in owner.verbs:
        return False
    if piece.non_resource_urls:
        return any(_url_covers(url, piece.non_resource_urls[0]) for url in owner.non_resource_urls)
    group, resource = piece.api_groups[0], piece.resources[0]
    if group not in owner.api_groups and "*" not in owner.api_groups:
        return False
    _, slash, subresource = resource.partition("/")
    covering = {resource, "*", f"*/{subresource}"} if slash else {resource, "*"}
    if covering.isdisjoint(owner.resources):
        return False
    if not owner.resource_names:
        return True
    return bool(piece.resource_names) and piece.resource_names[0] in owner.resource_names


def _url_covers(owner: str, url: str) -> bool:
    return owner in ("*", url) or (owner.endswith("*") and url.startswith(owner.rstrip("*")))


def _aggregation(role: Role | ClusterRole | None) -> object:
    return role.aggregation_rule if isinstance(role, ClusterRole) else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
