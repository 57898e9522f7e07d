"""The two judges of a manifest: a dry run of the API server with its webhooks, and ``trivet lint``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from trivet.engine.lint import lint
from trivet.model.contract import Contract
from trivet.model.outcome import Level, Outcome
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack

RESOURCES: Mapping[str, str] = {
    "InferenceService": "apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices",
    "ServingRuntime": "apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/servingruntimes",
    "ClusterServingRuntime": "apis/serving.kserve.io/v1alpha1/clusterservingruntimes",
    "ClusterStorageContainer": "apis/serving.kserve.io/v1alpha1/clusterstoragecontainers",
    "InferenceGraph": "apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/inferencegraphs",
    "TrainedModel": "apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/trainedmodels",
    "Secret": "api/v1/namespaces/{namespace}/secrets",
    "ServiceAccount": "api/v1/namespaces/{namespace}/serviceaccounts",
    "PersistentVolumeClaim": "api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "ConfigMap": "api/v1/namespaces/{namespace}/configmaps",
    "Service.serving.knative.dev": "apis/serving.knative.dev/v1/namespaces/{namespace}/services",
    "Deployment": "apis/apps/v1/namespaces/{namespace}/deployments",
    "Service": "api/v1/namespaces/{namespace}/services",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
}
"""Kind → where the API server takes its objects."""

TIMEOUT = 60.0
"""Seconds for an answer, in which each webhook has its own 10 (timeoutSeconds)."""
PATIENCE = 120.0
"""Seconds in which a busy cluster's webhooks answer."""
_UNANSWERED = "failed calling webhook"
"""Of the API server's error when a webhook does not answer (apiserver 0.30.14 and 0.34.4 pkg/util/webhook/error.go)."""
NO_ACCOUNT = "error looking up service account"
"""Of the API server's error for a pod whose ServiceAccount does not exist (kubernetes 1.30.14 and 1.34.4
plugin/pkg/admission/serviceaccount/admission.go, Admit), and of Knative's dry run of one that the manifest only names (since 1.20, knative
serving 0.48.1 pkg/webhook/podspec_dryrun.go)."""
_STRICT = re.compile(r"unknown field|duplicate field|already set in map")
"""Warnings that strict validation makes errors; others, such as Knative's of insecure defaults, it leaves."""


@dataclass(frozen=True, kw_only=True)
class ServerVerdict:
    """What the API server says: an error, or ``dropped``, the warnings of fields that it does not have and of keys that stand twice.

    ``fields`` are those that it names, as dotted paths, and ``stored`` is the object as it would be stored.
    """

    error: str = ""
    dropped: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    stored: Mapping[str, Any] | None = None

    @property
    def rejects(self) -> bool:
        """Whether the manifest cannot be created with strict validation, which turns these warnings into errors."""
        return bool(self.error or self.dropped)

    def __str__(self) -> str:
        return self.error or "; ".join(self.dropped) or "admitted"


class ApiServer:
    """The API server at ``url``, such as that of ``kubectl proxy``. Creates nothing: every request is a dry run."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace
        self._session = requests.Session()
        self._session.trust_env = False
        self.requests = 0
        self._kinds: dict[str, frozenset[str]] = {}

    def judge(self, kind: str, manifest: str, *, namespace: str = "") -> ServerVerdict:
        """What becomes of creating ``manifest``, YAML of one object of ``kind``, in ``namespace`` or the judge's.

        Asks with ``fieldValidation=Warn``: unknown and repeated fields come as warnings, all of them and without hiding what is wrong else;
        with ``Strict`` they are errors, with ``Ignore`` they are dropped. The API server reads YAML as kubectl does (sigs.k8s.io/yaml).
        """
        response = self._dry_run(
            RESOURCES[kind].format(namespace=quote(namespace or self._namespace, safe="")), manifest
        )
        if response.ok:
            dropped = tuple(text for text in _warnings(response.headers.get("Warning", "")) if _STRICT.search(text))
            return ServerVerdict(dropped=dropped, fields=tuple(_named_in(" ".join(dropped))), stored=response.json())
        answer = response.json()
        if response.status_code >= 500 and "admission webhook" not in answer["message"]:
            response.raise_for_status()
        causes = [cause["field"] for cause in (answer.get("details") or {}).get("causes", ()) if cause.get("field")]
        return ServerVerdict(error=answer["message"], fields=tuple(causes or _named_in(answer["message"])))

    def _dry_run(self, resource: str, manifest: str) -> requests.Response:
        """The answer to creating ``manifest``, asked for again for PATIENCE while a webhook does not answer the API server in time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.requests += 1
            response = self._session.post(
                f"{self._url}/{resource}",
                params={"dryRun": "All", "fieldValidation": "Warn"},
                headers={"Content-Type": "application/yaml", "Accept": "application/json"},
                data=manifest.encode("utf-8", "surrogatepass"),
                timeout=TIMEOUT,
            )
            unanswered = response.status_code >= 500 and _UNANSWERED in response.text
            if not unanswered or time.monotonic() > deadline:
                return response

    def serves(self, version: str, kind: str) -> bool:
        """Whether the API has ``kind`` in ``version``, an ``apiVersion``, as kubectl asks before it sends a manifest."""
        if version not in self._kinds:
            group = "apis" if "/" in version else "api"
            response = self._session.get(f"{self._url}/{group}/{quote(version)}", timeout=TIMEOUT)
            found = response.json().get("resources", ()) if response.ok and version else ()
            self._kinds[version] = frozenset(one["kind"] for one in found)
        return kind in self._kinds[version]

    def object(self, path: str) -> dict[str, Any]:
        """An object that exists, by its path in the API."""
        response = self._session.get(f"{self._url}/{path}", timeout=TIMEOUT)
        response.raise_for_status()
        return dict(response.json())


def _warnings(header: str) -> list[str]:
    return [text.replace('\\"', '"') for text in re.findall(r'299 - "((?:[^"\\]|\\.)*)"', header)]


def _named_in(message: str) -> list[str]:
    """The fields that a message names, as dotted paths. The path of a Go struct has no indices and no keys of maps."""
    struct = re.findall(r"Go struct field (\w+)\.(\S+) of type", message)
    if struct:
        return [
            f"metadata.{path}" if name == "ObjectMeta" and path[:9] != "metadata." else path for name, path in struct
        ]
    return re.findall(r'(?:unknown|duplicate) field "([^"]+)"', message)


@dataclass(frozen=True, kw_only=True)
class LintVerdict:
    """What lint says: the MUSTs that failed, as (contract, line, message), and files that it cannot read.

    ``broken`` are the contracts whose check raised, in the same form: no verdict, but a fault of lint's.
    """

    failures: tuple[tuple[str, int, str], ...] = ()
    errors: tuple[str, ...] = ()
    broken: tuple[tuple[str, int, str], ...] = ()

    def of(self, contracts: Mapping[str, str]) -> LintVerdict:
        """The same with the failures of ``contracts`` only: id → pattern of their messages."""
        kept = [one for one in self.failures if one[0] in contracts and re.search(contracts[one[0]], one[2])]
        return LintVerdict(failures=tuple(kept), errors=self.errors, broken=self.broken)

    @property
    def rejects(self) -> bool:
        """Whether a MUST failed, or the file is one that lint refuses."""
        return bool(self.failures or self.errors)

    def __str__(self) -> str:
        found = [f"line {line}: {contract}: {message}" for contract, line, message in (*self.broken, *self.failures)]
        return "\n".join([*found, *self.errors]) or "no MUST failed"


DROPPED = "validation.knative_keeps_the_fields"
"""The advice that says what Knative's CustomResourceDefinition drops, as the API server's warnings do."""


class Lint:
    """``trivet lint`` of one manifest at a time, in the file ``file``, which it writes."""

    def __init__(
        self, file: Path, contracts: Sequence[Contract], stack: Stack, platform: PlatformConfig | None = None
    ) -> None:
        self._file = file
        self._contracts = [
            one
            for one in contracts
            if (one.level is Level.MUST or one.id == DROPPED) and one.subject in ("manifest", "resource")
        ]
        self._stack = stack
        self._platform = platform

    def judge(self, manifest: str) -> LintVerdict:
        """What lint says of ``manifest``, YAML of one object."""
        self._file.write_text(manifest, encoding="utf-8", errors="surrogatepass")
        result = lint([self._file], self._contracts, self._stack, self._platform)
        found: dict[Outcome, list[tuple[str, int, str]]] = {Outcome.FAILED: [], Outcome.ERROR: []}
        for contract in result.report.contracts:
            for finding in contract.findings:
                if finding.outcome in found:
                    line = (finding.location and finding.location.line) or 0
                    found[finding.outcome].append((contract.id, line, finding.message))
        errors = [error.message for error in result.errors if not error.message.startswith("nothing to lint")]
        return LintVerdict(
            failures=tuple(found[Outcome.FAILED]), errors=tuple(errors), broken=tuple(found[Outcome.ERROR])
        )
