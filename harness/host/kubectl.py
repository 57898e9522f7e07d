"""Runs ``kubectl``, which has the user's authentication, exec and strict validation.

It is bound to one kubeconfig and one context, always named on the command line, so that no call goes to the current context by accident.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from trivet.errors import PlatformError
from trivet.host.journal import MARK
from trivet.host.signals import NUMBERS
from trivet.toolkit.waiting import eventually

FIELD_MANAGER = "trivet"
CALL = 60.0
"""Default timeout of one call in seconds."""
STARTS = 3
"""How often kubectl is started when a signal ends it. One that comes before the child has its own session ends it before it executes
kubectl. More of them are meant for kubectl: a run that closes ends every process with its mark."""

Json = Mapping[str, Any]
T = TypeVar("T")

_REMEDIES = (
    (
        r"(?i)connection refused|no such host|i/o timeout|Unable to connect|TLS handshake timeout|context deadline exceeded",
        "check that the cluster runs and that this machine can reach it; `trivet up` starts trivet's own cluster again",
    ),
    (
        r"(?i)context .* does not exist|no context exists|context was not found",
        "use a context of the kubeconfig; `kubectl config get-contexts` lists them",
    ),
    (
        r"\(Forbidden\)|(?i:forbidden:)",
        "grant the permissions that `trivet doctor --target existing` lists, or use an account that has them",
    ),
    (
        r"\(Unauthorized\)|(?i:must be logged in)",
        "log in to the cluster again: it rejects the credentials in the kubeconfig",
    ),
    (r"unknown field|strict decoding error", "remove or correct the field: this version of the API does not have it"),
    (
        r"no matches for kind|the server doesn't have a resource type",
        "install the component that provides this API: the cluster does not have it",
    ),
    (
        r"Insufficient (cpu|memory)",
        "free capacity on the nodes: delete workloads that are not needed, or lower the requests",
    ),
)


class KubectlError(PlatformError):
    """kubectl failed with the exit status ``status``, negative for a signal. ``stderr`` is its standard error, ``reason`` the API's reason
    (``NotFound``, ``Forbidden`` …), empty when it has none.
    """

    def __init__(self, command: str, stderr: str, status: int = 1) -> None:
        self.stderr = stderr.strip()
        match = re.search(r"Error from server \((\w+)\)", stderr)
        self.reason = match[1] if match else ""
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, stderr)), "")
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        super().__init__(f"{command}: {self.stderr or f'{how} and wrote no error'}", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """kubectl for one ``context`` of one ``kubeconfig`` (None: kubectl's default, ``KUBECONFIG`` or ``~/.kube/config``)."""

    context: str
    kubeconfig: Path | None = None
    binary: str = "kubectl"

    mark: str = ""
    """The run that each kubectl process belongs to, so that clean-up after a kill can end processes that still run."""

    def __post_init__(self) -> None:
        if not self.context:
            # kubectl takes an empty name for the current context.
            raise ValueError("kubectl needs the name of a context")

    def argv(self, *arguments: str) -> list[str]:
        """The full command line, for callers that start the process (exec, port-forward, proxy)."""
        config = ("--kubeconfig", str(self.kubeconfig)) if self.kubeconfig else ()
        return [self.binary, *config, "--context", self.context, *arguments]

    def run(self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL) -> str:
        """Standard output of ``kubectl ARGUMENTS``. Raises KubectlError when it fails, PlatformError when it is missing or times out."""
        return self.run_bytes(*arguments, stdin=stdin, seconds=seconds).decode("utf-8", "replace")

    def run_bytes(self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL) -> bytes:
        """:meth:`run` for binary output."""
        done = self.attempt(*arguments, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise KubectlError(_command(arguments), done.stderr.decode("utf-8", "replace"), done.returncode)
        return done.stdout

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL
    ) -> subprocess.CompletedProcess[bytes]:
        """:meth:`run` with any exit status. Raises PlatformError when kubectl is missing or times out."""
        content = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            for _ in range(STARTS):
                done = subprocess.run(
                    self.argv(*arguments),
                    input=content,
                    stdin=subprocess.DEVNULL if content is None else None,
                    capture_output=True,
                    timeout=seconds,
                    env={**os.environ, MARK: self.mark} if self.mark else None,
                    # Ctrl-C in a terminal signals the whole process group; it must not interrupt a change or its revert halfway.
                    start_new_session=bool(self.mark),
                )
                if not self.mark or -done.returncode not in NUMBERS:
                    break
            return done
        except FileNotFoundError as error:
            raise missing_kubectl(self.binary) from error
        except OSError as error:
            raise PlatformError(f"cannot start {_command(arguments)}: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise PlatformError(
                f"timed out after {seconds:g} s waiting for {_command(arguments)} to exit",
                remedy="check that the API server of this context responds: kubectl get --raw /readyz",
            ) from error

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        """One object as JSON, or None when it does not exist."""
        output = self.run("get", kind, name, *_namespace(namespace), "--ignore-not-found", "-o", "json")
        return dict(json.loads(output)) if output.strip() else None

    def objects(self, kind: str, *, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The objects of ``kind`` in ``namespace`` (empty for all namespaces and for cluster-scoped kinds) as JSON."""
        scope = _namespace(namespace) or ["--all-namespaces"]
        selection = ["-l", selector] if selector else []
        return list(json.loads(self.run("get", kind, *scope, *selection, "-o", "json"))["items"])

    def raw(self, path: str, *, seconds: float = CALL) -> str:
        """The body of GET ``path`` from the API server, such as ``/readyz`` or a Service's proxy path."""
        return self.run("get", "--raw", path, seconds=seconds)

    def apply(
        self,
        *documents: Json,
        namespace: str = "",
        dry_run: bool = False,
        force: bool = False,
        seconds: float = CALL,
    ) -> list[dict[str, Any]]:
        """Server-side apply with the field manager ``trivet`` and strict validation; returns the objects as stored.

        ``force`` takes over fields of other managers. With ``dry_run`` the server runs admission and stores nothing.
        """
        # kubectl prints the items of a List, also of one with a single item.
        bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        output = self.run(
            "apply",
            "--server-side",
            "--validate=strict",
            f"--field-manager={FIELD_MANAGER}",
            *(["--force-conflicts"] if force else []),
            *(["--dry-run=server"] if dry_run else []),
            *_namespace(namespace),
            *("-o", "json", "-f", "-"),
            stdin=bundle,
            seconds=seconds,
        )
        return [item for document in json_documents(output) for item in _items(document)]

    def delete(
        self,
        kind: str,
        name: str,
        *,
        namespace: str = "",
        wait: bool = True,
        grace: int | None = None,
        seconds: float = CALL,
    ) -> None:
        """Delete one object if it exists; with ``wait``, return after it has been removed. ``grace`` is the grace period in seconds."""
        self.run(
            *("delete", kind, name, "--ignore-not-found", f"--wait={'true' if wait else 'false'}"),
            *_namespace(namespace),
            *([f"--grace-period={grace}"] if grace is not None else []),
            seconds=seconds,
        )

    def logs(self, pod: str, *, namespace: str, container: str, previous: bool = False, tail: int = -1) -> str:
        """A container's log; empty when kubectl cannot read it, for example because the container has not started."""
        try:
            return self.run(
                *("logs", pod, *_namespace(namespace), "-c", container, f"--tail={tail}"),
                *(["--previous"] if previous else []),
            )
        except KubectlError:
            return ""

    def exec(
        self,
        pod: str,
        command: Sequence[str],
        *,
        namespace: str,
        container: str = "",
        stdin: str | bytes | None = None,
        seconds: float = CALL,
    ) -> bytes:
        """Standard output of ``command`` in a container of ``pod``. Raises KubectlError when the command fails."""
        return self.run_bytes(
            *self.exec_arguments(pod, command, namespace=namespace, container=container, interactive=stdin is not None),
            stdin=stdin,
            seconds=seconds,
        )

    @staticmethod
    def exec_arguments(
        pod: str, command: Sequence[str], *, namespace: str, container: str = "", interactive: bool = True
    ) -> list[str]:
        """The arguments of ``kubectl exec``, for callers that start the process."""
        selection = ["-c", container] if container else []
        return ["exec", *(["-i"] if interactive else []), pod, *_namespace(namespace), *selection, "--", *command]

    def wait_for(
        self,
        what: str,
        look: Callable[[], T | None],
        *,
        timeout: float,
        status: Callable[[], str] = lambda: "",
        poll: float | None = None,
        stop: Event | None = None,
    ) -> T:
        """The first result of ``look`` that is not None (:func:`trivet.toolkit.waiting.eventually`).

        A KubectlError of ``look`` counts as "not yet": a webhook that is not ready, a refused connection. On timeout raises PlatformError
        with ``status()``: the last observed state and recent logs.
        """
        return eventually(
            what,
            look,
            timeout=timeout,
            until=lambda found: True,
            describe=lambda found: status(),
            tolerate=KubectlError,
            raises=PlatformError,
            poll=poll,
            stop=stop,
        )


def find_kubectl(binary: str = "kubectl") -> str:
    """The path of ``binary``. Raises PlatformError when it is not on this machine."""
    if found := shutil.which(binary):
        return found
    raise missing_kubectl(binary)


def missing_kubectl(binary: str = "kubectl", *, otherwise: str = "") -> PlatformError:
    """The error that there is no ``binary``; ``otherwise`` completes its remedy."""
    return PlatformError(
        f"there is no {binary} on this machine",
        remedy=f"install kubectl (https://kubernetes.io/docs/tasks/tools) and put it on the PATH{otherwise}",
    )


def contexts(kubeconfig: Path | None = None, binary: str = "kubectl") -> list[str]:
    """The names of the contexts in a kubeconfig (None: kubectl's default); an empty list when there is no kubeconfig."""
    config = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    try:
        done = subprocess.run(
            [find_kubectl(binary), *config, "config", "get-contexts", "-o", "name"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CALL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"cannot list the contexts of the kubeconfig: {error}") from error
    return done.stdout.split() if done.returncode == 0 else []


def _command(arguments: Sequence[str]) -> str:
    return "kubectl " + " ".join(arguments[:6])


def _namespace(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


def _items(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["items"]) if document.get("kind") == "List" else [document]


def json_documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects in ``text``, in order."""
    decoder, documents, position = json.JSONDecoder(), [], 0
    while (start := text.find("{", position)) >= 0:
        document, position = decoder.raw_decode(text, start)
        documents.append(document)
    return documents
