"""Each group version that is served has its APIService, and keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from keelback.api.apiregistration_v1 import APIService, ServiceReference
from keelback.apimachinery.meta import replace, with_metadata
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
            assert not list(local_api_services.plan(items, NOW, _named(items)))
            assert not list(local_api_services.outlived(items, _named(items)))

    asyncio.run(main())


def _named(items: Iterable[APIService]) -> set[tuple[str, str]]:
    return {(one.spec.group, one.spec.version) for one in items}


def test_only_what_is_missing_and_served_is_planned() -> None:
    served = set(local_api_services.PRIORITIES) - {("storage.k8s.io", "v1beta1")}
    every = list(local_api_services.plan((), NOW, served))
    assert _named(every) == served
    assert [one.metadata.name for one in local_api_services.plan(every[1:], NOW, served)] == ["v1."]


def test_what_outlived_its_version_goes() -> None:
    every = list(local_api_services.plan((), NOW, local_api_services.PRIORITIES))
    served = set(local_api_services.PRIORITIES) - {("storage.k8s.io", "v1beta1")}
    assert [one.metadata.name for one in local_api_services.outlived(every, served)] == ["v1beta1.storage.k8s.io"]


def test_what_was_changed_is_made_again_unless_its_label_was_taken_away() -> None:
    every = list(local_api_services.plan((), NOW, local_api_services.PRIORITIES))
    assert not list(local_api_services.strayed(every, local_api_services.PRIORITIES))
    elsewhere = ServiceReference(name="api", namespace="default")
    changed = [replace(one, spec=replace(one.spec, service=elsewhere)) for one in every]
    found = {one.metadata.name for one in local_api_services.strayed(changed, local_api_services.PRIORITIES)}
    # Whoever has a metrics-server keeps it.
    assert {one.metadata.name for one in every} - found == {"v1beta1.metrics.k8s.io"}
    unlabelled = [with_metadata(one, labels={}) for one in changed]
    assert not list(local_api_services.strayed(unlabelled, local_api_services.PRIORITIES))
