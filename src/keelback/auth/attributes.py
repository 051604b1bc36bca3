"""What an authorizer is asked, what it answers, and how a refusal is worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import msgspec

from keelback.apimachinery import errors
from keelback.apimachinery.go_text import aggregate
from keelback.apimachinery.meta import StatusDetails
from keelback.auth.users import UserInfo


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """One action of one user.

    Verbs are the API's (get, list, watch, create, ...), or the HTTP method in lower case when it is a path.
    """

    user: UserInfo
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource_request: bool = True
    label_selector: str = ""
    field_selector: str = ""


class Decision(Enum):
    """What an authorizer says; NO_OPINION leaves it to the next one, and to refusal after the last."""

    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and its reason, which is shown to the user."""

    decision: Decision
    reason: str = ""
    error: str = ""
    """What kept an authorizer from knowing. Where the action is not allowed, that is not the user's fault."""

    @property
    def is_allowed(self) -> bool:
        """Whether the action may go ahead."""
        return self.decision is Decision.ALLOW


ALLOWED = Verdict(Decision.ALLOW)
NO_OPINION = Verdict(Decision.NO_OPINION)


class Decider(Protocol):
    """Decides about actions from what it holds in memory: no waiting."""

    def decide(self, attributes: Attributes) -> Verdict:
        """Whether the action is allowed, and why."""
        ...


class Authorizer(Protocol):
    """Decides about actions, perhaps after it has asked somebody else."""

    async def authorize(self, attributes: Attributes) -> Verdict:
        """Whether the action is allowed, and why. Never raises: what goes wrong is in the verdict's `error`."""
        ...


class Deciders:
    """Several deciders asked in order, as one authorizer: the first that has an opinion decides."""

    def __init__(self, deciders: Sequence[Decider]) -> None:
        self._deciders = tuple(deciders)

    def decide(self, attributes: Attributes) -> Verdict:
        """What they say together."""
        reasons: list[str] = []
        for decider in self._deciders:
            verdict = decider.decide(attributes)
            if verdict.decision is not Decision.NO_OPINION:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
        return Verdict(Decision.NO_OPINION, "\n".join(reasons)) if reasons else NO_OPINION

    async def authorize(self, attributes: Attributes) -> Verdict:
        return self.decide(attributes)


class UnionAuthorizer:
    """Several authorizers asked in order: the first that has an opinion decides."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, attributes: Attributes) -> Verdict:
        reasons: list[str] = []
        problems: list[str] = []
        for authorizer in self._authorizers:
            verdict = await authorizer.authorize(attributes)
            if verdict.decision is not Decision.NO_OPINION:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
            if verdict.error:
                problems.append(verdict.error)
        if not reasons and not problems:
            return NO_OPINION
        return Verdict(Decision.NO_OPINION, "\n".join(reasons), aggregate(problems) if problems else "")


class PrivilegedGroupAuthorizer:
    """Members of one group may do anything: how an administrator repairs broken rules."""

    def __init__(self, group: str) -> None:
        self._group = group

    def decide(self, attributes: Attributes) -> Verdict:
        return ALLOWED if self._group in attributes.user.groups else NO_OPINION


def denial(attributes: Attributes, reason: str = "") -> errors.Forbidden:
    """The error that refuses the action."""
    details = StatusDetails()
    if attributes.is_resource_request:
        details = StatusDetails(name=attributes.name, group=attributes.group, kind=attributes.resource)
    return errors.Forbidden(denial_message(attributes, reason), details=details)


def denial_message(attributes: Attributes, reason: str = "") -> str:
    """The whole message of the 403 Status that refuses the action."""
    suffix = f": {reason}" if reason else ""
    user = _quoted(attributes.user.name)
    if not attributes.is_resource_request:
        return f"forbidden: User {user} cannot {attributes.verb} path {_quoted(attributes.path)}{suffix}"
    qualified = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    named = f" {_quoted(attributes.name)}" if attributes.name else ""
    return f"{qualified}{named} is forbidden: {denial_detail(attributes)}{suffix}"


def denial_detail(attributes: Attributes) -> str:
    """The sentence that follows `is forbidden: ` for an action on a resource."""
    user = _quoted(attributes.user.name)
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    sentence = f'User {user} cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}"'
    if attributes.namespace:
        return f'{sentence} in the namespace "{attributes.namespace}"'
    return f"{sentence} at the cluster scope"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
