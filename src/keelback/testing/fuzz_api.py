"""`python -m keelback.testing.fuzz_api`: what the API server does with requests nobody should send.

Holds: an answer for each, in bounded time; no 5xx but those that Kubernetes gives too; nothing logged as a defect.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from keelback.api.builtin import STORED
from keelback.apiserver.assembly import RunningAPIServer
from keelback.component import logs
from keelback.component.http import Request, Response, StreamingResponse
from keelback.component.serving import Server
from keelback.testing.api import api_server
from keelback.testing.fuzzing import RequestMaker
from keelback.testing.fuzzing_wire import WireMaker

ROUND = 2000
"""Requests to one server; each round has a seed of its own and begins anew."""
HANG_SECONDS = 30.0
CPU_SECONDS = 5.0
"""More of the processor's time than this for one request is a finding."""
WIRE_SHARE = 10
"""One request on a connection for so many without one."""
TOKEN = "admin-token"  # noqa: S105 - the administrator of every test server
LONGEST_QUERY = 60_000
STREAM_SECONDS = 0.5
"""How long a stream is listened to, and an answer that does not come is waited for."""
MOST_ANSWER_BYTES = 1 << 20
ALIVE = f"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
"""What is always answered 200."""
WATCHES = 20
"""How many watches run at once; the next one ends the oldest."""
_SHOWN = 2000
_EVENT_TYPES = frozenset(("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"))
# Where Kubernetes itself answers 5xx.
_UPSTREAM = re.compile(
    "|".join(
        (
            "failed to create typed patch object",
            "failed to create typed live object",
            "does not contain declared merge key",
            "unknown patch type: ",
            "lists of lists are not supported",
            "strconv.ParseUint: parsing ",
            "resourceVersion should not be set on objects to be created",
            "target.name: Required value",
            "target.kind: Unsupported value",
            "request to convert CR to an invalid group/version",
            "error dialing backend",
            "no preferred addresses found; known addresses: ",
            "range is full",
            "This pod has more than one PodDisruptionBudget",
            "Too large resource version",
            "no endpoints available for ",
            "error trying to reach service: ",
            "list element types are not identical: ",
            # What an apply meets when its result is made an object.
            "quantities must match the regular expression ",
            "illegal base64 data at input byte ",
            "parsing time ",
            "json: cannot unmarshal ",
        )
    )
)
_UPSTREAM_INTERNAL = re.compile(
    r"Internal error occurred: (failed to allocate a serviceIP: range is full|the spec replicas field )"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A request that was answered as none should be."""

    seed: int
    number: int
    problem: str
    request: Request

    def __str__(self) -> str:
        one = self.request
        sent = f"{one.method} {one.path}?{one.query} {dict(one.headers)}"
        return f"seed {self.seed}, request {self.number}: {self.problem}\n  {sent}\n  {one.body[:_SHOWN]!r}"


@dataclass(slots=True)
class Outcome:
    """What a run has seen."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_request: Request | None = None
    events: int = 0
    """What watches were sent."""
    findings: list[Finding] = field(default_factory=list)


class _Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> object:
        self.lines.append(text)
        return None

    def flush(self) -> object:
        return None


class _Client:
    """The client of a stream: takes everything, and sees that each event is whole."""

    def __init__(self, *, takes_frames: bool = False) -> None:
        """`takes_frames`: events come in protobuf, each with its length before it."""
        self.closed = False
        self.events = 0
        self._gone = asyncio.Event()
        self._frames = bytearray() if takes_frames else None

    def write(self, data: bytes) -> None:
        """Take some events. Raises ValueError for what is none."""
        if self._frames is not None:
            self._take(self._frames, data)
            return
        for line in data.splitlines():
            event = msgspec.json.decode(line)
            if event["type"] not in _EVENT_TYPES or not isinstance(event["object"], dict):
                raise ValueError(f"no event: {line[:200]!r}")
            self.events += 1

    def _take(self, frames: bytearray, data: bytes) -> None:
        frames += data
        while len(frames) >= 4 and len(frames) >= 4 + (size := int.from_bytes(frames[:4], "big")):
            event, frames[: 4 + size] = bytes(frames[4 : 4 + size]), b""
            # A WatchEvent begins with its type, which is field 1.
            if event[:1] != b"\x0a" or event[2 : 2 + event[1]].decode() not in _EVENT_TYPES:
                raise ValueError(f"no event: {event[:200]!r}")
            self.events += 1

    async def drain(self) -> None:
        """Nothing waits."""

    async def wait_closed(self) -> None:
        await self._gone.wait()

    def leave(self) -> None:
        """Go away."""
        self.closed = True
        self._gone.set()


class Watches:
    """The watches that run beside the requests. What is wrong with one is a finding when it ends."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._running: deque[tuple[_Client, asyncio.Task[None], Finding]] = deque()

    async def add(self, response: StreamingResponse, about: Finding) -> None:
        """Watch beside the others; the oldest makes room."""
        kind = {name.lower(): value for name, value in response.headers.items()}.get("content-type", "")
        client = _Client(takes_frames=kind.startswith("application/vnd.kubernetes.protobuf"))
        self._running.append((client, asyncio.ensure_future(_served(response, client)), about))
        await asyncio.sleep(0)
        if len(self._running) > WATCHES:
            await self._end_oldest()

    async def end(self) -> None:
        """End them all."""
        while self._running:
            await self._end_oldest()

    async def _end_oldest(self) -> None:
        client, task, about = self._running.popleft()
        client.leave()
        problem = ""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await task
        except TimeoutError:
            problem = f"a watch did not end in {HANG_SECONDS} seconds"
        except Exception as error:  # whatever gets out is a finding
            problem = f"a watch failed: {error!r}"
        self._outcome.events += client.events
        if problem:
            self._outcome.findings.append(replace(about, problem=problem))


async def _served(response: StreamingResponse, client: _Client) -> None:
    await response.serve(client)


async def run_round(seed: int, requests: int, outcome: Outcome) -> None:
    """One server, and so many requests from one seed."""
    log = _Log()
    logs.configure(level=logs.ERROR, stream=log)
    try:
        async with api_server(seed=seed) as api:
            maker = RequestMaker(random.Random(seed))
            for request in [*(maker.valid(kind, "fuzz") for kind in STORED), *maker.armed()]:
                await api.handle(request)
            watches = Watches(outcome)
            for number in range(requests):
                await _one(api, maker.next(), log, outcome, watches, (seed, number))
            await watches.end()
            await _on_the_wire(api, maker, log, outcome, seed, requests // WIRE_SHARE)
    finally:
        logs.configure(level=logs.WARNING)


async def _on_the_wire(
    api: RunningAPIServer, maker: RequestMaker, log: _Log, outcome: Outcome, seed: int, requests: int
) -> None:
    """The same over connections, each with requests of its own: spoilt where only the front door sees it."""
    wire = WireMaker(random.Random(seed), TOKEN)
    async with Server(api.termination.handle) as server:
        for number in range(requests):
            request = maker.next()
            if len(request.query) > LONGEST_QUERY:
                continue
            sent = wire.written(request)
            log.lines.clear()
            problem = ""
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    problem = _wire_problem(await _exchanged(server.bound_port, wire.pieces(sent)), outcome)
                    problem = problem or _wire_problem(
                        await _exchanged(server.bound_port, (ALIVE,)), outcome, status=200
                    )
            except TimeoutError:
                problem = f"no answer in {HANG_SECONDS} seconds"
            if log.lines:
                problem = f"{problem}\nlogged: {''.join(log.lines)[-3000:]}"
            outcome.requests += 1
            if problem:
                raw = Request(request.method, request.path, request.query, {"on": "the wire"}, sent)
                outcome.findings.append(Finding(seed, number, problem, raw))


async def _exchanged(port: int, pieces: Sequence[bytes]) -> bytes:
    """What a connection is answered that says no more after this, as far as it goes in a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for one in pieces:
            writer.write(one)
            await asyncio.sleep(0)
        writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STREAM_SECONDS):
                while len(answer) < MOST_ANSWER_BYTES and (data := await reader.read(1 << 16)):
                    answer += data
    except OSError:
        pass  # a server may close on what it does not understand
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


def _wire_problem(answer: bytes, outcome: Outcome, status: int = 0) -> str:
    if not answer:
        return "no answer where one was due" if status else ""
    line, _, rest = answer.partition(b"\r\n")
    parts = line.split(b" ", 2)
    if not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        return f"no HTTP: {answer[:300]!r}"
    got = int(parts[1])
    outcome.statuses[got] += 1
    if status and got != status:
        return f"a good request was answered {got}"
    text = " ".join(rest.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").split())
    return f"{got}: {text[:400]}" if got >= 500 and not _is_upstreams(text) else ""


async def _one(
    api: RunningAPIServer, request: Request, log: _Log, outcome: Outcome, watches: Watches, at: tuple[int, int]
) -> None:
    log.lines.clear()
    started = time.process_time()
    problem = ""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            response = await api.handle(request)
            if isinstance(response, StreamingResponse):
                await watches.add(response, Finding(*at, "", request))
    except TimeoutError:
        problem = f"no answer in {HANG_SECONDS} seconds"
    except Exception as error:  # whatever gets out is a finding
        problem = f"raised {error!r}"
    else:
        status = int(response.status) if isinstance(response, Response | StreamingResponse) else 101
        outcome.statuses[status] += 1
        if isinstance(response, Response) and status >= 500:
            text = " ".join(response.content().decode("utf-8", "replace").split())  # YAML breaks lines
            problem = "" if _is_upstreams(text) else f"{status}: {text[:400]}"
    if log.lines:
        problem = f"{problem}\nlogged: {''.join(log.lines)[-3000:]}"
    outcome.requests += 1
    took = time.process_time() - started
    if took > outcome.slowest:
        outcome.slowest, outcome.slowest_request = took, request
    if took > CPU_SECONDS:
        problem = f"{problem}\ntook {took:.1f} seconds of the processor".strip()
    if problem:
        outcome.findings.append(Finding(*at, problem, request))


def _is_upstreams(text: str) -> bool:
    """Whether this is a failure Kubernetes has too."""
    known = _UPSTREAM_INTERNAL if "Internal error occurred" in text else _UPSTREAM
    return known.search(text) is not None


def resident_bytes() -> int:
    """The memory this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Run; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="how many in all (20000)")
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed; each round of 2000 has the next")
    parser.add_argument("--findings", type=int, default=20, help="stop after so many (20)")
    parser.add_argument("--memory", type=int, default=600, help="the MiB that may be resident between rounds (600)")
    options = parser.parse_args()
    outcome = Outcome()
    seed, shown = options.seed, 0
    while outcome.requests < options.requests and len(outcome.findings) < options.findings:
        asyncio.run(run_round(seed, min(ROUND, options.requests - outcome.requests), outcome))
        gc.collect()
        sys.stdout.write(
            f"seed {seed}: {outcome.requests} requests, {len(outcome.findings)} findings, slowest "
            f"{outcome.slowest:.2f} s, {outcome.events} events, {resident_bytes() >> 20} MiB resident\n"
        )
        sys.stdout.writelines(f"\n{one}\n" for one in outcome.findings[shown:])
        shown = len(outcome.findings)
        sys.stdout.flush()
        seed += 1
        if resident_bytes() > options.memory << 20:
            sys.stdout.write(f"more than {options.memory} MiB are resident\n")
            return 1
    slowest = outcome.slowest_request
    if slowest is not None:
        sys.stdout.write(
            f"\nslowest, {outcome.slowest:.2f} s: {slowest.method} {slowest.path} {slowest.body[:_SHOWN]!r}\n"
        )
    sys.stdout.write(f"statuses: {dict(sorted(outcome.statuses.items()))}\n")
    return bool(outcome.findings)


if __name__ == "__main__":
    sys.exit(main())
