"""The plugins of the default profile, in upstream's order and with upstream's weights."""

from __future__ import annotations

from typing import Final

from keelback.scheduling.dynamic_resources import DynamicResources
from keelback.scheduling.image_locality import ImageLocality
from keelback.scheduling.inter_pod_affinity import InterPodAffinity
from keelback.scheduling.node_affinity import NodeAffinity
from keelback.scheduling.node_declared_features import NodeDeclaredFeatures
from keelback.scheduling.node_name import NodeName
from keelback.scheduling.node_ports import NodePorts
from keelback.scheduling.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_unschedulable import NodeUnschedulable
from keelback.scheduling.node_volume_limits import NodeVolumeLimits
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_topology_spread import PodTopologySpread
from keelback.scheduling.taint_toleration import TaintToleration
from keelback.scheduling.volume_binding import VolumeBinding
from keelback.scheduling.volume_restrictions import VolumeRestrictions
from keelback.scheduling.volume_zone import VolumeZone

_TAINT_TOLERATION = TaintToleration()
_NODE_AFFINITY = NodeAffinity()
_NODE_RESOURCES_FIT = NodeResourcesFit()
_VOLUME_BINDING = VolumeBinding()
_POD_TOPOLOGY_SPREAD = PodTopologySpread()
_INTER_POD_AFFINITY = InterPodAffinity()
_DYNAMIC_RESOURCES = DynamicResources()

DEFAULT: Final = Plugins(
    pre_filters=(_NODE_AFFINITY, _VOLUME_BINDING, _DYNAMIC_RESOURCES),
    filters=(
        NodeUnschedulable(),
        NodeName(),
        _TAINT_TOLERATION,
        _NODE_AFFINITY,
        NodePorts(),
        _NODE_RESOURCES_FIT,
        VolumeRestrictions(),
        NodeVolumeLimits(),
        _VOLUME_BINDING,
        VolumeZone(),
        _POD_TOPOLOGY_SPREAD,
        _INTER_POD_AFFINITY,
        _DYNAMIC_RESOURCES,
        NodeDeclaredFeatures(),
    ),
    scores=(
        (_TAINT_TOLERATION, 3),
        (_NODE_AFFINITY, 2),
        (_NODE_RESOURCES_FIT, 1),
        (_POD_TOPOLOGY_SPREAD, 2),
        (_INTER_POD_AFFINITY, 2),
        (_DYNAMIC_RESOURCES, 2),
        (NodeResourcesBalancedAllocation(), 1),
        (ImageLocality(), 1),
    ),
)
