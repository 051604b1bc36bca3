"""Who may say what about devices: no plugins upstream, where storing claims sees to it, so nobody can turn them off.

Rights to the status of a claim are finer than to its subresource (KEP-4817): who allocates and reserves needs
`resourceclaims/binding`, and a driver `resourceclaims/driver` by its own name, of the claim's node or of any.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from keelback.admission.builtin import FeatureGate
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import Namespace, NodeSelector
from keelback.api.resource_v1 import ResourceClaimStatus
from keelback.apimachinery import errors
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import Object, narrow, replace
from keelback.auth.attributes import Attributes, Authorizer, denial_message
from keelback.auth.users import NODE_NAME_KEY, UserInfo, split_service_account
from keelback.registry.device_allocations import without_lost_devices

GRANULAR_STATUS: Final = FeatureGate("DRAResourceClaimGranularStatusAuthorization", on_since=36)

_GROUP: Final = "resource.k8s.io"
_CLAIMS: Final = "resourceclaims"
_STATUS: Final = f"{_GROUP}/{_CLAIMS}/status"
_ADMIN_LABEL: Final = "resource.kubernetes.io/admin-access"


@narrow(Namespace)
class _NamespaceLabels(Object):
    """A namespace, of which only the labels are of interest."""


class ClaimStatusAccess(AdmissionPlugin):
    """Refuses changes of a claim's status that their writer has no right to."""

    name = "ClaimStatusAccess"
    resources = frozenset({_STATUS})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        # Of any version: their statuses are alike.
        new, old = request.obj.status, request.old_obj.status
        found = [error async for error in self._binding(request, new, old)]
        found += [error async for error in self._devices(request, new, old)]
        if found:
            raise errors.Invalid.of(request.kind, request.name, found)

    async def _binding(
        self, request: AdmissionRequest, new: ResourceClaimStatus, old: ResourceClaimStatus
    ) -> AsyncIterator[FieldError]:
        if (new.allocation, new.reserved_for) == (old.allocation, old.reserved_for):
            return
        # Of all claims: what one takes is wanting to another.
        why_not = await self._why_not(_question(request, request.verb, "binding"))
        if why_not:
            yield errors.forbidden(
                "status",
                'changing status.allocation or status.reservedFor requires resource="resourceclaims/binding",'
                f' verb="{request.verb}" permission: {why_not}',
            )

    async def _devices(
        self, request: AdmissionRequest, new: ResourceClaimStatus, old: ResourceClaimStatus
    ) -> AsyncIterator[FieldError]:
        drivers = _changed_drivers(new, old)
        if not drivers:
            return
        verbs = [f"arbitrary-node:{request.verb}"]
        selector = None if new.allocation is None else new.allocation.node_selector
        if _is_of_node(request.user, _only_node(selector)):
            verbs.insert(0, f"associated-node:{request.verb}")
        for driver in sorted(drivers):
            reasons = []
            for verb in verbs:
                why_not = await self._why_not(_question(request, verb, "driver", request.namespace, driver))
                if not why_not:
                    break
                reasons.append(why_not)
            else:
                yield errors.forbidden(
                    "status.devices",
                    'changing status.devices requires resource="resourceclaims/driver",'
                    f' verb="[{" ".join(verbs)}]" permission: {reasons[0]}',
                )

    async def _why_not(self, question: Attributes) -> str:
        verdict = await self._authorizer.authorize(question)
        if verdict.is_allowed:
            return ""
        return denial_message(question, ": ".join(filter(None, (verdict.error, verdict.reason))))


class DeviceAdminAccess(AdmissionPlugin):
    """Refuses access to devices that others use, but in namespaces whose label lets administrators do so (KEP-5018)."""

    name = "DeviceAdminAccess"
    resources = frozenset({f"{_GROUP}/{_CLAIMS}", f"{_GROUP}/resourceclaimtemplates", _STATUS})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        field = next(_asking_for_admin_access(request), None)
        if field is None:
            return
        try:
            namespace = await self._reader.get(_NamespaceLabels, request.namespace)
            labels = namespace.metadata.labels
        except errors.NotFound:
            labels = {}
        if labels.get(_ADMIN_LABEL) != "true":
            why = f"admin access to devices requires the `{_ADMIN_LABEL}: true` label on the containing namespace"
            raise errors.Invalid.of(request.kind, request.name, [errors.forbidden(field, why)])


def _question(request: AdmissionRequest, verb: str, part: str, namespace: str = "", name: str = "") -> Attributes:
    user = UserInfo(request.user.name, request.user.uid, request.user.groups, request.user.extra)
    return Attributes(
        user,
        verb,
        group=_GROUP,
        version=request.kind.version,
        resource=_CLAIMS,
        subresource=part,
        namespace=namespace,
        name=name,
    )


def _changed_drivers(new: ResourceClaimStatus, old: ResourceClaimStatus) -> set[str]:
    """The drivers of whose devices more, less or something else is told.

    What goes with devices that the claim no longer has is no driver's loss: who may take them away may do that too.
    """
    kept = without_lost_devices(replace(new, devices=old.devices), old)
    before, after = (
        {(one.driver, one.pool, one.device, one.share_id): one for one in status.devices} for status in (kept, new)
    )
    return {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _only_node(selector: NodeSelector | None) -> str:
    """The node to which an allocation is bound by name, if it is bound so."""
    match selector.node_selector_terms if selector is not None else ():
        case [term] if not term.match_expressions and len(term.match_fields) == 1:
            [field] = term.match_fields
            if (field.key, field.operator, len(field.values)) == ("metadata.name", "In", 1):
                return field.values[0]
    return ""


def _is_of_node(user: Any, node: str) -> bool:
    """Whether the user is a service account whose token is bound to that node."""
    return bool(node) and split_service_account(user.name) is not None and user.extra.get(NODE_NAME_KEY) == (node,)


def _asking_for_admin_access(request: AdmissionRequest) -> Iterator[str]:
    """The fields that ask for it and have not done so before: specs never change."""
    obj = request.obj
    if request.subresource:
        if not any(_allocated_admin_access(request.old_obj)):
            yield from _allocated_admin_access(obj)
    elif request.operation is Operation.CREATE:
        spec = obj.spec if request.kind.plural == _CLAIMS else obj.spec.spec
        yield from _requested_admin_access(spec.devices.requests)


def _requested_admin_access(requests: tuple[Any, ...]) -> Iterator[str]:
    for index, one in enumerate(requests):
        # In v1beta1 a request is exact itself.
        exact = one.exactly if hasattr(one, "exactly") else one
        if exact is not None and exact.admin_access:
            yield f"spec.devices.requests[{index}].adminAccess"


def _allocated_admin_access(claim: Any) -> Iterator[str]:
    for index, result in enumerate(() if claim.status.allocation is None else claim.status.allocation.devices.results):
        if result.admin_access:
            yield f"status.allocation.devices.results[{index}].adminAccess"
