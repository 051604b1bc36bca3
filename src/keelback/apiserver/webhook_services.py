"""Where a webhook's Service leads: to one of its endpoints, as with upstream's --enable-aggregator-routing.

The addresses of Services mean something only where a proxy is; the server need not be there.
"""

from __future__ import annotations

import random

from keelback.admission.webhook_reviews import WebhookFailure
from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apiserver.lookup import CacheLookup

_SERVICE_LABEL = "kubernetes.io/service-name"


class WebhookServices:
    """Finds an address for a Service's port."""

    def __init__(self, lookup: CacheLookup, chance: random.Random) -> None:
        self._lookup = lookup
        self._chance = chance

    async def address(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """Host and port to connect to. Raises NotFound, or WebhookFailure where there is no way."""
        service = await self._lookup.get(Service, name, namespace)
        if service.spec.type == "ExternalName":
            return service.spec.external_name, port
        wanted = next((one for one in service.spec.ports if one.port == port), None)
        if wanted is None:
            raise WebhookFailure(f'no service port {port} found for service "{name}"')
        found: list[tuple[str, int]] = []
        for one in await self._lookup.list(EndpointSlice, namespace):
            if one.metadata.labels.get(_SERVICE_LABEL) != name:
                continue
            number = next((given.port for given in one.ports or () if (given.name or "") == wanted.name), None)
            found.extend(
                (endpoint.addresses[0], number)
                for endpoint in one.endpoints or ()
                if number and endpoint.addresses and endpoint.conditions.ready is not False
            )
        if not found:
            raise WebhookFailure(f'no endpoints available for service "{name}"')
        return self._chance.choice(found)
