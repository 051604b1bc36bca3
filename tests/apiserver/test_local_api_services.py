"""Each group version that is served has its APIService, and keeps it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from keelback.api.apiregistration_v1 import APIService
from keelback.apiserver import local_api_services
from keelback.reconcile.discovery import discover
from keelback.testing.api import ADMINISTRATOR, api_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_served_is_registered_and_available() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            items = (await client.list(APIService)).items
            served = {one.kind.api_version for one in (await discover(client)).resources}
            registered = {"/".join(filter(None, (one.spec.group, one.spec.version))) for one in items}
            assert served - {"apiregistration.k8s.io/v1"} <= registered
            assert {one.status.conditions[0].status for one in items} == {"True"}
            assert not list(local_api_services.plan(items, NOW))

    asyncio.run(main())


def test_only_what_is_missing_is_planned() -> None:
    every = list(local_api_services.plan((), NOW))
    assert [one.metadata.name for one in local_api_services.plan(every[1:], NOW)] == ["v1."]
