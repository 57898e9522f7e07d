"""The session's own pods, one per role: idle containers in which jobs are started by ``kubectl exec`` and spoken to over its streams."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

from trivet.host.kubectl import Kubectl
from trivet.host.processes import Processes
from trivet.host.worker import Worker
from trivet.integration import is_ready
from trivet.targets.cluster import limits

HOME = "/trivet"
"""An empty volume of each pod; staged code and data lie here."""
CODE = f"{HOME}/python"
CONTAINER = "job"

_EXTRACT = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall(sys.argv[1])"
_PATHS = ("directory", "model_uri")
"""Arguments of jobs that may name a directory of this machine."""

_numbers = count(1)


def pod_document(
    name: str,
    *,
    namespace: str,
    image: str,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    secret: str,
    pull_policy: str,
) -> dict[str, Any]:
    """A pod that does nothing until something is started in it. ``secret`` becomes environment variables; none when empty."""
    own = {"HOME": HOME, "USER": "trivet", "PYTHONPATH": CODE, "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "true"}
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
        "workingDir": HOME,
        "env": [{"name": key, "value": value} for key, value in {**own, **environment}.items()],
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "3Gi"}},
        "volumeMounts": [{"name": "home", "mountPath": HOME}, {"name": "scratch", "mountPath": "/tmp"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "home", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
        },
    }


class JobPod:
    """One such pod, running."""

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        self.kubectl = kubectl
        self.name = name
        self.namespace = namespace

    def wait(self, stop: Event) -> None:
        """Return once its container runs. Raises PlatformError with the pod's state and events when it does not in time."""

        def look() -> bool | None:
            return is_ready(self.kubectl.get("pod", self.name, namespace=self.namespace) or {}) or None

        self.kubectl.wait_for(
            f"pod {self.name} in {self.namespace} to be Ready",
            look,
            timeout=limits.PODS,
            status=lambda: pod_state(self.kubectl, self.name, self.namespace),
            stop=stop,
        )

    def run(self, *command: str, stdin: bytes | None = None, seconds: float = limits.STAGE) -> bytes:
        """Standard output of a command in the pod. Raises KubectlError when it fails."""
        return self.kubectl.exec(self.name, command, namespace=self.namespace, stdin=stdin, seconds=seconds)

    def put(self, entries: Iterable[tuple[Path, str]], directory: str = HOME) -> None:
        """Copy files and directories of this machine to their names below ``directory`` in the pod."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
            for path, name in entries:
                tar.add(path, arcname=name, filter=_anonymous)
        self.run("python", "-c", _EXTRACT, directory, stdin=buffer.getvalue())

    def given(self, path: Path) -> str:
        """A file or directory of this machine, copied to a fresh place in the pod; its path there."""
        place = f"given/{next(_numbers):04d}/{path.name}"
        self.put([(path, place)])
        return f"{HOME}/{place}"

    def command(self, job: str) -> list[str]:
        """The command line on this machine that starts a job in the pod."""
        inside = ["python", "-m", f"trivet.fixtures.jobs.{job}"]
        return self.kubectl.argv(*self.kubectl.exec_arguments(self.name, inside, namespace=self.namespace))


class PodWorker(Worker):
    """A job in a pod. Directories of this machine among its arguments are copied there first."""

    def __init__(self, processes: Processes, name: str, pod: JobPod, job: str) -> None:
        self._pod = pod
        super().__init__(processes, name, pod.command(job), environment=streaming_environment())

    def call(self, operation: str, **arguments: Any) -> Any:
        """As a worker's call."""
        return super().call(operation, **{key: self._inside(key, value) for key, value in arguments.items()})

    def _inside(self, key: str, value: Any) -> Any:
        if key in _PATHS and isinstance(value, str) and value.startswith("/") and Path(value).is_dir():
            return self._pod.given(Path(value))
        return value


def streaming_environment() -> dict[str, str]:
    """What a long-running kubectl needs of the user's environment, which processes of a run are otherwise cleared of."""
    return {name: os.environ[name] for name in ("NO_PROXY", "no_proxy") if name in os.environ}


def pod_state(kubectl: Kubectl, name: str, namespace: str) -> str:
    """Phase, containers and events of a pod, a line each, for messages."""
    pod = kubectl.get("pod", name, namespace=namespace)
    if pod is None:
        return f"there is no pod {name}"
    status = pod.get("status") or {}
    lines = [f"phase {status.get('phase')}"]
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        lines.append(f"container {one['name']}: {container_state(one)}, {one.get('restartCount', 0)} restarts")
    events = kubectl.objects("events", namespace=namespace)
    about = [event for event in events if (event.get("involvedObject") or {}).get("name") == name]
    lines += [f"{event.get('reason')}: {event.get('message')}" for event in about[-5:]]
    return "\n".join(lines)


def container_state(status: Mapping[str, Any]) -> str:
    """The state of a container in a few words."""
    for kind, detail in (status.get("state") or {}).items():
        said: Sequence[str] = [str(detail[key]) for key in ("reason", "exitCode", "message") if key in detail]
        return " ".join((kind, *said))
    return "unknown"


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
