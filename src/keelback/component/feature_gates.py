"""Feature gates: which behaviour is on, from the defaults of each and `--feature-gates=A=true,B=false`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from keelback.component.http import parse_bool


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
