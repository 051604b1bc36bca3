"""The kubeconfig file: read to find a cluster, and changed as kind and minikube do when one comes or goes.

Changing keeps what is not understood, locks the file as kubectl does (`<file>.lock`), and writes it with mode 0600.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from keelback.client.https import HTTPSTransport, TokenFile, client_context
from keelback.concurrency.clock import Clock, SystemClock

# A kubeconfig has entries of other programs (extensions, exec plugins) that must survive: it stays a tree.
Tree: TypeAlias = dict[str, Any]

_LOCK_ATTEMPTS: Final = 100
_LOCK_PAUSE_SECONDS: Final = 0.1
_SECTIONS: Final = ("clusters", "contexts", "users")


class KubeconfigError(Exception):
    """A kubeconfig cannot be used; the message says which file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Access:
    """What one context of a kubeconfig says: the cluster's and the user's own entries, and the namespace."""

    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    namespace: str
    folder: Path
    """What relative file names in the entries are relative to."""


def load(path: Path, context: str = "") -> Access:
    """What the file says for a context (the current one if not named). Raises KubeconfigError."""
    if not path.exists():
        raise KubeconfigError(f"{path} does not exist")
    return access(_read(path), context, path.parent, str(path))


def access(tree: Tree, context: str = "", folder: Path = Path(), source: str = "the kubeconfig") -> Access:
    """What a kubeconfig's tree says for a context. Raises KubeconfigError."""
    name = context or tree.get("current-context") or ""
    if not name:
        raise KubeconfigError(f"{source} has no current context: name one")
    chosen = _entry(tree, "contexts", "context", name, source)
    cluster = _entry(tree, "clusters", "cluster", chosen.get("cluster", ""), source)
    user = _entry(tree, "users", "user", chosen["user"], source) if chosen.get("user") else {}
    return Access(name, cluster, user, chosen.get("namespace") or "default", folder)


def transport(found: Access, clock: Clock | None = None) -> HTTPSTransport:
    """A transport to the context's cluster as its user. Raises KubeconfigError for what is not supported."""
    if "exec" in found.user or "auth-provider" in found.user:
        raise KubeconfigError(f"context {found.context}: use a certificate or a token, not a plugin")
    server = found.cluster.get("server", "")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"context {found.context}: its cluster's server is {server!r}, no https:// address")
    clock = clock or SystemClock()
    token_path = found.user.get("tokenFile")
    return HTTPSTransport(
        server,
        _tls_context_of_file(found) if server.startswith("https:") else None,
        token=found.user.get("token", "") if not token_path else "",
        token_file=TokenFile(found.folder / token_path, clock) if token_path else None,
        server_name=found.cluster.get("tls-server-name"),
        clock=clock,
    )


def tls_context(found: Access) -> ssl.SSLContext:
    """The TLS context of a context: its authority and, where the user has one, the client certificate."""
    context = client_context(_ca_text(found), insecure=bool(found.cluster.get("insecure-skip-tls-verify")))
    present_certificate(context, found)
    return context


def present_certificate(context: ssl.SSLContext, found: Access) -> None:
    """Show servers the user's client certificate, where there is one. Raises OSError and ValueError."""
    certificate, key = (_data(found, f"client-{part}") for part in ("certificate", "key"))
    if certificate is not None and key is not None:
        # The ssl module reads certificates from files only; these last for the call and nobody else may read them.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "client.pem"
            path.touch(mode=0o600)
            path.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(path)


def users(path: Path) -> Mapping[str, Access]:
    """All users of a file by their names, and by "" the one of its current context. Raises KubeconfigError."""
    if not path.exists():
        raise KubeconfigError(f"{path} does not exist")
    tree = _read(path)
    found = {
        str(entry.get("name")): Access("", {}, entry.get("user") or {}, "", path.parent)
        for entry in tree.get("users") or []
    }
    current = tree.get("current-context")
    contexts = {entry.get("name"): entry.get("context") or {} for entry in tree.get("contexts") or []}
    name = contexts.get(current, {}).get("user") if current else None
    return {**found, "": found[name]} if name in found else found


def _tls_context_of_file(found: Access) -> ssl.SSLContext:
    try:
        return tls_context(found)
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"context {found.context}: a certificate or key cannot be used: {error}") from error


async def merge(path: Path, tree: Tree, *, set_current: bool = True, clock: Clock | None = None) -> None:
    """Put the entries of `tree` into the file, replacing those of the same names; its other entries stay."""
    async with _locked(path, clock or SystemClock()):
        merged = _read(path)
        merged.setdefault("apiVersion", "v1")
        merged.setdefault("kind", "Config")
        for section in _SECTIONS:
            entries = {entry["name"]: entry for entry in merged.get(section) or []}
            entries.update({entry["name"]: entry for entry in tree.get(section) or []})
            merged[section] = list(entries.values())
        if set_current and tree.get("current-context"):
            merged["current-context"] = tree["current-context"]
        merged.setdefault("current-context", "")
        merged.setdefault("preferences", {})
        write(path, merged)


async def remove(path: Path, cluster: str, clock: Clock | None = None) -> bool:
    """Take a cluster out of the file, with its contexts and the users only they name; whether it was in."""
    async with _locked(path, clock or SystemClock()):
        tree = _read(path)
        contexts = tree.get("contexts") or []
        gone = [entry for entry in contexts if (entry.get("context") or {}).get("cluster") == cluster]
        kept = [entry for entry in contexts if entry not in gone]
        users = {entry["context"].get("user") for entry in gone} - {
            (entry.get("context") or {}).get("user") for entry in kept
        }
        clusters = tree.get("clusters") or []
        if not gone and all(entry["name"] != cluster for entry in clusters):
            return False
        tree["contexts"] = kept
        tree["clusters"] = [entry for entry in clusters if entry["name"] != cluster]
        tree["users"] = [entry for entry in tree.get("users") or [] if entry["name"] not in users]
        if tree.get("current-context") in {entry["name"] for entry in gone}:
            tree["current-context"] = ""
        write(path, tree)
    return True


def write(path: Path, tree: Tree) -> None:
    """Write the whole file at once, readable by its owner alone."""
    target = path.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            yaml.safe_dump(tree, file, sort_keys=False)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _read(path: Path) -> Tree:
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{path} is not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig")
    return tree


def _entry(tree: Tree, section: str, field: str, name: str, source: str) -> Mapping[str, Any]:
    for entry in tree.get(section) or []:
        if entry.get("name") == name:
            return entry.get(field) or {}
    raise KubeconfigError(f"{source} has no {field} {name!r}")


def _ca_text(found: Access) -> str | None:
    data = _value(found.cluster, "certificate-authority", found.folder)
    return data.decode() if data is not None else None


def _data(found: Access, field: str) -> bytes | None:
    return _value(found.user, field, found.folder)


def _value(entry: Mapping[str, Any], field: str, folder: Path) -> bytes | None:
    # As in client-go, data in the document overrides a file's name.
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data)
    return (folder / entry[field]).read_bytes() if entry.get(field) else None


@asynccontextmanager
async def _locked(path: Path, clock: Clock) -> Any:
    lock = Path(f"{path}.lock")
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if attempt == _LOCK_ATTEMPTS - 1:
                raise KubeconfigError(f"{lock} exists: if no other program changes {path}, delete it") from None
            await clock.sleep(_LOCK_PAUSE_SECONDS)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(lock)
