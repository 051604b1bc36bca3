"""Cluster DNS on a node: the DNS Service's address lies on the node's loopback, so that pods ask their own node."""

from __future__ import annotations

import asyncio
import subprocess

from keelback.bootstrap.node_host import AgentConfig
from keelback.client import Client
from keelback.concurrency.clock import Clock


async def run(config: AgentConfig, client: Client, clock: Clock) -> None:
    """Serve names until cancelled."""
    await asyncio.to_thread(_hold_address, config.dns_ip)
    await asyncio.Event().wait()


def _hold_address(address: str) -> None:
    subprocess.run(
        ["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True, capture_output=True, timeout=10, cwd="/"
    )
