"""The client a reconciler writes through: it remembers each write, so that the loop can wait for the caches to see it.

That stands in the place of upstream's expectations: no controller decides from a state older than its own last write.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, Value
from keelback.client import Client, ObjectList, Patch
from keelback.component.http import Response

T = TypeVar("T", bound=Object)
V = TypeVar("V", bound=Value)


@dataclass(frozen=True, slots=True)
class Write:
    """One write: an object's new version or, where that is empty, its deletion."""

    group_kind: tuple[str, str]
    namespace: str
    name: str
    resource_version: str
    uid: str = ""


_writes: ContextVar[list[Write] | None] = ContextVar("writes", default=None)


def remember_writes() -> list[Write]:
    """From here on, in this task and those it starts, writes are noted in the list returned."""
    writes: list[Write] = []
    _writes.set(writes)
    return writes


class Writer:
    """A `Client` whose writes are remembered. Raises what the client raises."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        """The object as the server has it now, for decisions that a cache must not make."""
        return await self.client.get(cls, name, namespace)

    async def list(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ObjectList[T]:
        """Objects as the server has them now."""
        return await self.client.list(
            cls,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_=continue_,
        )

    async def create(self, obj: T) -> T:
        """The object as the server stored it."""
        return _noted(await self.client.create(obj))

    async def update(self, obj: T, subresource: str = "") -> T:
        """Replace an object whose whole state the caller owns."""
        return _noted(await self.client.update(obj, subresource))

    async def patch(self, cls: type[T], name: str, namespace: str, patch: Patch, subresource: str = "") -> T:
        """Change the fields that the patch names."""
        return _noted(await self.client.patch(cls, name, namespace, patch, subresource))

    async def delete(
        self,
        cls: type[Object],
        name: str,
        namespace: str = "",
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation_policy: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> bool:
        """Ask for a deletion; False where there was nothing to delete any more."""
        try:
            await self.client.delete(
                cls,
                name,
                namespace,
                uid=uid,
                resource_version=resource_version,
                propagation_policy=propagation_policy,
                grace_period_seconds=grace_period_seconds,
            )
        except errors.NotFound:
            return False
        finally:
            kind = cls.__kind__
            _note(Write((kind.group, kind.kind), namespace, name, "", uid or ""))
        return True

    async def delete_collection(self, cls: type[Object], namespace: str) -> None:
        """Ask for the deletion of all of a namespace's objects of a kind. Not remembered."""
        await self.client.delete_collection(cls, namespace)

    async def create_subresource(
        self, cls: type[Object], name: str, namespace: str, subresource: str, obj: Value, result_type: type[V]
    ) -> V:
        """Post to a subresource. Not remembered: its answer is another object's."""
        return await self.client.create_subresource(cls, name, namespace, subresource, obj, result_type)

    async def request(self, method: str, path: str) -> Response:
        """Any request, for what is not an object: discovery."""
        return await self.client.request(method, path)


def _noted(obj: T) -> T:
    kind = obj.__kind__
    metadata = obj.metadata
    if metadata.resource_version:
        _note(
            Write((kind.group, kind.kind), metadata.namespace, metadata.name, metadata.resource_version, metadata.uid)
        )
    return obj


def _note(write: Write) -> None:
    writes = _writes.get()
    if writes is not None:
        writes.append(write)
