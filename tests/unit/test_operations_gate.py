"""`trivet gate`: exit codes, reports, and what it says when there is nothing to compare. The registry is a stand-in over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from commandline import call, refused
from fakes.http_server import serving

from trivet.render import operation_json

VERSIONS = {"1": ("run1", {"f1": 0.90}), "2": ("run2", {"f1": 0.89}), "3": ("run3", {"f1": 0.70}), "4": ("run4", {})}
ALIASES = {"production": "1", "candidate": "2"}


def version(number: str) -> dict[str, Any]:
    return {"name": "rec", "version": number, "run_id": VERSIONS[number][0] if number in VERSIONS else ""}


def answer(path: str, given: Mapping[str, str]) -> dict[str, Any] | None:
    """What MLflow answers; None for RESOURCE_DOES_NOT_EXIST."""
    known = given.get("name") == "rec"
    if path == "registered-models/alias" and known and given["alias"] in ALIASES:
        return {"model_version": version(ALIASES[given["alias"]])}
    if path == "model-versions/get" and known and given["version"] in (*VERSIONS, "5"):
        return {"model_version": version(given["version"])}
    if path == "registered-models/get" and known:
        aliases = [{"alias": name, "version": number} for name, number in ALIASES.items()]
        return {"registered_model": {"name": "rec", "aliases": aliases, "latest_versions": [version("5")]}}
    if path == "registered-models/search":
        return {"registered_models": [{"name": "rec"}]}
    if path == "model-versions/search":
        return {"model_versions": [version(number) for number in VERSIONS]}
    if path == "runs/get":
        (metrics,) = [metrics for run, metrics in VERSIONS.values() if run == given["run_id"]]
        return {"run": {"data": {"metrics": [{"key": key, "value": value} for key, value in metrics.items()]}}}
    return None


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        found = answer(parts.path.removeprefix("/api/2.0/mlflow/"), given)
        body = json.dumps(found or {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(Registry) as found:
        yield f"http://127.0.0.1:{found.server_port}"


@pytest.mark.parametrize(
    ("model", "code", "decision"),
    [
        ("models:/rec/2", 0, "PASSED: f1 of version 2 of 'rec': 0.89 reaches the minimum 0.8 and is within 0.02"),
        ("models:/rec@candidate", 0, "PASSED: f1 of version 2 of 'rec'"),
        ("models:/rec/3", 1, "FAILED: f1 of version 3 of 'rec': 0.7 is below the minimum 0.8"),
        (
            "models:/rec/4",
            1,
            "FAILED: f1 of version 4 of 'rec': the candidate's metric is missing: it was not measured",
        ),
    ],
)
def test_the_exit_code_is_the_decision(server: str, model: str, code: int, decision: str) -> None:
    result = call("gate", model, "--metric", "f1", "--mlflow", server)
    assert (result.code, result.out.startswith(decision)) == (code, True), result


def test_a_version_that_is_worse_than_production_fails(server: str) -> None:
    result = call("gate", "models:/rec/2", "--metric", "f1", "--mlflow", server, "--tolerance", "0.001")
    assert result.code == 1
    assert "below production (0.9)" in result.out


@pytest.mark.parametrize("model", ["models:/rec/2", "models:/rec/3", "models:/rec/4"])
def test_the_report_is_valid_under_the_published_schema(server: str, model: str, tmp_path: Path) -> None:
    file, word = tmp_path / "deep" / "report.json", tmp_path / "decision"
    result = call(
        *("gate", model, "--metric", "f1", "--mlflow", server, "--format", "json"),
        *("--output", file, "--decision-file", word),
    )
    report = json.loads(result.out)
    jsonschema.Draft202012Validator(operation_json.schema()).validate(report)
    assert report["exitCode"] == result.code
    assert json.loads(file.read_text(encoding="utf-8")) == report
    assert word.read_text(encoding="utf-8") == report["decision"]
    assert report["evidence"]["run_id"] == f"run{model[-1]}"


def test_exit_zero_leaves_the_decision_to_the_reader_and_errors_as_they_are(server: str) -> None:
    assert call("gate", "models:/rec/3", "--metric", "f1", "--mlflow", server, "--exit-zero").code == 0
    assert call("gate", "models:/rec/9", "--metric", "f1", "--mlflow", server, "--exit-zero").code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("models:/rec/9 --metric f1", "there is no models:/rec/9"),
        ("models:/rec/9 --metric f1", "'rec' has @production (version 1), @candidate (version 2); latest: version 5"),
        ("models:/rek/1 --metric f1", "choose one of: rec"),
        ("rec --metric f1", "'rec' does not name a registered version\n  remedy: pass models:/NAME/VERSION"),
        ("models:/rec/5 --metric f1", "has no run"),
        ("models:/rec/2 --metric f1 --minimum nan", "use finite numbers"),
        ("models:/rec/2 --metric f1 --production-alias producton", "has the alias 'producton', but one has"),
        ("models:/rec/2 --metric f1 --format jsn", "unknown format 'jsn'"),
    ],
)
def test_wrong_usage_has_exit_code_3_and_a_remedy(server: str, arguments: str, words: str) -> None:
    assert words in refused("gate", *arguments.split(), "--mlflow", server)


def test_a_version_in_production_without_the_metric_decides_nothing(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALIASES, "production", "4")
    result = call("gate", "models:/rec/2", "--metric", "f1", "--mlflow", server)
    assert result.code == 2
    assert "has no metric 'f1'" in result.err


def test_a_server_that_does_not_answer_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = call("gate", "models:/rec/2", "--metric", "f1", "--mlflow", "http://127.0.0.1:9")
    assert result.code == 2
    assert "connection refused" in result.err


def test_without_a_server_it_says_where_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "pass --mlflow URL, or set MLFLOW_TRACKING_URI" in refused("gate", "models:/rec/2", "--metric", "f1")


def test_a_report_that_cannot_be_written_is_an_error(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = call(
        *("gate", "models:/rec/2", "--metric", "f1", "--mlflow", server, "--output", tmp_path / "file" / "report.json")
    )
    assert result.code == 3
    assert "cannot write --output" in result.err
