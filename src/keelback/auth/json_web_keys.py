"""Signatures of JSON Web Tokens by other issuers: RS, PS and ES with SHA-2, checked with keys of a JSON Web Key Set."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from keelback.auth.jwt import InvalidToken

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_CURVE_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS: Final = tuple(f"{family}{size}" for family in ("ES", "PS", "RS") for size in ("256", "384", "512"))
"""All that may be asked for. None is symmetric: else whoever knows a public key could sign with it."""
_LEAST_RSA_BITS: Final = 1024
_MOST_TOKEN_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class JSONWebKey:
    """One public key and its name."""

    key_id: str
    key: PublicKey

    def verify(self, algorithm: str, signature: bytes, message: bytes) -> bool:
        """Whether this key made the signature by this algorithm, which must be one of `ALGORITHMS` and fit the key."""
        digest = _HASHES[algorithm[2:]]()
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                if algorithm.startswith("RS"):
                    self.key.verify(signature, message, padding.PKCS1v15(), digest)
                    return True
                if algorithm.startswith("PS"):
                    scheme = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
                    self.key.verify(signature, message, scheme, digest)
                    return True
                return False
            curve = _CURVE_OF.get(algorithm)
            size = (self.key.curve.key_size + 7) // 8
            if curve is None or not isinstance(self.key.curve, _CURVES[curve]) or len(signature) != 2 * size:
                return False
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            self.key.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token taken apart; nothing of it is believed yet."""

    algorithm: str
    key_id: str
    payload: bytes
    message: bytes
    signature: bytes

    def is_signed_by(self, keys: Sequence[JSONWebKey]) -> bool:
        """Whether one of the keys signed it, of those it names if it names one."""
        candidates = [key for key in keys if self.key_id in ("", key.key_id)]
        return any(key.verify(self.algorithm, self.signature, self.message) for key in candidates)


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = None


def parse_token(token: str) -> SignedToken:
    """A compact token. Raises InvalidToken for what is none."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MOST_TOKEN_BYTES or not token.isascii():
        raise InvalidToken("a compact token has three parts")
    try:
        header = msgspec.json.decode(_decoded(parts[0]), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidToken("the header is not a JWS header") from error
    if header.crit is not None:
        # RFC 7515, 4.1.11: who does not know an extension must refuse what needs it; none is known here.
        raise InvalidToken("the header has an extension that is not known")
    return SignedToken(
        header.alg, header.kid, _decoded(parts[1]), f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2])
    )


def claims_of(payload: bytes) -> dict[str, Any] | None:
    """The claims of a token as a JSON tree; None if they are no object."""
    try:
        tree = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return tree if isinstance(tree, dict) else None


def parse_keys(document: bytes) -> tuple[JSONWebKey, ...]:
    """The keys of a JSON Web Key Set; those of other kinds are passed over. Raises ValueError for no such set."""
    tree = msgspec.json.decode(document)
    keys = tree.get("keys") if isinstance(tree, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no JSON Web Key Set: there is no list of keys")
    found = (_key(one) for one in keys if isinstance(one, dict))
    return tuple(key for key in found if key is not None)


def _key(tree: Mapping[str, Any]) -> JSONWebKey | None:
    if tree.get("use") == "enc":
        return None
    try:
        key = _public_key(tree)
    except (ValueError, KeyError, TypeError, InvalidToken):
        return None
    kid = tree.get("kid", "")
    return None if key is None or not isinstance(kid, str) else JSONWebKey(kid, key)


def _public_key(tree: Mapping[str, Any]) -> PublicKey | None:
    match tree.get("kty"):
        case "RSA":
            key = rsa.RSAPublicNumbers(_number(tree["e"]), _number(tree["n"])).public_key()
            return key if key.key_size >= _LEAST_RSA_BITS else None
        case "EC":
            curve = _CURVES[tree["crv"]]()
            return ec.EllipticCurvePublicNumbers(_number(tree["x"]), _number(tree["y"]), curve).public_key()
        case _:
            return None


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text), "big")


def _decoded(text: str) -> bytes:
    if "=" in text:
        # RFC 7515 has none; a token must not be written in two ways.
        raise InvalidToken("a part is padded")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("a part is not base64url") from error
