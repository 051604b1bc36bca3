from __future__ import annotations

import pytest

from keelback.apimachinery import names

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def test_subdomains() -> None:
    assert names.dns1123_subdomain("a.b-c.d") == ()
    assert names.dns1123_subdomain("No_Such") == (SUBDOMAIN,)
    assert names.dns1123_subdomain("a" * 254) == ("must be no more than 253 bytes",)
    assert names.dns1123_subdomain("a\n") == (SUBDOMAIN,)


def test_labels() -> None:
    assert names.dns1123_label("a-b") == ()
    assert names.dns1123_label("a.b") == ("must not contain dots",)
    assert names.dns1123_label("a.b" * 30) == ("must be no more than 63 bytes", "must not contain dots")
    (complaint,) = names.dns1123_label("A.b")
    assert complaint.startswith("a lowercase RFC 1123 label must consist of")


def test_variables_may_be_named_almost_anything() -> None:
    assert names.relaxed_env_var_name("a b:c") == ()
    assert names.relaxed_env_var_name("a=b") == (
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )


def test_examples_are_joined_as_upstream_joins_them() -> None:
    assert names.config_map_key("a b") == (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    )


def test_a_generated_name_may_end_with_a_dash() -> None:
    assert names.name_is_dns_label("web-", is_prefix=True) == ()
    assert names.name_is_dns_label("web-") != ()
    assert names.name_is_dns_label("-", is_prefix=True) != ()


@pytest.mark.parametrize("good", ["a", "A.b_c-1", "example.com/Name", "0"])
def test_qualified_names(good: str) -> None:
    assert names.qualified_name(good) == ()


@pytest.mark.parametrize(
    ("bad", "beginning"),
    [
        ("a/b/c", "a qualified name must consist of"),
        ("/a", "prefix part must be non-empty"),
        ("A_b/c", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/", "name part must be non-empty"),
        ("x" * 64, "name part must be no more than 63 bytes"),
        ("-a", "name part must consist of alphanumeric"),
    ],
)
def test_bad_qualified_names(bad: str, beginning: str) -> None:
    assert names.qualified_name(bad)[0].startswith(beginning)


def test_port_names() -> None:
    assert names.port_name("http-2") == ()
    assert names.port_name("-0--0-") == (
        "must contain at least one letter (a-z)",
        "must not contain consecutive hyphens",
        "must not begin or end with a hyphen",
    )
    assert names.port_name("averyveryverylong") == ("must be no more than 15 bytes",)


def test_ports() -> None:
    assert names.port_number(80) == ()
    assert names.port_number(65536) == ("must be between 1 and 65535, inclusive",)


def test_environment_variables() -> None:
    assert names.env_var_name("MY_ENV.NAME-1") == ()
    assert names.env_var_name("1A")[0].startswith("a valid environment variable name must consist of alphabetic")
    assert names.relaxed_env_var_name("1 a") == ()
    assert names.relaxed_env_var_name("a=b") != ()


def test_path_segments() -> None:
    assert names.path_segment("system:node") == ()
    assert names.path_segment("a/b%") == ("may not contain '/'", "may not contain '%'")
    assert names.path_segment("..") == ("may not be '..'",)
