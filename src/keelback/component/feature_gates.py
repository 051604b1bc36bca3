"""Feature gates: which behaviour is on, from the defaults of each and `--feature-gates=A=true,B=false`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from keelback.apimachinery.kubernetes_versions import KubernetesVersion
from keelback.component.http import parse_bool
from keelback.component.metrics import Registry


class Stage(Enum):
    """How far a feature has come."""

    ALPHA = "ALPHA"
    BETA = "BETA"
    GA = ""
    DEPRECATED = "DEPRECATED"


@dataclass(frozen=True, slots=True)
class Gate:
    """A feature's default; a locked one can only be set to it."""

    default: bool
    stage: Stage = Stage.GA
    locked: bool = False


@dataclass(frozen=True, slots=True)
class FeatureGates:
    """The gates a component knows and what was asked of them."""

    known: Mapping[str, Gate]
    asked: Mapping[str, bool]

    @classmethod
    def of(cls, known: Mapping[str, Gate], text: Mapping[str, str]) -> FeatureGates:
        """From the flag's pairs. Raises ValueError with upstream's words for what cannot be."""
        asked: dict[str, bool] = {}
        for name, value in text.items():
            try:
                wanted = parse_bool(value)
            except ValueError:
                raise ValueError(
                    f'invalid value of {name}={value}, err: strconv.ParseBool: parsing "{value}": invalid syntax'
                ) from None
            if name not in ("AllAlpha", "AllBeta"):
                gate = known.get(name)
                if gate is None:
                    raise ValueError(f"unrecognized feature gate: {name}")
                if gate.locked and wanted != gate.default:
                    shown = str(gate.default).lower()
                    raise ValueError(f"cannot set feature gate {name} to {value}, feature is locked to {shown}")
            asked[name] = wanted
        return cls(known, asked)

    def enabled(self, name: str) -> bool:
        """Whether the feature is on. Raises KeyError for an unknown one: a mistake in the code."""
        gate = self.known[name]
        if name in self.asked:
            return self.asked[name]
        if gate.stage is Stage.ALPHA and "AllAlpha" in self.asked:
            return self.asked["AllAlpha"]
        if gate.stage is Stage.BETA and "AllBeta" in self.asked:
            return self.asked["AllBeta"]
        return gate.default

    def changed(self) -> Iterator[str]:
        """The gates that are not as they are by default, by name."""
        for name, gate in self.known.items():
            if self.enabled(name) != gate.default:
                yield name


@lru_cache(maxsize=2)
def known(version: KubernetesVersion) -> Mapping[str, Gate]:
    """The gates that a Kubernetes version has, by name."""
    # Only who sets a gate, or asks for the metrics, needs the table.
    from importlib.resources import files

    lines = files("keelback.component").joinpath("feature_gates.txt").read_text("utf-8").splitlines()
    found: dict[str, Gate] = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, said = line.partition(" ")
            gate = _gate(said, version.minor)
            if gate is not None:
                found[name] = gate
    return found


_STAGES = {"a": Stage.ALPHA, "b": Stage.BETA, "g": Stage.GA, "d": Stage.DEPRECATED}


def _gate(said: str, minor: int) -> Gate | None:
    """A gate as a minor version has it, from what a line says of all; None where it is not there yet, or gone."""
    stage: Stage | None = None
    default = locked = False
    for word, digits in re.findall(r"([a-z]+)(\d+)", said):
        if int(digits) > minor:
            continue
        match word:
            case "on" | "off":
                default = word == "on"
            case "locked":
                locked = True
            case "gone":
                return None
            case _:
                stage = _STAGES[word]
    return None if stage is None else Gate(default, stage, locked)


def judged(version: KubernetesVersion, text: Mapping[str, str], switchable: Collection[str]) -> Mapping[str, bool]:
    """What `--feature-gates` asks for. Raises ValueError for what there is not, and for what cannot be done here.

    `switchable` are the gates that the component acts on; others can only be left as they are.
    """
    gates = FeatureGates.of(known(version), text)
    for name in gates.changed():
        if name not in switchable:
            wanted, usual = ("on", "off") if gates.enabled(name) else ("off", "on")
            raise ValueError(
                f"cannot turn feature gate {name} {wanted}: this component has its behaviour only as it is by default "
                f"in Kubernetes {version}, {usual}"
            )
    return gates.asked


def publish(registry: Registry, version: KubernetesVersion, asked: Mapping[str, bool]) -> None:
    """Put each gate's state into the metrics, as every component of Kubernetes does."""
    gauge = registry.gauge(
        "kubernetes_feature_enabled",
        "[BETA] This metric records the data about the stage and enablement of a k8s feature.",
        ("name", "stage"),
    )
    is_filled = False

    def fill() -> None:
        # Gates stay as they are: the first collection notes them, so that starting costs nothing.
        nonlocal is_filled
        if not is_filled:
            is_filled = True
            gates = FeatureGates(known(version), asked)
            for name, gate in gates.known.items():
                gauge.set(float(gates.enabled(name)), name, gate.stage.value)

    registry.before_collection(fill)
