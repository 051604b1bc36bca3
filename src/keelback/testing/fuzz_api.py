"""`python -m keelback.testing.fuzz_api`: what the API server does with requests nobody should send.

Holds: an answer for each, in bounded time; no 5xx but those that Kubernetes gives too; nothing logged as a defect.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from keelback.api.builtin import STORED
from keelback.apiserver.assembly import RunningAPIServer
from keelback.component import logs
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse
from keelback.testing.api import api_server
from keelback.testing.fuzzing import RequestMaker

ROUND = 2000
"""Requests to one server; each round has a seed of its own and begins anew."""
HANG_SECONDS = 30.0
_SHOWN = 2000
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
            "Binding.target.name: Required value",
            "request to convert CR to an invalid group/version",
            "error dialing backend",
            "range is full",
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


class _ClosedWriter:
    """The client of a stream that goes at once."""

    closed = True

    def write(self, data: bytes) -> None:
        """Drop it."""

    async def drain(self) -> None:
        """Nothing waits."""

    async def wait_closed(self) -> None:
        """It is gone already."""


async def run_round(seed: int, requests: int, outcome: Outcome) -> None:
    """One server, and so many requests from one seed."""
    log = _Log()
    logs.configure(level=logs.ERROR, stream=log)
    try:
        async with api_server(seed=seed) as api:
            maker = RequestMaker(random.Random(seed))
            for kind in STORED:
                await _ask(api, maker.valid(kind, "fuzz"))
            for number in range(requests):
                await _one(api, maker.next(), log, outcome, (seed, number))
    finally:
        logs.configure(level=logs.WARNING)


async def _one(api: RunningAPIServer, request: Request, log: _Log, outcome: Outcome, at: tuple[int, int]) -> None:
    log.lines.clear()
    started = time.perf_counter()
    problem = ""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            response = await _ask(api, request)
    except TimeoutError:
        problem = f"no answer in {HANG_SECONDS} seconds"
    except Exception as error:  # whatever gets out is a finding
        problem = f"raised {error!r}"
    else:
        status = response.status if isinstance(response, Response | StreamingResponse) else 101
        outcome.statuses[status] += 1
        if isinstance(response, Response) and status >= 500:
            text = " ".join(response.content().decode("utf-8", "replace").split())  # YAML breaks lines
            is_upstream = _UPSTREAM.search(text) is not None and "Internal error occurred" not in text
            problem = "" if is_upstream else f"{status}: {text[:400]}"
    if log.lines:
        problem = f"{problem}\nlogged: {''.join(log.lines)[-3000:]}"
    outcome.requests += 1
    took = time.perf_counter() - started
    if took > outcome.slowest:
        outcome.slowest, outcome.slowest_request = took, request
    if problem:
        outcome.findings.append(Finding(*at, problem, request))


async def _ask(api: RunningAPIServer, request: Request) -> AnyResponse:
    response = await api.handle(request)
    if isinstance(response, StreamingResponse):
        await response.serve(_ClosedWriter())
    return response


def resident_bytes() -> int:
    """The memory this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Run; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="how many in all (20000)")
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed; each round of 2000 has the next")
    parser.add_argument("--findings", type=int, default=20, help="stop after so many (20)")
    options = parser.parse_args()
    outcome = Outcome()
    seed = options.seed
    while outcome.requests < options.requests and len(outcome.findings) < options.findings:
        asyncio.run(run_round(seed, min(ROUND, options.requests - outcome.requests), outcome))
        gc.collect()
        sys.stdout.write(
            f"seed {seed}: {outcome.requests} requests, {len(outcome.findings)} findings, slowest "
            f"{outcome.slowest:.2f} s, {resident_bytes() >> 20} MiB resident\n"
        )
        sys.stdout.flush()
        seed += 1
    for one in outcome.findings:
        sys.stdout.write(f"\n{one}\n")
    slowest = outcome.slowest_request
    if slowest is not None:
        sys.stdout.write(
            f"\nslowest, {outcome.slowest:.2f} s: {slowest.method} {slowest.path} {slowest.body[:_SHOWN]!r}\n"
        )
    sys.stdout.write(f"statuses: {dict(sorted(outcome.statuses.items()))}\n")
    return bool(outcome.findings)


if __name__ == "__main__":
    sys.exit(main())
