"""Python functions as admission webhooks: the API server asks them as it asks any webhook, but for the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from keelback.testing.cluster_objects import Resource, Tree

MutateFunction: TypeAlias = "Callable[[AdmissionRequest], Tree | None]"
"""Gives the object as it should be; None leaves it as it is."""
ValidateFunction: TypeAlias = "Callable[[AdmissionRequest], None]"
"""Raises Refused where the request should not go through."""

_DOMAIN: Final = "functions.keelback.dev"


class Refused(Exception):
    """Raised by a webhook function: the request is answered with this message, and `code`."""

    def __init__(self, message: str, code: int = 403) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What a webhook is told (`admission.k8s.io/v1` AdmissionRequest). `object` may be changed in place."""

    tree: Tree
    """The request as it is sent to webhooks."""
    warnings: list[str] = field(default_factory=list)

    @property
    def operation(self) -> str:
        """CREATE, UPDATE, DELETE or CONNECT."""
        return str(self.tree["operation"])

    @property
    def object(self) -> Tree:
        """The object as it would be stored; empty when it is deleted."""
        found: Tree = self.tree.get("object") or {}
        return found

    @property
    def old_object(self) -> Tree:
        """The object as it was; empty when it is created."""
        found: Tree = self.tree.get("oldObject") or {}
        return found

    @property
    def namespace(self) -> str:
        """Empty for what is in none."""
        return str(self.tree.get("namespace", ""))

    @property
    def name(self) -> str:
        """Empty while the server has still to generate it."""
        return str(self.tree.get("name", ""))

    @property
    def user(self) -> str:
        """Who asks."""
        return str(self.tree["userInfo"].get("username", ""))

    @property
    def dry_run(self) -> bool:
        """Whether nothing will come of it."""
        return bool(self.tree.get("dryRun"))

    def warn(self, text: str) -> None:
        """Have a warning sent to the client."""
        self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class WebhookFunction:
    """A function that answers AdmissionReviews."""

    function: Callable[[AdmissionRequest], Tree | None]
    mutates: bool

    async def answer(self, body: bytes) -> bytes:
        """The answer to a review. Whatever the function raises besides Refused, the API server takes for a failure."""
        review = json.loads(body)
        request = AdmissionRequest(review["request"])
        response: dict[str, Any] = {"uid": request.tree["uid"], "allowed": True}
        try:
            wanted = self.function(request)
        except Refused as refusal:
            status = {"status": "Failure", "message": str(refusal), "code": refusal.code}
            response |= {"allowed": False, "status": status}
        else:
            if self.mutates and wanted is not None:
                patch = [{"op": "replace", "path": "", "value": wanted}]
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        if request.warnings:
            response["warnings"] = request.warnings
        return json.dumps({**review, "response": response}).encode()


LocalWebhooks: TypeAlias = dict[str, Callable[[bytes], Awaitable[bytes]]]
"""By the host in their URL."""


def host_of(name: str) -> str:
    """The host that the URL of a function of this name has."""
    return f"{name}.{_DOMAIN}"


def name_of(function: Callable[..., Any]) -> str:
    """A function's name as objects may be called."""
    given: str = getattr(function, "__name__", type(function).__name__)
    return given.strip("_<>").replace("_", "-").lower()


def configuration(
    name: str,
    resource: Resource,
    subresource: str,
    operations: Sequence[str],
    more: Mapping[str, Any],
    *,
    mutates: bool,
) -> Tree:
    """The webhook configuration that has a function asked about a resource."""
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "resources": [f"{resource.plural}/{subresource}" if subresource else resource.plural],
        "operations": list(operations),
    }
    webhook = {
        "name": host_of(name),
        "clientConfig": {"url": f"https://{host_of(name)}/"},
        "rules": [rule],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        **more,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{'Mutating' if mutates else 'Validating'}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
