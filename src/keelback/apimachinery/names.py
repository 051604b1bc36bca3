"""What names, labels and ports may look like, and what the API says of those that may not.

Each function returns the complaints about a value (none when it is valid), word for word as Kubernetes gives them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

Complaints = tuple[str, ...]


class NameValidator(Protocol):
    """Says what is wrong with a name, or with what shall become the beginning of one (generateName)."""

    def __call__(self, name: str, *, is_prefix: bool) -> Sequence[str]: ...


DNS1123_LABEL_MAX_LENGTH: Final = 63
DNS1123_SUBDOMAIN_MAX_LENGTH: Final = 253
DNS1035_LABEL_MAX_LENGTH: Final = 63
LABEL_VALUE_MAX_LENGTH: Final = 63
QUALIFIED_NAME_MAX_LENGTH: Final = 63
PORT_NAME_MAX_LENGTH: Final = 15

_DNS1123_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_SUBDOMAIN = _DNS1123_LABEL + r"(\." + _DNS1123_LABEL + ")*"
_DNS1123_LABEL_WITH_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_DNS1123_SUBDOMAIN_WITH_UNDERSCORE = _DNS1123_LABEL_WITH_UNDERSCORE + r"(\." + _DNS1123_LABEL_WITH_UNDERSCORE + ")*"
_DNS1035_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _DNS1123_SUBDOMAIN
_QUALIFIED_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(" + _QUALIFIED_NAME + ")?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_PERCENT = "[0-9]+%"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_URL_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """A complaint that names the pattern, in upstream's (oddly spaced) form."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def max_length_error(length: int) -> str:
    """The complaint about too many bytes."""
    return f"must be no more than {length} bytes"


def inclusive_range_error(low: int, high: int) -> str:
    """The complaint about a number outside its range."""
    return f"must be between {low} and {high}, inclusive"


EMPTY_ERROR: Final = "must be non-empty"

_DNS1123_LABEL_ERROR = regex_error(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _DNS1123_LABEL,
    "my-name",
    "123-abc",
)
_DNS1123_SUBDOMAIN_ERROR = regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _DNS1123_SUBDOMAIN,
    "example.com",
)
_DNS1123_SUBDOMAIN_WITH_UNDERSCORE_ERROR = regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character",
    _DNS1123_SUBDOMAIN_WITH_UNDERSCORE,
    "example.com",
)
_DNS1035_LABEL_ERROR = regex_error(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _DNS1035_LABEL,
    "my-name",
    "abc-123",
)
_WILDCARD_ERROR = regex_error(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)
_QUALIFIED_NAME_ERROR = regex_error(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED_NAME,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_ERROR = regex_error(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_C_IDENTIFIER_ERROR = regex_error(
    "a valid C identifier must start with alphabetic character or '_', "
    "followed by a string of alphanumeric characters or '_'",
    _C_IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
)
_PERCENT_ERROR = regex_error(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%"
)
_HTTP_HEADER_ERROR = regex_error(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER, "X-Header-Name"
)
_ENV_NAME_ERROR = regex_error(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
    "and must not start with a digit",
    _ENV_NAME,
    "my.env-name",
    "MY_ENV.NAME",
    "MyEnvName1",
)
_CONFIG_KEY_ERROR = regex_error(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)

_is_dns1123_label = re.compile(_DNS1123_LABEL).fullmatch
_is_dns1123_subdomain = re.compile(_DNS1123_SUBDOMAIN).fullmatch
_is_dns1123_subdomain_with_underscore = re.compile(_DNS1123_SUBDOMAIN_WITH_UNDERSCORE).fullmatch
_is_dns1035_label = re.compile(_DNS1035_LABEL).fullmatch
_is_wildcard = re.compile(_WILDCARD).fullmatch
_is_qualified_name = re.compile(_QUALIFIED_NAME).fullmatch
_is_label_value = re.compile(_LABEL_VALUE).fullmatch
_is_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_is_percent = re.compile(_PERCENT).fullmatch
_is_http_header = re.compile(_HTTP_HEADER).fullmatch
_is_env_name = re.compile(_ENV_NAME).fullmatch
_is_relaxed_env_name = re.compile(r"[ -<>-~]+").fullmatch
_is_config_key = re.compile(_CONFIG_KEY).fullmatch
_is_url_path = re.compile(_URL_PATH).fullmatch
_is_port_charset = re.compile("[-a-z0-9]+").fullmatch
_has_letter = re.compile("[a-z]").search


@lru_cache(maxsize=1024)
def dns1123_label(value: str) -> Complaints:
    """Complaints about a value that should be an RFC 1123 label: a namespace, a container's name."""
    # Whoever gives a valid subdomain is told what makes it none of the narrower kind.
    complaint = "must not contain dots" if _is_dns1123_subdomain(value) else _DNS1123_LABEL_ERROR
    return _checked(value, DNS1123_LABEL_MAX_LENGTH, bool(_is_dns1123_label(value)), complaint)


@lru_cache(maxsize=1024)
def dns1123_subdomain(value: str) -> Complaints:
    """Complaints about a value that should be an RFC 1123 subdomain: most objects' names."""
    return _checked(value, DNS1123_SUBDOMAIN_MAX_LENGTH, bool(_is_dns1123_subdomain(value)), _DNS1123_SUBDOMAIN_ERROR)


def dns1123_subdomain_with_underscore(value: str) -> Complaints:
    """Complaints about a value that should be a DNS name as resolvers take it: a search path of a pod."""
    return _checked(
        value,
        DNS1123_SUBDOMAIN_MAX_LENGTH,
        bool(_is_dns1123_subdomain_with_underscore(value)),
        _DNS1123_SUBDOMAIN_WITH_UNDERSCORE_ERROR,
    )


@lru_cache(maxsize=1024)
def dns1035_label(value: str) -> Complaints:
    """Complaints about a value that should be an RFC 1035 label: a CRD's plural, a list kind."""
    return _checked(value, DNS1035_LABEL_MAX_LENGTH, bool(_is_dns1035_label(value)), _DNS1035_LABEL_ERROR)


@lru_cache(maxsize=1024)
def wildcard_dns1123_subdomain(value: str) -> Complaints:
    """Complaints about a value that should be a wildcard host such as `*.example.com`."""
    return _checked(value, DNS1123_SUBDOMAIN_MAX_LENGTH, bool(_is_wildcard(value)), _WILDCARD_ERROR)


@lru_cache(maxsize=16384)
def qualified_name(value: str) -> Complaints:
    """Complaints about a value that should be `[prefix/]name`: label and annotation keys, finalizers, resources."""
    prefix, slash, name = value.partition("/")
    complaints: list[str] = []
    if not slash:
        name = prefix
    elif "/" in name:
        return (
            f"a qualified name {_QUALIFIED_NAME_ERROR} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    elif not prefix:
        complaints.append(f"prefix part {EMPTY_ERROR}")
    else:
        complaints.extend(f"prefix part {complaint}" for complaint in dns1123_subdomain(prefix))
    if not name:
        complaints.append(f"name part {EMPTY_ERROR}")
    elif _size(name) > QUALIFIED_NAME_MAX_LENGTH:
        complaints.append(f"name part {max_length_error(QUALIFIED_NAME_MAX_LENGTH)}")
    if not _is_qualified_name(name):
        complaints.append(f"name part {_QUALIFIED_NAME_ERROR}")
    return tuple(complaints)


@lru_cache(maxsize=16384)
def label_value(value: str) -> Complaints:
    """Complaints about a label's value."""
    return _checked(value, LABEL_VALUE_MAX_LENGTH, bool(_is_label_value(value)), _LABEL_VALUE_ERROR)


def url_path(value: str) -> Complaints:
    """Complaints about the path of a domain-prefixed name such as `acme.io/foo`."""
    return () if _is_url_path(value) else (regex_error("Invalid path", _URL_PATH),)


def c_identifier(value: str) -> Complaints:
    """Complaints about a value that should be a C identifier."""
    return () if _is_c_identifier(value) else (_C_IDENTIFIER_ERROR,)


def port_number(port: int) -> Complaints:
    """Complaints about a port's number."""
    return () if 1 <= port <= 65535 else (inclusive_range_error(1, 65535),)


def group_or_user_id(number: int) -> Complaints:
    """Complaints about a numeric user or group."""
    return () if 0 <= number <= 2**31 - 1 else (inclusive_range_error(0, 2**31 - 1),)


@lru_cache(maxsize=1024)
def port_name(value: str) -> Complaints:
    """Complaints about a container port's name."""
    complaints: list[str] = []
    if _size(value) > PORT_NAME_MAX_LENGTH:
        complaints.append(max_length_error(PORT_NAME_MAX_LENGTH))
    if not _is_port_charset(value):
        complaints.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _has_letter(value):
        complaints.append("must contain at least one letter (a-z)")
    if "--" in value:
        complaints.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        complaints.append("must not begin or end with a hyphen")
    return tuple(complaints)


def percent(value: str) -> Complaints:
    """Complaints about a value that should be a percentage such as "25%"."""
    return () if _is_percent(value) else (_PERCENT_ERROR,)


def http_header_name(value: str) -> Complaints:
    """Complaints about an HTTP header's name."""
    return () if _is_http_header(value) else (_HTTP_HEADER_ERROR,)


def env_var_name(value: str) -> Complaints:
    """Complaints about an environment variable's name by the strict rule."""
    complaints = () if _is_env_name(value) else (_ENV_NAME_ERROR,)
    return complaints + _dots(value)


def relaxed_env_var_name(value: str) -> Complaints:
    """Complaints about an environment variable's name by the rule for containers: printable ASCII without `=`."""
    if not value:
        return ("environment variable name " + EMPTY_ERROR,)
    if _is_relaxed_env_name(value):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


@lru_cache(maxsize=4096)
def config_map_key(value: str) -> Complaints:
    """Complaints about a key of a ConfigMap or Secret."""
    complaints: list[str] = []
    if _size(value) > DNS1123_SUBDOMAIN_MAX_LENGTH:
        complaints.append(max_length_error(DNS1123_SUBDOMAIN_MAX_LENGTH))
    if not _is_config_key(value):
        complaints.append(_CONFIG_KEY_ERROR)
    return (*complaints, *_dots(value))


def path_segment(name: str, *, is_prefix: bool = False) -> Complaints:
    """Complaints about a name that must be usable as one segment of a URL's path: roles, custom subresources."""
    if not is_prefix and name in (".", ".."):
        return (f"may not be '{name}'",)
    return tuple(f"may not contain '{illegal}'" for illegal in ("/", "%") if illegal in name)


def name_is_dns_subdomain(name: str, *, is_prefix: bool = False) -> Complaints:
    """The name rule of most kinds."""
    return dns1123_subdomain(_without_trailing_dash(name) if is_prefix else name)


def name_is_dns_label(name: str, *, is_prefix: bool = False) -> Complaints:
    """The name rule of namespaces and services."""
    return dns1123_label(_without_trailing_dash(name) if is_prefix else name)


def name_is_dns1035_label(name: str, *, is_prefix: bool = False) -> Complaints:
    """The name rule of kinds whose names become RFC 1035 labels."""
    return dns1035_label(_without_trailing_dash(name) if is_prefix else name)


def _without_trailing_dash(name: str) -> str:
    """A generateName may end with a dash: the suffix that follows makes the name valid."""
    return name[:-1] + "a" if len(name) > 1 and name.endswith("-") else name


def _checked(value: str, limit: int, matches: bool, complaint: str) -> Complaints:
    too_long = len(value) > limit or (not value.isascii() and _size(value) > limit)
    if matches and not too_long:
        return ()
    return (*((max_length_error(limit),) if too_long else ()), *(() if matches else (complaint,)))


def _size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


def _dots(value: str) -> Complaints:
    if value in (".", ".."):
        return (f"must not be '{value}'",)
    return ("must not start with '..'",) if value.startswith("..") else ()
