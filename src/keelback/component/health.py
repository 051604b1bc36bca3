"""Named health checks behind `/livez`, `/readyz` and `/healthz`, with the texts Kubernetes answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from keelback.component import logs
from keelback.component.http import Request, Response, parse_query, text_response
from keelback.component.metrics import Registry

# A check raises, with the reason, where it fails.
Check: TypeAlias = Callable[[], Awaitable[None]]

_log = logs.logger("health")


async def ping() -> None:
    """The check that passes whenever the server answers at all."""


class HealthResults:
    """How often each check has passed and failed, and how it went last: what `/metrics/slis` shows (KEP-3466)."""

    def __init__(self) -> None:
        self.metrics = Registry()
        self._last = self.metrics.gauge(
            "kubernetes_healthcheck",
            "[STABLE] This metric records the result of a single healthcheck.",
            ("name", "type"),
        )
        self._all = self.metrics.counter(
            "kubernetes_healthchecks_total",
            "[STABLE] This metric records the results of all healthcheck.",
            ("name", "status", "type"),
        )

    def note(self, endpoint: str, name: str, *, passed: bool) -> None:
        """Record how a check went on which endpoint."""
        self._last.set(float(passed), name, endpoint)
        self._all.inc(name, "success" if passed else "error", endpoint)


@dataclass(slots=True)
class HealthChecks:
    """The checks of one endpoint, named for it (`livez`); each is asked in order on every request."""

    endpoint: str
    checks: dict[str, Check] = field(default_factory=lambda: {"ping": ping})
    timeout_seconds: float = 10.0
    results: HealthResults = field(default_factory=HealthResults)

    def add(self, name: str, check: Check) -> None:
        """Add a check under the name that `?verbose` and `?exclude=` know."""
        self.checks[name] = check

    def paths(self) -> list[str]:
        """Where the endpoint and each of its checks are asked."""
        return [f"/{self.endpoint}", *(f"/{self.endpoint}/{name}" for name in self.checks)]

    async def failures(self, excluded: frozenset[str] = frozenset()) -> dict[str, str]:
        """The reasons of the checks that fail, by name."""
        found = {}
        for name, check in self.checks.items():
            if name in excluded:
                continue
            reason = await self._reason(check)
            self.results.note(self.endpoint, name, passed=reason is None)
            if reason is not None:
                found[name] = reason
        return found

    async def respond(self, request: Request) -> Response:
        """Answer `/livez` (all checks) or `/livez/NAME` (one of them)."""
        name = request.path.rstrip("/").removeprefix(f"/{self.endpoint}").strip("/")
        if name:
            return await self._respond_one(name)
        parameters = parse_query(request.query)
        excluded = frozenset(value for key, value in parameters if key == "exclude")
        failed = await self.failures(excluded)
        if failed:
            _log.warning("Health check failed", endpoint=self.endpoint, failed=failed)
            return text_response(f"{self._verbose(failed, excluded)}{self.endpoint} check failed\n", 500)
        if any(key == "verbose" for key, _ in parameters):
            return text_response(f"{self._verbose(failed, excluded)}{self.endpoint} check passed\n")
        return text_response("ok")

    async def _respond_one(self, name: str) -> Response:
        check = self.checks.get(name)
        if check is None:
            return text_response("404 page not found\n", 404)
        reason = await self._reason(check)
        return text_response("ok") if reason is None else text_response(f"internal server error: {reason}\n", 500)

    async def _reason(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await check()
        except Exception as error:
            return str(error) or type(error).__name__
        return None

    def _verbose(self, failed: dict[str, str], excluded: frozenset[str]) -> str:
        # The reason is withheld as upstream does: the endpoint may be public.
        lines = [
            f"[+]{name} excluded: ok\n"
            if name in excluded
            else f"[-]{name} failed: reason withheld\n"
            if name in failed
            else f"[+]{name} ok\n"
            for name in self.checks
        ]
        if unknown := sorted(excluded - self.checks.keys()):
            names = ",".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}\n")
        return "".join(lines)
