"""Flags are read as upstream's command lines are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from keelback.component import flags
from keelback.component.feature_gates import FeatureGates, Gate, Stage
from keelback.component.flags import Duration, FlagError


@dataclass(frozen=True)
class Options:
    secure_port: Annotated[int, "The port."] = 6443
    bind_address: str = ""
    node_monitor_grace_period: Duration = 50.0
    authorization_mode: tuple[str, ...] = ("RBAC",)
    profiling: bool = True
    feature_gates: Mapping[str, str] = field(default_factory=dict)
    max_pods: int | None = None


def test_every_form_of_a_flag() -> None:
    options = flags.parse(
        Options,
        [
            "--secure-port=1",
            "--bind_address",
            "::1",
            "--node-monitor-grace-period=1m30s",
            "--authorization-mode=Node,RBAC",
            "--authorization-mode=Webhook",
            "--profiling=false",
            "--feature-gates=A=true,B=false",
            "--feature-gates=C=true",
            "--max-pods=7",
        ],
    )
    gates = {"A": "true", "B": "false", "C": "true"}
    assert options == Options(1, "::1", 90.0, ("Node", "RBAC", "Webhook"), False, gates, 7)
    assert flags.parse(Options, []) == Options()
    assert flags.parse(Options, ["--profiling"]).profiling


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--none=1"], "unknown flag: --none"),
        (["--secure-port"], "flag needs an argument: --secure-port"),
        (["--secure-port=x"], 'invalid argument "x" for "--secure-port" flag'),
        (["--node-monitor-grace-period=5"], "missing unit in duration"),
        (["--feature-gates=A"], "A must be formatted as key=value"),
        (["serve"], "unknown argument 'serve'"),
    ],
)
def test_mistakes_name_the_flag(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError, match=message):
        flags.parse(Options, arguments)


def test_usage_names_flags_and_defaults() -> None:
    assert "--secure-port\n        The port. (default 6443)" in flags.usage(Options)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (30, "30s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (0.0015, "1.5ms"),
        (1e-6, "1µs"),
        (61.5, "1m1.5s"),
        (-3, "-3s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert flags.duration_text(seconds) == text
    assert flags.parse_duration(text) == pytest.approx(seconds)


GATES = {
    "Old": Gate(True, Stage.GA, locked=True),
    "New": Gate(False, Stage.ALPHA),
    "Soon": Gate(True, Stage.BETA),
}


def test_gates() -> None:
    gates = FeatureGates.of(GATES, {"AllAlpha": "true", "Soon": "false"})
    assert [gates.enabled(name) for name in GATES] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"None": "true"}, "unrecognized feature gate: None"),
        ({"Old": "false"}, "cannot set feature gate Old to false, feature is locked to true"),
        ({"New": "maybe"}, "invalid value of New=maybe"),
    ],
)
def test_gates_that_cannot_be(text: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureGates.of(GATES, text)


def test_flags_are_written_as_they_are_read() -> None:
    given = flags.parse(Options, ["--authorization-mode=Node", "--feature-gates=B=true,A=false"])
    assert flags.written(given) == {
        "secure-port": "6443",
        "bind-address": "",
        "node-monitor-grace-period": "50s",
        "authorization-mode": "[Node]",
        "profiling": "true",
        "feature-gates": "A=false,B=true",
        "max-pods": "",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1hour", 'time: unknown unit "hour" in duration "1hour"'),
        ("-1d", 'time: unknown unit "d" in duration "-1d"'),
        (".s", 'time: invalid duration ".s"'),
    ],
)
def test_what_is_no_duration_is_told_in_gos_words(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="time: ") as refused:
        flags.parse_duration(text)
    assert str(refused.value) == told
