"""The faults that come with trivet. Each function returns a ``Fault`` with the objects that it affects."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivet.errors import PlatformError
from trivet.model.clients import FaultInjector
from trivet.model.fault import PIPELINES, AffectedObject, Fault, Verb
from trivet.model.probe import NotYet, Probed, last_seen
from trivet.toolkit.merge_patch import holds
from trivet.toolkit.readiness import describe_conditions, is_terminating, selector_of
from trivet.toolkit.tcp_probe import Connection, probe_tcp
from trivet.toolkit.waiting import eventually

CUT = "trivet-fault-cut"
DNS: Mapping[str, Any] = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
"""An egress rule for DNS."""


def network_cut(
    *,
    pod: str,
    host: str,
    port: int,
    spared: Sequence[Mapping[str, Any]] = (DNS,),
    namespace: str = PIPELINES,
    name: str = CUT,
) -> Fault:
    """A NetworkPolicy that allows the pods of a namespace only the egress rules ``spared``, which must not include ``host``:``port``.

    Verified when a connection from ``pod``, of that namespace, is refused or times out, or the name does not resolve.
    """
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(spared)},
    }

    def verify_injected(injector: FaultInjector) -> Probed:
        seen = probe_tcp(injector, pod, host, port, namespace=namespace)
        shown = f"TCP probe from {pod} to {host}:{port}: {seen}"
        return NotYet(shown) if seen is Connection.OPEN else shown

    return Fault(
        name=f"a NetworkPolicy denies the {namespace} namespace egress to {host}:{port}",
        affected_objects=(AffectedObject(verb=Verb.CREATE, kind="NetworkPolicy", name=name, namespace=namespace),),
        inject=lambda injector: injector.create(policy),
        verify_injected=verify_injected,
    )


def applied(
    document: Mapping[str, Any],
    *,
    name: str,
    shows: str = "exists",
    when: Callable[[Mapping[str, Any]], bool] = bool,
    budget: float = 30.0,
) -> Fault:
    """An object that should not exist, such as a service for a model that does not exist; ``metadata.namespace`` is a role.

    Verified when ``when`` is true of the object as the API server has it; ``shows`` says so in words.
    """
    kind, metadata = str(document["kind"]), document["metadata"]

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get(kind, metadata["name"], namespace=metadata["namespace"])
        if found and when(found):
            return f"{kind} {metadata['name']} {shows}"
        return NotYet(describe_conditions(found or {}))

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
    kind: str, name: str, patch: Mapping[str, Any], *, namespace: str, title: str, budget: float = 30.0
) -> Fault:
    """A changed object. Verified when the API server holds the patched fields and the object's controller, if any, has observed them."""

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get(kind, name, namespace=namespace) or {}
        generation = (found.get("metadata") or {}).get("generation")
        observed = (found.get("status") or {}).get("observedGeneration")
        if not holds(found, patch):
            return NotYet(f"{kind} {name} does not hold {json.dumps(patch)}")
        if observed not in (None, generation):
            return NotYet(f"{kind} {name}: generation {generation}, its controller has observed {observed}")
        return f"{kind} {name} holds {json.dumps(patch)}" + (", and its controller has observed it" if observed else "")

    return Fault(
        name=title,
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=lambda injector: injector.patch(kind, name, patch, namespace=namespace),
        verify_injected=verify_injected,
        budget=budget,
    )


def stopped(name: str, *, namespace: str, kind: str = "deployment", budget: float = 90.0) -> Fault:
    """A Deployment or StatefulSet scaled to zero replicas. Verified when its last pod is gone."""

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get(kind, name, namespace=namespace) or {}
        spec = found.get("spec") or {}
        replicas = (found.get("status") or {}).get("replicas") or 0
        # A terminating pod is not among the replicas, and may serve until its grace period ends.
        selector = selector_of((spec.get("selector") or {}).get("matchLabels") or {})
        pods = len(injector.find("pod", namespace=namespace, selector=selector)) if selector else 0
        if spec.get("replicas") == 0 and not replicas and not pods:
            return f"{kind} {name} has 0 replicas and no pod"
        return NotYet(f"{kind} {name}: spec.replicas {spec.get('replicas')}, status.replicas {replicas}, {pods} pods")

    return Fault(
        name=f"{kind} {name} is scaled to zero",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=lambda injector: injector.patch(kind, name, {"spec": {"replicas": 0}}, namespace=namespace),
        verify_injected=verify_injected,
        budget=budget,
    )


def restarted(selector: str, *, names: str, namespace: str, count: int = 1, draining: bool = False) -> Fault:
    """Up to ``count`` pods deleted, which their controller recreates; their names begin with ``names``.

    Verified when they are gone; with ``draining`` as soon as they are terminating, which takes half a minute of Knative's pods, without
    new requests.
    """
    deleted: dict[str, str] = {}

    def inject(injector: FaultInjector) -> None:
        running = [
            pod for pod in injector.find("pod", namespace=namespace, selector=selector) if not is_terminating(pod)
        ]
        for pod in running[:count]:
            deleted[pod["metadata"]["name"]] = pod["metadata"]["uid"]
            injector.delete_pod(pod["metadata"]["name"], namespace=namespace)
        if not deleted:
            raise PlatformError(f"cannot delete a pod of {selector} in the {namespace} namespace: there is none")

    def verify_injected(injector: FaultInjector) -> Probed:
        now = {
            pod["metadata"]["uid"]
            for pod in injector.find("pod", namespace=namespace, selector=selector)
            if not (draining and is_terminating(pod))
        }
        remaining = [name for name, uid in deleted.items() if uid in now]
        if remaining or not deleted:
            return NotYet(f"pods that still exist: {', '.join(remaining)}" if remaining else "no pod was deleted")
        return f"{', '.join(deleted)}: {'gone or terminating' if draining else 'gone'}"

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
    """The processes of a container are killed in each pod, as by the OOM killer, and the kubelet restarts it.

    Verified when the kubelet reports that each of them terminated. A restart may be delayed by the back-off: 10 s after the second crash,
    20 s after the third.
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
            raise PlatformError(f"cannot crash a pod of {selector} in the {namespace} namespace: there is none")

    def verify_injected(injector: FaultInjector) -> Probed:
        now = {
            pod["metadata"]["name"]: ends(pod) for pod in injector.find("pod", namespace=namespace, selector=selector)
        }
        running = [name for name in before if now.get(name, 0) <= before[name]]
        if running or not before:
            return NotYet(f"{container} still runs in {', '.join(running)}" if running else "no process was killed")
        return f"{', '.join(before)}: {container} terminated"

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
    """Other values for environment variables of a Deployment's container. Verified when its pods are rolled out with them."""

    def inject(injector: FaultInjector) -> None:
        found = injector.get(kind, name, namespace=namespace)
        if found is None:
            raise PlatformError(f"there is no {kind} {name} in the {namespace} namespace")
        containers = [_with(one, variables) if one["name"] == container else one for one in _containers(found)]
        injector.patch(kind, name, {"spec": {"template": {"spec": {"containers": containers}}}}, namespace=namespace)

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get(kind, name, namespace=namespace) or {}
        status, spec = found.get("status") or {}, found.get("spec") or {}
        env = {
            one["name"]: one.get("value")
            for each in _containers(found)
            if each["name"] == container
            for one in each.get("env") or ()
        }
        rolled = status.get("updatedReplicas", 0) == spec.get("replicas") == status.get("replicas")
        current = status.get("observedGeneration") == (found.get("metadata") or {}).get("generation")
        if rolled and current and env.items() >= variables.items():
            return f"the pods of {kind} {name} run with a changed {', '.join(variables)}"
        counts = f"{status.get('updatedReplicas', 0)} updated of {status.get('replicas', 0)} replicas"
        return NotYet(f"{kind} {name}: {counts}, spec.replicas {spec.get('replicas')}")

    return Fault(
        name=f"{kind} {name} runs with a changed {', '.join(variables)}",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind=kind, name=name, namespace=namespace),),
        inject=inject,
        verify_injected=verify_injected,
        budget=120.0,
    )


def secret_changed(name: str, values: Mapping[str, str], *, namespace: str) -> Fault:
    """Other values in a Secret. Verified when the API server has them; processes that read it before keep the old values."""
    return Fault(
        name=f"Secret {name} holds a changed {', '.join(values)}",
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind="secret", name=name, namespace=namespace),),
        inject=lambda injector: injector.patch("secret", name, {"data": _encoded(values)}, namespace=namespace),
        verify_injected=lambda injector: (
            f"Secret {name} holds a changed {', '.join(values)}"
            if holds(injector.get("secret", name, namespace=namespace) or {}, {"data": _encoded(values)})
            else ""
        ),
    )


def in_turn(*faults: Fault) -> Fault:
    """Faults injected one after the other, each once the one before is verified. Verified when all of them are."""

    def verify(fault: Fault, injector: FaultInjector) -> None:
        eventually(
            f"the fault to be verified: {fault.name}",
            lambda: fault.verify_injected(injector),
            timeout=fault.budget,
            describe=last_seen,
        )

    def inject(injector: FaultInjector) -> str | None:
        for number, fault in enumerate(faults):
            if number:
                verify(faults[number - 1], injector)
            if refusal := fault.inject(injector):
                return refusal
        return None

    def verify_injected(injector: FaultInjector) -> Probed:
        shown = [fault.verify_injected(injector) for fault in faults]
        missing = next((one for one in shown if not one), None)
        return "; ".join(str(one) for one in shown) if missing is None else missing

    return Fault(
        name=", then ".join(fault.name for fault in faults),
        affected_objects=tuple(affected for fault in faults for affected in fault.affected_objects),
        inject=inject,
        verify_injected=verify_injected,
        budget=max(fault.budget for fault in faults),
    )


def idle(fault: Fault) -> Fault:
    """The same fault that does nothing: with it a scenario must be INCONCLUSIVE."""
    return Fault(
        name=f"{fault.name} (no-op)",
        affected_objects=fault.affected_objects,
        inject=lambda injector: time.sleep(0),
        verify_injected=fault.verify_injected,
        budget=min(fault.budget, 5.0),
    )


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
