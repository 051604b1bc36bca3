"""Flags that installers give an API server though they say what is so anyway: any other value is refused.

kubespray, k3s and kube-up write some of them; taken without being looked at they would hide what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from keelback.component.flags import FlagError

_BACKEND: Final = "etcd3"
_MEDIA_TYPE: Final = "application/json"


@dataclass(frozen=True, kw_only=True)
class UsualOptions:
    storage_backend: Annotated[str, "What --etcd-servers speak: etcd3."] = _BACKEND
    storage_media_type: Annotated[
        str, "How objects are written to the store: application/json. What is there in protobuf is read."
    ] = _MEDIA_TYPE
    watch_cache: Annotated[bool, "Serve reads and watches from memory: always."] = True
    enable_garbage_collector: Annotated[bool, "Delete what is owned after its owner: always."] = True
    service_account_lookup: Annotated[bool, "Look whether a token's service account is there: always."] = True

    def check_usual(self) -> None:
        """Raises FlagError for what is not so."""
        if self.storage_backend != _BACKEND:
            raise FlagError(f"--storage-backend invalid, allowed values: {_BACKEND}")
        if self.storage_media_type != _MEDIA_TYPE:
            raise FlagError(f'--storage-media-type "{self.storage_media_type}" invalid, allowed values: {_MEDIA_TYPE}')
        for flag, value in (
            ("watch-cache", self.watch_cache),
            ("enable-garbage-collector", self.enable_garbage_collector),
            ("service-account-lookup", self.service_account_lookup),
        ):
            if not value:
                raise FlagError(f"--{flag}=false is not possible here: it can only be true")
