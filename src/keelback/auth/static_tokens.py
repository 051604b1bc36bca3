"""Tokens that are listed somewhere: a file of users, and the bootstrap tokens that new nodes join with."""

from __future__ import annotations

import csv
import hmac
import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from keelback.api.core_v1 import Secret
from keelback.apimachinery import errors
from keelback.auth.authentication import Authenticated, Reader
from keelback.auth.users import UserInfo, with_authenticated_group
from keelback.concurrency.clock import Clock

_BOOTSTRAP_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_BOOTSTRAP_GROUP = "system:bootstrappers"
_BOOTSTRAP_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_BOOTSTRAP_SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type's name, no secret


class TokenFileAuthenticator:
    """The users of a `--token-auth-file`: lines of token, user, uid and optionally groups in quotes."""

    def __init__(self, users: Mapping[str, UserInfo]) -> None:
        self._users = {token: Authenticated(with_authenticated_group(user)) for token, user in users.items()}

    @classmethod
    def parse(cls, text: str) -> TokenFileAuthenticator:
        """Read the file's text. Raises ValueError naming the line that is wrong."""
        users: dict[str, UserInfo] = {}
        for number, record in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), start=1):
            if not record or record[0].startswith("#"):
                continue
            if len(record) < 3:
                raise ValueError(
                    f"token file line {number} must have at least 3 columns (token, user name, user uid),"
                    f" found {len(record)}"
                )
            token, name, uid = (column.strip() for column in record[:3])
            if not token:
                raise ValueError(f"token file line {number} has an empty token")
            groups = tuple(group.strip() for group in record[3].split(",")) if len(record) > 3 and record[3] else ()
            users[token] = UserInfo(name, uid, groups)
        return cls(users)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        return self._users.get(token)


class BootstrapTokenAuthenticator:
    """Tokens `id.secret`, each kept in a Secret of kube-system."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        match = _BOOTSTRAP_TOKEN.fullmatch(token)
        if match is None:
            return None
        token_id, token_secret = match.groups()
        try:
            secret = await self._reader.get(Secret, f"bootstrap-token-{token_id}", "kube-system")
        except errors.NotFound:
            return None
        if not self._is_good(secret, token_id, token_secret):
            return None
        extra = _text(secret, "auth-extra-groups")
        groups = sorted({_BOOTSTRAP_GROUP, *(group.strip() for group in extra.split(",") if group.strip())})
        if any(group != _BOOTSTRAP_GROUP and not _BOOTSTRAP_EXTRA_GROUP.fullmatch(group) for group in groups):
            return None
        return Authenticated(UserInfo(f"system:bootstrap:{token_id}", groups=tuple(groups)))

    def _is_good(self, secret: Secret, token_id: str, token_secret: str) -> bool:
        if secret.type != _BOOTSTRAP_SECRET_TYPE or secret.metadata.deletion_timestamp is not None:
            return False
        if _text(secret, "token-id") != token_id:
            return False
        if not hmac.compare_digest(_text(secret, "token-secret").encode(), token_secret.encode()):
            return False
        expiration = _text(secret, "expiration")
        if expiration and not _is_future(expiration, self._clock.now()):
            return False
        return _text(secret, "usage-bootstrap-authentication") == "true"


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")


def _is_future(text: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) > now
    except (ValueError, TypeError):
        return False
