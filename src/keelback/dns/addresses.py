"""The addresses a node's DNS server listens on: on `lo`, so that pods find it on their own node."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Sequence

_DEADLINE_SECONDS = 10.0


async def ensure(addresses: Sequence[str], interface: str = "lo") -> None:
    """Give an interface of this network namespace these addresses; those it has are left alone. Raises OSError."""
    lines = [f"link set dev {interface} up"]
    for address in addresses:
        length = ipaddress.ip_address(address).max_prefixlen
        lines.append(f"address replace {address}/{length} dev {interface}")
    child = await asyncio.create_subprocess_exec(
        "ip",
        "-batch",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            _, complaint = await child.communicate("\n".join([*lines, ""]).encode())
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode != 0:
        raise OSError(f"add {', '.join(addresses)} to {interface}: {complaint.decode(errors='replace').strip()}")
