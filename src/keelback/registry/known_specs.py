"""The specs of pods that were sent of late: pods of one template share theirs, which is read and checked once.

A spec is known again by its very text in a request's body. What is made of one value once (`remembered`) is then made
once for all pods that have it.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from keelback.api.core_v1 import Pod, PodSpec, PodStatus
from keelback.apimachinery.meta import ObjectMeta

V = TypeVar("V")

_KEPT: Final = 64
_MOST_BYTES: Final = 16 << 10
_NO_STATUS: Final = PodStatus()


class _Sent(msgspec.Struct):
    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = msgspec.Raw()
    status: PodStatus = _NO_STATUS


class _SentSpec(msgspec.Struct):
    spec: msgspec.Raw = msgspec.Raw()


_sent = msgspec.json.Decoder(_Sent)
_sent_spec = msgspec.json.Decoder(_SentSpec)
# So long a number may be too large for its field: rare, and looked at closely where everything is decoded.
_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")


class KnownSpecs:
    """Specs by the JSON they were decoded from, and which of these had no unknown and no repeated field."""

    def __init__(self) -> None:
        self._specs: dict[bytes, PodSpec] = {}
        self._sound: dict[bytes, None] = {}

    def decode(self, data: bytes) -> Pod | None:
        """The pod in a body whose spec is known; None where it has to be decoded as a whole."""
        try:
            sent = _sent.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        spec = self._specs.get(bytes(sent.spec))
        if spec is None or sent.status != _NO_STATUS or b"0000000000" in data.translate(_AS_ZEROS):
            return None
        return Pod(metadata=sent.metadata, spec=spec, status=sent.status)

    def learn(self, data: bytes, pod: Pod) -> Pod:
        """The pod, whose spec in this body is known from now on."""
        text = _text(data)
        if text:
            _keep(self._specs, text, pod.spec)
        return pod

    def without_spec(self, data: bytes) -> bytes:
        """What of a body has to be looked through for unknown and repeated fields: all, or all but a sound spec."""
        text = _text(data)
        # An object's text stands nowhere but where such an object is: in a string its quotes would be escaped.
        return data.replace(text, b"{}", 1) if text in self._sound else data

    def learn_sound(self, data: bytes) -> None:
        """Nothing was found in a body: its spec is sound."""
        text = _text(data)
        if text and text not in self._sound:
            _keep(self._sound, text, None)


def _text(data: bytes) -> bytes:
    try:
        text = bytes(_sent_spec.decode(data).spec)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    return text if len(text) <= _MOST_BYTES and text.startswith(b"{") else b""


def _keep(kept: dict[bytes, V], text: bytes, value: V) -> None:
    if len(kept) >= _KEPT:
        kept.pop(next(iter(kept)), None)
    kept[text] = value
