"""NodePorts: a host port is taken once for each address and protocol."""

from __future__ import annotations

import numpy as np

from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) didn't have free ports for the requested pod ports",))
_ANY = "0.0.0.0"  # noqa: S104 - the API's word for any address


class NodePorts:
    name = "NodePorts"
    scope = Scope.NODE_PODS
    wakes_on = frozenset({Event.NODE_ADDED, Event.ASSIGNED_POD_REMOVED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where none of the pod's host ports is taken."""
        if not pod.host_ports:
            return None
        mask = np.ones(len(nodes), np.bool_)
        for ip, protocol, port in pod.host_ports:
            for node_name, taken in nodes.port_holders(protocol, port).items():
                if ip == _ANY or ip in taken or _ANY in taken:
                    mask[nodes.row_of[node_name]] = False
        return mask[rows]

    def filter_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> bool:
        """As `filter`, of one node."""
        node_name = nodes.nodes[row].name
        for ip, protocol, port in pod.host_ports:
            taken = nodes.port_holders(protocol, port).get(node_name)
            if taken and (ip == _ANY or ip in taken or _ANY in taken):
                return False
        return True

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Each host port that is taken, and by whom."""
        wishes = []
        for ip, protocol, port in pod.host_ports:
            holders = sorted(
                f"{one.namespace}/{one.name}"
                for one in nodes.pods_on(nodes.nodes[row].name)
                for their_ip, their_protocol, their_port in one.info.host_ports
                if (their_protocol, their_port) == (protocol, port) and (ip == their_ip or _ANY in (ip, their_ip))
            )
            if holders:
                wishes.append(f"free host port {port}/{protocol}, which {', '.join(holders)} has")
        return tuple(wishes)
