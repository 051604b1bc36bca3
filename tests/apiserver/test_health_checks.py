"""The server's checks fail for what they are named after."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

from keelback.apiserver import health_checks
from keelback.apiserver.health_checks import StartHooks
from keelback.apiserver.store_places import StorePlaces
from keelback.component.health import HealthResults, ping
from keelback.component.http import Request, Response
from keelback.concurrency.clock import SystemClock
from keelback.storage.embedded import EmbeddedStore
from keelback.storage.key_index import KeyIndex
from keelback.storage.memory import MemoryLog
from keelback.storage.protocol import KeyValue, StorageError
from keelback.testing.api import ADMINISTRATOR, api_server

HOOKS = (
    "crd-informer-synced",
    "start-service-ip-repair-controllers",
    "start-system-namespaces-controller",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "start-kubernetes-service-cidr-controller",
    "bootstrap-controller",
    "start-cluster-authentication-info-controller",
    "kube-apiserver-autoregistration",
)
HOOK_CHECKS = tuple(f"poststarthook/{name}" for name in HOOKS)
CHECKS = {
    "healthz": ("ping", "etcd", *HOOK_CHECKS),
    "livez": ("ping", "etcd", *HOOK_CHECKS),
    "readyz": ("ping", "etcd", "etcd-readiness", "informer-sync", *HOOK_CHECKS, "shutdown"),
}


async def ask(*paths: str) -> list[tuple[int, str]]:
    answers = []
    async with asyncio.timeout(30), api_server() as server:
        for path in paths:
            place, _, query = path.partition("?")
            answer = await server.handle(Request("GET", place, query, identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            answers.append((answer.status, answer.content().decode()))
    return answers


def test_a_server_that_has_started_passes_all() -> None:
    answers = asyncio.run(ask(*(f"/{name}?verbose" for name in CHECKS)))
    for (name, checks), answer in zip(CHECKS.items(), answers, strict=True):
        assert answer == (200, "".join(f"[+]{one} ok\n" for one in checks) + f"{name} check passed\n")


def test_each_has_a_path_that_the_index_lists() -> None:
    every = sorted(f"/{name}/{one}" for name, checks in CHECKS.items() for one in checks)
    *answers, (_, index), (_, other) = asyncio.run(ask(*every, "/", "/index.html"))
    assert set(answers) == {(200, "ok")}
    paths = json.loads(index)["paths"]
    assert [one for one in paths if one.startswith(("/healthz/", "/livez/", "/readyz/"))] == every
    assert {"/healthz", "/livez", "/readyz"} < set(paths)
    assert other == index


def test_how_they_went_is_a_metric() -> None:
    *_, (status, text) = asyncio.run(ask("/readyz", "/readyz?exclude=etcd", "/livez", "/readyz/ping", "/metrics/slis"))
    assert status == 200
    lines = text.splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1' in lines
    assert 'kubernetes_healthchecks_total{name="etcd",status="success",type="readyz"} 1' in lines
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} 2' in lines
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 1' in lines
    assert "healthz" not in text


def failing(
    endpoint: str, finished: Sequence[str] = HOOKS, *, feed_follows: bool = True, store_answers: bool = True
) -> set[str]:
    class Store(EmbeddedStore):
        async def get(self, key: str) -> KeyValue | None:
            if not store_answers:
                raise StorageError("no disk")
            return await super().get(key)

    async def main() -> set[str]:
        store = Store(MemoryLog(), KeyIndex(), SystemClock())
        places = StorePlaces(store, (), SystemClock(), random.Random(0))
        places.main.feed.is_following = feed_follows
        hooks = StartHooks()
        hooks.finish(*finished)
        found = {one.endpoint: one for one in health_checks.endpoints(places, hooks, HealthResults(), {}, ping)}
        try:
            return set(await found[endpoint].failures())
        finally:
            await store.close()

    return asyncio.run(main())


def test_a_store_that_does_not_answer() -> None:
    assert failing("readyz", store_answers=False) == {"etcd", "etcd-readiness"}
    assert failing("livez", store_answers=False) == {"etcd"}


def test_caches_that_start_anew_make_a_server_unready_not_dead() -> None:
    assert failing("readyz", feed_follows=False) == {"informer-sync"}
    assert not failing("livez", feed_follows=False)


def test_what_is_not_done_yet() -> None:
    assert failing("livez", HOOKS[1:]) == {"poststarthook/crd-informer-synced"}
