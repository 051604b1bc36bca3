"""A KMS plugin as a program: `python -m keelback.testing.kms_plugin SOCKET KEYS`. It is for tests and for trying out.

KEYS is a file with a line `ID KEY` for each key, the present one last; the word `ill` in its place makes the plugin say
that it is not well. The file is read at every call, so that keys change when it does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keelback.encryption._proto import kms_pb2 as pb

_NONCE_BYTES = 12
_ANNOTATION = "version.encryption.testing.keelback.dev"


class Plugin:
    """The three calls."""

    def __init__(self, keys: Path) -> None:
        self._keys = keys

    async def status(self, request: Any, context: Any) -> Any:
        is_ill = self._keys.read_text().split()[-1:] == ["ill"]
        return pb.StatusResponse(version="v2", healthz="not today" if is_ill else "ok", key_id=self._present()[0])

    async def encrypt(self, request: Any, context: Any) -> Any:
        key_id, cipher = self._present()
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = nonce + cipher.encrypt(nonce, request.plaintext, None)
        return pb.EncryptResponse(ciphertext=ciphertext, key_id=key_id, annotations={_ANNOTATION: b"1"})

    async def decrypt(self, request: Any, context: Any) -> Any:
        cipher = self._known().get(request.key_id)
        if cipher is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no key {request.key_id}")
            raise AssertionError("abort raises")
        nonce, data = request.ciphertext[:_NONCE_BYTES], request.ciphertext[_NONCE_BYTES:]
        try:
            return pb.DecryptResponse(plaintext=cipher.decrypt(nonce, data, None))
        except InvalidTag:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this was not encrypted here")

    def _known(self) -> dict[str, AESGCM]:
        found = {}
        for line in self._keys.read_text().splitlines():
            key_id, _, secret = line.partition(" ")
            if secret:
                found[key_id] = AESGCM(sha256(secret.encode()).digest())
        return found

    def _present(self) -> tuple[str, AESGCM]:
        return list(self._known().items())[-1]


async def serve(socket: str, keys: Path) -> None:
    """Answer until cancelled."""
    plugin = Plugin(keys)
    methods = {
        "Status": (plugin.status, pb.StatusRequest),
        "Encrypt": (plugin.encrypt, pb.EncryptRequest),
        "Decrypt": (plugin.decrypt, pb.DecryptRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.FromString, response_serializer=lambda made: made.SerializeToString()
        )
        for name, (answer, request) in methods.items()
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v2.KeyManagementService", handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
