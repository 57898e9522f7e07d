"""The session's pods, one per role: idle containers in which ``kubectl exec`` starts jobs; its streams carry the jobs' requests."""

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
"""The mount path of an empty volume in each pod, for staged code and data."""
CODE = f"{HOME}/python"
CONTAINER = "job"

_EXTRACT = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall(sys.argv[1])"
_PATHS = ("directory", "model_uri")
"""Arguments of jobs that may be a directory of this machine."""

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
    """The manifest of an idle pod. The keys of the Secret ``secret`` become environment variables; empty for none."""
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
    """A running job pod."""

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        self.kubectl = kubectl
        self.name = name
        self.namespace = namespace

    def wait(self, stop: Event) -> None:
        """Wait until the pod is Ready. Raises PlatformError with the pod's state and events at a timeout, or when ``stop`` is set."""

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
        """Standard output of a command in the pod. Raises KubectlError when the command fails."""
        return self.kubectl.exec(self.name, command, namespace=self.namespace, stdin=stdin, seconds=seconds)

    def put(self, entries: Iterable[tuple[Path, str]], directory: str = HOME) -> None:
        """Copy files and directories of this machine to paths below ``directory`` in the pod. ``entries`` are (source, path) pairs."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
            for path, name in entries:
                tar.add(path, arcname=name, filter=_anonymous)
        self.run("python", "-c", _EXTRACT, directory, stdin=buffer.getvalue())

    def upload(self, path: Path) -> str:
        """Copy a file or directory of this machine to a new path in the pod; returns that path."""
        target = f"uploads/{next(_numbers):04d}/{path.name}"
        self.put([(path, target)])
        return f"{HOME}/{target}"

    def command(self, job: str) -> list[str]:
        """The command line on this machine that starts a job in the pod."""
        inside = ["python", "-m", f"trivet.fixtures.jobs.{job}"]
        return self.kubectl.argv(*self.kubectl.exec_arguments(self.name, inside, namespace=self.namespace))


class PodWorker(Worker):
    """A job in a pod. Directories of this machine in its arguments are copied to the pod first."""

    def __init__(self, processes: Processes, name: str, pod: JobPod, job: str) -> None:
        self._pod = pod
        super().__init__(processes, name, pod.command(job), environment=streaming_environment())

    def call(self, operation: str, **arguments: Any) -> Any:
        """:meth:`Worker.call`."""
        return super().call(operation, **{key: self._uploaded(key, value) for key, value in arguments.items()})

    def _uploaded(self, key: str, value: Any) -> Any:
        if key in _PATHS and isinstance(value, str) and value.startswith("/") and Path(value).is_dir():
            return self._pod.upload(Path(value))
        return value


def streaming_environment() -> dict[str, str]:
    """The variables of the user's environment that a long-running kubectl needs; other variables are not passed to a run's processes."""
    return {name: os.environ[name] for name in ("NO_PROXY", "no_proxy") if name in os.environ}


def pod_state(kubectl: Kubectl, name: str, namespace: str) -> str:
    """Phase, containers and recent events of a pod, one line each, for messages."""
    pod = kubectl.get("pod", name, namespace=namespace)
    if pod is None:
        return f"there is no pod {name}"
    status = pod.get("status") or {}
    lines = [f"phase {status.get('phase')}"]
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        lines.append(f"container {one['name']}: {container_state(one)}, {one.get('restartCount', 0)} restarts")
    events = kubectl.objects("events", namespace=namespace)
    of_pod = [event for event in events if (event.get("involvedObject") or {}).get("name") == name]
    lines += [f"{event.get('reason')}: {event.get('message')}" for event in of_pod[-5:]]
    return "\n".join(lines)


def container_state(status: Mapping[str, Any]) -> str:
    """The state of a container in a few words, such as ``waiting ImagePullBackOff``."""
    for kind, detail in (status.get("state") or {}).items():
        details: Sequence[str] = [str(detail[key]) for key in ("reason", "exitCode", "message") if key in detail]
        return " ".join((kind, *details))
    return "unknown"


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
