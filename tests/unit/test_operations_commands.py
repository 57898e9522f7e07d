"""`trivet canary judge`, `promote` and `rollback` as commands: exit codes, output, and what is refused before anything is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from commandline import call, refused
from fakes.canary import ScriptedMetrics
from fakes.kserve_controller import KserveController
from fakes.kubernetes_api import StoredObjects
from fakes.prometheus import Asked, Reply, fake_prometheus, success, vector

from trivet.errors import CannotTell
from trivet.integration.deployment import RegistryNames
from trivet.integration.inference_service import build_inference_service
from trivet.integration.prometheus import Prometheus
from trivet.operations import canary_metrics
from trivet.operations.canary_metrics import PrometheusMetrics
from trivet.operations.deploying import deploy
from trivet.render import operation_json

JUDGE = ("canary", "judge", "rec", "-n", "ml", "--prometheus", "http://127.0.0.1:9")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> StoredObjects:
    """What the commands connect to: a service with a canary."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = StoredObjects()
    KserveController(found)
    for version in ("1", "2"):
        document = build_inference_service(
            name="rec",
            namespace="ml",
            storage_uri=f"s3://models/{version}/",
            run_id="r",
            pipeline="p",
            model_name="rec",
            model_version=version,
            exists=True,
        )
        deploy(document, cluster=found, tracking=None, registry=RegistryNames(), timeout=5)
    monkeypatch.setattr("trivet.canary_command.cluster_of", lambda context, kubeconfig: found)
    return found


def scripted(monkeypatch: pytest.MonkeyPatch, errors: int) -> None:
    """A Prometheus whose clock runs an hour ahead with each look, so that the judge never waits."""
    time = 1_800_000_000.0

    def now() -> float:
        nonlocal time
        time += 3600
        return time

    metrics = ScriptedMetrics(now, errors=errors)
    monkeypatch.setattr(canary_metrics, "PrometheusMetrics", lambda **settings: metrics)


@pytest.mark.parametrize(("errors", "code", "decision"), [(0, 0, "PROMOTE"), (30, 1, "ROLL_BACK")])
def test_the_exit_code_of_a_judgement_is_the_decision(
    cluster: StoredObjects, monkeypatch: pytest.MonkeyPatch, errors: int, code: int, decision: str, tmp_path: Path
) -> None:
    scripted(monkeypatch, errors)
    result = call(*JUDGE, "--format", "json", "--output", tmp_path / "report.json")
    report = json.loads(result.out)
    jsonschema.Draft202012Validator(operation_json.schema()).validate(report)
    assert (result.code, report["exitCode"], report["decision"], report["acted"]) == (code, code, decision, True)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    assert "judging rec-predictor-00002 against rec-predictor-00001" in result.err
    assert "no tracking server is named (--mlflow): links, aliases and stages stay as they are" in result.err


def test_after_a_promotion_there_is_no_canary_and_exit_code_0(
    cluster: StoredObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, 0)
    call(*JUDGE)
    result = call(*JUDGE)
    assert (result.code, result.out.partition(":")[0]) == (0, "NO_CANARY")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--source", "istoi"), "unknown source of request metrics 'istoi'\n  remedy: did you mean 'istio'?"),
        (("--limit", "max_latncy=1"), "unknown limit 'max_latncy'\n  remedy: did you mean 'max_latency'?"),
        (("--interval", "-1"), "interval is -1.0"),
        (("--format", "yaml"), "unknown format 'yaml'"),
        (("--prometheus", "prometheus:9090"), "is not the HTTP address of a Prometheus"),
        (("--prometheus-token-file", "/nonexistent"), "is not a file"),
        (("--known", "/nonexistent.json"), "cannot read /nonexistent.json: No such file"),
        (("--revision-url", "http://{revision}"), "there are none\n  remedy: add --known FILE"),
        (("--prometheus-user", "u"), "--prometheus-user u has no password\n  remedy: set TRIVET_PROMETHEUS_PASSWORD"),
    ],
)
def test_wrong_usage_is_refused_before_the_cluster_is_asked(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIVET_PROMETHEUS_PASSWORD", raising=False)
    assert words in refused(*JUDGE, *arguments)


@pytest.mark.parametrize("url", ["http://rec", "{revision}.ml"])
def test_an_address_that_does_not_tell_revisions_apart_is_refused(url: str, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    known.write_text(json.dumps([{"request": {"inputs": [{}]}, "answers": [1]}]), encoding="utf-8")
    assert f"{url!r} is not the address of a revision" in refused(*JUDGE, "--known", known, "--revision-url", url)


def test_a_judge_without_a_prometheus_shows_its_usage() -> None:
    result = call("canary", "judge", "rec")
    assert result.code == 3
    assert "--prometheus" in result.err


def test_a_kubeconfig_that_is_not_there_is_wrong_usage() -> None:
    assert "nowhere" in refused(*JUDGE, "--kubeconfig", "/nowhere/config")


@pytest.mark.parametrize(("command", "traffic"), [("promote", "all"), ("rollback", "no")])
def test_a_change_by_hand_needs_the_newest_revision(cluster: StoredObjects, command: str, traffic: str) -> None:
    wrong = call("canary", command, "rec", "-n", "ml", "--revision", "rec-predictor-00001")
    assert wrong.code == 2
    assert "rec-predictor-00002, not rec-predictor-00001" in wrong.err
    done = call("canary", command, "rec", "-n", "ml", "--revision", "rec-predictor-00002")
    assert (done.code, f"rec-predictor-00002 has {traffic} traffic of rec" in done.out) == (0, True)


# what a judge reads of a Prometheus


def asked_for(**answers: Any) -> Any:
    """Answers by a word in the query."""

    def reply(asked: Asked) -> Reply:
        query = asked.parameters["query"]
        return next((found for word, found in answers.items() if word in query), success([]))

    return reply


def test_the_clock_of_windows_is_that_of_prometheus() -> None:
    with fake_prometheus(asked_for(time=vector("1234.5"))) as server:
        assert PrometheusMetrics(prometheus=Prometheus(server.url), namespace="ml").now() == 1234.5


def test_a_stated_source_is_not_looked_for_and_an_unknown_one_is_not_found() -> None:
    with fake_prometheus(success([])) as server:
        prometheus = Prometheus(server.url)
        stated = PrometheusMetrics(prometheus=prometheus, namespace="ml", source_name="istio")
        assert stated.source(canary="b", stable="a") == "istio"
        assert server.asked == []
        with pytest.raises(CannotTell):
            PrometheusMetrics(prometheus=prometheus, namespace="ml").source(canary="b", stable="a")
