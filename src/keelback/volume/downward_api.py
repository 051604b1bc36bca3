"""downwardAPI volumes, and what fieldRef and resourceFieldRef stand for wherever they are used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import DownwardAPIVolumeFile, Pod, ResourceRequirements, Volume
from keelback.apimachinery import quantity
from keelback.concurrency.clock import Clock
from keelback.volume.atomic_writer import File
from keelback.volume.mounts import Mounter
from keelback.volume.protocol import NodeFacts, VolumeError
from keelback.volume.written import show

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.+)'\]")


class DownwardError(ValueError):
    """There is no such field or resource."""


def field_value(path: str, pod: Pod) -> str:
    """What a fieldPath stands for."""
    meta = pod.metadata
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        values = meta.labels if subscript.group(1) == "metadata.labels" else meta.annotations
        return values.get(subscript.group(2), "")
    match path:
        case "metadata.name":
            return meta.name
        case "metadata.namespace":
            return meta.namespace
        case "metadata.uid":
            return meta.uid
        case "metadata.labels":
            return _lines(meta.labels)
        case "metadata.annotations":
            return _lines(meta.annotations)
        case _:
            raise DownwardError(f"unsupported fieldPath: {path}")


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values))


def resource_value(resource: str, divisor: str, resources: ResourceRequirements, allocatable: Mapping[str, str]) -> str:
    """What `limits.cpu` and the like stand for, in units of `divisor`, rounded up; no limit means what the node has."""
    sort, _, name = resource.partition(".")
    if sort not in ("limits", "requests"):
        raise DownwardError(f"Unsupported container resource : {resource}")
    listed = resources.limits if sort == "limits" else resources.requests
    text = listed.get(name)
    if text is None or (sort == "limits" and quantity.milli_value(text) == 0):
        text = allocatable.get(name, "0") if sort == "limits" else "0"
    unit = quantity.milli_value(divisor or "0") or 1000
    if name == "cpu":
        return str(-(-quantity.milli_value(text) // unit))
    return str(-(-quantity.value(text) // max(1, unit // 1000)))


def projected_files(
    items: Sequence[DownwardAPIVolumeFile], default_mode: int, pod: Pod, node: NodeFacts
) -> dict[str, File]:
    """The files that the items ask for. Raises VolumeError."""
    files = {}
    for item in items:
        mode = default_mode if item.mode is None else item.mode
        try:
            files[item.path] = File(_text(item, pod, node).encode(), mode)
        except DownwardError as error:
            raise VolumeError(str(error)) from error
    return files


def _text(item: DownwardAPIVolumeFile, pod: Pod, node: NodeFacts) -> str:
    if item.field_ref is not None:
        return field_value(item.field_ref.field_path, pod)
    if item.resource_field_ref is None:
        return ""
    selector = item.resource_field_ref
    container = pods.container(pod.spec, selector.container_name)
    if container is None:
        raise DownwardError(f"container {selector.container_name} not found")
    return resource_value(selector.resource, selector.divisor, container.resources, node.allocatable)


@dataclass(frozen=True, slots=True)
class DownwardAPIVolume:
    node: NodeFacts
    mounter: Mounter
    clock: Clock
    name: str = "kubernetes.io/downward-api"

    def handles(self, volume: Volume) -> bool:
        return volume.downward_api is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        source = volume.downward_api
        assert source is not None
        files = projected_files(source.items, source.default_mode, pod, self.node)
        return await show(files, pod, path, self.mounter, self.clock, in_memory=True)
