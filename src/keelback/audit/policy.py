"""The audit policy: how much is noted of which requests, and at which stages (audit.k8s.io/v1 Policy).

The first rule that matches decides; a request that none matches is not noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from keelback.apimachinery import errors, names, yaml
from keelback.apimachinery.go_text import aggregate
from keelback.audit.options import API_VERSION
from keelback.auth.attributes import Attributes


class Level(StrEnum):
    """How much is noted of a request, from nothing to everything."""

    NONE = "None"
    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"


class Stage(StrEnum):
    """When an event is made."""

    REQUEST_RECEIVED = "RequestReceived"
    RESPONSE_STARTED = "ResponseStarted"
    RESPONSE_COMPLETE = "ResponseComplete"
    PANIC = "Panic"


class PolicyError(ValueError):
    """A policy that cannot be used; the message says what is wrong."""


class _GroupResources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    group: str = ""
    resources: tuple[str, ...] | None = ()
    resource_names: tuple[str, ...] | None = ()


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    level: str = ""
    users: tuple[str, ...] | None = ()
    user_groups: tuple[str, ...] | None = ()
    verbs: tuple[str, ...] | None = ()
    resources: tuple[_GroupResources, ...] | None = ()
    namespaces: tuple[str, ...] | None = ()
    non_resource_urls: tuple[str, ...] | None = msgspec.field(default=(), name="nonResourceURLs")
    omit_stages: tuple[str, ...] | None = ()
    omit_managed_fields: bool | None = None


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    metadata: Any = None
    rules: tuple[_Rule, ...] | None = ()
    omit_stages: tuple[str, ...] | None = ()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted of one request."""

    level: Level
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


_NOTHING = Noted(Level.NONE)


class _CompiledRule:
    """One rule, ready to be asked. Empty conditions always hold."""

    __slots__ = ("_groups", "_namespaces", "_paths", "_resources", "_users", "_verbs", "noted")

    def __init__(self, rule: _Rule, policy: _Policy) -> None:
        own = rule.omit_managed_fields
        self.noted = Noted(
            Level(rule.level),
            frozenset((*(policy.omit_stages or ()), *(rule.omit_stages or ()))),
            policy.omit_managed_fields if own is None else own,
        )
        self._users = frozenset(rule.users or ())
        self._groups = frozenset(rule.user_groups or ())
        self._verbs = frozenset(rule.verbs or ())
        self._namespaces = frozenset(rule.namespaces or ())
        self._resources = rule.resources or ()
        self._paths = rule.non_resource_urls or ()

    def matches(self, attributes: Attributes, *, is_known: bool) -> bool:
        """Whether the rule is about such a request. `is_known` is False where it is not known who asks."""
        user = attributes.user
        if self._users and not (is_known and user.name in self._users):
            return False
        if self._groups and not (is_known and not self._groups.isdisjoint(user.groups)):
            return False
        if self._verbs and attributes.verb not in self._verbs:
            return False
        if self._namespaces or self._resources:
            return attributes.is_resource_request and self._matches_resource(attributes)
        if self._paths:
            return not attributes.is_resource_request and any(
                _path_matches(attributes.path, one) for one in self._paths
            )
        return True

    def _matches_resource(self, attributes: Attributes) -> bool:
        # Resources outside namespaces have the namespace "".
        if self._namespaces and attributes.namespace not in self._namespaces:
            return False
        return not self._resources or any(_resource_matches(attributes, one) for one in self._resources)


def _resource_matches(attributes: Attributes, wanted: _GroupResources) -> bool:
    if wanted.group != attributes.group:
        return False
    if not wanted.resources:
        return True
    if wanted.resource_names and attributes.name not in wanted.resource_names:
        return False
    resource, part = attributes.resource, attributes.subresource
    names = {f"{resource}/{part}" if part else resource, "*", f"{resource}/*"}
    if part:
        names.add(f"*/{part}")
    return not names.isdisjoint(wanted.resources)


def _path_matches(path: str, wanted: str) -> bool:
    return wanted in ("*", path) or (wanted.endswith("*") and path.startswith(wanted.rstrip("*")))


class Policy:
    """The rules, in order."""

    def __init__(self, rules: Iterable[_CompiledRule]) -> None:
        self._rules = tuple(rules)

    def evaluate(self, attributes: Attributes, *, is_known: bool = True) -> Noted:
        """What is noted of such a request; `is_known` is False where its caller could not be authenticated."""
        for rule in self._rules:
            if rule.matches(attributes, is_known=is_known):
                return rule.noted
        return _NOTHING


def parse(text: str) -> Policy:
    """The policy that a file says, in YAML or JSON. Raises PolicyError."""
    try:
        tree, repeated = yaml.load(text)
        policy = msgspec.convert(tree, _Policy)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise PolicyError(f"failed decoding: {error}") from error
    if repeated:
        raise PolicyError(f"failed decoding: {repeated[0]}")
    if (policy.api_version, policy.kind) != (API_VERSION, "Policy"):
        raise PolicyError(
            f"unknown group version field apiVersion {policy.api_version!r}, kind {policy.kind!r} in policy: "
            f"it must be {API_VERSION}, Policy"
        )
    problems = [f"{one.field}: {one.body}" for one in _problems(policy)]
    if problems:
        raise PolicyError(aggregate(problems))
    if not policy.rules:
        raise PolicyError("loaded illegal policy with 0 rules")
    return Policy(_CompiledRule(rule, policy) for rule in policy.rules)


def _problems(policy: _Policy) -> Iterator[errors.FieldError]:
    yield from _stage_problems(policy.omit_stages or (), "omitStages")
    for index, rule in enumerate(policy.rules or ()):
        path = f"rules[{index}]"
        if not rule.level:
            yield errors.required(f"{path}.level")
        elif rule.level not in list(Level):
            yield errors.not_supported(f"{path}.level", rule.level, list(Level), in_given_order=True)
        yield from _path_problems(rule.non_resource_urls or (), f"{path}.nonResourceURLs")
        yield from _resource_problems(rule.resources or (), f"{path}.resources")
        yield from _stage_problems(rule.omit_stages or (), f"{path}.omitStages")
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            yield errors.invalid(
                f"{path}.nonResourceURLs",
                list(rule.non_resource_urls),
                "rules cannot apply to both regular resources and non-resource URLs",
            )


def _path_problems(paths: tuple[str, ...], field: str) -> Iterator[errors.FieldError]:
    for index, path in enumerate(paths):
        if path == "*":
            continue
        if not path.startswith("/"):
            detail = "non-resource URL rules must begin with a '/' character"
            yield errors.invalid(f"{field}[{index}]", path, detail)
        if re.search(r"\*.", path):
            detail = "non-resource URL wildcards '*' must be the final character of the rule"
            yield errors.invalid(f"{field}[{index}]", path, detail)


def _resource_problems(resources: tuple[_GroupResources, ...], field: str) -> Iterator[errors.FieldError]:
    for one in resources:
        if one.group and (found := names.dns1123_subdomain(one.group)):
            yield errors.invalid(f"{field}.group", one.group, ",".join(found))
        if one.resource_names and not one.resources:
            detail = "using resourceNames requires at least one resource"
            yield errors.invalid(f"{field}.resourceNames", list(one.resource_names), detail)


def _stage_problems(stages: tuple[str, ...], field: str) -> Iterator[errors.FieldError]:
    for index, stage in enumerate(stages):
        if stage not in list(Stage):
            yield errors.invalid(f"{field}[{index}]", stage, f"allowed stages are {','.join(Stage)}")
