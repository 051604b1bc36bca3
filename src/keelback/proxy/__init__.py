"""The service proxy: Services as elements of flat nftables maps in a node's network namespace."""

from keelback.proxy.config import ProxyConfig
from keelback.proxy.proxy import Proxy, cleanup, run

__all__ = ["Proxy", "ProxyConfig", "cleanup", "run"]
