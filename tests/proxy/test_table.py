"""Scripts: a golden one to read, and the property that updates lead where a whole one would."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.proxy import elements
from keelback.proxy.config import ProxyConfig
from keelback.proxy.plan import Backend, Frontend, Rule
from keelback.proxy.table import Table

CONFIG = ProxyConfig("node-a", ("172.18.0.2", "fd00:18::2"), ("10.244.0.0/16", "fd00:244::/48"))
GOLDEN = Path(__file__).with_name("golden.nft")
LOCAL, REMOTE = Backend("10.244.0.5", 8080, True), Backend("10.244.1.6", 8080, False)
WEB = Frontend("10.96.0.20", "tcp", 80)
DNS = Frontend("10.96.0.53", "udp", 53)


def test_the_golden_script() -> None:
    """Delete the file to have it written anew; then read the difference."""
    table = Table(CONFIG)
    table.assign("web", (Rule(WEB, "cluster", (LOCAL, REMOTE)), Rule(DNS, "cluster", ())))
    node_port = Frontend("172.18.0.2", "tcp", 30080)
    table.assign("local", (Rule(node_port, "local", (), (REMOTE,), is_elsewhere=True),))
    balancer = Frontend("192.0.2.1", "tcp", 80)
    table.assign("balanced", (Rule(balancer, "external", (LOCAL,), sources=("10.0.0.0/8", "192.0.2.0/24")),))
    table.assign("sticky", (Rule(Frontend("198.51.100.1", "tcp", 443), "external", (LOCAL,), affinity_seconds=60),))
    six = Frontend("fd00:96::20", "tcp", 80)
    table.assign("six", (Rule(six, "cluster", (Backend("fd00:244::5", 8080, True),)),))
    script = table.whole()
    if not GOLDEN.exists():
        GOLDEN.write_text(script)
    assert script == GOLDEN.read_text()


def test_one_more_endpoint_is_one_more_element_and_another_verdict() -> None:
    table = Table(CONFIG)
    table.assign("web", (Rule(WEB, "cluster", (LOCAL,)),))
    table.accepted(True)
    table.assign("web", (Rule(WEB, "cluster", (LOCAL, REMOTE)),))
    lines = [line for line in table.update().splitlines() if " element " in line]
    assert lines == [
        "delete element ip keelback-proxy services { 10.96.0.20 . tcp . 80 }",
        "add element ip keelback-proxy services { 10.96.0.20 . tcp . 80 : goto cluster2 }",
        "add element ip keelback-proxy endpoints { 10.96.0.20 . tcp . 80 . 1 : 10.244.1.6 . 8080 }",
    ]


def test_what_changes_back_before_it_is_applied_is_no_change() -> None:
    table = Table(CONFIG)
    table.assign("web", (Rule(WEB, "cluster", (LOCAL,)),))
    table.accepted(True)
    table.assign("web", ())
    assert table.is_changed()
    table.assign("web", (Rule(WEB, "cluster", (LOCAL,)),))
    assert not table.is_changed()


def test_a_frontend_that_two_want_goes_to_the_second_when_the_first_is_gone() -> None:
    table = Table(CONFIG)
    table.assign("first", (Rule(WEB, "external", (LOCAL,)),))
    table.assign("second", (Rule(WEB, "external", (REMOTE,)),))
    assert "10.244.0.5 . 8080" in table.whole()
    assert "10.244.1.6 . 8080" not in table.whole()
    table.assign("first", ())
    assert "10.244.1.6 . 8080" in table.whole()
    table.assign("second", ())
    assert WEB.address not in table.whole()


def test_flows_of_udp_endpoints_that_are_gone_are_named() -> None:
    table = Table(CONFIG)
    table.assign("dns", (Rule(DNS, "cluster", ()), Rule(WEB, "cluster", (LOCAL,))))
    assert table.accepted(True) == []
    table.assign("dns", (Rule(DNS, "cluster", (LOCAL, REMOTE)), Rule(WEB, "cluster", ())))
    # Clients that were refused are remembered as not translated.
    assert table.accepted(False) == [(DNS, "")]
    table.assign("dns", (Rule(DNS, "cluster", (REMOTE,)),))
    assert table.accepted(False) == [(DNS, "10.244.0.5")]
    table.assign("dns", ())
    assert table.accepted(False) == [(DNS, "10.244.1.6")]


def test_an_identity_stays_while_others_come_and_go() -> None:
    three = tuple(Backend(f"10.244.0.{number}", 80, True) for number in (5, 6, 7))
    before = dict(elements.elements(Rule(WEB, "cluster", three, affinity_seconds=9)))
    after = dict(elements.elements(Rule(WEB, "cluster", three[1:], affinity_seconds=9)))
    kept = {slot for slot in before if slot.map == elements.STICKY} & after.keys()
    assert len(kept) == 2
    assert all(before[slot] == after[slot] for slot in after if slot.map in {elements.ENDPOINTS, elements.STICKY})
    # No bit that others read as a mark of theirs, and no slot's number.
    for slot in before:
        if slot.map == elements.STICKY:
            assert int(slot.key.rsplit(" ", 1)[1]) & 0xF000 == 0
            assert int(slot.key.rsplit(" ", 1)[1]) >= 0x1000_0000


@pytest.mark.parametrize("name", ["cluster", "x3", "cluster3for", "services"])
def test_a_chains_name_must_say_what_it_does(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        elements.chain_body(name, "ip")


backends = st.lists(
    st.builds(Backend, st.sampled_from([f"10.244.0.{n}" for n in range(2, 9)]), st.just(80), st.booleans()),
    max_size=5,
    unique_by=lambda backend: backend.address,
).map(tuple)
frontends = st.builds(
    Frontend, st.sampled_from(["10.96.0.1", "10.96.0.2"]), st.sampled_from(["tcp", "udp"]), st.sampled_from([80, 81])
)
rules = st.builds(
    Rule,
    frontends,
    st.sampled_from(["cluster", "external", "local"]),
    backends,
    st.none() | backends,
    st.sampled_from([0, 60]),
    st.booleans(),
    st.sampled_from([(), ("10.0.0.0/8",), ("10.0.0.0/8", "192.0.2.0/24")]),
)
changes = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(rules, max_size=3).map(tuple), st.booleans()), max_size=12
)


class Kernel:
    """Carries out scripts on dictionaries, as strictly as the real one: no element twice, none deleted that is not."""

    def __init__(self) -> None:
        self.elements: dict[tuple[str, str], str] = {}
        self.chains: set[str] = set()

    def update(self, script: str) -> None:
        for line in script.splitlines():
            words = line.split(" ", 5)
            match words[:2]:
                case ["add", "chain"]:
                    assert words[4] not in self.chains
                    self.chains.add(words[4])
                case ["delete", "element"]:
                    for key in words[5].strip("{ }").split(", "):
                        del self.elements[words[4], key]
                case ["add", "element"]:
                    for entry in words[5].strip("{ }").split(", "):
                        key, _, value = entry.partition(" : ")
                        assert (words[4], key) not in self.elements
                        self.elements[words[4], key] = value
                        chain = elements.chain_of(value)
                        assert not chain or chain == "refuse" or chain in self.chains


@settings(max_examples=60, deadline=None)
@given(changes)
def test_updates_lead_where_a_whole_script_would(steps: list[tuple[str, tuple[Rule, ...], bool]]) -> None:
    table, kernel = Table(CONFIG), Kernel()
    wanted: dict[str, tuple[Rule, ...]] = {}
    for service, rules, is_synced in steps:
        table.assign(service, rules)
        wanted[service] = rules
        if is_synced:
            kernel.update(table.update())
            table.accepted(False)
    kernel.update(table.update())
    script = table.whole()
    entries = Counter(f"{key} : {value}" if value else key for (_, key), value in kernel.elements.items())
    assert all(entry in script for entry in entries)
    # Every frontend that somebody wants is held by someone, and no other.
    held = {key for (name, key) in kernel.elements if name in {elements.SERVICES, elements.REFUSED}}
    asked = {rule.frontend for found in wanted.values() for rule in found}
    assert held == {f"{front.address} . {front.protocol} . {front.port}" for front in asked}
