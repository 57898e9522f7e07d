"""The verdict on each InferenceService of a cluster: its manifest as lint judges it, and its model where this machine can read it."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.pickles import pickled
from contract_examples.test_static_environment import SOUND as MODEL
from contract_examples.test_static_environment import model
from contract_examples.test_static_manifests import SOUND, changed
from fakes.kubectl_program import kubectl_program

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.fleet_services import ModelPlaces, judge_services, list_services
from trivet.engine.registry import Registry
from trivet.engine.run import Recorder, summary_of
from trivet.errors import PlatformError, UsageError
from trivet.host.kubectl import Kubectl
from trivet.model.fleet import FleetReport, JudgedService, Measured, Measurement, ModelVerdict
from trivet.model.settings import Existing
from trivet.model.waiver import Waiver
from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
from trivet.render.fleet import FleetText, sentence
from trivet.stacks.read import load_stack
from trivet.targets.existing.rbac import manifest_for

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
    return Kubectl(context="prod", binary=kubectl_program(tmp_path))


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


def judged(kubectl: Kubectl, waivers: Waivers = NO_WAIVERS, patterns: Sequence[str] = ("*",)) -> list[JudgedService]:
    # A path of this machine is none of the storage initializer's, as those contracts say.
    contracts = [
        one
        for one in Registry().contracts.values()
        if not one.id.startswith("paths.") and any(fnmatchcase(one.id, pattern) for pattern in patterns)
    ]
    places = ModelPlaces(server="", max_bytes=2**20)
    return judge_services(list_services(kubectl), contracts, STACK, places=places, waivers=waivers)


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
    assert sentence(report(one)) == "nothing is seen that 2024.11 breaks in 1 service"


def test_a_manifest_that_lint_fails_breaks_the_service_whatever_its_model_is(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    wrong = changed("minReplicas: 2", "minReplicas: -1")
    store("inferenceservices.serving.kserve.io", service(wrong, saved(tmp_path / "model", MODEL)))
    (one,) = judged(kubectl)
    assert (one.verdict, one.manifest, one.model) == (ModelVerdict.BREAKS, ModelVerdict.BREAKS, ModelVerdict.FINE)
    assert {reason.place for reason in one.reasons} == {"manifest spec.predictor.minReplicas"}
    assert "InferenceService/team/house, manifest spec.predictor.minReplicas: breaks: " in FleetText().lines(one)


def test_the_place_of_a_reason_is_the_field_in_the_notation_of_kubernetes(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    document = service(SOUND, saved(tmp_path / "model", MODEL))
    document["metadata"]["labels"] = {"trivet.dev/x": "_a"}
    document["spec"]["predictor"]["model"]["env"] = [{"name": "A", "value": "1"}, {"name": "B", "vaule": "2"}]
    store("inferenceservices.serving.kserve.io", document)
    (one,) = judged(kubectl)
    assert {reason.place for reason in one.reasons} == {
        "manifest metadata.labels[trivet.dev/x]",
        "manifest spec.predictor.model.env[1].vaule",
    }


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
        (SOUND, f"file:///{'x' * 300}/model", "is no directory of this machine"),
        (SOUND, "file://[x/model", "'file://[x/model' is no absolute path"),
        (SOUND, ".", "'.' is no absolute path"),
        (SOUND, "--network", "'--network' is no absolute path"),
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
    assert not one.servable


def test_what_serving_shows_settles_the_model_and_not_a_manifest_that_could_not_be_judged(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    """A readiness probe that runs a command may ask anything."""
    text = changed(
        "httpGet: {path: /v2/models/recommendation-classifier/ready, port: 8080}", "exec: {command: [ready]}"
    )
    store("inferenceservices.serving.kserve.io", service(text, saved(tmp_path / "model", MODEL)))
    (one,) = judged(kubectl)
    assert (one.manifest, one.model) == (ModelVerdict.UNKNOWN, ModelVerdict.FINE)
    works = replace(one, measured=Measurement(outcome=Measured.WORKS))
    assert works.blocks is ModelVerdict.UNKNOWN
    assert report(works).exit_code == 2
    assert replace(one, measured=Measurement(outcome=Measured.BREAKS)).blocks is ModelVerdict.BREAKS
    of_model = replace(works, manifest=ModelVerdict.FINE, model=ModelVerdict.UNKNOWN)
    assert of_model.blocks is ModelVerdict.FINE


def test_what_a_waiver_accepts_of_a_manifest_stays_accepted_beside_what_was_measured(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    wrong = changed("minReplicas: 2", "minReplicas: -1")
    store("inferenceservices.serving.kserve.io", service(wrong, saved(tmp_path / "model", MODEL)))
    waiver = Waiver(contract="validation.*", reason="scaled by hand", expires=date(2027, 1, 1))
    (one,) = judged(kubectl, Waivers({"scale": waiver}, Path(), day=date(2026, 11, 30)))
    assert (one.manifest, one.manifest_not_accepted, one.model_not_accepted) == (
        ModelVerdict.BREAKS,
        ModelVerdict.FINE,
        None,
    )
    assert replace(one, measured=Measurement(outcome=Measured.WORKS)).blocks is ModelVerdict.FINE
    assert replace(one, measured=Measurement(outcome=Measured.BREAKS)).blocks is ModelVerdict.BREAKS


@pytest.mark.parametrize(
    "comment", ["x # trivet: ignore[*]", "x # trivet: ignore[validation.kserve_admits_the_service] why"]
)
def test_a_string_of_an_object_is_no_comment_that_ignores_findings(
    store: Store, kubectl: Kubectl, tmp_path: Path, comment: str
) -> None:
    uri = saved(tmp_path / "model", MODEL)
    for name, text in (("sound", SOUND), ("wrong", changed("minReplicas: 2", "minReplicas: -1"))):
        document = service(text, uri, name)
        document["metadata"]["annotations"] = {**document["metadata"].get("annotations", {}), "note": comment}
        store("inferenceservices.serving.kserve.io", document)
    sound, wrong = judged(kubectl)
    assert (sound.manifest, sound.advice, sound.reasons) == (ModelVerdict.FINE, (), ())
    assert wrong.manifest is ModelVerdict.BREAKS
    assert "validation.kserve_admits_the_service" in {reason.contract for reason in wrong.reasons}
    assert "lint.ignore_comments_are_used" not in wrong.advice


def test_a_service_that_lint_cannot_read_is_unknown_and_the_others_are_judged(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    uri = saved(tmp_path / "model", MODEL)
    broken = service(SOUND, uri, "broken")
    broken["metadata"]["annotations"] = {"note": "\ud800"}
    store("inferenceservices.serving.kserve.io", broken)
    store("inferenceservices.serving.kserve.io", service(SOUND, uri, "sound"))
    first, second = judged(kubectl)
    assert (first.name, first.manifest, first.model) == ("broken", ModelVerdict.UNKNOWN, ModelVerdict.FINE)
    assert first.reasons[0].place == "manifest"
    assert (second.name, second.verdict) == ("sound", ModelVerdict.FINE)


def test_a_storage_uri_that_is_no_text_leaves_its_model_unknown(store: Store, kubectl: Kubectl) -> None:
    document = service(SOUND, "")
    document["spec"]["predictor"]["model"]["storageUri"] = "models:/\ud800/1"
    store("inferenceservices.serving.kserve.io", document)
    places = ModelPlaces(server="http://127.0.0.1:9", max_bytes=2**20)
    contracts = list(Registry().contracts.values())
    (one,) = judge_services(list_services(kubectl), contracts, STACK, places=places)
    assert one.model is ModelVerdict.UNKNOWN
    assert "is no Unicode text" in one.reasons[-1].message
    assert fleet_json.read(fleet_json.write(report(one))).services[0].model is ModelVerdict.UNKNOWN


def test_no_report_has_a_credential_of_a_storage_uri(store: Store, kubectl: Kubectl) -> None:
    uri = "https://user:hunter2@models.example/churn?sig=hunter2"
    store("inferenceservices.serving.kserve.io", service(SOUND, uri))
    made = report(*judged(kubectl))
    assert made.services[0].storage_uri == "https://user:[redacted]@models.example/churn?sig=[redacted]"
    for writer in (fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown):
        assert "hunter2" not in writer.write(made)
    assert "hunter2" not in FleetText().lines(made.services[0])


def test_what_is_served_is_named_without_redaction(store: Store, kubectl: Kubectl, tmp_path: Path) -> None:
    saved(tmp_path / "token=v1", MODEL)
    store("inferenceservices.serving.kserve.io", service(SOUND, f"file://{tmp_path}/token=v1"))
    cluster = list_services(kubectl)
    (one,) = judged(kubectl)
    assert one.servable
    assert "[redacted]" in one.storage_uri
    assert cluster.models == {"InferenceService/team/house": str(tmp_path / "token=v1")}


def test_a_path_is_not_decoded_as_the_storage_initializer_decodes_none(
    store: Store, kubectl: Kubectl, tmp_path: Path
) -> None:
    saved(tmp_path / "a b", MODEL)
    store("inferenceservices.serving.kserve.io", service(SOUND, f"file://{tmp_path}/a%20b", "encoded"))
    store("inferenceservices.serving.kserve.io", service(SOUND, f"file://{tmp_path}/a b", "plain"))
    encoded, plain = judged(kubectl)
    assert (encoded.model, plain.model) == (ModelVerdict.UNKNOWN, ModelVerdict.FINE)


@pytest.mark.parametrize(
    ("patterns", "manifest", "model", "words"),
    [
        (["environment.*"], None, ModelVerdict.BREAKS, "(their models alone)"),
        (["environment.*", "pipelines.*"], None, ModelVerdict.BREAKS, "(their models alone)"),
        (["manifests.*"], ModelVerdict.FINE, None, "(their manifests alone)"),
        (["manifests.*", "environment.*"], ModelVerdict.FINE, ModelVerdict.BREAKS, ""),
        (["manifests.resources_are_set"], ModelVerdict.UNKNOWN, None, "(their manifests alone)"),
    ],
)
def test_a_part_that_no_chosen_contract_judges_has_no_verdict(
    store: Store,
    kubectl: Kubectl,
    tmp_path: Path,
    patterns: list[str],
    manifest: ModelVerdict | None,
    model: ModelVerdict | None,
    words: str,
) -> None:
    store("inferenceservices.serving.kserve.io", service(SOUND, saved(tmp_path / "model", BREAKING)))
    (one,) = judged(kubectl, patterns=patterns)
    assert (one.manifest, one.model) == (manifest, model)
    assert one.verdict is one.blocks is (model or manifest)
    assert one.servable is (model is not None)
    made = report(one)
    assert words in FleetText().summary(made)
    assert ("alone)" in FleetText().summary(made)) is bool(words)
    assert fleet_json.read(fleet_json.write(made)) == made


def test_contracts_that_judge_neither_part_are_wrong_usage(store: Store, kubectl: Kubectl) -> None:
    with pytest.raises(UsageError, match="none of the chosen contracts judges a manifest or a model directory"):
        judged(kubectl, patterns=["pipelines.*"])


def test_a_namespace_counts_once_and_one_without_services_is_wrong_usage(store: Store, kubectl: Kubectl) -> None:
    document = service(SOUND, "s3://models/1/")
    store("team/inferenceservices.serving.kserve.io", document)
    store("inferenceservices.serving.kserve.io", document)
    assert len(list_services(kubectl, ["team", "team"]).documents) == 1
    with pytest.raises(UsageError, match="'taem'") as raised:
        list_services(kubectl, ["team", "taem"])
    assert "did you mean 'team'?" in raised.value.remedy


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


def rules(settings: Existing) -> list[dict[str, Any]]:
    """The rules of the manifest for a fleet, whose roles are on the whole cluster."""
    documents = list(yaml.safe_load_all(manifest_for(settings, fleet=True)))
    assert [one["kind"] for one in documents] == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]
    return [rule for one in documents for rule in one.get("rules", ())]


@dataclass(frozen=True, kw_only=True)
class RefusingKubectl(Kubectl):
    """kubectl that refuses what ``granted`` does not allow on the whole cluster, as the API server does."""

    granted: Sequence[Mapping[str, Any]]

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        command, kind, *rest = arguments
        assert command == "get"
        resource, _, group = kind.partition(".")
        resource = {"configmap": "configmaps"}.get(resource, resource)
        name = "" if rest[0].startswith("-") else rest[0]
        fields = [one.partition("metadata.name=")[2] for one in rest if one.startswith("--field-selector=")]
        verb = "get" if name else "list"
        named = name or "".join(fields)
        if any(
            verb in rule["verbs"]
            and resource in rule["resources"]
            and group in rule["apiGroups"]
            and ("resourceNames" not in rule or named in rule["resourceNames"])
            for rule in self.granted
        ):
            return super().attempt(*arguments, stdin=stdin, seconds=seconds)
        words = f"Error from server (Forbidden): {kind} {named} is forbidden"
        return subprocess.CompletedProcess(arguments, 1, b"", words.encode())


@pytest.mark.parametrize("without", ["", "inferenceservice-config", "config-features"])
def test_the_permissions_of_a_fleet_suffice_wherever_kserve_is_and_without_knative(
    store: Store, kubectl: Kubectl, without: str
) -> None:
    """KServe's ConfigMap is in no namespace that is called kserve, and there is no namespace of Knative's."""
    store("inferenceservices.serving.kserve.io", service(SOUND, "s3://models/1/"))
    granted = [one for one in rules(Existing()) if not without or without not in one.get("resourceNames", ())]
    account = RefusingKubectl(context="prod", binary=kubectl.binary, granted=granted)
    if without:
        with pytest.raises(PlatformError, match=f"{without} is forbidden"):
            list_services(account)
    else:
        assert len(list_services(account).documents) == 1


@pytest.mark.parametrize(
    ("settings", "account"),
    [(Existing(), "default"), (Existing(serving_namespace="serving"), "serving")],
)
def test_the_account_of_a_fleet_needs_no_namespace_in_the_settings(settings: Existing, account: str) -> None:
    documents = list(yaml.safe_load_all(manifest_for(settings, fleet=True)))
    assert documents[0]["metadata"]["namespace"] == account
    assert documents[-1]["subjects"][0]["namespace"] == account


def test_the_permissions_of_a_fleet_only_read() -> None:
    settings = replace(Existing(), context="prod", pipeline_namespace="pipelines", serving_namespace="serving")
    granted = rules(settings)
    assert {verb for rule in granted for verb in rule["verbs"]} == {"get", "list"}
    assert all(rule["resourceNames"] for rule in granted if "configmaps" in rule["resources"])
    assert {resource for rule in granted for resource in rule["resources"]} == {
        "inferenceservices",
        "clusterservingruntimes",
        "servingruntimes",
        "configmaps",
    }
