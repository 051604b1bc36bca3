"""A claim that was made before there was a default class is not forgotten when there is one."""

from __future__ import annotations

import asyncio
from typing import Any

from keelback.api.core_v1 import PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers.persistent_volumes import ClaimBindingReconciler

DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


def claim(name: str, storage_class: str | None) -> PersistentVolumeClaim:
    spec = PersistentVolumeClaimSpec(
        access_modes=("ReadWriteOnce",),
        storage_class_name=storage_class,
        resources=VolumeResourceRequirements(requests={"storage": "1Gi"}),
    )
    return PersistentVolumeClaim(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def test_claims_without_a_class_get_the_default_and_those_that_want_none_keep_none(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            await world.client.create(claim("early", None))
            await world.client.create(claim("none", ""))
            async with world.running(ClaimBindingReconciler(world.context("persistent-volume-binder"))):
                await world.until(PersistentVolumeClaim, lambda all: len(all) == 2)
                metadata = ObjectMeta(name="fast", annotations=DEFAULT)
                await world.client.create(StorageClass(metadata=metadata, provisioner="csi.example.com"))
                held = await world.until(
                    PersistentVolumeClaim,
                    lambda all: (
                        {one.metadata.name: one.spec.storage_class_name for one in all}
                        if any("volume.kubernetes.io/storage-provisioner" in one.metadata.annotations for one in all)
                        else None
                    ),
                )
                assert held == {"early": "fast", "none": ""}

    asyncio.run(play())
