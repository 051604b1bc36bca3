"""ImageLocality: prefer nodes that have the pod's large images, the more so the more nodes have them."""

from __future__ import annotations

from typing import Final

import numpy as np

from keelback.scheduling.framework import EVERY, MAX_NODE_SCORE, CycleState, Rows, Scope, Scores
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_MEGABYTE: Final = 1024 * 1024
_LEAST: Final = 23 * _MEGABYTE
"""Below this, pulling is quick enough not to matter."""
_MOST_PER_IMAGE: Final = 1000 * _MEGABYTE


class ImageLocality:
    name = "ImageLocality"
    scope = Scope.NODES

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """The sizes of the images that are there, scaled between the least and the most that counts."""
        total = len(nodes)
        sums = np.zeros(total, np.int64)
        found = False
        for image in pod.images:
            holders = nodes.image_holders(normalized_name(image))
            spread = len(holders) / total
            for node_name, size in holders.items():
                sums[nodes.row_of[node_name]] += int(size * spread)
                found = True
        if not found:
            return None
        most = _MOST_PER_IMAGE * len(pod.images)
        clamped = np.clip(sums, _LEAST, most)
        return (MAX_NODE_SCORE * (clamped - _LEAST) // (most - _LEAST))[rows]

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return scores


def normalized_name(image: str) -> str:
    """The image's name with a tag: `:latest` where there is none."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
