"""What a server makes at its start it also puts right."""

from __future__ import annotations

import asyncio

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery.meta import replace
from keelback.apiserver import aggregation_config, initial_objects
from keelback.client import Client
from keelback.concurrency.clock import SystemClock
from keelback.testing.api import ADMINISTRATOR, api_server

PLACE = ("extension-apiserver-authentication", "kube-system")


async def start_again(client: Client, client_ca_pem: bytes) -> None:
    await initial_objects.ensure(
        client,
        SystemClock(),
        service_ip="10.96.0.1",
        dns_ip="10.96.0.10",
        service_cidr="10.96.0.0/16",
        endpoint=("10.89.0.1", 6443),
        published=aggregation_config.published(client_ca_pem, None),
    )


def test_the_authority_of_clients_is_published_and_kept_true() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as server:
            client = server.client(ADMINISTRATOR)
            published = await client.get(ConfigMap, *PLACE)
            authority = published.data["client-ca-file"]
            assert authority.startswith("-----BEGIN CERTIFICATE-----\n")
            proxies = {name: text for name, text in published.data.items() if name != "client-ca-file"}
            assert proxies.pop("requestheader-client-ca-file").startswith("-----BEGIN CERTIFICATE-----\n")
            assert proxies == {
                "requestheader-allowed-names": '["front-proxy-client"]',
                "requestheader-username-headers": '["X-Remote-User"]',
                "requestheader-uid-headers": '["X-Remote-Uid"]',
                "requestheader-group-headers": '["X-Remote-Group"]',
                "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            }

            await start_again(client, authority.encode())
            assert await client.get(ConfigMap, *PLACE) == published

            await client.update(replace(published, data={"client-ca-file": "another's", "other": "kept"}))
            await start_again(client, authority.encode())
            assert (await client.get(ConfigMap, *PLACE)).data == {"client-ca-file": authority, "other": "kept"}

            await client.delete(ConfigMap, *PLACE)
            await start_again(client, authority.encode())
            assert (await client.get(ConfigMap, *PLACE)).data == {"client-ca-file": authority}

            current = await client.get(ConfigMap, *PLACE)
            await client.update(replace(current, data={"client-ca-file": "another's"}, immutable=True))
            await start_again(client, authority.encode())  # starts nevertheless

    asyncio.run(main())
