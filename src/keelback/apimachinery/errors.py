"""What a request can fail with: one class per Status `reason`, and the field errors that validation yields.

The words are those of k8s.io/apimachinery's `api/errors` and `util/validation/field`, for clients compare them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import msgspec

from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import Kind, Status, StatusCause, StatusDetails, Value, replace


class StatusError(Exception):
    """A request's failure. `status` is what the client is answered with."""

    reason: ClassVar[str] = ""
    default_code: ClassVar[int] = 500

    def __init__(
        self, message: str, *, details: StatusDetails | None = None, code: int = 0, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = Status(
            status="Failure",
            message=message,
            reason=self.reason if reason is None else reason,
            details=details,
            code=code or self.default_code,
        )

    @property
    def message(self) -> str:
        return self.status.message

    @property
    def code(self) -> int:
        """The HTTP status."""
        return self.status.code


class BadRequest(StatusError):
    reason = "BadRequest"
    default_code = 400


class Unauthorized(StatusError):
    reason = "Unauthorized"
    default_code = 401

    def __init__(self, message: str = "Unauthorized", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)


class Forbidden(StatusError):
    reason = "Forbidden"
    default_code = 403

    @classmethod
    def of(cls, kind: Kind, name: str, why: str) -> Self:
        """The refusal of one object, as admission words it: `pods "a" is forbidden: why`."""
        subject = f'{kind.resource} "{name}"' if name else kind.resource
        return cls(f"{subject} is forbidden: {why}", details=_details(kind, name))


class NotFound(StatusError):
    reason = "NotFound"
    default_code = 404

    @classmethod
    def of(cls, kind: Kind, name: str) -> Self:
        return cls(f'{kind.resource} "{name}" not found', details=_details(kind, name))


class MethodNotSupported(StatusError):
    reason = "MethodNotAllowed"
    default_code = 405

    @classmethod
    def unrouted(cls) -> MethodNotSupported:
        """For a path that is there, but not for this method: its details are there and empty."""
        return cls("the server does not allow this method on the requested resource", details=StatusDetails())


class NotAcceptable(StatusError):
    reason = "NotAcceptable"
    default_code = 406


class AlreadyExists(StatusError):
    reason = "AlreadyExists"
    default_code = 409

    @classmethod
    def of(cls, kind: Kind, name: str) -> Self:
        return cls(f'{kind.resource} "{name}" already exists', details=_details(kind, name))


class Conflict(StatusError):
    reason = "Conflict"
    default_code = 409

    @classmethod
    def of(
        cls,
        kind: Kind,
        name: str,
        why: str = "the object has been modified; please apply your changes to the latest version and try again",
    ) -> Self:
        return cls(
            f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}',
            details=_details(kind, name),
        )


class Expired(StatusError):
    """The wanted version of a resource is no longer there."""

    reason = "Expired"
    default_code = 410


class Gone(StatusError):
    reason = "Gone"
    default_code = 410


class RequestEntityTooLarge(StatusError):
    reason = "RequestEntityTooLarge"
    default_code = 413


class UnsupportedMediaType(StatusError):
    reason = "UnsupportedMediaType"
    default_code = 415


class Invalid(StatusError):
    reason = "Invalid"
    default_code = 422

    @classmethod
    def of(cls, kind: Kind, name: str, field_errors: Iterable[FieldError], *, subject: str = "") -> Self:
        """All that is wrong with an object. `subject` replaces the kind in the message where upstream does so."""
        found = tuple(field_errors)
        # Said once each, though upstream lists some causes twice.
        bodies = list(dict.fromkeys(f"{one.field}: {one.body}" for one in found))
        listed = bodies[0] if len(bodies) == 1 else f"[{', '.join(bodies)}]"
        qualified = subject or (f"{kind.kind}.{kind.group}" if kind.group else kind.kind)
        return cls(
            f'{qualified} "{name}" is invalid: {listed}' if bodies else f'{qualified} "{name}" is invalid',
            details=StatusDetails(
                name=name,
                group=kind.group,
                kind=kind.plural if subject else kind.kind,
                causes=tuple(StatusCause(reason=one.type, message=one.body, field=one.field) for one in found),
            ),
        )


class TooManyRequests(StatusError):
    reason = "TooManyRequests"
    default_code = 429


class InternalError(StatusError):
    reason = "InternalError"
    default_code = 500

    @classmethod
    def of(cls, text: str) -> InternalError:
        """What should not have happened, told twice as upstream tells it (apierrors.NewInternalError)."""
        details = StatusDetails(causes=(StatusCause(message=text),))
        return cls(f"Internal error occurred: {text}", details=details)


class ServiceUnavailable(StatusError):
    reason = "ServiceUnavailable"
    default_code = 503


class Timeout(StatusError):
    reason = "Timeout"
    default_code = 504


_BY_REASON: dict[str, type[StatusError]] = {
    cls.reason: cls
    for cls in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotSupported,
        NotAcceptable,
        AlreadyExists,
        Conflict,
        Expired,
        Gone,
        RequestEntityTooLarge,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        InternalError,
        ServiceUnavailable,
        Timeout,
    )
}
_BY_CODE: dict[int, type[StatusError]] = {400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound}
_BY_CODE |= {405: MethodNotSupported, 409: Conflict, 410: Gone, 413: RequestEntityTooLarge, 422: Invalid}
_BY_CODE |= {429: TooManyRequests, 503: ServiceUnavailable, 504: Timeout}


def from_status(status: Status) -> StatusError:
    """The error a Status stands for: by its reason, else by its code."""
    cls = _BY_REASON.get(status.reason) or _BY_CODE.get(status.code, StatusError)
    error = cls(status.message or status.reason)
    error.status = status if status.code else replace(status, code=cls.default_code)
    return error


def _details(kind: Kind, name: str) -> StatusDetails:
    return StatusDetails(name=name, group=kind.group, kind=kind.plural)


REQUIRED = "FieldValueRequired"
DUPLICATE = "FieldValueDuplicate"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
NOT_FOUND = "FieldValueNotFound"
TYPE_INVALID = "FieldValueTypeInvalid"
INTERNAL = "InternalError"

_WORDS = {
    REQUIRED: "Required value",
    DUPLICATE: "Duplicate value",
    INVALID: "Invalid value",
    NOT_SUPPORTED: "Unsupported value",
    FORBIDDEN: "Forbidden",
    TOO_LONG: "Too long",
    TOO_MANY: "Too many",
    NOT_FOUND: "Not found",
    TYPE_INVALID: "Invalid value",
    INTERNAL: "Internal error",
}
_WITHOUT_VALUE = frozenset({REQUIRED, FORBIDDEN, TOO_LONG, INTERNAL})

OMITTED: Final = object()
"""The bad value of an error that says nothing of it, though errors of its type usually do."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. `field` is its path as users write it: `spec.containers[0].image`."""

    field: str
    type: str
    detail: str = ""
    bad_value: Any = None

    @property
    def body(self) -> str:
        """The message without the field."""
        words = _WORDS[self.type]
        is_silent = self.type in _WITHOUT_VALUE or self.bad_value is OMITTED
        text = words if is_silent else f"{words}: {printed(self.bad_value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def under(self, parent: str) -> FieldError:
        """The same error seen from the object that holds the field."""
        joined = f"{parent}{self.field}" if self.field.startswith("[") else f"{parent}.{self.field}"
        return FieldError(joined if self.field else parent, self.type, self.detail, self.bad_value)


def required(field: str, detail: str = "") -> FieldError:
    """A value that must be there and is not."""
    return FieldError(field, REQUIRED, detail)


def invalid(field: str, bad_value: Any, detail: str) -> FieldError:
    """A value that has the right type and is still none that may be."""
    return FieldError(field, INVALID, detail, bad_value)


def not_supported(field: str, bad_value: Any, supported: Iterable[str], *, in_given_order: bool = False) -> FieldError:
    """A value outside a closed set. Upstream names most sets sorted, and a few in the order they are written."""
    quoted = ", ".join(f'"{one}"' for one in (supported if in_given_order else sorted(supported)))
    return FieldError(field, NOT_SUPPORTED, f"supported values: {quoted}" if quoted else "", bad_value)


def duplicate(field: str, bad_value: Any) -> FieldError:
    """A value that stands twice where each may stand once."""
    return FieldError(field, DUPLICATE, "", bad_value)


def forbidden(field: str, detail: str) -> FieldError:
    """A field that may not be set, or not changed, as things are."""
    return FieldError(field, FORBIDDEN, detail)


def too_long(field: str, max_length: int) -> FieldError:
    """A text of more bytes than may be."""
    return FieldError(field, TOO_LONG, f"may not be more than {max_length} bytes")


def too_many(field: str, actual: int, max_items: int) -> FieldError:
    """A list of more items than may be."""
    return FieldError(field, TOO_MANY, f"must have at most {max_items} items", actual)


def not_found(field: str, bad_value: Any) -> FieldError:
    """A value that refers to what is not there."""
    return FieldError(field, NOT_FOUND, "", bad_value)


def printed(value: Any) -> str:
    """A value as Go's field errors print it: scalars bare or quoted, everything else as JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return go_quoted(value)
        case Value():
            return msgspec.json.encode(value).decode()
        case _:
            return msgspec.json.encode(value).decode()
