"""The size that any controller with a scale subresource is told to have, custom resources too."""

from __future__ import annotations

from dataclasses import dataclass

from keelback.api import owners
from keelback.api.autoscaling_v1 import Scale
from keelback.api.autoscaling_v2 import CrossVersionObjectReference
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import OwnerReference
from keelback.client import Client
from keelback.reconcile.resource_mapping import ResourceMapping


@dataclass(slots=True)
class Scales:
    """Reads and writes sizes at the server."""

    client: Client
    mapping: ResourceMapping

    async def of_owner(self, namespace: str, reference: OwnerReference) -> int | None:
        """The size; None where the owner is gone or has none. Raises StatusError, OSError."""
        kind = await self.mapping.of(owners.group_of(reference), reference.kind)
        if kind is None or not kind.namespaced:
            return None
        try:
            scale = await self._get(kind.path(namespace, reference.name, "scale"))
        except (errors.NotFound, errors.MethodNotSupported):
            return None
        return scale.spec.replicas if scale.metadata.uid == reference.uid else None

    async def get(self, namespace: str, target: CrossVersionObjectReference) -> Scale:
        """The scale of what is named. Raises LookupError where its kind is not known, StatusError, OSError."""
        return await self._get(await self._path(namespace, target))

    async def put(self, namespace: str, target: CrossVersionObjectReference, scale: Scale) -> None:
        """Set it. Raises what `get` raises."""
        await self.client.request("PUT", await self._path(namespace, target), "", codecs.encode(scale))

    async def _path(self, namespace: str, target: CrossVersionObjectReference) -> str:
        kind = await self.mapping.named(target.api_version, target.kind)
        return kind.path(namespace, target.name, "scale")

    async def _get(self, path: str) -> Scale:
        return codecs.decode(Scale, (await self.client.request("GET", path)).content())
