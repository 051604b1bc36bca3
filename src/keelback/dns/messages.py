"""From wire messages to questions and back: what is refused, how answers are cut to what a client can take. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord

from keelback.dns.answers import Answer

HEADER_BYTES: Final = 12
_ANY_CLASS: Final = 255
PLAIN_BYTES: Final = 512
_MAX_UDP_BYTES: Final = 4096
MAX_BYTES: Final = 65_535


@dataclass(frozen=True, slots=True)
class Question:
    """One question as it came. `labels` are lower case; `size_bytes` is what fits into a datagram for this client."""

    record: DNSRecord
    labels: tuple[str, ...]
    qtype: int
    size_bytes: int
    has_edns: bool


class Refused(Exception):
    """A message that gets an error, or (`reply` is empty) no answer at all."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("refused")
        self.reply = reply


def parse(message: bytes) -> Question:
    """The question of a message. Raises Refused."""
    if len(message) < HEADER_BYTES or message[2] & 0x80:
        # Too short to have an identifier, or an answer: answering answers makes loops.
        raise Refused(b"")
    opcode = message[2] >> 3 & 0xF
    if opcode != OPCODE.QUERY:
        raise Refused(error(message, RCODE.NOTIMP))
    try:
        record = DNSRecord.parse(message)
    except Exception:
        # The parser says that a message is broken in many ways; none of them is ours to tell apart.
        raise Refused(error(message, RCODE.FORMERR)) from None
    if len(record.questions) != 1:
        raise Refused(error(message, RCODE.FORMERR))
    question = record.questions[0]
    if question.qclass not in {CLASS.IN, _ANY_CLASS}:
        raise Refused(error(message, RCODE.REFUSED))
    labels = tuple(label.decode("latin-1").lower() for label in question.qname.label)
    options = [extra for extra in record.ar if extra.rtype == QTYPE.OPT]
    size = max(PLAIN_BYTES, min(_MAX_UDP_BYTES, options[0].rclass)) if options else PLAIN_BYTES
    return Question(record, labels, question.qtype, size, bool(options))


def error(message: bytes, rcode: int) -> bytes:
    """An answer that holds nothing but an error; none at all to what has no header."""
    if len(message) < HEADER_BYTES:
        return b""
    header = DNSHeader(id=int.from_bytes(message[:2], "big"), bitmap=0)
    header.qr, header.ra, header.rcode = 1, 1, rcode
    header.opcode, header.rd = message[2] >> 3 & 0xF, message[2] & 1
    return bytes(DNSRecord(header).pack())


def reply(question: Question, found: Answer, *, limit_bytes: int, chance: random.Random | None = None) -> bytes:
    """The message for an answer, in a random order for those that take the first, and cut to `limit_bytes`."""
    answers = list(found.answers)
    if chance is not None and len({record.rtype for record in answers}) == 1:
        chance.shuffle(answers)
    packed = _pack(question, found, answers, found.additional, is_cut=False)
    if len(packed) <= limit_bytes:
        return packed
    # Additional records are a courtesy: leaving them out is no truncation.
    packed = _pack(question, found, answers, (), is_cut=False)
    while len(packed) > limit_bytes and answers:
        # Not empty: some clients never come back by TCP.
        answers = answers[: len(answers) * limit_bytes // len(packed)]
        packed = _pack(question, found, answers, (), is_cut=True)
    return packed


def _pack(question: Question, found: Answer, answers: Sequence[RR], additional: Sequence[RR], *, is_cut: bool) -> bytes:
    asked = question.record
    header = DNSHeader(id=asked.header.id, bitmap=0)
    header.qr, header.aa, header.ra = 1, 1, 1
    header.rd, header.rcode, header.tc = asked.header.rd, found.rcode, int(is_cut)
    first = asked.questions[0]
    message = DNSRecord(header, questions=[DNSQuestion(first.qname, first.qtype, first.qclass)])
    message.add_answer(*answers)
    message.add_auth(*found.authority)
    message.add_ar(*additional)
    if question.has_edns:
        message.add_ar(EDNS0(udp_len=_MAX_UDP_BYTES))
    return bytes(message.pack())
