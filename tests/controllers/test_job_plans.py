"""Jobs: which pods and indexes run, and what their failures decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api import job_indexes
from keelback.api.batch_v1 import (
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from keelback.api.core_v1 import (
    ContainerState,
    ContainerStateTerminated,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import (
    job_accounting,
    jobs,
)
from keelback.controllers.observed import (
    ContainerStatusView,
    PodView,
)
from keelback.testing.views import NOW, pod


def job(**spec: Any) -> Job:
    return Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=JobSpec(**spec))


@given(st.integers(1, 20), st.integers(1, 8), st.data())
def test_an_indexed_job_runs_each_index_until_it_succeeds(
    completions: int, parallelism: int, data: st.DataObject
) -> None:
    asked = job(completions=completions, parallelism=parallelism, completion_mode="Indexed")
    done: set[int] = set()
    running: list[PodView] = []
    for _ in range(10 * completions):
        tally = jobs.Tally(len(done), 0, frozenset(done), frozenset())
        decided = jobs.plan(asked, tally, running, 0, 0.0, NOW)
        running += [pod(f"i{index}", annotations={job_accounting.INDEX: str(index)}) for index in decided.indexes]
        indexes = [job_accounting.index_of(one) for one in running]
        assert len(set(indexes)) == len(indexes) <= parallelism
        assert not done & set(indexes)
        if not running:
            break
        ended = data.draw(st.sampled_from(running))
        running.remove(ended)
        if data.draw(st.booleans()) or _ > 5 * completions:
            done.add(job_accounting.index_of(ended) or 0)
    assert done == set(range(completions))


def test_indexes_that_fail_for_themselves_wait_for_themselves() -> None:
    asked = job(completions=3, parallelism=3, completion_mode="Indexed", backoff_limit_per_index=2)
    notes = {job_accounting.INDEX: "0", job_accounting.INDEX_FAILURES: "1"}
    ended = NOW - timedelta(seconds=5)
    failed = pod("p", phase="Failed", annotations=notes)
    terminated = ContainerState(terminated=ContainerStateTerminated(exit_code=1, finished_at=ended))
    status = replace(failed.status, container_statuses=(ContainerStatusView(name="c", state=terminated),))
    waits = job_accounting.index_backoffs(asked, [replace(failed, status=status)], NOW)
    assert waits == {0: 15.0}
    nothing = jobs.Tally(0, 2, frozenset(), frozenset())
    decided = jobs.plan(asked, nothing, [], 0, 0.0, NOW, waits)
    assert (decided.indexes, decided.wait_seconds) == ((1, 2), 15.0)


@given(st.sets(st.integers(0, 60)))
def test_indexes_read_back_as_they_were_written(indexes: set[int]) -> None:
    assert job_indexes.parse(job_indexes.written(indexes), 61) == indexes


def test_indexes_are_written_as_ranges() -> None:
    assert job_indexes.written({1, 3, 4, 5, 7}) == "1,3-5,7"


def test_the_failure_policy_decides_by_exit_code() -> None:
    codes = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))
    policy = PodFailurePolicy(rules=(PodFailurePolicyRule(action="FailJob", on_exit_codes=codes),))
    asked = job(pod_failure_policy=policy)
    failed = pod("p", phase="Failed", finalizers=(job_accounting.FINALIZER,))
    terminated = ContainerState(terminated=ContainerStateTerminated(exit_code=42))
    statuses = (ContainerStatusView(name="c", state=terminated),)
    failed = replace(failed, status=replace(failed.status, container_statuses=statuses))
    ended = job_accounting.newly_ended(asked, [failed])
    failure = job_accounting.find_failure(asked, 1, ended, [failed], set(), NOW)
    assert failure is not None
    assert failure.reason == "PodFailurePolicy"
    assert failure.message == (
        "Container c for pod default/p failed with exit code 42 matching FailJob rule at index 0"
    )
