"""The flags about how an API server that runs alone is spoken to and how it ends, by their upstream names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from keelback.component.flags import Duration, FlagError, Texts

if TYPE_CHECKING:
    from keelback.component.serving_certificates import KeyPair, TLSSettings


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    tls_cert_file: Annotated[
        str, "The certificate to serve with, read again when it changes; one of --cert-dir if not given."
    ] = ""
    tls_private_key_file: Annotated[str, "Its key."] = ""
    tls_sni_cert_key: Annotated[
        Texts, "Another certificate, for clients that ask for some names: cert,key or cert,key:name,*.name. Repeatable."
    ] = ()
    tls_min_version: Annotated[str, "The oldest TLS that is spoken: VersionTLS12 or VersionTLS13."] = "VersionTLS12"
    tls_cipher_suites: Annotated[
        tuple[str, ...], "The cipher suites of TLS 1.2, by Go's names; all good ones else."
    ] = ()
    client_ca_file: Annotated[
        str, "The authority of clients' certificates, read again when it changes; that of --cert-dir if not given."
    ] = ""
    shutdown_delay_duration: Annotated[
        Duration, "How long requests are served on after SIGTERM while /readyz fails already."
    ] = 0.0
    shutdown_send_retry_after: Annotated[
        bool, "Answer those who come while the last requests are answered with 429 and Retry-After."
    ] = False
    external_hostname: Annotated[str, "What discovery calls this server, if not by its address."] = ""
    permit_port_sharing: Annotated[
        bool, "Let another process listen on the port too (SO_REUSEPORT), such as the one that takes this one's place."
    ] = False
    profiling: Annotated[bool, "Serve /debug/pprof: what the process does and holds."] = False

    def __post_init__(self) -> None:
        if bool(self.tls_cert_file) != bool(self.tls_private_key_file):
            raise FlagError("--tls-cert-file and --tls-private-key-file go together")
        if self.shutdown_delay_duration < 0:
            raise FlagError("--shutdown-delay-duration can not be negative value")
        self.tls_settings()
        self.named_pairs()

    def tls_settings(self) -> TLSSettings:
        """Which TLS is spoken. Raises FlagError."""
        from keelback.component.serving_certificates import TLSSettings

        try:
            return TLSSettings(self.tls_min_version, self.tls_cipher_suites)
        except ValueError as error:
            raise FlagError(f"--tls-min-version, --tls-cipher-suites: {error}") from error

    def named_pairs(self) -> tuple[KeyPair, ...]:
        """The certificates for names. Raises FlagError."""
        from keelback.component.serving_certificates import KeyPair

        try:
            return tuple(KeyPair.parse(one) for one in self.tls_sni_cert_key)
        except ValueError as error:
            given = " ".join(self.tls_sni_cert_key)
            raise FlagError(f'invalid argument "{given}" for "--tls-sni-cert-key" flag: {error}') from error

    def key_pair(self, certificate: Path, key: Path) -> KeyPair:
        """What is served with: the files that are named, or these."""
        from keelback.component.serving_certificates import KeyPair

        if self.tls_cert_file:
            return KeyPair(Path(self.tls_cert_file), Path(self.tls_private_key_file))
        return KeyPair(certificate, key)
