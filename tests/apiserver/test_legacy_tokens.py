"""Uses of legacy tokens are noted, counted and warned of; the cluster says since when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keelback.api.core_v1 import ConfigMap, Container, ObjectReference, Pod, PodSpec, Secret, ServiceAccount
from keelback.apimachinery.meta import ObjectMeta
from keelback.apiserver.legacy_tokens import NAME
from keelback.auth.service_accounts import Binding, Reference, TokenIssuer
from keelback.auth.token_uses import LAST_USED
from keelback.client import Informer, MergePatch
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
START = datetime(2026, 6, 1, 12, tzinfo=UTC)
WARNING = (
    '299 - "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated '
    'secret-based tokens."'
)


async def seen(client: Any, clock: Any, chance: Any, cls: Any, holds: Callable[[list[Any]], Any]) -> None:
    """Return when `holds` is true of what there is."""
    informer = Informer(client, cls, clock=clock, chance=chance)
    changed = asyncio.Event()
    informer.subscribe(lambda change: changed.set())
    async with asyncio.timeout(10):
        following = asyncio.get_running_loop().create_task(informer.run())
        await informer.wait_synced()
        while not holds(informer.store.list()):
            changed.clear()
            await changed.wait()
        following.cancel()


def test_a_use_is_written_on_the_secret_once_a_day_and_the_caller_is_warned() -> None:
    async def play() -> None:
        clock, chance = HandClock(START), random.Random(1)
        async with api_server(clock, service_account_key_pem=KEY) as api:
            client = api.client(ADMINISTRATOR)
            await seen(client, clock, chance, ConfigMap, lambda all: [one for one in all if one.metadata.name == NAME])
            held = await client.get(ConfigMap, NAME, "kube-system")
            assert held.data == {"since": "2026-06-01"}
            tokens = {}
            account = await client.create(
                ServiceAccount(
                    metadata=ObjectMeta(name="a", namespace="default"), secrets=(ObjectReference(name="auto"),)
                )
            )
            for name in ("auto", "manual", "marked"):
                tokens[name] = TokenIssuer(KEY).issue_legacy(account.metadata, name)
                metadata = ObjectMeta(
                    name=name, namespace="default", annotations={"kubernetes.io/service-account.name": "a"}
                )
                data = {"token": tokens[name].encode()}
                await client.create(Secret(metadata=metadata, data=data, type="kubernetes.io/service-account-token"))
            marked = {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-05-01"}}
            await client.patch(Secret, "marked", "default", MergePatch({"metadata": marked}))

            await client.get(Secret, "marked", "default")  # the server's caches have it now

            async def ask(token: str) -> Response:
                headers = {"authorization": f"Bearer {token}"}
                answer = await api.handle(Request("GET", "/api/v1/namespaces/default/pods", headers=headers))
                assert isinstance(answer, Response)
                return answer

            def used(name: str, day: str) -> Callable[[list[Any]], bool]:
                return lambda all: any(
                    one.metadata.name == name and one.metadata.labels.get(LAST_USED) == day for one in all
                )

            automatic = await ask(tokens["auto"])
            assert (automatic.status, automatic.headers["warning"]) == (403, WARNING)
            assert "warning" not in (await ask(tokens["manual"])).headers
            assert (await ask(tokens["marked"])).status == 401
            for name in tokens:
                await seen(client, clock, chance, Secret, used(name, "2026-06-01"))
            version = (await client.get(Secret, "auto", "default")).metadata.resource_version
            await ask(tokens["auto"])
            assert (await client.get(Secret, "auto", "default")).metadata.resource_version == version
            clock.advance(timedelta(days=1).total_seconds())
            await ask(tokens["auto"])
            await seen(client, clock, chance, Secret, used("auto", "2026-06-02"))
            metrics = await client.request("GET", "/metrics")
            text = metrics.content().decode()
            for line in (
                "serviceaccount_legacy_tokens_total 4",
                "serviceaccount_legacy_auto_token_uses_total 3",
                "serviceaccount_legacy_manual_token_uses_total 1",
                "serviceaccount_invalid_legacy_auto_token_uses_total 1",
            ):
                assert line in text

    asyncio.run(play())


def test_what_is_said_of_the_beginning_is_mended_and_made_again() -> None:
    async def play() -> None:
        clock, chance = HandClock(START), random.Random(1)
        async with api_server(clock) as api:
            client = api.client(ADMINISTRATOR)

            def says(since: str) -> Callable[[list[Any]], bool]:
                return lambda all: any(one.metadata.name == NAME and one.data == {"since": since} for one in all)

            await seen(client, clock, chance, ConfigMap, says("2026-06-01"))
            await client.patch(ConfigMap, NAME, "kube-system", MergePatch({"data": {"since": "long ago"}}))
            clock.advance(3600)
            await seen(client, clock, chance, ConfigMap, says("2026-06-01"))
            await client.delete(ConfigMap, NAME, "kube-system")
            clock.advance(timedelta(days=1).total_seconds())
            await seen(client, clock, chance, ConfigMap, says("2026-06-02"))

    asyncio.run(play())


def test_an_asked_for_token_that_should_have_been_replaced_counts_as_stale() -> None:
    async def play() -> None:
        clock = HandClock(START)
        async with api_server(clock, service_account_key_pem=KEY) as api:
            client = api.client(ADMINISTRATOR)
            account = await client.create(ServiceAccount(metadata=ObjectMeta(name="a", namespace="default")))
            spec = PodSpec(containers=(Container(name="c", image="one"),))
            pod = await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=spec))
            binding = Binding(pod=Reference("p", pod.metadata.uid))
            issuer = TokenIssuer(KEY)
            token = issuer.issue(
                account.metadata, now=clock.now(), token_id="t", lifetime_seconds=3607, binding=binding
            ).token
            request = Request("GET", "/api", headers={"authorization": f"Bearer {token}"})
            assert isinstance(await api.handle(request), Response)
            clock.advance(7200)
            assert isinstance(await api.handle(request), Response)
            text = (await client.request("GET", "/metrics")).content().decode()
            assert "serviceaccount_valid_tokens_total 1" in text
            assert "serviceaccount_stale_tokens_total 1" in text

    asyncio.run(play())
