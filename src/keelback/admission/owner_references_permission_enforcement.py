"""OwnerReferencesPermissionEnforcement: who may not delete an owner may not tie others to it. Off by default."""

from __future__ import annotations

from collections.abc import Callable

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, IsAllowed, Operation, Question
from keelback.apimachinery.meta import Object, OwnerReference

# What an owner's apiVersion and kind are called in paths; None if the server does not know them.
ResourceOf = Callable[[str, str], str | None]


class OwnerReferencesPermissionEnforcement(AdmissionPlugin):
    """Changing owner references needs the right to delete the object; blocking deletion, the owner's finalizers."""

    name = "OwnerReferencesPermissionEnforcement"
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, is_allowed: IsAllowed, resource_of: ResourceOf) -> None:
        self._is_allowed = is_allowed
        self._resource_of = resource_of

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource == "status" or not isinstance(request.obj, Object):
            return
        old = request.old_obj.metadata.owner_references if isinstance(request.old_obj, Object) else ()
        new = request.obj.metadata.owner_references
        if old == new:
            return
        await self._check_delete(request)
        blocked_before = {reference.uid for reference in old if reference.block_owner_deletion}
        for reference in new:
            if reference.block_owner_deletion and reference.uid not in blocked_before:
                await self._check_finalizers(request, reference)

    async def _check_delete(self, request: AdmissionRequest) -> None:
        if request.operation is Operation.CREATE:
            return
        kind = request.kind
        question = Question(
            request.user, "delete", kind.group, kind.plural, request.name, request.namespace, request.subresource
        )
        if not await self._is_allowed(question):
            raise request.forbidden("cannot set an ownerRef on a resource you can't delete: ")

    async def _check_finalizers(self, request: AdmissionRequest, reference: OwnerReference) -> None:
        resource = self._resource_of(reference.api_version, reference.kind)
        if resource is None:
            raise request.forbidden(
                f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion"
                f" {reference.api_version} Kind {reference.kind}"
            )
        group = reference.api_version.rpartition("/")[0]
        question = Question(request.user, "update", group, resource, reference.name, request.namespace, "finalizers")
        if not await self._is_allowed(question):
            raise request.forbidden(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
            )
