"""ABAC: who may do what, by a file with a policy on each line. It is read once, at the start.

Lines are Policies of abac.authorization.kubernetes.io/v1beta1, or without version and kind those of before, in which
what is left out means everything (https://kubernetes.io/docs/reference/access-authn-authz/abac/).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keelback.api.rbac_v1 import PolicyRule
from keelback.apimachinery.json_trees import DecodeError, loads
from keelback.apimachinery.meta import Value, named
from keelback.auth.attributes import ALLOWED, Attributes, Decision, Verdict
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo

_VERSIONS: Final = tuple(f"abac.authorization.kubernetes.io/{version}" for version in ("v1beta1", "v0"))
_READS: Final = ("get", "list", "watch")


class PolicyError(ValueError):
    """A line is no policy; the message says which and why."""


class Policy(Value):
    """Allows a user, a group, or a user in a group, what the rest matches. `*` matches everything."""

    user: str = ""
    group: str = ""
    readonly: bool = False
    api_group: str = named("apiGroup", "")
    resource: str = ""
    namespace: str = ""
    non_resource_path: str = named("nonResourcePath", "")

    def covers(self, user: UserInfo) -> bool:
        """Whether it is about the user."""
        if not self.user and not self.group:
            return False
        return self.user in ("", user.name) and (not self.group or self.group in user.groups)

    def allows(self, attributes: Attributes) -> bool:
        if not self.covers(attributes.user) or (self.readonly and attributes.verb not in _READS):
            return False
        if attributes.is_resource_request:
            return (
                self.namespace in ("*", attributes.namespace)
                and self.resource in ("*", attributes.resource)
                and self.api_group in ("*", attributes.group)
            )
        path = self.non_resource_path
        return path in ("*", attributes.path) or (path.endswith("*") and attributes.path.startswith(path.rstrip("*")))

    def rules(self, namespace: str) -> tuple[PolicyRule, ...]:
        """What it allows in a namespace, as roles would say it."""
        if self.namespace not in ("*", namespace):
            return ()
        verbs = _READS if self.readonly else ("*",)
        resources = PolicyRule(verbs=verbs, api_groups=(self.api_group,), resources=(self.resource,))
        paths = PolicyRule(verbs=verbs, non_resource_urls=(self.non_resource_path,))
        return (*((resources,) if self.resource else ()), *((paths,) if self.non_resource_path else ()))


class ABACAuthorizer:
    """Allows what some policy allows, and has no opinion of the rest."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)

    def decide(self, attributes: Attributes) -> Verdict:
        if any(policy.allows(attributes) for policy in self._policies):
            return ALLOWED
        return Verdict(Decision.NO_OPINION, "No policy matched.")

    def rules_for(self, user: UserInfo, namespace: str) -> list[PolicyRule]:
        """What the user may do in a namespace."""
        return [rule for policy in self._policies if policy.covers(user) for rule in policy.rules(namespace)]


def read(text: str) -> ABACAuthorizer:
    """What a policy file says; lines that are empty or begin with # say nothing. Raises PolicyError."""
    policies = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                policies.append(_policy(line))
            except (DecodeError, msgspec.ValidationError, PolicyError) as error:
                raise PolicyError(f"error reading policy file, line {number}: {line}: {error}") from error
    return ABACAuthorizer(policies)


def _policy(line: str) -> Policy:
    tree = loads(line.encode())
    if not isinstance(tree, dict):
        raise PolicyError("a policy is an object")
    version, kind = tree.get("apiVersion", ""), tree.get("kind", "")
    if not version and not kind:
        return _earlier(msgspec.convert(tree, Policy))
    if version not in _VERSIONS or kind != "Policy":
        raise PolicyError(f'no kind "{kind}" is registered for version "{version}"')
    if version == _VERSIONS[1]:
        return _earlier(msgspec.convert(tree, Policy))
    return _for_everybody(msgspec.convert(tree.get("spec") or {}, Policy))


def _for_everybody(policy: Policy) -> Policy:
    """Everybody is who is known: not the anonymous."""
    if "*" not in (policy.user, policy.group):
        return policy
    return msgspec.structs.replace(policy, user="", group=AUTHENTICATED_GROUP)


def _earlier(policy: Policy) -> Policy:
    """A policy of the first form in the words of the second."""
    is_bare = not policy.namespace and not policy.resource
    known = policy if policy.user or policy.group else msgspec.structs.replace(policy, user="*")
    return msgspec.structs.replace(
        _for_everybody(known),
        api_group="*",
        namespace=policy.namespace or "*",
        resource=policy.resource or "*",
        non_resource_path="*" if is_bare else "",
    )
