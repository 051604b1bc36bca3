"""Says in the cluster since when uses of legacy tokens are noted, and notes them on their Secrets.

Only with that can the cleaner of such tokens judge them. https://kep.k8s.io/2799
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import date
from typing import NoReturn

from keelback.api.core_v1 import ConfigMap, Secret
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.token_uses import LAST_USED, LastUse, TokenUses
from keelback.client import Client, MergePatch
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round

NAMESPACE = "kube-system"
NAME = "kube-apiserver-legacy-service-account-token-tracking"
_SINCE = "since"
_LOOK_SECONDS = 1800.0
"""Seldom: servers of which some note uses and others delete the ConfigMap must not fight over it."""

_log = logger("legacy_token_tracking")


@dataclass(frozen=True, slots=True)
class LegacyTokenTracking:
    """Runs as long as the server does."""

    uses: TokenUses
    client: Client
    clock: Clock

    async def run(self) -> NoReturn:
        """Keep the ConfigMap, and write what is noted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            group.create_task(self._write())
        raise AssertionError("unreachable")

    async def _keep(self) -> NoReturn:
        while True:
            try:
                await self.ensure()
            except errors.StatusError as error:
                _log.warning("The day from which on uses are noted was not written", error=str(error))
            await next_round(self.clock, _LOOK_SECONDS, Round.LOOK)

    async def ensure(self) -> None:
        """Make the ConfigMap, or mend what it says. Raises StatusError."""
        try:
            held = await self.client.get(ConfigMap, NAME, NAMESPACE)
            if not _is_day(held.data.get(_SINCE, "")):
                await self.client.patch(ConfigMap, NAME, NAMESPACE, MergePatch({"data": self._today()}))
        except errors.NotFound:
            made = ConfigMap(metadata=ObjectMeta(name=NAME, namespace=NAMESPACE), data=self._today())
            with contextlib.suppress(errors.AlreadyExists):
                await self.client.create(made)

    def _today(self) -> dict[str, str]:
        return {_SINCE: self.clock.now().date().isoformat()}

    async def _write(self) -> NoReturn:
        while True:
            await self.write(await self.uses.next())

    async def write(self, use: LastUse) -> None:
        """Write the day on a Secret, once: whoever uses the token again has it written again."""
        patch = MergePatch({"metadata": {"uid": use.uid, "labels": {LAST_USED: use.day}}})
        try:
            await self.client.patch(Secret, use.name, use.namespace, patch)
        except errors.StatusError as error:
            _log.warning("The use of a token was not noted", secret=f"{use.namespace}/{use.name}", error=str(error))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
