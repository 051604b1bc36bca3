"""Admission of the subresources whose objects are not what is stored: scale, binding, eviction, token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from keelback.apimachinery.meta import Object, with_metadata
from keelback.apiserver.context import RequestContext
from keelback.apiserver.resource_store import Admission, Write

ObjectT = TypeVar("ObjectT", bound=Object)


class AdmittedAlready:
    """Nothing is left to ask: what is stored follows from an object that was admitted."""

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        return obj

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        return None


def admitted_already(write: Write) -> Write:
    """The write of what follows from an object that was admitted."""
    return Write(
        write.now, write.manager, _ADMITTED, write.subresource, write.dry_run, is_apply=write.is_apply, warn=write.warn
    )


_ADMITTED: Final = AdmittedAlready()


class ProjectedAdmission:
    """Admission that sees something of an object in place of the object: its scale."""

    def __init__(self, inner: Admission, show: Callable[[Any], Any], put_back: Callable[[Any, Any], Any]) -> None:
        self._inner = inner
        self._show = show
        self._put_back = put_back

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        shown = self._show(obj)
        admitted = await self._inner.admit(operation, shown, self._show(old))
        return obj if admitted is shown else self._put_back(obj, admitted)

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        await self._inner.validate(operation, self._show(obj), self._show(old))


async def admitted_part(part: ObjectT, context: RequestContext, write: Write) -> ObjectT:
    """An object that is posted to a subresource, as admission leaves it. Raises StatusError where it is refused."""
    meta = part.metadata
    named: ObjectT = with_metadata(
        part, name=meta.name or context.info.name, namespace=meta.namespace or context.info.namespace
    )
    admitted: ObjectT = await write.admission.admit("CREATE", named, None)
    await write.admission.validate("CREATE", admitted, None)
    return admitted
