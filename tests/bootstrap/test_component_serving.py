"""A controller manager and a scheduler that run alone: kubeadm's command lines, their health, and who sees metrics."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keelback.api.core_v1 import ServiceAccount
from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery.meta import ObjectMeta
from keelback.bootstrap import component_serving, pki
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.component_options import ComponentServingOptions
from keelback.bootstrap.component_serving import ComponentServer
from keelback.bootstrap.service_account_clients import ServiceAccountToken
from keelback.bootstrap.standalone_options import StandaloneControllerManagerOptions, StandaloneSchedulerOptions
from keelback.client import HTTPSTransport
from keelback.client.https import client_context
from keelback.component import flags
from keelback.component.flags import FlagError
from keelback.component.http import Request
from keelback.concurrency.clock import SystemClock
from keelback.controllers.config import Config
from keelback.reconcile.leader_election import LeaderElector
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CONTROLLER_MANAGER = """
--allocate-node-cidrs=true --authentication-kubeconfig=/etc/kubernetes/controller-manager.conf
--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf --bind-address=127.0.0.1
--client-ca-file=/etc/kubernetes/pki/ca.crt --cluster-cidr=10.244.0.0/16 --cluster-name=kubernetes
--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt --cluster-signing-key-file=/etc/kubernetes/pki/ca.key
--controllers=*,bootstrap-signer-controller,token-cleaner-controller
--kubeconfig=/etc/kubernetes/controller-manager.conf --leader-elect=true
--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt --root-ca-file=/etc/kubernetes/pki/ca.crt
--service-account-private-key-file=/etc/kubernetes/pki/sa.key --service-cluster-ip-range=10.96.0.0/12
--use-service-account-credentials=true --v=2
"""
SCHEDULER = """
--authentication-kubeconfig=/etc/kubernetes/scheduler.conf --authorization-kubeconfig=/etc/kubernetes/scheduler.conf
--bind-address=127.0.0.1 --kubeconfig=/etc/kubernetes/scheduler.conf --leader-elect=true --secure-port=10259
"""


def managed(*given: str) -> Config:
    return flags.parse(StandaloneControllerManagerOptions, ["--allocate-node-cidrs", *given]).with_node_cidrs(Config())


def test_the_flags_that_kubeadm_gives_are_understood() -> None:
    manager = flags.parse(StandaloneControllerManagerOptions, CONTROLLER_MANAGER.split())
    assert (manager.bind_address, manager.secure_port, manager.without_effect()) == ("127.0.0.1", 10257, {})
    config = manager.with_node_cidrs(Config())
    assert (config.cluster_cidrs, config.service_cidrs) == (("10.244.0.0/16",), ("10.96.0.0/12",))
    assert (config.allocate_node_cidrs, config.node_cidr_mask_size_ipv4) == (True, 24)
    scheduler = flags.parse(StandaloneSchedulerOptions, SCHEDULER.split())
    assert (scheduler.bind_address, scheduler.secure_port) == ("127.0.0.1", 10259)


def test_ranges_of_nodes_have_a_mask_for_each_ip_version() -> None:
    both = managed("--cluster-cidr=10.0.0.0/8,fd00::/48", "--node-cidr-mask-size-ipv4=20")
    assert both.cluster_cidrs == ("10.0.0.0/8", "fd00::/48")
    assert (both.node_cidr_mask_size_ipv4, both.node_cidr_mask_size_ipv6) == (20, 64)
    assert managed("--cluster-cidr=fd00::/48", "--node-cidr-mask-size=56").node_cidr_mask_size_ipv6 == 56
    for given, said in (
        ([], "--cluster-cidr is needed"),
        (["--cluster-cidr=10.0.0.0/8,fd00::/48", "--node-cidr-mask-size=24"], "not allowed with dual-stack"),
        (["--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size-ipv6=64"], "without IPv6"),
        (["--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size=24", "--node-cidr-mask-size-ipv4=24"], "exclude"),
        (["--cluster-cidr=10.0.0.0/26"], "is not within"),
        (["--cluster-cidr=10.0.0.0/8,10.1.0.0/16"], "one range of each IP version"),
        (["--cluster-cidr=10.0.0.0/8", "--cidr-allocator-type=CloudAllocator"], "RangeAllocator"),
    ):
        with pytest.raises(FlagError, match=said):
            managed(*given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--secure-port=70000", "between 0 and 65535"),
        ("--bind-address=here", "--bind-address"),
        ("--tls-cert-file=a", "go together"),
        ("--profiling", "only be false"),
    ],
)
def test_what_cannot_be_served_is_said(given: str, said: str) -> None:
    for options in (StandaloneControllerManagerOptions, StandaloneSchedulerOptions):
        with pytest.raises(FlagError, match=said):
            flags.parse(options, [given])


def test_a_flag_that_changes_nothing_here_is_told_of() -> None:
    given = ["--kube-api-qps=20", "--kube-api-burst=30", "--cluster-name=mine"]
    told = flags.parse(StandaloneControllerManagerOptions, given).without_effect()
    assert set(told) == {"--kube-api-qps", "--kube-api-burst", "--cluster-name"}
    assert all(told.values())


async def answer(server: ComponentServer, path: str, *, token: str = "", certificate: bytes | None = None) -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return (await server.handle(Request("GET", path, headers=headers, peer_certificate=certificate))).status


def der(certificate_pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)


def test_health_is_anybodys_and_metrics_are_for_whom_the_api_server_lets(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, SystemClock().now())
    options = ComponentServingOptions(client_ca_file=str(keys.ca.certificate_path))

    async def main() -> None:
        key = keys.service_account.key_pem
        async with api_server(service_account_key_pem=key) as api:
            client = api.client(ADMINISTRATOR)
            made, server = await component_serving.serving(
                "kube-scheduler", options, client, lambda path: client, SystemClock()
            )
            assert server is None
            for path in ("/healthz", "/livez", "/readyz"):
                assert await answer(made, path) == 200
            assert [await answer(made, path) for path in ("/metrics", "/healthz/ping", "/nothing")] == [403] * 3
            assert await answer(made, "/metrics", token="nobodys") == 401
            assert await answer(made, "/metrics", certificate=der(keys.admin.certificate_pem)) == 200
            assert await answer(made, "/nothing", certificate=der(keys.admin.certificate_pem)) == 404
            assert await answer(made, "/metrics", certificate=der(keys.scheduler.certificate_pem)) == 403

            await client.create(ServiceAccount(metadata=ObjectMeta(name="prometheus", namespace="kube-system")))
            rule = PolicyRule(verbs=("get",), non_resource_urls=("/metrics",))
            await client.create(ClusterRole(metadata=ObjectMeta(name="scraper"), rules=(rule,)))
            subject = Subject(kind="ServiceAccount", name="prometheus", namespace="kube-system")
            reference = RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="scraper")
            await client.create(
                ClusterRoleBinding(metadata=ObjectMeta(name="scraper"), role_ref=reference, subjects=(subject,))
            )
            token = await ServiceAccountToken("prometheus", client, SystemClock()).token()
            assert await answer(made, "/metrics", token=token) == 200
            assert await answer(made, "/healthz/ping", token=token) == 403

    asyncio.run(main())


def test_what_the_api_server_believes_is_looked_up_and_flags_go_before_it(tmp_path: Path) -> None:
    own = pki.ensure_cluster_pki(tmp_path, SystemClock().now())

    async def main() -> None:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            found = await component_serving.believed(ComponentServingOptions(), client)
            assert found.client_ca_pem.startswith(b"-----BEGIN CERTIFICATE-----")
            given = ComponentServingOptions(client_ca_file=str(own.ca.certificate_path))
            assert (await component_serving.believed(given, client)).client_ca_pem == own.ca.certificate_pem
            skipping = ComponentServingOptions(authentication_skip_lookup=True)
            assert (await component_serving.believed(skipping, client)).client_ca_pem == b""
            with pytest.raises(ClusterError, match="--client-ca-file: /not-there"):
                await component_serving.believed(ComponentServingOptions(client_ca_file="/not-there"), client)

    asyncio.run(main())


def test_a_proxy_says_for_whom_it_asks(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, SystemClock().now())
    options = ComponentServingOptions(
        requestheader_client_ca_file=str(keys.front_proxy_ca.certificate_path),
        requestheader_allowed_names=("front-proxy-client",),
        authentication_skip_lookup=True,
    )

    async def main() -> None:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            made, _ = await component_serving.serving(
                "kube-scheduler", options, client, lambda path: client, SystemClock()
            )
            headers = {"x-remote-user": "jane", "x-remote-group": "system:masters"}
            proxy = der(keys.front_proxy_client.certificate_pem)
            asked = Request("GET", "/metrics", headers=headers, peer_certificate=proxy)
            assert (await made.handle(asked)).status == 200
            assert (await made.handle(Request("GET", "/metrics", headers=headers))).status == 403

    asyncio.run(main())


def test_a_component_answers_over_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, SystemClock().now())
    options = ComponentServingOptions(client_ca_file=str(keys.ca.certificate_path), secure_port=free_port())

    async def main() -> None:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            _, server = await component_serving.serving(
                "kube-scheduler", options, client, lambda path: client, SystemClock()
            )
            assert server is not None

            async def work() -> None:
                context = client_context(
                    certificate=keys.admin.certificate_path, key=keys.admin.key_path, insecure=True
                )
                transport = HTTPSTransport(f"https://127.0.0.1:{server.bound_port}", context)
                metrics = await transport.send(Request("GET", "/metrics"))
                assert (metrics.status, b"process_cpu_seconds_total" in metrics.content()) == (200, True)
                await transport.close()
                nobody = HTTPSTransport(f"https://127.0.0.1:{server.bound_port}", client_context(insecure=True))
                assert (await nobody.send(Request("GET", "/healthz"))).content() == b"ok"
                assert (await nobody.send(Request("GET", "/metrics"))).status == 403
                await nobody.close()

            await component_serving.run_beside(server, work())

    asyncio.run(main())


def test_a_leader_that_hangs_is_not_well(tmp_path: Path) -> None:
    async def main() -> None:
        clock = HandClock()
        async with api_server(clock) as api:
            elector = LeaderElector(api.client(ADMINISTRATOR), "mine", "me", clock, random.Random(1))
            await elector.check()
            leading = asyncio.Event()

            async def lead() -> None:
                leading.set()
                await asyncio.Event().wait()

            task = asyncio.ensure_future(elector.run(lead))
            await leading.wait()
            await clock.pass_time(60)
            await elector.check()
            # As if the loop had stood still: the time passes, and nothing is renewed.
            clock.seconds += 36
            with pytest.raises(RuntimeError, match="failed election to renew leadership on lease mine"):
                await elector.check()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await elector.check()

    asyncio.run(main())
