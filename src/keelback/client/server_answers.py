"""What a server's answer that is no success means, in the words of client-go (NewGenericServerResponse)."""

from __future__ import annotations

from typing import Final

from keelback.apimachinery.go_text import go_quoted

_SHOWN_BYTES: Final = 2048
_SAID: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    415: "the server was unable to respond with a content type that the client supports",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def said(status: int, content_type: str, body: bytes) -> str:
    """An error by its HTTP code, where the answer is no Status."""
    message = body[:_SHOWN_BYTES].decode(errors="replace").strip() if content_type.startswith("text/") else "unknown"
    if status in _SAID:
        return _SAID[status]
    if status == 403:
        return message
    if status >= 500:
        return f"an error on the server ({go_quoted(message)}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"
