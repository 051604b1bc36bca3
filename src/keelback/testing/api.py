"""The real API server in the test's own process, on the memory store: what component tests talk to."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from keelback.apiserver import assembly
from keelback.apiserver.assembly import RunningAPIServer
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock, SystemClock
from keelback.storage import memory

ADMINISTRATOR = UserInfo("admin", groups=(MASTERS_GROUP, "system:authenticated"))


@asynccontextmanager
async def api_server(
    clock: Clock | None = None, seed: int = 0, *, disable_admission_plugins: tuple[str, ...] = ("ServiceAccount",)
) -> AsyncIterator[RunningAPIServer]:
    """A server that is ready. Without controllers nobody makes service accounts, so their admission is off."""
    used = clock or SystemClock()
    store = memory.open_store(used)
    with tempfile.TemporaryDirectory() as folder:
        keys = pki.ensure_cluster_pki(Path(folder), used.now())
        config = assembly.APIServerConfig(
            client_ca_pem=keys.ca.certificate_pem,
            service_account_key_pem=keys.service_account.key_pem,
            kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
            kubelet_client_key=keys.apiserver_kubelet_client.key_path,
            kubelet_ca_pem=keys.ca.certificate_pem,
            endpoint=("10.89.0.1", 6443),
            token_file_text='admin-token,admin,admin,"system:masters"\nuser-token,jane,jane\n',  # noqa: S106
            disable_admission_plugins=disable_admission_plugins,
        )
        running = await assembly.start(store, config, used, random.Random(seed), Registry())
        try:
            yield running
        finally:
            await running.close()
            await store.close()
