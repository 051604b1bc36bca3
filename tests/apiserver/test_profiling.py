"""/debug/pprof and /debug/flags/v."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from keelback.apiserver import profiling
from keelback.component import logs
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server


@pytest.fixture
def verbosity() -> Iterator[None]:
    yield
    logs.set_verbosity(0)


async def ask(*requests: tuple[str, str, bytes], profiling: bool = True) -> list[tuple[int, str]]:
    answers = []
    async with asyncio.timeout(30), api_server(profiling=profiling) as server:
        for method, target, body in requests:
            path, _, query = target.partition("?")
            answer = await server.handle(Request(method, path, query, {}, body, identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            answers.append((answer.status, answer.content().decode()))
    return answers


def test_it_is_off_unless_asked_for() -> None:
    asked = [("GET", "/debug/pprof/profile", b""), ("PUT", "/debug/flags/v", b"4")]
    assert [status for status, _ in asyncio.run(ask(*asked, profiling=False))] == [404, 404]


def test_the_pages_say_what_the_process_does_and_holds() -> None:
    index, stacks, heap, command, profile, wrong = asyncio.run(
        ask(
            *(
                ("GET", f"/debug/pprof{path}", b"")
                for path in ("/", "/goroutine", "/heap", "/cmdline", "/profile?seconds=0.05", "/profile?seconds=soon")
            )
        )
    )
    assert "profile" in index[1]
    assert "task " in stacks[1]
    assert "thread MainThread" in stacks[1]
    assert " builtins.dict\n" in heap[1]
    assert command[1]
    *_, last = profile[1].splitlines()
    stack, _, count = last.rpartition(" ")
    assert int(count) >= 1
    assert ";" in stack
    assert wrong[0] == 400


def test_samples_say_where_other_threads_are() -> None:
    gate = threading.Event()

    def wait_for_the_gate() -> None:
        gate.wait()

    thread = threading.Thread(target=wait_for_the_gate)
    thread.start()
    try:
        looked = profiling.sampled(0.05, lambda _: None)
    finally:
        gate.set()
        thread.join()
    (line,) = [one for one in looked.splitlines() if "wait_for_the_gate" in one]
    assert line.endswith(" 5")


@pytest.mark.usefixtures("verbosity")
def test_the_verbosity_of_the_log_can_be_put() -> None:
    asked = [("PUT", "/debug/flags/v", b"4"), ("PUT", "/debug/flags/v", b"much"), ("GET", "/debug/flags/v", b"")]
    done, wrong, read = asyncio.run(ask(*asked))
    assert done == (200, "successfully set klog.logging.verbosity to 4")
    assert logs.logger("test").is_enabled(logs.DEBUG)
    assert wrong[0] == 400
    assert read == (406, "unsupported http method\n")
