"""A terminal is real to the program at it, and leaves nothing behind."""

from __future__ import annotations

import os

import pytest

from keelback.testing.terminals import COLUMNS, END_OF_INPUT, ROWS, terminal


def test_what_is_shown_is_read_and_what_is_typed_arrives() -> None:
    with terminal(["sh", "-c", "stty size; read word; echo got $word; exit 3"], os.environ) as shell:
        shell.read_until(f"{ROWS} {COLUMNS}\r\n")
        shell.type("hello\n")
        shell.read_until("got hello")
        assert shell.wait() == 3


def test_the_end_of_input_ends_a_reader() -> None:
    with terminal(["cat"], os.environ) as reading:
        reading.type(END_OF_INPUT)
        assert reading.wait() == 0


def test_a_program_that_ends_before_it_said_so_fails_the_wait() -> None:
    with (
        terminal(["echo", "something else"], os.environ) as shell,
        pytest.raises(AssertionError, match="something else"),
    ):
        shell.read_until("what was hoped for")


def test_leaving_stops_the_program() -> None:
    with terminal(["sleep", "1000"], os.environ) as sleeping:
        process = sleeping.process
    assert process.poll() is not None
