"""What a container says at its end: its termination message file or, where it asks for that, the end of its log."""

from __future__ import annotations

from pathlib import Path

from keelback.cri.values import ContainerStatus
from keelback.kubelet.logs import last_lines
from keelback.kubelet.observed import (
    MAX_LOG_MESSAGE_BYTES,
    MAX_LOG_MESSAGE_LINES,
    MAX_TERMINATION_MESSAGE_BYTES,
    TERMINATION_PATH_ANNOTATION,
    TERMINATION_POLICY_ANNOTATION,
)


def read(status: ContainerStatus) -> str:
    """The message of a container that has ended; empty where it left none."""
    annotations = status.container.annotations
    path = annotations.get(TERMINATION_PATH_ANNOTATION, "")
    message = ""
    for mount in status.mounts:
        if path and mount.container_path == path:
            message = _tail(Path(mount.host_path))
    if message or status.exit_code == 0 or annotations.get(TERMINATION_POLICY_ANNOTATION) != "FallbackToLogsOnError":
        return message
    if not status.log_path:
        return ""
    return last_lines(Path(status.log_path), MAX_LOG_MESSAGE_LINES, MAX_LOG_MESSAGE_BYTES)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - MAX_TERMINATION_MESSAGE_BYTES))
            return file.read(MAX_TERMINATION_MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        return ""
