"""Policies of both forms: whom they are about, what they allow, and files that hold none."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth import abac
from keelback.auth.attributes import Attributes
from keelback.auth.authorizers import Authorizers
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import Policy
from keelback.auth.users import ANONYMOUS as NOBODY
from keelback.auth.users import UserInfo
from keelback.component.metrics import Registry
from keelback.testing.clock import HandClock

ALICE = UserInfo("alice", groups=("dev", "system:authenticated"))
ANONYMOUS = UserInfo(NOBODY, groups=("system:unauthenticated",))
BOB = UserInfo("bob", groups=("ops", "system:authenticated"))


def v1beta1(**spec: Any) -> str:
    tree = {"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec}
    return json.dumps(tree)


def v0(**policy: Any) -> str:
    return json.dumps(policy)


def read_pods(user: UserInfo, namespace: str = "a", verb: str = "get") -> Attributes:
    return Attributes(user, verb, resource="pods", namespace=namespace)


def path(user: UserInfo, at: str, verb: str = "get") -> Attributes:
    return Attributes(user, verb, path=at, is_resource_request=False)


@pytest.mark.parametrize(
    ("line", "asked", "allowed"),
    [
        (v1beta1(user="alice", namespace="*", resource="*", apiGroup="*"), read_pods(ALICE), True),
        (v1beta1(user="alice", namespace="*", resource="*", apiGroup="*"), read_pods(BOB), False),
        (v1beta1(group="ops", namespace="*", resource="*", apiGroup="*"), read_pods(BOB), True),
        (v1beta1(user="bob", group="dev", namespace="*", resource="*", apiGroup="*"), read_pods(BOB), False),
        (v1beta1(namespace="*", resource="*", apiGroup="*"), read_pods(ALICE), False),
        (v1beta1(user="*", namespace="*", resource="*", apiGroup="*"), read_pods(ALICE), True),
        (v1beta1(user="*", namespace="*", resource="*", apiGroup="*"), read_pods(ANONYMOUS), False),
        (v1beta1(user="alice", namespace="b", resource="pods"), read_pods(ALICE), False),
        (v1beta1(user="alice", namespace="a", resource="pods"), read_pods(ALICE), True),
        (v1beta1(user="alice", namespace="a", resource="pods", apiGroup="apps"), read_pods(ALICE), False),
        (v1beta1(user="alice", namespace="a", resource="pods", readonly=True), read_pods(ALICE, verb="watch"), True),
        (v1beta1(user="alice", namespace="a", resource="pods", readonly=True), read_pods(ALICE, verb="create"), False),
        (v1beta1(user="alice", nonResourcePath="/logs/*"), path(ALICE, "/logs/a"), True),
        (v1beta1(user="alice", nonResourcePath="/logs/*"), path(ALICE, "/version"), False),
        (v1beta1(user="alice", namespace="*", resource="*", apiGroup="*"), path(ALICE, "/version"), False),
        (v1beta1(user="alice", nonResourcePath="*"), read_pods(ALICE), False),
        (v0(user="alice"), read_pods(ALICE, verb="delete"), True),
        (v0(user="alice"), path(ALICE, "/version"), True),
        (v0(user="alice", namespace="a"), path(ALICE, "/version"), False),
        (v0(resource="pods", readonly=True), read_pods(BOB), True),
        (v0(resource="pods", readonly=True), read_pods(ANONYMOUS), False),
    ],
)
def test_a_policy_allows_what_it_matches(line: str, asked: Attributes, allowed: bool) -> None:
    verdict = abac.read(f"# a comment\n\n{line}\n").decide(asked)
    assert verdict.is_allowed is allowed
    assert verdict.reason == ("" if allowed else "No policy matched.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "error reading policy file, line 2: {: unexpected end of JSON input"),
        ("[]", "a policy is an object"),
        (json.dumps({"apiVersion": "v1", "kind": "Policy"}), 'no kind "Policy" is registered for version "v1"'),
        (v1beta1(readonly="yes"), "Expected `bool`"),
    ],
)
def test_a_line_that_is_no_policy_is_named(line: str, said: str) -> None:
    with pytest.raises(abac.PolicyError) as refused:
        abac.read(f"{v0(user='a')}\n{line}")
    assert said in str(refused.value)


def test_rules_are_told_as_roles_would_say_them() -> None:
    known = abac.read("\n".join([v1beta1(user="alice", namespace="a", resource="pods", readonly=True), v0(user="bob")]))
    (rule,) = known.rules_for(ALICE, "a")
    assert (rule.verbs, rule.api_groups, rule.resources) == (("get", "list", "watch"), ("",), ("pods",))
    assert known.rules_for(ALICE, "b") == []
    assert [rule.verbs for rule in known.rules_for(BOB, "b")] == [("*",), ("*",)]


async def ask(authorizers: Authorizers, modes: tuple[str, ...], attributes: Attributes) -> bool:
    chain = authorizers.of_modes(modes, None)
    return (await chain.authorizer.authorize(attributes)).is_allowed


def make(policies: abac.ABACAuthorizer | None) -> Authorizers:
    return Authorizers(Policy(), NodeGraph(), policies, HandClock(), random.Random(1), Registry())


def test_abac_is_one_mode_among_others() -> None:
    authorizers = make(abac.read(v0(user="alice")))
    assert asyncio.run(ask(authorizers, ("RBAC", "ABAC"), read_pods(ALICE)))
    assert not asyncio.run(ask(authorizers, ("RBAC", "ABAC"), read_pods(BOB)))
    assert authorizers.of_modes(("ABAC",), None).rules_for(ALICE, "a")[0]
    with pytest.raises(ConfigurationError, match="ABAC's authorization policy file not passed"):
        make(None).of_modes(("ABAC",), None)
