"""What a proxied server says of its own addresses, in terms of where it is seen: redirects, and links in HTML.

As upstream's proxy does it (apimachinery's `util/proxy`), so that file listings and dashboards can be followed.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

MAX_HTML_BYTES: Final = 4 << 20
_WINDOW_BITS: Final = {"": None, "identity": None, "gzip": 31, "deflate": 15}
_ATTRIBUTE: Final = re.compile(r"""([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'=<>`]+)""")
_LINKS: Final[Mapping[str, frozenset[str]]] = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "formaction src usemap",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Where clients see a proxied server: `prefix` at the proxy's `host` stands for the root of `target`, host:port."""

    scheme: str
    host: str
    prefix: str
    target: str

    def url(self, text: str) -> str:
        """A link of that server as the client must follow it; those that lead elsewhere, and relative ones, as is."""
        try:
            url = urlsplit(text)
        except ValueError:
            return text
        is_elsewhere = url.netloc not in ("", self.target, self.host)
        if is_elsewhere or not url.path.startswith("/"):
            return text
        if url.scheme or url.netloc:
            url = url._replace(scheme=self.scheme, netloc=self.host)
        if not url.path.startswith(self.prefix):
            # A second slash at the beginning would make a host of what follows.
            path = posixpath.normpath(f"{self.prefix}/{url.path.lstrip('/')}")
            url = url._replace(path=path + ("/" if url.path.endswith("/") else ""))
        return url.geturl()

    def document(self, content: bytes) -> bytes:
        """An HTML document with its links as the client must follow them; everything else byte for byte as it was."""
        # A megabyte, and a server through which nobody looks at HTML does without.
        from keelback.apiserver import html_tags

        text = content.decode(errors="surrogateescape")
        pieces, done = [], 0
        for start, tag, raw in html_tags.start_tags(text):
            if (wanted := _LINKS.get(tag)) is not None:
                pieces += [text[done:start], self._tag(raw, wanted)]
                done = start + len(raw)
        return "".join([*pieces, text[done:]]).encode(errors="surrogateescape")

    def _tag(self, raw: str, wanted: frozenset[str]) -> str:
        import html

        def attribute(found: re.Match[str]) -> str:
            if found[1].lower() not in wanted:
                return found[0]
            value = html.unescape(found[3].strip("\"'"))
            seen = self.url(value)
            return found[0] if seen == value else f'{found[1]}{found[2]}"{html.escape(seen)}"'

        return _ATTRIBUTE.sub(attribute, raw)


def decoded(content: bytes, encoding: str) -> bytes | None:
    """A body without its Content-Encoding; None where that is unknown, broken, or hides more than `MAX_HTML_BYTES`."""
    if encoding not in _WINDOW_BITS:
        return None
    bits = _WINDOW_BITS[encoding]
    if bits is None:
        return content
    inflater = zlib.decompressobj(bits)
    try:
        plain = inflater.decompress(content, MAX_HTML_BYTES)
    except zlib.error:
        return None
    return plain if inflater.eof else None
