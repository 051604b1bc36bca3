"""The smallest process there can be: pid 1 of a pod's sandbox and of a node, as a static ELF file of some 290 bytes.

It reaps every child by ignoring SIGCHLD, ends at SIGTERM or SIGINT, and otherwise sleeps. It is written here as machine
code so that neither a compiler nor a download is needed; a Python process in its place would cost 10 MB per pod.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

_BASE = 0x400000
_ELF_HEADER_SIZE = 64
_PROGRAM_HEADER_SIZE = 56
_CODE_OFFSET = _ELF_HEADER_SIZE + _PROGRAM_HEADER_SIZE

_SIGINT, _SIGTERM, _SIGCHLD = 2, 15, 17
_SIG_IGN = 1
_SA_NOCLDWAIT = 0x00000002
_SA_RESTORER = 0x04000000


def executable(machine: str) -> bytes:
    """The program for a machine as `platform.machine()` names it. `KeyError` for one that nobody has written yet."""
    number, code = _MACHINES[machine]
    # The code's length does not depend on the addresses in it: lay out with zeros, then with what follows from that.
    length = len(code(0, 0))
    ignore = _BASE + _CODE_OFFSET + length
    end = ignore + _SIGACTION_SIZE
    # Both programs start with the few instructions that exit, so a handler's address is the start of the code.
    actions = _sigaction(_SIG_IGN, _SA_NOCLDWAIT) + _sigaction(_BASE + _CODE_OFFSET, 0)
    body = code(ignore, end) + actions
    return _headers(number, _CODE_OFFSET + len(body), _BASE + _CODE_OFFSET + _ENTRY[machine]) + body


_SIGACTION_SIZE = 32


def _sigaction(handler: int, flags: int) -> bytes:
    """The kernel's own struct: handler, flags, restorer, mask. No handler here ever returns, so any restorer does."""
    return struct.pack("<QQQQ", handler, flags | _SA_RESTORER, _BASE + _CODE_OFFSET, 0)


def _headers(machine: int, size: int, entry: int) -> bytes:
    identification = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    elf = struct.pack(
        "<HHIQQQIHHHHHH",
        2,  # an executable
        machine,
        1,
        entry,
        _ELF_HEADER_SIZE,
        0,
        0,
        _ELF_HEADER_SIZE,
        _PROGRAM_HEADER_SIZE,
        1,
        0,
        0,
        0,
    )
    # One segment, the whole file, read and execute: signal actions are only read.
    program = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identification + elf + program


def _x86_64(ignore: int, end: int) -> bytes:
    def rt_sigaction(signal: int, action: int) -> bytes:
        return (
            b"\xb8" + struct.pack("<I", 13)  # mov eax, rt_sigaction
            + b"\xbf" + struct.pack("<I", signal)  # mov edi, signal
            + b"\xbe" + struct.pack("<I", action)  # mov esi, action
            + b"\x31\xd2"  # xor edx, edx
            + b"\x41\xba" + struct.pack("<I", 8)  # mov r10d, the size of a signal set
            + b"\x0f\x05"  # syscall
        )  # fmt: skip

    exit_group = b"\xb8\xe7\x00\x00\x00" + b"\x31\xff" + b"\x0f\x05"  # mov eax, 231; xor edi, edi; syscall
    pause = b"\xb8\x22\x00\x00\x00" + b"\x0f\x05" + b"\xeb\xf7"  # mov eax, 34; syscall; jmp back to the mov
    actions = rt_sigaction(_SIGCHLD, ignore) + rt_sigaction(_SIGTERM, end) + rt_sigaction(_SIGINT, end)
    return _padded(exit_group) + _padded(actions + pause)


def _aarch64(ignore: int, end: int) -> bytes:
    def word(value: int) -> bytes:
        return struct.pack("<I", value)

    def move(register: int, value: int) -> bytes:
        # movz register, low half; movk register, high half, lsl 16
        return word(0xD2800000 | (value & 0xFFFF) << 5 | register) + word(
            0xF2A00000 | (value >> 16 & 0xFFFF) << 5 | register
        )

    svc = word(0xD4000001)

    def rt_sigaction(signal: int, action: int) -> bytes:
        return move(0, signal) + move(1, action) + move(2, 0) + move(3, 8) + move(8, 134) + svc

    exit_group = move(0, 0) + move(8, 94) + svc
    # ppoll(NULL, 0, NULL, NULL) is pause() on machines that have no pause; then branch back to its first move.
    ppoll = move(0, 0) + move(1, 0) + move(2, 0) + move(3, 0) + move(8, 73) + svc
    back = word(0x14000000 | (-(len(ppoll) // 4) & 0x03FFFFFF))
    actions = rt_sigaction(_SIGCHLD, ignore) + rt_sigaction(_SIGTERM, end) + rt_sigaction(_SIGINT, end)
    return _padded(exit_group) + _padded(actions + ppoll + back)


def _padded(code: bytes) -> bytes:
    return code + bytes(-len(code) % 8)


_MACHINES: Mapping[str, tuple[int, Callable[[int, int], bytes]]] = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}
# Where the program starts: right behind the padded exit.
_ENTRY: Mapping[str, int] = {"x86_64": 16, "aarch64": 24}
