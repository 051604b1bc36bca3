"""The types of core/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.apimachinery.meta import (
    Atomic,
    Condition,
    IntOrString,
    LabelSelector,
    ListMap,
    ListSet,
    Merge,
    MicroTime,
    Object,
    ObjectMeta,
    Quantity,
    Time,
    Value,
    defaulted,
    kind,
    named,
    written,
    written_as,
)


class AWSElasticBlockStoreVolumeSource(Value):
    fs_type: str = ""
    partition: int = 0
    read_only: bool = False
    volume_id: str = written_as("volumeID", "")


class Affinity(Value):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAntiAffinity | None = None


class AppArmorProfile(Value):
    localhost_profile: str | None = None
    type: str = written("")


class AttachedVolume(Value):
    device_path: str = written("")
    name: str = written("")


class AzureDiskVolumeSource(Value):
    caching_mode: str = written("ReadWrite")
    disk_name: str = written("")
    disk_uri: str = written_as("diskURI", "")
    fs_type: str = written("ext4")
    kind: str = written("Shared")
    read_only: bool = written(False)


class AzureFilePersistentVolumeSource(Value):
    read_only: bool = False
    secret_name: str = written("")
    secret_namespace: str | None = None
    share_name: str = written("")


class AzureFileVolumeSource(Value):
    read_only: bool = False
    secret_name: str = written("")
    share_name: str = written("")


class ObjectReference(Value):
    api_version: str = ""
    field_path: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    uid: str = ""


@kind("v1", "bindings")
class Binding(Object):
    target: Annotated[ObjectReference, Atomic()] = written(ObjectReference())


class CSIPersistentVolumeSource(Value):
    controller_expand_secret_ref: Annotated[SecretReference | None, Atomic()] = None
    controller_publish_secret_ref: Annotated[SecretReference | None, Atomic()] = None
    driver: str = written("")
    fs_type: str = ""
    node_expand_secret_ref: Annotated[SecretReference | None, Atomic()] = None
    node_publish_secret_ref: Annotated[SecretReference | None, Atomic()] = None
    node_stage_secret_ref: Annotated[SecretReference | None, Atomic()] = None
    read_only: bool = False
    volume_attributes: Mapping[str, str] = {}
    volume_handle: str = written("")


class CSIVolumeSource(Value):
    driver: str = written("")
    fs_type: str | None = None
    node_publish_secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    read_only: bool | None = None
    volume_attributes: Mapping[str, str] = {}


class Capabilities(Value):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class CephFSPersistentVolumeSource(Value):
    monitors: tuple[str, ...] = written(())
    path: str = ""
    read_only: bool = False
    secret_file: str = ""
    secret_ref: Annotated[SecretReference | None, Atomic()] = None
    user: str = ""


class CephFSVolumeSource(Value):
    monitors: tuple[str, ...] = written(())
    path: str = ""
    read_only: bool = False
    secret_file: str = ""
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    user: str = ""


class CinderPersistentVolumeSource(Value):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: Annotated[SecretReference | None, Atomic()] = None
    volume_id: str = written_as("volumeID", "")


class CinderVolumeSource(Value):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    volume_id: str = written_as("volumeID", "")


class ClientIPConfig(Value):
    timeout_seconds: int | None = None


class ClusterTrustBundleProjection(Value):
    label_selector: Annotated[LabelSelector | None, Atomic()] = None
    name: str = ""
    optional: bool | None = None
    path: str = written("")
    signer_name: str = ""


class ComponentCondition(Value):
    error: str = ""
    message: str = ""
    status: str = written("")
    type: str = written("")


@kind("v1", "componentstatuses", namespaced=False, short_names=("cs",))
class ComponentStatus(Object):
    conditions: Annotated[tuple[ComponentCondition, ...], ListMap("type", merge_key="type")] = ()


@kind("v1", "configmaps", short_names=("cm",))
class ConfigMap(Object):
    binary_data: Mapping[str, bytes] = {}
    data: Mapping[str, str] = {}
    immutable: bool | None = None


class ConfigMapEnvSource(Value):
    name: str = ""
    optional: bool | None = None


class ConfigMapKeySelector(Value):
    key: str = written("")
    name: str = ""
    optional: bool | None = None


class ConfigMapNodeConfigSource(Value):
    kubelet_config_key: str = written("")
    name: str = written("")
    namespace: str = written("")
    resource_version: str = ""
    uid: str = ""


class ConfigMapProjection(Value):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class ConfigMapVolumeSource(Value):
    default_mode: int = written(420)
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class ResourceRequirements(Value):
    claims: Annotated[tuple[ResourceClaim, ...], ListMap("name")] = ()
    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}


class Container(Value):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Annotated[tuple[EnvVar, ...], ListMap("name", merge_key="name")] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str = ""
    image_pull_policy: str = ""
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    name: str = written("")
    ports: Annotated[tuple[ContainerPort, ...], ListMap("containerPort", "protocol", merge_key="containerPort")] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = written(ResourceRequirements())
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool = False
    stdin_once: bool = False
    termination_message_path: str = defaulted("/dev/termination-log")
    termination_message_policy: str = defaulted("File")
    tty: bool = False
    volume_devices: Annotated[tuple[VolumeDevice, ...], ListMap("devicePath", merge_key="devicePath")] = ()
    volume_mounts: Annotated[tuple[VolumeMount, ...], ListMap("mountPath", merge_key="mountPath")] = ()
    working_dir: str = ""


class ContainerExtendedResourceRequest(Value):
    container_name: str = written("")
    request_name: str = written("")
    resource_name: str = written("")


class ContainerImage(Value):
    names: tuple[str, ...] = ()
    size_bytes: int = 0


class ContainerPort(Value):
    container_port: int = written(0)
    host_ip: str = named("hostIP", "")
    host_port: int = 0
    name: str = ""
    protocol: str = defaulted("TCP")


class ContainerResizePolicy(Value):
    resource_name: str = written("")
    restart_policy: str = written("")


class ContainerRestartRule(Value):
    action: str = written("")
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class ContainerRestartRuleOnExitCodes(Value):
    operator: str = written("")
    values: Annotated[tuple[int, ...], ListSet()] = ()


class ContainerState(Value):
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ContainerStateRunning(Value):
    started_at: Time | None = written(None)


class ContainerStateTerminated(Value):
    container_id: str = named("containerID", "")
    exit_code: int = written(0)
    finished_at: Time | None = written(None)
    message: str = ""
    reason: str = ""
    signal: int = 0
    started_at: Time | None = written(None)


class ContainerStateWaiting(Value):
    message: str = ""
    reason: str = ""


class ContainerStatus(Value):
    allocated_resources: Mapping[str, Quantity] = {}
    allocated_resources_status: Annotated[tuple[ResourceStatus, ...], ListMap("name", merge_key="name")] = ()
    container_id: str = named("containerID", "")
    image: str = written("")
    image_id: str = written_as("imageID", "")
    last_state: ContainerState = written(ContainerState())
    name: str = written("")
    ready: bool = written(False)
    resources: ResourceRequirements | None = None
    restart_count: int = written(0)
    started: bool | None = None
    state: ContainerState = written(ContainerState())
    stop_signal: str | None = None
    user: ContainerUser | None = None
    volume_mounts: Annotated[tuple[VolumeMountStatus, ...], ListMap("mountPath", merge_key="mountPath")] = ()


class ContainerUser(Value):
    linux: LinuxContainerUser | None = None


class DaemonEndpoint(Value):
    port: int = written_as("Port", 0)


class DownwardAPIProjection(Value):
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class DownwardAPIVolumeFile(Value):
    field_ref: Annotated[ObjectFieldSelector | None, Atomic()] = None
    mode: int | None = None
    path: str = written("")
    resource_field_ref: Annotated[ResourceFieldSelector | None, Atomic()] = None


class DownwardAPIVolumeSource(Value):
    default_mode: int = written(420)
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class EmptyDirVolumeSource(Value):
    medium: str = ""
    size_limit: Quantity | None = None


class EndpointAddress(Value):
    hostname: str = ""
    ip: str = written("")
    node_name: str | None = None
    target_ref: Annotated[ObjectReference | None, Atomic()] = None


class EndpointPort(Value):
    app_protocol: str | None = None
    name: str = ""
    port: int = written(0)
    protocol: str = defaulted("TCP")


class EndpointSubset(Value):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@kind("v1", "endpoints", short_names=("ep",))
class Endpoints(Object):
    subsets: tuple[EndpointSubset, ...] = ()


class EnvFromSource(Value):
    config_map_ref: ConfigMapEnvSource | None = None
    prefix: str = ""
    secret_ref: SecretEnvSource | None = None


class EnvVar(Value):
    name: str = written("")
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvVarSource(Value):
    config_map_key_ref: Annotated[ConfigMapKeySelector | None, Atomic()] = None
    field_ref: Annotated[ObjectFieldSelector | None, Atomic()] = None
    file_key_ref: Annotated[FileKeySelector | None, Atomic()] = None
    resource_field_ref: Annotated[ResourceFieldSelector | None, Atomic()] = None
    secret_key_ref: Annotated[SecretKeySelector | None, Atomic()] = None


class EphemeralContainer(Value):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Annotated[tuple[EnvVar, ...], ListMap("name", merge_key="name")] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str = ""
    image_pull_policy: str = ""
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    name: str = written("")
    ports: Annotated[tuple[ContainerPort, ...], ListMap("containerPort", "protocol", merge_key="containerPort")] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = written(ResourceRequirements())
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool = False
    stdin_once: bool = False
    target_container_name: str = ""
    termination_message_path: str = defaulted("/dev/termination-log")
    termination_message_policy: str = defaulted("File")
    tty: bool = False
    volume_devices: Annotated[tuple[VolumeDevice, ...], ListMap("devicePath", merge_key="devicePath")] = ()
    volume_mounts: Annotated[tuple[VolumeMount, ...], ListMap("mountPath", merge_key="mountPath")] = ()
    working_dir: str = ""


class EphemeralVolumeSource(Value):
    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class EventSource(Value):
    component: str = ""
    host: str = ""


@kind("v1", "events", short_names=("ev",))
class Event(Object):
    action: str = ""
    count: int = 0
    event_time: MicroTime | None = written(None)
    first_timestamp: Time | None = written(None)
    involved_object: Annotated[ObjectReference, Atomic()] = written(ObjectReference())
    last_timestamp: Time | None = written(None)
    message: str = ""
    reason: str = ""
    related: Annotated[ObjectReference | None, Atomic()] = None
    reporting_component: str = written("")
    reporting_instance: str = written("")
    series: EventSeries | None = None
    source: EventSource = written(EventSource())
    type: str = ""


class EventSeries(Value):
    count: int = 0
    last_observed_time: MicroTime | None = written(None)


class ExecAction(Value):
    command: tuple[str, ...] = ()


class FCVolumeSource(Value):
    fs_type: str = ""
    lun: int | None = None
    read_only: bool = False
    target_wwns: tuple[str, ...] = named("targetWWNs", ())
    wwids: tuple[str, ...] = ()


class FileKeySelector(Value):
    key: str = written("")
    optional: bool | None = None
    path: str = written("")
    volume_name: str = written("")


class FlexPersistentVolumeSource(Value):
    driver: str = written("")
    fs_type: str = ""
    options: Mapping[str, str] = {}
    read_only: bool = False
    secret_ref: Annotated[SecretReference | None, Atomic()] = None


class FlexVolumeSource(Value):
    driver: str = written("")
    fs_type: str = ""
    options: Mapping[str, str] = {}
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None


class FlockerVolumeSource(Value):
    dataset_name: str = ""
    dataset_uuid: str = named("datasetUUID", "")


class GCEPersistentDiskVolumeSource(Value):
    fs_type: str = ""
    partition: int = 0
    pd_name: str = written("")
    read_only: bool = False


class GRPCAction(Value):
    port: int = written(0)
    service: str = written("")


class GitRepoVolumeSource(Value):
    directory: str = ""
    repository: str = written("")
    revision: str = ""


class GlusterfsPersistentVolumeSource(Value):
    endpoints: str = written("")
    endpoints_namespace: str | None = None
    path: str = written("")
    read_only: bool = False


class GlusterfsVolumeSource(Value):
    endpoints: str = written("")
    path: str = written("")
    read_only: bool = False


class HTTPGetAction(Value):
    host: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()
    path: str = defaulted("/")
    port: IntOrString = written(0)
    scheme: str = defaulted("HTTP")


class HTTPHeader(Value):
    name: str = written("")
    value: str = written("")


class HostAlias(Value):
    hostnames: tuple[str, ...] = ()
    ip: str = written("")


class HostIP(Value):
    ip: str = written("")


class HostPathVolumeSource(Value):
    path: str = written("")
    type: str = written("")


class ISCSIPersistentVolumeSource(Value):
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    fs_type: str = ""
    initiator_name: str | None = None
    iqn: str = written("")
    iscsi_interface: str = defaulted("default")
    lun: int = written(0)
    portals: tuple[str, ...] = ()
    read_only: bool = False
    secret_ref: Annotated[SecretReference | None, Atomic()] = None
    target_portal: str = written("")


class ISCSIVolumeSource(Value):
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    fs_type: str = ""
    initiator_name: str | None = None
    iqn: str = written("")
    iscsi_interface: str = defaulted("default")
    lun: int = written(0)
    portals: tuple[str, ...] = ()
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    target_portal: str = written("")


class ImageVolumeSource(Value):
    pull_policy: str = ""
    reference: str = ""


class ImageVolumeStatus(Value):
    image_ref: str = written("")


class KeyToPath(Value):
    key: str = written("")
    mode: int | None = None
    path: str = written("")


class Lifecycle(Value):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class LifecycleHandler(Value):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcp_socket: TCPSocketAction | None = None


class LimitRangeSpec(Value):
    limits: tuple[LimitRangeItem, ...] = written(())


@kind("v1", "limitranges", short_names=("limits",))
class LimitRange(Object):
    spec: LimitRangeSpec = written(LimitRangeSpec())


class LimitRangeItem(Value):
    default: Mapping[str, Quantity] = {}
    default_request: Mapping[str, Quantity] = {}
    max: Mapping[str, Quantity] = {}
    max_limit_request_ratio: Mapping[str, Quantity] = {}
    min: Mapping[str, Quantity] = {}
    type: str = written("")


class LinuxContainerUser(Value):
    gid: int = written(0)
    supplemental_groups: tuple[int, ...] = ()
    uid: int = written(0)


class LoadBalancerIngress(Value):
    hostname: str = ""
    ip: str = ""
    ip_mode: str | None = None
    ports: tuple[PortStatus, ...] = ()


class LoadBalancerStatus(Value):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class LocalObjectReference(Value):
    name: str = ""


class LocalVolumeSource(Value):
    fs_type: str = ""
    path: str = written("")


class ModifyVolumeStatus(Value):
    status: str = written("")
    target_volume_attributes_class_name: str = ""


class NFSVolumeSource(Value):
    path: str = written("")
    read_only: bool = False
    server: str = written("")


class NamespaceSpec(Value):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Value):
    conditions: Annotated[tuple[NamespaceCondition, ...], ListMap("type", merge_key="type")] = ()
    phase: str = defaulted("Active")


@kind("v1", "namespaces", namespaced=False, short_names=("ns",))
class Namespace(Object):
    spec: NamespaceSpec = written(NamespaceSpec())
    status: NamespaceStatus = written(NamespaceStatus())


class NamespaceCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class NodeSpec(Value):
    config_source: NodeConfigSource | None = None
    external_id: str = named("externalID", "")
    pod_cidr: str = named("podCIDR", "")
    pod_cidrs: Annotated[tuple[str, ...], ListSet(merge=True)] = named("podCIDRs", ())
    provider_id: str = named("providerID", "")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeDaemonEndpoints(Value):
    kubelet_endpoint: DaemonEndpoint = written(DaemonEndpoint())


class NodeSystemInfo(Value):
    architecture: str = written("")
    boot_id: str = written_as("bootID", "")
    container_runtime_version: str = written("")
    kernel_version: str = written("")
    kube_proxy_version: str = written("")
    kubelet_version: str = written("")
    machine_id: str = written_as("machineID", "")
    operating_system: str = written("")
    os_image: str = written("")
    swap: NodeSwapStatus | None = None
    system_uuid: str = written_as("systemUUID", "")


class NodeStatus(Value):
    addresses: Annotated[tuple[NodeAddress, ...], ListMap("type", merge_key="type")] = ()
    allocatable: Mapping[str, Quantity] = {}
    capacity: Mapping[str, Quantity] = {}
    conditions: Annotated[tuple[NodeCondition, ...], ListMap("type", merge_key="type")] = ()
    config: NodeConfigStatus | None = None
    daemon_endpoints: NodeDaemonEndpoints = written(NodeDaemonEndpoints())
    declared_features: tuple[str, ...] = ()
    features: NodeFeatures | None = None
    images: tuple[ContainerImage, ...] = ()
    node_info: NodeSystemInfo = written(NodeSystemInfo())
    phase: str = ""
    runtime_handlers: tuple[NodeRuntimeHandler, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


@kind("v1", "nodes", namespaced=False, short_names=("no",))
class Node(Object):
    spec: NodeSpec = written(NodeSpec())
    status: NodeStatus = written(NodeStatus())


class NodeAddress(Value):
    address: str = written("")
    type: str = written("")


class NodeAffinity(Value):
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: Annotated[NodeSelector | None, Atomic()] = None


class NodeAllocatableResourceClaimStatus(Value):
    containers: Annotated[tuple[str, ...], ListSet()] = ()
    resource_claim_name: str = written("")
    resources: Mapping[str, Quantity] = {}


class NodeCondition(Value):
    last_heartbeat_time: Time | None = written(None)
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class NodeConfigSource(Value):
    config_map: ConfigMapNodeConfigSource | None = None


class NodeConfigStatus(Value):
    active: NodeConfigSource | None = None
    assigned: NodeConfigSource | None = None
    error: str = ""
    last_known_good: NodeConfigSource | None = None


class NodeFeatures(Value):
    supplemental_groups_policy: bool | None = None


class NodeRuntimeHandler(Value):
    features: NodeRuntimeHandlerFeatures | None = None
    name: str = ""


class NodeRuntimeHandlerFeatures(Value):
    recursive_read_only_mounts: bool | None = None
    user_namespaces: bool | None = None


class NodeSelector(Value):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = written(())


class NodeSelectorRequirement(Value):
    key: str = written("")
    operator: str = written("")
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Value):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSwapStatus(Value):
    capacity: int | None = None


class ObjectFieldSelector(Value):
    api_version: str = defaulted("v1")
    field_path: str = written("")


class PersistentVolumeSpec(Value):
    access_modes: tuple[str, ...] = ()
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    azure_file: AzureFilePersistentVolumeSource | None = None
    capacity: Mapping[str, Quantity] = {}
    cephfs: CephFSPersistentVolumeSource | None = None
    cinder: CinderPersistentVolumeSource | None = None
    claim_ref: Annotated[ObjectReference | None, Atomic()] = None
    csi: CSIPersistentVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flex_volume: FlexPersistentVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    glusterfs: GlusterfsPersistentVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    iscsi: ISCSIPersistentVolumeSource | None = None
    local: LocalVolumeSource | None = None
    mount_options: tuple[str, ...] = ()
    nfs: NFSVolumeSource | None = None
    node_affinity: VolumeNodeAffinity | None = None
    persistent_volume_reclaim_policy: str = defaulted("Retain")
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDPersistentVolumeSource | None = None
    scale_io: ScaleIOPersistentVolumeSource | None = named("scaleIO", None)
    storage_class_name: str = ""
    storageos: StorageOSPersistentVolumeSource | None = None
    volume_attributes_class_name: str | None = None
    volume_mode: str = written("Filesystem")
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None


class PersistentVolumeStatus(Value):
    last_phase_transition_time: Time | None = None
    message: str = ""
    phase: str = defaulted("Pending")
    reason: str = ""


@kind("v1", "persistentvolumes", namespaced=False, short_names=("pv",))
class PersistentVolume(Object):
    spec: PersistentVolumeSpec = written(PersistentVolumeSpec())
    status: PersistentVolumeStatus = written(PersistentVolumeStatus())


class VolumeResourceRequirements(Value):
    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}


class PersistentVolumeClaimSpec(Value):
    access_modes: tuple[str, ...] = ()
    data_source: Annotated[TypedLocalObjectReference | None, Atomic()] = None
    data_source_ref: TypedObjectReference | None = None
    resources: VolumeResourceRequirements = written(VolumeResourceRequirements())
    selector: Annotated[LabelSelector | None, Atomic()] = None
    storage_class_name: str | None = None
    volume_attributes_class_name: str | None = None
    volume_mode: str = written("Filesystem")
    volume_name: str = ""


class PersistentVolumeClaimStatus(Value):
    access_modes: tuple[str, ...] = ()
    allocated_resource_statuses: Mapping[str, str] = {}
    allocated_resources: Mapping[str, Quantity] = {}
    capacity: Mapping[str, Quantity] = {}
    conditions: Annotated[tuple[PersistentVolumeClaimCondition, ...], ListMap("type", merge_key="type")] = ()
    current_volume_attributes_class_name: str | None = None
    modify_volume_status: ModifyVolumeStatus | None = None
    phase: str = defaulted("Pending")


@kind("v1", "persistentvolumeclaims", short_names=("pvc",))
class PersistentVolumeClaim(Object):
    spec: PersistentVolumeClaimSpec = written(PersistentVolumeClaimSpec())
    status: PersistentVolumeClaimStatus = written(PersistentVolumeClaimStatus())


class PersistentVolumeClaimCondition(Value):
    last_probe_time: Time | None = written(None)
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class PersistentVolumeClaimTemplate(Value):
    metadata: ObjectMeta | None = None
    spec: PersistentVolumeClaimSpec = written(PersistentVolumeClaimSpec())


class PersistentVolumeClaimVolumeSource(Value):
    claim_name: str = written("")
    read_only: bool = False


class PhotonPersistentDiskVolumeSource(Value):
    fs_type: str = ""
    pd_id: str = written_as("pdID", "")


class PodSecurityContext(Value):
    app_armor_profile: AppArmorProfile | None = None
    fs_group: int | None = None
    fs_group_change_policy: str | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_change_policy: str | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str | None = None
    sysctls: tuple[Sysctl, ...] = ()
    windows_options: WindowsSecurityContextOptions | None = None


class PodSpec(Value):
    active_deadline_seconds: int | None = None
    affinity: Affinity | None = None
    automount_service_account_token: bool | None = None
    containers: Annotated[tuple[Container, ...], ListMap("name", merge_key="name")] = written(())
    dns_config: PodDNSConfig | None = None
    dns_policy: str = defaulted("ClusterFirst")
    enable_service_links: bool | None = None
    ephemeral_containers: Annotated[tuple[EphemeralContainer, ...], ListMap("name", merge_key="name")] = ()
    host_aliases: Annotated[tuple[HostAlias, ...], ListMap("ip", merge_key="ip")] = ()
    host_ipc: bool = named("hostIPC", False)
    host_network: bool = False
    host_pid: bool = named("hostPID", False)
    host_users: bool | None = None
    hostname: str = ""
    hostname_override: str | None = None
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], ListMap("name", merge_key="name")] = ()
    init_containers: Annotated[tuple[Container, ...], ListMap("name", merge_key="name")] = ()
    node_name: str = ""
    node_selector: Annotated[Mapping[str, str], Atomic()] = {}
    os: PodOS | None = None
    overhead: Mapping[str, Quantity] = {}
    preemption_policy: str | None = None
    priority: int | None = None
    priority_class_name: str = ""
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    resource_claims: Annotated[tuple[PodResourceClaim, ...], ListMap("name", merge_key="name", retain_keys=True)] = ()
    resources: ResourceRequirements | None = None
    restart_policy: str = defaulted("Always")
    runtime_class_name: str | None = None
    scheduler_name: str = defaulted("default-scheduler")
    scheduling_gates: Annotated[tuple[PodSchedulingGate, ...], ListMap("name", merge_key="name")] = ()
    scheduling_group: PodSchedulingGroup | None = None
    security_context: PodSecurityContext = written(PodSecurityContext())
    service_account: str = ""
    service_account_name: str = ""
    set_hostname_as_fqdn: bool | None = named("setHostnameAsFQDN", None)
    share_process_namespace: bool | None = None
    subdomain: str = ""
    termination_grace_period_seconds: int = written(30)
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...], ListMap("topologyKey", "whenUnsatisfiable", merge_key="topologyKey")
    ] = ()
    volumes: Annotated[tuple[Volume, ...], ListMap("name", merge_key="name", retain_keys=True)] = ()


class PodStatus(Value):
    allocated_resources: Mapping[str, Quantity] = {}
    conditions: Annotated[tuple[PodCondition, ...], ListMap("type", merge_key="type")] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None
    host_ip: str = named("hostIP", "")
    host_ips: Annotated[tuple[HostIP, ...], Merge("ip"), Atomic()] = named("hostIPs", ())
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    message: str = ""
    node_allocatable_resource_claim_statuses: tuple[NodeAllocatableResourceClaimStatus, ...] = ()
    nominated_node_name: str = ""
    observed_generation: int = 0
    phase: str = ""
    pod_ip: str = named("podIP", "")
    pod_ips: Annotated[tuple[PodIP, ...], ListMap("ip", merge_key="ip")] = named("podIPs", ())
    qos_class: str = ""
    reason: str = ""
    resize: str = ""
    resource_claim_statuses: Annotated[
        tuple[PodResourceClaimStatus, ...], ListMap("name", merge_key="name", retain_keys=True)
    ] = ()
    resources: ResourceRequirements | None = None
    start_time: Time | None = None


@kind("v1", "pods", short_names=("po",), categories=("all",))
class Pod(Object):
    spec: PodSpec = written(PodSpec())
    status: PodStatus = written(PodStatus())


class PodAffinity(Value):
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class PodAffinityTerm(Value):
    label_selector: Annotated[LabelSelector | None, Atomic()] = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()
    namespace_selector: Annotated[LabelSelector | None, Atomic()] = None
    namespaces: tuple[str, ...] = ()
    topology_key: str = written("")


class PodAntiAffinity(Value):
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class PodCertificateProjection(Value):
    certificate_chain_path: str = ""
    credential_bundle_path: str = ""
    key_path: str = ""
    key_type: str = written("")
    max_expiration_seconds: int | None = None
    signer_name: str = written("")
    user_annotations: Mapping[str, str] = {}


class PodCondition(Value):
    last_probe_time: Time | None = written(None)
    last_transition_time: Time | None = written(None)
    message: str = ""
    observed_generation: int = 0
    reason: str = ""
    status: str = written("")
    type: str = written("")


class PodDNSConfig(Value):
    nameservers: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()
    searches: tuple[str, ...] = ()


class PodDNSConfigOption(Value):
    name: str = ""
    value: str = ""


class PodExtendedResourceClaimStatus(Value):
    request_mappings: tuple[ContainerExtendedResourceRequest, ...] = written(())
    resource_claim_name: str = written("")


class PodIP(Value):
    ip: str = written("")


class PodOS(Value):
    name: str = written("")


class PodReadinessGate(Value):
    condition_type: str = written("")


class PodResourceClaim(Value):
    name: str = written("")
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class PodResourceClaimStatus(Value):
    name: str = written("")
    resource_claim_name: str | None = None


class PodSchedulingGate(Value):
    name: str = written("")


class PodSchedulingGroup(Value):
    pod_group_name: str = ""


class PodTemplateSpec(Value):
    metadata: ObjectMeta | None = None
    spec: PodSpec = written(PodSpec())


@kind("v1", "podtemplates")
class PodTemplate(Object):
    template: PodTemplateSpec = written(PodTemplateSpec())


class PortStatus(Value):
    error: str | None = None
    port: int = written(0)
    protocol: str = written("")


class PortworxVolumeSource(Value):
    fs_type: str = ""
    read_only: bool = False
    volume_id: str = written_as("volumeID", "")


class PreferredSchedulingTerm(Value):
    preference: Annotated[NodeSelectorTerm, Atomic()] = written(NodeSelectorTerm())
    weight: int = written(0)


class Probe(Value):
    exec: ExecAction | None = None
    failure_threshold: int = defaulted(3)
    grpc: GRPCAction | None = None
    http_get: HTTPGetAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = defaulted(10)
    success_threshold: int = defaulted(1)
    tcp_socket: TCPSocketAction | None = None
    termination_grace_period_seconds: int | None = None
    timeout_seconds: int = defaulted(1)


class ProjectedVolumeSource(Value):
    default_mode: int = written(420)
    sources: tuple[VolumeProjection, ...] = ()


class QuobyteVolumeSource(Value):
    group: str = ""
    read_only: bool = False
    registry: str = written("")
    tenant: str = ""
    user: str = ""
    volume: str = written("")


class RBDPersistentVolumeSource(Value):
    fs_type: str = ""
    image: str = written("")
    keyring: str = defaulted("/etc/ceph/keyring")
    monitors: tuple[str, ...] = written(())
    pool: str = defaulted("rbd")
    read_only: bool = False
    secret_ref: Annotated[SecretReference | None, Atomic()] = None
    user: str = defaulted("admin")


class RBDVolumeSource(Value):
    fs_type: str = ""
    image: str = written("")
    keyring: str = defaulted("/etc/ceph/keyring")
    monitors: tuple[str, ...] = written(())
    pool: str = defaulted("rbd")
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    user: str = defaulted("admin")


class ReplicationControllerSpec(Value):
    min_ready_seconds: int = 0
    replicas: int = written(1)
    selector: Annotated[Mapping[str, str], Atomic()] = {}
    template: PodTemplateSpec | None = None


class ReplicationControllerStatus(Value):
    available_replicas: int = 0
    conditions: Annotated[tuple[ReplicationControllerCondition, ...], ListMap("type", merge_key="type")] = ()
    fully_labeled_replicas: int = 0
    observed_generation: int = 0
    ready_replicas: int = 0
    replicas: int = written(0)


@kind("v1", "replicationcontrollers", short_names=("rc",), categories=("all",))
class ReplicationController(Object):
    spec: ReplicationControllerSpec = written(ReplicationControllerSpec())
    status: ReplicationControllerStatus = written(ReplicationControllerStatus())


class ReplicationControllerCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class ResourceClaim(Value):
    name: str = written("")
    request: str = ""


class ResourceFieldSelector(Value):
    container_name: str = ""
    divisor: Quantity = written("0")
    resource: str = written("")


class ResourceHealth(Value):
    health: str = ""
    message: str = ""
    resource_id: str = written_as("resourceID", "")


class ResourceQuotaSpec(Value):
    hard: Mapping[str, Quantity] = {}
    scope_selector: Annotated[ScopeSelector | None, Atomic()] = None
    scopes: tuple[str, ...] = ()


class ResourceQuotaStatus(Value):
    hard: Mapping[str, Quantity] = {}
    used: Mapping[str, Quantity] = {}


@kind("v1", "resourcequotas", short_names=("quota",))
class ResourceQuota(Object):
    spec: ResourceQuotaSpec = written(ResourceQuotaSpec())
    status: ResourceQuotaStatus = written(ResourceQuotaStatus())


class ResourceStatus(Value):
    name: str = written("")
    resources: Annotated[tuple[ResourceHealth, ...], ListMap("resourceID")] = ()


class SELinuxOptions(Value):
    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SecretReference(Value):
    name: str = ""
    namespace: str = ""


class ScaleIOPersistentVolumeSource(Value):
    fs_type: str = defaulted("xfs")
    gateway: str = written("")
    protection_domain: str = ""
    read_only: bool = False
    secret_ref: Annotated[SecretReference, Atomic()] = written(SecretReference())
    ssl_enabled: bool = False
    storage_mode: str = defaulted("ThinProvisioned")
    storage_pool: str = ""
    system: str = written("")
    volume_name: str = ""


class ScaleIOVolumeSource(Value):
    fs_type: str = defaulted("xfs")
    gateway: str = written("")
    protection_domain: str = ""
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference, Atomic()] = written(LocalObjectReference())
    ssl_enabled: bool = False
    storage_mode: str = defaulted("ThinProvisioned")
    storage_pool: str = ""
    system: str = written("")
    volume_name: str = ""


class ScopeSelector(Value):
    match_expressions: tuple[ScopedResourceSelectorRequirement, ...] = ()


class ScopedResourceSelectorRequirement(Value):
    operator: str = written("")
    scope_name: str = written("")
    values: tuple[str, ...] = ()


class SeccompProfile(Value):
    localhost_profile: str | None = None
    type: str = written("")


@kind("v1", "secrets")
class Secret(Object):
    data: Mapping[str, bytes] = {}
    immutable: bool | None = None
    string_data: Mapping[str, str] = {}
    type: str = defaulted("Opaque")


class SecretEnvSource(Value):
    name: str = ""
    optional: bool | None = None


class SecretKeySelector(Value):
    key: str = written("")
    name: str = ""
    optional: bool | None = None


class SecretProjection(Value):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class SecretVolumeSource(Value):
    default_mode: int = written(420)
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None
    secret_name: str = ""


class SecurityContext(Value):
    allow_privilege_escalation: bool | None = None
    app_armor_profile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    proc_mount: str | None = None
    read_only_root_filesystem: bool | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    windows_options: WindowsSecurityContextOptions | None = None


class ServiceSpec(Value):
    allocate_load_balancer_node_ports: bool | None = None
    cluster_ip: str = named("clusterIP", "")
    cluster_ips: tuple[str, ...] = named("clusterIPs", ())
    external_ips: tuple[str, ...] = named("externalIPs", ())
    external_name: str = ""
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    internal_traffic_policy: str | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str = named("loadBalancerIP", "")
    load_balancer_source_ranges: tuple[str, ...] = ()
    ports: Annotated[tuple[ServicePort, ...], ListMap("port", "protocol", merge_key="port")] = ()
    publish_not_ready_addresses: bool = False
    selector: Annotated[Mapping[str, str], Atomic()] = {}
    session_affinity: str = defaulted("None")
    session_affinity_config: SessionAffinityConfig | None = None
    traffic_distribution: str | None = None
    type: str = defaulted("ClusterIP")


class ServiceStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    load_balancer: LoadBalancerStatus = written(LoadBalancerStatus())


@kind("v1", "services", short_names=("svc",), categories=("all",))
class Service(Object):
    spec: ServiceSpec = written(ServiceSpec())
    status: ServiceStatus = written(ServiceStatus())


@kind("v1", "serviceaccounts", short_names=("sa",))
class ServiceAccount(Object):
    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    secrets: Annotated[tuple[ObjectReference, ...], ListMap("name", merge_key="name")] = ()


class ServiceAccountTokenProjection(Value):
    audience: str = ""
    expiration_seconds: int = written(3600)
    path: str = written("")


class ServicePort(Value):
    app_protocol: str | None = None
    name: str = ""
    node_port: int = 0
    port: int = written(0)
    protocol: str = defaulted("TCP")
    target_port: IntOrString | None = None


class SessionAffinityConfig(Value):
    client_ip: ClientIPConfig | None = named("clientIP", None)


class SleepAction(Value):
    seconds: int = written(0)


class StorageOSPersistentVolumeSource(Value):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: Annotated[ObjectReference | None, Atomic()] = None
    volume_name: str = ""
    volume_namespace: str = ""


class StorageOSVolumeSource(Value):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: Annotated[LocalObjectReference | None, Atomic()] = None
    volume_name: str = ""
    volume_namespace: str = ""


class Sysctl(Value):
    name: str = written("")
    value: str = written("")


class TCPSocketAction(Value):
    host: str = ""
    port: IntOrString = written(0)


class Taint(Value):
    effect: str = written("")
    key: str = written("")
    time_added: Time | None = None
    value: str = ""


class Toleration(Value):
    effect: str = ""
    key: str = ""
    operator: str = ""
    toleration_seconds: int | None = None
    value: str = ""


class TopologySelectorLabelRequirement(Value):
    key: str = written("")
    values: tuple[str, ...] = written(())


class TopologySelectorTerm(Value):
    match_label_expressions: tuple[TopologySelectorLabelRequirement, ...] = ()


class TopologySpreadConstraint(Value):
    label_selector: Annotated[LabelSelector | None, Atomic()] = None
    match_label_keys: tuple[str, ...] = ()
    max_skew: int = written(0)
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    topology_key: str = written("")
    when_unsatisfiable: str = written("")


class TypedLocalObjectReference(Value):
    api_group: str | None = None
    kind: str = written("")
    name: str = written("")


class TypedObjectReference(Value):
    api_group: str | None = None
    kind: str = written("")
    name: str = written("")
    namespace: str = ""


class Volume(Value):
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = named("downwardAPI", None)
    empty_dir: EmptyDirVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    name: str = written("")
    nfs: NFSVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = named("scaleIO", None)
    secret: SecretVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None


class VolumeDevice(Value):
    device_path: str = written("")
    name: str = written("")


class VolumeMount(Value):
    mount_path: str = written("")
    mount_propagation: str | None = None
    name: str = written("")
    read_only: bool = False
    recursive_read_only: str | None = None
    sub_path: str = ""
    sub_path_expr: str = ""


class VolumeMountStatus(Value):
    mount_path: str = written("")
    name: str = written("")
    read_only: bool = False
    recursive_read_only: str | None = None
    volume_status: VolumeStatus | None = None


class VolumeNodeAffinity(Value):
    required: Annotated[NodeSelector | None, Atomic()] = None


class VolumeProjection(Value):
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardAPIProjection | None = named("downwardAPI", None)
    pod_certificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class VolumeStatus(Value):
    image: ImageVolumeStatus | None = None


class VsphereVirtualDiskVolumeSource(Value):
    fs_type: str = ""
    storage_policy_id: str = named("storagePolicyID", "")
    storage_policy_name: str = ""
    volume_path: str = written("")


class WeightedPodAffinityTerm(Value):
    pod_affinity_term: PodAffinityTerm = written(PodAffinityTerm())
    weight: int = written(0)


class WindowsSecurityContextOptions(Value):
    gmsa_credential_spec: str | None = None
    gmsa_credential_spec_name: str | None = None
    host_process: bool | None = None
    run_as_user_name: str | None = None
