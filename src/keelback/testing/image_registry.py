"""A registry to pull from: the read-only half of the distribution API over OCI image archives, on the loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ImageRegistry:
    """Serves images by repository and tag (`team/app:1`); with credentials (`user:password`), only to who has them."""

    def __init__(self, images: Mapping[str, bytes], credentials: str = "") -> None:
        self.pulls: list[str] = []
        self.address = ""
        self._credentials = credentials
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        for name, archive in images.items():
            repository, _, tag = name.rpartition(":")
            self._add(repository, tag, archive)

    @contextmanager
    def serving(self) -> Iterator[ImageRegistry]:
        """Serve on a free port of this network namespace's loopback; `address` says which."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            def do_HEAD(self) -> None:
                registry._answer(self)

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _add(self, repository: str, tag: str, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as layout:
            for member in layout:
                found = layout.extractfile(member)
                if found is not None and member.name.startswith("blobs/sha256/"):
                    self._blobs["sha256:" + member.name.rpartition("/")[2]] = found.read()
            index = layout.extractfile("index.json")
            assert index is not None
            entry = json.load(index)["manifests"][0]
        manifest = (entry["mediaType"], self._blobs[entry["digest"]])
        self._manifests[repository, tag] = self._manifests[repository, entry["digest"]] = manifest

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = "Basic " + base64.b64encode(self._credentials.encode()).decode()
        if self._credentials and request.headers.get("authorization") != wanted:
            headers = {"www-authenticate": 'Basic realm="registry"'}
            _send(request, HTTPStatus.UNAUTHORIZED, b"", headers)
            return
        parts = request.path.partition("?")[0].removeprefix("/v2/").split("/")
        match parts:
            case [""]:
                _send(request, HTTPStatus.OK, b"{}", {})
                return
            case [*repository, "manifests", reference]:
                found = self._manifests.get(("/".join(repository), reference))
                if found is not None:
                    # Each pull asks once which image the tag is; what is there already is not fetched again.
                    if not reference.startswith("sha256:"):
                        self.pulls.append("/".join(repository))
                    digest = "sha256:" + hashlib.sha256(found[1]).hexdigest()
                    headers = {"content-type": found[0], "docker-content-digest": digest}
                    _send(request, HTTPStatus.OK, found[1], headers)
                    return
            case [*_, "blobs", digest] if digest in self._blobs:
                _send(request, HTTPStatus.OK, self._blobs[digest], {"content-type": "application/octet-stream"})
                return
        _send(request, HTTPStatus.NOT_FOUND, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', {})


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    for name, value in {**headers, "content-length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)
