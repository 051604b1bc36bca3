"""APIServices come and go with the group versions that custom resources are served in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.apiregistration_v1 import APIService
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace
from keelback.client import Client
from keelback.testing.api import ADMINISTRATOR, api_server


def definition(plural: str, *versions: str) -> CustomResourceDefinition:
    schema = {"openAPIV3Schema": {"type": "object"}}
    given = [{"name": name, "served": True, "storage": name == versions[0], "schema": schema} for name in versions]
    names = {"plural": plural, "kind": plural.capitalize()}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": given}
    tree = {"metadata": {"name": f"{plural}.example.com"}, "spec": spec}
    return codecs.convert(CustomResourceDefinition, tree)


async def until(client: Client, holds: Callable[[dict[str, APIService]], bool]) -> dict[str, APIService]:
    async with asyncio.timeout(20):
        while True:
            found = (await client.list(APIService)).items
            own = {one.metadata.name: one for one in found if one.spec.group == "example.com"}
            if holds(own):
                return own
            await asyncio.sleep(0)


def test_they_follow_the_definitions() -> None:
    async def main() -> None:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            widgets = await client.create(definition("widgets", "v1", "v1beta1"))
            await client.create(definition("gadgets", "v1"))
            found = await until(
                client, lambda own: len(own) == 2 and all(one.status.conditions for one in own.values())
            )
            made = found["v1beta1.example.com"]
            assert made.metadata.labels == {"kube-aggregator.kubernetes.io/automanaged": "true"}
            assert (made.spec.group_priority_minimum, made.spec.version_priority) == (1000, 100)
            (condition,) = made.status.conditions
            assert (condition.type, condition.status, condition.reason) == ("Available", "True", "Local")
            async with asyncio.timeout(20):
                while not any(one.type == "Established" for one in widgets.status.conditions or ()):
                    await asyncio.sleep(0)
                    widgets = await client.get(CustomResourceDefinition, "widgets.example.com")
            first, second = widgets.spec.versions
            unserved = (first, replace(second, served=False))
            await client.update(replace(widgets, spec=replace(widgets.spec, versions=unserved)))
            await until(client, lambda own: set(own) == {"v1.example.com"})
            await client.delete(CustomResourceDefinition, "widgets.example.com")
            before = found["v1.example.com"].metadata.uid
            await client.delete(APIService, "v1.example.com")
            await until(client, lambda own: "v1.example.com" in own and own["v1.example.com"].metadata.uid != before)
            await client.delete(CustomResourceDefinition, "gadgets.example.com")
            await until(client, lambda own: not own)

    asyncio.run(main())
