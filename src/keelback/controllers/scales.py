"""The size that any controller with a scale subresource is told to have, custom resources too."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from keelback.api import owners
from keelback.apimachinery import errors
from keelback.apimachinery.meta import OwnerReference
from keelback.client import Client
from keelback.reconcile.resource_mapping import ResourceMapping


class _Metadata(msgspec.Struct, frozen=True):
    uid: str = ""


class _Spec(msgspec.Struct, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()


@dataclass(slots=True)
class Scales:
    """Reads sizes from the server."""

    client: Client
    mapping: ResourceMapping

    async def read(self, namespace: str, reference: OwnerReference) -> int | None:
        """The size; None where the owner is gone or has none. Raises StatusError, OSError."""
        kind = await self.mapping.of(owners.group_of(reference), reference.kind)
        if kind is None or not kind.namespaced:
            return None
        try:
            answer = await self.client.request("GET", kind.path(namespace, reference.name, "scale"))
        except (errors.NotFound, errors.MethodNotSupported):
            return None
        scale = msgspec.json.decode(answer.content(), type=_Scale)
        return scale.spec.replicas if scale.metadata.uid == reference.uid else None
