"""Priority and fairness in a real server: who is let in, in which order, and what those are told who are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.extensions import Extension
from keelback.apiserver.request_limits import RequestLimits
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
from keelback.component.http import JSON_HEADERS, AnyResponse, Request, Response, StreamingResponse
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

FLOW_CONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WAITS = "/apis/slow.example.com/v1/namespaces/default/waits"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "slow.example.com/v1",
    "resources": [{"name": "waits", "kind": "Wait", "namespaced": True, "singularName": "wait", "verbs": ["list"]}],
}
BINDING = {
    "kind": "ClusterRoleBinding",
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "metadata": {"name": "everybody"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": AUTHENTICATED_GROUP}],
}


def tenant(name: str) -> UserInfo:
    return UserInfo(name, groups=(AUTHENTICATED_GROUP,))


class Slow:
    """An API group that takes of the loop's time what it is told to take, and answers when it is told to."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.seconds = 0.0
        self.begun: list[str] = []
        self.answers = asyncio.Event()

    async def handle(self, request: Request) -> AnyResponse:
        if not isinstance(request.identity, UserInfo):
            body = RESOURCES if request.path.startswith("/apis/") else {}
            return Response(200, JSON_HEADERS, json.dumps(body).encode())
        self.begun.append(request.identity.name)
        self._clock.advance(self.seconds)
        await self.answers.wait()
        return Response(200, JSON_HEADERS, b'{"kind":"WaitList","apiVersion":"slow.example.com/v1","items":[]}')


class World:
    """A server of which everybody may ask everything, and a part of it that is slow."""

    def __init__(self, server: RunningAPIServer, clock: HandClock, slow: Slow) -> None:
        self.server = server
        self.clock = clock
        self.slow = slow

    async def ask(
        self, user: UserInfo, path: str, method: str = "GET", body: Any = None, content_type: str = "application/json"
    ) -> AnyResponse:
        data = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        return await self.server.handle(
            Request(method, path, query, {"content-type": content_type}, data, identity=user)
        )

    async def answered(
        self, user: UserInfo, path: str, method: str = "GET", body: Any = None, content_type: str = "application/json"
    ) -> Response:
        answer = await self.ask(user, path, method, body, content_type)
        assert isinstance(answer, Response)
        return answer

    async def read(self, path: str) -> str:
        answer = await self.answered(ADMINISTRATOR, path)
        assert answer.status == 200, answer
        return answer.content().decode()

    async def metric(self, line: str) -> float:
        lines = [one for one in (await self.read("/metrics")).splitlines() if one.startswith(line + " ")]
        return float(lines[0].rsplit(" ", 1)[1]) if lines else 0.0

    async def squeeze(self, level: str, shares: int, **limited: Any) -> None:
        """Leave a level few seats."""
        patch = {"spec": {"limited": {"nominalConcurrencyShares": shares, **limited}}}
        path = f"{FLOW_CONTROL}/prioritylevelconfigurations/{level}"
        answer = await self.answered(ADMINISTRATOR, path, "PATCH", patch, "application/merge-patch+json")
        assert answer.status == 200, answer.content()
        await settle()


async def settle() -> None:
    """Let everybody go on who can."""
    for _ in range(100):
        await asyncio.sleep(0)


@asynccontextmanager
async def a_world(limits: RequestLimits | None = None) -> AsyncIterator[World]:
    clock = HandClock()
    slow = Slow(clock)
    others = (Extension("slow.example.com", "v1", slow.handle),)
    async with asyncio.timeout(60), api_server(clock, request_limits=limits, others=others) as server:
        world = World(server, clock, slow)
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        assert (await world.answered(ADMINISTRATOR, path, "POST", BINDING)).status == 201
        await settle()
        yield world


def in_world(
    **limits: Any,
) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], Callable[[], None]]:
    def decorate(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def body() -> None:
            async with a_world(RequestLimits(**limits)) as world:
                await test(world)

        def run() -> None:
            asyncio.run(body())

        run.__name__ = test.__name__
        return run

    return decorate


# Queues of no room to speak of, and no borrowing: what has no seat is seen at once.
SMALL = {
    "borrowingLimitPercent": 0,
    "lendablePercent": 0,
    "limitResponse": {"type": "Queue", "queuing": {"queues": 16, "handSize": 4, "queueLengthLimit": 2}},
}


@in_world()
async def test_every_answer_names_its_schema_and_level_by_their_uids(world: World) -> None:
    async def uid(plural: str, name: str) -> str:
        return str(json.loads(await world.read(f"{FLOW_CONTROL}/{plural}/{name}"))["metadata"]["uid"])

    schema, level = (
        await uid("flowschemas", "global-default"),
        await uid("prioritylevelconfigurations", "global-default"),
    )
    for path, status in ((CONFIG_MAPS, 200), (f"{CONFIG_MAPS}/none", 404), ("/nowhere", 404)):
        answer = await world.answered(tenant("jane"), path)
        assert answer.status == status
        assert answer.headers["x-kubernetes-pf-flowschema-uid"] == schema
        assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] == level
    exempt = await world.answered(ADMINISTRATOR, CONFIG_MAPS)
    assert exempt.headers["x-kubernetes-pf-flowschema-uid"] == await uid("flowschemas", "exempt")
    unknown = await world.server.handle(Request("GET", CONFIG_MAPS, "", {"authorization": "Bearer wrong"}))
    assert isinstance(unknown, Response)
    assert unknown.status == 401
    assert "x-kubernetes-pf-flowschema-uid" not in unknown.headers


@in_world(max_requests_inflight=8, max_mutating_requests_inflight=4)
async def test_a_flood_fills_its_own_queues_and_is_turned_away_while_another_is_served(world: World) -> None:
    await world.squeeze("global-default", 20, **SMALL)
    async with asyncio.TaskGroup() as group:
        flood = [group.create_task(world.answered(tenant("flood"), WAITS)) for _ in range(20)]
        await settle()
        begun = len(world.slow.begun)
        assert 1 <= begun <= 4, "no more than the level has seats"
        turned_away = [task.result() for task in flood if task.done()]
        assert len(turned_away) == 20 - begun - 4 * 2, "four queues of two wait"
        assert {answer.status for answer in turned_away} == {429}
        assert turned_away[0].headers["retry-after"] == "1"
        assert turned_away[0].content() == b"Too many requests, please try again later.\n"
        other = group.create_task(world.answered(tenant("other"), CONFIG_MAPS))
        await settle()
        assert not other.done(), "its level has no seat now"
        assert (await world.answered(tenant("system:kube-scheduler"), CONFIG_MAPS)).status == 200, "another level has"
        assert (await world.answered(ADMINISTRATOR, CONFIG_MAPS)).status == 200
        rejected = 'apiserver_flowcontrol_rejected_requests_total{priority_level="global-default",'
        assert await world.metric(rejected + 'flow_schema="global-default",reason="queue-full"}') == len(turned_away)
        assert await world.metric('apiserver_dropped_requests_total{request_kind="readOnly"}') == len(turned_away)
        waiting = 'apiserver_flowcontrol_current_inqueue_requests{priority_level="global-default",'
        assert await world.metric(waiting + 'flow_schema="global-default"}') == 9
        world.slow.answers.set()
        assert (await other).status == 200


@in_world(max_requests_inflight=8, max_mutating_requests_inflight=4)
async def test_the_debug_pages_show_levels_queues_and_who_waits(world: World) -> None:
    await world.squeeze("global-default", 20, **SMALL)
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(world.ask(tenant("flood"), f"{WAITS}?limit=3"))
        await settle()
        base = "/debug/api_priority_and_fairness/dump"
        rows = [line.split(",") for line in (await world.read(f"{base}_priority_levels")).splitlines()]
        levels = {row[0]: [cell.strip() for cell in row[1:]] for row in rows}
        assert levels["PriorityLevelName"] == [
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
        ]
        assert levels["exempt"] == ["<none>"] * 5
        executing = len(world.slow.begun)
        assert levels["global-default"][1:] == ["false", "false", str(6 - executing), str(executing)]
        queues = [line.split(",") for line in (await world.read(f"{base}_queues")).splitlines()]
        own = [row for row in queues if row[0] == "global-default"]
        assert len(own) == 16
        assert sum(int(row[2]) for row in own) == 6 - executing
        assert sum(int(row[4]) for row in own) == executing
        requests = (await world.read(f"{base}_requests?includeRequestDetails=1")).splitlines()
        assert len(requests) == 1 + 6 - executing
        cells = [cell.strip() for cell in requests[1].split(",")]
        assert cells[:2] == ["global-default", "global-default"]
        assert cells[4] == "flood"
        assert cells[9:] == ["flood", "list", WAITS, "default", "", "slow.example.com/v1", "waits", ""]
        assert (await world.answered(UserInfo("stranger"), f"{base}_queues")).status == 403
        world.slow.answers.set()


@in_world(max_requests_inflight=8, max_mutating_requests_inflight=4)
async def test_a_level_without_queues_turns_away_at_once(world: World) -> None:
    await world.squeeze("global-default", 20, **{**SMALL, "limitResponse": {"type": "Reject", "queuing": None}})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.answered(tenant("flood"), WAITS)) for _ in range(10)]
        await settle()
        refused = [task.result().status for task in tasks if task.done()]
        assert refused == [429] * (10 - len(world.slow.begun))
        assert refused
        world.slow.answers.set()


@in_world(max_requests_inflight=1, max_mutating_requests_inflight=0)
async def test_who_waits_for_a_quarter_of_its_time_is_turned_away(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(world.answered(tenant("jane"), WAITS))
        await settle()
        assert world.slow.begun == ["jane"]
        second = await world.answered(tenant("jane"), f"{WAITS}?timeout=100ms")
        assert second.status == 429
        assert not first.done()
        world.slow.answers.set()
        assert (await first).status == 200
    rejected = 'apiserver_flowcontrol_rejected_requests_total{priority_level="global-default",'
    assert await world.metric(rejected + 'flow_schema="global-default",reason="time-out"}') == 1


@in_world()
async def test_a_request_may_ask_for_less_time_but_not_for_nonsense(world: World) -> None:
    late = await world.answered(tenant("jane"), f"{WAITS}?timeout=10ms")
    assert late.status == 504
    assert json.loads(late.content())["reason"] == "Timeout"
    wrong = await world.answered(tenant("jane"), f"{WAITS}?timeout=soon")
    assert wrong.status == 400
    told = 'invalid timeout specified in the request URL - time: invalid duration "soon"'
    assert json.loads(wrong.content())["message"] == told


@in_world(max_requests_inflight=8, max_mutating_requests_inflight=4)
async def test_who_goes_away_while_it_waits_is_forgotten(world: World) -> None:
    await world.squeeze("global-default", 20, **SMALL)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.ask(tenant("flood"), WAITS)) for _ in range(6)]
        await settle()
        for task in tasks:
            task.cancel()
    assert (await world.answered(tenant("other"), CONFIG_MAPS)).status == 200
    assert "flood" not in await world.read("/debug/api_priority_and_fairness/dump_requests")


@in_world(max_requests_inflight=4000)
async def test_turns_on_the_loop_are_fair_whatever_one_tenant_asks_for(world: World) -> None:
    """All have seats. Each request takes ten milliseconds of the loop, so only one is begun in a round."""
    world.slow.seconds = 0.01
    world.slow.answers.set()
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(world.ask(tenant("flood"), WAITS))
        for _ in range(3):
            await asyncio.sleep(0)
        before = len(world.slow.begun)
        assert before < 10
        group.create_task(world.ask(tenant("quiet"), WAITS))
        await settle()
    assert world.slow.begun.index("quiet") <= before + 1
    assert len(world.slow.begun) == 51


@in_world()
async def test_watches_are_in_work_until_their_first_events_are_sent(world: World) -> None:
    watch = await world.ask(tenant("jane"), f"{CONFIG_MAPS}?watch=true&timeoutSeconds=5")
    assert isinstance(watch, StreamingResponse)
    executing = 'apiserver_flowcontrol_current_executing_requests{priority_level="global-default",'
    executing += 'flow_schema="global-default"}'
    assert await world.metric(executing) == 1
    written: list[bytes] = []

    class Client:
        closed = False

        def write(self, data: bytes) -> None:
            written.append(data)

        async def drain(self) -> None:
            await asyncio.sleep(0)

        async def wait_closed(self) -> None:
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch.serve(Client()))  # type: ignore[arg-type]
        await settle()
        assert b"kube-root-ca.crt" in b"".join(written) or not written
        assert await world.metric(executing) == 0
        await world.clock.pass_time(5)
    lasted = 'apiserver_flowcontrol_request_execution_seconds_count{priority_level="global-default",'
    assert await world.metric(lasted + 'flow_schema="global-default",type="watch"}') == 1


@in_world()
async def test_a_changed_schema_holds_from_the_next_request_on(world: World) -> None:
    spec = {
        "matchingPrecedence": 100,
        "priorityLevelConfiguration": {"name": "workload-high"},
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
            }
        ],
    }
    schema = {"kind": "FlowSchema", "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "metadata": {"name": "janes"}}
    path = f"{FLOW_CONTROL}/flowschemas"
    made = await world.answered(ADMINISTRATOR, path, "POST", {**schema, "spec": spec})
    await settle()
    answer = await world.answered(tenant("jane"), CONFIG_MAPS)
    uid = json.loads(made.content())["metadata"]["uid"]
    assert answer.headers["x-kubernetes-pf-flowschema-uid"] == uid
    other = await world.answered(tenant("john"), CONFIG_MAPS)
    assert other.headers["x-kubernetes-pf-flowschema-uid"] != uid
    await world.answered(ADMINISTRATOR, f"{path}/janes", "DELETE")
    await settle()
    assert (await world.answered(tenant("jane"), CONFIG_MAPS)).headers["x-kubernetes-pf-flowschema-uid"] != uid


@in_world()
async def test_limits_are_shown_as_upstream_shows_them(world: World) -> None:
    for name, value in (
        ('nominal_limit_seats{priority_level="workload-low"}', 245),
        ('lower_limit_seats{priority_level="workload-low"}', 24),
        ('upper_limit_seats{priority_level="workload-low"}', 845),
        ('current_limit_seats{priority_level="workload-low"}', 135),
    ):
        assert await world.metric(f"apiserver_flowcontrol_{name}") == value


@in_world(max_requests_inflight=8, max_mutating_requests_inflight=4)
async def test_a_level_borrows_once_ten_seconds_have_passed(world: World) -> None:
    seats = 'apiserver_flowcontrol_current_limit_seats{priority_level="global-default"}'
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.ask(tenant("flood"), WAITS)) for _ in range(8)]
        await settle()
        begun, before = len(world.slow.begun), await world.metric(seats)
        await world.clock.pass_time(10.1)
        assert await world.metric(seats) > before
        await settle()
        assert len(world.slow.begun) > begun, "who waited has got what was borrowed"
        world.slow.answers.set()
        for task in tasks:
            answer = await task
            assert isinstance(answer, Response)
            assert answer.status == 200


@in_world(enable_priority_and_fairness=False, max_requests_inflight=2, max_mutating_requests_inflight=1)
async def test_without_it_plain_limits_hold(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(world.ask(tenant("jane"), WAITS))
        await settle()
        refused = await world.answered(tenant("jane"), CONFIG_MAPS)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "x-kubernetes-pf-flowschema-uid" not in refused.headers
        made = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}}
        assert (await world.answered(tenant("jane"), CONFIG_MAPS, "POST", made)).status == 201, "writes have their own"
        assert (await world.answered(ADMINISTRATOR, CONFIG_MAPS)).status == 200
        world.slow.answers.set()
    assert (await world.answered(tenant("jane"), CONFIG_MAPS)).status == 200
