"""Scripts to the kernel, each one transaction: the library for small ones, the program for large ones.

A whole table of ten thousand Services takes 120 MB to parse; in a child process that memory is given back. An update
through the library costs a millisecond, through the program seven. Rules are for the program alone: what the compiler
cannot do ends in an abort, and with the library that would be ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ctypes.util
from typing import Final

DEADLINE_SECONDS: Final = 60.0
_LIBRARY_BYTES: Final = 64 << 10


class NftError(Exception):
    """The kernel or the parser did not take a script; nothing of it took effect."""


class Nftables:
    """Applies scripts in the network namespace of this process. One at a time."""

    def __init__(self) -> None:
        self._library = _load()
        self._context = self._library.nft_ctx_new(0) if self._library else None
        if self._library and self._context:
            self._library.nft_ctx_buffer_output(self._context)
            self._library.nft_ctx_buffer_error(self._context)

    async def apply(self, script: str) -> None:
        """Carry out a script as a whole. Raises NftError, OSError where there is no nft, TimeoutError."""
        if self._context and len(script) <= _LIBRARY_BYTES and has_only_elements(script):
            self._apply_here(script)
        else:
            await _apply_in_child(script)

    def close(self) -> None:
        """Give the library's memory back."""
        if self._library and self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def _apply_here(self, script: str) -> None:
        assert self._library is not None
        if self._library.nft_run_cmd_from_buffer(self._context, script.encode()) != 0:
            message = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise NftError(message.decode(errors="replace").strip())


def has_only_elements(script: str) -> bool:
    """Whether a script adds and deletes elements and nothing else."""
    return all(line.startswith(("add element ", "delete element ")) for line in script.splitlines() if line)


async def _apply_in_child(script: str) -> None:
    child = await asyncio.create_subprocess_exec(
        "nft",
        "-f",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, complaint = await child.communicate(script.encode())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        raise NftError(complaint.decode(errors="replace").strip()[:2000])


def _load() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
