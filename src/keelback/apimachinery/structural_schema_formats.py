"""The `format`s of strings that CustomResourceDefinitions enforce: those of kube-openapi's strfmt, and no others.

A schema may name any format; one that is not here holds for every value, numbers' int32 and int64 among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date

from keelback.apimachinery import go_regexp, go_urls, names

_HEX = "[0-9a-fA-F]"
_OCTET = r"(?:0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])"


def is_enforced(form: str) -> bool:
    """Whether values are held to a format of this name; dashes in the name do not count."""
    return form.replace("-", "") in _CHECKS


def has_format(value: str, form: str) -> bool:
    """Whether a text has a format. Formats that are not enforced hold for every text."""
    check = _CHECKS.get(form.replace("-", ""))
    return check is None or check(value)


def _matching(pattern: str) -> Callable[[str], bool]:
    # Compiled, and kept by `re`, when it is first needed: all of them take 20 ms, and a start does without.
    return lambda value: re.fullmatch(pattern, value, re.ASCII) is not None


# Groups of letters, digits and symbols of any script; not what RFC 1123 says, but what is enforced.
_WORD = r"[a-zA-Z0-9\p{S}\p{L}]"
_HOSTNAME = (
    rf"^({_WORD}((-?{_WORD}{{0,62}})?)|({_WORD}(([a-zA-Z0-9-\p{{S}}\p{{L}}]{{0,61}}{_WORD})?)(\.)){{1,}}"
    rf"({_WORD})(-?{_WORD}){{1,62}})$"
)


def _is_hostname(value: str) -> bool:
    raw = value.encode()
    if len(raw) > 255 or any(len(part) > 63 for part in raw.split(b".")):
        return False
    return go_regexp.compiled(_HOSTNAME).search(value) is not None


_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_ADDRESS = rf"(?:{_DOT_ATOM}|{_QUOTED})@(?:{_DOT_ATOM}|\[[^\[\]\\\s]*\])"
_is_email = _matching(rf"\s*(?:{_ADDRESS}|(?:(?:{_ATOM}|{_QUOTED}|\.)[ \t]*)*<{_ADDRESS}>)\s*(?:\([^()]*\))?\s*")


def _is_uri(value: str) -> bool:
    try:
        go_urls.parse_request_uri(value)
    except go_urls.UrlError:
        return False
    return True


def _is_ipv4(value: str) -> bool:
    # Leading zeros are allowed, as ever: utilnet.ParseIPSloppy.
    parts = value.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part[-4:]) < 256 for part in parts):
        return True
    return "." in value and _is_ipv6(value)


def _is_ipv6(value: str) -> bool:
    if ":" not in value or "%" in value:
        return False
    head, _, last = value.rpartition(":")
    if "." in last:
        if not _is_ipv4(last):
            return False
        value = f"{head}:0:0"
    before, double, after = value.partition("::")
    groups = [*filter(None, before.split(":")), *filter(None, after.split(":"))]
    if double and "::" in after:
        return False
    written = [part for side in (before, after) if side for part in side.split(":")]
    if not all(re.fullmatch(f"{_HEX}{{1,4}}", part) for part in written):
        return False
    return len(groups) <= 7 if double else len(groups) == 8


def _is_cidr(value: str) -> bool:
    address, slash, bits = value.partition("/")
    if not slash or not re.fullmatch(r"\d{1,3}", bits, re.ASCII):
        return False
    if ":" in address:
        return _is_ipv6(address) and int(bits) <= 128
    return _is_ipv4(address) and int(bits) <= 32


def _is_mac(value: str) -> bool:
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        for size in (6, 8, 20):
            groups = size * 2 // width
            if re.fullmatch(rf"{_HEX}{{{width}}}(?:{re.escape(separator)}{_HEX}{{{width}}}){{{groups - 1}}}", value):
                return True
    return False


def _is_isbn10(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"[0-9]{9}(?:X|[0-9])", digits, re.ASCII):
        return False
    values = [10 if one == "X" else int(one) for one in digits]
    return sum((at + 1) * one for at, one in enumerate(values)) % 11 == 0


def _is_isbn13(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"[0-9]{13}", digits, re.ASCII):
        return False
    return sum((3 if at % 2 else 1) * int(one) for at, one in enumerate(digits)) % 10 == 0


_CARD = (
    r"(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11}"
    r"|6[27][0-9]{14})"
)


def _is_credit_card(value: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", value)
    if not re.fullmatch(_CARD, digits, re.ASCII):
        return False
    doubled = [int(one) * (2 if at % 2 else 1) for at, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


def _is_date(value: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return False
    # Go knows a year 0, a leap year; Python does not.
    year = int(value[:4]) or 2000
    try:
        date(year, int(value[5:7]), int(value[8:]))
    except ValueError:
        return False
    return True


_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))")


def _is_date_time(value: str) -> bool:
    parts = value.lower().split("t")
    if len(parts) < 2 or not _is_date(parts[0]):
        return False
    found = _TIME.fullmatch(parts[1])
    return found is not None and found[1] <= "23" and found[2] <= "59" and found[3] <= "59"


_GO_DURATION = _matching(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_WORDED = re.compile(r"(\d+)\s*([A-Za-zµ]+)", re.ASCII)
_UNITS = (
    ("ns", "nano"),
    ("us", "µs", "micro"),
    ("ms", "milli"),
    ("s", "sec"),
    ("m", "min"),
    ("h", "hr", "hour"),
    ("d", "day"),
    ("w", "wk", "week"),
)


def _is_duration(value: str) -> bool:
    if _GO_DURATION(value):
        return True
    # `2 days` and `1 week`, too: one amount with a known unit anywhere is enough.
    units = (found[2].lower() for found in _WORDED.finditer(value))
    return any(unit in known or unit.startswith(known[-1]) for unit in units for known in _UNITS)


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matching(f"{_HEX}{{24}}"),
    "uri": _is_uri,
    "email": _is_email,
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "cidr": _is_cidr,
    "mac": _is_mac,
    "uuid": _matching(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid3": _matching(f"{_HEX}{{8}}-?{_HEX}{{4}}-?3{_HEX}{{3}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid4": _matching(f"{_HEX}{{8}}-?{_HEX}{{4}}-?4{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"),
    "uuid5": _matching(f"{_HEX}{{8}}-?{_HEX}{{4}}-?5{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"),
    "isbn": lambda value: _is_isbn10(value) or _is_isbn13(value),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "creditcard": _is_credit_card,
    "ssn": _matching(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matching(f"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": _matching(rf"rgb\(\s*{_OCTET}\s*,\s*{_OCTET}\s*,\s*{_OCTET}\s*\)"),
    "byte": _matching(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"),
    "password": lambda _: True,
    "date": _is_date,
    "datetime": _is_date_time,
    "duration": _is_duration,
    "k8sshortname": lambda value: not names.dns1123_label(value),
    "k8slongname": lambda value: not names.dns1123_subdomain(value),
}
