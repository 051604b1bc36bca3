"""How many devices of a class each node reaches, and how many of them are taken: what it offers of an extended resource
that devices stand for. A pool that its driver is still publishing offers nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keelback.api.resource_v1 import DeviceClass
from keelback.scheduling import device_allocator
from keelback.scheduling.device_pools import DevicePools
from keelback.scheduling.device_usage import DeviceUsage
from keelback.scheduling.node_table import NodeTable


class DeviceTotals:
    """Those of one class. Both columns have a number for each row, and are not to be changed."""

    def __init__(self, device_class: DeviceClass, pools: DevicePools, usage: DeviceUsage) -> None:
        self._selectors = tuple(one.cel.expression for one in device_class.spec.selectors if one.cel is not None)
        self._pools = pools
        self._usage = usage
        self._epoch = -1
        self._pools_seen = 0
        self._usage_seen = 0
        self.offered: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.taken: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def bring_up_to_date(self, nodes: NodeTable) -> None:
        """Count again where something changed."""
        pools, usage = self._pools, self._usage
        pools.bring_up_to_date(nodes)
        rows = pools.touched_since(self._pools_seen) if self._epoch == pools.epoch else None
        touched = usage.touched_since(self._usage_seen)
        if rows is None or touched is None:
            self.offered, self.taken = np.zeros(len(nodes), np.int64), np.zeros(len(nodes), np.int64)
            rows, touched = set(range(len(nodes))), set()
        self._epoch, self._pools_seen, self._usage_seen = pools.epoch, pools.position, usage.position
        for row in rows.union(*map(pools.reaching, touched)):
            self.offered[row], self.taken[row] = self._count(row)

    def _count(self, row: int) -> tuple[int, int]:
        offered = taken = 0
        for view in self._pools.of(row):
            if not view.is_usable:
                continue
            for device, match in zip(view.devices, device_allocator.picked(view, self._selectors), strict=True):
                if not isinstance(match, bool):
                    # As upstream: where the class cannot be asked about a device, the node offers none.
                    return 0, 0
                offered += match
                taken += match and (self._usage.is_held(device.id) or self._usage.is_shared(device.id))
        return offered, taken
