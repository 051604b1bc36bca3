"""Health checks answer with Kubernetes' texts."""

from __future__ import annotations

import asyncio

import pytest

from keelback.component.health import HealthChecks
from keelback.component.http import Request


async def broken() -> None:
    raise RuntimeError("no connection")


async def fine() -> None:
    return


def ask(path: str, query: str = "") -> tuple[int, str]:
    checks = HealthChecks("readyz")
    checks.add("etcd", broken)
    checks.add("informer-sync", fine)
    response = asyncio.run(checks.respond(Request("GET", path, query)))
    return response.status, response.content().decode()


@pytest.mark.parametrize(
    ("path", "query", "status", "text"),
    [
        (
            "/readyz",
            "",
            500,
            "[+]ping ok\n[-]etcd failed: reason withheld\n[+]informer-sync ok\nreadyz check failed\n",
        ),
        ("/readyz", "exclude=etcd", 200, "ok"),
        (
            "/readyz",
            "exclude=etcd&exclude=foo&verbose",
            200,
            "[+]ping ok\n[+]etcd excluded: ok\n[+]informer-sync ok\n"
            'warn: some health checks cannot be excluded: no matches for "foo"\nreadyz check passed\n',
        ),
        ("/readyz/ping", "", 200, "ok"),
        ("/readyz/etcd", "", 500, "internal server error: no connection\n"),
        ("/readyz/none", "", 404, "404 page not found\n"),
    ],
)
def test_answers(path: str, query: str, status: int, text: str) -> None:
    assert ask(path, query) == (status, text)


def test_how_they_went_is_counted() -> None:
    async def main() -> str:
        checks = HealthChecks("readyz")
        checks.add("etcd", broken)
        await checks.failures()
        checks.add("etcd", fine)
        await checks.failures()
        return checks.results.metrics.exposition().decode()

    lines = asyncio.run(main()).splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1' in lines
    assert 'kubernetes_healthchecks_total{name="etcd",status="error",type="readyz"} 1' in lines
    assert 'kubernetes_healthchecks_total{name="etcd",status="success",type="readyz"} 1' in lines
