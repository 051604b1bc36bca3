"""Answers from outside, kept for as long as they say and half a minute at most: denials too (RFC 2308).

Pods ask the same few names again and again, and every lookup of a name that is not there costs as much as one that is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from dnslib import QTYPE, RCODE, DNSRecord

from keelback.concurrency.clock import Clock

MAX_SECONDS: Final = 30
_MAX_ENTRIES: Final = 10_000

Key: TypeAlias = bytes
"""All of a question but its identifier: flags and options change the answer."""


class _Kept(NamedTuple):
    stored_at: float
    expires_at: float
    message: bytes


@dataclass(slots=True)
class AnswerCache:
    """The least recently asked are forgotten first."""

    clock: Clock
    _kept: OrderedDict[Key, _Kept] = field(default_factory=OrderedDict)

    def get(self, question: bytes) -> bytes | None:
        """The answer to a question, with the time that its records still have, or None."""
        key = question[2:]
        kept = self._kept.get(key)
        if kept is None:
            return None
        now = self.clock.monotonic()
        if now >= kept.expires_at:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return question[:2] + _aged(kept.message, int(now - kept.stored_at))[2:]

    def put(self, question: bytes, message: bytes) -> None:
        """Keep an answer if it may be kept."""
        seconds = lifetime_seconds(message)
        if seconds <= 0:
            return
        now = self.clock.monotonic()
        self._kept[question[2:]] = _Kept(now, now + seconds, message)
        while len(self._kept) > _MAX_ENTRIES:
            self._kept.popitem(last=False)


def lifetime_seconds(message: bytes) -> int:
    """How long an answer may be kept; not at all if it is cut, an error, or cannot be read."""
    try:
        found = DNSRecord.parse(message)
    except Exception:
        return 0
    if found.header.tc or found.header.rcode not in {RCODE.NOERROR, RCODE.NXDOMAIN}:
        return 0
    if found.rr and found.header.rcode == RCODE.NOERROR:
        return int(min(MAX_SECONDS, *(record.ttl for record in found.rr)))
    denials = [min(record.ttl, record.rdata.times[4]) for record in found.auth if record.rtype == QTYPE.SOA]
    # A denial without its SOA does not say how long it holds.
    return int(min(MAX_SECONDS, *denials)) if denials else 0


def _aged(message: bytes, seconds: int) -> bytes:
    if not seconds:
        return message
    found = DNSRecord.parse(message)
    for record in (*found.rr, *found.auth, *found.ar):
        if record.rtype != QTYPE.OPT:
            record.ttl = max(0, record.ttl - seconds)
    return bytes(found.pack())
