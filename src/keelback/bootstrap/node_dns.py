"""Cluster DNS on a node: the DNS Service's address lies on the node's loopback, so that pods ask their own node."""

from __future__ import annotations

from keelback.bootstrap.node_host import AgentConfig
from keelback.client import Client
from keelback.concurrency.clock import Clock
from keelback.dns import server
from keelback.dns.config import DNSConfig


async def run(config: AgentConfig, client: Client, clock: Clock) -> None:
    """Serve names until cancelled. What is not the cluster's goes to the name relay of the fabric."""
    await server.run(client, DNSConfig(addresses=(config.dns_ip,), resolv_conf=config.resolv_conf), clock)
