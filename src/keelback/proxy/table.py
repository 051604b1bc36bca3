"""The nftables table a proxy owns: what it should hold, and scripts that make it so.

The table is never read back. A whole script replaces it atomically, at the start and whenever an update failed; an
update script changes only the elements that differ from what the last accepted script left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from keelback.proxy import elements
from keelback.proxy.config import ProxyConfig
from keelback.proxy.elements import Slot
from keelback.proxy.plan import Frontend, Rule, is_version6

TABLE: Final = "keelback-proxy"
_ADDRESS = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}


@dataclass(slots=True)
class Table:
    """Collects the rules of Services. Two Services cannot have the same frontend: the first one keeps it."""

    config: ProxyConfig
    families: tuple[str, ...] = field(init=False)
    _rules: dict[Hashable, tuple[Rule, ...]] = field(default_factory=dict)
    _holders: dict[Frontend, Hashable] = field(default_factory=dict)
    _refused: dict[Hashable, tuple[Rule, ...]] = field(default_factory=dict)
    _elements: dict[Slot, str] = field(default_factory=dict)
    _references: Counter[Slot] = field(default_factory=Counter)
    _before: dict[Slot, str | None] = field(default_factory=dict)
    _chains: set[tuple[str, str]] = field(default_factory=set)
    _gone: list[tuple[Frontend, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        addresses = (*self.config.node_ips, *self.config.cluster_cidrs)
        self.families = ("ip", "ip6") if any(is_version6(address) for address in addresses) else ("ip",)

    def assign(self, service: Hashable, rules: Sequence[Rule]) -> None:
        """Make these the rules of a Service, none when it is gone."""
        self._set(service, rules)
        # What this one gave up may be wanted by another.
        for other, wanted in list(self._refused.items()):
            if other != service:
                self._set(other, (*self._rules.get(other, ()), *wanted))

    def is_changed(self) -> bool:
        """Whether an update would do anything."""
        return any(self._elements.get(slot) != before for slot, before in self._before.items())

    def update(self) -> str:
        """A script from what the last accepted one left to what should be."""
        lines = []
        removed: dict[tuple[str, str], list[str]] = {}
        added: dict[tuple[str, str], list[str]] = {}
        for slot, before in self._before.items():
            now = self._elements.get(slot)
            if now == before:
                continue
            if before is not None:
                removed.setdefault((slot.family, slot.map), []).append(slot.key)
            if now is not None:
                added.setdefault((slot.family, slot.map), []).append(_entry(slot.key, now))
        for family, chain in sorted(self._needed_chains(self._before) - self._chains):
            lines.append(f"add chain {family} {TABLE} {chain}")
            lines.extend(f"add rule {family} {TABLE} {chain} {line}" for line in elements.chain_body(chain, family))
        for (family, name), keys in removed.items():
            lines.append(f"delete element {family} {TABLE} {name} {{ {', '.join(keys)} }}")
        for (family, name), entries in added.items():
            lines.append(f"add element {family} {TABLE} {name} {{ {', '.join(entries)} }}")
        return "\n".join(lines) + "\n"

    def whole(self) -> str:
        """A script that replaces the table, whatever was there."""
        return "".join(self._whole(family) for family in self.families)

    def accepted(self, is_whole: bool) -> list[tuple[Frontend, str]]:
        """Note that the kernel took the last script; UDP frontends and addresses of backends they no longer have.

        An empty address stands for clients that were refused before: they are remembered without a backend.
        """
        if is_whole:
            self._chains = self._needed_chains(self._elements)
        else:
            self._chains |= self._needed_chains(self._before)
        self._before.clear()
        gone, self._gone = self._gone, []
        return gone

    def _set(self, service: Hashable, rules: Sequence[Rule]) -> None:
        old = self._rules.pop(service, ())
        for rule in old:
            del self._holders[rule.frontend]
        kept = []
        refused = []
        for rule in rules:
            if rule.frontend in self._holders:
                refused.append(rule)
            else:
                self._holders[rule.frontend] = service
                kept.append(rule)
        if kept:
            self._rules[service] = tuple(kept)
        if refused:
            self._refused[service] = tuple(refused)
        else:
            self._refused.pop(service, None)
        if tuple(kept) != old:
            self._exchange(old, kept)

    def _exchange(self, old: Iterable[Rule], new: Iterable[Rule]) -> None:
        old, new = tuple(old), tuple(new)
        for rule in old:
            for slot, _ in elements.elements(rule):
                if slot.family not in self.families:
                    continue
                self._references[slot] -= 1
                if not self._references[slot]:
                    del self._references[slot]
                    self._before.setdefault(slot, self._elements.get(slot))
                    del self._elements[slot]
        for rule in new:
            for slot, value in elements.elements(rule):
                if slot.family not in self.families:
                    continue
                if self._elements.get(slot) != value:
                    self._before.setdefault(slot, self._elements.get(slot))
                    self._elements[slot] = value
                self._references[slot] += 1
        self._gone.extend(_gone_backends(old, new))

    def _needed_chains(self, slots: Iterable[Slot]) -> set[tuple[str, str]]:
        found = ((slot.family, elements.chain_of(self._elements.get(slot, ""))) for slot in slots)
        return {(family, chain) for family, chain in found if chain and chain != "refuse"}

    def _whole(self, family: str) -> str:
        entries: dict[str, list[str]] = {}
        for slot, value in self._elements.items():
            if slot.family == family:
                entries.setdefault(slot.map, []).append(_entry(slot.key, value))
        chains = sorted({chain for held, chain in self._needed_chains(self._elements) if held == family})
        # Each exists before it is deleted, so that the first start is no different from any other.
        head = f"add table {family} {TABLE}\ndelete table {family} {TABLE}\ntable {family} {TABLE} {{\n"
        body = [*_sets(family, self.config, entries)]
        body += [_chain(chain, elements.chain_body(chain, family)) for chain in ("refuse", *chains)]
        body += _base_chains(family)
        return head + "".join(body) + "}\n"


def removal(families: Sequence[str] = ("ip", "ip6")) -> str:
    """A script after which nothing is left of the proxy."""
    return "".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in families)


def _gone_backends(old: Iterable[Rule], new: Iterable[Rule]) -> list[tuple[Frontend, str]]:
    now = {rule.frontend: rule for rule in new}
    found = []
    for rule in old:
        if rule.frontend.protocol != "udp":
            continue
        successor = now.get(rule.frontend)
        held = _addresses(successor) if successor else set()
        found += [(rule.frontend, address) for address in sorted(_addresses(rule) - held)]
        if held and not _addresses(rule):
            found.append((rule.frontend, ""))
    return found


def _addresses(rule: Rule) -> set[str]:
    return {backend.address for backend in (*rule.backends, *(rule.inside or ()))}


def _entry(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key


def _sets(family: str, config: ProxyConfig, entries: Mapping[str, Sequence[str]]) -> Iterable[str]:
    address = _ADDRESS[family]
    service = f"{address} . inet_proto . inet_service"
    yield _ranges("cluster", family, config.cluster_cidrs)
    yield _ranges("pods", family, config.pod_cidrs or config.cluster_cidrs)
    for kind, name, declared in (
        ("map", elements.SERVICES, f"type {service} : verdict;"),
        ("map", elements.INSIDE, f"type {service} : verdict;"),
        ("map", elements.REFUSED, f"type {service} : verdict;"),
        ("map", elements.ENDPOINTS, f"type {service} . mark : {address} . inet_service;"),
        ("map", elements.SLOTS, f"type {service} . mark : mark;"),
        ("map", elements.STICKY, f"type {service} . mark : verdict;"),
        ("map", "affinity", "type mark : mark; size 65536; flags dynamic,timeout; timeout 3h;"),
        ("set", elements.HAIRPIN, f"type {address} . {address};"),
        ("set", elements.GUARDED, f"type {service};"),
        ("set", elements.ALLOWED, f"type {service} . {address}; flags interval;"),
    ):
        held = ",\n\t\t".join(entries.get(name, ()))
        yield f"\t{kind} {name} {{\n\t\t{declared}\n"
        yield f"\t\telements = {{ {held} }}\n\t}}\n" if held else "\t}\n"


def _ranges(name: str, family: str, cidrs: Sequence[str]) -> str:
    held = ", ".join(cidr for cidr in cidrs if is_version6(cidr) == (family == "ip6"))
    listed = f"\t\telements = {{ {held} }}\n" if held else ""
    return f"\tset {name} {{\n\t\ttype {_ADDRESS[family]}; flags interval;\n{listed}\t}}\n"


def _base_chains(family: str) -> Iterable[str]:
    key = f"{family} daddr . meta l4proto . th dport"
    services = f"{key} vmap @{elements.SERVICES}"
    inside = f"{key} vmap @{elements.INSIDE}"
    refused = f"ct state new {key} vmap @{elements.REFUSED}"
    mark = f"{elements.MASQUERADE_MARK:#x}"
    multicast = "224.0.0.0/4" if family == "ip" else "ff00::/8"
    # Before translation, while the packet still says whom it is for.
    stranger = f"ct state new {key} @{elements.GUARDED} {key} . {family} saddr != @{elements.ALLOWED} drop"
    for hook in ("prerouting", "output"):
        yield _base(f"sources-{hook}", "filter", hook, "-110", (stranger,))
    yield _base("nat-prerouting", "nat", "prerouting", "dstnat", (f"{family} saddr @cluster {inside}", services))
    yield _base("nat-output", "nat", "output", "-100", (inside, services))
    # After translation: whatever still has a Service's address then has no endpoint. NAT chains cannot reject.
    for hook in ("input", "forward", "output"):
        yield _base(f"filter-{hook}", "filter", hook, "filter", (refused,))
    yield _base(
        "nat-postrouting",
        "nat",
        "postrouting",
        # Before the chains of CNI plugins, which accept what they do not care for.
        "srcnat - 1",
        (
            f"ct mark and {mark} == {mark} masquerade",
            f"ct status dnat {family} saddr . {family} daddr @{elements.HAIRPIN} masquerade",
            f"{family} saddr @pods {family} daddr != @cluster {family} daddr != {multicast} masquerade",
        ),
    )


def _base(name: str, kind: str, hook: str, priority: str, lines: Sequence[str]) -> str:
    return _chain(name, (f"type {kind} hook {hook} priority {priority}; policy accept;", *lines))


def _chain(name: str, lines: Sequence[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"
