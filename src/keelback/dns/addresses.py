"""The addresses a node's DNS server listens on: on `lo`, so that pods find it on their own node."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Sequence

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError


def ensure(addresses: Sequence[str], interface: str = "lo") -> None:
    """Give an interface of this network namespace these addresses; those it has are left alone. Raises OSError."""
    with IPRoute() as routes:
        found = routes.link_lookup(ifname=interface)
        if not found:
            raise OSError(errno.ENODEV, f"there is no interface {interface}")
        for address in addresses:
            length = ipaddress.ip_address(address).max_prefixlen
            try:
                routes.addr("add", index=found[0], address=address, prefixlen=length)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise OSError(error.code, f"add {address} to {interface}: {error}") from error
        routes.link("set", index=found[0], state="up")
