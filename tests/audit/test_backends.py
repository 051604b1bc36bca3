"""Events are lost only where there is no room for them, and then it is counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from keelback.audit import delivery, events
from keelback.audit.backends import AuditMetrics, Backend, Truncating, Union
from keelback.audit.buffered import Buffered
from keelback.audit.events import AuditedUser, Event, ObjectReference, ResponseStatus
from keelback.audit.log_backend import LogBackend
from keelback.audit.options import AuditError, AuditOptions, BatchConfig
from keelback.audit.rotating_file import RotatingFile
from keelback.component.flags import FlagError
from keelback.component.http import Request, Response
from keelback.component.metrics import Registry
from keelback.component.serving import Server
from keelback.concurrency.clock import SystemClock
from keelback.testing.clock import HandClock

CLOCK = SystemClock()
TIME = "2026-11-23T16:00:00.120000Z"


def event(audit_id: str = "1", **more: object) -> Event:
    facts = {
        "level": "Request",
        "audit_id": audit_id,
        "stage": "ResponseComplete",
        "request_uri": "/api/v1/namespaces/default/pods",
        "verb": "create",
        "user": AuditedUser("jane", groups=("a", "b")),
        "request_received_timestamp": TIME,
        "stage_timestamp": TIME,
        **more,
    }
    return Event(**facts)  # type: ignore[arg-type]


class Kept:
    """A backend that keeps what it gets, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def process(self, given: Sequence[Event]) -> bool:
        await self.gate.wait()
        self.batches.append([one.audit_id for one in given])
        return True

    async def run(self) -> None:
        return None

    async def close(self) -> None:
        return None


def metrics() -> tuple[AuditMetrics, Registry]:
    registry = Registry()
    return AuditMetrics(registry), registry


def lost(registry: Registry, plugin: str) -> bool:
    return f'apiserver_audit_error_total{{plugin="{plugin}"}} 1\n'.encode() in registry.exposition()


def test_the_line_of_text_has_the_most_important() -> None:
    status = ResponseStatus({}, code=201)
    told = event(
        source_ips=("10.0.0.1",), user_agent="k", object_ref=ObjectReference(namespace="n"), response_status=status
    )
    assert events.text_line(told) == (
        '2026-11-23T16:00:00.12Z AUDIT: id="1" stage="ResponseComplete" ip="10.0.0.1" method="create" user="jane" '
        r'groups="\"a\",\"b\"" as="<self>" asgroups="<lookup>" user-agent="k" namespace="n" '
        'uri="/api/v1/namespaces/default/pods" response="201"'
    )


def test_a_file_begins_anew_when_it_is_large_and_old_ones_go(tmp_path: Path) -> None:
    async def main() -> None:
        clock = HandClock(datetime(2026, 11, 23, 16, 0, tzinfo=UTC))
        file = RotatingFile(tmp_path / "logs" / "audit.log", clock, max_bytes=10, max_backups=2, compresses=True)
        for number in range(5):
            file.write(b"line %d\n" % number)
            clock.advance(1)
            await asyncio.sleep(0)
        await file.close()

    asyncio.run(main())
    found = sorted((tmp_path / "logs").iterdir())
    assert [one.name for one in found] == [
        "audit-2026-11-23T16-00-03.000.log.gz",
        "audit-2026-11-23T16-00-04.000.log.gz",
        "audit.log",
    ]
    assert gzip.decompress(found[0].read_bytes()) == b"line 2\n"
    assert found[2].read_bytes() == b"line 4\n"
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in found)


def test_old_files_go_by_their_age(tmp_path: Path) -> None:
    async def main() -> None:
        clock = HandClock(datetime(2026, 11, 23, 16, 0, tzinfo=UTC))
        for _ in range(3):
            file = RotatingFile(tmp_path / "audit.log", clock, max_bytes=1, max_age_days=1)
            file.write(b"x\n")
            await file.close()
            clock.advance(2 * 86_400)

    asyncio.run(main())
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["audit-2026-11-27T16-00-00.000.log", "audit.log"]


def test_a_log_that_cannot_be_written_says_so() -> None:
    class Full:
        def write(self, data: bytes) -> None:
            raise OSError("no space left on device")

        async def close(self) -> None:
            return None

    async def main() -> None:
        counted, registry = metrics()
        assert not await LogBackend(Full(), counted).process([event()])
        assert lost(registry, "log")

    asyncio.run(main())


def test_what_is_too_large_loses_its_objects_then_itself() -> None:
    async def main() -> None:
        counted, registry = metrics()
        kept: list[Event] = []

        class Keeping(Kept):
            async def process(self, given: Sequence[Event]) -> bool:
                kept.extend(given)
                return await super().process(given)

        inner = Keeping()
        large = msgspec.Raw(msgspec.json.encode("x" * 500))
        size = len(events.encode(event()))
        backend = Truncating(inner, size + 100, 2 * size + 20, counted)
        await backend.process([event("1"), event("2", request_object=large), event("3", request_uri="/" + "y" * 500)])
        assert inner.batches == [["1"], ["2"]]
        assert kept[1].request_object is None
        assert kept[1].annotations == {"audit.k8s.io/truncated": "true"}
        assert lost(registry, "truncate")

    asyncio.run(main())


def test_batches_leave_when_they_are_full_or_late_and_no_faster_than_allowed() -> None:
    async def main() -> None:
        counted, _ = metrics()
        clock = HandClock()
        kept = Kept()
        config = BatchConfig(max_batch_size=2, max_wait_seconds=30, queries_per_second=0.1, burst=2)
        backend = Buffered(kept, config, clock, counted)
        running = asyncio.ensure_future(backend.run())
        await backend.process([event("1"), event("2"), event("3")])
        await _settle()
        assert kept.batches == [["1", "2"]]
        clock.advance(30)
        await _settle()
        assert kept.batches[1:] == [["3"]]
        running.cancel()

    asyncio.run(main())


def test_a_full_buffer_loses_what_comes_and_an_end_sends_what_is_kept() -> None:
    async def main() -> None:
        counted, registry = metrics()
        kept = Kept()
        backend = Buffered(kept, BatchConfig(buffer_size=3, max_batch_size=2), HandClock(), counted)
        assert await backend.process([event(str(number)) for number in range(4)])
        assert lost(registry, "buffered")
        await backend.close()
        assert kept.batches == [["0", "1"], ["2"]]

    asyncio.run(main())


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "webhook.conf"
    path.write_text(
        json.dumps(
            {
                "current-context": "audit",
                "contexts": [{"name": "audit", "context": {"cluster": "audit", "user": "server"}}],
                "clusters": [{"name": "audit", "cluster": {"server": server}}],
                "users": [{"name": "server", "user": {"token": "secret"}}],
            }
        )
    )
    return path


def built(**given: object) -> tuple[Backend | Union, Registry]:
    counted, registry = metrics()
    asked = AuditOptions(**given)  # type: ignore[arg-type]
    asked.check_audit()
    return delivery.backend(asked, CLOCK, random.Random(0), counted), registry


def test_a_webhook_gets_lists_and_is_tried_again(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def receive(request: Request) -> Response:
        seen.append(request)
        return Response(500 if len(seen) == 1 else 200)

    async def main() -> None:
        async with Server(receive) as server:
            path = kubeconfig(tmp_path, f"http://127.0.0.1:{server.bound_port}/audit")
            backend, _ = built(
                audit_webhook_config_file=str(path), audit_webhook_mode="blocking", audit_webhook_initial_backoff=0.001
            )
            assert await backend.process([event("1"), event("2")])
            await backend.close()

    asyncio.run(main())
    assert len(seen) == 2
    assert (seen[1].method, seen[1].path, seen[1].query) == ("POST", "/audit", "timeout=30s")
    assert seen[1].headers["authorization"] == "Bearer secret"
    sent = json.loads(seen[1].body)
    assert (sent["kind"], sent["apiVersion"], sent["metadata"]) == ("EventList", "audit.k8s.io/v1", {})
    assert [one["auditID"] for one in sent["items"]] == ["1", "2"]
    assert "kind" not in sent["items"][0]


def test_a_webhook_that_is_not_there_loses_events_in_words(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        path = kubeconfig(tmp_path, f"http://127.0.0.1:{port}")
        backend, registry = built(
            audit_webhook_config_file=str(path),
            audit_webhook_mode="blocking-strict",
            audit_webhook_initial_backoff=0.001,
        )
        assert not await backend.process([event()])
        assert lost(registry, "webhook")
        await backend.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"audit_log_path": "-", "audit_log_mode": "eager"}, "invalid audit log mode eager"),
        ({"audit_log_path": "-", "audit_log_format": "xml"}, "invalid audit log format xml"),
        ({"audit_log_path": "-", "audit_log_maxage": -1}, "--audit-log-maxage -1 can't be a negative number"),
        ({"audit_log_path": "-", "audit_log_version": "audit.k8s.io/v1beta1"}, "invalid group version"),
        (
            {"audit_webhook_config_file": "x", "audit_webhook_batch_buffer_size": 0},
            "invalid audit batch webhook buffer size 0, must be a positive number",
        ),
        (
            {"audit_webhook_config_file": "x", "audit_webhook_batch_throttle_qps": 0.0},
            "invalid audit batch webhook throttle QPS 0.0, must be a positive number",
        ),
        (
            {"audit_log_path": "-", "audit_log_truncate_max_event_size": 20 << 20},
            "must be greater than max event size",
        ),
    ],
)
def test_flags_that_cannot_be_are_refused(given: dict[str, object], problem: str) -> None:
    with pytest.raises(FlagError, match=problem):
        built(**given)


def test_what_cannot_be_set_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="--audit-log-path: "):
        built(audit_log_path=str(tmp_path))
    with pytest.raises(AuditError, match=r"initializing audit webhook: .* does not exist"):
        built(audit_webhook_config_file=str(tmp_path / "none"))
    with pytest.raises(AuditError, match=r"loading audit policy file: .*: No such file"):
        delivery.policy(AuditOptions(audit_policy_file=str(tmp_path / "none"), audit_log_path="-"))
    assert delivery.policy(AuditOptions(audit_log_path="-")) is None
    with pytest.raises(AuditError, match="No such file"):
        delivery.policy(AuditOptions(audit_policy_file=str(tmp_path / "none")))
    (tmp_path / "policy").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]")
    assert delivery.policy(AuditOptions(audit_policy_file=str(tmp_path / "policy"))) is None
