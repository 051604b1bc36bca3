"""What a volume type is, and what it may ask for. A type that is not in `builtin.py` is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from keelback.api.core_v1 import Pod, Volume
from keelback.apimachinery.meta import Object

T = TypeVar("T", bound=Object)


class VolumeError(Exception):
    """A volume cannot be set up now; the text goes into the pod's FailedMount event."""


class Reader(Protocol):
    """Gives API objects by name. Raises StatusErrors."""

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T: ...


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A service-account token for one pod."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    audience: str
    expiration_seconds: int


class Tokens(Protocol):
    """Gives service-account tokens, the same one until it is time for a new one."""

    async def token(self, request: TokenRequest) -> str: ...


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a volume may tell of the node and of the pod's addresses."""

    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


class VolumeType(Protocol):
    """One kind of volume."""

    @property
    def name(self) -> str:
        """Upstream's plugin name, such as kubernetes.io/empty-dir; also the directory it is kept in."""
        ...

    def handles(self, volume: Volume) -> bool:
        """Whether the volume is of this type."""
        ...

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        """Bring the volume up to date; where its contents are, which need not be `path`. Raises VolumeError."""
        ...
