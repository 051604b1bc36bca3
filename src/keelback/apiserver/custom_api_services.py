"""The APIService of each group version that custom resources are served in: made and taken back with them.

As kube-aggregator registers them: an APIService that somebody made by hand, without the label, is left alone.
"""

from __future__ import annotations

import contextlib
from typing import Any

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.apiregistration_v1 import APIService, APIServiceSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.apiserver import local_api_services
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.local_api_services import LABEL
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.resource_store import ResourceStore, Write

# Custom resources come after all that is built in, and among themselves by their versions' names.
GROUP_PRIORITY = 1000
VERSION_PRIORITY = 100


def wanted(group: str, version: str) -> APIService:
    """The APIService of a group version."""
    return APIService(
        metadata=ObjectMeta(name=f"{version}.{group}", labels={LABEL: "true"}),
        spec=APIServiceSpec(
            group=group,
            version=version,
            group_priority_minimum=GROUP_PRIORITY,
            version_priority=VERSION_PRIORITY,
        ),
    )


class CustomAPIServices:
    """Keeps the APIServices in step with the definitions it is told of."""

    def __init__(self, services: ResourceStore[APIService], lookup: CacheLookup) -> None:
        self._services = services
        self._lookup = lookup
        self._served: dict[str, frozenset[tuple[str, str]]] = {}

    def load(self, definition: CustomResourceDefinition) -> None:
        """Know a definition whose APIServices are there."""
        self._served[definition.metadata.name] = _served(definition)

    async def put(self, definition: CustomResourceDefinition, write: Write) -> None:
        """Register what a definition serves, and take back what it serves no more. Raises what the store raises."""
        before = self._served.get(definition.metadata.name, frozenset())
        after = self._served[definition.metadata.name] = _served(definition)
        for group, version in sorted(after):
            await self._ensure(wanted(group, version), write)
        await self._take_back(before - after, write)

    async def remove(self, name: str, write: Write) -> None:
        """Take back what only a definition served that is gone."""
        await self._take_back(self._served.pop(name, frozenset()), write)

    async def take_back_orphans(self, write: Write) -> None:
        """Take back what no definition serves that is known by now: some may have gone while nobody was here."""
        for one in list(self._lookup.scan(APIService)):
            if one.metadata.labels.get(LABEL) == "true":
                await self._take_back(frozenset(((one.spec.group, one.spec.version),)), write)

    async def restore(self, service: APIService, write: Write) -> None:
        """Make again what somebody deleted though it is needed."""
        if any((service.spec.group, service.spec.version) in one for one in self._served.values()):
            await self._ensure(wanted(service.spec.group, service.spec.version), write)

    async def _ensure(self, service: APIService, write: Write) -> None:
        known = self._lookup.peek(APIService, service.metadata.name)
        if known is None:
            status = local_api_services.always_available(write.now)
            with contextlib.suppress(errors.AlreadyExists):
                made = await self._services.create(service, write)
                await self._services.replace_status(replace(made.obj, status=status))
        elif LABEL in known.metadata.labels and known.spec != service.spec:

            async def change(old: APIService) -> APIService:
                return with_metadata(replace(old, spec=service.spec), resource_version="")

            with contextlib.suppress(errors.NotFound):
                await self._services.update("", service.metadata.name, change, write)

    async def _take_back(self, gone: frozenset[tuple[str, str]], write: Write) -> None:
        still = frozenset[tuple[str, str]]().union(*self._served.values()) if gone else frozenset[Any]()
        for group, version in sorted(gone - still):
            known = self._lookup.peek(APIService, f"{version}.{group}")
            if known is None or known.metadata.labels.get(LABEL) == "true":
                with contextlib.suppress(errors.NotFound):
                    await self._services.delete("", f"{version}.{group}", Deletion(), write)


def _served(definition: CustomResourceDefinition) -> frozenset[tuple[str, str]]:
    return frozenset((definition.spec.group, one.name) for one in definition.spec.versions if one.served)
