"""``kubectl`` as the one way to talk to a cluster: it brings the user's authentication, exec, and strict validation.

Bound to one kubeconfig and one context, always named on the command line, so that nothing ever goes to whatever context happens to be
the current one. Knows no trivet resource.
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
from trivet.toolkit.waiting import POLL, eventually

FIELD_MANAGER = "trivet"
CALL = 60.0
"""Seconds that one call may take, unless its caller says otherwise."""

Json = Mapping[str, Any]
T = TypeVar("T")

_REMEDIES = (
    (
        r"(?i)connection refused|no such host|i/o timeout|Unable to connect|TLS handshake timeout|context deadline exceeded",
        "see whether the cluster runs and this machine reaches it; for trivet's own cluster, `trivet up` brings it back",
    ),
    (
        r"(?i)context .* does not exist|no context exists|context was not found",
        "name a context that the kubeconfig has; `kubectl config get-contexts` lists them",
    ),
    (
        r"\(Forbidden\)|(?i:forbidden:)",
        "grant what `trivet doctor --target existing` lists, or use an account that has it",
    ),
    (
        r"\(Unauthorized\)|(?i:must be logged in)",
        "log in to the cluster again: the credentials in the kubeconfig are refused",
    ),
    (r"unknown field|strict decoding error", "remove or correct the field: this version of the API does not have it"),
    (
        r"no matches for kind|the server doesn't have a resource type",
        "the API is not installed on this cluster: install the component that brings it",
    ),
    (r"Insufficient (cpu|memory)", "make room on the nodes: remove what is not needed, or ask for less"),
)


class KubectlError(PlatformError):
    """kubectl ended with an error. ``stderr`` holds its words, ``reason`` the API's (``NotFound``, ``Forbidden`` …) when it gave one."""

    def __init__(self, command: str, stderr: str) -> None:
        self.stderr = stderr.strip()
        found = re.search(r"Error from server \((\w+)\)", stderr)
        self.reason = found[1] if found else ""
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, stderr)), "")
        super().__init__(f"{command}: {self.stderr or 'failed without a word'}", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """kubectl for one ``context`` of one ``kubeconfig`` (None: where kubectl itself looks)."""

    context: str
    kubeconfig: Path | None = None
    binary: str = "kubectl"

    mark: str = ""
    """The run that each kubectl belongs to, so that one still under way when its trivet is killed is ended by who cleans up."""

    def __post_init__(self) -> None:
        if not self.context:
            # kubectl takes an empty name for the current context, which is nobody's choice.
            raise ValueError("kubectl is always bound to a named context")

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line, for who starts it himself (exec, port-forward, proxy)."""
        config = ("--kubeconfig", str(self.kubeconfig)) if self.kubeconfig else ()
        return [self.binary, *config, "--context", self.context, *arguments]

    def run(self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL) -> str:
        """Standard output of ``kubectl ARGUMENTS``. Raises KubectlError with its words, PlatformError when it is missing or stuck."""
        return self.run_bytes(*arguments, stdin=stdin, seconds=seconds).decode("utf-8", "replace")

    def run_bytes(self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL) -> bytes:
        """As ``run``, for output that is no text."""
        done = self.attempt(*arguments, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise KubectlError(_named(arguments), done.stderr.decode("utf-8", "replace"))
        return done.stdout

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL
    ) -> subprocess.CompletedProcess[bytes]:
        """As ``run``, whatever the exit status. Raises PlatformError when kubectl is missing or gives no answer."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            while True:
                done = subprocess.run(
                    self.argv(*arguments),
                    input=given,
                    stdin=subprocess.DEVNULL if given is None else None,
                    capture_output=True,
                    timeout=seconds,
                    env={**os.environ, MARK: self.mark} if self.mark else None,
                    # A terminal's Ctrl-C, which reaches its whole process group, must not cut a change or its undoing in two.
                    start_new_session=bool(self.mark),
                )
                # One that came before the child had its own session has ended it before it became kubectl.
                if not self.mark or -done.returncode not in NUMBERS:
                    return done
        except FileNotFoundError as error:
            raise PlatformError(
                f"there is no {self.binary} on this machine", remedy="install kubectl and put it on the PATH"
            ) from error
        except OSError as error:
            raise PlatformError(f"{_named(arguments)} does not start: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise PlatformError(
                f"{_named(arguments)} gave no answer within {seconds:g} s",
                remedy="see whether the API server of this context answers: kubectl get --raw /readyz",
            ) from error

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        """One object as JSON, or None when it is not there."""
        found = self.run("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        return dict(json.loads(found)) if found.strip() else None

    def objects(self, kind: str, *, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The objects of ``kind`` in ``namespace`` (cluster-wide kinds and all namespaces: empty) as JSON."""
        where = _in(namespace) or ["--all-namespaces"]
        chosen = ["-l", selector] if selector else []
        return list(json.loads(self.run("get", kind, *where, *chosen, "-o", "json"))["items"])

    def raw(self, path: str, *, seconds: float = CALL) -> str:
        """GET ``path`` of the API server, such as ``/readyz`` or a service's proxy."""
        return self.run("get", "--raw", path, seconds=seconds)

    def apply(
        self,
        *documents: Json,
        namespace: str = "",
        dry_run: bool = False,
        force: bool = False,
        seconds: float = CALL,
    ) -> list[dict[str, Any]]:
        """Apply on the server's side, as field manager ``trivet``, unknown fields refused; returns the objects as stored.

        ``force`` takes fields over from other managers. With ``dry_run`` the server admits and stores nothing.
        """
        # A list with one item is printed as a list too, whatever kubectl would do for a single document.
        bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        said = self.run(
            "apply",
            "--server-side",
            "--validate=strict",
            f"--field-manager={FIELD_MANAGER}",
            *(["--force-conflicts"] if force else []),
            *(["--dry-run=server"] if dry_run else []),
            *_in(namespace),
            *("-o", "json", "-f", "-"),
            stdin=bundle,
            seconds=seconds,
        )
        return [item for document in json_documents(said) for item in _items(document)]

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
        """Delete one object if it is there; with ``wait`` return once it is gone."""
        self.run(
            *("delete", kind, name, "--ignore-not-found", f"--wait={'true' if wait else 'false'}"),
            *_in(namespace),
            *([f"--grace-period={grace}"] if grace is not None else []),
            seconds=seconds,
        )

    def logs(self, pod: str, *, namespace: str, container: str, previous: bool = False, tail: int = -1) -> str:
        """A container's log; empty when there is none (yet)."""
        try:
            return self.run(
                *("logs", pod, *_in(namespace), "-c", container, f"--tail={tail}"),
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
        """Standard output of ``command`` in a container of ``pod``. Raises KubectlError when it fails."""
        return self.run_bytes(
            *self.exec_arguments(pod, command, namespace=namespace, container=container, interactive=stdin is not None),
            stdin=stdin,
            seconds=seconds,
        )

    @staticmethod
    def exec_arguments(
        pod: str, command: Sequence[str], *, namespace: str, container: str = "", interactive: bool = True
    ) -> list[str]:
        """The arguments of ``kubectl exec``, for who starts it himself."""
        chosen = ["-c", container] if container else []
        return ["exec", *(["-i"] if interactive else []), pod, *_in(namespace), *chosen, "--", *command]

    def wait_for(
        self,
        what: str,
        look: Callable[[], T | None],
        *,
        timeout: float,
        status: Callable[[], str] = lambda: "",
        poll: float = POLL,
        stop: Event | None = None,
    ) -> T:
        """The first answer of ``look`` that is not None (``trivet.toolkit.waiting.eventually``).

        A KubectlError of ``look`` counts as "not yet": a webhook that is not up, a connection refused. On timeout raises PlatformError with
        ``status()``, the state and recent output.
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
    raise PlatformError(f"there is no {binary} on this machine", remedy="install kubectl and put it on the PATH")


def contexts(kubeconfig: Path | None = None, binary: str = "kubectl") -> list[str]:
    """The names of the contexts in a kubeconfig (None: where kubectl itself looks); none when there is no kubeconfig."""
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
        raise PlatformError(f"{binary} does not tell the contexts: {error}") from error
    return done.stdout.split() if done.returncode == 0 else []


def _named(arguments: Sequence[str]) -> str:
    return "kubectl " + " ".join(arguments[:6])


def _in(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


def _items(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["items"]) if document.get("kind") == "List" else [document]


def json_documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents that follow each other in ``text``."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (start := text.find("{", position)) >= 0:
        document, position = decoder.raw_decode(text, start)
        found.append(document)
    return found
