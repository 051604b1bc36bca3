"""The API server's flags about single resources: which ports Services get, how long events last, what pods may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from keelback.component.flags import Duration, FlagError


@dataclass(frozen=True, kw_only=True)
class ResourceOptions:
    service_node_port_range: Annotated[str, "The ports of Services on nodes, first and last."] = "30000-32767"
    event_ttl: Annotated[Duration, "How long events are kept."] = 3600.0
    allow_privileged: Annotated[bool, "Let pods have privileged containers. Upstream's default is false."] = True

    def check_resources(self) -> None:
        """Raises FlagError for what cannot be meant."""
        self.node_ports()
        if self.event_ttl <= 0:
            raise FlagError("--event-ttl must be positive")

    def node_ports(self) -> tuple[int, int]:
        """The first and the last; 30000+100 is written for a hundred more, 30000 for one. Raises FlagError."""
        first, is_span, last = self.service_node_port_range.partition("-")
        plus = not is_span
        if plus:
            first, _, last = self.service_node_port_range.partition("+")
        try:
            low = int(first)
            high = low + int(last or 0) if plus else int(last)
        except ValueError:
            low = high = 0
        if not 0 < low <= high <= 65535:
            raise FlagError(
                f'invalid argument "{self.service_node_port_range}" for "--service-node-port-range" flag: expected the '
                "first and the last port, such as 30000-32767"
            )
        return low, high
