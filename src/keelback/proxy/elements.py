"""Rules as elements of a few flat nftables maps, and the chains their verdicts name. Pure.

There is no chain per Service: a chain is named for what it does (`cluster3`: choose one of three, masquerade who is no
pod), and so made from its name alone. See docs/adr/0011-flat-service-maps.md.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from keelback.proxy.plan import Backend, Rule, is_version6

SERVICES: Final = "services"
INSIDE: Final = "inside"
REFUSED: Final = "refused"
ENDPOINTS: Final = "endpoints"
SLOTS: Final = "slots"
STICKY: Final = "sticky"
HAIRPIN: Final = "hairpin"
GUARDED: Final = "guarded"
ALLOWED: Final = "allowed"

MASQUERADE_MARK: Final = 0x8000_0000
_INSIDE_OFFSET = 4096
MAX_BACKENDS: Final = _INSIDE_OFFSET
_CHAIN = re.compile(r"(cluster|external|local|inside)(\d+)(?:for(\d+))?|stick(\d+)")
_SERVICE = "{ip} daddr . meta l4proto . th dport"


class Slot(NamedTuple):
    """Where an element stands: the key is unique in its map."""

    family: str
    map: str
    key: str


def elements(rule: Rule) -> Iterator[tuple[Slot, str]]:
    """The elements of one rule: slots and what they hold (nothing in a set)."""
    frontend = rule.frontend
    family = "ip6" if is_version6(frontend.address) else "ip"
    key = f"{frontend.address} . {frontend.protocol} . {frontend.port}"
    suffix = f"for{rule.affinity_seconds}" if rule.affinity_seconds else ""

    backends = rule.backends[:MAX_BACKENDS]
    if backends:
        yield Slot(family, SERVICES, key), f"goto {rule.treatment}{len(backends)}{suffix}"
        yield from _choices(family, key, backends, 0, rule.affinity_seconds)
    else:
        yield Slot(family, REFUSED, key), "drop" if rule.is_elsewhere else "goto refuse"
    if rule.inside:
        inside = rule.inside[:MAX_BACKENDS]
        yield Slot(family, INSIDE, key), f"goto inside{len(inside)}{suffix}"
        yield from _choices(family, key, inside, _INSIDE_OFFSET, rule.affinity_seconds)
    if rule.sources:
        yield Slot(family, GUARDED, key), ""
    for source in rule.sources:
        yield Slot(family, ALLOWED, f"{key} . {source}"), ""
    for backend in {*backends, *(rule.inside or ())}:
        if backend.is_local:
            yield Slot(family, HAIRPIN, f"{backend.address} . {backend.address}"), ""


def chain_of(verdict: str) -> str:
    """The chain a verdict goes to, or nothing."""
    return verdict.removeprefix("goto ") if verdict.startswith("goto ") else ""


def chain_body(chain: str, family: str) -> tuple[str, ...]:
    """The statements of a chain, by its name. Raises ValueError for a name that says nothing."""
    if chain == "refuse":
        # A reset is believed at once; an ICMP error in answer to the first SYN costs the client a second.
        return ("meta l4proto tcp reject with tcp reset", "reject")
    match = _CHAIN.fullmatch(chain)
    if match is None:
        raise ValueError(chain)
    key = _SERVICE.format(ip=family)
    treatment, count, affinity, stick = match.groups()
    choose = f"dnat {family} to {key} . meta mark map @{ENDPOINTS}"
    identify = f"meta mark set {key} . meta mark map @{SLOTS}"
    if stick:
        remember = f"update @affinity {{ ct mark timeout {stick}s : meta mark }}"
        others = (line for slot in (0, _INSIDE_OFFSET) for line in (f"meta mark set {slot}", identify, choose))
        return (remember, choose, *others)
    masquerade = f"ct mark set ct mark or {MASQUERADE_MARK:#x}"
    # Who connects to what goes by a hash: nft aborts where an IPv6 key and its value take too many registers. All
    # chains must come to the same one, so the seed is fixed.
    hashed = f"ct mark set jhash {family} saddr . {key} mod {MASQUERADE_MARK} seed 0x6b62"
    body = [hashed] if affinity else []
    if treatment == "external":
        body.append(masquerade)
    elif treatment in {"cluster", "inside"}:
        body.append(f"{family} saddr != @cluster {masquerade}")
    first = _INSIDE_OFFSET if treatment == "inside" else 0
    pick = f"meta mark set numgen random mod {count}" + (f" offset {first}" if first else "")
    # The kernel looks one thing up after the other: where the number of endpoints has sunk meanwhile, the slot may be
    # gone that was picked. The first is there as long as there is any.
    again = f"meta mark set {first}"
    if not affinity:
        return (*body, pick, choose, again, choose)
    # A remembered endpoint that is gone is not in the map: the client falls through to a new choice.
    stays = f"{key} . meta mark vmap @{STICKY}"
    remembered = "meta mark set ct mark map @affinity"
    # An update refreshes an entry's time but never its value, so what is remembered wrongly goes first.
    forget = "delete @affinity { ct mark : meta mark }"
    return (*body, remembered, stays, forget, pick, identify, stays, again, identify, stays)


def _choices(
    family: str, key: str, backends: Sequence[Backend], offset: int, affinity: int
) -> Iterator[tuple[Slot, str]]:
    identities = _identities(backends) if affinity else ()
    for index, backend in enumerate(backends):
        slot = f"{key} . {offset + index}"
        target = f"{backend.address} . {backend.port}"
        if not affinity:
            yield Slot(family, ENDPOINTS, slot), target
            continue
        identity = f"{key} . {identities[index]}"
        yield Slot(family, SLOTS, slot), str(identities[index])
        yield Slot(family, ENDPOINTS, identity), target
        yield Slot(family, STICKY, identity), f"goto stick{affinity}"


def _identities(backends: Sequence[Backend]) -> list[int]:
    """A number for each backend that it keeps while others come and go: what clients are remembered by.

    The bits that others use as packet marks (0x2000 of portmap, 0x4000 and 0x8000 of kube-proxy) stay clear.
    """
    taken: set[int] = set()
    result = []
    for backend in backends:
        number = _identity(f"{backend.address} {backend.port}")
        while number in taken:
            number = 0x1000_0000 | ((number + 1) & 0x0FFF_0FFF)
        taken.add(number)
        result.append(number)
    return result


def _identity(text: str) -> int:
    number = zlib.crc32(text.encode()) & 0xFFFFFF
    return 0x1000_0000 | (number >> 12) << 16 | number & 0xFFF
