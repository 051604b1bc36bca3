from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from keelback.apimachinery import errors
from keelback.auth import impersonation
from keelback.auth.attributes import ALLOWED, NO_OPINION, Attributes, Authorizer, Verdict
from keelback.auth.users import UserInfo
from keelback.component.http import Request

SMALL = UserInfo("system:serviceaccount:ex-auth:small")
LIST = Attributes(SMALL, "list", version="v1", resource="namespaces")


class Allowing:
    """Allows the listed verbs on the listed resources, written `verb resource`."""

    def __init__(self, *actions: str) -> None:
        self._actions = actions

    async def authorize(self, attributes: Attributes) -> Verdict:
        resource = "/".join(part for part in (attributes.resource, attributes.subresource) if part)
        return ALLOWED if f"{attributes.verb} {resource}" in self._actions else NO_OPINION


def impersonate(
    user: UserInfo, headers: Mapping[str, str], attributes: Attributes, authorizer: Authorizer
) -> UserInfo | None:
    lines = tuple((name, value) for name, text in headers.items() for value in text.split("|"))
    request = Request("GET", "/", headers=headers, header_lines=lines)
    found = asyncio.run(impersonation.impersonate(user, request, attributes, authorizer))
    return None if found is None else found.user


def test_without_headers_nothing_changes() -> None:
    assert impersonate(SMALL, {}, LIST, Allowing()) is None


@pytest.mark.parametrize(
    ("name", "verb"),
    [("joe", "user-info"), ("system:serviceaccount:default:default", "serviceaccount")],
)
def test_a_refusal_is_worded_by_the_constrained_verbs(name: str, verb: str) -> None:
    with pytest.raises(errors.Forbidden) as refused:
        impersonate(SMALL, {"impersonate-user": name}, LIST, Allowing())
    assert refused.value.message == (
        'namespaces is forbidden: User "system:serviceaccount:ex-auth:small" cannot'
        f' impersonate-on:{verb}:list resource "namespaces" in API group "" at the cluster scope'
    )


def test_a_group_without_a_user_is_half_a_request() -> None:
    with pytest.raises(errors.BadRequest) as refused:
        impersonate(SMALL, {"impersonate-group": "g"}, LIST, Allowing())
    assert refused.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)}'
        " without impersonating a user name"
    )


def test_everything_that_is_asked_for_must_be_allowed() -> None:
    headers = {
        "impersonate-user": "joe",
        "impersonate-uid": "7",
        "impersonate-group": "g|h, i",
        "impersonate-extra-scope": "a",
        "impersonate-extra-acme.com%2fproject": "p",
    }
    rights = [
        "impersonate users",
        "impersonate uids",
        "impersonate groups",
        "impersonate userextras/scope",
        "impersonate userextras/acme.com/project",
    ]
    assert impersonate(SMALL, headers, LIST, Allowing(*rights)) == UserInfo(
        "joe", "7", ("g", "h, i", "system:authenticated"), {"scope": ("a",), "acme.com/project": ("p",)}
    )
    for missing in rights:
        with pytest.raises(errors.Forbidden):
            impersonate(SMALL, headers, LIST, Allowing(*(right for right in rights if right != missing)))


def test_narrow_rights_suffice_for_what_they_cover() -> None:
    authorizer = Allowing("impersonate-on:user-info:list namespaces", "impersonate:user-info users")
    known = impersonate(SMALL, {"impersonate-user": "joe"}, LIST, authorizer)
    assert known == UserInfo("joe", groups=("system:authenticated",))
    with pytest.raises(errors.Forbidden):
        impersonate(SMALL, {"impersonate-user": "joe", "impersonate-group": "g"}, LIST, authorizer)


def test_a_service_account_gets_its_groups() -> None:
    known = impersonate(
        SMALL, {"impersonate-user": "system:serviceaccount:a:b"}, LIST, Allowing("impersonate serviceaccounts")
    )
    assert known is not None
    assert known.groups == ("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")


def test_anonymous_stays_unauthenticated() -> None:
    known = impersonate(SMALL, {"impersonate-user": "system:anonymous"}, LIST, Allowing("impersonate users"))
    assert known is not None
    assert known.groups == ("system:unauthenticated",)


class Everything:
    async def authorize(self, attributes: Attributes) -> Verdict:
        return ALLOWED


def test_a_node_gets_its_group_unless_groups_are_named() -> None:
    node = {"impersonate-user": "system:node:n1"}
    known = impersonate(SMALL, node, LIST, Everything())
    assert known is not None
    assert known.groups == ("system:nodes", "system:authenticated")
    known = impersonate(SMALL, {**node, "impersonate-group": "g"}, LIST, Everything())
    assert known is not None
    assert known.groups == ("g", "system:authenticated")


def test_a_daemon_may_act_as_the_node_it_runs_on() -> None:
    rights = Allowing("impersonate-on:associated-node:list namespaces", "impersonate:associated-node nodes")
    daemon = UserInfo(SMALL.name, extra={"authentication.kubernetes.io/node-name": ("n1",)})
    known = impersonate(daemon, {"impersonate-user": "system:node:n1"}, LIST, rights)
    assert known is not None
    assert known.name == "system:node:n1"
    with pytest.raises(errors.Forbidden):
        impersonate(daemon, {"impersonate-user": "system:node:n2"}, LIST, rights)


def test_masters_are_impersonated_only_by_the_plain_verb() -> None:
    headers = {"impersonate-user": "joe", "impersonate-group": "system:masters"}
    assert impersonate(SMALL, headers, LIST, Everything()) is not None
    narrow = Allowing(
        "impersonate-on:user-info:list namespaces", "impersonate:user-info users", "impersonate:user-info groups"
    )
    with pytest.raises(errors.Forbidden, match="impersonating the system:masters group is not allowed"):
        impersonate(SMALL, headers, LIST, narrow)
