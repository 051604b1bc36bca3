"""Where the layers of an image are, asked of a snapshots service that is containerd's only in its answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from keelback.cri._proto import containerd_snapshots_pb2 as pb
from keelback.cri.layers import layers_of

INFO = json.dumps({"chainID": "sha256:top"})


class Snapshots:
    """Gives views, and refuses to remove them with a code if it has one."""

    def __init__(self, refusal: grpc.StatusCode | None) -> None:
        self._refusal = refusal
        self.views: set[str] = set()

    async def view(self, request: pb.ViewSnapshotRequest, _: Any) -> pb.ViewSnapshotResponse:
        self.views.add(request.key)
        answer = pb.ViewSnapshotResponse()
        answer.mounts.add(type="overlay", options=["ro", "lowerdir=/layers/2:/layers/1"])
        return answer

    async def remove(self, request: pb.RemoveSnapshotRequest, context: Any) -> bytes:
        if self._refusal is not None:
            await context.abort(self._refusal, "as the test says")
        self.views.remove(request.key)
        return b""


async def asked(snapshots: Snapshots, socket: Path) -> tuple[str, ...]:
    handlers = {
        "View": grpc.unary_unary_rpc_method_handler(
            snapshots.view,
            request_deserializer=pb.ViewSnapshotRequest.FromString,
            response_serializer=pb.ViewSnapshotResponse.SerializeToString,
        ),
        "Remove": grpc.unary_unary_rpc_method_handler(
            snapshots.remove, request_deserializer=pb.RemoveSnapshotRequest.FromString
        ),
    }
    server = grpc.aio.server()
    service = grpc.method_handlers_generic_handler("containerd.services.snapshots.v1.Snapshots", handlers)
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            return await layers_of(channel, INFO)
    finally:
        await server.stop(None)


def test_a_view_is_given_back(tmp_path: Path) -> None:
    snapshots = Snapshots(None)
    assert asyncio.run(asked(snapshots, tmp_path / "s")) == ("/layers/2", "/layers/1")
    assert not snapshots.views


def test_a_view_that_was_collected_meanwhile_has_told_what_it_should(tmp_path: Path) -> None:
    snapshots = Snapshots(grpc.StatusCode.NOT_FOUND)
    assert asyncio.run(asked(snapshots, tmp_path / "s")) == ("/layers/2", "/layers/1")


def test_a_view_that_cannot_be_given_back_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="as the test says"):
        asyncio.run(asked(Snapshots(grpc.StatusCode.UNAVAILABLE), tmp_path / "s"))
