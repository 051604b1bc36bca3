"""A file that begins anew when it is large: the old one stays beside it under the time at which it ended.

Names are those of the library that upstream uses: `audit-2026-11-23T16-04-05.123.log`, with `.gz` when compressed.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

DEFAULT_MAX_BYTES = 100 << 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}")
_log = logger("apiserver.audit")


class RotatingFile:
    """Lines are appended; `write` is done when the system has them. Old files are looked after in the background."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        max_bytes: int = 0,
        max_age_days: int = 0,
        max_backups: int = 0,
        compresses: bool = False,
    ) -> None:
        """0 bytes are 100 MiB, 0 days and backups no limit. Raises OSError where the file cannot be written."""
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes or DEFAULT_MAX_BYTES
        self._max_age_days = max_age_days
        self._max_backups = max_backups
        self._compresses = compresses
        self._is_untidy = False
        self._tidying: asyncio.Task[None] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, data: bytes) -> None:
        """Append whole lines. Raises OSError."""
        if self._size and self._size + len(data) > self._max_bytes:
            self._rotate()
        written = 0
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        self._size += len(data)

    async def close(self) -> None:
        """Close the file, when what is done with old ones is done."""
        if self._tidying is not None:
            await self._tidying
        os.close(self._descriptor)

    def _open(self) -> None:
        # Requests are nobody's business but the administrator's.
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        time = self._clock.now().astimezone(UTC)
        while (target := self._backup(time)).exists():
            time += timedelta(milliseconds=1)
        os.rename(self._path, target)
        os.close(self._descriptor)
        self._open()
        self._is_untidy = True
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.ensure_future(self._keep_tidy())

    def _backup(self, time: datetime) -> Path:
        stamp = f"{time:%Y-%m-%dT%H-%M-%S}.{time.microsecond // 1000:03d}"
        return self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")

    async def _keep_tidy(self) -> None:
        while self._is_untidy:
            self._is_untidy = False
            await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        """Remove what is too old or too much, compress the rest."""
        try:
            kept = self._backups()
            surplus = kept[self._max_backups :] if self._max_backups else []
            if self._max_age_days:
                oldest = self._clock.now() - timedelta(days=self._max_age_days)
                surplus += [one for one in kept if one[0] < oldest]
            for _, path in surplus:
                path.unlink(missing_ok=True)
            if self._compresses:
                for _, path in kept:
                    if path.suffix != ".gz" and path.exists():
                        _compress(path)
        except OSError as error:
            _log.error("Old audit logs could not be tidied", folder=str(self._path.parent), error=str(error))

    def _backups(self) -> list[tuple[datetime, Path]]:
        """The old files, the newest first."""
        found = []
        prefix, suffix = f"{self._path.stem}-", self._path.suffix
        for path in self._path.parent.iterdir():
            name = path.name.removesuffix(".gz")
            stamp = name[len(prefix) : len(name) - len(suffix)]
            if name.startswith(prefix) and name.endswith(suffix) and _TIME.fullmatch(stamp):
                time = datetime.strptime(f"{stamp}000+0000", "%Y-%m-%dT%H-%M-%S.%f%z")
                found.append((time, path))
        return sorted(found, reverse=True)


def _compress(path: Path) -> None:
    target = path.with_name(f"{path.name}.gz")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as file, gzip.open(file, "wb") as packed:
        shutil.copyfileobj(source, packed)
    path.unlink()
