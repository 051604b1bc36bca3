"""Where containerd keeps the layers of an image, for who wants to look into it without a container.

A view of the topmost layer is asked for and given back at once: its mount names the directories, which stay for as long
as the image does.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import grpc
import grpc.aio

from keelback.cri._proto import containerd_snapshots_pb2 as pb
from keelback.cri.runtime import Unimplemented

_SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots/"
_SNAPSHOTTER = "overlayfs"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)
_DEADLINE_SECONDS = 15.0


async def layers_of(channel: grpc.aio.Channel, info: str) -> tuple[str, ...]:
    """The directories, topmost first. `info` is what CRI says of the image when it is asked for everything.

    Raises AioRpcError, and Unimplemented where the runtime is not containerd with overlayfs.
    """
    try:
        chain = json.loads(info)["chainID"]
    except (ValueError, KeyError, TypeError):
        raise Unimplemented("the container runtime does not tell where the layers of an image are") from None
    key = f"keelback-{secrets.token_hex(8)}"
    view = pb.ViewSnapshotRequest(snapshotter=_SNAPSHOTTER, key=key, parent=chain)
    answer = await _call(channel, "View", view, pb.ViewSnapshotResponse)
    try:
        await _call(channel, "Remove", pb.RemoveSnapshotRequest(snapshotter=_SNAPSHOTTER, key=key), None)
    except grpc.aio.AioRpcError as error:
        # Nothing holds the view: a garbage collection of containerd's just now has removed it before us.
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
    return directories(answer.mounts)


def directories(mounts: Any) -> tuple[str, ...]:
    """The directories that a view's mounts show: one is bound, several lie over one another."""
    for mount in mounts:
        if mount.type == "bind":
            return (mount.source,)
        for option in mount.options:
            if mount.type == "overlay" and option.startswith("lowerdir="):
                return tuple(option.removeprefix("lowerdir=").split(":"))
    raise Unimplemented("the container runtime's snapshots are no directories")


async def _call(channel: grpc.aio.Channel, verb: str, request: Any, answer: Any) -> Any:
    call = channel.unary_unary(
        _SNAPSHOTS + verb,
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString if answer is not None else None,
    )
    return await call(request, timeout=_DEADLINE_SECONDS, metadata=_NAMESPACE)
