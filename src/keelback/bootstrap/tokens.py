"""Bootstrap tokens: the short-lived secrets with which new nodes join, and the Secrets that keep them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from keelback.api.core_v1 import Secret
from keelback.apimachinery.meta import ObjectMeta

DEFAULT_GROUP = "system:bootstrappers:kubeadm:default-node-token"

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token: the first half is public, the second is not."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"

    def __repr__(self) -> str:
        return f"BootstrapToken({self.id!r})"

    @classmethod
    def parse(cls, text: str) -> BootstrapToken:
        """Raises ValueError unless the text is a token."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError("the bootstrap token was not of the form [a-z0-9]{6}.[a-z0-9]{16}")
        return cls(*match.groups())


def generate() -> BootstrapToken:
    """A new token from the operating system's randomness: it is a credential."""
    return BootstrapToken(_random(6), _random(16))


def as_secret(
    token: BootstrapToken,
    *,
    expires: datetime | None,
    description: str = "",
    groups: Sequence[str] = (DEFAULT_GROUP,),
    usages: Sequence[str] = ("authentication", "signing"),
) -> Secret:
    """The Secret in kube-system that makes the token good until it expires."""
    data = {"token-id": token.id, "token-secret": token.secret}
    if description:
        data["description"] = description
    if expires is not None:
        data["expiration"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    if groups:
        data["auth-extra-groups"] = ",".join(groups)
    data |= {f"usage-bootstrap-{usage}": "true" for usage in usages}
    return Secret(
        metadata=ObjectMeta(name=f"bootstrap-token-{token.id}", namespace="kube-system"),
        type="bootstrap.kubernetes.io/token",
        data={key: value.encode() for key, value in sorted(data.items())},
    )


def generate_bearer_token() -> str:
    """A new token for a line of a token file."""
    return secrets.token_hex(16)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
