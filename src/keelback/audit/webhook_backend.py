"""Events to a server that takes them: lists in JSON, posted to the address that a kubeconfig names."""

from __future__ import annotations

import random
from collections.abc import Sequence

from keelback.audit.backends import AuditMetrics
from keelback.audit.events import Event, encode_list
from keelback.client import HTTPSTransport
from keelback.component.http import Request
from keelback.component.logs import logger
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock

ATTEMPTS = 5
REQUEST_SECONDS = 30.0
_HEADERS = {"content-type": "application/json", "accept": "application/json", "user-agent": "kube-apiserver"}
_log = logger("apiserver.audit")


class WebhookBackend:
    """Tries each list up to five times, whatever went wrong: few failures justify losing what happened."""

    def __init__(
        self,
        transport: HTTPSTransport,
        path: str,
        initial_backoff_seconds: float,
        clock: Clock,
        chance: random.Random,
        metrics: AuditMetrics,
    ) -> None:
        self._transport = transport
        self._path = path
        self._backoff = Backoff(initial_backoff_seconds, factor=1.5, jitter=0.2)
        self._clock = clock
        self._chance = chance
        self._metrics = metrics

    async def process(self, events: Sequence[Event]) -> bool:
        request = Request("POST", self._path, f"timeout={REQUEST_SECONDS:.0f}s", _HEADERS, encode_list(events))
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            problem = await self._problem(request)
            if not problem:
                return True
            if attempt < ATTEMPTS:
                _log.debug("An audit webhook failed and is tried again", error=problem, attempt=attempt)
                await self._clock.sleep(self._backoff.delay(attempt, self._chance))
        self._metrics.lost("webhook", problem, events)
        return False

    async def run(self) -> None:
        """Nothing is done in the background."""

    async def close(self) -> None:
        await self._transport.close()

    async def _problem(self, request: Request) -> str:
        """What went wrong; empty where the server took them."""
        try:
            response = await self._transport.send(request, timeout_seconds=REQUEST_SECONDS)
        except TimeoutError:
            return f"{self._transport.address} did not answer within {REQUEST_SECONDS:.0f} s"
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        if 200 <= response.status < 300:
            return ""
        return f"{self._transport.address} answered {response.status}"
