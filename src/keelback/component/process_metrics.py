"""What Prometheus' clients tell of their process: CPU, memory, open files, when it was started."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from keelback.component.metrics import Registry

_PROCESS = Path("/proc/self")


def add(metrics: Registry) -> None:
    """Show them. Where there is no /proc there are none."""
    try:
        kernel, fields = Path("/proc/stat").read_text(), _fields()
    except OSError:
        return
    cpu = metrics.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
    resident = metrics.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
    virtual = metrics.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
    open_files = metrics.gauge("process_open_fds", "Number of open file descriptors.")
    most_files = metrics.gauge("process_max_fds", "Maximum number of open file descriptors.")
    started = metrics.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
    ticks, page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    boot = next(int(line.split()[1]) for line in kernel.splitlines() if line.startswith("btime "))
    started.set(boot + int(fields[19]) / ticks)

    def refresh() -> None:
        fields = _fields()
        cpu.set((int(fields[11]) + int(fields[12])) / ticks)
        virtual.set(int(fields[20]))
        resident.set(int(fields[21]) * page_bytes)
        open_files.set(len(os.listdir(_PROCESS / "fd")))
        most_files.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    metrics.before_collection(refresh)


def _fields() -> list[str]:
    """Those of proc(5) after the command's name, which may have blanks in it."""
    return (_PROCESS / "stat").read_text().rpartition(")")[2].split()
