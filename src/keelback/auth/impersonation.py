"""Acting as somebody else, by the Impersonate-* headers.

There are several ways to be allowed, tried in order (KEP-5284). The constrained ones need two rights: one on whom to
act as, one on what to do as them. Last comes the plain verb `impersonate` on the user, each group, the uid and each
extra value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from keelback.apimachinery import errors
from keelback.auth.attributes import Attributes, Authorizer, denial
from keelback.auth.users import (
    ANONYMOUS,
    AUTHENTICATED_GROUP,
    MASTERS_GROUP,
    NODE_NAME_KEY,
    NODE_PREFIX,
    NODES_GROUP,
    UNAUTHENTICATED_GROUP,
    UserInfo,
    service_account_groups,
    split_service_account,
)
from keelback.component.http import Request, header_values

_AUTHENTICATION_GROUP = "authentication.k8s.io"
_EXTRA_PREFIX = "impersonate-extra-"
_LEGACY = "impersonate"
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Requested:
    """Whom the headers name."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Impersonated(NamedTuple):
    """The user to go on as, and the verb that made it possible, where it was not the plain one."""

    user: UserInfo
    constraint: str = ""


async def impersonate(
    user: UserInfo, request: Request, attributes: Attributes, authorizer: Authorizer
) -> Impersonated | None:
    """The user to go on as, or None if the request does not ask for another.

    `attributes` is what the request does. Raises BadRequest for half a request, Forbidden for one that is not allowed:
    by the first way that could have applied.
    """
    requested = requested_user(request)
    if requested is None:
        return None
    first: errors.Forbidden | None = None
    for mode in _modes(user, requested):
        try:
            await _check(mode, user, requested, attributes, authorizer)
        except errors.Forbidden as refused:
            first = first or refused
        else:
            other = UserInfo(requested.name, requested.uid, _groups(requested, mode), requested.extra)
            return Impersonated(other, "" if mode == _LEGACY else f"impersonate:{mode}")
    assert first is not None
    raise first


def requested_user(request: Request) -> Requested | None:
    """What the headers ask for; None if there are none. Raises BadRequest when they name no user."""
    headers = request.headers
    name = headers.get("impersonate-user", "")
    uid = headers.get("impersonate-uid", "")
    groups = _values(request, "impersonate-group")
    extra = {
        unquote(header[len(_EXTRA_PREFIX) :]).lower(): _values(request, header)
        for header in headers
        if header.startswith(_EXTRA_PREFIX)
    }
    if not name and not uid and not groups and not extra:
        return None
    if not name:
        raise errors.BadRequest(
            f'requested &user.DefaultInfo{{Name:"", UID:{_quoted(uid)}, Groups:{_go_strings(groups)},'
            f" Extra:{_go_map(extra)}}} without impersonating a user name"
        )
    return Requested(name, uid, groups, extra)


def _modes(user: UserInfo, requested: Requested) -> Iterator[str]:
    """The ways that could apply to such a user; the plain verb always does."""
    is_plain = not requested.uid and not requested.groups and not requested.extra
    node = _node_name(requested.name)
    if node is not None:
        if is_plain and split_service_account(user.name) is not None and user.extra.get(NODE_NAME_KEY) == (node,):
            yield "associated-node"
        if is_plain:
            yield "arbitrary-node"
    elif split_service_account(requested.name) is not None:
        if is_plain:
            yield "serviceaccount"
    else:
        yield "user-info"
    yield _LEGACY


async def _check(
    mode: str, user: UserInfo, requested: Requested, attributes: Attributes, authorizer: Authorizer
) -> None:
    """Raise Forbidden unless everything that the mode needs is allowed."""
    if mode == _LEGACY:
        questions = [_question(user, _LEGACY, what, what.group) for what in _legacy(requested)]
    else:
        action = msgspec.structs.replace(attributes, user=user, verb=f"impersonate-on:{mode}:{attributes.verb}")
        whom = _constrained(requested, mode)
        questions = [action, *(_question(user, f"impersonate:{mode}", what, _AUTHENTICATION_GROUP) for what in whom)]
    for question in questions:
        # Power over everything is not given away in small pieces.
        if mode != _LEGACY and question.resource == "groups" and question.name == MASTERS_GROUP:
            raise denial(question, "impersonating the system:masters group is not allowed")
        verdict = await authorizer.authorize(question)
        if not verdict.is_allowed:
            raise denial(question, verdict.reason)


@dataclass(frozen=True, slots=True)
class _What:
    resource: str
    name: str
    namespace: str = ""
    subresource: str = ""
    # The API group under the verb `impersonate`; constrained verbs always use authentication.k8s.io.
    group: str = ""


def _legacy(requested: Requested) -> Iterator[_What]:
    account = split_service_account(requested.name)
    if account is None:
        yield _What("users", requested.name)
    else:
        yield _What("serviceaccounts", account[1], namespace=account[0])
    yield from _further(requested)


def _constrained(requested: Requested, mode: str) -> Iterator[_What]:
    account = split_service_account(requested.name)
    if mode == "serviceaccount" and account is not None:
        yield _What("serviceaccounts", account[1], namespace=account[0])
    elif mode == "arbitrary-node":
        yield _What("nodes", requested.name[len(NODE_PREFIX) :])
    elif mode == "associated-node":
        # Whichever node the service account runs on.
        yield _What("nodes", "*")
    else:
        yield _What("users", requested.name)
        yield from _further(requested)


def _further(requested: Requested) -> Iterator[_What]:
    if requested.uid:
        yield _What("uids", requested.uid, group=_AUTHENTICATION_GROUP)
    for group in requested.groups:
        yield _What("groups", group)
    for key, values in requested.extra.items():
        for value in values:
            yield _What("userextras", value, subresource=key, group=_AUTHENTICATION_GROUP)


def _question(user: UserInfo, verb: str, what: _What, group: str) -> Attributes:
    return Attributes(
        user,
        verb,
        group=group,
        version="v1",
        resource=what.resource,
        subresource=what.subresource,
        namespace=what.namespace,
        name=what.name,
    )


def _node_name(user_name: str) -> str | None:
    if not user_name.startswith(NODE_PREFIX):
        return None
    name = user_name[len(NODE_PREFIX) :]
    return name if _NODE_NAME.fullmatch(name) else None


def _groups(requested: Requested, mode: str) -> tuple[str, ...]:
    groups = requested.groups
    account = split_service_account(requested.name)
    if mode in ("associated-node", "arbitrary-node"):
        groups = (NODES_GROUP,)
    elif account is not None and not groups:
        groups = service_account_groups(account[0])
    if requested.name == ANONYMOUS:
        return groups if UNAUTHENTICATED_GROUP in groups else (*groups, UNAUTHENTICATED_GROUP)
    if AUTHENTICATED_GROUP in groups or UNAUTHENTICATED_GROUP in groups:
        return groups
    return (*groups, AUTHENTICATED_GROUP)


def _values(request: Request, header: str) -> tuple[str, ...]:
    return tuple(value for value in header_values(request, header) if value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _go_strings(values: tuple[str, ...]) -> str:
    return f"[]string{{{', '.join(map(_quoted, values))}}}" if values else "[]string(nil)"


def _go_map(extra: Mapping[str, tuple[str, ...]]) -> str:
    if not extra:
        return "map[string][]string(nil)"
    members = ", ".join(f"{_quoted(key)}:{_go_strings(values)}" for key, values in sorted(extra.items()))
    return f"map[string][]string{{{members}}}"
