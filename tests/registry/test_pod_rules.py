"""The rules of a pod's spec, one refused manifest each with the whole of what is said of it, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs
from keelback.registry.pods import PodStrategy

STRATEGY = PodStrategy()


def problems(spec: dict[str, Any], **metadata: Any) -> list[str]:
    wanted = {"containers": [{"name": "c", "image": "i"}], **spec}
    made = codecs.convert(Pod, {"metadata": {"name": "p", "namespace": "d", **metadata}, "spec": wanted})
    made = STRATEGY.prepare_for_create(STRATEGY.default(made))
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate(made)]


def of(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **container}]}


def probe(**fields: Any) -> dict[str, Any]:
    return of(livenessProbe={"tcpSocket": {"port": 1}, **fields})


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


def env(**source: Any) -> dict[str, Any]:
    return of(env=[{"name": "A", "valueFrom": source}])


C = "spec.containers[0]"
V = "spec.volumes[0]"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SOME_VALUE = "must be between 1 and 65535, inclusive"
PRIVILEGED = (
    '{"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,'
    '"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,'
    '"ProcMount":null,"SeccompProfile":null,"AppArmorProfile":null}'
)
REFUSED: list[tuple[dict[str, Any], str]] = [
    # Containers
    (of(name="A"), f'{C}.name: Invalid value: "A": {LABEL}'),
    (
        of(terminationMessagePolicy="x"),
        f'{C}.terminationMessagePolicy: Unsupported value: "x": supported values: "File", "FallbackToLogsOnError"',
    ),
    (
        of(imagePullPolicy="x"),
        f'{C}.imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"',
    ),
    (of(ports=[{}]), f"{C}.ports[0].containerPort: Required value"),
    (of(ports=[{"containerPort": 1, "hostPort": 70000}]), f"{C}.ports[0].hostPort: Invalid value: 70000: {SOME_VALUE}"),
    (
        of(ports=[{"containerPort": 1, "protocol": "ICMP"}]),
        f'{C}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        of(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
        f'{C}.ports[1].name: Duplicate value: "a"',
    ),
    (
        of(ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]),
        f'{C}.ports[1].hostPort: Duplicate value: "TCP//9"',
    ),
    (
        {**of(ports=[{"containerPort": 1, "hostPort": 9}]), "hostNetwork": True},
        f"{C}.ports[0].hostPort: Invalid value: 9: must match `containerPort` when `hostNetwork` is true",
    ),
    (
        of(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]),
        f"{C}.restartPolicy: Required value: must specify restartPolicy when restart rules are used",
    ),
    (
        of(resizePolicy=[{"resourceName": "pods", "restartPolicy": "NotRequired"}]),
        f'{C}.resizePolicy: Unsupported value: "pods": supported values: "cpu", "memory"',
    ),
    (
        {**of(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]), "restartPolicy": "Never"},
        f"{C}.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is "
        "'Never'",
    ),
    (
        {"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
        "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
        "restartPolicy=Always",
    ),
    (
        {"ephemeralContainers": [{"name": "e", "image": "i"}]},
        "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ),
    # Environment
    (of(env=[{"value": "x"}]), f"{C}.env[0].name: Required value"),
    (
        env(),
        f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
        "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
    ),
    (
        env(fieldRef={"fieldPath": "spec.restartPolicy"}),
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.restartPolicy": supported values: '
        '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
        '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
    ),
    (
        env(fieldRef={"fieldPath": "metadata.whoops"}),
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.whoops": error converting fieldPath: '
        "field label not supported: metadata.whoops",
    ),
    (
        env(fieldRef={"fieldPath": "metadata.name['a']"}),
        f"{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error converting "
        "fieldPath: field label does not support subscript: metadata.name['a']",
    ),
    (
        env(resourceFieldRef={"resource": "limits.cpu", "divisor": "2"}),
        f'{C}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 '
        "are supported with the cpu resource",
    ),
    (env(configMapKeyRef={"name": "a"}), f"{C}.env[0].valueFrom.configMapKeyRef.key: Required value"),
    (env(secretKeyRef={"key": "k"}), f'{C}.env[0].valueFrom.secretKeyRef.name: Invalid value: "": {SUBDOMAIN}'),
    (of(envFrom=[{}]), f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
    # Mounts
    (
        {**of(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "/x"}]), **volume()},
        f'{C}.volumeMounts.subPath: Invalid value: "/x": must be a relative path',
    ),
    (
        {**of(volumeMounts=[{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]), **volume()},
        f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
    ),
    (
        {**of(volumeMounts=[{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}]), **volume()},
        f"{C}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to "
        "privileged containers",
    ),
    (
        {**of(volumeMounts=[{"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"}]), **volume()},
        f"{C}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
    ),
    (
        {**of(volumeDevices=[{"name": "v", "devicePath": "/d"}]), **volume()},
        f'{C}.volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or '
        "Ephemeral for block mode",
    ),
    # Probes and hooks
    (probe(httpGet={"port": 1}), f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
    (
        probe(periodSeconds=-1),
        f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        probe(terminationGracePeriodSeconds=0),
        f"{C}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
    ),
    (
        of(readinessProbe={"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}),
        f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
    ),
    (of(startupProbe={}), f"{C}.startupProbe: Required value: must specify a handler type"),
    (
        of(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
        f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
        "terminationGracePeriodSeconds (30)",
    ),
    (
        of(livenessProbe={"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}),
        f'{C}.livenessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of '
        f"alphanumeric "
        "characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
    ),
    # Resources
    (
        of(resources={"requests": {"example.com/gpu": 1}}),
        f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources",
    ),
    (of(resources={"limits": {"hugepages-2Mi": "2Mi"}}), f"{C}.resources: Forbidden: HugePages require cpu or memory"),
    (
        of(resources={"claims": [{"name": "a"}]}),
        f'{C}.resources.claims[0]: Not found: "a": must be one of the names in pod.spec.resourceClaims which is empty',
    ),
    (
        {**of(resources={"requests": {"cpu": "2"}}), "resources": {"requests": {"cpu": "1"}}},
        'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container '
        "requests of 2",
    ),
    (
        {"resourceClaims": [{"name": "a"}]},
        "spec.resourceClaims[0]: Invalid value: "
        '{"Name":"a","ResourceClaimName":null,"ResourceClaimTemplateName":null}: '
        "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
    ),
    # Security
    (
        of(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
        f"{C}.securityContext: Invalid value: {PRIVILEGED}: cannot set `allowPrivilegeEscalation` to false and "
        "`privileged` to true",
    ),
    (
        of(securityContext={"procMount": "Unmasked"}),
        f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
    ),
    (
        of(securityContext={"seccompProfile": {"type": "Localhost"}}),
        f"{C}.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is "
        "Localhost",
    ),
    (
        of(securityContext={"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}),
        f'{C}.securityContext.seccompProfile.localhostProfile: Invalid value: {{"Type":"RuntimeDefault",'
        '"LocalhostProfile":"x"}: can only be set when seccomp type is Localhost',
    ),
    (
        of(securityContext={"appArmorProfile": {"type": "x"}}),
        f'{C}.securityContext.appArmorProfile.type: Unsupported value: "x": supported values: "Localhost", '
        '"RuntimeDefault", "Unconfined"',
    ),
    (
        of(securityContext={"windowsOptions": {"runAsUserName": "..."}}),
        f'{C}.securityContext.windowsOptions.runAsUserName: Invalid value: "...": runAsUserName\'s User cannot contain '
        "only periods or spaces",
    ),
    (
        {"securityContext": {"fsGroup": -1}},
        "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ),
    (
        {"securityContext": {"sysctls": [{"name": "A", "value": "1"}]}},
        'spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex '
        "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
    ),
    (
        {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}, "hostNetwork": True},
        'spec.securityContext.sysctls[0].name: Invalid value: "net.ipv4.tcp_syncookies": may not be specified when '
        "'hostNetwork' is true",
    ),
    (
        {"hostPID": True, "shareProcessNamespace": True},
        "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID "
        "cannot both "
        "be enabled",
    ),
    ({"hostUsers": False, "hostIPC": True}, "spec.HostIPC: Forbidden: when `hostUsers` is false"),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
    ),
    (
        {"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}},
        "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
    ),
    # Volumes
    (volume(hostPath={"path": ""}), f"{V}.hostPath.path: Required value"),
    (
        volume(hostPath={"path": "/a", "type": "x"}),
        f'{V}.hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", '
        '"DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
    ),
    (volume(emptyDir={}, hostPath={"path": "/"}), f"{V}.hostPath: Forbidden: may not specify more than 1 volume type"),
    (
        volume(secret={"secretName": "s", "defaultMode": 512}),
        f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
    ),
    (
        volume(configMap={"name": "c", "items": [{"key": "k", "path": "..a"}]}),
        f"{V}.configMap.items[0].path: Invalid value: \"..a\": must not start with '..'",
    ),
    (
        volume(downwardAPI={"items": [{"path": "a"}]}),
        f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
    ),
    (
        volume(projected={"sources": [{"secret": {"name": "s"}, "configMap": {"name": "c"}}]}),
        f"{V}.projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
    ),
    (
        {
            **volume(projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}),
            "serviceAccountName": "s",
        },
        f"{V}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration "
        "less than 10 minutes",
    ),
    (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
        f"{V}.projected.sources[0].serviceAccountToken: Forbidden: must not be specified when "
        f"serviceAccountName is not "
        "set",
    ),
    (volume(nfs={"server": "s", "path": "x"}), f'{V}.nfs.path: Invalid value: "x": must be an absolute path'),
    (
        volume(iscsi={"targetPortal": "p", "iqn": "x"}),
        f'{V}.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
    ),
    (volume(csi={"driver": "A_b"}), f'{V}.csi.driver: Invalid value: "A_b": {SUBDOMAIN}'),
    (volume(gcePersistentDisk={}), f"{V}.persistentDisk.pdName: Required value"),
    (
        volume(ephemeral={"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}),
        f"{V}.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
    ),
    (volume(image={}), f"{V}.image.reference: Required value"),
    # The pod as a whole
    (
        {"dnsPolicy": "x"},
        'spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirstWithHostNet", "ClusterFirst", '
        '"Default", "None"',
    ),
    ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    (
        {"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}},
        'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]: must not have more than '
        "3 nameservers",
    ),
    (
        {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["A"]}]},
        f'spec.hostAliases[0].hostnames[0]: Invalid value: "A": {SUBDOMAIN}',
    ),
    (
        {"preemptionPolicy": "x"},
        'spec.preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"',
    ),
    ({"runtimeClassName": "A"}, f'spec.runtimeClassName: Invalid value: "A": {SUBDOMAIN}'),
    (
        {"activeDeadlineSeconds": 0},
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    ({"hostname": "a.b"}, 'spec.hostname: Invalid value: "a.b": must not contain dots'),
    ({"hostname": "A.b"}, f'spec.hostname: Invalid value: "A.b": {LABEL}'),
    ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, 'spec.schedulingGates[1]: Duplicate value: "a"'),
    (
        {"nodeName": "n", "schedulingGates": [{"name": "a"}]},
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    ),
    (
        {"tolerations": [{"key": "a", "effect": "x"}]},
        'spec.tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", '
        '"NoExecute"',
    ),
    (
        {"tolerations": [{"key": "a", "operator": "x"}]},
        'spec.tolerations[0].operator: Unsupported value: "x": supported values: "Equal", "Exists"',
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "x"}]},
        'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: '
        '"DoNotSchedule", "ScheduleAnyway"',
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}] * 2},
        'spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, DoNotSchedule}"',
    ),
    (
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"]}
            ]
        },
        "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not "
        "set",
    ),
    (
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}},
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term",
    ),
    (
        {
            "affinity": {
                "podAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 0, "podAffinityTerm": {"topologyKey": "z"}}
                    ]
                }
            }
        },
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: "
        "must be "
        "in the range 1-100",
    ),
]


@pytest.mark.parametrize(("spec", "expected"), REFUSED)
def test_each_rule_is_said_whole(spec: dict[str, Any], expected: str) -> None:
    assert problems(spec) == [expected]


def test_a_limit_is_a_request_too_so_that_both_are_wrong() -> None:
    assert problems(of(resources={"limits": {"example.com/gpu": "1500m"}})) == [
        f'{C}.resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer',
        f'{C}.resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer',
    ]
    why = "3Mi is not positive integer multiple of hugepages-2Mi"
    assert problems(of(resources={"limits": {"hugepages-2Mi": "3Mi", "cpu": 1}})) == [
        f'{C}.resources.limits[hugepages-2Mi]: Invalid value: "3Mi": {why}',
        f'{C}.resources.requests[hugepages-2Mi]: Invalid value: "3Mi": {why}',
    ]


def test_an_unknown_resource_breaks_two_rules() -> None:
    assert problems({"overhead": {"foo": "1"}}) == [
        'spec.overhead.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
        'spec.overhead.limits[foo]: Invalid value: "foo": must be a standard resource for containers',
    ]


@pytest.mark.parametrize(
    "spec",
    [
        of(
            restartPolicy="OnFailure",
            restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}],
        ),
        of(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
        {
            "initContainers": [
                {"name": "i", "image": "i", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["a"]}}}
            ]
        },
        env(fieldRef={"fieldPath": "metadata.annotations['a.b/c']"}),
        env(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
        {**of(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "x"}]), **volume()},
        {**of(volumeDevices=[{"name": "v", "devicePath": "/d"}]), **volume(persistentVolumeClaim={"claimName": "c"})},
        of(lifecycle={"preStop": {"sleep": {"seconds": 0}}}),
        of(resources={"limits": {"hugepages-2Mi": "4Mi", "cpu": 1}}),
        of(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b"}}),
        {**of(securityContext={"procMount": "Unmasked"}), "hostUsers": False},
        {"securityContext": {"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]}},
        {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": [".", "_a.example.com."]}},
        {"tolerations": [{"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "5"}]},
        {"os": {"name": "windows"}, "securityContext": {"windowsOptions": {"runAsUserName": "DOMAIN\\user"}}},
        {"hostnameOverride": "a.b"},
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            }
        ),
        volume(csi={"driver": "Secrets-Store.csi.k8s.io", "nodePublishSecretRef": {"name": "s"}}),
    ],
)
def test_what_is_allowed_is_let_through(spec: dict[str, Any]) -> None:
    assert problems(spec) == []


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (
            {"kubernetes.io/config.mirror": "x"},
            'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if '
            "mirror pod "
            "annotation is set",
        ),
        (
            {"controller.kubernetes.io/pod-deletion-cost": "+1"},
            'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit '
            "integer",
        ),
        (
            {"seccomp.security.alpha.kubernetes.io/pod": "x"},
            'metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: "x": must be a valid '
            "seccomp "
            "profile",
        ),
        (
            {"container.apparmor.security.beta.kubernetes.io/other": "unconfined"},
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/other]: Invalid value: "
            '"other": container not found',
        ),
    ],
)
def test_annotations_that_mean_something_are_looked_at(annotations: dict[str, str], expected: str) -> None:
    assert problems({}, annotations=annotations) == [expected]


def test_fields_whose_gates_are_off_are_dropped() -> None:
    spec = {
        **of(lifecycle={"stopSignal": "SIGUSR1", "preStop": {"exec": {"command": ["a"]}}}),
        **volume(projected={"sources": [{"clusterTrustBundle": {"name": "b", "path": "p"}}]}),
        "schedulingGroup": {"podGroupName": "g"},
    }
    pod = codecs.convert(Pod, {"metadata": {"name": "p"}, "spec": spec})
    made = STRATEGY.prepare_for_create(STRATEGY.default(pod)).spec
    assert made.containers[0].lifecycle is not None
    assert made.containers[0].lifecycle.stop_signal is None
    assert made.containers[0].lifecycle.pre_stop is not None
    assert made.volumes[0].projected is not None
    assert made.volumes[0].projected.sources[0].cluster_trust_bundle is None
    assert made.scheduling_group is None


def test_a_spread_counts_the_pods_of_its_own_labels() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}
    constraint |= {"labelSelector": {"matchLabels": {"app": "a"}}, "matchLabelKeys": ["hash", "none"]}
    pod = codecs.convert(
        Pod,
        {
            "metadata": {"name": "p", "labels": {"hash": "1"}},
            "spec": {**of(), "topologySpreadConstraints": [constraint]},
        },
    )
    (made,) = STRATEGY.prepare_for_create(STRATEGY.default(pod)).spec.topology_spread_constraints
    assert made.label_selector is not None
    (added,) = made.label_selector.match_expressions
    assert (added.key, added.operator, added.values) == ("hash", "In", ("1",))
