"""Work that goes on as long as the server does, though the store may be away for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from keelback.apimachinery.errors import StatusError
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage.protocol import StorageError

AGAIN_SECONDS = 1.0

_log = logger("apiserver")


async def keep(work: Callable[[], Awaitable[Any]], clock: Clock) -> Any:
    """Do it, and begin again where the store, or the server asked in its stead, has failed it. Raises all else."""
    while True:
        try:
            ended = await work()
        except* (StatusError, StorageError) as failed:
            _log.error("Background work is begun again", error="; ".join(map(str, failed.exceptions)))
        else:
            return ended
        await clock.sleep(AGAIN_SECONDS)
