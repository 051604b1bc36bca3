"""What an administrator says of encryption at rest on the command line."""

from __future__ import annotations

from dataclasses import dataclass


class EncryptionError(Exception):
    """Encryption at rest cannot be set up as it is asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class EncryptionSettings:
    """The configuration file, and whether it is followed when it changes. Without a file nothing is encrypted."""

    path: str = ""
    reloads: bool = False
    """Whether the file is looked at each minute."""


PLAIN = EncryptionSettings()
