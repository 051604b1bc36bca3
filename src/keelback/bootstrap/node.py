"""One node's process: kubelet, Service proxy and cluster DNS as tasks, inside the node's namespaces.

They are one process since each alone is mostly interpreter; they share the loop, and the kubelet
asks the proxy when the Services have let go of a pod.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from keelback.bootstrap import components
from keelback.bootstrap.components import KubeletOptions
from keelback.bootstrap.node_host import AgentConfig
from keelback.client import Client, HTTPSTransport, client_context
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock, SystemClock
from keelback.kubelet.config import KubeletConfig
from keelback.proxy.config import ProxyConfig
from keelback.proxy.draining import EndpointDrain

_RESTART_SECONDS = (0.2, 10.0)
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_log = logger("node")


async def run(config: AgentConfig) -> None:
    """Be the node until SIGTERM; containers and Service rules go on without this process."""
    # What the machine reaches by a proxy, a node does not reach at all.
    for name in _PROXY_VARIABLES:
        os.environ.pop(name, None)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    clock = SystemClock()
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, work in _parts(config, clock).items():
                tasks.create_task(_keep(name, work, clock), name=name)
    except asyncio.CancelledError:
        _log.info("The node's process was asked to end")


def _parts(config: AgentConfig, clock: Clock) -> Mapping[str, Callable[[], Awaitable[None]]]:
    def proxier(user_agent: str) -> Client:
        return _client(config, clock, str(config.proxy_certificate), str(config.proxy_key), user_agent)

    # The one thing that the kubelet asks of the proxy: whether the Services have let go of a pod it is to stop.
    services = EndpointDrain(proxy_config(config), proxier("kube-proxy"), clock)

    async def kubelet() -> None:
        from keelback.cri.containerd import CRIRuntime
        from keelback.kubelet import agent

        chance = random.Random(int.from_bytes(os.urandom(16)))
        runtime = CRIRuntime(config.runtime_socket, clock)
        client = _client(config, clock, str(config.client_certificate), str(config.client_key), "kubelet")
        try:
            await agent.run(kubelet_config(config), client, runtime, clock, chance, services)
        finally:
            await runtime.close()

    async def proxy() -> None:
        from keelback.proxy import proxy as service_proxy

        await service_proxy.run(proxier("kube-proxy"), proxy_config(config), clock, services)

    async def dns() -> None:
        from keelback.bootstrap import node_dns

        await node_dns.run(config, proxier("coredns"), clock)

    return {"kubelet": kubelet, "proxy": proxy, "dns": dns}


def kubelet_config(config: AgentConfig) -> KubeletConfig:
    """The kubelet's config of a node of this machine."""
    options: KubeletOptions = components.parse("kubelet", config.kubelet_arguments)
    return kubelet_flags(
        KubeletConfig(
            node_name=config.name,
            node_ips=(config.address,),
            runtime_socket=config.runtime_socket,
            cgroup_root=config.cgroup_root,
            cluster_dns=(config.dns_ip,),
            resolv_conf=config.resolv_conf,
            pod_cidr=config.pod_cidr,
            tls_certificate=config.serving_certificate,
            tls_key=config.serving_key,
            client_ca=config.ca,
        ),
        options,
    )


def kubelet_flags(config: KubeletConfig, options: KubeletOptions) -> KubeletConfig:
    """The config with what an administrator's flags say."""
    return replace(
        config,
        kubelet_version=options.version.git_version,
        max_pods=options.max_pods,
        pods_per_core=options.pods_per_core,
        labels=options.node_labels,
        reserved=options.system_reserved,
        status_seconds=options.node_status_update_frequency,
        image_high_percent=options.image_gc_high_threshold,
        image_low_percent=options.image_gc_low_threshold,
    )


def proxy_config(config: AgentConfig) -> ProxyConfig:
    """The configuration of the node's service proxy."""
    return ProxyConfig(
        node_name=config.name,
        node_ips=(config.address,),
        cluster_cidrs=(config.cluster_cidr,),
        pod_cidrs=(config.pod_cidr,),
        local_addresses=frozenset({config.dns_ip}),
    )


def _client(config: AgentConfig, clock: Clock, certificate: str, key: str, user_agent: str) -> Client:
    context = client_context(config.ca.read_text(), certificate, key)
    headers = {"user-agent": f"{user_agent}/keelback"}
    return Client(HTTPSTransport(config.server, context, headers=headers, clock=clock))


async def _keep(name: str, work: Callable[[], Awaitable[Any]], clock: Clock) -> None:
    """Run one part; begin it again, ever more slowly, when it fails."""
    delay_seconds, most_seconds = _RESTART_SECONDS
    while True:
        try:
            await work()
            _log.error("A part of the node ended", part=name)
        except Exception as error:
            _log.exception("A part of the node failed and is started again", error, part=name)
        await clock.sleep(delay_seconds)
        delay_seconds = min(delay_seconds * 2, most_seconds)
