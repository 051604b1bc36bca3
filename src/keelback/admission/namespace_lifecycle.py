"""NamespaceLifecycle: nothing new in a namespace that is missing or going, and some namespaces never go."""

from __future__ import annotations

from collections import deque

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, NewestReader, Operation
from keelback.api.core_v1 import Namespace, NamespaceStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, StatusCause, StatusDetails, narrow, written

_REMEMBERED = 100
"""Of so many namespaces it is known, after their deletion, that the caches may be behind."""
IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})


@narrow(Namespace)
class _NamespaceState(Object):
    status: NamespaceStatus = written(NamespaceStatus())


class NamespaceLifecycle(AdmissionPlugin):
    """Guards the beginning and the end of namespaces."""

    name = "NamespaceLifecycle"
    operations = frozenset({Operation.CREATE, Operation.UPDATE, Operation.DELETE})

    def __init__(self, reader: NewestReader) -> None:
        self._reader = reader
        self._leaving: deque[str] = deque(maxlen=_REMEMBERED)

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        if operation is Operation.DELETE:
            return kind is Namespace.__kind__ and not subresource
        # An access review must be answered for namespaces that are not there.
        return operation in self.operations and kind.namespaced and kind.plural != "localsubjectaccessreviews"

    async def admit(self, request: AdmissionRequest) -> object:
        if request.operation is Operation.DELETE:
            return request.obj
        # Raises NotFound about the namespace itself, which is what the client should see.
        read = self._reader.newest if request.namespace in self._leaving else self._reader.get
        state = await read(_NamespaceState, request.namespace)
        if state.status.phase == "Terminating" and request.operation is Operation.CREATE:
            raise _terminating(request)
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation is Operation.DELETE and request.name in IMMORTAL_NAMESPACES:
            raise request.forbidden("this namespace may not be deleted")
        if request.operation is Operation.DELETE:
            # The caches do not know yet that it goes.
            self._leaving.append(request.name)


def _terminating(request: AdmissionRequest) -> errors.Forbidden:
    namespace = request.namespace
    refusal = request.forbidden(f"unable to create new content in namespace {namespace} because it is being terminated")
    cause = StatusCause(
        reason="NamespaceTerminating",
        message=f"namespace {namespace} is being terminated",
        field="metadata.namespace",
    )
    kind = request.kind
    details = StatusDetails(
        name=request.name or request.obj.metadata.name, group=kind.group, kind=kind.plural, causes=(cause,)
    )
    return errors.Forbidden(refusal.message, details=details)
