"""Two or more trees of Keelback, their API servers up at the same time and asked by turns: what a change costs.

    python bench/side_by_side.py TREE [TREE ...] [--rounds 12]

A machine that is busy is busy for all of them alike. For each kind of request, the least and the median of the rounds,
in CPU milliseconds of the server process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import apiserver as bench

_PODS, _GETS, _LISTS, _DEPLOYMENTS = 320, 60, 10, 64
_WARM_AFTER = 2
_Ask: TypeAlias = Callable[[bench.Connection, range], Awaitable[None]]


class Tree(NamedTuple):
    """A server that is up."""

    path: Path
    port: int
    trust: ssl.SSLContext
    pid: int


@contextmanager
def serve(path: Path, folder: Path) -> Iterator[Tree]:
    """A tree's server, as long as the context lasts."""
    folder.mkdir()
    command = [sys.executable, str(path / "bench" / "apiserver_process.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(path / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            trust = ssl.create_default_context(cafile=folder / "pki" / "ca.crt")
            yield Tree(path, port, trust, server.pid)
        finally:
            server.terminate()


class Asker:
    """Asks one tree, and keeps what it took."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.seen: dict[str, list[float]] = {}

    async def open(self) -> None:
        self.clients = [await bench.Connection(self.tree.port, self.tree.trust).open() for _ in range(bench.CLIENTS)]

    async def ask(self, number: int) -> None:
        """One round."""
        pods = range(number * _PODS, (number + 1) * _PODS)
        await self._measure("create a pod", self._all(self._create, pods), _PODS)
        if number < _WARM_AFTER:
            return
        await self._measure("get a pod", self._all(self._get, range(_GETS * bench.CLIENTS)), _GETS * bench.CLIENTS)
        await self._measure("get a pod, one client", self._get(self.clients[0], range(300)), 300)
        await self._measure("list 500", self._list(_LISTS), _LISTS)
        numbers = range(number * _DEPLOYMENTS, (number + 1) * _DEPLOYMENTS)
        for what, image in (("creating", 0), ("changing", 1), ("changing nothing", 1)):
            self._image = image
            await self._measure(f"apply a Deployment, {what}", self._all(self._apply, numbers), _DEPLOYMENTS)

    async def _measure(self, what: str, work: Coroutine[Any, Any, None], count: int) -> None:
        self.seen.setdefault(what, []).append(await bench.measure(self.tree.pid, work, count))

    async def _all(self, ask: _Ask, numbers: range) -> None:
        await asyncio.gather(*(ask(one, numbers[at :: bench.CLIENTS]) for at, one in enumerate(self.clients)))

    async def _create(self, client: bench.Connection, numbers: range) -> None:
        for number in numbers:
            await client.ask("POST", bench.BASE, bench.pod(number))

    async def _get(self, client: bench.Connection, numbers: range) -> None:
        for _ in numbers:
            await client.ask("GET", f"{bench.BASE}/web-74b97b66ff-{random.randrange(2 * _PODS):05d}")

    async def _list(self, count: int) -> None:
        for _ in range(count):
            await self.clients[0].ask("GET", f"{bench.BASE}?limit=500")

    async def _apply(self, client: bench.Connection, numbers: range) -> None:
        for number in numbers:
            path = f"/apis/apps/v1/namespaces/default/deployments/web-{number}?fieldManager=bench"
            await client.ask("PATCH", path, bench.deployment(number, self._image), "application/apply-patch+yaml")


async def run(trees: list[Tree], rounds: int) -> None:
    askers = [Asker(tree) for tree in trees]
    for asker in askers:
        await asker.open()
    for number in range(rounds):
        for asker in askers:
            await asker.ask(number)
    for what in askers[0].seen:
        figures = [f"{min(one.seen[what]):8.4f} ({statistics.median(one.seen[what]):.4f})" for one in askers]
        print(f"{what:<36}{''.join(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = enumerate(given.trees)
        trees = [stack.enter_context(serve(path.resolve(), Path(folder) / str(at))) for at, path in paths]
        asyncio.run(run(trees, given.rounds))


if __name__ == "__main__":
    main()
