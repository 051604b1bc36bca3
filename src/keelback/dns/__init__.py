"""Cluster DNS: names of Services and pods from the API, everything else from the node's resolvers."""

from keelback.dns.config import DNSConfig
from keelback.dns.server import run

__all__ = ["DNSConfig", "run"]
