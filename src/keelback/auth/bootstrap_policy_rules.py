"""How the bootstrap policy is written down: rules and subjects from a few words. The API group "" is `core` here."""

from __future__ import annotations

from keelback.api.rbac_v1 import PolicyRule, Subject

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
READ_UPDATE = "get list watch update patch"
READ_WRITE = f"{READ} {WRITE}"

_RBAC_GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, groups: str, resources: str, *names: str) -> PolicyRule:
    """Verbs on resources, each a list separated by blanks; only on objects of these `names` if any are given.

    Whatever the order in which they are written, they are kept in the alphabet's: so upstream stores and shows them.
    """
    return PolicyRule(
        verbs=tuple(sorted(verbs.split())),
        api_groups=tuple(sorted("" if group == "core" else group for group in groups.split())),
        resources=tuple(sorted(resources.split())),
        resource_names=tuple(sorted(names)),
    )


def urls(verbs: str, paths: str) -> PolicyRule:
    """Verbs on paths outside the API's resources."""
    return PolicyRule(verbs=tuple(sorted(verbs.split())), non_resource_urls=tuple(sorted(paths.split())))


def user(name: str) -> Subject:
    """One user."""
    return Subject(kind="User", name=name, api_group=_RBAC_GROUP)


def group(name: str) -> Subject:
    """Everyone in a group."""
    return Subject(kind="Group", name=name, api_group=_RBAC_GROUP)


def service_account(name: str) -> Subject:
    """A service account in kube-system."""
    return Subject(kind="ServiceAccount", name=name, namespace="kube-system")


EVENTS = rule("create update patch", "core events.k8s.io", "events")
