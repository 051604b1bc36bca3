"""The programs that controller-runtime's envtest starts: a `kube-apiserver` with its flags, and an `etcd` that is asked
only how it is. The objects are kept in the API server's memory.

`keelback envtest path` makes a folder with both; KUBEBUILDER_ASSETS is set to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlsplit

from keelback.bootstrap.version_options import VersionOptions
from keelback.component import flags, logs
from keelback.component.http import AnyResponse, Request, Response, text_response
from keelback.component.serving import Server

KUBERNETES_VERSION: Final = "KEELBACK_ENVTEST_KUBERNETES_VERSION"
"""An environment variable: the minor version to be, for suites whose flags are not at hand."""


@dataclass(frozen=True, kw_only=True)
class EtcdOptions:
    listen_client_urls: Annotated[str, "Where to answer /health."] = "http://localhost:2379"
    advertise_client_urls: Annotated[str, "What others are told; nobody asks."] = ""
    listen_peer_urls: Annotated[str, "For other members, which there are not."] = ""
    data_dir: Annotated[str, "Where etcd would keep its data; nothing is written."] = ""
    unsafe_no_fsync: Annotated[bool, "Nothing is written, and nothing flushed."] = False


@dataclass(frozen=True, kw_only=True)
class APIServerOptions(VersionOptions):
    """The flags that envtest gives, and those that suites commonly add."""

    has_switchable_gates = True

    etcd_servers: Annotated[str, "The etcd of envtest; objects are kept in memory."] = ""
    cert_dir: Annotated[str, "Where apiserver.crt and apiserver.key are, or are made."] = ""
    tls_cert_file: Annotated[str, "The certificate to serve with, if not apiserver.crt in --cert-dir."] = ""
    tls_private_key_file: Annotated[str, "Its key."] = ""
    bind_address: Annotated[str, "The address to serve on."] = "127.0.0.1"
    advertise_address: Annotated[str, "Where others reach this server."] = ""
    secure_port: Annotated[int, "The port to serve on."] = 6443
    client_ca_file: Annotated[str, "The authority of clients' certificates."] = ""
    token_auth_file: Annotated[str, 'A CSV file of bearer tokens: token,user,uid,"group1,group2".'] = ""
    authorization_mode: Annotated[tuple[str, ...], "RBAC and Node; both are on whatever is said."] = ("RBAC",)
    service_account_issuer: Annotated[str, "The issuer of tokens; it is the cluster's own whatever is said."] = ""
    service_account_key_file: Annotated[str, "What verifies tokens: the signing key's public half."] = ""
    service_account_signing_key_file: Annotated[str, "What signs tokens."] = ""
    service_cluster_ip_range: Annotated[str, "The addresses of Services."] = "10.0.0.0/24"
    allow_privileged: Annotated[bool, "Whether pods may be privileged; they may."] = True
    enable_admission_plugins: Annotated[tuple[str, ...], "Admission plugins to run besides the default ones."] = ()
    disable_admission_plugins: Annotated[tuple[str, ...], "Default admission plugins not to run."] = ()
    runtime_config: Annotated[
        Mapping[str, str], "Group versions to serve besides the default ones: group/version=true, api/beta=true."
    ] = field(default_factory=dict)


async def serve_etcd(given: EtcdOptions) -> None:
    """Answer that all is well until cancelled. Raises OSError where an address is taken."""

    async def handle(request: Request) -> AnyResponse:
        if request.path == "/health":
            return Response(200, {"content-type": "application/json"}, b'{"health":"true","reason":""}')
        return text_response("objects are kept in the memory of Keelback's API server, not here\n", 404)

    servers = []
    for url in given.listen_client_urls.split(","):
        where = urlsplit(url)
        servers.append(Server(handle, None, where.hostname or "localhost", where.port or 2379))
    for server in servers:
        await server.start()
    try:
        await asyncio.Event().wait()
    finally:
        for server in servers:
            await server.shutdown(0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Be `kube-apiserver` or `etcd`, by the first argument; the exit status."""
    name, *arguments = sys.argv[1:] if argv is None else argv
    options: type[APIServerOptions] | type[EtcdOptions] = EtcdOptions if name == "etcd" else APIServerOptions
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(f"{name} [flags]\n\n{flags.usage(options)}")
        return 0
    logs.configure()
    if options is APIServerOptions and (version := os.environ.get(KUBERNETES_VERSION, "")):
        # What a suite's flags say comes later, and goes before.
        arguments = [f"--kubernetes-version={version}", *arguments]
    try:
        given = flags.parse(options, arguments)
        asyncio.run(_until_told(lambda: serve_etcd(given) if isinstance(given, EtcdOptions) else _serve_api(given)))
    except flags.FlagError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    return 0


async def _serve_api(given: APIServerOptions) -> None:
    # Help and etcd answer at once: only the server needs all that a server is made of.
    from keelback.testing import envtest_apiserver

    await envtest_apiserver.serve(given)


async def _until_told(work: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(work())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    sys.exit(main())
