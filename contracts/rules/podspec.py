"""What Kubernetes refuses of the parts of a pod that models seldom have: sources of volumes, hooks, hosts and DNS, selectors, devices.

Read at Kubernetes 1.30.14 and 1.34.0. Knative drops hooks and most host settings before Kubernetes sees them (``knative``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys
from trivet.contracts.rules.claims import claim_problems
from trivet.contracts.rules.names import label_problem, qualified_problem, subdomain_problem
from trivet.contracts.rules.rule import STANDARD, Container, Pod, Rules, Service
from trivet.contracts.rules.runtimes import runtime_of, runtime_of_workers
from trivet.contracts.values import each, integer, mapping, path, text
from trivet.contracts.violation import Violation

POD_FIELDS = Rules("kubernetes", "kubernetes")

_VALIDATION = "pkg/apis/core/validation/validation.go"
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_HOST_PATH_TYPES = ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROPAGATIONS = ("None", "HostToContainer", "Bidirectional")
_DOWNWARD = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
_SERVICE_ACCOUNT_TOKEN = (600, 2**32)
"""Bounds of a projected token's expirationSeconds."""


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateKeyToPath, validateDownwardAPIVolumeFile: fileModeErrorMsg", fields=("volumes",)
)
def file_modes(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for volume, _ in pod.each("volumes"):
            for keys, holder in _below(service, volume):
                for name in ("defaultMode", "mode"):
                    number = integer(holder.get(name))
                    if number is not None and not 0 <= number <= 0o777:
                        at = (*keys, name)
                        digits = str(number)
                        octal = re.fullmatch("[0-7]{3}", digits)
                        hint = f": decimal {digits} is not octal, write 0{digits}" if octal else ""
                        yield Violation(at, f"{path(at)} {digits} is no file mode from 0 to 511 (0777){hint}")


def _below(service: Service, keys: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every mapping below a place of the document, and the one there."""
    value: Any = service.manifest.document
    for key in keys:
        value = value[key]
    if isinstance(value, dict):
        yield keys, value
    for key, _ in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _below(service, (*keys, key))


@POD_FIELDS.rule(f"{_VALIDATION}, validateKeyToPath, ValidateLocalNonReservedPath", fields=("volumes",))
def volume_items(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for volume_keys, volume in pod.each("volumes"):
            for source in ("configMap", "secret"):
                items = mapping(volume.get(source)).get("items")
                for keys, item in each(items, (*volume_keys, source, "items")):
                    yield from _key_to_path(keys, item)


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateHostPathVolumeSource, validateNFSVolumeSource, validateCSIVolumeSource",
    fields=("volumes",),
)
def volume_sources(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, volume in pod.each("volumes"):
            host = volume.get("hostPath")
            if isinstance(host, dict):
                at = (*keys, "hostPath")
                if host.get("path") == "" or ".." in text(host.get("path")).split("/"):
                    yield Violation((*at, "path"), f"{path(at)}.path {host['path']!r} must be a path without '..'")
                if isinstance(host.get("type"), str) and host["type"] not in _HOST_PATH_TYPES:
                    yield Violation(
                        (*at, "type"),
                        f"{path(at)}.type {host['type']!r} is not one of {', '.join(_HOST_PATH_TYPES[1:])}",
                    )
            nfs = volume.get("nfs")
            if isinstance(nfs, dict):
                at = (*keys, "nfs")
                if nfs.get("server") == "":
                    yield Violation((*at, "server"), f"{path(at)}.server is empty")
                if isinstance(nfs.get("path"), str) and not nfs["path"].startswith("/"):
                    yield Violation((*at, "path"), f"{path(at)}.path {nfs['path']!r} is no absolute path")
            csi = volume.get("csi")
            if isinstance(csi, dict):
                driver = csi.get("driver")
                if isinstance(driver, str) and (len(driver) > 63 or subdomain_problem(driver.lower())):
                    at = (*keys, "csi", "driver")
                    yield Violation(
                        at, f"{path(at)} {driver!r} is no name of a driver: a DNS name of at most 63 characters"
                    )
            pull = mapping(volume.get("image")).get("pullPolicy")
            if pull not in (None, "", "Always", "IfNotPresent", "Never"):
                at = (*keys, "image", "pullPolicy")
                yield Violation(at, f"{path(at)} {pull!r} is not one of Always, IfNotPresent, Never")


@POD_FIELDS.rule(f"{_VALIDATION}, validateProjectionSources, validateDownwardAPIVolumeFile", fields=("volumes",))
def projected_sources(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, volume in pod.each("volumes"):
            yield from _downward_files((*keys, "downwardAPI"), mapping(volume.get("downwardAPI")))
            sources = mapping(volume.get("projected")).get("sources")
            taken: set[str] = set()
            for at, source in each(sources, (*keys, "projected", "sources")):
                given = [name for name, value in source.items() if value is not None]
                if len(given) > 1:
                    yield Violation(at, f"{path(at)} has {' and '.join(given)}, and Kubernetes admits one of them")
                yield from _projected(at, source, taken)


def _projected(keys: Keys, source: Mapping[str, Any], taken: set[str]) -> Iterator[Violation]:
    for kind in ("secret", "configMap", "downwardAPI"):
        holder = source.get(kind)
        if not isinstance(holder, dict):
            continue
        at = (*keys, kind)
        if kind != "downwardAPI" and not holder.get("name"):
            yield Violation(at, f"{path(at)} has no name")
        if kind == "downwardAPI":
            yield from _downward_files(at, holder)
        for where, item in each(holder.get("items"), (*at, "items")):
            target = text(item.get("path"))
            if kind != "downwardAPI":
                yield from _key_to_path(where, item)
            if target and target in taken:
                yield Violation((*where, "path"), f"{path(where)}.path {target!r} stands twice in one volume")
            taken.add(target)
    token = source.get("serviceAccountToken")
    if isinstance(token, dict):
        at = (*keys, "serviceAccountToken")
        seconds = integer(token.get("expirationSeconds"))
        low, high = _SERVICE_ACCOUNT_TOKEN
        if seconds is not None and not low <= seconds <= high:
            yield Violation(
                (*at, "expirationSeconds"), f"{path(at)}.expirationSeconds {seconds} is not from {low} to {high}"
            )
        yield from _local_path((*at, "path"), token.get("path"))


def _downward_files(keys: Keys, source: Mapping[str, Any]) -> Iterator[Violation]:
    for at, item in each(source.get("items"), (*keys, "items")):
        yield from _local_path((*at, "path"), item.get("path"))
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if (field is None) == (resource is None):
            yield Violation(at, f"{path(at)} must have one of fieldRef and resourceFieldRef")
        name = text(mapping(field).get("fieldPath"))
        if isinstance(field, dict) and name not in _DOWNWARD and not _is_subscript(name):
            where = (*at, "fieldRef", "fieldPath")
            yield Violation(where, f"{path(where)} {name!r} is not one of {', '.join(_DOWNWARD)}")
        if isinstance(resource, dict) and not resource.get("containerName"):
            yield Violation((*at, "resourceFieldRef"), f"{path(at)}.resourceFieldRef has no containerName")


def _is_subscript(name: str) -> bool:
    found = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", name)
    return found is not None and not qualified_problem(found[2].lower() if found[1] == "annotations" else found[2])


def _key_to_path(keys: Keys, item: Mapping[str, Any]) -> Iterator[Violation]:
    if item.get("key") == "":
        yield Violation((*keys, "key"), f"{path(keys)}.key is empty")
    yield from _local_path((*keys, "path"), item.get("path"))


def _local_path(keys: Keys, value: Any) -> Iterator[Violation]:
    """Of ValidateLocalNonReservedPath, and of an empty path."""
    if value == "":
        yield Violation(keys, f"{path(keys)} is empty")
    elif isinstance(value, str) and (value.startswith(("/", "..")) or ".." in value.split("/")):
        yield Violation(keys, f"{path(keys)} {value!r} must be relative, without '..'")


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateEphemeralVolumeSource, ValidatePersistentVolumeClaimSpec", fields=("ephemeral",)
)
def claim_templates(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, volume in pod.each("volumes"):
            ephemeral = volume.get("ephemeral")
            if not isinstance(ephemeral, dict):
                continue
            at = (*keys, "ephemeral", "volumeClaimTemplate")
            template = ephemeral.get("volumeClaimTemplate")
            if template is None:
                yield Violation((*keys, "ephemeral"), f"{path(keys)}.ephemeral has no volumeClaimTemplate")
                continue
            yield from claim_problems((*at, "spec"), mapping(mapping(template).get("spec")))


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateLifecycle, validateHandler, validateSleepAction", modes=(STANDARD,), fields=("lifecycle",)
)
def hooks(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        grace = integer(pod.settings.get("terminationGracePeriodSeconds"))
        for container in pod.containers:
            for name in ("postStart", "preStop"):
                handler = mapping(container.spec.get("lifecycle")).get(name)
                if not isinstance(handler, dict):
                    continue
                at = (*container.keys, "lifecycle", name)
                given = [each_one for each_one in _HOOK_HANDLERS if handler.get(each_one) is not None]
                if len(given) != 1:
                    yield Violation(
                        at,
                        f"{path(at)} must have one of {', '.join(_HOOK_HANDLERS)}, not {' and '.join(given) or 'none'}",
                    )
                if isinstance(handler.get("exec"), dict) and not handler["exec"].get("command"):
                    yield Violation((*at, "exec"), f"{path(at)}.exec has no command")
                seconds = integer(mapping(handler.get("sleep")).get("seconds"))
                least = 0 if service.since("1.34", "kubernetes") else 1
                if seconds is not None and not least <= seconds <= (30 if grace is None else grace):
                    yield Violation(
                        (*at, "sleep", "seconds"),
                        f"{path(at)}.sleep.seconds {seconds} is not from {least} to terminationGracePeriodSeconds, "
                        f"{'30 by default' if grace is None else grace}",
                    )
                for action in ("httpGet", "tcpSocket"):
                    yield from _action((*at, action), handler.get(action))


def _action(keys: Keys, action: Any) -> Iterator[Violation]:
    if not isinstance(action, dict):
        return
    port = action.get("port")
    number = int(port) if isinstance(port, str) and port.isdigit() else integer(port)
    if (
        isinstance(port, str)
        and not port.isdigit()
        and (len(port) > 15 or not re.fullmatch(r"[a-z0-9-]*[a-z][a-z0-9-]*", port))
    ):
        yield Violation((*keys, "port"), f"{path(keys)}.port {port!r} is no name of a port")
    elif number is not None and not 1 <= number <= 65535:
        yield Violation((*keys, "port"), f"{path(keys)}.port {number} is not from 1 to 65535")
    if action.get("scheme") not in (None, "", "HTTP", "HTTPS"):
        yield Violation((*keys, "scheme"), f"{path(keys)}.scheme {action['scheme']!r} is not HTTP or HTTPS")
    for at, header in each(action.get("httpHeaders"), (*keys, "httpHeaders")):
        if not re.fullmatch(r"[-A-Za-z0-9]+", text(header.get("name"))):
            yield Violation((*at, "name"), f"{path(at)}.name {header.get('name')!r} is no name of an HTTP header")


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateInitContainers: may not be set for init containers; since 1.34 the API server drops another restartPolicy",
    modes=(STANDARD,),
    fields=("initContainers",),
)
def init_containers_end(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for container in pod.init_containers:
            if container.spec.get("restartPolicy") == "Always":
                continue
            for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.spec.get(name) is not None:
                    at = (*container.keys, name)
                    yield Violation(at, f"{path(at)} is for init containers with restartPolicy Always only")
            stated = container.spec.get("restartPolicy")
            if isinstance(stated, str) and not service.since("1.34", "kubernetes"):
                at = (*container.keys, "restartPolicy")
                yield Violation(at, f"{path(at)} {stated!r} is not Always, the only one of init containers")


@POD_FIELDS.rule(
    f"{_VALIDATION}, ValidateHostAliases, validatePodDNSConfig", fields=("hostAliases", "dnsConfig", "dnsPolicy")
)
def hosts_and_dns(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, alias in pod.each("hostAliases"):
            if isinstance(alias.get("ip"), str) and not _is_ip(alias["ip"]):
                yield Violation((*keys, "ip"), f"{path(keys)}.ip {alias['ip']!r} is no IP address")
            names = alias.get("hostnames")
            for index, name in enumerate(names if isinstance(names, list) else ()):
                if isinstance(name, str) and (why := subdomain_problem(name)):
                    yield Violation((*keys, "hostnames", index), f"{path(keys)}.hostnames: {name!r} is no host: {why}")
        yield from _dns(service, pod)


def _dns(service: Service, pod: Pod) -> Iterator[Violation]:
    config, at = mapping(pod.settings.get("dnsConfig")), (*pod.keys, "dnsConfig")
    servers = config.get("nameservers")
    if pod.settings.get("dnsPolicy") == "None" and not servers:
        yield Violation((*pod.keys, "dnsPolicy"), f"{path(pod.keys)}.dnsPolicy None needs dnsConfig.nameservers")
    listed = servers if isinstance(servers, list) else []
    if len(listed) > 3:
        yield Violation((*at, "nameservers"), f"{path(at)}.nameservers has {len(listed)} items, at most 3 are admitted")
    for index, server in enumerate(listed):
        if isinstance(server, str) and not _is_ip(server):
            yield Violation((*at, "nameservers", index), f"{path(at)}.nameservers: {server!r} is no IP address")
    searches = config.get("searches")
    for index, search in enumerate(searches if isinstance(searches, list) else ()):
        if not isinstance(search, str):
            continue
        relaxed = service.since("1.34", "kubernetes")
        name = search.removesuffix(".")
        if not (relaxed and search == ".") and (why := subdomain_problem(name.replace("_", "-") if relaxed else name)):
            yield Violation((*at, "searches", index), f"{path(at)}.searches: {search!r} is no domain: {why}")
    for where, option in each(config.get("options"), (*at, "options")):
        if not option.get("name"):
            yield Violation(where, f"{path(where)} has no name")


def _is_ip(value: str) -> bool:
    """Whether Kubernetes' legacy parser reads ``value``, with leading zeros in an IPv4 address too."""
    try:
        ipaddress.ip_address(re.sub(r"(^|\.)0+(?=\d)", r"\1", value))
    except ValueError:
        return False
    return "%" not in value


@POD_FIELDS.rule(
    f"{_VALIDATION}, ValidatePodSpec: hostname, subdomain, readinessGates, schedulingGates, os",
    modes=(STANDARD,),
    fields=("hostname", "subdomain", "nodeName", "readinessGates", "schedulingGates", "os"),
)
def names_of_the_pod(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for field in ("hostname", "subdomain"):
            value = pod.settings.get(field)
            if isinstance(value, str) and value and (why := label_problem(value)):
                yield Violation((*pod.keys, field), f"{path(pod.keys)}.{field} {value!r} is not valid: {why}")
        value = pod.settings.get("nodeName")
        if isinstance(value, str) and value and (why := subdomain_problem(value)):
            yield Violation((*pod.keys, "nodeName"), f"{path(pod.keys)}.nodeName {value!r} is no name of a node: {why}")
        for listed, name in (("readinessGates", "conditionType"), ("schedulingGates", "name")):
            for keys, gate in pod.each(listed):
                if isinstance(gate.get(name), str) and (why := qualified_problem(gate[name])):
                    yield Violation((*keys, name), f"{path(keys)}.{name} {gate[name]!r} is not valid: {why}")
        holder = pod.settings.get("os")
        system = mapping(holder).get("name") or ""
        if isinstance(holder, dict) and isinstance(system, str) and system not in ("linux", "windows"):
            yield Violation((*pod.keys, "os", "name"), f"{path(pod.keys)}.os.name {system!r} is not linux or windows")


@POD_FIELDS.rule(
    f"{_VALIDATION}, validatePodResourceClaim, validateResourceClaimNames; before 1.34 the API server drops claims",
    versions=">=1.34",
    modes=(STANDARD,),
    fields=("resourceClaims", "claims"),
)
def resource_claims(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        names: set[str] = set()
        for keys, claim in pod.each("resourceClaims"):
            name = claim.get("name")
            names.add(text(name))
            if isinstance(name, str) and (why := label_problem(name)):
                yield Violation((*keys, "name"), f"{path(keys)}.name {name!r} is not valid: {why}")
            given = [
                field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None
            ]
            if len(given) != 1:
                yield Violation(keys, f"{path(keys)} must have one of resourceClaimName and resourceClaimTemplateName")
            for field in given:
                if isinstance(claim[field], str) and (why := subdomain_problem(claim[field])):
                    yield Violation(keys, f"{path(keys)}: {field} {claim[field]!r} is no name: {why}")
        for container in (*pod.containers, *pod.init_containers):
            claims = mapping(container.spec.get("resources")).get("claims")
            for keys, claim in each(claims, (*container.keys, "resources", "claims")):
                if text(claim.get("name")) not in names:
                    yield Violation(
                        keys, f"{path(keys)} names {claim.get('name')!r}, which is none of the pod's resourceClaims"
                    )


@POD_FIELDS.rule(
    f"{_VALIDATION}, ValidateVolumeDevices; Knative's Service has no such field (0.42.2 and 0.48.1, "
    "config/core/300-resources/service.yaml)",
    modes=(STANDARD,),
    fields=("volumeDevices",),
)
def volume_devices(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        volumes = {text(volume.get("name")): volume for _, volume in pod.each("volumes")}
        for container in (*pod.containers, *pod.init_containers):
            named: set[str] = set()
            for keys, device in container.each("volumeDevices"):
                name = text(device.get("name"))
                volume = volumes.get(name)
                if name and name in named:
                    yield Violation((*keys, "name"), f"{path(keys)} names {name!r}, as a device before it does")
                named.add(name)
                if volume is None and not _may_be_of_the_runtime(service, pod, container, name):
                    yield Violation((*keys, "name"), f"{path(keys)} names {name!r}, and the pod has no such volume")
                elif volume is not None and not ({"persistentVolumeClaim", "ephemeral"} & {*volume}):
                    yield Violation((*keys, "name"), f"{path(keys)} names {name!r}, which is no claim")
                where = device.get("devicePath")
                if where == "" or ".." in text(where).split("/"):
                    yield Violation(
                        (*keys, "devicePath"), f"{path(keys)}.devicePath {where!r} must be a path without '..'"
                    )


def _may_be_of_the_runtime(service: Service, pod: Pod, container: Container, name: str) -> bool:
    """Whether a volume that a device names can be one that a runtime brings to the pod."""
    runtime = runtime_of(service, container) or runtime_of_workers(service, pod)
    known = runtime is not None and runtime.formats is not None and name not in runtime.volumes
    return bool(name) and not pod.whole and not known


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateMountPropagation, ValidateVolumeMounts: subPathExpr",
    fields=("mountPropagation", "subPathExpr"),
)
def mount_settings(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        privileged = mapping(container.spec.get("securityContext")).get("privileged") is True
        for keys, mount in container.each("volumeMounts"):
            stated = mount.get("mountPropagation")
            at = (*keys, "mountPropagation")
            if isinstance(stated, str) and stated not in _PROPAGATIONS:
                yield Violation(at, f"{path(at)} {stated!r} is not None, HostToContainer or Bidirectional")
            elif stated == "Bidirectional" and not privileged:
                yield Violation(at, f"{path(at)} Bidirectional is for privileged containers only")
            if mount.get("subPath") and mount.get("subPathExpr"):
                yield Violation(
                    (*keys, "subPathExpr"), f"{path(keys)} has subPath and subPathExpr, Kubernetes admits one"
                )


@POD_FIELDS.rule(
    f"{_VALIDATION}, validatePodSpecSecurityContext, ValidateSecurityContext, ValidateAppArmorProfileField, validateSysctls",
    fields=("securityContext", "shareProcessNamespace"),
)
def security_settings(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        context, at = mapping(pod.settings.get("securityContext")), (*pod.keys, "securityContext")
        groups = context.get("supplementalGroups")
        for index, group in enumerate(groups if isinstance(groups, list) else ()):
            if (number := integer(group)) is not None and not 0 <= number <= 2**31 - 1:
                yield Violation(
                    (*at, "supplementalGroups", index),
                    f"{path(at)}.supplementalGroups: {number} is not from 0 to {2**31 - 1}",
                )
        for field, allowed in (
            ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
            ("supplementalGroupsPolicy", ("Merge", "Strict")),
            ("seLinuxChangePolicy", ("MountOption", "Recursive")),
        ):
            if isinstance(context.get(field), str) and context[field] not in allowed:
                yield Violation((*at, field), f"{path(at)}.{field} {context[field]!r} is not {' or '.join(allowed)}")
        for keys, one in each(context.get("sysctls"), (*at, "sysctls")):
            name = one.get("name")
            if isinstance(name, str) and (len(name) > 253 or not _SYSCTL.fullmatch(name)):
                yield Violation((*keys, "name"), f"{path(keys)}.name {name!r} is no name of a sysctl")
        if pod.settings.get("shareProcessNamespace") is True and pod.settings.get("hostPID") is True:
            keys = (*pod.keys, "shareProcessNamespace")
            yield Violation(keys, f"{path(keys)} and hostPID may not both be true")
        for holder_keys, holder in [
            (at, context),
            *(
                ((*one.keys, "securityContext"), mapping(one.spec.get("securityContext")))
                for one in (*pod.containers, *pod.init_containers)
            ),
        ]:
            yield from _profile((*holder_keys, "appArmorProfile"), holder.get("appArmorProfile"))


@POD_FIELDS.rule(
    f"{_VALIDATION}, ValidateProcMountType; before 1.33 the API server writes Default instead of every value "
    "(1.30.14 pkg/api/pod/util.go, dropDisabledProcMountField)",
    versions=">=1.33",
    fields=("securityContext",),
)
def proc_mounts(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        host_users = pod.settings.get("hostUsers") is not False
        for one in (*pod.containers, *pod.init_containers):
            proc = mapping(one.spec.get("securityContext")).get("procMount")
            at = (*one.keys, "securityContext", "procMount")
            if isinstance(proc, str) and proc not in ("Default", "Unmasked"):
                yield Violation(at, f"{path(at)} {proc!r} is not Default or Unmasked")
            elif proc == "Unmasked" and host_users:
                yield Violation(at, f"{path(at)} Unmasked needs hostUsers: false")


def _profile(keys: Keys, profile: Any) -> Iterator[Violation]:
    if not isinstance(profile, dict):
        return
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if isinstance(kind, str) and kind not in _PROFILES:
        yield Violation((*keys, "type"), f"{path(keys)}.type {kind!r} is not one of {', '.join(_PROFILES)}")
    elif kind == "Localhost" and not local:
        yield Violation(keys, f"{path(keys)} of type Localhost has no localhostProfile")
    elif kind != "Localhost" and local is not None:
        yield Violation((*keys, "localhostProfile"), f"{path(keys)}.localhostProfile is for the type Localhost only")


@POD_FIELDS.rule(
    f"{_VALIDATION}, AccumulateUniqueHostPorts, validatePodHostNetworkDeps: hostPort",
    modes=(STANDARD,),
    fields=("hostPort",),
)
def host_ports(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        taken: set[tuple[Any, ...]] = set()
        for container in pod.containers:
            for keys, port in container.each("ports"):
                number = integer(port.get("hostPort"))
                at = (*keys, "hostPort")
                if not number:
                    continue
                if not 1 <= number <= 65535:
                    yield Violation(at, f"{path(at)} {number} is not from 1 to 65535")
                elif pod.settings.get("hostNetwork") is True and number != port.get("containerPort"):
                    yield Violation(at, f"{path(at)} {number} must be the containerPort where hostNetwork is true")
                one = (text(port.get("protocol")) or "TCP", text(port.get("hostIP")), number)
                if one in taken:
                    yield Violation(at, f"{path(at)} {number} is taken by another port of the pod")
                taken.add(one)


@POD_FIELDS.rule(
    f"{_VALIDATION}, validateResizePolicy; before 1.33 the API server drops the field",
    versions=">=1.33",
    modes=(STANDARD,),
    fields=("resizePolicy",),
)
def resize_policies(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        seen: set[str] = set()
        for keys, one in container.each("resizePolicy"):
            name, policy = one.get("resourceName"), one.get("restartPolicy")
            if name not in ("cpu", "memory"):
                yield Violation((*keys, "resourceName"), f"{path(keys)}.resourceName {name!r} is not cpu or memory")
            if policy not in ("NotRequired", "RestartContainer"):
                at = (*keys, "restartPolicy")
                yield Violation(at, f"{path(at)} {policy!r} is not NotRequired or RestartContainer")
            if text(name) in seen:
                yield Violation((*keys, "resourceName"), f"{path(keys)}.resourceName {name!r} stands twice")
            seen.add(text(name))


@POD_FIELDS.rule(
    "pkg/apis/core/validation/validation.go, ValidateService, on the Service that KServe makes of the ports "
    "(kserve pkg/controller/v1beta1/inferenceservice/reconcilers/service/service_reconciler.go, createService)",
    modes=(STANDARD,),
    fields=("ports",),
)
def service_ports(service: Service) -> Iterator[Violation]:
    """KServe exposes the ports of the transformer-container or of the first container, the first of them as port 80."""
    for pod in service.pods:
        if len(pod.keys) != 2 or not pod.containers:
            continue
        exposed = next(
            (one for one in pod.containers if one.spec.get("name") == "transformer-container"), pod.containers[0]
        )
        ports = list(exposed.each("ports"))
        taken: set[tuple[Any, Any]] = set()
        for index, (keys, port) in enumerate(ports if len(ports) > 1 else ()):
            if not port.get("name"):
                yield Violation(
                    keys,
                    f"{path(keys)} has no name, and each of the {len(ports)} ports of the Service that KServe makes needs one",
                )
            number = integer(port.get("containerPort")) if index else 80
            one = (number, text(port.get("protocol")) or "TCP")
            if one in taken:
                yield Violation(
                    keys, f"{path(keys)}: the Service that KServe makes has port {number} already, for the first port"
                )
            taken.add(one)
