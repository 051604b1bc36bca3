"""How simulated containers behave: what a pod's annotations say of each, and the chance in it. Pure.

A value is for every container of `spec.containers`, or `name=value` with commas between, which may name init
containers. Seconds may be a range, `5-10`: each life of a container draws its own from the seed and the pod's uid.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

PREFIX: Final = "simulated.keelback.dev/"
START_SECONDS: Final = PREFIX + "start-seconds"  # how long until the pod runs
RUN_SECONDS: Final = PREFIX + "run-seconds"  # how long a container runs; "forever" for one that does not end by itself
EXIT_CODE: Final = PREFIX + "exit-code"  # what it ends with: a number, 0 unless given, or "OOMKilled"
FAILURE_RATE: Final = PREFIX + "failure-rate"  # how many of its ends are failures, 0 to 1; exit-code says of what kind
READY_SECONDS: Final = PREFIX + "ready-seconds"  # how long after its start it becomes ready
UNHEALTHY_SECONDS: Final = PREFIX + "unhealthy-seconds"  # how long after its start its liveness probe begins to fail
IMAGE_ERROR: Final = PREFIX + "image-error"  # why its image cannot be pulled

KILLED: Final = 137
OOM_KILLED: Final = "OOMKilled"
_MOST_SECONDS: Final = 10 * 366 * 86400.0
PER_CONTAINER: Final = (RUN_SECONDS, EXIT_CODE, FAILURE_RATE, READY_SECONDS, UNHEALTHY_SECONDS, IMAGE_ERROR)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that chance draws between two bounds, in seconds."""

    least: float
    most: float

    def draw(self, chance: random.Random) -> float:
        """One length; always the same where the bounds are."""
        return self.least if self.least == self.most else chance.uniform(self.least, self.most)


_AT_ONCE: Final = Span(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Manners:
    """How one container behaves. Spans that are None never come to an end."""

    run: Span | None = None
    exit_code: int = 0
    exit_reason: str = ""
    failure_rate: float = 1.0
    ready: Span = _AT_ONCE
    unhealthy: Span | None = None
    image_error: str = ""


def span(text: str) -> Span:
    """Seconds, or a range of them. Raises ValueError."""
    least, is_range, most = text.strip().partition("-")
    found = Span(float(least), float(most if is_range else least))
    if not 0 <= found.least <= found.most <= _MOST_SECONDS:
        raise ValueError(f"{text!r} is neither a number of seconds nor a range of them")
    return found


def chance_of(seed: int, uid: str, container: str, attempt: int, what: str) -> random.Random:
    """What decides one thing of one life of a container: asked again it says the same."""
    return random.Random(f"{seed}/{uid}/{container}/{attempt}/{what}")


def value_for(annotations: Mapping[str, str], annotation: str, container: str, *, is_init: bool = False) -> str | None:
    """What an annotation says of a container."""
    told = annotations.get(annotation)
    if told is None:
        return None
    plain = None
    for part in told.split(","):
        name, is_named, value = part.strip().partition("=")
        if is_named and name.strip() == container:
            return value.strip()
        if not is_named:
            plain = name
    return None if is_init else plain


def manners(
    annotations: Mapping[str, str], container: str, *, is_init: bool = False, run: Span | None = None
) -> tuple[Manners, tuple[str, ...]]:
    """How a container behaves, and what could not be understood of it; `run` is how long it does unless it is said."""
    problems: list[str] = []

    def told(annotation: str, read: Callable[[str], T], default: T) -> T:
        text = value_for(annotations, annotation, container, is_init=is_init)
        if text is None:
            return default
        try:
            return read(text)
        except ValueError:
            problems.append(f"{annotation}: {text!r} is not understood")
            return default

    code, reason = told(EXIT_CODE, _exit, None) or (None, "")
    rate = told(FAILURE_RATE, _rate, None)
    if code is None:
        # Who says how often it fails means a failure.
        code = 0 if rate is None else 1
    return (
        Manners(
            run=told(RUN_SECONDS, _run, run),
            exit_code=code,
            exit_reason=reason,
            failure_rate=1.0 if rate is None else rate,
            ready=told(READY_SECONDS, span, _AT_ONCE),
            unhealthy=told(UNHEALTHY_SECONDS, span, None),
            image_error=told(IMAGE_ERROR, str, ""),
        ),
        tuple(problems),
    )


def end_of(one: Manners, chance: random.Random) -> tuple[int, str]:
    """The exit code and reason with which a container ends by itself."""
    if one.exit_code and (one.failure_rate >= 1.0 or chance.random() < one.failure_rate):
        return one.exit_code, one.exit_reason or "Error"
    return 0, "Completed"


def has_manners(annotations: Mapping[str, str]) -> bool:
    """Whether anything is said of containers."""
    return any(name in annotations for name in PER_CONTAINER)


def _run(text: str) -> Span | None:
    return None if text == "forever" else span(text)


def _exit(text: str) -> tuple[int, str] | None:
    if text == OOM_KILLED:
        return KILLED, OOM_KILLED
    code = int(text)
    if not 0 <= code <= 255:
        raise ValueError(text)
    return code, ""


def _rate(text: str) -> float | None:
    rate = float(text)
    if not 0.0 <= rate <= 1.0:
        raise ValueError(text)
    return rate
