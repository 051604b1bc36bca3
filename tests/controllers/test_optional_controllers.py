"""Controllers of kinds that a server serves only when it is told to, and how the manager finds out."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keelback.api.apiserverinternal_v1alpha1 import ServerStorageVersion, StorageVersion, StorageVersionStatus
from keelback.api.certificates_v1beta1 import ClusterTrustBundle, PodCertificateRequest
from keelback.api.core_v1 import ConfigMap, ObjectReference, Secret, ServiceAccount
from keelback.api.storagemigration_v1beta1 import (
    GroupResource,
    StorageVersionMigration,
    StorageVersionMigrationSpec,
    StorageVersionMigrationStatus,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.bootstrap import pki
from keelback.client import MergePatch
from keelback.client.discovery import is_served
from keelback.controllers import legacy_token_cleaner
from keelback.controllers.legacy_token_cleaner import INVALID_SINCE, LAST_USED, LegacyTokenCleaner
from keelback.controllers.observed import HeldMeta, SecretType
from keelback.controllers.podcertificaterequests import PodCertificateRequestCleaner
from keelback.controllers.storage_version_migrator import StorageVersionMigrationReconciler, with_outcome
from keelback.controllers.storage_versions import StorageVersionReconciler, without_servers
from keelback.controllers.trust_bundles import SIGNER, TrustBundlePublisher, wanted_bundle

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
TYPE = "kubernetes.io/service-account-token"


def test_the_manager_asks_what_is_served(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("certificates.k8s.io", "v1beta1")) as world:
            assert await is_served(world.client, "certificates.k8s.io/v1beta1")
            assert not await is_served(world.client, "storagemigration.k8s.io/v1beta1")
            assert await is_served(world.client, "")

    asyncio.run(play())


def test_the_bundle_is_published_under_a_name_of_its_content_and_older_ones_go(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("certificates.k8s.io", "v1beta1")) as world:
            context = world.context(TrustBundlePublisher.role)
            with tempfile.TemporaryDirectory() as folder:
                pem = pki.ensure_cluster_pki(Path(folder), world.clock.now()).ca.certificate_pem.decode()
            async with world.running(TrustBundlePublisher(context, pem)):
                held = await world.until(ClusterTrustBundle, lambda all: all)
                assert held[0].spec.signer_name == SIGNER
                assert held[0].metadata.name == wanted_bundle(pem).metadata.name
                # Whoever deletes it finds it there again.
                await world.client.delete(ClusterTrustBundle, held[0].metadata.name)
                await world.until(ClusterTrustBundle, lambda all: all and all[0].metadata.uid != held[0].metadata.uid)

    asyncio.run(play())


def test_the_migrator_writes_every_object_and_says_so(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("storagemigration.k8s.io", "v1beta1")) as world:
            client = world.client
            await client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a": "b"}))
            reconciler = StorageVersionMigrationReconciler(world.context(StorageVersionMigrationReconciler.role))
            spec = StorageVersionMigrationSpec(resource=GroupResource(resource="configmaps"))
            async with world.running(reconciler):
                await client.create(StorageVersionMigration(metadata=ObjectMeta(name="m"), spec=spec))
                done = await world.until(
                    StorageVersionMigration,
                    lambda all: [one for one in all if any(c.type == "Succeeded" for c in one.status.conditions)],
                )
            assert done[0].status.resource_version
            kept = await client.get(ConfigMap, "c", "default")
            assert kept.data == {"a": "b"}

    asyncio.run(play())


def test_a_migration_that_ended_runs_no_more() -> None:
    running = with_outcome(StorageVersionMigrationStatus(), "Running", "", NOW)
    done = with_outcome(running, "Succeeded", "", NOW)
    assert [(one.type, one.status) for one in done.conditions] == [("Running", "False"), ("Succeeded", "True")]


def test_servers_that_are_gone_have_no_say_in_the_encoding() -> None:
    both = (
        ServerStorageVersion(api_server_id="a", encoding_version="v1"),
        ServerStorageVersion(api_server_id="b", encoding_version="v2"),
    )
    status = StorageVersionStatus(storage_versions=both)
    assert without_servers(status, both).common_encoding_version is None
    assert without_servers(status, both[:1]).common_encoding_version == "v1"


def test_a_storage_version_of_no_living_server_is_deleted(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("internal.apiserver.k8s.io", "v1alpha1")) as world:
            reconciler = StorageVersionReconciler(world.context(StorageVersionReconciler.role))
            gone = StorageVersionStatus(
                storage_versions=(
                    ServerStorageVersion(api_server_id="gone", encoding_version="v1", decodable_versions=("v1",)),
                )
            )
            async with world.running(reconciler):
                metadata = ObjectMeta(name="core.configmaps")
                made = await world.client.create(StorageVersion(metadata=metadata))
                stated = StorageVersion(metadata=made.metadata, status=gone)
                await world.client.update(stated, "status")
                await world.until(StorageVersion, lambda all: not all)

    asyncio.run(play())


def test_a_request_goes_after_a_quarter_of_an_hour(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("certificates.k8s.io", "v1beta1")) as world:
            context = world.context(PodCertificateRequestCleaner.role)
            cleaner = PodCertificateRequestCleaner(context)
            made = context.now()
            young = PodCertificateRequest(
                metadata=ObjectMeta(name="r", namespace="default", creation_timestamp=made - timedelta(minutes=14))
            )
            result = await cleaner.reconcile(young)
            assert result.requeue_after_seconds is not None
            assert 0 < result.requeue_after_seconds <= 60

    asyncio.run(play())


def secret(name: str, **labels: str) -> SecretType:
    metadata = HeldMeta(name=name, namespace="default", creation_timestamp=NOW - 2 * YEAR, labels=labels)
    return SecretType(metadata=metadata, type=TYPE)


def test_legacy_tokens_are_marked_when_unused_and_deleted_a_period_later() -> None:
    listed = [
        "unused",
        "used",
        "marked",
        "marked-long-ago",
        "mounted",
        "nonsense",
    ]
    references = tuple(ObjectReference(name=name) for name in listed)
    account = ServiceAccount(metadata=ObjectMeta(name="a", namespace="default"), secrets=references)
    secrets = [
        secret("unused"),
        secret("used", **{LAST_USED: "2026-05-01"}),
        secret("nonsense", **{LAST_USED: "yesterday"}),
        secret("marked", **{INVALID_SINCE: "2026-01-01"}),
        secret("marked-long-ago", **{INVALID_SINCE: "2025-01-01"}),
        secret("mounted"),
        secret("made-by-a-person"),
    ]
    found = legacy_token_cleaner.plan(secrets, [account], frozenset({("default", "mounted")}), NOW, YEAR)
    assert [one.metadata.name for one in found.mark] == ["unused"]
    assert [one.metadata.name for one in found.delete] == ["marked-long-ago"]


def test_nothing_is_cleaned_before_uses_were_noted_for_a_period(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client, context = world.client, world.context(LegacyTokenCleaner.role)
            made = Secret(
                metadata=ObjectMeta(
                    name="t", namespace="default", annotations={"kubernetes.io/service-account.name": "a"}
                ),
                type=TYPE,
            )
            await client.create(made)
            account = ServiceAccount(
                metadata=ObjectMeta(name="a", namespace="default"), secrets=(ObjectReference(name="t"),)
            )
            await client.create(account)
            cleaner = LegacyTokenCleaner(context, -10.0)
            async with world.running():
                await context.caches.informer(SecretType).wait_synced()
                await context.caches.informer(ServiceAccount).wait_synced()
                await cleaner.clean()
                held = await client.get(Secret, "t", "default")
                assert INVALID_SINCE not in held.metadata.labels
                namespace, name = legacy_token_cleaner.TRACKING
                await world.until(ConfigMap, lambda all: [one for one in all if one.metadata.name == name])
                await client.patch(ConfigMap, name, namespace, MergePatch({"data": {"since": "2020-01-01"}}))
                await cleaner.clean()
                held = await client.get(Secret, "t", "default")
                assert INVALID_SINCE in held.metadata.labels

    asyncio.run(play())
