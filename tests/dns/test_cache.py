"""What comes from outside is kept for as long as it may be, and grows old meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from dnslib import QTYPE, RCODE, RR, SOA, A, DNSRecord

from keelback.dns.cache import MAX_SECONDS, AnswerCache, lifetime_seconds

QUERY = DNSRecord.question("www.example.org")
ASKED = bytes(QUERY.pack())


class SetClock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def found(*, ttl: int = 20, rcode: int = RCODE.NOERROR, soa: bool = False, answers: bool = True) -> bytes:
    reply = QUERY.reply()
    reply.header.rcode = rcode
    if answers:
        reply.add_answer(RR("www.example.org", QTYPE.A, rdata=A("192.0.2.80"), ttl=ttl))
    if soa:
        reply.add_auth(
            RR("example.org", QTYPE.SOA, rdata=SOA("ns.example.org", "a.example.org", (1, 2, 3, 4, 7)), ttl=9)
        )
    return bytes(reply.pack())


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (found(), 20),
        (found(ttl=3600), MAX_SECONDS),
        (found(ttl=0), 0),
        (found(rcode=RCODE.NXDOMAIN, answers=False, soa=True), 7),
        (found(answers=False, soa=True), 7),
        (found(rcode=RCODE.NXDOMAIN, answers=False), 0),
        (found(rcode=RCODE.SERVFAIL), 0),
        (b"rubbish", 0),
    ],
)
def test_how_long_an_answer_holds(message: bytes, seconds: int) -> None:
    assert lifetime_seconds(message) == seconds


def test_a_kept_answer_ages_and_goes() -> None:
    clock = SetClock()
    cache = AnswerCache(clock)
    cache.put(ASKED, found())
    clock.seconds += 5
    again = b"\xab\xcd" + ASKED[2:]
    kept = cache.get(again)
    assert kept is not None
    assert kept[:2] == b"\xab\xcd"
    assert DNSRecord.parse(kept).a.ttl == 15
    clock.seconds += 15
    assert cache.get(again) is None


def test_other_flags_are_another_question() -> None:
    cache = AnswerCache(SetClock())
    cache.put(ASKED, found())
    assert cache.get(ASKED[:2] + b"\x00\x10" + ASKED[4:]) is None
