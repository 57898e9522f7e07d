"""An Indexed Job whose pods judge the cells of a matrix: its objects, and waiting for its pods. It does not know what a cell is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.host.kubectl import Kubectl, KubectlError

MATRIX = "trivet.dev/matrix"
"""The label of a matrix's Jobs and ConfigMaps: the digest of what is judged, of the image that judges it, and of the results store."""

CELLS_KEY = "cells.json"
MOUNT = "/etc/trivet"
MOST = 1_000_000
"""Bytes of all cells: a ConfigMap holds at most 1 MiB (kubernetes.io/docs/concepts/configuration/configmap)."""

INDEX = "batch.kubernetes.io/job-completion-index"
"""The annotation of a pod with its index (kubernetes 1.30, ``pkg/apis/batch/types.go``, ``JobCompletionIndexAnnotation``)."""

KEPT = 86_400
"""Seconds that a finished Job stays, with the logs of its pods, for a command that was interrupted."""

POLL = 2.0
PULL = 120.0
"""Seconds in which the Job must have a pod, and a pod's image be pulled and its container created after it could not be: a registry may
be busy, and the kubelet tries again."""
_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_NO_CONTAINER = ("CreateContainerError", "CreateContainerConfigError")
"""Kubernetes 1.30, ``pkg/kubelet/kuberuntime/kuberuntime_container.go``."""
_NO_LOG = ("NotFound", "BadRequest")
"""The API's reasons for a pod without a log: there is no such pod, and its container waits to start (kubernetes 1.30,
``pkg/kubelet/kubelet_pods.go``, ``validateContainerLogStatus``, whose error the kubelet answers with status 400)."""
_REQUESTS = {"cpu": "500m", "memory": "1536Mi"}


class ImageUnavailable(PlatformError):
    """A pod cannot pull its image, or start it."""


@dataclass(frozen=True, kw_only=True)
class CellPod:
    """A pod that has ended: the index of its cell, its log, and why it failed, empty when it did not."""

    index: int
    log: str
    failure: str = ""


def cells_job(
    name: str, matrix: str, *, image: str, cells: Sequence[Mapping[str, Any]], parallel: int, memory: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap with ``cells`` and the Job with a pod for each, ``parallel`` at a time, of at most ``memory`` bytes (a quantity).

    An index is not tried again, except after a disruption such as a drained node: what a pod judged is in its log. Raises UsageError when
    there are too many cells for a ConfigMap.
    """
    text = json.dumps(cells)
    if len(text) > MOST:
        raise UsageError(
            f"{len(cells)} cells with their contracts take {len(text):,} bytes, and a ConfigMap holds {MOST:,}",
            remedy="split the matrix, or judge fewer contracts, with --contract",
        )
    metadata = {"name": name, "labels": {MATRIX: matrix}}
    container = {
        "name": "cell",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": _REQUESTS, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "cells", "mountPath": MOUNT, "readOnly": True}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "cells", "configMap": {"name": name}}],
    }
    spec = {
        "completionMode": "Indexed",
        "completions": len(cells),
        "parallelism": min(parallel, len(cells)),
        "backoffLimitPerIndex": 0,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "ttlSecondsAfterFinished": KEPT,
        "template": {"metadata": {"labels": {MATRIX: matrix}}, "spec": pod},
    }
    return (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {CELLS_KEY: text}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec},
    )


@dataclass(frozen=True, kw_only=True)
class CellJobs:
    """The Jobs of one matrix in one namespace, by the label MATRIX."""

    kubectl: Kubectl
    namespace: str
    matrix: str

    def create(self, name: str, *, image: str, cells: Sequence[Mapping[str, Any]], parallel: int, memory: str) -> None:
        """Create a Job with its ConfigMap, which is deleted with it; after an error or an interrupt there is neither."""
        config, job = cells_job(name, self.matrix, image=image, cells=cells, parallel=parallel, memory=memory)
        try:
            self.kubectl.apply(config, namespace=self.namespace)
            (created,) = self.kubectl.apply(job, namespace=self.namespace)
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": created["metadata"]["uid"]}
            config["metadata"] = {**config["metadata"], "ownerReferences": [owner]}
            self.kubectl.apply(config, namespace=self.namespace)
        except BaseException:
            # One without the other is of no use, and would stay.
            self.delete(name)
            raise

    def present(self) -> dict[str, list[dict[str, Any]]]:
        """Name → cells, of the Jobs that an interrupted command left, oldest first."""
        jobs = self.kubectl.objects("jobs", namespace=self.namespace, selector=f"{MATRIX}={self.matrix}")
        found = {}
        for job in sorted(jobs, key=lambda one: str(one["metadata"]["creationTimestamp"])):
            name = job["metadata"]["name"]
            config = self.kubectl.get("configmap", name, namespace=self.namespace)
            if config and not job["metadata"].get("deletionTimestamp"):
                found[name] = json.loads(config["data"][CELLS_KEY])
        return found

    def ended(self, name: str, note: Callable[[str], None]) -> Iterator[CellPod]:
        """The pods of a Job as they end, until all have. ``note`` gets a sentence when pods wait, and why.

        Raises ImageUnavailable when the image cannot be pulled or started, and PlatformError when the Job gets no pod or is deleted
        meanwhile.
        """
        seen: set[str] = set()
        said = ""
        started = time.monotonic()
        not_created: dict[str, tuple[float, ImageUnavailable]] = {}
        while True:
            job = self.kubectl.get("job", name, namespace=self.namespace)
            if job is None or job["metadata"].get("deletionTimestamp"):
                raise PlatformError(
                    f"the Job {name} in namespace {self.namespace} was deleted before its pods had ended",
                    remedy="repeat the command: results that were collected are kept, the others are judged again",
                )
            pods = [
                pod
                for pod in self.kubectl.objects(
                    "pods", namespace=self.namespace, selector=f"batch.kubernetes.io/job-name={name}"
                )
                if any(one["uid"] == job["metadata"]["uid"] for one in pod["metadata"].get("ownerReferences") or ())
            ]
            for pod in pods:
                uid = pod["metadata"]["uid"]
                if uid not in seen and pod["status"].get("phase") in ("Succeeded", "Failed"):
                    seen.add(uid)
                    yield self._ended(pod)
            if any(
                one["type"] in ("Complete", "Failed") and one["status"] == "True"
                for one in job["status"].get("conditions") or ()
            ):
                return
            now = time.monotonic()
            if not pods and now - started > PULL:
                command = f"kubectl --context {self.kubectl.context} -n {self.namespace} describe job {name}"
                raise PlatformError(
                    f"timed out after {PULL:g} s waiting for the Job {name} to have a pod: a quota or an admission webhook may refuse them",
                    remedy=f"see the events of the Job: `{command}`",
                )
            # The first reason is the registry's; later ones say only that the kubelet waits before it tries again.
            not_created = {
                pod["metadata"]["name"]: not_created.get(pod["metadata"]["name"], (now, failure))
                for pod in pods
                if (failure := _not_created(pod))
            }
            for since, failure in not_created.values():
                if now - since > PULL:
                    raise failure
            waiting = next(
                filter(None, (*(one.message for _, one in not_created.values()), *map(_unscheduled, pods))), ""
            )
            if waiting and waiting != said:
                note(waiting)
                said = waiting
            time.sleep(POLL)

    def delete(self, name: str) -> None:
        """Delete a Job with its pods and its ConfigMap."""
        self.kubectl.delete("job", name, namespace=self.namespace, wait=False)
        self.kubectl.delete("configmap", name, namespace=self.namespace, wait=False)

    def _ended(self, pod: Mapping[str, Any]) -> CellPod:
        return CellPod(
            index=int(pod["metadata"]["annotations"][INDEX]),
            log=self._log(pod),
            failure=pod_failure(pod),
        )

    def _log(self, pod: Mapping[str, Any]) -> str:
        """The log of a pod; empty if its container never started, and if the pod is gone meanwhile, as with a drained node.

        Raises KubectlError for every other failure: the results are in a log that could not be read now.
        """
        if not pod["status"].get("containerStatuses"):
            return ""
        try:
            return self.kubectl.run("logs", pod["metadata"]["name"], "-n", self.namespace, "-c", "cell", "--tail=-1")
        except KubectlError as error:
            if error.reason in _NO_LOG:
                return ""
            raise


def pod_failure(pod: Mapping[str, Any]) -> str:
    """Why a pod that has ended failed; empty for one that succeeded."""
    status = pod["status"]
    if status.get("phase") == "Succeeded":
        return ""
    name = pod["metadata"]["name"]
    if reason := status.get("reason"):  # such as Evicted, of the kubelet
        return f"the pod {name} failed: {reason}: {status.get('message', '')}".rstrip(": ")
    for container in status.get("containerStatuses") or ():
        ended = container["state"].get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
            return f"the pod {name} was killed because it needs more memory than its limit of {limit} (OOMKilled)"
        if ended.get("exitCode"):
            return f"the pod {name} ended with exit code {ended['exitCode']}"
    return f"the pod {name} failed"


def _not_created(pod: Mapping[str, Any]) -> ImageUnavailable | None:
    """Why a pod's container cannot be created; None if it is, or is being."""
    name = pod["metadata"]["name"]
    for container in pod["status"].get("containerStatuses") or ():
        state = container["state"].get("waiting") or {}
        why = f"{container['image']}: {state.get('reason')}: {state.get('message', '')}"
        if state.get("reason") in _NO_IMAGE:
            return ImageUnavailable(
                f"the pod {name} cannot pull its image {why}",
                remedy="push the image to a registry that the nodes reach, and name it with --image",
            )
        if state.get("reason") in _NO_CONTAINER:
            return ImageUnavailable(
                f"the pod {name} cannot start its image {why}",
                remedy="name an image that this command built with --image; if it is one, the node refuses it: see its kubelet's log",
            )
    return None


def _unscheduled(pod: Mapping[str, Any]) -> str:
    """Why no node runs a pod; empty if one does."""
    name = pod["metadata"]["name"]
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"the pod {name} waits for a node: {condition.get('message', condition.get('reason', ''))}"
    return ""
