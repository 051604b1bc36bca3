"""The typed client says what it means on the wire, and failures come back as what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from keelback.api.core_v1 import Binding, Pod
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, Status, Value, narrow
from keelback.client import ApplyPatch, Client, InProcessTransport, JSONPatch, MergePatch, StrategicMergePatch
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, Writer

POD = Pod(metadata=ObjectMeta(name="web", namespace="shop"))
BODY = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","resourceVersion":"5"}}'


@narrow(Pod)
class PodPhase(Object):
    class _Status(Value):
        phase: str = ""

    status: _Status = _Status()


class NoWait:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds == 1


def exchange(call: Callable[[Client], Any], *answers: Response | StreamingResponse) -> tuple[Any, list[Request]]:
    """What a call returns for given answers, and the requests it made."""
    requests: list[Request] = []
    left = list(answers) or [Response(200, {}, BODY)]

    async def handler(request: Request) -> AnyResponse:
        requests.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    async def scenario() -> Any:
        return await call(Client(InProcessTransport(handler), user_agent="test/1", clock=NoWait()))

    return asyncio.run(scenario()), requests


def test_every_verb_has_its_method_path_and_query() -> None:
    calls: list[tuple[Callable[[Client], Any], str]] = [
        (lambda client: client.get(Pod, "web", "shop"), "GET /api/v1/namespaces/shop/pods/web?"),
        (lambda client: client.create(POD), "POST /api/v1/namespaces/shop/pods?"),
        (lambda client: client.update(POD, "status"), "PUT /api/v1/namespaces/shop/pods/web/status?"),
        (
            lambda client: client.patch(Pod, "web", "shop", ApplyPatch({}, "me", True)),
            "PATCH /api/v1/namespaces/shop/pods/web?fieldManager=me&force=true",
        ),
        (lambda client: client.delete(Pod, "web", "shop", uid="u"), "DELETE /api/v1/namespaces/shop/pods/web?"),
        (
            lambda client: client.list(Pod, label_selector="a in (b,c)", limit=5, continue_="x"),
            "GET /api/v1/pods?labelSelector=a+in+%28b%2Cc%29&limit=5&continue=x",
        ),
        (
            lambda client: client.create_subresource(Pod, "web", "shop", "binding", Binding(), Status),
            "POST /api/v1/namespaces/shop/pods/web/binding?",
        ),
    ]
    for call, wanted in calls:
        _, requests = exchange(call)
        assert f"{requests[0].method} {requests[0].path}?{requests[0].query}" == wanted
        assert requests[0].headers["user-agent"] == "test/1"


def test_a_body_names_its_kind() -> None:
    _, requests = exchange(lambda client: client.create(POD))
    assert requests[0].body.startswith(b'{"kind":"Pod","apiVersion":"v1",')


@pytest.mark.parametrize(
    ("patch", "content_type", "body"),
    [
        (MergePatch({"a": None}), "application/merge-patch+json", b'{"a":null}'),
        (StrategicMergePatch({"a": 1}), "application/strategic-merge-patch+json", b'{"a":1}'),
        (
            JSONPatch([{"op": "remove", "path": "/a"}]),
            "application/json-patch+json",
            b'[{"op":"remove","path":"/a"}]',
        ),
        (ApplyPatch({"a": 1}, "me"), "application/apply-patch+yaml", b'{"a":1}'),
    ],
)
def test_each_patch_has_its_type(patch: Any, content_type: str, body: bytes) -> None:
    _, requests = exchange(lambda client: client.patch(Pod, "web", "shop", patch))
    assert (requests[0].headers["content-type"], requests[0].body) == (content_type, body)


def test_preconditions_go_with_a_delete() -> None:
    _, requests = exchange(lambda client: client.delete(Pod, "web", "shop", uid="u", grace_period_seconds=0))
    options = msgspec.json.decode(requests[0].body)
    assert options == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }


def test_a_narrow_type_reads_only_its_fields() -> None:
    body = b'{"metadata":{"name":"web"},"spec":{"containers":7},"status":{"phase":"Running"}}'
    pod, _ = exchange(lambda client: client.get(PodPhase, "web", "shop"), Response(200, {}, body))
    assert pod.status.phase == "Running"


def test_a_list_may_have_no_items() -> None:
    body = b'{"kind":"PodList","metadata":{"resourceVersion":"9","continue":"c"},"items":null}'
    listed, _ = exchange(lambda client: client.list(Pod), Response(200, {}, body))
    assert (listed.items, listed.resource_version, listed.continue_) == ([], "9", "c")


def test_failures_are_status_errors() -> None:
    status = {"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409, "message": "changed"}
    with pytest.raises(errors.Conflict, match="changed"):
        exchange(lambda client: client.update(POD), Response(409, {}, msgspec.json.encode(status)))
    with pytest.raises(errors.StatusError, match="bad gateway") as caught:
        exchange(lambda client: client.update(POD), Response(502, {}, b"<html>bad gateway"))
    assert caught.value.code == 502


def test_a_server_that_says_when_is_asked_again() -> None:
    busy = Response(429, {"retry-after": "1"}, b"")
    pod, requests = exchange(lambda client: client.create(POD), busy, busy, Response(201, {}, BODY))
    assert pod.metadata.resource_version == "5"
    assert len(requests) == 3


def test_a_server_that_says_no_without_a_time_is_believed() -> None:
    status = {"kind": "Status", "status": "Failure", "reason": "TooManyRequests", "code": 429}
    with pytest.raises(errors.TooManyRequests):
        exchange(lambda client: client.create(POD), Response(429, {}, msgspec.json.encode(status)))


def test_watch_events_survive_any_cut_of_the_bytes() -> None:
    lines = [
        b'{"type":"ADDED","object":%b}\n' % BODY,
        b'{"type":"BOOKMARK","object":{"kind":"Pod","spec":null,"metadata":{"resourceVersion":"8"}}}\n',
        b'{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}\n',
    ]
    stream = b"".join(lines)

    async def collect(client: Client) -> list[tuple[str, str]]:
        seen = []
        try:
            async for event in client.watch(Pod, resource_version="4"):
                seen.append((event.type, event.object.metadata.resource_version))  # noqa: PERF401 kept when it raises
        except errors.Expired:
            seen.append(("ERROR", "410"))
        return seen

    for size in (1, 7, 50, len(stream)):

        async def serve(writer: Writer, size: int = size) -> None:
            for start in range(0, len(stream), size):
                writer.write(stream[start : start + size])
                await writer.drain()

        seen, requests = exchange(collect, StreamingResponse(200, {}, serve))
        assert seen == [("ADDED", "5"), ("BOOKMARK", "8"), ("ERROR", "410")]
        assert "watch=true" in requests[0].query
