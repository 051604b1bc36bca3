"""The API server's flags about how it asks kubelets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.pki import KeyPair
from keelback.component.flags import FlagError

_TYPES: Final = ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP")


@dataclass(frozen=True, kw_only=True)
class KubeletClientOptions:
    kubelet_client_certificate: Annotated[
        str, "The certificate with which this server asks kubelets; the cluster's own if not given."
    ] = ""
    kubelet_client_key: Annotated[str, "Its key."] = ""
    kubelet_certificate_authority: Annotated[
        str, "The authority of kubelets' certificates; the cluster's own if not given."
    ] = ""
    kubelet_preferred_address_types: Annotated[
        tuple[str, ...], f"By which of a node's addresses, the best first: of {', '.join(_TYPES)}."
    ] = ("InternalIP", "ExternalIP", "Hostname")

    def check_kubelet_client(self) -> None:
        """Raises FlagError for what cannot be meant."""
        if bool(self.kubelet_client_certificate) != bool(self.kubelet_client_key):
            raise FlagError("--kubelet-client-certificate and --kubelet-client-key must be specified together")
        for one in self.kubelet_preferred_address_types:
            if one not in _TYPES:
                raise FlagError(f'--kubelet-preferred-address-types: "{one}" is none of {", ".join(_TYPES)}')

    def kubelet_client(self, own: KeyPair) -> tuple[Path, Path]:
        """The certificate and its key."""
        if self.kubelet_client_certificate:
            return Path(self.kubelet_client_certificate), Path(self.kubelet_client_key)
        return own.certificate_path, own.key_path

    def kubelet_authority(self, own_pem: bytes) -> bytes:
        """The authority of kubelets. Raises ClusterError."""
        if not self.kubelet_certificate_authority:
            return own_pem
        try:
            return Path(self.kubelet_certificate_authority).read_bytes()
        except OSError as error:
            raise ClusterError(f"--kubelet-certificate-authority: {error}") from error
