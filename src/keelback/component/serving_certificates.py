"""The certificates that a server shows: one, or several by the name a client asks for; read again when they change.

Those who are connected keep what they have; each new handshake gets the newest.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from keelback.component import client_certificates
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

LOOK_SECONDS: Final = 10.0
"""How often files are looked at; upstream does so at least each minute."""
VERSIONS: Final = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}
# By Go's names; those of TLS 1.3 cannot be chosen there either.
_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
_ALWAYS: Final = frozenset(("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"))

_log = logger("serving-certificates")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate's file and its key's. `names` are whom it is for; without any, those in the certificate."""

    certificate: Path
    key: Path
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> KeyPair:
        """From `cert,key` or `cert,key:name,*.name`, as --tls-sni-cert-key has it. Raises ValueError."""
        files, _, names = text.partition(":")
        certificate, comma, key = files.partition(",")
        if not comma or not certificate.strip() or not key.strip() or "," in key:
            raise ValueError("expected comma separated certificate and key file paths")
        found = tuple(name.strip().lower() for name in names.split(",") if name.strip())
        if names and not found:
            raise ValueError("names are missing after the colon")
        return cls(Path(certificate.strip()), Path(key.strip()), found)


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """Which TLS is spoken. `ciphers` are Go's names; none are OpenSSL's choice."""

    minimum_version: str = "VersionTLS12"
    ciphers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.minimum_version not in VERSIONS:
            raise ValueError(f"unknown tls version {self.minimum_version!r}: use {' or '.join(VERSIONS)}")
        for name in self.ciphers:
            if name not in _SUITES and name not in _ALWAYS:
                raise ValueError(f"Cipher suite {name} not supported or doesn't exist")

    def context(self, pair: KeyPair, client_ca: Path | None) -> ssl.SSLContext:
        """A context that shows the certificate. Raises OSError (ssl.SSLError among them) for what is no pair."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.minimum_version]
        context.load_cert_chain(pair.certificate, pair.key)
        context.set_alpn_protocols(["http/1.1"])
        chosen = [_SUITES[name] for name in self.ciphers if name in _SUITES]
        if chosen:
            context.set_ciphers(":".join(chosen))
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            client_certificates.accept_unverified(context)
        return context


class ServingCertificates:
    """The TLS context of a server, behind which certificates change."""

    def __init__(
        self,
        pair: KeyPair,
        client_ca: Path | None = None,
        *,
        named: Sequence[KeyPair] = (),
        settings: TLSSettings | None = None,
    ) -> None:
        """Raises OSError for files that are not there or no certificates."""
        self._pair = pair
        self._named = tuple(named)
        self._client_ca = client_ca
        self._settings = settings or TLSSettings()
        self._contents = self._read()
        self.context, self._by_name = self._made()
        self._newest = self.context
        self.context.sni_callback = self._choose

    def look(self) -> bool:
        """Take over what has changed; whether anything has. What is wrong is logged, and what held holds on."""
        try:
            contents = self._read()
            if contents == self._contents:
                return False
            self._newest, self._by_name = self._made()
        except (OSError, ValueError) as error:
            _log.warning("Certificates have changed but cannot be used", error=str(error))
            return False
        self._contents = contents
        _log.info("Certificates have been read again", certificate=str(self._pair.certificate))
        return True

    async def run(self, clock: Clock, changed: Callable[[], None]) -> NoReturn:
        """Look again and again, and tell when something has changed. It raises OSError or ValueError if it cannot use
        what it finds: that is logged."""
        while True:
            await clock.sleep(LOOK_SECONDS)
            if self.look():
                try:
                    changed()
                except (OSError, ValueError) as error:
                    _log.warning("The authority of clients has changed but cannot be used", error=str(error))

    def _read(self) -> tuple[bytes, ...]:
        paths = [path for pair in (self._pair, *self._named) for path in (pair.certificate, pair.key)]
        if self._client_ca is not None:
            paths.append(self._client_ca)
        return tuple(path.read_bytes() for path in paths)

    def _made(self) -> tuple[ssl.SSLContext, Mapping[str, ssl.SSLContext]]:
        by_name: dict[str, ssl.SSLContext] = {}
        for pair in self._named:
            context = self._settings.context(pair, self._client_ca)
            for name in pair.names or names_of(pair.certificate.read_bytes()):
                # The first that has a name is the one for it.
                by_name.setdefault(name, context)
        return self._settings.context(self._pair, self._client_ca), by_name

    def _choose(self, tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called in each handshake, also where the client names nobody."""
        name = (name or "").lower()
        chosen = self._by_name.get(name) or self._by_name.get(f"*.{name.partition('.')[2]}") or self._newest
        if chosen is not tls.context:
            tls.context = chosen


def names_of(pem: bytes) -> tuple[str, ...]:
    """Whom a certificate is for: its common name and its DNS names. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    common = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(extension, x509.SubjectAlternativeName)
        alternative = extension.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        alternative = []
    return tuple(dict.fromkeys(name.lower() for name in (*alternative, *common)))
