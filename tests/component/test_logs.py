"""One line for each event, in the form asked for."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from keelback.component import logs
from keelback.concurrency.clock import SystemClock


class FixedClock(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, 0, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    logs.configure(level=logs.WARNING)
    logging.getLogger().handlers[:] = handlers


def test_text_is_klogs_form() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, clock=FixedClock())
    logs.logger("kubelet").with_values(pod="a/b").info("Started it", count=3, error=ValueError('bad "x"'))
    line = stream.getvalue()
    assert line.startswith("I1123 10:00:00.000005 ")
    assert line.endswith(' kubelet] "Started it" pod="a/b" count=3 error="bad \\"x\\""\n')


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, form="json", clock=FixedClock())
    logs.logger("proxy").warning("Slow", seconds=1.5, service=("a", "b"))
    entry = msgspec.json.decode(stream.getvalue())
    assert (entry["level"], entry["logger"], entry["msg"], entry["seconds"]) == ("warning", "proxy", "Slow", 1.5)
    assert entry["service"] == "('a', 'b')"


def test_below_the_level_nothing_is_written() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, level=logs.WARNING)
    logger = logs.logger("x")
    logger.info("quiet")
    logger.debug("quiet")
    assert stream.getvalue() == ""
    assert not logger.is_enabled(logs.INFO)


def test_an_exception_brings_its_traceback() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        raise RuntimeError("why")
    except RuntimeError as error:
        logs.logger("x").exception("It failed", error)
    assert 'error="why"' in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_libraries_speak_through_the_same_stream() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("asyncio").error("from %s", "below")
    assert ' asyncio] "from below"' in stream.getvalue()
