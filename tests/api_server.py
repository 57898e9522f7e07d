"""A real API server with KServe's own CustomResourceDefinitions, as two processes on this machine: kube-apiserver and etcd, without nodes
and controllers. Both are built from the platform's Go modules, at the platform's versions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from trivet.host.processes import free_ports
from trivet.model.stack import Stack
from trivet.provision.images.build import build_program
from trivet.provision.images.recipes import GoLayer
from trivet.stacks.api_generator import CRDS, KSERVE
from trivet.stacks.go_modules import download_module, find_go
from trivet.stacks.platform import load_platform

PROGRAMS = {
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
}
TOKEN = "a-token-of-the-tests"
STARTUP = 60.0
_BEARER = {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def api_server(stack: Stack, folder: Path) -> Iterator[Path]:
    """A kubeconfig of a new API server of ``stack``'s platform, with the resources of KServe and of Knative's revisions."""
    programs = {name: _built(name, stack) for name in PROGRAMS}
    data, peer, secure = free_ports(3)
    etcd = [
        *(str(programs["etcd"]), "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync"),
        *("--listen-client-urls", f"http://127.0.0.1:{data}", "--advertise-client-urls", f"http://127.0.0.1:{data}"),
        *(
            "--listen-peer-urls",
            f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls",
            f"http://127.0.0.1:{peer}",
        ),
        *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
    ]
    subprocess.run(["openssl", "genrsa", "-out", folder / "key.pem", "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\nreader,reader,2\n')
    server = [
        *(str(programs["kube-apiserver"]), f"--etcd-servers=http://127.0.0.1:{data}", f"--secure-port={secure}"),
        *(
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
        ),
        *(
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
        ),
        *("--service-account-issuer=https://kubernetes", f"--service-account-signing-key-file={folder / 'key.pem'}"),
        *(f"--service-account-key-file={folder / 'key.pem'}", "--endpoint-reconciler-type=none"),
    ]
    with _running(etcd, folder / "etcd.log"), _running(server, folder / "kube-apiserver.log"):
        url = f"https://127.0.0.1:{secure}"
        _wait_for(url, folder / "kube-apiserver.log")
        for definition in _definitions(stack):
            _create(url, definition)
        _wait_for_resources(url)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url)))
        yield kubeconfig


def _built(name: str, stack: Stack) -> Path:
    wrapper, package = PROGRAMS[name]
    find_go()
    table = load_platform(stack).table["go"][wrapper]
    return build_program(
        GoLayer(
            name=wrapper,
            folder=Path(table["folder"]),
            programs={package: f"/usr/local/bin/{name}"},
            ldflags=table.get("ldflags", ""),
        )
    )


def _definitions(stack: Stack) -> Iterator[dict[str, Any]]:
    """KServe's CustomResourceDefinition of InferenceServices, without the conversion of a webhook, and a plain one of Revisions."""
    folder = download_module(KSERVE, f"v{stack.components['kserve']}") / CRDS
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load((folder / "serving.kserve.io_inferenceservices.yaml").read_bytes(), Loader=loader)
    definition["spec"].pop("conversion", None)
    definition.pop("status", None)
    yield definition
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "revisions", "singular": "revision", "kind": "Revision"}
    yield {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "revisions.serving.knative.dev"},
        "spec": {"group": "serving.knative.dev", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _create(url: str, definition: dict[str, Any]) -> None:
    path = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = requests.post(f"{url}/{path}", json=definition, verify=False, headers=_BEARER, timeout=30)
    assert answer.ok, answer.text


def _wait_for_resources(url: str) -> None:
    paths = ("serving.kserve.io/v1beta1/inferenceservices", "serving.knative.dev/v1/revisions")
    _until(
        lambda: all(requests.get(f"{url}/apis/{path}", verify=False, headers=_BEARER, timeout=5).ok for path in paths),
        "the API server does not serve KServe's resources",
    )


def _wait_for(url: str, log: Path) -> None:
    def ready() -> bool:
        try:
            return requests.get(f"{url}/readyz", verify=False, headers=_BEARER, timeout=5).ok
        except requests.ConnectionError:
            return False

    _until(ready, lambda: f"the API server is not ready: {log.read_text()[-3000:]}")


def _until(holds: Callable[[], bool], message: str | Callable[[], str]) -> None:
    end = time.monotonic() + STARTUP
    while not holds():
        assert time.monotonic() < end, message if isinstance(message, str) else message()
        time.sleep(0.3)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = psutil.Popen(command, stdout=file, stderr=file)
        try:
            yield
        finally:
            process.terminate()
            if psutil.wait_procs([process], timeout=15)[1]:
                process.kill()


def _kubeconfig(url: str) -> dict[str, Any]:
    cluster = {"server": url, "insecure-skip-tls-verify": True}
    context = {"cluster": "tests", "user": "admin"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}, {"name": "reader", "user": {"token": "reader"}}],
        "contexts": [
            {"name": "admin", "context": context},
            {"name": "reader", "context": {**context, "user": "reader"}},
        ],
        "current-context": "admin",
    }
