"""NamespaceExists and NamespaceAutoProvision: the older ways of guarding namespaces. Both off by default."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, narrow

CreateNamespace = Callable[[Namespace], Awaitable[None]]
"""Makes a namespace as the server itself. Raises what the API answers."""


@narrow(Namespace)
class _NamespaceIdentity(Object):
    """A namespace, of which only the existence is of interest."""


class NamespaceExists(AdmissionPlugin):
    """Refuses writes in namespaces that are not there."""

    name = "NamespaceExists"
    operations = frozenset({Operation.CREATE, Operation.UPDATE, Operation.DELETE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        return operation in self.operations and kind.namespaced

    async def validate(self, request: AdmissionRequest) -> None:
        await self._reader.get(_NamespaceIdentity, request.namespace)


class NamespaceAutoProvision(AdmissionPlugin):
    """Makes the namespace that is missing. Stands before NamespaceLifecycle."""

    name = "NamespaceAutoProvision"

    def __init__(self, reader: Reader, create: CreateNamespace) -> None:
        self._reader = reader
        self._create = create

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        return operation is Operation.CREATE and kind.namespaced and kind.plural != "localsubjectaccessreviews"

    async def admit(self, request: AdmissionRequest) -> object:
        try:
            await self._reader.get(_NamespaceIdentity, request.namespace)
        except errors.NotFound:
            if not request.dry_run:
                await self._provide(request)
        return request.obj

    async def _provide(self, request: AdmissionRequest) -> None:
        try:
            await self._create(Namespace(metadata=ObjectMeta(name=request.namespace)))
        except errors.AlreadyExists:
            pass  # another request was faster
        except errors.Forbidden:
            raise
        except errors.StatusError as error:
            raise request.forbidden(error.message) from error
