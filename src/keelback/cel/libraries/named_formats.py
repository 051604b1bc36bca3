"""Kubernetes' `format` library: the names and texts that the API knows, with the API's own complaints."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import ClassVar, Final, final

from keelback.apimachinery import go_urls, names
from keelback.cel.declarations import CallEstimate, Function, Library, Operand, function, member, overload
from keelback.cel.libraries import costs
from keelback.cel.types import STRING, Type, list_of, opaque, optional_of
from keelback.cel.values import NONE, OpaqueValue, OptionalValue, Value

FORMAT = opaque("kubernetes.NamedFormat")
LARGEST_PATTERN: Final = 128
"""How long a pattern the static estimate takes a format for, since it cannot know which one it will be."""


@final
@dataclass(frozen=True, slots=True)
class FormatValue(OpaqueValue):
    """One format; equal by name."""

    cel_type: ClassVar[Type] = FORMAT
    name: str
    complaints: Callable[[str], Sequence[str]] = field(compare=False)
    pattern_size: int = field(compare=False)
    """The characters of a pattern that would check as much: what a check costs follows from it."""


# Kubernetes' strfmt and govalidator; the sizes of these patterns count.
_UUID = r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
_BASE64 = r"^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=|[A-Za-z0-9+\/]{4})$"
_TIME = r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$"
_URL_PATTERN_SIZE = 1120
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _uri(text: str) -> Sequence[str]:
    try:
        go_urls.parse_request_uri(text)
    except go_urls.UrlError as error:
        return (str(error),)
    return ()


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        # Go counts a year 0, which leaps.
        date.fromisoformat(text.replace("0000", "2000", 1) if text.startswith("0000") else text)
    except ValueError:
        return False
    return True


_is_time = re.compile(_TIME.removesuffix("$").removeprefix("^")).fullmatch


def _is_datetime(text: str) -> bool:
    day, separator, rest = text.lower().partition("t")
    if not separator or not _is_date(day):
        return False
    match = _is_time(rest.partition("t")[0])
    return match is not None and match[1] <= "23" and match[2] <= "59" and match[3] <= "59"


def _checked(is_valid: Callable[[str], object], complaint: str) -> Callable[[str], Sequence[str]]:
    return lambda text: () if is_valid(text) else (complaint,)


_is_uuid = re.compile(_UUID.removeprefix("(?i)^").removesuffix("$"), re.IGNORECASE | re.ASCII).fullmatch
_is_base64 = re.compile(_BASE64.removeprefix("^").removesuffix("$")).fullmatch
_label, _subdomain, _label_1035 = names.name_is_dns_label, names.name_is_dns_subdomain, names.name_is_dns1035_label

FORMATS: Final = {
    "dns1123Label": FormatValue("DNS1123Label", _label, 30),
    "dns1123Subdomain": FormatValue("DNS1123Subdomain", _subdomain, 60),
    "dns1035Label": FormatValue("DNS1035Label", _label_1035, 30),
    "qualifiedName": FormatValue("QualifiedName", names.qualified_name, 60),
    "dns1123LabelPrefix": FormatValue("DNS1123LabelPrefix", partial(_label, is_prefix=True), 30),
    "dns1123SubdomainPrefix": FormatValue("DNS1123SubdomainPrefix", partial(_subdomain, is_prefix=True), 60),
    "dns1035LabelPrefix": FormatValue("DNS1035LabelPrefix", partial(_label_1035, is_prefix=True), 30),
    "labelValue": FormatValue("LabelValue", names.label_value, 40),
    "uri": FormatValue("URI", _uri, _URL_PATTERN_SIZE),
    "uuid": FormatValue("uuid", _checked(_is_uuid, "does not match the UUID format"), len(_UUID)),
    "byte": FormatValue("byte", _checked(_is_base64, "invalid base64"), len(_BASE64)),
    "date": FormatValue("date", _checked(_is_date, "invalid date"), len(_TIME)),
    "datetime": FormatValue("datetime", _checked(_is_datetime, "invalid datetime"), len(_TIME)),
}
"""By the name that expressions use."""


def _named(name: str) -> OptionalValue:
    found = FORMATS.get(name)
    return NONE if found is None else OptionalValue(found)


def _validate(form: FormatValue, text: str) -> OptionalValue:
    complaints = form.complaints(text)
    return OptionalValue(list(complaints)) if complaints else NONE


def _validate_runtime(arguments: Sequence[Value], _result: Value) -> int:
    form, text = arguments
    pattern = costs.traversal(form.pattern_size, costs.REGEX_STRING_LENGTH)
    return costs.traversal(1 + len(text)) * pattern


def _validate_static(operands: Sequence[Operand]) -> CallEstimate:
    text = operands[1].size.scaled(costs.STRING_TRAVERSAL)
    return CallEstimate(text.scaled(LARGEST_PATTERN * costs.REGEX_STRING_LENGTH))


def _constant(name: str, form: FormatValue) -> Function:
    return function(f"format.{name}", overload(f"format.{name}", (), FORMAT, lambda: form))


LIBRARY = Library(
    "format",
    functions=(
        function("format.named", overload("format-named", (STRING,), optional_of(FORMAT), _named, **costs.NOMINAL)),
        function(
            "validate",
            member(
                "format-validate",
                (FORMAT, STRING),
                optional_of(list_of(STRING)),
                _validate,
                runtime_cost=_validate_runtime,
                static_cost=_validate_static,
            ),
        ),
        *(_constant(name, form) for name, form in FORMATS.items()),
    ),
)
