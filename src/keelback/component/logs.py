"""Structured logs: a constant sentence and key-values, one line each, in klog's text form or as JSON.

A component's `main` calls `configure` once; before that only warnings and errors are written, as text, to stderr.
Formatting is skipped altogether below the configured level, so a debug line costs a method call.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import msgspec

from keelback.concurrency.clock import Clock, SystemClock

DEBUG: Final = 0
INFO: Final = 1
WARNING: Final = 2
ERROR: Final = 3
_LETTERS = "DIWE"
_NAMES = ("debug", "info", "warning", "error")


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take one whole line, its newline included."""
        ...

    def flush(self) -> object:
        """Pass on what was written."""
        ...


@dataclass(slots=True)
class _Sink:
    """The one place lines leave the process; replaced in place by `configure` so that loggers made earlier follow."""

    level: int = WARNING
    json: bool = False
    stream: Stream | None = None
    clock: Clock = field(default_factory=SystemClock)


_sink = _Sink()


def configure(
    *,
    level: int = INFO,
    form: Literal["text", "json"] = "text",
    stream: Stream | None = None,
    clock: Clock | None = None,
) -> None:
    """Set the least level written, the form of the lines and where they go (stderr if not given).

    Warnings and errors of libraries that use the standard `logging` module are brought into the same stream.
    """
    _sink.level = level
    _sink.json = form == "json"
    _sink.stream = stream
    _sink.clock = clock or SystemClock()
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge(logging.WARNING))


def set_verbosity(number: int) -> None:
    """Write as much as a component of Kubernetes does with `-v=number`: details from 4 on."""
    _sink.level = DEBUG if number >= 4 else INFO


class Logger:
    """Writes lines under one name, each with the values bound to it."""

    __slots__ = ("_name", "_values")

    def __init__(self, name: str, values: dict[str, object] | None = None) -> None:
        self._name = name
        self._values = values or {}

    def with_values(self, **values: object) -> Logger:
        """A logger that adds these values to each line."""
        return Logger(self._name, {**self._values, **values})

    def is_enabled(self, level: int) -> bool:
        """Whether lines of this level are written: ask before computing costly values."""
        return level >= _sink.level

    def debug(self, sentence: str, **values: object) -> None:
        """What only someone looking for a fault wants to read."""
        if _sink.level <= DEBUG:
            _emit(DEBUG, self._name, sentence, {**self._values, **values})

    def info(self, sentence: str, **values: object) -> None:
        """What an administrator wants to read afterwards."""
        if _sink.level <= INFO:
            _emit(INFO, self._name, sentence, {**self._values, **values})

    def warning(self, sentence: str, **values: object) -> None:
        """Something unexpected that the component coped with."""
        if _sink.level <= WARNING:
            _emit(WARNING, self._name, sentence, {**self._values, **values})

    def error(self, sentence: str, **values: object) -> None:
        """Something failed; the values say what, `error=` why."""
        _emit(ERROR, self._name, sentence, {**self._values, **values})

    def exception(self, sentence: str, error: BaseException, **values: object) -> None:
        """An error nobody foresaw, with its traceback: for a loop's edge."""
        trace = "".join(traceback.format_exception(error))
        _emit(ERROR, self._name, sentence, {**self._values, **values, "error": error, "stacktrace": trace})


def logger(name: str) -> Logger:
    """A logger for a component or one of its parts: a short name such as `kubelet` or `apiserver.audit`."""
    return Logger(name)


def _emit(level: int, name: str, sentence: str, values: dict[str, object]) -> None:
    line = _json_line(level, name, sentence, values) if _sink.json else _text_line(level, name, sentence, values)
    stream = _sink.stream or sys.stderr
    stream.write(line)
    stream.flush()


def _text_line(level: int, name: str, sentence: str, values: dict[str, object]) -> str:
    now = _sink.clock.now()
    trace = values.pop("stacktrace", None)
    pairs = "".join(f" {key}={_quoted(value)}" for key, value in values.items())
    head = f"{_LETTERS[level]}{now:%m%d %H:%M:%S.%f} {os.getpid():7d} {name}] {_quoted(sentence)}{pairs}\n"
    return f"{head}{trace}" if trace else head


def _quoted(value: object) -> str:
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, BaseException):
        return msgspec.json.encode(str(value) or type(value).__name__).decode()
    return msgspec.json.encode(str(value)).decode()


def _json_line(level: int, name: str, sentence: str, values: dict[str, object]) -> str:
    plain = {
        key: value if value is None or isinstance(value, str | bool | int | float) else str(value) or repr(value)
        for key, value in values.items()
    }
    entry = {
        "ts": _sink.clock.now().timestamp() * 1000,
        "level": _NAMES[level],
        "logger": name,
        "msg": sentence,
        **plain,
    }
    return msgspec.json.encode(entry).decode() + "\n"


class _Bridge(logging.Handler):
    """Brings records of the standard library's logging into the stream."""

    def emit(self, record: logging.LogRecord) -> None:
        level = ERROR if record.levelno >= logging.ERROR else WARNING
        if level >= _sink.level:
            values: dict[str, object] = {}
            if record.exc_info and record.exc_info[1] is not None:
                values["stacktrace"] = "".join(traceback.format_exception(record.exc_info[1]))
            _emit(level, record.name, record.getMessage(), values)
