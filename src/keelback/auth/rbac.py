"""RBAC: who may do what, by roles and bindings.

`Policy` holds the rules, kept up to date object by object; `RBACAuthorizer` answers from it. Rules are compiled once
per role, bindings are indexed by subject, and answers are remembered until any role or binding changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from keelback.api.rbac_v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from keelback.apimachinery.go_text import aggregate
from keelback.auth.attributes import NO_OPINION, Attributes, Decision, Verdict
from keelback.auth.users import UserInfo, service_account_user_name

GROUP = "rbac.authorization.k8s.io"

RBACObject: TypeAlias = Role | RoleBinding | ClusterRole | ClusterRoleBinding
Binding: TypeAlias = RoleBinding | ClusterRoleBinding

# Answers remembered; the oldest half is dropped when it is full.
_CACHED_DECISIONS = 50_000

_SubjectKey: TypeAlias = tuple[str, str]


class RoleNotFound(LookupError):
    """A binding refers to a role that does not exist."""

    def __init__(self, role_ref: RoleRef) -> None:
        super().__init__(f'{role_ref.kind.lower()}.{GROUP} "{role_ref.name}" not found')
        self.name = role_ref.name


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules indexed by API group and resource, so that a question touches only rules that may answer it."""

    by_resource: dict[tuple[str, str], tuple[tuple[frozenset[str], frozenset[str]], ...]]
    non_resource: tuple[tuple[frozenset[str], tuple[str, ...]], ...]

    @classmethod
    def of(cls, rules: Iterable[PolicyRule]) -> CompiledRules:
        by_resource: dict[tuple[str, str], list[tuple[frozenset[str], frozenset[str]]]] = {}
        non_resource: list[tuple[frozenset[str], tuple[str, ...]]] = []
        for rule in rules:
            verbs = frozenset(rule.verbs)
            if rule.non_resource_urls:
                non_resource.append((verbs, rule.non_resource_urls))
            entry = (verbs, frozenset(rule.resource_names))
            for group in rule.api_groups:
                for resource in rule.resources:
                    by_resource.setdefault((group, resource), []).append(entry)
        return cls({key: tuple(entries) for key, entries in by_resource.items()}, tuple(non_resource))

    def allows(self, attributes: Attributes) -> bool:
        """Whether some rule covers the action."""
        if attributes.is_resource_request:
            return self._allows_resource(attributes)
        verb, path = attributes.verb, attributes.path
        return any(
            (verb in verbs or "*" in verbs) and any(url_matches(url, path) for url in urls)
            for verbs, urls in self.non_resource
        )

    def asks_for_names(self, attributes: Attributes) -> bool:
        """Whether a rule covers such actions on objects of certain names only."""
        return attributes.is_resource_request and any(self._names(attributes))

    def _allows_resource(self, attributes: Attributes) -> bool:
        name = attributes.name
        return any(not names or name in names for names in self._names(attributes))

    def _names(self, attributes: Attributes) -> Iterator[frozenset[str]]:
        """The names, or none for all, that each rule covers which covers such actions."""
        verb = attributes.verb
        for resource in _resource_patterns(attributes.resource, attributes.subresource):
            for group in (attributes.group, "*"):
                for verbs, names in self.by_resource.get((group, resource), ()):
                    if verb in verbs or "*" in verbs:
                        yield names


def _resource_patterns(resource: str, subresource: str) -> tuple[str, ...]:
    if not subresource:
        return (resource, "*")
    return (f"{resource}/{subresource}", f"*/{subresource}", "*")


def url_matches(pattern: str, path: str) -> bool:
    """Whether a rule's non-resource URL, which may end in `*`, covers a path."""
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


@dataclass(frozen=True, slots=True)
class _Grant:
    """One subject of one binding."""

    binding: Binding
    subject: Subject
    key: _SubjectKey


class Policy:
    """All roles and bindings of a cluster. Feed it every change; `generation` tells that something has changed."""

    def __init__(self, objects: Iterable[RBACObject] = ()) -> None:
        self.generation = 0
        self._roles: dict[tuple[str, str], Role | ClusterRole] = {}
        self._compiled: dict[tuple[str, str], CompiledRules] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}
        # By the binding's namespace ("" for cluster bindings), then by subject.
        self._grants: dict[str, dict[_SubjectKey, list[_Grant]]] = {}
        for obj in objects:
            self.put(obj)

    def put(self, obj: RBACObject) -> None:
        """Take in a new or changed role or binding."""
        self.generation += 1
        key = _key(obj)
        if isinstance(obj, (Role, ClusterRole)):
            self._roles[key] = obj
            self._compiled.pop(key, None)
            return
        self._drop_binding(key)
        self._bindings[key] = obj
        in_namespace = self._grants.setdefault(key[0], {})
        for grant in _grants(obj):
            in_namespace.setdefault(grant.key, []).append(grant)

    def remove(self, obj: RBACObject) -> None:
        """Forget a deleted role or binding."""
        self.forget(type(obj), *_key(obj))

    def forget(self, kind: type[RBACObject], namespace: str, name: str) -> None:
        """Forget a role or binding that is no more."""
        self.generation += 1
        key = (namespace, name)
        if issubclass(kind, (Role, ClusterRole)):
            self._roles.pop(key, None)
            self._compiled.pop(key, None)
        else:
            self._drop_binding(key)

    def _drop_binding(self, key: tuple[str, str]) -> None:
        old = self._bindings.pop(key, None)
        if old is None:
            return
        in_namespace = self._grants[key[0]]
        for grant in _grants(old):
            remaining = [other for other in in_namespace.get(grant.key, ()) if other.binding is not old]
            if remaining:
                in_namespace[grant.key] = remaining
            else:
                in_namespace.pop(grant.key, None)

    def grants(self, user: UserInfo, namespace: str) -> Iterator[_Grant]:
        """What binds the user cluster-wide, then in the namespace."""
        keys = [("User", user.name), *(("Group", group) for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            in_scope = self._grants.get(scope)
            if in_scope:
                for key in keys:
                    yield from in_scope.get(key, ())

    def role_rules(self, role_ref: RoleRef, namespace: str) -> tuple[PolicyRule, ...]:
        """The rules of the role a binding in `namespace` refers to. Raises RoleNotFound."""
        role = self._roles.get(_role_key(role_ref, namespace))
        if role is None:
            raise RoleNotFound(role_ref)
        return role.rules or ()

    def compiled(self, role_ref: RoleRef, namespace: str) -> CompiledRules:
        """The same, ready to be asked."""
        key = _role_key(role_ref, namespace)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = CompiledRules.of(self.role_rules(role_ref, namespace))
        return compiled


class RBACAuthorizer:
    """Allows what some role bound to the user allows; has no opinion on anything else."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._generation = policy.generation
        self._cache: dict[tuple[object, ...], Verdict] = {}
        self._by_name: set[tuple[object, ...]] = set()
        """What is answered name by name. Of all else a user has one answer, whatever the object is called."""

    def decide(self, attributes: Attributes) -> Verdict:
        if self._generation != self.policy.generation:
            self._cache.clear()
            self._by_name.clear()
            self._generation = self.policy.generation
        user = attributes.user
        key: tuple[object, ...] = (
            user.name,
            user.groups,
            attributes.verb,
            attributes.group,
            attributes.resource,
            attributes.subresource,
            attributes.namespace,
            "" if attributes.is_resource_request else attributes.path,
            attributes.is_resource_request,
        )
        by_name = key in self._by_name
        verdict = self._cache.get((*key, attributes.name) if by_name else key)
        if verdict is None:
            verdict = decide(self.policy, attributes)
            if not by_name and _asks_for_names(self.policy, attributes):
                self._by_name.add(key)
                by_name = True
            if len(self._cache) >= _CACHED_DECISIONS:
                for old in list(self._cache)[: _CACHED_DECISIONS // 2]:
                    del self._cache[old]
            self._cache[(*key, attributes.name) if by_name else key] = verdict
        return verdict


def _asks_for_names(policy: Policy, attributes: Attributes) -> bool:
    namespace = attributes.namespace if attributes.is_resource_request else ""
    for grant in policy.grants(attributes.user, namespace):
        try:
            rules = policy.compiled(grant.binding.role_ref, grant.binding.metadata.namespace)
        except RoleNotFound:
            continue
        if rules.asks_for_names(attributes):
            return True
    return False


def decide(policy: Policy, attributes: Attributes) -> Verdict:
    """The answer worked out from the rules, without any memory."""
    missing: list[str] = []
    namespace = attributes.namespace if attributes.is_resource_request else ""
    for grant in policy.grants(attributes.user, namespace):
        binding = grant.binding
        try:
            rules = policy.compiled(binding.role_ref, binding.metadata.namespace)
        except RoleNotFound as error:
            missing.append(str(error))
            continue
        if rules.allows(attributes):
            return Verdict(Decision.ALLOW, f"RBAC: allowed by {_describe(grant)}")
    if missing:
        return Verdict(Decision.NO_OPINION, f"RBAC: {aggregate(missing)}")
    return NO_OPINION


def rules_for(policy: Policy, user: UserInfo, namespace: str) -> tuple[list[PolicyRule], list[str]]:
    """Every rule the user has in the namespace, and what could not be resolved."""
    rules: list[PolicyRule] = []
    errors: list[str] = []
    for grant in policy.grants(user, namespace):
        binding = grant.binding
        try:
            rules.extend(policy.role_rules(binding.role_ref, binding.metadata.namespace))
        except RoleNotFound as error:
            errors.append(str(error))
    return rules, errors


def _describe(grant: _Grant) -> str:
    binding, subject = grant.binding, grant.subject
    kind = "RoleBinding" if isinstance(binding, RoleBinding) else "ClusterRoleBinding"
    place = f"/{binding.metadata.namespace}" if binding.metadata.namespace else ""
    described = f'{subject.kind} "{subject.name}"'
    if subject.kind == "ServiceAccount":
        described = f'ServiceAccount "{subject.name}/{subject.namespace or binding.metadata.namespace}"'
    role = binding.role_ref
    return f'{kind} "{binding.metadata.name}{place}" of {role.kind} "{role.name}" to {described}'


def _grants(binding: Binding) -> Iterator[_Grant]:
    for subject in binding.subjects:
        if subject.kind in ("User", "Group"):
            yield _Grant(binding, subject, (subject.kind, subject.name))
        elif subject.kind == "ServiceAccount":
            namespace = subject.namespace or binding.metadata.namespace
            if namespace:
                yield _Grant(binding, subject, ("User", service_account_user_name(namespace, subject.name)))


def _key(obj: RBACObject) -> tuple[str, str]:
    return (obj.metadata.namespace, obj.metadata.name)


def _role_key(role_ref: RoleRef, namespace: str) -> tuple[str, str]:
    return (namespace if role_ref.kind == "Role" else "", role_ref.name)
