"""An etcd beside the control plane, for clusters that keep their store in one: one member, which outlives a crash.

It listens on sockets in the cluster's run directory, which is the user's alone: who reaches an etcd has every Secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from keelback.bootstrap.cluster_state import ClusterError, Place
from keelback.bootstrap.processes import Process
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_LOG_LINES = 10
_CLIENT, _PEER = "client:0", "peer:0"
"""etcd takes the host and port of a `unix://` address for the name of a socket in its working directory."""

_log = logger("etcd_member")


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """The member of one cluster."""

    place: Place
    clock: Clock

    @property
    def server(self) -> str:
        """Where it is asked."""
        return f"unix://{self._folder / _CLIENT}"

    @property
    def _folder(self) -> Path:
        return self.place.run / "etcd"

    @property
    def _record(self) -> Path:
        return self.place.run / "etcd.json"

    @property
    def _said(self) -> Path:
        return self.place.logs / "etcd.log"

    def process(self) -> Process | None:
        """The one that runs, whoever started it."""
        try:
            process = msgspec.json.decode(self._record.read_bytes(), type=Process)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return process if process.is_alive() else None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        """The store in it, which is started, or adopted, and ended with the block. Raises ClusterError."""
        self._launch()
        store = await self._opened()
        keeping = asyncio.get_running_loop().create_task(self._keep())
        try:
            yield store
        finally:
            await store.close()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self.stop()

    async def stop(self) -> None:
        """End the one that runs, if any."""
        process = self.process()
        if process is not None:
            await process.stop(_STOP_SECONDS)
        self._record.unlink(missing_ok=True)

    def _launch(self) -> None:
        if self.process() is not None:
            return
        if shutil.which("etcd") is None:
            raise ClusterError("etcd is not installed (Debian's package is etcd-server)")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (_CLIENT, _PEER):
            (self._folder / name).unlink(missing_ok=True)
        data = self.place.data / "store" / "etcd"
        data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._said.open("ab") as log:
            child = subprocess.Popen(
                [
                    "etcd",
                    "--name=default",
                    f"--data-dir={data}",
                    f"--listen-client-urls=unix://{_CLIENT}",
                    f"--advertise-client-urls=unix://{_CLIENT}",
                    f"--listen-peer-urls=unix://{_PEER}",
                    f"--initial-advertise-peer-urls=unix://{_PEER}",
                    f"--initial-cluster=default=unix://{_PEER}",
                    "--log-level=warn",
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Where it ended at once, `_opened` says so, with what it said.
        with contextlib.suppress(ProcessLookupError):
            self.place.write(self._record, Process.of(child.pid))

    async def _opened(self) -> Any:
        from keelback.storage import etcd
        from keelback.storage.protocol import Unavailable

        deadline = self.clock.monotonic() + START_SECONDS
        while True:
            try:
                await (await etcd.open_store((self.server,), self.clock, patience_seconds=_POLL_SECONDS)).close()
                break
            except Unavailable as error:
                if self.process() is None:
                    raise ClusterError(f"etcd ended: {self._last_words()}") from error
                if self.clock.monotonic() > deadline:
                    raise ClusterError(f"etcd does not answer: {self._last_words()}") from error
            await self.clock.sleep(_POLL_SECONDS)
        # From now on it is waited for with more patience.
        return await etcd.open_store((self.server,), self.clock)

    async def _keep(self) -> NoReturn:
        """Start it again when it ends: the store waits for it meanwhile."""
        while True:
            process = self.process()
            if process is None:
                _log.warning("etcd has ended and is started again")
                self._launch()
                await self.clock.sleep(_AGAIN_SECONDS)
            else:
                await process.wait_gone(_STOP_SECONDS)

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").splitlines()
        return os.linesep.join(lines[-_LOG_LINES:])
