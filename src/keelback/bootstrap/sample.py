"""The sample application: a web server that answers with its pod's name, as the image every node has from the start.

It is busybox's own server and nothing else, started by a shell that knows how to leave: at SIGTERM it goes on answering
for a moment, since connections made before the Service rules changed are still on their way.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keelback.bootstrap import images
from keelback.bootstrap.images import File, ImageConfig, ImageError

IMAGE = "localhost/keelback-sample:latest"
PORT = 8080

_SERVE = f"""\
#!/bin/sh
# Answers every request on port {PORT} with the name of this pod.
mkdir -p /tmp/www && cd /tmp/www || exit 1
echo "${{POD_NAME:-$HOSTNAME}}" >index.html
httpd -f -p {PORT} -h /tmp/www &
trap 'sleep "${{LINGER_SECONDS:-1}}"; kill $!; exit 0' TERM INT
wait
"""
_NOT_FOUND = "E404:/tmp/www/index.html\n"


def files(busybox: bytes, applets: Sequence[str]) -> dict[str, File]:
    """The image's files around a static busybox: each of its applets is a command."""
    links = {f"/bin/{applet}": File.link("busybox") for applet in applets if applet != "busybox"}
    return {
        **images.accounts(),
        **links,
        "/bin/busybox": File.program(busybox),
        "/etc/httpd.conf": File(_NOT_FOUND.encode()),
        "/usr/local/bin/serve": File.program(_SERVE.encode()),
        "/tmp": File.directory(0o1777),  # noqa: S108 - a path in the image
        "/root": File.directory(0o700),
        "/var/run": File.directory(),
    }


def config() -> ImageConfig:
    """What the sample image runs, and where it listens."""
    return ImageConfig(command=("/usr/local/bin/serve",), ports=(PORT,))


def build(name: str = IMAGE) -> bytes:
    """The image, from the machine's static busybox or else from its package. `ImageError` if neither is to be had."""
    with tempfile.TemporaryDirectory(prefix="keelback-busybox-") as scratch:
        busybox = static_busybox(Path(scratch))
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, cwd="/")
        return images.from_files(name, files(busybox.read_bytes(), applets.stdout.split()), config())


def static_busybox(scratch: Path) -> Path:
    """A busybox that needs no libraries: this machine's, or unpacked below `scratch`."""
    for candidate in (shutil.which("busybox"), "/bin/busybox", "/usr/bin/busybox"):
        if candidate is not None and is_static(Path(candidate)):
            return Path(candidate)
    found = images.extract_package("busybox-static", scratch)
    for path in (found / "bin/busybox", found / "usr/bin/busybox"):
        if path.exists():
            return path
    raise ImageError("no static busybox: install busybox-static")


def is_static(path: Path) -> bool:
    """Whether an ELF file asks for no interpreter (program header PT_INTERP)."""
    try:
        head = path.read_bytes()[:4096]
    except OSError:
        return False
    if head[:5] != b"\x7fELF\x02":
        return False
    offset, size, count = (
        int.from_bytes(head[32:40], "little"),
        int.from_bytes(head[54:56], "little"),
        int.from_bytes(head[56:58], "little"),
    )
    kinds = [int.from_bytes(head[offset + size * i : offset + size * i + 4], "little") for i in range(count)]
    return 3 not in kinds
