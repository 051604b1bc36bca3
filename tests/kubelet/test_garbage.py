"""What is removed, and what must not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keelback.cri.values import (
    Container,
    ContainerState,
    ContainerStatus,
    Image,
    PodSandbox,
    PodSandboxStatus,
    SandboxState,
)
from keelback.kubelet.garbage import plan_garbage, plan_images
from keelback.kubelet.observed import PodRuntime

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def a_container(name, attempt, state=ContainerState.EXITED, sandbox="s1"):
    return ContainerStatus(Container(f"{name}-{attempt}", sandbox, name, attempt, state, created_at=attempt))


def a_sandbox(identity, attempt, state=SandboxState.NOT_READY):
    return PodSandboxStatus(PodSandbox(identity, "p", "default", "u", attempt, state, created_at=attempt))


def test_the_present_and_one_earlier_end_are_kept_for_their_logs():
    history = (a_container("c", 3, ContainerState.RUNNING), *(a_container("c", n) for n in (2, 1, 0)))
    assert plan_garbage(PodRuntime("u", (), history), 1) == (("c-1", "c-0"), ())


def test_the_latest_end_is_the_present_state():
    history = tuple(a_container("c", n) for n in (2, 1, 0))
    assert plan_garbage(PodRuntime("u", (), history), 1)[0] == ("c-1", "c-0")


def test_old_sandboxes_go_once_they_are_empty():
    sandboxes = (a_sandbox("s2", 2), a_sandbox("s1", 1), a_sandbox("s0", 0))
    assert plan_garbage(PodRuntime("u", sandboxes, (a_container("c", 0),)), 1)[1] == ("s0",)


def test_the_longest_unused_images_go_until_enough_is_freed():
    images = [Image(name, (f"docker.io/{name}:1",), size_bytes=10) for name in ("new", "old", "older", "used")]
    last_used = {name: NOW - timedelta(hours=hours) for hours, name in enumerate(("new", "old", "older", "used"), 1)}
    used = frozenset({"used"})
    chosen = plan_images(images, used, last_used, NOW, to_free_bytes=15, min_age_seconds=60)
    assert chosen == ("older", "old")


def test_images_that_are_young_pinned_or_loaded_by_hand_stay():
    images = [
        Image("young", ("docker.io/a:1",), size_bytes=10),
        Image("unknown", ("docker.io/b:1",), size_bytes=10),
        Image("pinned", ("docker.io/c:1",), size_bytes=10, pinned=True),
        Image("loaded", ("localhost/d:1",), size_bytes=10),
    ]
    long_ago = NOW - timedelta(days=1)
    last_used = {"young": NOW, "pinned": long_ago, "loaded": long_ago}
    assert plan_images(images, frozenset(), last_used, NOW, to_free_bytes=100, min_age_seconds=60) == ()
