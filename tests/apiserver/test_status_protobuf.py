"""A Status in protobuf, read back by this project's own decoder."""

from __future__ import annotations

import json

from keelback.apimachinery import codecs, protobuf
from keelback.apimachinery.errors import NotAcceptable
from keelback.apimachinery.meta import Status, StatusCause, StatusDetails
from keelback.apiserver import negotiation, status_protobuf


def test_a_status_survives() -> None:
    causes = (StatusCause(reason="R", message="m" * 200, field="f"), StatusCause(reason="S"))
    details = StatusDetails(name="n", group="g", kind="k", uid="u", causes=causes, retry_after_seconds=300)
    given = Status(status="Failure", message="größer", reason="Invalid", details=details, code=422)
    assert codecs.decode_body(Status, protobuf.to_json(status_protobuf.encode(given))) == given


def test_who_takes_protobuf_alone_is_refused_in_protobuf() -> None:
    answer = negotiation.respond_error(NotAcceptable("no"), negotiation.PROTOBUF)
    assert answer.headers["content-type"] == negotiation.PROTOBUF
    assert json.loads(protobuf.to_json(answer.content()))["message"] == "no"
    assert (
        negotiation.respond_error(NotAcceptable("no"), f"{negotiation.PROTOBUF},application/json").content()[:1] == b"{"
    )
