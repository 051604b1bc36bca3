"""URLs are read, and refused, as Go's net/url does."""

from __future__ import annotations

import pytest

from keelback.apimachinery import go_urls
from keelback.apimachinery.go_urls import UrlError


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty url"),
        ("../relative-path", "invalid URI for request"),
        ("https://a:b:c/", 'invalid port ":c" after host'),
        ("://x", "missing protocol scheme"),
        ("https://example.com/%zz", 'invalid URL escape "%zz"'),
        ("https://example.com/%a", 'invalid URL escape "%a"'),
        ("https://us er@host/", "net/url: invalid userinfo"),
        ("https://[::1/", "missing ']' in host"),
        ("https://x[::1]/", "invalid IP-literal"),
        ("https://[1.2.3.4]/", "invalid IP-literal"),
        ("https://[v1.x]/", 'invalid host: ParseAddr("v1.x"): unexpected character (at "v1.x")'),
        ("https://a{b}/", 'invalid character "{" in host name'),
        ("https://host/\n", "net/url: invalid control character in URL"),
    ],
)
def test_what_is_no_absolute_url_is_refused_in_the_words_of_go(text: str, complaint: str) -> None:
    shown = text.replace("\n", "\\n")
    with pytest.raises(UrlError) as refusal:
        go_urls.parse_request_uri(text)
    assert str(refusal.value) == f'parse "{shown}": {complaint}'


def test_a_url_falls_into_its_parts() -> None:
    url = go_urls.parse("HTTPS://user:pass@example.com:80/a%20b/c%2Fd?k1=a&k2=b&k2=c+d&bad;pair&%zz=1#frag")
    assert (url.scheme, url.user_info, url.host) == ("https", "user:pass", "example.com:80")
    assert (url.hostname, url.port) == ("example.com", "80")
    assert url.path == b"/a b/c/d"
    assert url.escaped_path == "/a%20b/c%2Fd"
    assert url.query() == {"k1": ["a"], "k2": ["b", "c d"]}
    assert url.raw_fragment == "frag"


@pytest.mark.parametrize(
    ("text", "host", "hostname", "port"),
    [
        ("/path", "", "", ""),
        ("https://example.com/", "example.com", "example.com", ""),
        ("https://[::1]:80/", "[::1]:80", "::1", "80"),
        ("https://[fe80::1%25eth0]/", "[fe80::1%eth0]", "fe80::1%eth0", ""),
        ("https://example.com:/", "example.com:", "example.com", ""),
        ("mailto:a@b", "", "", ""),
    ],
)
def test_hosts_have_brackets_and_host_names_have_none(text: str, host: str, hostname: str, port: str) -> None:
    url = go_urls.parse(text)
    assert (url.host, url.hostname, url.port) == (host, hostname, port)


def test_a_path_is_escaped_if_it_was_not() -> None:
    assert go_urls.parse("https://example.com/with spaces/é").escaped_path == "/with%20spaces/%C3%A9"
    assert go_urls.parse("https://example.com").escaped_path == ""
