"""The publisher of the trust bundle by which pods verify the API server, as a ClusterTrustBundle of its own signer."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import ClassVar

from keelback.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.reconcile.context import Context

SIGNER = "kubernetes.io/kube-apiserver-serving"
_PREFIX = SIGNER.replace("/", ":") + ":"


def wanted_bundle(root_ca: str) -> ClusterTrustBundle:
    """The bundle; its name changes with what it says, so that a changed one never passes for the old."""
    digest = hashlib.sha256(root_ca.encode()).hexdigest()[:24]
    spec = ClusterTrustBundleSpec(signer_name=SIGNER, trust_bundle=root_ca)
    return ClusterTrustBundle(metadata=ObjectMeta(name=_PREFIX + digest), spec=spec)


@dataclass(slots=True)
class TrustBundlePublisher:
    """Makes the bundle, mends it, and deletes those of earlier authorities."""

    context: Context
    root_ca: str
    name: ClassVar = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
    role: ClassVar = "kube-apiserver-serving-clustertrustbundle-publisher"
    component: ClassVar = "kube-apiserver-serving-clustertrustbundle-publisher"

    async def run(self) -> None:
        """Publish until cancelled, and again whenever a bundle changes."""
        changed = asyncio.Event()
        self.context.caches.subscribe(ClusterTrustBundle, lambda change: changed.set())
        await self.context.caches.informer(ClusterTrustBundle).wait_synced()
        while True:
            changed.clear()
            await self.publish()
            await changed.wait()

    async def publish(self) -> None:
        """Look once. Raises StatusError, OSError."""
        client, wanted = self.context.client, wanted_bundle(self.root_ca)
        store = self.context.caches.store(ClusterTrustBundle)
        held = store.get("", wanted.metadata.name)
        try:
            if held is None:
                await client.create(wanted)
            elif held.spec != wanted.spec:
                await client.update(wanted)
        except errors.AlreadyExists:
            pass
        for one in store.list():
            name = one.metadata.name
            if one.spec.signer_name == SIGNER and name.startswith(_PREFIX) and name != wanted.metadata.name:
                await client.delete(ClusterTrustBundle, name, uid=one.metadata.uid)
