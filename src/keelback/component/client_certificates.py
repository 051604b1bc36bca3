"""Lets a TLS handshake pass with whatever certificate the client shows, so that HTTP can say what is wrong with it.

Kubernetes answers an expired or foreign certificate with a 401 Status. Python's `ssl` can only break the connection:
it has no verify callback. OpenSSL has one, and it is set here, on the OpenSSL context inside Python's.
The handshake still proves that the client holds the key; who signed and until when is then for authentication to judge.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
import sysconfig

# The last CPython whose SSLContext is known to begin with its SSL_CTX pointer.
_LAST_KNOWN = (3, 14)
_VERIFY_PEER = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_ACCEPT = _CALLBACK(lambda _is_verified, _store_context: 1)


def accept_unverified(context: ssl.SSLContext) -> bool:
    """Have the context ask clients for a certificate and take any; whether this Python lets it be done.

    Where not (another implementation, or OpenSSL linked in without its symbols), the context is left as it is: a bad
    certificate then ends the connection.
    """
    context.verify_mode = ssl.CERT_OPTIONAL
    library = _openssl()
    if library is None:
        return False
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if library.SSL_CTX_get_verify_mode(pointer) != _VERIFY_PEER:
        return False
    library.SSL_CTX_set_verify(pointer, _VERIFY_PEER, _ACCEPT)
    return True


def _openssl() -> ctypes.CDLL | None:
    """The OpenSSL that Python's `ssl` itself is linked to."""
    is_known = sys.implementation.name == "cpython" and sys.version_info[:2] <= _LAST_KNOWN
    if not is_known or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    try:
        library = ctypes.CDLL(_ssl.__file__)
        library.SSL_CTX_get_verify_mode.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, _CALLBACK]
    except (AttributeError, OSError):
        return None
    library.SSL_CTX_get_verify_mode.restype = ctypes.c_int
    library.SSL_CTX_set_verify.restype = None
    return library
