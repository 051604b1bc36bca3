"""What happens in a cluster that may let a rejected pod fit: the words of queueing hints."""

from __future__ import annotations

import enum


class Event(enum.Enum):
    """One sort of change. A plugin names those after which a pod it rejected is worth another try."""

    NODE_ADDED = enum.auto()
    NODE_ALLOCATABLE_CHANGED = enum.auto()
    NODE_LABELS_CHANGED = enum.auto()
    NODE_TAINTS_CHANGED = enum.auto()
    """Taints, and whether the node is cordoned."""
    NODE_IMAGES_CHANGED = enum.auto()
    NODE_REMOVED = enum.auto()
    ASSIGNED_POD_ADDED = enum.auto()
    ASSIGNED_POD_CHANGED = enum.auto()
    ASSIGNED_POD_REMOVED = enum.auto()
    POD_CHANGED = enum.auto()
    """The rejected pod itself."""
    VOLUMES_CHANGED = enum.auto()
    """A claim, a volume or a storage class."""
    NAMESPACE_CHANGED = enum.auto()
