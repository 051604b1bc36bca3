"""Who makes a request, and the names of users and groups that the system itself knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANONYMOUS = "system:anonymous"
MASTERS_GROUP = "system:masters"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

CREDENTIAL_ID_KEY = "authentication.kubernetes.io/credential-id"
POD_NAME_KEY = "authentication.kubernetes.io/pod-name"
POD_UID_KEY = "authentication.kubernetes.io/pod-uid"
NODE_NAME_KEY = "authentication.kubernetes.io/node-name"
NODE_UID_KEY = "authentication.kubernetes.io/node-uid"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """An identity: how it is called, what it belongs to and what its credential said further."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def service_account_user_name(namespace: str, name: str) -> str:
    """The user name under which a service account acts."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """The groups every service account of a namespace is in."""
    return (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{namespace}")


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account behind a user name, or None if it is not one."""
    if not user_name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, separator, name = user_name[len(SERVICE_ACCOUNT_PREFIX) :].partition(":")
    if not separator or not namespace or not name or ":" in name:
        return None
    return namespace, name


def node_name(user: UserInfo) -> str | None:
    """The node whose kubelet this is; "" for a member of the group without a proper name, None for anyone else."""
    if NODES_GROUP not in user.groups:
        return None
    return user.name[len(NODE_PREFIX) :] if user.name.startswith(NODE_PREFIX) else ""


def with_authenticated_group(user: UserInfo) -> UserInfo:
    """The same user as a member of system:authenticated, unless it is anonymous."""
    if AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups or user.name == ANONYMOUS:
        return user
    return UserInfo(user.name, user.uid, (*user.groups, AUTHENTICATED_GROUP), user.extra)
