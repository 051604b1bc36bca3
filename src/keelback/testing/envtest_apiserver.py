"""The API server that envtest starts, with controllers and simulated nodes where a suite wants them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from keelback.apiserver.assembly import APIServerConfig
from keelback.apiserver.server import too_large
from keelback.bootstrap.addresses import service_range
from keelback.component import flags
from keelback.component.logs import logger
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import SystemClock
from keelback.registry import runtime_config
from keelback.testing.cluster_parts import Options, Parts
from keelback.testing.envtest import APIServerOptions

CONTROLLERS: Final = "KEELBACK_ENVTEST_CONTROLLERS"
"""An environment variable: with the value 1, controllers, scheduler and simulated nodes run too."""
NODES: Final = "KEELBACK_ENVTEST_NODES"
"""An environment variable: how many nodes then; 1 if it is not said."""
_log = logger("envtest")


async def serve(given: APIServerOptions) -> None:
    """Serve the API until cancelled. Raises OSError where the port is taken."""
    wants_controllers = os.environ.get(CONTROLLERS, "") == "1"
    nodes = int(os.environ.get(NODES, "1")) if wants_controllers else 0
    try:
        optional = runtime_config.parse(given.runtime_config, given.version)
        if runtime_config.hidden(given.runtime_config, given.version):
            raise ValueError("only whole versions can be switched here, and none off that is on by default")
    except ValueError as error:
        raise flags.FlagError(f'invalid argument for "--runtime-config" flag: {error}') from error
    options = Options(
        real_time=True,
        controllers=wants_controllers,
        nodes=nodes,
        kubernetes_version=given.version,
        optional_versions=optional,
        feature_gates=given.gates(),
    )
    parts = _EnvtestParts(given, options)
    await parts.start()
    try:
        _log.info("The API server answers", port=await parts.serve())
        await asyncio.Event().wait()
    finally:
        await parts.close()


class _EnvtestParts(Parts):
    """A cluster with the certificates, keys and addresses that envtest chose."""

    def __init__(self, given: APIServerOptions, options: Options) -> None:
        super().__init__(options, SystemClock())
        self._given = given

    def api_config(self) -> APIServerConfig:
        given, made = self._given, super().api_config()
        services = service_range(given.service_cluster_ip_range)
        return replace(
            made,
            client_ca_pem=_read(given.client_ca_file) or made.client_ca_pem,
            service_account_key_pem=_read(given.service_account_signing_key_file) or made.service_account_key_pem,
            service_cidr=str(services),
            service_ip=str(services[1]),
            dns_ip=str(services[10]),
            token_file_text=_read(given.token_auth_file).decode(),
            enable_admission_plugins=given.enable_admission_plugins,
            disable_admission_plugins=given.disable_admission_plugins,
        )

    def front(self) -> Server:
        given = self._given
        certificate, key = given.tls_cert_file, given.tls_private_key_file
        if not certificate and Path(given.cert_dir, "apiserver.crt").exists():
            certificate, key = f"{given.cert_dir}/apiserver.crt", f"{given.cert_dir}/apiserver.key"
        context = server_context(
            certificate or self.keys.apiserver.certificate_path,
            key or self.keys.apiserver.key_path,
            given.client_ca_file or self.keys.ca.certificate_path,
        )
        handler = self.faults.around(lambda: self.api.handle)
        return Server(handler, context, given.bind_address, given.secure_port, too_large=too_large)


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""
