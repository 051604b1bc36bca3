"""Follows a configuration file: what it says takes effect when it changes, without a restart.

A file that cannot be read or is wrong changes nothing: what was before goes on, and the log says why. Upstream looks
once a minute and is told of changes between; here the file's state is looked at once a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.component.logs import logger
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

_LOOK_SECONDS: Final = 1.0
_log = logger("configuration_reload")

State = tuple[int, int, int, int]


class ReloadMetrics:
    """How often one sort of file was read again, under upstream's names; `sort` is authorization or authentication.

    `server_id` names this server among several.
    """

    def __init__(self, metrics: Registry, sort: str, clock: Clock, server_id: str = "") -> None:
        self._clock = clock
        self._server = _hash(server_id)
        self.reloads = metrics.counter(
            f"apiserver_{sort}_config_controller_automatic_reloads_total",
            f"Total number of automatic reloads of {sort} configuration split by status and apiserver identity.",
            ("apiserver_id_hash", "status"),
        )
        self.last = metrics.gauge(
            f"apiserver_{sort}_config_controller_automatic_reload_last_timestamp_seconds",
            f"Timestamp of the last automatic reload of {sort} configuration split by status and apiserver identity.",
            ("apiserver_id_hash", "status"),
        )
        self._applied = metrics.gauge(
            f"apiserver_{sort}_config_controller_last_config_info",
            f"Information about the last applied {sort} configuration with hash as label, split by apiserver identity.",
            ("apiserver_id_hash", "hash"),
        )
        self._applied_hash = ""

    def note(self, status: str) -> None:
        """Count one attempt."""
        self.reloads.inc(self._server, status)
        self.last.set(self._clock.now().timestamp(), self._server, status)

    def applied(self, text: str) -> None:
        """Tell which file is in force."""
        self._applied.remove(self._server, self._applied_hash)
        self._applied_hash = _hash(text)
        self._applied.set(1, self._server, self._applied_hash)

    def count(self, status: str) -> float:
        """How many attempts there were with that end."""
        return self.reloads.value(self._server, status)


def _hash(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}" if text else ""


class ConfigurationReload:
    """Reads the file again whenever it changes, and hands its text to `apply`, which raises ConfigurationError."""

    def __init__(
        self, path: Path, text: str, apply: Callable[[str], Awaitable[None]], clock: Clock, metrics: ReloadMetrics
    ) -> None:
        self._path = path
        self._text = text
        self._apply = apply
        self._clock = clock
        self._metrics = metrics
        self._state: State | None = None
        metrics.applied(text)

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Apply the file if it says something else than before."""
        try:
            found = self._path.stat()
            state = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if state == self._state:
                return
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            if self._state is not None:
                self._metrics.note("failure")
                _log.error("A configuration file cannot be read", path=str(self._path), error=str(error))
            self._state = None
            return
        self._state = state
        if text == self._text:
            return
        # Also if it is wrong: it is not looked at again until it changes.
        self._text = text
        try:
            await self._apply(text)
        except ConfigurationError as error:
            self._metrics.note("failure")
            _log.error("A configuration file is wrong; what was before goes on", path=str(self._path), error=str(error))
            return
        except Exception as error:  # the edge: a file must not end the server
            self._metrics.note("failure")
            _log.exception(
                "A configuration file cannot be applied; what was before goes on", error, path=str(self._path)
            )
            return
        self._metrics.note("success")
        self._metrics.applied(text)
        _log.info("A configuration file takes effect", path=str(self._path))
