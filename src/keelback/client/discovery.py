"""What a server serves: how everything is asked for at once, and whether it has something in particular."""

from __future__ import annotations

from typing import Final

import msgspec

from keelback.apimachinery import errors
from keelback.client.client import Client

AGGREGATED: Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
"""The Accept header for aggregated discovery, of the same form in both versions: v2 is there from Kubernetes 1.30 on,
v2beta1 before (KEP-3352)."""


class _Resource(msgspec.Struct):
    name: str


class _Resources(msgspec.Struct):
    resources: list[_Resource] = []


async def is_served(client: Client, needed: str) -> bool:
    """Whether the server has a group version, or a resource of one (`GROUP/VERSION/RESOURCE`).

    Raises StatusError, OSError.
    """
    if not needed:
        return True
    group, version, *resource = needed.split("/")
    try:
        answer = await client.request("GET", f"/apis/{group}/{version}")
    except errors.NotFound:
        return False
    listed = msgspec.json.decode(answer.content(), type=_Resources).resources
    return not resource or any(one.name == resource[0] for one in listed)
