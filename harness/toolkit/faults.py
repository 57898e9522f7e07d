"""The faults that come with trivet. Each is made by a function, so that a scenario names it with the objects that it is to touch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivet.errors import PlatformError
from trivet.model.clients import FaultInjector
from trivet.model.fault import PIPELINES, AffectedObject, Fault, Verb
from trivet.toolkit.merge_patch import holds
from trivet.toolkit.watch import until

CUT = "trivet-fault-cut"
DNS: Mapping[str, Any] = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
"""Egress to whoever answers for names."""
KEPT = ("refused", "dropped", "unresolved")

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except socket.gaierror: print("unresolved")
except (TimeoutError, socket.timeout): print("dropped")
except OSError: print("refused")
else: print("open")
"""


def reach(injector: FaultInjector, pod: str, host: str, port: int, *, namespace: str = PIPELINES) -> str:
    """What becomes of a TCP connection from a pod that has Python: ``open``, ``refused``, ``dropped`` or ``unresolved``.

    Raises PlatformError when the pod could not be asked.
    """
    status, said = injector.execute(pod, ["python", "-c", _CONNECT, host, str(port)], namespace=namespace, seconds=30.0)
    if status:
        raise PlatformError(f"{pod} could not be asked for a connection to {host}:{port}: {said.strip()[-200:]}")
    return said.strip()


def network_cut(
    *,
    pod: str,
    host: str,
    port: int,
    spared: Sequence[Mapping[str, Any]] = (DNS,),
    namespace: str = PIPELINES,
    name: str = CUT,
) -> Fault:
    """A NetworkPolicy by which the pods of a namespace reach what is ``spared`` (egress rules) only, and so not ``host``:``port``.

    It is in force when ``pod``, of that namespace, is kept from there: refused, dropped, or without an address for the name.
    """
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(spared)},
    }

    def verify_injected(injector: FaultInjector) -> str:
        how = reach(injector, pod, host, port, namespace=namespace)
        return f"a connection from {pod} to {host}:{port} is {how}" if how in KEPT else ""

    return Fault(
        name=f"a NetworkPolicy keeps the {namespace} namespace from {host}:{port}",
        affected_objects=(AffectedObject(verb=Verb.CREATE, kind="NetworkPolicy", name=name, namespace=namespace),),
        inject=lambda injector: injector.create(policy),
        verify_injected=verify_injected,
    )


def applied(
    document: Mapping[str, Any],
    *,
    name: str,
    shows: str = "the API server has it",
    when: Callable[[Mapping[str, Any]], bool] = bool,
    budget: float = 30.0,
) -> Fault:
    """An object that should not be there, such as a service for a model that does not exist; ``metadata.namespace`` is a role.

    It is in force when ``when`` is true of it, which ``shows`` says in words.
    """
    kind, metadata = str(document["kind"]), document["metadata"]

    def verify_injected(injector: FaultInjector) -> str:
        found = injector.get(kind, metadata["name"], namespace=metadata["namespace"])
        return f"{kind} {metadata['name']}: {shows}" if found and when(found) else ""

    return Fault(
        name=name,
        affected_objects=(
            AffectedObject(verb=Verb.CREATE, kind=kind, name=metadata["name"], namespace=metadata["namespace"]),
        ),
        inject=lambda injector: injector.create(document),
        verify_injected=verify_injected,
        budget=budget,
    )


def patched(
    kind: str, name: str, patch: Mapping[str, Any], *, namespace: str, says: str, budget: float = 30.0
) -> Fault:
    """A changed object. In force when the API server holds what the patch says, and its controller, if it has one, has seen that."""

    def verify_injected(injector: FaultInjector) -> str:
        found = injector.get(kind, name, namespace=namespace) or {}
        generation = (found.get("metadata") or {}).get("generation")
        observed = (found.get("status") or {}).get("observedGeneration")
        if not holds(found, patch) or observed not in (None, generation):
            return ""
        return f"{kind} {name} holds {json.dumps(patch)}" + (", and its controller has seen it" if observed else "")

    return Fault(
        name=says,
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=lambda injector: injector.patch(kind, name, patch, namespace=namespace),
        verify_injected=verify_injected,
        budget=budget,
    )


def stopped(name: str, *, namespace: str, kind: str = "deployment", budget: float = 90.0) -> Fault:
    """A Deployment or StatefulSet without replicas: nobody answers for it. In force when its last pod has ended."""

    def verify_injected(injector: FaultInjector) -> str:
        found = injector.get(kind, name, namespace=namespace) or {}
        spec = found.get("spec") or {}
        gone = spec.get("replicas") == 0 and not (found.get("status") or {}).get("replicas")
        # A pod that is to end counts no more, and may go on answering for as long as it is granted.
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        if not gone or (selector and injector.find("pod", namespace=namespace, selector=selector)):
            return ""
        return f"{kind} {name} has no replica"

    return Fault(
        name=f"{kind} {name} is stopped",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=lambda injector: injector.patch(kind, name, {"spec": {"replicas": 0}}, namespace=namespace),
        verify_injected=verify_injected,
        budget=budget,
    )


def restarted(selector: str, *, names: str, namespace: str, count: int = 1, draining: bool = False) -> Fault:
    """Up to ``count`` pods deleted, which their controller makes again, their names beginning with ``names``.

    In force when they are gone; with ``draining`` as soon as they are ending: Knative's pods take half a minute for that, in which
    they get nothing new.
    """
    deleted: dict[str, str] = {}

    def inject(injector: FaultInjector) -> None:
        running = [pod for pod in injector.find("pod", namespace=namespace, selector=selector) if not _ending(pod)]
        for pod in running[:count]:
            deleted[pod["metadata"]["name"]] = pod["metadata"]["uid"]
            injector.replace(pod["metadata"]["name"], namespace=namespace)
        if not deleted:
            raise PlatformError(f"no pod of {selector} in the {namespace} namespace could be deleted: there is none")

    def verify_injected(injector: FaultInjector) -> str:
        now = {
            pod["metadata"]["uid"]
            for pod in injector.find("pod", namespace=namespace, selector=selector)
            if not (draining and _ending(pod))
        }
        how = "gone or ending" if draining else "gone"
        return f"{', '.join(deleted)}: {how}" if deleted and not now & set(deleted.values()) else ""

    return Fault(
        name=f"the pods of {selector} are deleted",
        affected_objects=(
            AffectedObject(verb=Verb.REPLACE, kind="pod", name=f"{names}*", namespace=namespace, count=count),
        ),
        inject=inject,
        verify_injected=verify_injected,
        budget=90.0,
    )


def crashed(selector: str, container: str, *, names: str, namespace: str, count: int = 1) -> Fault:
    """The processes of a container of pods are killed, as for want of memory, and the kubelet starts it again.

    In force when the kubelet has seen each of them end. Its next start may be put off: by 10 s after a second crash, by 20 s after a third.
    """
    before: dict[str, int] = {}

    def ends(pod: Mapping[str, Any]) -> int:
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        return sum(
            int(one.get("restartCount", 0)) + ("running" not in (one.get("state") or {}))
            for one in statuses
            if one["name"] == container
        )

    def inject(injector: FaultInjector) -> None:
        for pod in injector.find("pod", namespace=namespace, selector=selector):
            before[pod["metadata"]["name"]] = ends(pod)
            injector.crash(pod["metadata"]["name"], container, namespace=namespace)
        if not before:
            raise PlatformError(f"no pod of {selector} in the {namespace} namespace could crash: there is none")

    def verify_injected(injector: FaultInjector) -> str:
        now = {
            pod["metadata"]["name"]: ends(pod) for pod in injector.find("pod", namespace=namespace, selector=selector)
        }
        ended = bool(before) and all(now.get(name, 0) > before[name] for name in before)
        return f"{', '.join(before)}: {container} ended" if ended else ""

    return Fault(
        name=f"{container} crashes in the pods of {selector}",
        affected_objects=(
            AffectedObject(verb=Verb.REPLACE, kind="pod", name=f"{names}*", namespace=namespace, count=count),
        ),
        inject=inject,
        verify_injected=verify_injected,
    )


def environment_changed(
    name: str, container: str, variables: Mapping[str, str], *, namespace: str, kind: str = "deployment"
) -> Fault:
    """Other values for environment variables of a Deployment's container. In force when its pods were rolled out with them."""

    def inject(injector: FaultInjector) -> None:
        found = injector.get(kind, name, namespace=namespace)
        if found is None:
            raise PlatformError(f"there is no {kind} {name} in the {namespace} namespace")
        containers = [_with(one, variables) if one["name"] == container else one for one in _containers(found)]
        injector.patch(kind, name, {"spec": {"template": {"spec": {"containers": containers}}}}, namespace=namespace)

    def verify_injected(injector: FaultInjector) -> str:
        found = injector.get(kind, name, namespace=namespace) or {}
        status, spec = found.get("status") or {}, found.get("spec") or {}
        env = {
            one["name"]: one.get("value")
            for each in _containers(found)
            if each["name"] == container
            for one in each.get("env") or ()
        }
        rolled = status.get("updatedReplicas", 0) == spec.get("replicas") == status.get("replicas")
        seen = status.get("observedGeneration") == (found.get("metadata") or {}).get("generation")
        if rolled and seen and env.items() >= variables.items():
            return f"the pods of {kind} {name} run with another {', '.join(variables)}"
        return ""

    return Fault(
        name=f"{kind} {name} runs with another {', '.join(variables)}",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=inject,
        verify_injected=verify_injected,
        budget=120.0,
    )


def secret_changed(name: str, values: Mapping[str, str], *, namespace: str) -> Fault:
    """Other values in a Secret. In force when the API server has them; who has read it before keeps what it read."""
    return Fault(
        name=f"Secret {name} holds another {', '.join(values)}",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind="secret", name=name, namespace=namespace),),
        inject=lambda injector: injector.patch("secret", name, {"data": _encoded(values)}, namespace=namespace),
        verify_injected=lambda injector: (
            f"Secret {name} holds another {', '.join(values)}"
            if holds(injector.get("secret", name, namespace=namespace) or {}, {"data": _encoded(values)})
            else ""
        ),
    )


def in_turn(*faults: Fault) -> Fault:
    """Faults of which each is made when the one before is in force. In force when all of them are."""

    def in_force(fault: Fault, injector: FaultInjector) -> None:
        until(fault.name, lambda: fault.verify_injected(injector) or None, seconds=fault.budget)

    def inject(injector: FaultInjector) -> None:
        for number, fault in enumerate(faults):
            if number:
                in_force(faults[number - 1], injector)
            fault.inject(injector)

    def verify_injected(injector: FaultInjector) -> str:
        shown = [fault.verify_injected(injector) for fault in faults]
        return "; ".join(shown) if all(shown) else ""

    return Fault(
        name=", then ".join(fault.name for fault in faults),
        affected_objects=tuple(touch for fault in faults for touch in fault.affected_objects),
        inject=inject,
        verify_injected=verify_injected,
        budget=max(fault.budget for fault in faults),
    )


def idle(fault: Fault) -> Fault:
    """The same fault, silently doing nothing: the control by which a scenario must come out inconclusive."""
    return Fault(
        name=f"{fault.name} (not really)",
        affected_objects=fault.affected_objects,
        inject=lambda injector: time.sleep(0),
        verify_injected=fault.verify_injected,
        budget=min(fault.budget, 5.0),
    )


def _ending(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _encoded(values: Mapping[str, str]) -> dict[str, str]:
    import base64

    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _containers(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    template = (found.get("spec") or {}).get("template") or {}
    containers: Sequence[Mapping[str, Any]] = (template.get("spec") or {}).get("containers") or ()
    return containers


def _with(container: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    kept = [one for one in container.get("env") or () if one["name"] not in variables]
    return {**container, "env": [*kept, *({"name": key, "value": value} for key, value in variables.items())]}
