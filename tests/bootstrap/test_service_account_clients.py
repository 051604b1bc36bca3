"""Clients by service accounts' tokens, against a real API server."""

from __future__ import annotations

import asyncio
import json

from keelback.api.core_v1 import ServiceAccount
from keelback.bootstrap.service_account_clients import ServiceAccountToken, ServiceAccountTransport
from keelback.client import Client, InProcessTransport
from keelback.concurrency.clock import SystemClock
from keelback.testing.api import ADMINISTRATOR, api_server

REVIEW = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'


async def _who(client: Client) -> str:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await client.request("POST", path, body=REVIEW, headers={"content-type": "application/json"})
    return str(json.loads(answer.content())["status"]["userInfo"]["username"])


def test_a_client_is_the_account_whose_token_it_asked_for() -> None:
    async def scenario() -> None:
        async with api_server() as api:
            maker = api.client(ADMINISTRATOR)
            token = ServiceAccountToken("job-controller", maker, SystemClock())
            client = Client(ServiceAccountTransport(InProcessTransport(api.handle), token))
            assert await _who(client) == "system:serviceaccount:kube-system:job-controller"
            first = await token.token()
            assert await token.token() == first
            # An account that was deleted and made again: the old token is refused, and a new one asked for.
            await maker.delete(ServiceAccount, "job-controller", "kube-system")
            token.forget()
            assert await _who(client) == "system:serviceaccount:kube-system:job-controller"
            assert await token.token() != first

    asyncio.run(scenario())
