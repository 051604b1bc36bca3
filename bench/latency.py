"""How long others wait: gets beside a stream of 100-MB lists, and while the OpenAPI documents are made.

    python bench/latency.py [seconds]

Wall time, of a client that asks for one object after the other: other work on the machine lengthens it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from apiserver import BASE, Connection, pod

CONFIG_MAPS = 1_000
BYTES = 100_000


def config_map(number: int) -> bytes:
    tree = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": f"large-{number}"},
        "data": {"text": f"{number:08}" * (BYTES // 8)},
    }
    return json.dumps(tree).encode()


async def gets(connection: Connection, until: asyncio.Future[None]) -> list[float]:
    """Milliseconds of one get after the other."""
    taken = []
    while not until.done():
        started = time.perf_counter()
        status, _ = await connection.ask("GET", f"{BASE}/web-74b97b66ff-00000")
        assert status == 200
        taken.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.001)
    return sorted(taken)


def report(what: str, taken: list[float], aim: str) -> None:
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(f"{what:<52} median {middle:6.2f} ms, p99 {late:6.2f} ms, longest {taken[-1]:6.2f} ms   {aim}")


async def run(seconds: float, port: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    prober, other = [await Connection(port, context).open() for _ in range(2)]
    assert (await other.ask("POST", BASE, pod(0)))[0] == 201
    report("get, nothing else asked", await gets(prober, asyncio.ensure_future(asyncio.sleep(seconds / 4))), "")

    async def ask_for_documents() -> None:
        _, index = await other.ask("GET", "/openapi/v3")
        places = [one["serverRelativeURL"] for one in json.loads(index)["paths"].values()]
        for path in ("/openapi/v2", *places):
            status, _ = await other.ask("GET", path)
            assert status == 200, path

    taken = await gets(prober, asyncio.ensure_future(ask_for_documents()))
    report("get, all OpenAPI documents being made", taken, "aim: no stall over 10")
    for number in range(CONFIG_MAPS):
        status, _ = await other.ask("POST", "/api/v1/namespaces/default/configmaps", config_map(number))
        assert status == 201
    script = str(Path(__file__).with_name("lists_process.py"))
    lister = await asyncio.create_subprocess_exec(sys.executable, script, str(port), ca, stdout=subprocess.PIPE)
    assert lister.stdout is not None
    size = int(await lister.stdout.readline())
    taken = await gets(prober, asyncio.ensure_future(asyncio.sleep(seconds)))
    lister.kill()
    lists = (await lister.stdout.read()).count(b"\n")
    await lister.wait()
    report(f"get, beside {lists / seconds:.1f} lists of {size / 1e6:.0f} MB a second", taken, "aim: p99 50")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).with_name("apiserver_process.py")), folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            try:
                asyncio.run(run(seconds, int(server.stdout.readline()), str(Path(folder) / "pki" / "ca.crt")))
            finally:
                server.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(timeout=20)


if __name__ == "__main__":
    main()
