"""Forgetting UDP flows to endpoints that are gone: UDP never ends a flow, so its translation would stay for ever.

TCP needs nothing of the kind: the connection breaks, and the next one is translated anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from typing import Final

from keelback.component import logs
from keelback.proxy.plan import Frontend, is_version6

_DEADLINE_SECONDS: Final = 5.0
_log = logs.logger("proxy.conntrack")


def arguments(frontend: Frontend, backend: str) -> list[str]:
    """What `conntrack` is asked to delete; without a backend, the flows that were not translated at all."""
    family = "ipv6" if is_version6(frontend.address) else "ipv4"
    found = ["-D", "-f", family, "-p", frontend.protocol, "-d", frontend.address, "--orig-port-dst", str(frontend.port)]
    return [*found, "--dst-nat", backend] if backend else found


async def forget(gone: Sequence[tuple[Frontend, str]]) -> None:
    """Delete the flows from these frontends to these backends, where the machine can."""
    program = shutil.which("conntrack")
    if program is None:
        return
    for frontend, backend in gone:
        child = await asyncio.create_subprocess_exec(
            program,
            *arguments(frontend, backend),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                # It ends with 1 where nothing matched.
                await child.wait()
        except TimeoutError:
            _log.warning("Could not delete the flows of an endpoint in time", frontend=frontend, endpoint=backend)
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
