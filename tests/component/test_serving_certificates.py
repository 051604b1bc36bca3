"""Which certificate a client is shown, before and after the files have changed."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.component.http import AnyResponse, Request, text_response
from keelback.component.serving import Server
from keelback.component.serving_certificates import KeyPair, ServingCertificates, TLSSettings, names_of
from keelback.testing.clock import HandClock

NOW = datetime.now(UTC)


def write(folder: Path, name: str, *names: str, serial: int = 1) -> KeyPair:
    """A certificate that signs itself, in two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names:
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    certificate, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return KeyPair(certificate, key_file)


async def answer(request: Request) -> AnyResponse:
    return text_response("ok")


async def shown(port: int, name: str | None = None, *, version: ssl.TLSVersion | None = None) -> tuple[str, int]:
    """The common name and the serial number of the certificate that a client gets to see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    found = x509.load_der_x509_certificate(der)
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), found.serial_number


def test_a_client_sees_the_certificate_for_the_name_it_asks_for(tmp_path: Path) -> None:
    async def body() -> None:
        own = write(tmp_path, "own")
        named = write(tmp_path, "named", "api.example.com", "*.apps.example.com")
        forced = write(tmp_path, "forced")
        certificates = ServingCertificates(
            own, named=(named, KeyPair(forced.certificate, forced.key, ("forced.example.com",)))
        )
        async with Server(answer, certificates.context) as server:
            port = server.bound_port
            assert (await shown(port))[0] == "own"
            assert (await shown(port, "elsewhere.example.com"))[0] == "own"
            assert (await shown(port, "api.example.com"))[0] == "named"
            assert (await shown(port, "API.example.com"))[0] == "named"
            assert (await shown(port, "one.apps.example.com"))[0] == "named"
            assert (await shown(port, "one.two.apps.example.com"))[0] == "own"
            assert (await shown(port, "forced.example.com"))[0] == "forced"

    asyncio.run(body())


def test_a_changed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        clock = HandClock()
        certificates = ServingCertificates(write(tmp_path, "own"))
        changes: list[None] = []
        async with Server(answer, certificates.context) as server, asyncio.TaskGroup() as group:
            task = group.create_task(certificates.run(clock, lambda: changes.append(None)))
            assert await shown(server.bound_port) == ("own", 1)
            await clock.pass_time(15)
            assert not changes
            write(tmp_path, "own", serial=2)
            await clock.pass_time(15)
            assert len(changes) == 1
            assert await shown(server.bound_port) == ("own", 2)
            (tmp_path / "own.key").write_text("half a key")
            await clock.pass_time(15)
            assert await shown(server.bound_port) == ("own", 2), "what is no pair is not taken over"
            os.unlink(tmp_path / "own.crt")
            await clock.pass_time(15)
            write(tmp_path, "own", serial=3)
            await clock.pass_time(15)
            assert await shown(server.bound_port) == ("own", 3)
            task.cancel()

    asyncio.run(body())


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    async def body() -> None:
        pair = write(tmp_path, "own")
        strict = ServingCertificates(pair, settings=TLSSettings("VersionTLS13"))
        async with Server(answer, strict.context) as server:
            assert (await shown(server.bound_port))[0] == "own"
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await shown(server.bound_port, version=ssl.TLSVersion.TLSv1_2)

    asyncio.run(body())


def test_the_cipher_suites_are_those_that_were_chosen(tmp_path: Path) -> None:
    settings = TLSSettings(ciphers=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"))
    context = settings.context(write(tmp_path, "own"), None)
    of_12 = [one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.2"]
    assert of_12 == ["ECDHE-ECDSA-AES256-GCM-SHA384"]


@pytest.mark.parametrize("wrong", [{"minimum_version": "VersionTLS10"}, {"ciphers": ("TLS_RSA_WITH_RC4_128_SHA",)}])
def test_what_is_unknown_or_unsafe_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown tls version|not supported or doesn't exist"):
        TLSSettings(**wrong)  # type: ignore[arg-type]


def test_pairs_are_written_as_upstream_writes_them(tmp_path: Path) -> None:
    assert KeyPair.parse("a.crt,a.key") == KeyPair(Path("a.crt"), Path("a.key"))
    assert KeyPair.parse("a.crt,a.key:*.Foo.com,foo.com").names == ("*.foo.com", "foo.com")
    for wrong in ("a.crt", "a.crt,a.key,b.key", ",a.key", "a.crt,a.key: "):
        with pytest.raises(ValueError, match=r"file paths|names are missing"):
            KeyPair.parse(wrong)
    assert names_of(write(tmp_path, "own", "a.example.com").certificate.read_bytes()) == ("a.example.com", "own")


def test_a_certificate_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ServingCertificates(KeyPair(tmp_path / "none.crt", tmp_path / "none.key"))
