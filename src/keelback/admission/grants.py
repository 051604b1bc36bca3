"""Nobody grants more than they have: no plugin upstream, where storing roles sees to it, so nobody can turn it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation

# Given the user, the new role or binding and the old one (or None): why it may not be written; empty if it may.
WhyNotGrant = Callable[[Any, Any, Any], Awaitable[str]]

_GROUP = "rbac.authorization.k8s.io"


class Grants(AdmissionPlugin):
    """Refuses roles and bindings that would give rights their writer lacks."""

    name = "Grants"
    resources = frozenset(
        f"{_GROUP}/{plural}" for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
    )
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, why_not: WhyNotGrant) -> None:
        self._why_not = why_not

    async def validate(self, request: AdmissionRequest) -> None:
        reason = await self._why_not(request.user, request.obj, request.old_obj)
        if reason:
            raise request.forbidden(reason)
