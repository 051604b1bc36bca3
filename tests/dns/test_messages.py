"""Messages of any bytes get a reply or none, never an exception; replies fit the client."""

from __future__ import annotations

import random

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.dns import messages
from keelback.dns.answers import Answer, Zone, answer
from keelback.dns.messages import Refused
from keelback.dns.records import EndpointRecord, Port, Records, ServiceRecord

RECORDS = Records(namespaces={"shop"})
RECORDS.put(ServiceRecord("shop", "web", ("10.96.0.20",), ports=(Port("http", "tcp", 80),)))
RECORDS.put(ServiceRecord("shop", "db", endpoints=(EndpointRecord("db-0", "10.244.0.5", (Port("", "tcp", 5432),)),)))
RECORDS.put(ServiceRecord("shop", "out", external_name="example.org"))
QUERY = DNSRecord.question("web.shop.svc.cluster.local").pack()


def reply(message: bytes, limit: int = 512) -> bytes | None:
    """What is answered to a message; None where others are asked."""
    try:
        question = messages.parse(message)
    except Refused as refusal:
        return refusal.reply
    found = answer(RECORDS, Zone(), question.labels, question.qtype)
    return messages.reply(question, found, limit_bytes=limit) if found is not None else None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_survived(message: bytes) -> None:
    found = reply(message)
    assert found is None or found == b"" or found[:2] == message[:2]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_any_question_behind_a_good_header_is_survived(rest: bytes) -> None:
    reply(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + rest)


LABELS = st.sampled_from(
    [
        b"web",
        b"db",
        b"db-0",
        b"out",
        b"shop",
        b"svc",
        b"pod",
        b"_http",
        b"_tcp",
        b"10-0-0-1",
        b"--1%lo",
        b"a.b",
        b"\xff",
    ]
) | st.binary(min_size=1, max_size=20)


@settings(max_examples=300, deadline=None)
@given(st.lists(LABELS, max_size=6), st.integers(0, 65535))
def test_any_name_of_the_domain_is_answered(labels: list[bytes], qtype: int) -> None:
    name = b"".join(bytes([len(label)]) + label for label in [*labels, b"cluster", b"local"])
    message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\0" + qtype.to_bytes(2, "big") + b"\0\1"
    found = reply(message)
    assert found
    assert found[:2] == b"\x12\x34"
    parsed = DNSRecord.parse(found)
    # The parser takes ASCII names only.
    assert parsed.header.rcode == RCODE.FORMERR or parsed.rr or parsed.auth
    if all(label.isalnum() and label.isascii() for label in labels):
        assert parsed.header.rcode in {RCODE.NOERROR, RCODE.NXDOMAIN}


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (QUERY[:2] + b"\x28" + QUERY[3:], RCODE.NOTIMP),
        (QUERY[:-6], RCODE.FORMERR),
        (QUERY[:4] + b"\0\0" + QUERY[6:12], RCODE.FORMERR),
        (QUERY[:-2] + b"\0\3", RCODE.REFUSED),
    ],
)
def test_what_cannot_be_answered_is_told_so(message: bytes, rcode: int) -> None:
    found = reply(message)
    assert found is not None
    assert DNSRecord.parse(found).header.rcode == rcode


def test_answers_are_not_answered() -> None:
    assert reply(QUERY[:2] + b"\x80" + QUERY[3:]) == b""


def test_names_are_found_in_any_case_and_come_back_as_asked() -> None:
    found = reply(DNSRecord.question("wEb.Shop.SVC.cluster.LOCAL").pack())
    parsed = DNSRecord.parse(found)
    assert str(parsed.q.qname) == "wEb.Shop.SVC.cluster.LOCAL."
    assert str(parsed.a.rdata) == "10.96.0.20"
    assert parsed.header.aa
    assert parsed.header.ra


def test_a_long_answer_is_cut_and_says_so() -> None:
    question = messages.parse(DNSRecord.question("db.shop.svc.cluster.local").pack())
    many = tuple(RR("db.shop.svc.cluster.local", QTYPE.A, rdata=A(f"10.244.0.{number}")) for number in range(100))
    cut = messages.reply(question, Answer(answers=many), limit_bytes=question.size_bytes)
    assert len(cut) <= 512
    assert DNSRecord.parse(cut).header.tc
    assert DNSRecord.parse(cut).rr
    whole = DNSRecord.parse(messages.reply(question, Answer(answers=many), limit_bytes=messages.MAX_BYTES))
    assert not whole.header.tc
    assert len(whole.rr) == 100


def test_clients_say_how_much_they_take() -> None:
    asked = DNSRecord.question("web.shop.svc.cluster.local")
    assert messages.parse(asked.pack()).size_bytes == 512
    asked.add_ar(EDNS0(udp_len=1232))
    assert messages.parse(asked.pack()).size_bytes == 1232
    assert messages.parse(asked.pack()).has_edns


def test_addresses_come_in_any_order() -> None:
    question = messages.parse(DNSRecord.question("db.shop.svc.cluster.local").pack())
    many = tuple(RR("db.shop.svc.cluster.local", QTYPE.A, rdata=A(f"10.244.0.{number}")) for number in range(9))
    chance = random.Random(1)
    firsts = {
        str(DNSRecord.parse(messages.reply(question, Answer(answers=many), limit_bytes=512, chance=chance)).a.rdata)
        for _ in range(50)
    }
    assert len(firsts) > 3
