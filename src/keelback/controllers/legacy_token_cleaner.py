"""The legacy-serviceaccount-token-cleaner: marks tokens made automatically that nobody uses, later deletes them.

Nothing is judged by its use before use has been tracked for a whole period. https://kep.k8s.io/2799
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import ClassVar

from keelback.api.core_v1 import ConfigMap, Pod, Secret, ServiceAccount
from keelback.apimachinery import errors
from keelback.auth.node_graph import pod_references
from keelback.client import MergePatch
from keelback.component import logs
from keelback.controllers.observed import SERVICE_ACCOUNT_TOKEN, SecretType
from keelback.reconcile.context import Context

LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
TRACKING = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
_SYNC_SECONDS = 24 * 3600.0

_log = logs.logger("legacy-serviceaccount-token-cleaner-controller")


@dataclass(frozen=True, slots=True)
class Plan:
    """Tokens to mark as no longer good, and tokens to delete."""

    mark: tuple[SecretType, ...] = ()
    delete: tuple[SecretType, ...] = ()


def plan(
    secrets: Iterable[SecretType],
    accounts: Iterable[ServiceAccount],
    mounted: frozenset[tuple[str, str]],
    now: datetime,
    period: timedelta,
) -> Plan:
    """Judge tokens that accounts list, for these were made automatically; those that pods use are left alone."""
    listed = {(one.metadata.namespace, reference.name) for one in accounts for reference in one.secrets}
    horizon = now - period
    mark, delete = [], []
    for secret in secrets:
        metadata = secret.metadata
        key = (metadata.namespace, metadata.name)
        is_old = metadata.creation_timestamp is not None and metadata.creation_timestamp < horizon
        if secret.type != SERVICE_ACCOUNT_TOKEN or not is_old or key not in listed or key in mounted:
            continue
        if metadata.deletion_timestamp is not None or not _is_before(metadata.labels.get(LAST_USED), horizon):
            continue
        since = _day(metadata.labels.get(INVALID_SINCE, ""))
        if since is None:
            mark.append(secret)
        elif since < horizon.date():
            delete.append(secret)
    return Plan(tuple(mark), tuple(delete))


@dataclass(slots=True)
class LegacyTokenCleaner:
    """Looks once a day."""

    context: Context
    period_seconds: float
    name: ClassVar = "legacy-serviceaccount-token-cleaner-controller"
    role: ClassVar = "legacy-service-account-token-cleaner"
    component: ClassVar = "legacy-service-account-token-cleaner"

    def __post_init__(self) -> None:
        self.context.caches.store(SecretType)
        self.context.caches.store(ServiceAccount)

    async def run(self) -> None:
        """Clean until cancelled."""
        await self.context.caches.informer(SecretType).wait_synced()
        await self.context.caches.informer(ServiceAccount).wait_synced()
        while True:
            await self.clean()
            await self.context.clock.sleep(_SYNC_SECONDS)

    async def clean(self) -> None:
        """Look once. Raises StatusError, OSError."""
        caches, now = self.context.caches, self.context.now()
        period = timedelta(seconds=self.period_seconds)
        tracked_since = await self._tracked_since()
        if tracked_since is None or now < tracked_since + period:
            return
        secrets, accounts = caches.store(SecretType).list(), caches.store(ServiceAccount).list()
        found = plan(secrets, accounts, frozenset(), now, period)
        if not found.mark and not found.delete:
            return
        # Pods are held whole only in a cluster that has tokens to clean up.
        await caches.informer(Pod).wait_synced()
        mounted = frozenset(
            (namespace, name)
            for pod in caches.store(Pod).list()
            for resource, namespace, name in pod_references(pod)
            if resource == "secrets"
        )
        await self._carry_out(plan(secrets, accounts, mounted, now, period), now)

    async def _carry_out(self, decided: Plan, now: datetime) -> None:
        client = self.context.client
        for secret in decided.mark:
            metadata = secret.metadata
            marked = {"labels": {INVALID_SINCE: now.date().isoformat()}, "resourceVersion": metadata.resource_version}
            try:
                await client.patch(Secret, metadata.name, metadata.namespace, MergePatch({"metadata": marked}))
            except (errors.NotFound, errors.Conflict):
                continue  # it was just used or deleted; tomorrow is another day
        for secret in decided.delete:
            metadata = secret.metadata
            try:
                version = metadata.resource_version
                await client.delete(
                    Secret, metadata.name, metadata.namespace, uid=metadata.uid, resource_version=version
                )
            except errors.Conflict:
                continue
            _log.info("Deleted an unused legacy token", namespace=metadata.namespace, secret=metadata.name)

    async def _tracked_since(self) -> datetime | None:
        """The end of the day on which the API server began to note uses."""
        namespace, name = TRACKING
        try:
            held = await self.context.client.get(ConfigMap, name, namespace)
        except errors.NotFound:
            return None
        day = _day(held.data.get("since", ""))
        if day is None:
            return None
        midnight = datetime(day.year, day.month, day.day, tzinfo=self.context.now().tzinfo)
        return midnight + timedelta(days=1)


def _is_before(text: str | None, horizon: datetime) -> bool:
    """Whether the day is known to be before; a token never used has none, and one that says nonsense is left alone."""
    if text is None:
        return True
    day = _day(text)
    return day is not None and day < horizon.date()


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
