"""A test's cluster for tests that are coroutines: the same verbs, awaited while the test's own loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from keelback.testing.cluster import DEFAULT_TIMEOUT, Cluster
from keelback.testing.cluster_objects import Check, Source, Tree, Trees


class AsyncCluster:
    """Speaks for a `cluster` that runs; what is quick, and what is not here, is asked of that one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def advance(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> None:
        """As Cluster.advance."""
        await asyncio.to_thread(self.cluster.advance, seconds, minutes=minutes, hours=hours, days=days)

    async def apply(self, source: Source, *, namespace: str = "default") -> Trees:
        """As Cluster.apply."""
        return await asyncio.to_thread(self.cluster.apply, source, namespace=namespace)

    async def get(self, target: str, *, namespace: str = "default") -> Tree:
        """As Cluster.get."""
        return await asyncio.to_thread(self.cluster.get, target, namespace=namespace)

    async def list(
        self, kind: str, *, namespace: str = "default", label_selector: str = "", field_selector: str = ""
    ) -> Trees:
        """As Cluster.list."""
        return await asyncio.to_thread(
            self.cluster.list, kind, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )

    async def patch(
        self, target: str, change: Mapping[str, Any], *, namespace: str = "default", subresource: str = ""
    ) -> Tree:
        """As Cluster.patch."""
        return await asyncio.to_thread(self.cluster.patch, target, change, namespace=namespace, subresource=subresource)

    async def delete(self, target: str, *, namespace: str = "default", propagation_policy: str = "Background") -> None:
        """As Cluster.delete."""
        await asyncio.to_thread(self.cluster.delete, target, namespace=namespace, propagation_policy=propagation_policy)

    async def wait(
        self, target: str, until: str | Check, *, timeout: float = DEFAULT_TIMEOUT, namespace: str = "default"
    ) -> Tree:
        """As Cluster.wait."""
        return await asyncio.to_thread(self.cluster.wait, target, until, timeout=timeout, namespace=namespace)
