"""The API server of `bench/fairness.py --loop`: its event loop measures itself, in CPU time, from one SIGUSR1 to the
next, and says then what a request of the quiet tenant waits for.

`read` is the mean time until the next look at the sockets for who arrives at any moment: half of the iteration that is
under way, those weighted by how long they are. `answered` is from then until the answer has been written.
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import apiserver_process

from keelback.component import event_loop
from keelback.component.http import Request, Response
from keelback.component.http1 import HTTPConnection

_QUIET = "Bearer quiet-token"


class Meter:
    """What the loop has done since it was switched on."""

    def __init__(self) -> None:
        self.is_on = False
        self._iterations: list[float] = []
        self._answered: list[float] = []
        self._began = 0.0

    def switch(self) -> None:
        """Begin, or end and tell."""
        self.is_on = not self.is_on
        if self.is_on:
            self._iterations, self._answered = [], []
            self._began = time.thread_time()
            self._tick()
            return
        took = self._iterations
        told = {
            "read": sum(one * one for one in took) / 2 / sum(took) * 1e3,
            "answered": statistics.median(self._answered) * 1e3,
            "longest": max(took) * 1e3,
        }
        print(json.dumps(told), flush=True)

    def answered(self, seconds: float) -> None:
        """A quiet tenant's request has been answered, so long after it was read."""
        if self.is_on:
            self._answered.append(seconds)

    def _tick(self) -> None:
        if self.is_on:
            now = time.thread_time()
            self._iterations.append(now - self._began)
            self._began = now
            asyncio.get_running_loop().call_soon(self._tick)


def measure(meter: Meter) -> None:
    """Have connections tell when requests of the quiet tenant are read, and when they are answered."""
    receive, send = HTTPConnection.data_received, HTTPConnection._send
    read_at: dict[HTTPConnection, float] = {}

    def data_received(self: HTTPConnection, data: bytes) -> None:
        read_at[self] = time.thread_time()
        receive(self, data)

    async def send_measured(self: HTTPConnection, request: Request, response: Response, keep_alive: bool) -> None:
        await send(self, request, response, keep_alive)
        if request.headers.get("authorization") == _QUIET:
            meter.answered(time.thread_time() - read_at[self])

    patched: Any = HTTPConnection
    patched.data_received, patched._send = data_received, send_measured


async def main(folder: Path, is_fair: bool) -> None:
    meter = Meter()
    measure(meter)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, meter.switch)
    await apiserver_process.main(folder, is_fair, ())


if __name__ == "__main__":
    event_loop.run(main(Path(sys.argv[1]), sys.argv[2:3] != ["false"]))
