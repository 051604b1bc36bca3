"""What happens in a cluster that may let a rejected pod fit: the words of queueing hints."""

from __future__ import annotations

import enum
from typing import Final


class Event(enum.Enum):
    """One sort of change. A plugin names those after which a pod it rejected is worth another try."""

    NODE_ADDED = enum.auto()
    NODE_ALLOCATABLE_CHANGED = enum.auto()
    NODE_LABELS_CHANGED = enum.auto()
    NODE_TAINTS_CHANGED = enum.auto()
    """Taints, and whether the node is cordoned."""
    NODE_IMAGES_CHANGED = enum.auto()
    NODE_FEATURES_CHANGED = enum.auto()
    """The features that a node declares."""
    NODE_REMOVED = enum.auto()
    ASSIGNED_POD_ADDED = enum.auto()
    ASSIGNED_POD_CHANGED = enum.auto()
    ASSIGNED_POD_REMOVED = enum.auto()
    VICTIM_REMOVED = enum.auto()
    """As ASSIGNED_POD_REMOVED, of a pod that another one preempted. Whoever wakes on that wakes on this, unless it
    waits for victims of its own."""
    POD_CHANGED = enum.auto()
    """The rejected pod itself."""
    VOLUMES_CHANGED = enum.auto()
    """A claim, a volume or a storage class."""
    DEVICES_CHANGED = enum.auto()
    """There are other devices or device classes, or some were freed."""
    NAMESPACE_CHANGED = enum.auto()

    @property
    def label(self) -> str:
        """Its name in metrics, upstream's where upstream has one of the same meaning."""
        return _LABELS.get(self, self.name.title().replace("_", ""))


_LABELS: Final = {
    Event.NODE_ADDED: "NodeAdd",
    Event.NODE_ALLOCATABLE_CHANGED: "NodeUpdateNodeAllocatable",
    Event.NODE_LABELS_CHANGED: "NodeUpdateNodeLabel",
    Event.NODE_TAINTS_CHANGED: "NodeUpdateNodeTaint",
    Event.NODE_FEATURES_CHANGED: "NodeUpdateNodeDeclaredFeature",
    Event.NODE_REMOVED: "NodeDelete",
    Event.ASSIGNED_POD_ADDED: "AssignedPodAdd",
    Event.ASSIGNED_POD_CHANGED: "AssignedPodUpdate",
    Event.ASSIGNED_POD_REMOVED: "AssignedPodDelete",
    Event.VICTIM_REMOVED: "AssignedPodDelete",
    Event.DEVICES_CHANGED: "ResourceSliceUpdate",
    Event.POD_CHANGED: "UnschedulablePodUpdate",
}
