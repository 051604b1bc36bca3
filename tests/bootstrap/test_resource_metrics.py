"""The kubelets' metrics are read over TLS, with the token of the account that may read them and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.api.authentication_v1 import TokenReview, TokenReviewSpec
from keelback.api.core_v1 import DaemonEndpoint, NodeAddress, NodeDaemonEndpoints
from keelback.apimachinery import errors
from keelback.bootstrap.resource_metrics import KubeletReader
from keelback.component.http import Request, Response
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import SystemClock
from keelback.metrics.observed import LabelledMeta, MeasuredNode, MeasuredNodeStatus
from keelback.testing.api import ADMINISTRATOR, api_server


def a_node(port: int, **labels: str) -> MeasuredNode:
    return MeasuredNode(
        metadata=LabelledMeta(name="node-0", labels=labels),
        status=MeasuredNodeStatus(
            addresses=(NodeAddress(type="InternalIP", address="127.0.0.1"),),
            daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=port)),
        ),
    )


def test_a_kubelet_is_asked_as_the_service_account(authority: Any) -> None:
    asked: list[tuple[str, str]] = []
    answers = [Response(200, {}, b"figures"), Response(403, {}, b"Forbidden")]

    async def kubelet(request: Request) -> Response:
        asked.append((request.path, request.headers["authorization"].removeprefix("Bearer ")))
        return answers.pop(0)

    async def main() -> None:
        context = server_context(authority.server.certificate, authority.server.key)
        async with api_server() as api, Server(kubelet, context) as server:
            client = api.client(ADMINISTRATOR, "test")
            reader = KubeletReader(client, authority.ca.read_bytes(), None, SystemClock())
            try:
                assert await reader.fetch(a_node(server.bound_port)) == b"figures"
                with pytest.raises(errors.StatusError, match="the kubelet answered 403: Forbidden"):
                    await reader.fetch(a_node(server.bound_port))
            finally:
                await reader.close()
            path, token = asked[0]
            assert path == "/metrics/resource"
            review = await client.create(TokenReview(spec=TokenReviewSpec(token=token)))
            assert review.status.user.username == "system:serviceaccount:kube-system:metrics-server"

    asyncio.run(main())


def test_simulated_nodes_of_other_processes_are_not_called(authority: Any) -> None:
    async def main() -> None:
        async with api_server() as api:
            reader = KubeletReader(api.client(ADMINISTRATOR, "test"), authority.ca.read_bytes(), None, SystemClock())
            with pytest.raises(ConnectionError, match="simulated elsewhere"):
                await reader.fetch(a_node(1, **{"node.keelback.dev/simulated": "true"}))

    asyncio.run(main())
