"""As whom the API server calls admission webhooks, by host: a plugin's file (WebhookAdmissionConfiguration) says it.

The names of a kubeconfig's users are hosts there: `hook.example.com:8443`, `*.example.com`, `name.namespace.svc`, `*`.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from keelback.apimachinery import configuration_files
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.meta import Value
from keelback.client import kubeconfig
from keelback.client.https import TokenFile
from keelback.client.kubeconfig import Access, KubeconfigError
from keelback.concurrency.clock import Clock

_GROUP: Final = "apiserver.config.k8s.io"
_KINDS: Final = {"v1": "WebhookAdmissionConfiguration", "v1alpha1": "WebhookAdmission"}
_UNDERSTOOD: Final = frozenset(
    (
        *("token", "tokenFile", "username", "password"),
        *("client-certificate", "client-certificate-data", "client-key", "client-key-data"),
    )
)
_HTTPS: Final = ":443"


class _Configuration(Value):
    kube_config_file: str = ""


def read(text: str) -> Path | None:
    """The kubeconfig that the plugin's file names, if it does. Raises ConfigurationError."""
    version = "v1alpha1" if f"{_GROUP}/v1alpha1" in text else "v1"
    given = configuration_files.read(text, _Configuration, _KINDS[version], _GROUP, (version,)).kube_config_file
    if given and not Path(given).is_absolute():
        raise ConfigurationError(f"kubeConfigFile: Invalid value: {given!r}: must be an absolute path")
    return Path(given) if given else None


class WebhookCredentials:
    """The users of one kubeconfig. Raises ConfigurationError for what cannot be used."""

    def __init__(self, path: Path, clock: Clock) -> None:
        try:
            self._users: Mapping[str, Access] = kubeconfig.users(path)
            for user in self._users.values():
                kubeconfig.present_certificate(ssl.create_default_context(), user)
        except (KubeconfigError, OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: {error}") from error
        for name, user in self._users.items():
            if odd := sorted(user.user.keys() - _UNDERSTOOD):
                raise ConfigurationError(f"{path}: user {name}: {odd[0]} is not supported for a webhook")
        self._tokens = {
            name: TokenFile(user.folder / user.user["tokenFile"], clock)
            for name, user in self._users.items()
            if user.user.get("tokenFile")
        }

    def user_for(self, target: str) -> str | None:
        """The name of the user for `host:port`; None for nobody in particular."""
        return next((name for name in _names_for(target) if name in self._users), None)

    def headers(self, name: str) -> Mapping[str, str]:
        """What a user's requests say of it. Raises OSError where its token cannot be read."""
        user = self._users[name].user
        token = user.get("token") or (self._tokens[name].token() if name in self._tokens else "")
        if token:
            return {"Authorization": f"Bearer {token}"}
        if user.get("username") or user.get("password"):
            pair = f"{user.get('username', '')}:{user.get('password', '')}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}

    def present(self, name: str, context: ssl.SSLContext) -> None:
        """Have the context show the user's certificate."""
        kubeconfig.present_certificate(context, self._users[name])


def _names_for(target: str) -> Iterator[str]:
    """The names under which a user may be meant for a target, the most exact first."""
    yield from _exact_and_stars(target)
    if target.endswith(_HTTPS):
        yield from _exact_and_stars(target.removesuffix(_HTTPS))
    yield "*"
    yield ""


def _exact_and_stars(target: str) -> Iterator[str]:
    yield target
    steps = target.split(".")
    for at in range(1, len(steps)):
        yield f"*.{'.'.join(steps[at:])}"
