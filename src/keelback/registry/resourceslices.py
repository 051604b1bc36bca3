"""ResourceSlices: the devices that a driver offers in a pool, and the nodes that can reach them."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.resource_v1 import Device, DeviceAttribute, DeviceTaint, ResourceSlice, ResourceSliceSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_long, too_many
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_IMMUTABLE = "field is immutable"
_LONGEST_DRIVER = 63
_LONGEST_POOL = 253
_MOST_DEVICES = 128
_MOST_VALUES = 32
_LONGEST_TEXT = 64
_EFFECTS = ("NoExecute", "NoSchedule", "None")


class ResourceSliceStrategy(Strategy[ResourceSlice]):
    kind = ResourceSlice
    answers_deleted_object = True
    columns = (
        text("Node", lambda one: one.spec.node_name or ("<all>" if one.spec.all_nodes else "<unset>")),
        text("Driver", lambda one: one.spec.driver),
        text("Pool", lambda one: one.spec.pool.name),
        AGE,
    )

    def validate(self, new: ResourceSlice) -> Iterator[FieldError]:
        spec = new.spec
        yield from _driver(spec.driver, "spec.driver")
        yield from _pool(spec, "spec.pool")
        yield from _nodes(spec, "spec")
        if len(spec.devices) > _MOST_DEVICES:
            yield too_many("spec.devices", len(spec.devices), _MOST_DEVICES)
        for index, device in enumerate(spec.devices):
            path = f"spec.devices[{index}]"
            for complaint in names.dns1123_label(device.name):
                yield invalid(f"{path}.name", device.name, complaint)
            if device.name in {one.name for one in spec.devices[:index]}:
                yield duplicate(path, device.name)
            yield from _device(device, path)

    def validate_update(self, new: ResourceSlice, old: ResourceSlice) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.driver != old.spec.driver:
            yield invalid("spec.driver", new.spec.driver, _IMMUTABLE)
        if new.spec.pool.name != old.spec.pool.name:
            yield invalid("spec.pool.name", new.spec.pool.name, _IMMUTABLE)
        if new.spec.node_name != old.spec.node_name:
            yield invalid("spec.nodeName", new.spec.node_name, _IMMUTABLE)


def _driver(driver: str, path: str) -> Iterator[FieldError]:
    if not driver:
        yield required(path)
        return
    if len(driver) > _LONGEST_DRIVER:
        yield too_long(path, _LONGEST_DRIVER)
    for complaint in names.dns1123_subdomain(driver):
        yield invalid(path, driver, complaint)


def _pool(spec: ResourceSliceSpec, path: str) -> Iterator[FieldError]:
    pool = spec.pool
    if not pool.name:
        yield required(f"{path}.name")
    else:
        if len(pool.name) > _LONGEST_POOL:
            yield too_long(f"{path}.name", _LONGEST_POOL)
        for part in pool.name.split("/"):
            for complaint in names.dns1123_subdomain(part):
                yield invalid(f"{path}.name", part, complaint)
    if pool.resource_slice_count <= 0:
        yield invalid(f"{path}.resourceSliceCount", pool.resource_slice_count, "must be greater than zero")
    if pool.generation < 0:
        yield invalid(f"{path}.generation", pool.generation, "must be greater than or equal to zero")


def _nodes(spec: ResourceSliceSpec, path: str) -> Iterator[FieldError]:
    if spec.node_name is not None:
        if not spec.node_name:
            yield invalid(f"{path}.nodeName", "", "must be either unset or set to a non-empty string")
        for complaint in names.dns1123_subdomain(spec.node_name) if spec.node_name else ():
            yield invalid(f"{path}.nodeName", spec.node_name, complaint)
    given = [
        field
        for field, is_set in (
            ("nodeName", spec.node_name is not None),
            ("nodeSelector", spec.node_selector is not None),
            ("allNodes", spec.all_nodes is not None),
            ("perDeviceNodeSelection", spec.per_device_node_selection is not None),
        )
        if is_set
    ]
    one_of = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    if not given:
        yield required(path, one_of)
    elif len(given) > 1:
        listed = ", ".join(f"`{one}`" for one in given)
        yield invalid(path, f"{{{listed}}}", f"{one_of}, but multiple fields are set")
    if spec.all_nodes is False:
        yield invalid(f"{path}.allNodes", False, "must be either unset or set to true")


def _device(device: Device, path: str) -> Iterator[FieldError]:
    count = len(device.attributes) + len(device.capacity)
    if count > _MOST_VALUES:
        problem = f"the total number of attributes and capacities must not exceed {_MOST_VALUES}"
        yield invalid(path, count, problem)
    for name, attribute in device.attributes.items():
        yield from _qualified_name(name, f"{path}.attributes[{name}]")
        yield from _attribute(attribute, f"{path}.attributes[{name}]")
    for name in device.capacity:
        yield from _qualified_name(name, f"{path}.capacity[{name}]")
    for index, taint in enumerate(device.taints):
        yield from _taint(taint, f"{path}.taints[{index}]")


def _qualified_name(name: str, path: str) -> Iterator[FieldError]:
    """A C identifier, with or without a domain before it."""
    if not name:
        yield required(path, "name required")
        return
    domain, slash, identifier = name.rpartition("/")
    if slash:
        for complaint in names.dns1123_subdomain(domain):
            yield invalid(path, domain, complaint)
    for complaint in names.c_identifier(identifier):
        yield invalid(path, identifier, complaint)


def _attribute(attribute: DeviceAttribute, path: str) -> Iterator[FieldError]:
    scalars = (attribute.bool_, attribute.int_, attribute.string, attribute.version)
    lists = (attribute.bools, attribute.ints, attribute.strings, attribute.versions)
    given = sum(one is not None for one in scalars) + sum(bool(one) for one in lists)
    if given == 0:
        yield required(path, "exactly one value must be specified")
    elif given > 1:
        yield invalid(path, attribute, "exactly one value must be specified")
    if attribute.string is not None and len(attribute.string) > _LONGEST_TEXT:
        yield too_long(f"{path}.string", _LONGEST_TEXT)
    if attribute.version is not None and len(attribute.version) > _LONGEST_TEXT:
        yield too_long(f"{path}.version", _LONGEST_TEXT)


def _taint(taint: DeviceTaint, path: str) -> Iterator[FieldError]:
    for complaint in names.qualified_name(taint.key):
        yield invalid(f"{path}.key", taint.key, complaint)
    for complaint in names.label_value(taint.value):
        yield invalid(f"{path}.value", taint.value, complaint)
    if not taint.effect:
        yield required(f"{path}.effect")
    elif taint.effect not in _EFFECTS:
        yield not_supported(f"{path}.effect", taint.effect, _EFFECTS)
