"""The verdict on each InferenceService of a cluster: its manifest as lint judges it, and its model where this machine can read it."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.pickles import pickled
from contract_examples.test_static_environment import SOUND as MODEL
from contract_examples.test_static_environment import model
from contract_examples.test_static_manifests import SOUND, changed

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.fleet_services import ModelPlaces, judge_services
from trivet.engine.registry import Registry
from trivet.engine.run import Recorder, summary_of
from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.model.fleet import FleetReport, JudgedService, ModelVerdict
from trivet.model.settings import Existing
from trivet.model.waiver import Waiver
from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
from trivet.render.fleet import FleetText, sentence
from trivet.stacks.read import load_stack
from trivet.targets.existing.rbac import manifest_for

FAKE = Path(__file__).parents[1] / "fakes" / "kubectl.py"
STACK = load_stack("2024.11")
CONFIG = {"deploy": '{"defaultDeploymentMode": "Serverless"}', "ingress": '{"ingressDomain": "models.example"}'}
BREAKING = model(pickled("_loss:CyHalfBinomialLoss", sklearn="1.5.2"), **{"1.4.1.post1": "1.5.2"})

LOADER = "loader_module: mlflow.sklearn"
SIGNED = """\
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""

pytestmark = pytest.mark.processes

Store = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A function that puts an object on the cluster that :func:`kubectl` talks to."""
    monkeypatch.setenv("FAKE_CLUSTER", str(tmp_path / "cluster"))

    def put(kind: str, document: Mapping[str, Any]) -> None:
        file = tmp_path / "cluster" / kind / f"{document['metadata']['name']}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))

    put("configmap", {"kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}, "data": CONFIG})
    return put


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    return Kubectl(context="prod", binary=str(program))


def service(text: str, uri: str, name: str = "house") -> dict[str, Any]:
    """The manifest ``text`` as the API server has it: with a namespace, a status, and what it writes itself."""
    document: dict[str, Any] = yaml.safe_load(
        text.replace("recommendation-classifier", name).replace("s3://models/1/0123/artifacts/model/", uri)
    )
    document["metadata"] |= {
        "namespace": "team",
        "uid": "1",
        "resourceVersion": "7",
        "managedFields": [{"manager": "x"}],
    }
    return {**document, "status": {"conditions": [{"type": "Ready", "status": "True"}], "url": 1}}


def saved(directory: Path, files: Mapping[str, str | bytes]) -> str:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    mlmodel = (directory / "MLmodel").read_text()
    (directory / "MLmodel").write_text(mlmodel.replace(LOADER, f"{LOADER}\n    model_path: model.pkl") + SIGNED)
    return directory.as_uri()


def judged(kubectl: Kubectl, waivers: Waivers = NO_WAIVERS) -> list[JudgedService]:
    # A path of this machine is none of the storage initializer's, as those contracts say.
    contracts = [one for one in Registry().contracts.values() if not one.id.startswith("paths.")]
    places = ModelPlaces(server="", max_bytes=2**20)
    return judge_services(kubectl, contracts, STACK, places=places, waivers=waivers)


def report(*services: JudgedService) -> FleetReport:
    return FleetReport(
        server="",
        context="prod",
        stack=summary_of(STACK),
        models=(),
        services=services,
        provenance=Recorder(lambda event: None).provenance("trivet fleet"),
    )


def test_a_service_whose_manifest_and_model_fit_is_fine(store: Store, kubectl: Kubectl, tmp_path: Path) -> None:
    store("inferenceservices.serving.kserve.io", service(SOUND, saved(tmp_path / "model", MODEL)))
    (one,) = judged(kubectl)
    assert [reason.message for reason in one.reasons] == []
    assert (one.verdict, one.manifest, one.model) == (ModelVerdict.FINE,) * 3
    assert (one.uri, one.flavors) == ("InferenceService/team/house", ("python_function", "sklearn"))
    assert report(one).exit_code == 0
    assert sentence(report(one)) == "nothing is seen that 2024.11 breaks in 1 services"


def test_a_manifest_that_lint_fails_breaks_the_service_whatever_its_model_is(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    wrong = changed("minReplicas: 2", "minReplicas: -1")
    store("inferenceservices.serving.kserve.io", service(wrong, saved(tmp_path / "model", MODEL)))
    (one,) = judged(kubectl)
    assert (one.verdict, one.manifest, one.model) == (ModelVerdict.BREAKS, ModelVerdict.BREAKS, ModelVerdict.FINE)
    assert {reason.place for reason in one.reasons} == {"manifest"}
    assert "InferenceService/team/house, manifest: breaks: " in FleetText().lines(one)


def test_a_model_that_the_stack_breaks_breaks_its_service(store: Store, kubectl: Kubectl, tmp_path: Path) -> None:
    store("inferenceservices.serving.kserve.io", service(SOUND, saved(tmp_path / "model", BREAKING)))
    (one,) = judged(kubectl)
    assert (one.verdict, one.manifest, one.model) == (ModelVerdict.BREAKS, ModelVerdict.FINE, ModelVerdict.BREAKS)
    assert "_loss.CyHalfBinomialLoss" in one.reasons[0].message
    assert report(one).exit_code == 1


@pytest.mark.parametrize(
    ("text", "uri", "words"),
    [
        (SOUND, "gs://models/1/", "gs:// is not read from this machine"),
        (SOUND, "file:///nowhere/model", "file:///nowhere/model is no directory of this machine"),
        (SOUND, "models:/house/1", "no tracking server is named"),
        (changed("name: mlflow", "name: sklearn"), "s3://models/1/", "its format is sklearn"),
    ],
)
def test_a_model_that_cannot_be_read_leaves_its_service_unknown_with_the_reason(
    store: Store, kubectl: Kubectl, text: str, uri: str, words: str
) -> None:
    store("inferenceservices.serving.kserve.io", service(text, uri))
    (one,) = judged(kubectl)
    assert one.model is ModelVerdict.UNKNOWN
    assert words in " ".join(reason.message for reason in one.reasons)
    assert one.model_uri == ""


def test_services_are_sorted_and_a_waiver_names_one_by_its_namespace(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    uri = saved(tmp_path / "model", BREAKING)
    for name in ("second", "first"):
        store("inferenceservices.serving.kserve.io", service(SOUND, uri, name))
    waiver = Waiver(
        contract="environment.*",
        reason="retrained",
        expires=date(2027, 1, 1),
        object="InferenceService/team/first",
    )
    accepting = Waivers({"old": waiver}, Path(), day=date(2026, 11, 30))
    first, second = judged(kubectl, accepting)
    assert (first.name, first.verdict, second.name) == ("first", ModelVerdict.BREAKS, "second")
    assert first.blocks is not ModelVerdict.BREAKS
    assert second.blocks is ModelVerdict.BREAKS
    made = report(first, second)
    assert sentence(made) == "2024.11 breaks 1 of 2 services; 1 accepted"
    assert fleet_json.read(fleet_json.write(made)) == made
    assert fleet_github.write(made).count("::error") == 2  # the service, and the verdict
    assert ET.fromstring(fleet_junit.write(made)).get("failures") == "1"
    assert "InferenceService/team/second" in fleet_markdown.write(made)
    assert uri in fleet_html.write(made)


def test_a_cluster_without_services_is_no_error_and_not_green(store: Store, kubectl: Kubectl) -> None:
    assert judged(kubectl) == []
    assert report().exit_code == 2


def test_a_cluster_whose_configuration_cannot_be_read_is_an_error(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    store("inferenceservices.serving.kserve.io", service(SOUND, "s3://models/1/"))
    (tmp_path / "cluster" / "configmap" / "inferenceservice-config.json").unlink()
    with pytest.raises(PlatformError, match="has no ConfigMap inferenceservice-config"):
        judged(kubectl)


def test_the_permissions_of_a_fleet_only_read() -> None:
    settings = replace(Existing(), context="prod", pipeline_namespace="pipelines", serving_namespace="serving")
    granted = yaml.safe_load_all(manifest_for(settings, fleet=True))
    rules = [rule for document in granted for rule in document.get("rules", ())]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
    assert {resource for rule in rules for resource in rule["resources"]} == {
        "inferenceservices",
        "clusterservingruntimes",
        "servingruntimes",
        "configmaps",
    }
