"""The CNI configuration of a node: a bridge with the node's pod addresses, and host ports.

No plugin masquerades here: the service proxy does, in a table of its own. The bridge plugin's rules would accept pod
traffic before the proxy sees it, and its DEL fails for ever when somebody flushes the table they stand in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

NETWORK_NAME = "keelback"
BRIDGE = "cni0"
FILE_NAME = "10-keelback.conflist"
PLUGINS = ("bridge", "host-local", "portmap", "loopback")
BINARY_DIRECTORIES = (Path("/opt/cni/bin"), Path("/usr/lib/cni"), Path("/usr/libexec/cni"))


def conflist(pod_cidrs: Sequence[str], state_directory: Path, mtu: int = 0) -> bytes:
    """The configuration for a node with these pod CIDRs (one, or one of each address family)."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state_directory),
            "ranges": [[{"subnet": cidr}] for cidr in pod_cidrs],
            "routes": [{"dst": "::/0" if ":" in cidr else "0.0.0.0/0"} for cidr in pod_cidrs],
        },
        **({"mtu": mtu} if mtu else {}),
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    document = {"cniVersion": "0.4.0", "name": NETWORK_NAME, "plugins": [bridge, portmap]}
    return json.dumps(document, indent=2).encode() + b"\n"


def binary_directory(candidates: Sequence[Path] = BINARY_DIRECTORIES) -> Path | None:
    """The first directory that has every plugin needed."""
    for directory in candidates:
        if all((directory / plugin).is_file() for plugin in PLUGINS):
            return directory
    return None


def missing(candidates: Sequence[Path] = BINARY_DIRECTORIES) -> tuple[Path | None, tuple[str, ...]]:
    """What is missing where most is there: the directory, None where no plugin is anywhere, and the plugins."""
    lacks = {one: tuple(plugin for plugin in PLUGINS if not (one / plugin).is_file()) for one in candidates}
    directory = min(lacks, key=lambda one: len(lacks[one]))
    return (None, PLUGINS) if lacks[directory] == PLUGINS else (directory, lacks[directory])


def explain_missing(candidates: Sequence[Path] = BINARY_DIRECTORIES) -> str:
    """The plugins that a node lacks, in words for people; empty where it has all."""
    directory, plugins = missing(candidates)
    if not plugins:
        return ""
    where = str(directory) if directory is not None else " or ".join(map(str, candidates))
    return f"no CNI plugin {', '.join(plugins)} in {where}"
