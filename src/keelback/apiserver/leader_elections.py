"""Chooses who leads, of the candidates that LeaseCandidates name: those of the oldest version first (KEP-4355).

An election asks all candidates whether they are there, waits for a few seconds, and writes the Lease for the best of
those who answered. `plan` has all of it; what an election has come to is in the objects, so any server can go on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn, TypeAlias

from keelback.admission.builtin import FeatureGate
from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.coordination_v1beta1 import LeaseCandidate
from keelback.apimachinery import errors
from keelback.apimachinery.kubernetes_versions import KubernetesVersion
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver.lookup import CacheLookup
from keelback.client import Client
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.reconcile.leader_election import micro_time

GATE: Final = FeatureGate("CoordinatedLeaderElection", on_since=1 << 16)

_OLDEST: Final = "OldestEmulationVersion"
_ANSWER: Final = timedelta(seconds=5)
"""How long candidates have to say that they are there."""
_LEASE_SECONDS: Final = 5
_VALID: Final = timedelta(minutes=30)
"""After this a candidate that was not heard of is none; it is asked when half of it has gone by."""
_LOOK_SECONDS: Final = 1.0
_VERSION: Final = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:[-+].*)?")
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

_log = logger("leader_elections")


def are_held(version: KubernetesVersion, gates: Mapping[str, bool], lookup: CacheLookup) -> bool:
    """Whether the gate is on and candidates are kept."""
    kind = LeaseCandidate.__kind__
    return GATE.is_on(version, gates) and (kind.group, kind.plural) in lookup


@dataclass(frozen=True, slots=True)
class Ask:
    """Have these candidates say that they are there."""

    candidates: tuple[LeaseCandidate, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Make the Lease so; one without a holder where the strategy is somebody else's."""

    lease: Lease


Plan: TypeAlias = Ask | Write | None


def plan(name: str, namespace: str, lease: Lease | None, known: Sequence[LeaseCandidate], now: datetime) -> Plan:
    """The next step of the election for a Lease; None while there is nothing to do but wait."""
    candidates = [one for one in known if not is_gone(one, now)]
    if not candidates or not _is_needed(lease, candidates, now):
        return None
    silent = [one for one in candidates if not _has_answered(one, now)]
    ask = tuple(one for one in silent if _may_be_asked(one, now))
    if ask:
        return Ask(ask)
    if any(_is_asked(one, now) for one in silent):
        return None
    answered = [one for one in candidates if _has_answered(one, now)]
    strategy = _strategy(answered)
    if not strategy:
        return None
    best = _best(answered) if strategy == _OLDEST else None
    if strategy == _OLDEST and best is None:
        return None
    wanted = _lease(name, namespace, lease, strategy, None if best is None else best.metadata.name, now)
    return None if wanted == lease else Write(wanted)


def is_gone(candidate: LeaseCandidate, now: datetime) -> bool:
    """Whether it was not heard of for so long that it is no candidate."""
    return _renewed(candidate) + _VALID < now if candidate.spec.renew_time else True


def _is_needed(lease: Lease | None, candidates: Sequence[LeaseCandidate], now: datetime) -> bool:
    if lease is None or _is_over(lease, now) or not lease.spec.holder_identity:
        return True
    if any(_renewed(one) + _VALID / 2 < now for one in candidates):
        return True
    if _strategy(candidates) != _OLDEST:
        return False
    best = _best(candidates)
    return best is not None and best.metadata.name != lease.spec.holder_identity


def _is_over(lease: Lease, now: datetime) -> bool:
    spec = lease.spec
    if spec.renew_time is None or spec.lease_duration_seconds is None:
        return True
    return datetime.fromisoformat(spec.renew_time) + timedelta(seconds=spec.lease_duration_seconds) < now


def _has_answered(candidate: LeaseCandidate, now: datetime) -> bool:
    """Whether it has just said that it is there."""
    return not _is_asked(candidate, now) and _renewed(candidate) + _ANSWER > now


def _is_asked(candidate: LeaseCandidate, now: datetime) -> bool:
    """Whether it has been asked, has not answered, and still may."""
    asked = _asked(candidate)
    return asked + _ANSWER > now and _renewed(candidate) < asked if asked is not _NEVER else False


def _may_be_asked(candidate: LeaseCandidate, now: datetime) -> bool:
    """Whether it may be asked: who has not answered the last time is not asked again."""
    asked = _asked(candidate)
    return asked is _NEVER or (asked + _ANSWER < now and asked < _renewed(candidate))


def _strategy(candidates: Sequence[LeaseCandidate]) -> str:
    """What the newest candidates want; nothing where they do not agree, or where there are none."""
    newest = max((_version(one.spec.binary_version) for one in candidates), default=())
    wanted = {one.spec.strategy for one in candidates if _version(one.spec.binary_version) == newest}
    return wanted.pop() if len(wanted) == 1 else ""


def _best(candidates: Sequence[LeaseCandidate]) -> LeaseCandidate | None:
    """The one of the oldest version that it emulates, then of its own, then the one that is there the longest."""
    eligible = [one for one in candidates if _version(one.spec.emulation_version) and _version(one.spec.binary_version)]
    return min(eligible, key=_rank, default=None)


def _rank(candidate: LeaseCandidate) -> tuple[tuple[int, ...], tuple[int, ...], str, str]:
    meta, spec = candidate.metadata, candidate.spec
    made = "" if meta.creation_timestamp is None else meta.creation_timestamp.isoformat()
    return _version(spec.emulation_version), _version(spec.binary_version), made, meta.name


def _lease(name: str, namespace: str, lease: Lease | None, strategy: str, holder: str | None, now: datetime) -> Lease:
    taken = LeaseSpec(
        holder_identity=holder,
        lease_duration_seconds=_LEASE_SECONDS,
        renew_time=micro_time(now),
        strategy=strategy,
    )
    if lease is None:
        return Lease(metadata=ObjectMeta(name=name, namespace=namespace), spec=taken)
    spec: LeaseSpec = replace(lease.spec, strategy=strategy)
    if holder is None or spec.holder_identity == holder:
        return replace(lease, spec=spec)
    if not spec.holder_identity or _is_over(lease, now):
        return replace(lease, spec=replace(taken, lease_transitions=spec.lease_transitions))
    # Who leads is asked to end its term, and writes that it did.
    return replace(lease, spec=replace(spec, preferred_holder=holder))


def _version(text: str) -> tuple[int, ...]:
    """Its numbers; none for what is no version."""
    match = _VERSION.fullmatch(text)
    return () if match is None else tuple(int(part or 0) for part in match.groups())


def _renewed(candidate: LeaseCandidate) -> datetime:
    return _NEVER if candidate.spec.renew_time is None else datetime.fromisoformat(candidate.spec.renew_time)


def _asked(candidate: LeaseCandidate) -> datetime:
    return _NEVER if candidate.spec.ping_time is None else datetime.fromisoformat(candidate.spec.ping_time)


@dataclass(frozen=True, slots=True)
class LeaderElections:
    """Runs as long as the server does. Of several servers each does the same; who comes second changes nothing."""

    lookup: CacheLookup
    client: Client
    clock: Clock

    async def run(self) -> NoReturn:
        """Look every second, and step on where an election is due."""
        while True:
            await self.clock.sleep(_LOOK_SECONDS)
            await self.step()

    async def step(self) -> None:
        """Take the next step of each election, and delete candidates that are no more."""
        now = self.clock.now()
        by_lease: dict[tuple[str, str], list[LeaseCandidate]] = {}
        for one in await self.lookup.list(LeaseCandidate):
            try:
                if is_gone(one, now):
                    await self.client.delete(
                        LeaseCandidate,
                        one.metadata.name,
                        one.metadata.namespace,
                        resource_version=one.metadata.resource_version,
                    )
                else:
                    by_lease.setdefault((one.metadata.namespace, one.spec.lease_name), []).append(one)
            except errors.StatusError as error:
                _log.debug("A candidate was not deleted", name=one.metadata.name, error=str(error))
        for (namespace, name), candidates in by_lease.items():
            lease = self.lookup.peek(Lease, name, namespace)
            try:
                await self._carry_out(plan(name, namespace, lease, candidates, now), now)
            except errors.StatusError as error:
                # Another server, or the candidate itself, was first: what is there now is looked at next time.
                _log.debug("A step of an election was not taken", lease=f"{namespace}/{name}", error=str(error))

    async def _carry_out(self, step: Plan, now: datetime) -> None:
        match step:
            case Ask(candidates):
                for one in candidates:
                    await self.client.update(replace(one, spec=replace(one.spec, ping_time=micro_time(now))))
            case Write(lease):
                write = self.client.update if lease.metadata.resource_version else self.client.create
                await write(lease)
                _log.info("A leader was chosen", lease=lease.metadata.name, holder=lease.spec.holder_identity or "")
