"""What the containers of one pod wait for that end again and again, and how often that is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keelback.api.core_v1 import Pod
from keelback.kubelet.crash_loop import CrashLoop, after_start, go_duration
from keelback.kubelet.plan import Wait
from keelback.kubelet.services import NodeServices
from keelback.kubelet.starting import field_path

REASON = "CrashLoopBackOff"
# Upstream looks at a pod that backs off this often, and says so each time.
_PAUSE_SECONDS = 10.0


class BackOffs:
    """The back-offs of one pod's containers. `entries` has those that ended and were started again."""

    def __init__(self, node: NodeServices) -> None:
        self.entries: dict[str, CrashLoop] = {}
        self._node = node
        self._told: dict[str, float] = {}

    def count_start(self, name: str, ended: datetime) -> None:
        """A container that ended is started again."""
        self.entries[name] = after_start(self.entries.get(name), ended, self._node.clock.now())

    def follow(self, pod: Pod, waits: Sequence[Wait], problems: dict[str, tuple[str, str]]) -> list[datetime]:
        """Bring the pod's problems up to date and tell what is new; when to look again."""
        waiting = {wait.name for wait in waits}
        for name in [name for name, (reason, _) in problems.items() if reason == REASON]:
            if name not in waiting:
                del problems[name]
        moments = []
        for wait in waits:
            meta = pod.metadata
            message = (
                f"back-off {go_duration(wait.entry.delay)} restarting failed container={wait.name} "
                f"pod={meta.name}_{meta.namespace}({meta.uid})"
            )
            is_new = problems.get(wait.name) != (REASON, message)
            problems[wait.name] = (REASON, message)
            moments += [self._tell(pod, wait.name, is_new), wait.until]
        return moments

    def pause(self) -> float:
        """The seconds until a pod that backs off is looked at again."""
        return _PAUSE_SECONDS * (1 + 0.5 * self._node.chance.random())

    def _tell(self, pod: Pod, name: str, is_new: bool) -> datetime:
        """Write the event unless it was written just now; when to write it again."""
        now = self._node.clock.monotonic()
        if is_new or now >= self._told[name]:
            meta = pod.metadata
            text = f"Back-off restarting failed container {name} in pod {meta.name}_{meta.namespace}({meta.uid})"
            self._node.recorder.event(pod, "Warning", "BackOff", text, container=field_path(pod, name))
            self._told[name] = now + self.pause()
        return self._node.clock.now() + timedelta(seconds=self._told[name] - now)
