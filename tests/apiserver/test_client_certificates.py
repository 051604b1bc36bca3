"""Client certificates over TLS: whoever shows a bad one is told so by a Status, as Kubernetes does, and not cut off."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keelback.apiserver import assembly
from keelback.bootstrap import pki
from keelback.bootstrap.pki import ClusterPKI, KeyPair
from keelback.component.metrics import Registry
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory

NOW = SystemClock().now()
WHOAMI = b'{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}'
Choose = Callable[[ClusterPKI, Path], KeyPair]


def _good(keys: ClusterPKI, _: Path) -> KeyPair:
    return pki.issue_client(keys, "good", "jane", ("developers",), NOW)


def _expired(keys: ClusterPKI, _: Path) -> KeyPair:
    return pki.issue_client(keys, "expired", "jane", (), NOW - timedelta(days=4000))


def _not_yet_valid(keys: ClusterPKI, _: Path) -> KeyPair:
    return pki.issue_client(keys, "early", "jane", (), NOW + timedelta(days=30))


def _of_another_authority(_: ClusterPKI, folder: Path) -> KeyPair:
    return pki.issue_client(pki.ensure_cluster_pki(folder, NOW), "forged", "admin", ("system:masters",), NOW)


def _of_a_server(keys: ClusterPKI, _: Path) -> KeyPair:
    return keys.apiserver


async def _ask(keys: ClusterPKI, shown: KeyPair | None) -> tuple[int, Any]:
    store = memory.open_store(SystemClock())
    config = assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("10.89.0.1", 6443),
    )
    running = await assembly.start(store, config, SystemClock(), random.Random(0), Registry())
    served = server_context(keys.apiserver.certificate_path, keys.apiserver.key_path, keys.ca.certificate_path)
    context = ssl.create_default_context(cafile=keys.ca.certificate_path)
    if shown is not None:
        context.load_cert_chain(shown.certificate_path, shown.key_path)
    try:
        async with Server(running.handle, served) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port, ssl=context)
            head = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(WHOAMI)}\r\n\r\n".encode() + WHOAMI)
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
    finally:
        await running.close()
        await store.close()
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("choose", [_expired, _not_yet_valid, _of_another_authority, _of_a_server])
def test_a_bad_certificate_is_unauthorized(choose: Choose, tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path / "own", NOW)
    status, body = asyncio.run(_ask(keys, choose(keys, tmp_path / "other")))
    assert (status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")


def test_a_good_certificate_is_a_user_and_its_groups(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, NOW)
    status, body = asyncio.run(_ask(keys, _good(keys, tmp_path)))
    assert status == 201
    user = body["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("jane", ["developers", "system:authenticated"])


def test_without_a_certificate_the_caller_is_anonymous(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, NOW)
    status, body = asyncio.run(_ask(keys, None))
    assert (status, body["reason"]) == (403, "Forbidden")
