"""Rounds of routine that virtual time leaves out, and that nobody can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any

import pytest

from keelback.api.core_v1 import ConfigMap, Node
from keelback.client import MergePatch
from keelback.concurrency.deadlines import Deadlines
from keelback.concurrency.rounds import Round, next_round
from keelback.testing.cluster import Cluster
from keelback.testing.faults import Fault
from keelback.testing.virtual_time import LoopClock, LoopThread, VirtualTimeLoop

CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "hourly"},
    "spec": {
        "schedule": "0 * * * *",
        "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
        },
    },
}


class Rounds:
    """A loop in virtual time, on which rounds note when they are carried out."""

    def __init__(self) -> None:
        self.thread = LoopThread()
        assert isinstance(self.thread.loop, VirtualTimeLoop)
        self.loop = self.thread.loop
        self.clock = LoopClock(self.loop)
        self.tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, what: Round, *, lasting_seconds: float = 0.0) -> list[float]:
        """Carry out such rounds; the moments at which it was done."""
        moments: list[float] = []

        async def work() -> None:
            while True:
                await next_round(self.clock, seconds, what, lasting_seconds=lasting_seconds)
                moments.append(round(self.loop.time(), 3))

        self._begin(work)
        return moments

    def events(self, *moments: float) -> None:
        """Let something happen at these moments."""

        async def work() -> None:
            for moment in moments:
                await asyncio.sleep(moment - self.loop.time())

        self._begin(work)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def begin() -> None:
            self.tasks.append(asyncio.create_task(work()))

        self.thread.run(begin)

    def advance(self, seconds: float) -> None:
        self.thread.run(lambda: asyncio.sleep(seconds))


@pytest.fixture
def rounds() -> Iterator[Rounds]:
    made = Rounds()
    yield made
    made.thread.close()


def test_of_the_reports_in_a_call_the_first_comes_when_it_is_due_and_one_for_all_others_at_the_end(
    rounds: Rounds,
) -> None:
    reports = rounds.every(10, Round.REPORT)
    rounds.advance(3605)
    assert reports == [10, 3605]
    rounds.advance(5)
    assert reports == [10, 3605], "the next is due ten seconds after the last"
    rounds.advance(3600)
    assert reports == [10, 3605, 3615, 7210]


def test_a_look_comes_once_after_each_event_in_its_own_turn(rounds: Rounds) -> None:
    looks = rounds.every(20, Round.LOOK)
    rounds.events(101, 105, 1010)
    rounds.advance(5000)
    assert looks == [20, 120, 1020]


def test_a_deadline_that_nothing_has_missed_is_nothing_to_look_for(rounds: Rounds) -> None:
    looks = rounds.every(20, Round.LOOK)
    deadlines = Deadlines()

    async def work() -> None:
        await asyncio.sleep(101)
        with deadlines.within(30):
            await asyncio.sleep(1)

    rounds._begin(work)
    rounds.advance(5000)
    assert looks == [20, 120], "once after what happened, and not after the 131st second"


def test_a_deadline_is_kept_while_all_else_is_left_out(rounds: Rounds) -> None:
    ends: list[float] = []

    async def work() -> None:
        try:
            with Deadlines().within(30):
                await asyncio.Event().wait()
        except TimeoutError:
            ends.append(rounds.loop.time())

    rounds._begin(work)
    rounds.advance(5000)
    assert ends == [30]


def test_a_look_that_finds_what_has_lasted_goes_on_for_as_long(rounds: Rounds) -> None:
    looks = rounds.every(60, Round.LOOK, lasting_seconds=300)
    rounds.events(1000)
    rounds.advance(5000)
    assert looks == [60, 120, 180, 240, 300, 360, 1020, 1080, 1140, 1200, 1260, 1320]


def test_watches_over_reports_are_left_out_while_all_goes_well(rounds: Rounds) -> None:
    watches = rounds.every(40, Round.WATCH)
    rounds.advance(1000)
    assert watches == []
    rounds.loop.is_undisturbed = lambda: False
    rounds.advance(100)
    assert watches == [1000, 1040, 1080]


def test_nothing_is_left_out_while_something_is_amiss(rounds: Rounds) -> None:
    rounds.loop.is_undisturbed = lambda: False
    found = [rounds.every(10, what) for what in Round]
    rounds.advance(35)
    assert found == [[10, 20, 30]] * len(Round)


def test_what_one_look_changes_another_looks_at(rounds: Rounds) -> None:
    changes = 0
    rounds.loop.changes = lambda: changes

    async def work() -> None:
        nonlocal changes
        await next_round(rounds.clock, 50, Round.LOOK)
        changes += 1
        await asyncio.Event().wait()

    rounds._begin(work)
    looks = rounds.every(20, Round.LOOK)
    rounds.advance(1000)
    assert looks == [20, 60]


def test_leases_and_statuses_of_nodes_are_fresh_whenever_somebody_looks() -> None:
    with Cluster() as cluster:
        for hours in (1, 24):
            cluster.advance(hours=hours)
            for node in cluster.list("nodes"):
                name = node["metadata"]["name"]
                lease = cluster.get(f"lease/{name}", namespace="kube-node-lease")
                renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
                assert 0 <= (cluster.now - renewed).total_seconds() <= 10
                [ready] = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
                beat = datetime.fromisoformat(ready["lastHeartbeatTime"])
                assert 0 <= (cluster.now - beat).total_seconds() <= 300
                assert ready["status"] == "True"


def test_leases_that_were_left_out_are_renewed_once_when_somebody_looks() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.advance(hours=1)
        since = cluster.get("lease/node-1", namespace="kube-node-lease")["metadata"]["resourceVersion"]
        cluster.advance(minutes=5)
        changes = cluster.changes("leases", since, namespace="kube-node-lease", field_selector="metadata.name=node-1")
        renewed = [datetime.fromisoformat(one["object"]["spec"]["renewTime"]) for one in changes]
        assert [(cluster.now - at).total_seconds() for at in renewed] == [291.0, 1.0]


def test_a_node_lost_after_a_day_of_nothing_is_found_out_as_soon_as_any() -> None:
    with Cluster(nodes=3) as cluster:
        cluster.advance(hours=24)
        cluster.disconnect("node-1")
        cluster.advance(seconds=39)
        assert cluster.wait("node/node-1", "Ready", timeout=0)
        cluster.wait("node/node-1", "Ready=Unknown", timeout=12)
        cluster.connect("node-1")
        cluster.wait("node/node-1", "Ready", timeout=60)
        assert cluster.wait("node/node-2", "Ready", timeout=0)


def test_a_node_whose_reports_are_refused_is_found_out_as_soon_as_any() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.advance(hours=1)

        def refuse(request: Any) -> None:
            raise ValueError("no leases today")

        cluster.validate("leases", refuse)
        cluster.wait("node/node-1", "Ready=Unknown", timeout=60)


def test_between_two_jobs_nothing_is_written() -> None:
    with Cluster() as cluster:
        cluster.apply(CRON_JOB)
        cluster.advance(hours=4)
        recording = cluster.record()
        cluster.advance(hours=24)
        written = [write.resource for write in recording.writes]
        assert written.count("jobs") > 24 * 5
        assert written.count("minions") <= 3 * 3


def test_the_jobs_of_a_schedule_come_at_their_times_however_many_there_were() -> None:
    with Cluster() as cluster:
        cluster.apply(CRON_JOB)
        recording = cluster.record()
        cluster.advance(hours=5, minutes=30)
        made = [write.at for write in recording.writes if write.resource == "jobs" and write.before is None]
        assert len(made) == 5
        assert all((moment.minute, moment.second, moment.microsecond // 1000) == (0, 0, 100) for moment in made)


def test_of_a_jobs_life_each_state_is_written_once() -> None:
    with Cluster() as cluster:
        cluster.apply(CRON_JOB)
        recording = cluster.record()
        cluster.advance(minutes=70)
        said = [write.after["status"] for write in recording.writes if write.resource == "jobs" and write.after]
        assert [(one.get("active", 0), one.get("ready"), one.get("succeeded", 0)) for one in said[1:]] == [
            (1, 0, 0),
            (1, 1, 0),
            (0, 0, 0),
            (0, 0, 1),
        ]
        assert all("uncountedTerminatedPods" in one for one in said[1:])


def test_of_the_notices_in_a_call_only_the_last_comes_at_its_end(rounds: Rounds) -> None:
    notices = rounds.every(10, Round.NOTICE)
    rounds.advance(5)
    rounds.advance(3600)
    assert notices == [3605]
    rounds.advance(5)
    assert notices == [3605], "the next is due ten seconds after the last"


def test_watches_of_what_stays_as_it_is_are_told_so_when_a_call_ends() -> None:
    with Cluster() as cluster:
        cluster.apply(CRON_JOB)
        told: list[str] = []

        async def watch() -> None:
            client = cluster._parts.administrator()
            listed = await client.list(ConfigMap)
            since = listed.resource_version
            async for batch in client.watch_batches(ConfigMap, resource_version=since, timeout_seconds=1e6):
                told.extend(event.type for event in batch)

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(watch())

        watching = cluster.run(begin)
        cluster.advance(days=1)
        assert told == ["BOOKMARK"]

        async def end() -> None:
            watching.cancel()

        cluster.run(end)


def test_a_node_that_changes_while_reports_are_left_out_is_not_taken_for_lost() -> None:
    with Cluster(nodes=2) as cluster:
        recording = cluster.record()

        async def change_later() -> None:
            client = cluster._parts.administrator()
            await cluster.clock.sleep(3600)
            await client.patch(Node, "node-1", "", MergePatch({"metadata": {"labels": {"changed": "yes"}}}))

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(change_later())

        changing = cluster.run(begin)
        cluster.advance(hours=2)
        assert changing.done()
        states = {
            condition["status"]
            for write in recording.writes
            if write.resource == "minions" and write.after
            for condition in write.after["status"]["conditions"]
            if condition["type"] == "Ready"
        }
        assert states == {"True"}
        assert cluster.get("node/node-1")["metadata"]["labels"]["changed"] == "yes"


def test_reports_that_come_late_because_they_were_left_out_are_waited_for() -> None:
    with Cluster(nodes=2) as cluster:
        recording = cluster.record()

        async def disturb_later() -> None:
            await cluster.clock.sleep(3600)
            # From now on nothing is left out, and what nodes report takes a while.
            cluster._parts.faults.add(Fault(client="kubelet", latency=5.0))

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(disturb_later())

        cluster.run(begin)
        cluster.advance(hours=1, minutes=10)
        assert not [
            write for write in recording.writes if write.resource == "minions" and "Unknown" in str(write.after)
        ]
