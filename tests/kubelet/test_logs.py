"""A log is told from where it was asked, in the container's own words, and followed to its end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from keelback.kubelet.logs import LogOptions, last_lines, parse, read

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def line(second: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-05-01T12:00:{second:02}.5Z {stream} {tag} {text}\n"


class StepClock:
    """Each sleep is a step of a script: what the container writes meanwhile."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def now(self):
        return NOW

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        if self.steps:
            self.steps.pop(0)()
        await asyncio.sleep(0)


def told(path, options=LogOptions(), clock=None, is_running=lambda: False):  # noqa: B008 - frozen
    async def collect():
        return b"".join([piece async for piece in read(path, options, clock or StepClock(), is_running)])

    return asyncio.run(collect()).decode()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "0.log"
    path.write_text(
        "".join(line(number, f"line {number}", "stderr" if number == 3 else "stdout") for number in range(5))
    )
    return path


def test_all_of_it(log):
    assert told(log) == "".join(f"line {number}\n" for number in range(5))


@pytest.mark.parametrize(("count", "first"), [(0, 5), (1, 4), (3, 2), (5, 0), (9, 0)])
def test_its_end(log, count, first):
    assert told(log, LogOptions(tail_lines=count)) == "".join(f"line {number}\n" for number in range(first, 5))


def test_since_a_moment(log):
    assert told(log, LogOptions(since=NOW + timedelta(seconds=3))) == "line 3\nline 4\n"


def test_with_timestamps_one_stream_and_a_limit(log):
    assert told(log, LogOptions(stream="stderr", timestamps=True)) == "2026-05-01T12:00:03.5Z line 3\n"
    assert told(log, LogOptions(limit_bytes=10)) == "line 0\nlin"


def test_parts_of_a_line_are_joined(tmp_path):
    path = tmp_path / "0.log"
    path.write_text(line(0, "half a ", tag="P") + line(0, "line"))
    assert told(path) == "half a line\n"


def test_what_is_not_a_log_line_is_passed_over(tmp_path):
    assert parse(b"rubbish\n") is None
    path = tmp_path / "0.log"
    path.write_text("rubbish\n" + line(0, "good"))
    assert told(path) == "good\n"


def test_following_goes_on_until_the_container_has_ended(log):
    running = [True]

    def writes():
        with log.open("a") as file:
            file.write(line(6, "more"))

    def ends():
        with log.open("a") as file:
            file.write(line(7, "last"))
        running[0] = False

    followed = told(log, LogOptions(follow=True, tail_lines=1), StepClock(writes, ends), lambda: running[0])
    assert followed == "line 4\nmore\nlast\n"


def test_following_goes_on_in_the_new_file_after_rotation(log):
    running = [True]

    def rotates():
        log.rename(log.with_name("0.log.old"))
        log.write_text(line(6, "fresh"))

    def ends():
        running[0] = False

    followed = told(log, LogOptions(follow=True, tail_lines=1), StepClock(rotates, ends), lambda: running[0])
    assert followed == "line 4\nfresh\n"


def test_the_end_of_a_long_log_is_found_across_blocks(tmp_path):
    path = tmp_path / "0.log"
    path.write_text("".join(line(1, f"{number:06} " + "x" * 200) for number in range(2000)))
    assert told(path, LogOptions(tail_lines=900)).count("\n") == 900
    assert last_lines(path, 1, 2048).startswith("001999")
    assert last_lines(tmp_path / "none", 1, 2048) == ""


def test_what_was_written_just_before_rotation_is_told(log):
    path = log
    reads = []

    def is_running():
        # After the last read and before the next look at the file's name.
        if not reads:
            with path.open("a") as file:
                file.write(line(50, "just before"))
            path.rename(path.with_name("aside"))
            path.write_text(line(51, "after"))
        reads.append(1)
        return len(reads) < 2

    answer = told(path, LogOptions(follow=True, tail_lines=0), StepClock(), is_running)
    assert answer == "just before\nafter\n"
