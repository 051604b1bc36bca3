"""The real API server in the test's own process, on the memory store: what component tests talk to."""

from __future__ import annotations

import random
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from keelback.api.core_v1 import Namespace
from keelback.apimachinery.errors import AlreadyExists
from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.apimachinery.meta import Object, ObjectMeta, with_metadata
from keelback.apiserver import assembly
from keelback.apiserver.aggregation_config import AggregationConfig
from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.extensions import Extension
from keelback.apiserver.request_limits import RequestLimits
from keelback.audit.options import NOTHING_AUDITED, AuditOptions
from keelback.auth import authorizers, settings
from keelback.auth.authorizers import AuthorizationSettings
from keelback.auth.request_header import RequestHeaderSettings
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.client import Client, InProcessTransport
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock, SystemClock
from keelback.encryption.options import PLAIN, EncryptionSettings
from keelback.storage import compaction, memory
from keelback.storage.protocol import Store

ADMINISTRATOR = UserInfo("admin", groups=(MASTERS_GROUP, "system:authenticated"))


@asynccontextmanager
async def api_server(
    clock: Clock | None = None,
    seed: int = 0,
    *,
    disable_admission_plugins: tuple[str, ...] = ("ServiceAccount",),
    store: Store | None = None,
    make_socket: Callable[[], socket.socket] | None = None,
    optional_versions: tuple[tuple[str, str], ...] = (),
    others: tuple[Extension, ...] = (),
    service_account_key_pem: bytes = b"",
    hostname: str = "",
    store_is_shared: bool = False,
    endpoint: tuple[str, int] = ("10.89.0.1", 6443),
    request_limits: RequestLimits | None = None,
    profiling: bool = False,
    audit: AuditOptions = NOTHING_AUDITED,
    encryption: EncryptionSettings = PLAIN,
    authentication: AuthenticationSettings = settings.DEFAULT,
    authorization: AuthorizationSettings = authorizers.DEFAULT,
    kubernetes_version: KubernetesVersion = DEFAULT,
    feature_gates: Mapping[str, bool] | None = None,
    compact: Callable[[Any, Clock], Awaitable[NoReturn]] = compaction.run,
    decided: Mapping[str, Any] | None = None,
) -> AsyncIterator[RunningAPIServer]:
    """A server that is ready. Without controllers nobody makes service accounts, so their admission is off.

    Who gives the key that tokens are signed with can sign some, too. With a hostname it keeps an identity Lease: it
    writes every ten seconds. `make_socket` makes the sockets that reach kubelets and aggregated servers.
    `decided` are further fields of the server's configuration.
    """
    used = clock or SystemClock()
    store = store or memory.open_store(used)
    with tempfile.TemporaryDirectory() as folder:
        keys = pki.ensure_cluster_pki(Path(folder), used.now())
        config = assembly.APIServerConfig(
            client_ca_pem=keys.ca.certificate_pem,
            service_account_key_pem=service_account_key_pem or keys.service_account.key_pem,
            kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
            kubelet_client_key=keys.apiserver_kubelet_client.key_path,
            kubelet_ca_pem=keys.ca.certificate_pem,
            kubelet_socket=make_socket,
            aggregation=AggregationConfig(
                client_certificate=keys.front_proxy_client.certificate_path,
                client_key=keys.front_proxy_client.key_path,
            ),
            authentication=replace(
                authentication,
                request_header=authentication.request_header
                or RequestHeaderSettings(
                    ca_pem=keys.front_proxy_ca.certificate_pem, allowed_names=("front-proxy-client",)
                ),
            ),
            endpoint=endpoint,
            token_file_text='admin-token,admin,admin,"system:masters"\nuser-token,jane,jane\n',  # noqa: S106
            disable_admission_plugins=disable_admission_plugins,
            optional_versions=optional_versions,
            hostname=hostname,
            store_is_shared=store_is_shared,
            request_limits=request_limits or RequestLimits(),
            profiling=profiling,
            audit=audit,
            encryption=encryption,
            authorization=authorization,
            kubernetes_version=kubernetes_version,
            feature_gates=feature_gates or {},
            compact=compact,
        )
        config = replace(config, **(decided or {}))
        running = await assembly.start(store, config, used, random.Random(seed), Registry(), others)
        try:
            yield running
        finally:
            await running.close()
            await store.close()


class Administrator:
    """Who may do everything, and says what should be rather than how it comes about."""

    def __init__(self, client: Client, store: Store) -> None:
        self.client = client
        self.store = store
        """What the server keeps. Writing to it leaves what an earlier, laxer server might have left."""

    async def put(self, obj: Object) -> None:
        """Make the object, or make the one of that name like it, until lists have it too.

        Its status is a matter of creation only.
        """
        try:
            made = await self.client.create(obj)
        except AlreadyExists:
            held = await self.client.get(type(obj), obj.metadata.name, obj.metadata.namespace)
            made = await self.client.update(with_metadata(obj, resource_version=held.metadata.resource_version))
        await self.client.list(type(obj), resource_version=made.metadata.resource_version)

    async def delete(self, obj: Object) -> None:
        """Delete the object of that name."""
        await self.client.delete(type(obj), obj.metadata.name, obj.metadata.namespace)


@asynccontextmanager
async def administrator(*namespaces: str) -> AsyncIterator[Administrator]:
    """The administrator of a server that has these namespaces."""
    store = memory.open_store(SystemClock())
    async with api_server(store=store) as server:
        user = Administrator(Client(InProcessTransport(server.handle, ADMINISTRATOR)), store)
        for name in namespaces:
            await user.put(Namespace(metadata=ObjectMeta(name=name)))
        yield user
