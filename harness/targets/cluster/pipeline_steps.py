"""What a platform gives the steps of a pipeline on KFP's backend, written into the compiled pipeline.

A platform of one's own injects the same with an admission webhook, such as Kubeflow's PodDefaults. Variables are set where
``set_env_variable`` of the SDK sets them, and Secrets where kfp-kubernetes sets them, so that they reach the steps of every release of the
backend from 2.0 on (kubeflow/pipelines 2.0.5 backend/src/v2/driver/driver.go, initPodSpecPatch and extendPodSpecPatch).
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trivet.fixtures.pipelines import IMAGE

MOUNT = "/opt/trivet"
"""Where a step has the files of its Secret."""
_CODE = "code.zip"
_REQUESTS = {"cpuLimit": ("cpuRequest", 0.02), "memoryLimit": ("memoryRequest", 0.1)}
_REQUESTS_AS_TEXT = {
    "resourceCpuLimit": ("resourceCpuRequest", "20m"),
    "resourceMemoryLimit": ("resourceMemoryRequest", "100M"),
}
"""Limit → the request beside it, in the spelling of SDKs up to 2.9 (CPUs, GB) and since 2.10: without a request Kubernetes asks a node for
the whole limit."""


@dataclass(frozen=True, kw_only=True)
class StepSecret:
    """A Secret whose files steps find below MOUNT, and whose ``variables`` they have in their environment."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)

    def document(self, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
        """Its manifest."""
        encoded = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": namespace, "labels": dict(labels)},
            "data": encoded,
            "stringData": dict(self.variables),
        }


def step_secret(name: str, *, code: Path, files: Mapping[str, Path], variables: Mapping[str, str]) -> StepSecret:
    """The Secret with the packages below the folder ``code``, as an archive that Python imports from, and ``files`` by name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(path for path in code.rglob("*") if path.is_file()):
            packed.write(file, file.relative_to(code))
    contents = {_CODE: archive.getvalue(), **{name: file.read_bytes() for name, file in files.items()}}
    return StepSecret(name=name, files=contents, variables=variables)


def prepared(
    compiled: str,
    image: str,
    environment: Mapping[str, str],
    *,
    secret: StepSecret | None = None,
    small_requests: bool = False,
) -> str:
    """A compiled pipeline for this platform: ``image`` in place of the placeholder of the example's steps, and variables in every step.

    With ``secret`` the steps also have its files and variables, and import the packages in it. With ``small_requests`` a step with limits
    asks its node for little.
    """
    documents = [document for document in yaml.safe_load_all(compiled) if document]
    variables = {**environment, **({"PYTHONPATH": f"{MOUNT}/{_CODE}"} if secret else {})}
    steps: list[str] = []
    for document in documents:
        for name, executor in (document.get("deploymentSpec") or {}).get("executors", {}).items():
            container = executor.get("container")
            if not container:
                continue
            steps.append(name)
            if container.get("image") == IMAGE:
                container["image"] = image
            kept = [one for one in container.get("env", ()) if one["name"] not in variables]
            if variables:
                container["env"] = [*kept, *({"name": key, "value": value} for key, value in variables.items())]
            if small_requests and (resources := container.get("resources")):
                for limit, (request, amount) in {**_REQUESTS, **_REQUESTS_AS_TEXT}.items():
                    if limit in resources:
                        resources.setdefault(request, amount)
    if secret:
        _mount(documents, steps, secret)
    return yaml.safe_dump_all(documents, sort_keys=False)


def _mount(documents: list[dict[str, Any]], steps: Sequence[str], secret: StepSecret) -> None:
    """Add the Secret to the document with the platform spec, which need not be there."""
    platform = next((document for document in documents if "platforms" in document), None)
    if platform is None:
        platform = {"platforms": {}}
        documents.append(platform)
    of_kubernetes = platform["platforms"].setdefault("kubernetes", {})
    executors = of_kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
    for step in steps:
        executor = executors.setdefault(step, {})
        executor.setdefault("secretAsVolume", []).append({"secretName": secret.name, "mountPath": MOUNT})
        if secret.variables:
            keys = [{"secretKey": name, "envVar": name} for name in secret.variables]
            executor.setdefault("secretAsEnv", []).append({"secretName": secret.name, "keyToEnv": keys})
