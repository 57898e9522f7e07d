"""Evidence of a cluster: no credentials anywhere, and conditions once per change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trivet.model.redaction import redact
from trivet.targets.cluster.evidence import EvidenceCollector, dump
from trivet.targets.cluster.namespaces import Namespaces
from trivet.targets.cluster.reader import ApiError, ApiReader

PLANTED = "wJalrXUtnFEMI-K7MDENG"


class Away(ApiReader):
    """An API server that does not respond."""

    def __init__(self) -> None:
        pass

    def objects(self, kind: str, *, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        raise ApiError("no answer", 0)


@pytest.fixture
def evidence(tmp_path: Path) -> EvidenceCollector:
    return EvidenceCollector(
        tmp_path,
        Away(),
        Namespaces(id="abc", pipelines="p", serving="s"),
        literals=(PLANTED,),
        knative=True,
    )


def texts(evidence: EvidenceCollector) -> dict[str, str]:
    return {name: path.read_text() for name, path in evidence.documents().items()}


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "planted"}]}]},
        {"containers": [{"env": [{"name": "MLFLOW_TRACKING_PASSWORD", "value": "planted"}]}]},
        {"token": "planted"},
        {"url": "postgresql://mlflow:planted@database:5432/mlflow"},
        {"args": ["--password=planted"]},
        {"annotations": {"note": "Authorization: Bearer planted"}},
        {"storageUri": "https://a.blob.core.windows.net/m/d?sv=2022-11-02&sp=r&sig=planted%2Fx%3D"},
        {"storageUri": "https://b.s3.amazonaws.com/m?X-Amz-Date=1&X-Amz-Signature=planted"},
        {"storageUri": "https://b.s3.amazonaws.com/m?X-Amz-Security-Token=planted&X-Amz-Expires=60"},
        {"storageUri": "https://storage.googleapis.com/m?X-Goog-Credential=planted"},
        {"storageUri": "https://h/m.tar?access_token=planted"},
        {"storageUri": "https://ghp_planted0123456789@github.com/o/r/"},
        {"storageUri": "https://ghp_planted0123456789:x-oauth-basic@github.com/o/r/"},
        {"storageUri": "https://planted0123456789abcdef@example.com/m.tar"},
        {"storageUri": "https://:planted@example.com/m.tar"},
    ],
)
def test_a_credential_in_a_manifest_does_not_come_into_the_report(spec: dict[str, Any]) -> None:
    shown = redact(dump({"kind": "Pod", "spec": spec}))
    assert "planted" not in shown
    assert "[redacted]" in shown


def test_without_redaction_the_credential_would_be_there() -> None:
    assert "planted" in str({"kind": "Pod", "spec": {"env": [{"name": "TOKEN", "value": "planted"}]}})
    harmless = {"env": [{"name": "MLSERVER_MODEL_NAME", "value": "planted"}]}
    assert "planted" in redact(dump(harmless)), "what is no credential stays readable"


def test_a_token_at_the_very_start_is_redacted() -> None:
    assert redact("http://planted0123456789abcdef@h/") == "http://[redacted]@h/"


@pytest.mark.parametrize(
    "uri",
    [
        "https://h/m?design=round&version=2&significant=1",
        "abfss://models-of-production-2024@account.dfs.core.windows.net/m",
        "https://user@example.com/m",
        "s3://models/iris/",
    ],
)
def test_a_uri_without_a_credential_stays_readable(uri: str) -> None:
    assert redact(f"{uri!r} names no path") == f"{uri!r} names no path"


def test_secrets_of_the_session_are_in_no_file(evidence: EvidenceCollector) -> None:
    evidence.record_applied({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"note": f"it is {PLANTED}!"}})
    (text,) = texts(evidence).values()
    assert PLANTED not in text
    assert "it is [redacted]!" in text


def test_every_applied_manifest_is_a_separate_file(evidence: EvidenceCollector) -> None:
    for replicas in (1, 2):
        evidence.record_applied({"kind": "InferenceService", "metadata": {"name": "m"}, "spec": {"replicas": replicas}})
    assert list(texts(evidence)) == [
        "cluster/applied/InferenceService-m.1.yaml",
        "cluster/applied/InferenceService-m.2.yaml",
    ]


def test_conditions_are_recorded_once_per_change(evidence: EvidenceCollector) -> None:
    def service(status: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": status}]
        return {"kind": "InferenceService", "metadata": {"name": "m"}, "status": {"conditions": conditions}}

    for status in ("Unknown", "Unknown", "True"):
        evidence.record_conditions(service(status))
    (text,) = texts(evidence).values()
    assert text.count("Ready Unknown") == 1
    assert text.index("Ready Unknown") < text.index("Ready True")


def test_evidence_is_kept_when_the_api_server_does_not_respond(evidence: EvidenceCollector) -> None:
    evidence.record_applied({"kind": "Pod", "metadata": {"name": "x"}})
    evidence.collect()
    assert list(texts(evidence)) == ["cluster/applied/Pod-x.1.yaml"]
