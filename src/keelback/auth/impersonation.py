"""Acting as somebody else, by the Impersonate-* headers.

Who holds the verb `impersonate` on the user, each group, the uid and each extra value may do so for everything. Others
need two narrower verbs, one on whom they act as and one on what they do (constrained impersonation, KEP-5284).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec

from keelback.apimachinery import errors
from keelback.auth.attributes import Attributes, Authorizer, denial
from keelback.auth.users import (
    ANONYMOUS,
    AUTHENTICATED_GROUP,
    NODE_PREFIX,
    UNAUTHENTICATED_GROUP,
    UserInfo,
    service_account_groups,
    split_service_account,
)

_AUTHENTICATION_GROUP = "authentication.k8s.io"
_EXTRA_PREFIX = "impersonate-extra-"


@dataclass(frozen=True, slots=True)
class Requested:
    """Whom the headers name."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def impersonate(
    user: UserInfo, headers: Mapping[str, str], attributes: Attributes, authorizer: Authorizer
) -> UserInfo | None:
    """The user to go on as, or None if the request does not ask for another.

    `attributes` is what the request does. Raises BadRequest for half a request, Forbidden for one that is not allowed.
    """
    requested = requested_user(headers)
    if requested is None:
        return None
    legacy = all(
        authorizer.authorize(_as(user, "impersonate", what, group="")).is_allowed for what in _legacy(requested)
    )
    if not legacy:
        _check_constrained(user, requested, attributes, authorizer)
    return UserInfo(requested.name, requested.uid, _groups(requested), requested.extra)


def requested_user(headers: Mapping[str, str]) -> Requested | None:
    """What the headers ask for; None if there are none. Raises BadRequest when they name no user."""
    name = headers.get("impersonate-user", "")
    uid = headers.get("impersonate-uid", "")
    groups = _values(headers.get("impersonate-group", ""))
    extra = {
        unquote(header[len(_EXTRA_PREFIX) :]).lower(): _values(value)
        for header, value in headers.items()
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


def _check_constrained(user: UserInfo, requested: Requested, attributes: Attributes, authorizer: Authorizer) -> None:
    mode = _mode(requested)
    action = msgspec.structs.replace(attributes, user=user, verb=f"impersonate-on:{mode}:{attributes.verb}")
    verdict = authorizer.authorize(action)
    if not verdict.is_allowed:
        raise denial(action, verdict.reason)
    for what in _constrained(requested, mode):
        question = _as(user, f"impersonate:{mode}", what, group=_AUTHENTICATION_GROUP)
        verdict = authorizer.authorize(question)
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


def _mode(requested: Requested) -> str:
    is_plain = not requested.uid and not requested.groups and not requested.extra
    if is_plain and split_service_account(requested.name) is not None:
        return "serviceaccount"
    if is_plain and requested.name.startswith(NODE_PREFIX):
        return "arbitrary-node"
    return "user-info"


def _as(user: UserInfo, verb: str, what: _What, *, group: str) -> Attributes:
    return Attributes(
        user,
        verb,
        group=group or what.group,
        version="v1",
        resource=what.resource,
        subresource=what.subresource,
        namespace=what.namespace,
        name=what.name,
    )


def _groups(requested: Requested) -> tuple[str, ...]:
    groups = requested.groups
    account = split_service_account(requested.name)
    if account is not None and not groups:
        groups = service_account_groups(account[0])
    if requested.name == ANONYMOUS:
        return groups if UNAUTHENTICATED_GROUP in groups else (*groups, UNAUTHENTICATED_GROUP)
    if AUTHENTICATED_GROUP in groups or UNAUTHENTICATED_GROUP in groups:
        return groups
    return (*groups, AUTHENTICATED_GROUP)


def _values(header: str) -> tuple[str, ...]:
    """The values of a header that may come several times: the front door joins them by a comma and a blank."""
    return tuple(value for value in header.split(", ") if value)


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
