"""The API server's flags about admission plugins, and the settings they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from keelback.bootstrap.cluster_state import ClusterError
from keelback.component.flags import FlagError

if TYPE_CHECKING:
    from keelback.admission.admission_configuration import AdmissionSettings
    from keelback.apimachinery.kubernetes_versions import KubernetesVersion

FILE_FLAGS: Final = frozenset(("admission-control-config-file",))
"""Flags whose values are files."""


@dataclass(frozen=True, kw_only=True)
class AdmissionFlags:
    enable_admission_plugins: Annotated[tuple[str, ...], "Admission plugins to run besides the default ones."] = ()
    disable_admission_plugins: Annotated[tuple[str, ...], "Default admission plugins not to run."] = ()
    admission_control_config_file: Annotated[
        str,
        "An AdmissionConfiguration file (apiserver.config.k8s.io): what PodSecurity, ResourceQuota, EventRateLimit, "
        "PodNodeSelector, PodTolerationRestriction, ImagePolicyWebhook and the plugins of webhooks are told.",
    ] = ""

    def check_admission(self, version: KubernetesVersion) -> None:
        """Raises FlagError for plugins that there are not, or that are both to run and not to."""
        enabled, disabled = self.enable_admission_plugins, self.disable_admission_plugins
        if not enabled and not disabled:
            return
        from keelback.admission import builtin

        known = builtin.known(version)
        for flag, given in (("enable", enabled), ("disable", disabled)):
            for name in given:
                if name not in known:
                    raise FlagError(f'{flag}-admission-plugins plugin "{name}" is unknown')
        if both := sorted({*enabled} & {*disabled}):
            raise FlagError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")

    def admission(self) -> AdmissionSettings:
        """What the file says. Raises ClusterError."""
        from keelback.admission import admission_configuration

        settings = admission_configuration.DEFAULT
        if self.admission_control_config_file:
            path = Path(self.admission_control_config_file)
            try:
                settings = admission_configuration.read(path.read_text(), path.parent)
            except (OSError, ValueError) as error:
                raise ClusterError(f"--admission-control-config-file {path}: {error}") from error
        if "EventRateLimit" in self.enable_admission_plugins and not settings.event_rate_limits:
            raise ClusterError("EventRateLimit needs limits, which --admission-control-config-file may give it")
        if "ImagePolicyWebhook" in self.enable_admission_plugins and settings.image_policy is None:
            raise ClusterError("ImagePolicyWebhook: no config specified: --admission-control-config-file gives it one")
        return settings
