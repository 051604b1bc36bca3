"""A KMS plugin on a unix socket: version 2 of the plugin API, over gRPC."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from keelback.concurrency.clock import Clock
from keelback.encryption._proto import kms_pb2 as pb
from keelback.encryption.metrics import EncryptionMetrics

_SERVICE = "/v2.KeyManagementService/"
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    # A plugin that was restarted must not be asked over a connection to the one before it.
    ("grpc.use_local_subchannel_pool", 1),
)


class KMSError(Exception):
    """A plugin did not do what was asked; the message says what it said."""


class KMSClient:
    """One plugin. Make it within the running event loop; close it when done."""

    def __init__(
        self, name: str, endpoint: str, timeout_seconds: float, clock: Clock, metrics: EncryptionMetrics
    ) -> None:
        """`endpoint` is `unix:///path`, or `unix:///@name` for one that is in no file system."""
        self.name = name
        self.timeout_seconds = timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._channel: Any = grpc.aio.insecure_channel(_target(endpoint), options=_OPTIONS)

    async def status(self) -> Any:
        """Its StatusResponse. Raises KMSError."""
        return await self._call("Status", pb.StatusRequest(), pb.StatusResponse)

    async def encrypt(self, plain: bytes, uid: str) -> Any:
        """Its EncryptResponse. Raises KMSError."""
        return await self._call("Encrypt", pb.EncryptRequest(plaintext=plain, uid=uid), pb.EncryptResponse)

    async def decrypt(self, ciphertext: bytes, uid: str, key_id: str, annotations: dict[str, bytes]) -> bytes:
        """What was encrypted. Raises KMSError."""
        request = pb.DecryptRequest(ciphertext=ciphertext, uid=uid, key_id=key_id, annotations=annotations)
        answer = await self._call("Decrypt", request, pb.DecryptResponse)
        return bytes(answer.plaintext)

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def _call(self, method: str, request: Any, answer: Any) -> Any:
        call = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        started = self._clock.monotonic()
        code = "OK"
        try:
            return await call(request, timeout=self.timeout_seconds, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            code = _go_name(error.code())
            raise KMSError(f"rpc error: code = {code} desc = {error.details()}") from error
        finally:
            self._metrics.called(self.name, f"{_SERVICE}{method}", code, self._clock.monotonic() - started)


def _target(endpoint: str) -> str:
    path = urlsplit(endpoint).path
    return f"unix-abstract:{path[2:]}" if path.startswith("/@") else f"unix:{path}"


def _go_name(code: grpc.StatusCode) -> str:
    """A code as Go names it: DeadlineExceeded."""
    return "".join(part.capitalize() for part in str(code.name).split("_"))
