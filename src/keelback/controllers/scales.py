"""The size that any controller with a scale subresource is told to have, custom resources too."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from keelback.api import owners
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, OwnerReference
from keelback.client import Client
from keelback.reconcile.discovery import discover


class _Metadata(msgspec.Struct, frozen=True):
    uid: str = ""


class _Spec(msgspec.Struct, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()


@dataclass(slots=True)
class Scales:
    """Reads sizes from the server; what resource a kind is, is asked once, and again for a kind not seen yet."""

    client: Client
    _kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    async def read(self, namespace: str, reference: OwnerReference) -> int | None:
        """The size; None where the owner is gone or has none. Raises StatusError, OSError."""
        key = (owners.group_of(reference), reference.kind)
        if key not in self._kinds:
            found = (await discover(self.client)).resources
            self._kinds = {(one.kind.group, one.kind.kind): one.kind for one in found}
        kind = self._kinds.get(key)
        if kind is None or not kind.namespaced:
            return None
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
        try:
            path = f"{root}/namespaces/{namespace}/{kind.plural}/{reference.name}/scale"
            answer = await self.client.request("GET", path)
        except (errors.NotFound, errors.MethodNotSupported):
            return None
        scale = msgspec.json.decode(answer.content(), type=_Scale)
        return scale.spec.replicas if scale.metadata.uid == reference.uid else None
