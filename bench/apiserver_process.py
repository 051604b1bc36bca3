"""The API server that benchmarks measure: prints its port, serves until it is ended.

python bench/apiserver_process.py folder [true|false: priority and fairness] [an etcd server, in place of SQLite]
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from keelback.apiserver import assembly
from keelback.apiserver.request_limits import RequestLimits
from keelback.bootstrap import pki
from keelback.component import event_loop
from keelback.component.metrics import Registry
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import SystemClock
from keelback.storage import sqlite
from keelback.storage.protocol import Store

TOKENS = 'bench-token,bench,bench,"system:masters"\nquiet-token,quiet,quiet\nflood-token,flood,flood\n'


async def main(folder: Path, is_fair: bool, servers: tuple[str, ...]) -> None:
    clock = SystemClock()
    keys = pki.ensure_cluster_pki(folder / "pki", clock.now())
    store: Store
    if servers:
        from keelback.storage import etcd  # gRPC is 13 MB, which a server on SQLite does without

        store = await etcd.open_store(servers, clock)
    else:
        store = await sqlite.open_store(folder / "store.db", clock)
    config = assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("192.0.2.1", 6443),
        token_file_text=TOKENS,
        request_limits=RequestLimits(enable_priority_and_fairness=is_fair),
        # Pods of the benchmark have no service account: nothing makes it here.
        disable_admission_plugins=("ServiceAccount",),
        store_is_shared=bool(servers),
    )
    api = await assembly.start(store, config, clock, random.Random(), Registry())
    context = server_context(keys.apiserver.certificate_path, keys.apiserver.key_path, keys.ca.certificate_path)
    async with Server(api.handle, context) as server:
        print(server.bound_port, flush=True)
        await api.run()


if __name__ == "__main__":
    event_loop.run(main(Path(sys.argv[1]), sys.argv[2:3] != ["false"], tuple(sys.argv[3:])))
