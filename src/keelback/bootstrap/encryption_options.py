"""The API server's flags about encryption at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from keelback.component.flags import FlagError
from keelback.encryption.options import EncryptionSettings

FILE_FLAGS: Final = frozenset(("encryption-provider-config",))
"""Flags whose values are files."""


@dataclass(frozen=True, kw_only=True)
class EncryptionOptions:
    encryption_provider_config: Annotated[
        str, "A file that says which resources are encrypted in the store, and how (EncryptionConfiguration)."
    ] = ""
    encryption_provider_config_automatic_reload: Annotated[
        bool, "Whether that file is looked at each minute, and followed when it changes."
    ] = False

    def encryption(self) -> EncryptionSettings:
        """What the flags say."""
        return EncryptionSettings(self.encryption_provider_config, self.encryption_provider_config_automatic_reload)

    def check_encryption(self) -> None:
        """Raises FlagError for what cannot be meant."""
        if self.encryption_provider_config_automatic_reload and not self.encryption_provider_config:
            raise FlagError(
                "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config"
            )
