"""What the file of admission's configuration says, and what it may not say."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from keelback.admission import admission_configuration
from keelback.admission.admission_configuration import AdmissionSettings
from keelback.admission.event_rate_limit import Limit
from keelback.admission.image_policy_webhook import ImagePolicySettings
from keelback.admission.pod_security import Exemptions, PodSecuritySettings, Policy, Standard
from keelback.apimachinery.configuration_files import ConfigurationError

# As in Kubernetes' tutorial on standards of a whole cluster.
STANDARDS = """
apiVersion: pod-security.admission.config.k8s.io/v1
kind: PodSecurityConfiguration
defaults:
  enforce: "baseline"
  enforce-version: "latest"
  audit: "restricted"
  audit-version: "v1.30"
  warn: "restricted"
  warn-version: "latest"
exemptions:
  usernames: []
  runtimeClasses: [gvisor]
  namespaces: [kube-system]
"""


IMAGES = "imagePolicy: {kubeConfigFile: /a}"


def configured(plugin: str, configuration: str) -> str:
    return (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        f"- name: {plugin}\n  configuration:\n{indent(configuration, '    ')}"
    )


def limits(*given: str) -> str:
    listed = "".join(f"- {one}\n" for one in given)
    return configured(
        "EventRateLimit",
        f"apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\nlimits:\n{listed}",
    )


def test_the_standards_of_a_cluster_and_who_is_exempt() -> None:
    settings = admission_configuration.read(configured("PodSecurity", STANDARDS), Path())
    assert settings == AdmissionSettings(
        pod_security=PodSecuritySettings(
            Policy(Standard("baseline"), Standard("restricted", "v1.30"), Standard("restricted")),
            Exemptions(namespaces=frozenset({"kube-system"}), runtime_classes=frozenset({"gvisor"})),
        )
    )


def test_a_plugin_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "standards.yaml").write_text(STANDARDS)
    text = (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
        "plugins: [{name: PodSecurity, path: standards.yaml}, {name: EventRateLimit}]"
    )
    assert admission_configuration.read(text, tmp_path).pod_security.default.enforce == Standard("baseline")


def test_limits_of_events_and_the_nodes_of_a_cluster() -> None:
    text = limits("{type: Server, qps: 50, burst: 100}", "{type: User, qps: 1, burst: 2, cacheSize: 3}")
    assert admission_configuration.read(text, Path()).event_rate_limits == (
        Limit("Server", 50, 100),
        Limit("User", 1, 2, 3),
    )
    text = configured(
        "PodNodeSelector", 'podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "a=b, c=d", ns: e=f}'
    )
    wanted = {"clusterDefaultNodeSelector": {"a": "b", "c": "d"}, "ns": {"e": "f"}}
    assert admission_configuration.read(text, Path()).node_selectors == wanted


@pytest.mark.parametrize(
    "head",
    [
        "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\n",
        "apiVersion: resourcequota.admission.k8s.io/v1beta1\nkind: Configuration\n",
    ],
)
def test_what_wants_a_quota(head: str) -> None:
    scope = "{scopeName: PriorityClass, operator: In, values: [vital]}"
    text = f"{head}limitedResources: [{{resource: pods, matchScopes: [{scope}]}}]"
    (found,) = admission_configuration.read(configured("ResourceQuota", text), Path()).limited_resources
    assert (found.resource, found.match_scopes[0].values) == ("pods", ("vital",))


def test_as_whom_webhooks_are_called() -> None:
    for version, kind in (("v1", "WebhookAdmissionConfiguration"), ("v1alpha1", "WebhookAdmission")):
        text = f"apiVersion: apiserver.config.k8s.io/{version}\nkind: {kind}\nkubeConfigFile: /a"
        found = admission_configuration.read(configured("ValidatingAdmissionWebhook", text), Path())
        assert (found.validating_webhooks, found.mutating_webhooks) == (Path("/a"), None)
        with pytest.raises(ConfigurationError, match="must be an absolute path"):
            admission_configuration.read(configured("MutatingAdmissionWebhook", text.replace("/a", "a")), Path())


def test_tolerations_of_all_namespaces() -> None:
    text = (
        "apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\nkind: Configuration\n"
        "whitelist: [{key: a, operator: Exists}]"
    )
    found = admission_configuration.read(configured("PodTolerationRestriction", text), Path()).pod_tolerations
    assert [one.key for one in found.whitelist] == ["a"]


def test_whom_to_ask_about_images() -> None:
    policy = (
        "imagePolicy: {kubeConfigFile: /images.conf, allowTTL: 50, denyTTL: -1, retryBackoff: 200, defaultAllow: true}"
    )
    versioned = "apiVersion: imagepolicy.admission.k8s.io/v1alpha1\nkind: ImagePolicyWebhookConfiguration\n"
    for text in (policy, versioned + policy):
        told = admission_configuration.read(configured("ImagePolicyWebhook", text), Path()).image_policy
        assert told == ImagePolicySettings(Path("/images.conf"), 50.0, 0.0, 0.2, default_allow=True)
    told = admission_configuration.read(configured("ImagePolicyWebhook", IMAGES), Path()).image_policy
    assert told == ImagePolicySettings(Path("/a"), 300.0, 30.0, 0.5, default_allow=False)


def test_a_file_of_a_plugin_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    for plugin in ("PodNodeSelector", "PodSecurity"):
        text = (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
            f"plugins: [{{name: {plugin}, path: broken.yaml}}]"
        )
        with pytest.raises(ConfigurationError, match="error converting YAML to JSON"):
            admission_configuration.read(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty config data"),
        ("apiVersion: v1\nkind: Pod", 'no kind "Pod" is registered for version "v1"'),
        (configured("Priority", "a: 1"), "plugins[0].name: Priority takes no configuration here"),
        (configured("PodSecurity", "kind: X"), 'no kind "X" is registered'),
        (
            configured("PodSecurity", STANDARDS.replace('"baseline"', "strict")),
            'defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, restricted',
        ),
        (
            configured("PodSecurity", STANDARDS.replace("v1.30", "1.30")),
            'defaults.audit-version: Invalid value: "1.30": must be "latest" or "v1.x"',
        ),
        (
            configured("PodSecurity", STANDARDS.replace("[kube-system]", "[a, a]")),
            'exemptions.namespaces[1]: Duplicate value: "a"',
        ),
        (
            configured("PodSecurity", STANDARDS.replace("usernames: []", 'usernames: [""]')),
            'exemptions.usernames[0]: Invalid value: "": username must not be empty',
        ),
        (limits("{type: Odd, qps: 0, burst: 1}"), 'limits[0].type: Unsupported value: "Odd"'),
        (limits("{type: Server, qps: 0, burst: 1}"), "limits[0].qps: Invalid value: 0: must be positive"),
        (
            configured("ImagePolicyWebhook", IMAGES.replace("}", ", allowTTL: 1801}")),
            "allowTTL: valid value is between 1s and 30m0s, got 30m1s",
        ),
        (configured("ImagePolicyWebhook", "imagePolicy: {}"), "imagePolicy.kubeConfigFile: Required value"),
        (configured("ImagePolicyWebhook", "imagePolicies: {}"), 'unknown field "imagePolicies"'),
        (configured("ImagePolicyWebhook", "kind: X"), 'no kind "X" is registered'),
        (configured("PodNodeSelector", "podNodeSelectorPluginConfig: {n: 1}"), "the selector of a namespace is a text"),
        (limits(), "limits: Invalid value: []: must not be empty"),
    ],
)
def test_what_it_may_not_say(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        admission_configuration.read(text, Path())
    assert told in str(refused.value)
