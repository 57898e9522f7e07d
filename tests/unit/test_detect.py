"""Detecting what runs, on recorded answers of a real cluster (trivet's own, of stack 2024.11-fixed), and what becomes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.static import findings, model_findings
from fakes.recorded_kubectl import RecordedKubectl, recorded

from trivet.engine.detect import LIST_PACKAGES, LivePlatform, Sources, detect
from trivet.engine.detected_stack import write_detected
from trivet.engine.lint import lint
from trivet.engine.registry import Registry
from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.model.settings import Existing
from trivet.model.stack import Stack
from trivet.stacks.api_schemas import load_schemas
from trivet.stacks.read import load_stack
from trivet.targets.cluster.platform_reader import pinned_packages, same_image, version_in
from trivet.targets.existing.rbac import detect_permissions, manifest_for

RECORDING = "kserve-0.14.1"
CONTROLLERS = "get deployment --all-namespaces --field-selector=metadata.name=kserve-controller-manager -o json"
RUNTIMES = "get clusterservingruntimes.serving.kserve.io --all-namespaces -o json"
PODS = "get pods --all-namespaces -o json"
SERVICES = "get services --all-namespaces -o json"
KSERVE_CONFIG = "get configmap inferenceservice-config -n kserve --ignore-not-found -o json"
KSERVE_CONFIG_ELSEWHERE = (
    "get configmap --all-namespaces --field-selector=metadata.name=inferenceservice-config -o json"
)
CONTAINERS = "get clusterstoragecontainers.serving.kserve.io --all-namespaces -o json"
CRDS = "get customresourcedefinitions clusterstoragecontainers.serving.kserve.io inferenceservices.serving.kserve.io -o json"


def answer(command: str) -> Any:
    """What the cluster answered, to be changed."""
    return recorded(RECORDING).answers[command]["stdout"]


def live(changed: Mapping[str, Any] | None = None, **sources: Any) -> LivePlatform:
    """What is detected when some answers are others; None stands for a command that is forbidden."""
    answers = {command: None if stdout is None else {"stdout": stdout} for command, stdout in (changed or {}).items()}
    return detect(recorded(RECORDING, changed=answers), Sources(**sources))


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Stack]:
    def write(changed: Mapping[str, Any] | None = None, **sources: Any) -> Stack:
        return write_detected(live(changed, **sources), tmp_path / "detected")

    return write


def test_each_fact_of_the_recorded_platform_says_where_it_was_read() -> None:
    facts = live().facts
    assert {name: fact.value for name, fact in facts.items() if fact.value} == {
        "kubernetes": "1.30.14",
        "kserve": "0.14.1",
        "knative": "1.15.2",
        "deployment mode": "Serverless",
        "ingress domain": "example.com",
        "autoscaler": "kpa.autoscaling.knative.dev, scales to zero",
        "Knative HPA extension": "1 available",
        "KEDA": "not installed",
        "Knative ingress class": "gateway-api.ingress.networking.knative.dev",
        "gateway controller": "projectcontour.io/gateway-controller",
        "ingress": "Contour 1.29.1",
        "ClusterServingRuntime kserve-mlserver": "docker.io/seldonio/mlserver:1.5.0",
        "serving runtime": "kserve-mlserver",
        "runtime": "1.5.0",
        "storage initializer": "kserve/storage-initializer:v0.14.1",
        "mlflow": "2.17.2",
        "API schemas": "2 kinds of serving.kserve.io",
    }
    assert all(bool(fact.source) == bool(fact.value) != bool(fact.reason) for fact in facts.values())
    assert (
        facts["kserve"].source == "Deployment kserve/kserve-controller-manager, image kserve/kserve-controller:v0.14.1"
    )
    assert facts["mlflow"].source == "GET /version of Service trivet-platform/mlflow, port 5000"


def test_nothing_but_reads_is_asked_for() -> None:
    kubectl = recorded(RECORDING)
    detect(kubectl, Sources())
    assert {command.split()[0] for command in kubectl.asked} == {"get"}


Grant = tuple[str, str, str, str]
"""Namespace (empty: the whole cluster), resource, name (empty: all of them) and verb."""


def covering(command: str) -> set[Grant]:
    """The grants of which each allows a command of kubectl; none for what everybody may read."""
    verb, kind, *rest = command.split()
    namespace = rest[rest.index("-n") + 1] if "-n" in rest else ""
    if kind == "--raw":
        proxied = re.match(r"/api/v1/namespaces/([^/]+)/services/[^/]+/proxy/", rest[0])
        return {(proxied[1], "services/proxy", "", "get")} if proxied else set()
    if verb == "exec":
        return {(namespace, "pods/exec", "", "create")}
    resource = {"deployment": "deployments", "configmap": "configmaps"}.get(kind, kind.partition(".")[0])
    listed = "--ignore-not-found" not in rest and kind != "customresourcedefinitions"
    selected = [one.partition("metadata.name=")[2] for one in rest if one.startswith("--field-selector=metadata.name=")]
    name = "".join(selected) if listed else rest[0]
    names = ("", name) if name else ("",)
    return {(place, resource, one, "list" if listed else "get") for place in {"", namespace} for one in names}


def test_the_printed_permissions_are_those_that_the_commands_need_and_no_others() -> None:
    version = next(one for one in recorded(RECORDING).answers if one.endswith("/proxy/version"))
    services = json.loads(json.dumps(answer(SERVICES)).replace("trivet-platform", "models"))
    changed = {
        SERVICES.replace("--all-namespaces", "-n models"): services,
        version.replace("trivet-platform", "models"): "2.17.2",
        SELECTED: {"items": [predictor("docker.io/seldonio/mlserver:1.5.0")]},
        EXECUTED: json.dumps(IN_THE_POD),
        "get pods -n models -o json": {"items": []},
        KSERVE_CONFIG: "",
        KSERVE_CONFIG_ELSEWHERE: {"items": [answer(KSERVE_CONFIG)]},
    }
    kubectl = recorded(RECORDING, changed={command: {"stdout": stdout} for command, stdout in changed.items()})
    found = detect(kubectl, Sources(namespaces=("models",), exec_in_runtime=True))
    assert found.runtime_packages
    assert found.value("deployment mode")
    granted: set[Grant] = {
        (namespace, permission.resource, name, verb)
        for namespace, permissions in detect_permissions(["models"]).items()
        for permission in permissions
        for verb in permission.verbs
        for name in permission.names or ("",)
    }
    needed = [covers for command in kubectl.asked if (covers := covering(command))]
    assert all(covers & granted for covers in needed)
    assert set().union(*needed) & granted == granted


def test_a_detected_stack_loads_and_has_the_locks_of_what_is_the_same(written: Callable[..., Stack]) -> None:
    stack = written()
    shipped = load_stack("2024.11-fixed")
    assert dict(stack.components) == {
        "mlflow": "2.17.2",
        "kserve": "0.14.1",
        "runtime": "1.5.0",
        "knative": "1.15.2",
        "kubernetes": "1.30.14",
    }
    for role in ("tracking", "initializer", "runtime"):
        assert stack.roles[role].pins == shipped.roles[role].pins
    assert stack.roles["runtime"].image == shipped.roles["runtime"].image
    assert stack.settings["serving"] == shipped.settings["serving"]
    assert stack.runtime_image is not None
    with pytest.raises(CannotTell, match="there is no pod of a pipeline in any namespace"):
        stack.components["kfp"]
    with pytest.raises(CannotTell, match="the environment of the role trainer is unknown"):
        stack.roles["trainer"]
    assert "# Deployment kserve/kserve-controller-manager, image" in (stack.folder / "stack.toml").read_text()


def test_images_that_were_made_of_other_locks_are_no_stack_s(written: Callable[..., Stack]) -> None:
    containers = json.dumps(answer(CONTAINERS)).replace("initializer:v0.14.1", "initializer:v0.14.1-lock-0123456789ab")
    runtimes = json.dumps(answer(RUNTIMES)).replace("mlserver:1.5.0", "mlserver:1.5.0-lock-a1b2c3d4e5f6")
    stack = written({CONTAINERS: json.loads(containers), RUNTIMES: json.loads(runtimes)})
    assert stack.components["runtime"] == "1.5.0"
    assert stack.runtime_image is None
    for role in ("initializer", "runtime"):
        with pytest.raises(CannotTell, match=r"no stack of trivet has the image .*-lock-"):
            stack.roles[role]


def test_an_initializer_of_another_release_has_the_lock_of_its_own(written: Callable[..., Stack]) -> None:
    containers = json.dumps(answer(CONTAINERS)).replace("initializer:v0.14.1", "initializer:v0.20.0")
    stack = written({CONTAINERS: json.loads(containers)})
    assert stack.roles["initializer"].pins == load_stack("current").roles["initializer"].pins


def test_the_schemas_of_a_detected_stack_are_those_of_the_cluster(written: Callable[..., Stack]) -> None:
    schemas = load_schemas(written().api_schemas)
    assert schemas.source == {"kserve": "0.14.1", "kubernetes": "1.30.14"}
    assert schemas.versions == {"ClusterStorageContainer": ("v1alpha1",), "InferenceService": ("v1beta1",)}


def test_a_report_carries_what_was_detected(written: Callable[..., Stack], tmp_path: Path) -> None:
    stack = written()
    (tmp_path / "service.yaml").write_text(SERVICE, encoding="utf-8")
    chosen = [one for one in Registry().contracts.values() if one.id.startswith("manifests.")]
    report = lint([tmp_path / "service.yaml"], chosen, stack).report
    assert report.stack.facts == stack.facts
    assert {fact.name: fact.value for fact in report.stack.facts}["role runtime"] == "121 packages"
    assert report.stack.components["kserve"] == "0.14.1"


SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: classifier}
spec: {predictor: {model: {modelFormat: {name: mlflow}, storageUri: "s3://models/1/"}}}
"""


def test_the_manifest_grants_the_cluster_in_a_cluster_role_and_the_rest_in_roles() -> None:
    settings = Existing(pipeline_namespace="team", serving_namespace="models")
    documents = list(yaml.safe_load_all(manifest_for(settings, detect=True)))
    places = {(one["kind"], one["metadata"].get("namespace")) for one in documents if one["kind"].endswith("Role")}
    in_namespaces = {("Role", namespace) for namespace in ("team", "models")}
    assert places == {("ClusterRole", None), *in_namespaces}
    assert {verb for one in documents for rule in one.get("rules", ()) for verb in rule["verbs"]} == {
        "get",
        "list",
        "create",
    }
    assert {one["metadata"]["name"] for one in documents if "roleRef" in one} == {"trivet-detect"}


# -- what cannot be read


def test_a_cluster_that_cannot_be_reached_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    refused = {"stderr": "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout", "status": 1}
    kubectl = recorded(RECORDING, changed={"get --raw /version": refused})
    with pytest.raises(PlatformError, match="i/o timeout") as error:
        write_detected(detect(kubectl, Sources()), tmp_path / "detected")
    assert "check that the cluster runs" in error.value.remedy
    assert not (tmp_path / "detected").exists()


def test_a_cluster_without_kserve_is_an_error() -> None:
    groups = [one for one in answer("get --raw /apis")["groups"] if one["name"] != "serving.kserve.io"]
    with pytest.raises(PlatformError, match=r"has no KServe: GET /apis .* no group serving\.kserve\.io"):
        live({"get --raw /apis": {"groups": groups}})


def test_a_cluster_without_knative_has_none_and_that_is_no_gap(written: Callable[..., Stack]) -> None:
    groups = [one for one in answer("get --raw /apis")["groups"] if "knative" not in one["name"]]
    stack = written({"get --raw /apis": {"groups": groups}})
    assert stack.components.get("knative") is None


def test_what_may_not_be_read_stays_unknown_with_the_refusal_and_contracts_say_so(tmp_path: Path) -> None:
    everyone = ("get --raw /version", "get --raw /apis")
    kubectl = RecordedKubectl(answers={one: recorded(RECORDING).answers[one] for one in everyone})
    found = detect(kubectl, Sources())
    assert {name for name, fact in found.facts.items() if fact.value} == {"kubernetes", "KEDA"}
    assert found.reason("kserve") == ('deployment is forbidden: User "reader" cannot get resource "deployment"'), (
        "without the command line of kubectl"
    )
    stack = write_detected(found, tmp_path / "detected")
    assert dict(stack.components) == {"kubernetes": "1.30.14"}
    assert not {*stack.roles}
    assert not (stack.folder / "api_schemas.json").exists()
    for identifier in ("manifests.fields_are_known", "manifests.protocol_version_is_served"):
        with pytest.raises(CannotTell, match="unknown"):
            findings(identifier, SERVICE, stack)
    with pytest.raises(CannotTell, match=r'clusterservingruntimes\.serving\.kserve\.io is forbidden: User "reader"'):
        model_findings("environment.versions_are_the_same", {"MLmodel": "flavors: {python_function: {}}\n"}, stack)


def test_an_account_that_may_not_list_all_deployments_finds_the_controller_in_its_usual_namespace() -> None:
    (controller,) = answer(CONTROLLERS)["items"]
    named = "get deployment kserve-controller-manager -n kserve --ignore-not-found -o json"
    assert live({CONTROLLERS: None, named: controller}).value("kserve") == "0.14.1"


def test_schemas_that_may_not_be_read_are_those_of_the_stack_with_the_same_kserve(
    written: Callable[..., Stack],
) -> None:
    stack = written({CRDS: None})
    assert stack.api_schemas.read_bytes() == load_stack("2024.11").api_schemas.read_bytes()
    (fact,) = [one for one in stack.facts if one.name == "api_schemas.json"]
    assert "those of the cluster are unknown: customresourcedefinitions is forbidden" in fact.source


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write_detected(live(), tmp_path / "empty").name == "empty"
    before = (tmp_path / "empty" / "stack.toml").read_bytes()
    with pytest.raises(UsageError, match="empty exists, and a detected stack is written to a new folder"):
        write_detected(live(), tmp_path / "empty")
    assert (tmp_path / "empty" / "stack.toml").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["empty"], "nothing unfinished is left"


# -- KServe and its runtimes


def controllers(*images: str) -> dict[str, Any]:
    """The recorded controller once per image, each in a namespace of its own."""
    found = []
    for number, image in enumerate(images):
        (one,) = json.loads(json.dumps(answer(CONTROLLERS)))["items"]
        one["metadata"]["namespace"] = f"kserve-{number}"
        one["spec"]["template"]["spec"]["containers"][0]["image"] = image
        found.append(one)
    return {CONTROLLERS: {"items": found}}


def test_two_controllers_of_different_versions_leave_kserve_unknown() -> None:
    found = live(controllers("kserve/kserve-controller:v0.14.1", "quay.io/odh/kserve-controller:v0.15.2"))
    assert not found.value("kserve")
    assert found.reason("kserve").startswith("2 controllers run, and each may reconcile an InferenceService: 0.14.1 (")
    assert "kserve-1/kserve-controller-manager" in found.reason("kserve")


def test_two_controllers_of_one_version_have_that_version() -> None:
    assert live(controllers("a/kserve-controller:v0.14.1", "b/kserve-controller:0.14.1")).value("kserve") == "0.14.1"


def test_a_controller_by_digest_has_the_version_of_its_label_or_none() -> None:
    changed = controllers("kserve/kserve-controller@sha256:" + "0" * 64)
    assert "states no value that can be read" in live(changed).reason("kserve")
    changed[CONTROLLERS]["items"][0]["metadata"]["labels"]["app.kubernetes.io/version"] = "v0.15.2"
    found = live(changed)
    assert found.value("kserve") == "0.15.2"
    assert found.facts["kserve"].source.endswith("label app.kubernetes.io/version")


def test_what_is_decided_by_the_code_of_a_kserve_that_no_stack_has_is_unknown(written: Callable[..., Stack]) -> None:
    stack = written(controllers("kserve/kserve-controller:v0.15.2"))
    assert stack.components["kserve"] == "0.15.2"
    serving = stack.settings["serving"]
    assert serving["http_port"] == 8080
    for key in ("deployment_modes", "autoscaler_classes", "model_mount", "environment", "storage"):
        with pytest.raises(CannotTell, match="no stack of trivet has"):
            serving[key]
    assert load_schemas(stack.api_schemas).source["kserve"] == "0.15.2", "the schemas are the cluster's own"


def runtimes(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded runtime once for each of ``changes`` to its name, image and priority for mlflow."""
    found = []
    for change in changes:
        (one,) = json.loads(json.dumps(answer(RUNTIMES)))["items"]
        one["metadata"]["name"] = change.get("name", "kserve-mlserver")
        one["spec"]["containers"][0]["image"] = change.get("image", "docker.io/seldonio/mlserver:1.5.0")
        for each in one["spec"]["supportedModelFormats"]:
            each["priority"] = change.get("priority", each.get("priority"))
        one["spec"]["disabled"] = change.get("disabled", False)
        found.append(one)
    return {RUNTIMES: {"items": found}}


def test_an_image_that_no_stack_has_leaves_the_packages_of_the_runtime_unknown(written: Callable[..., Stack]) -> None:
    stack = written(runtimes({"image": "registry.example:5000/team/mlserver:1.6.1"}))
    assert stack.components["runtime"] == "1.6.1"
    assert stack.runtime_image is None
    with pytest.raises(
        CannotTell, match=r"no stack of trivet has the image registry\.example:5000/team/mlserver:1\.6\.1"
    ):
        stack.roles["runtime"]


def test_an_image_that_is_not_mlservers_has_no_version_of_it() -> None:
    found = live(runtimes({"image": "registry.example/server:1.5.0"}))
    assert "is not one of MLServer's by its name" in found.reason("runtime")


def test_of_several_runtimes_kserve_selects_the_one_with_the_highest_priority() -> None:
    several = runtimes(
        {"name": "own", "priority": 7, "image": "own/mlserver:1.7.1"},
        {},
        {"name": "off", "priority": 9, "disabled": True},
    )
    assert live(several).value("serving runtime") == "own"


def test_two_runtimes_of_the_same_priority_leave_the_runtime_unknown() -> None:
    found = live(runtimes({"name": "own"}, {}))
    assert found.reason("runtime") == "own and kserve-mlserver select themselves for mlflow with the same priority"


def predictor(image: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "classifier-0", "namespace": "models"},
        "spec": {"containers": [{"name": "kserve-container", "image": image}]},
        "status": {"containerStatuses": [{"name": "kserve-container", "ready": True}]},
    }


IN_THE_POD = {
    "python": "3.10.14",
    "packages": {"MLServer": "1.6.1", "mlflow": "2.15.1", "scikit_learn": "1.5.2", "own": "3"},
}
SELECTED = "get pods -n models -l serving.kserve.io/inferenceservice -o json"
EXECUTED = f"exec classifier-0 -n models -c kserve-container -- python -c {LIST_PACKAGES}"


@pytest.mark.parametrize("image", ["team/mlserver:1.6.1", "docker.io/team/mlserver@sha256:" + "1" * 64])
def test_the_packages_of_a_runtime_are_read_from_a_running_pod_when_that_is_allowed(
    written: Callable[..., Stack], image: str
) -> None:
    changed = {
        **runtimes({"image": "team/mlserver:1.6.1"}),
        SELECTED: {"items": [predictor(image)]},
        EXECUTED: json.dumps(IN_THE_POD),
        "get pods -n models -o json": {"items": []},
        "get services -n models -o json": {"items": []},
    }
    stack = written(changed, namespaces=("models",), exec_in_runtime=True)
    runtime = stack.roles["runtime"]
    assert runtime.pins == {"mlserver": "1.6.1", "mlflow": "2.15.1", "scikit-learn": "1.5.2", "own": "3"}
    assert (runtime.python, runtime.image_python) == ("3.10", "3.10.14")


def test_a_pod_of_another_image_is_not_asked() -> None:
    changed = {SELECTED: {"items": [predictor("team/other:1")]}, "get pods -n models -o json": {"items": []}}
    found = live(changed, namespaces=("models",), exec_in_runtime=True)
    assert found.runtime_packages is None
    assert "no running pod of an InferenceService in models has" in found.reason("packages of the runtime")


def test_packages_of_the_image_that_a_stack_has_come_with_its_names(written: Callable[..., Stack]) -> None:
    pins = load_stack("2024.11").roles["runtime"].pins
    changed = {
        SELECTED.replace("-n models", "--all-namespaces"): {"items": [predictor("docker.io/seldonio/mlserver:1.5.0")]},
        EXECUTED: json.dumps({"python": "3.10.12", "packages": {**pins, "own": "3"}}),
    }
    stack = written(changed, exec_in_runtime=True)
    assert stack.runtime_image is not None
    table = json.loads(stack.runtime_image.read_bytes())
    assert table["packages"] == {**pins, "own": "3"}
    assert table["names"] == json.loads((load_stack("2024.11").runtime_image or Path()).read_bytes())["names"]


# -- servers and pipelines


def test_mlflow_that_answers_nothing_is_unknown_and_the_option_is_named() -> None:
    version = next(one for one in recorded(RECORDING).answers if one.endswith("/proxy/version"))
    assert live({version: "<html>login</html>"}).reason("mlflow") == (
        "Service trivet-platform/mlflow, port 5000: GET /version states no version: '<html>login</html>'; --mlflow URL names it"
    )
    assert "is forbidden" in live({version: None}).reason("mlflow")


def test_the_release_of_kfp_is_the_tag_of_its_api_server() -> None:
    service = {"metadata": {"name": "ml-pipeline", "namespace": "kubeflow"}, "spec": {"ports": [{"port": 8888}]}}
    proxied = "get --raw /api/v1/namespaces/kubeflow/services/http:ml-pipeline:8888/proxy/apis/v2beta1/healthz"
    changed: dict[str, Any] = {
        SERVICES: {"items": [service]},
        proxied: {"commit_sha": "0", "tag_name": "2.3.0", "multi_user": False},
    }
    assert live(changed).value("KFP API server") == "2.3.0"
    changed[proxied]["tag_name"] = "unknown"
    assert "states no version" in live(changed).reason("KFP API server")


def step(*installs: str, name: str = "train-1") -> dict[str, Any]:
    """A pod of a pipeline: the command that KFP's SDK gives a Python component (kfp 2.9.0, component_factory)."""
    pip = "python3 -m pip install --quiet --no-warn-script-location"
    script = " && ".join([f"{pip} {one}" for one in installs] + ['"$0" "$@"'])
    return {
        "metadata": {"name": name, "namespace": "team", "labels": {"pipelines.kubeflow.org/v2_component": "true"}},
        "spec": {
            "containers": [{"name": "main", "command": ["/kfp-launcher/launch"], "args": ["--", "sh", "-c", script]}]
        },
    }


SDK = "'kfp==2.9.0' '--no-deps' 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'"


def test_pods_of_pipelines_show_the_sdk_and_the_packages_of_the_trainer(written: Callable[..., Stack]) -> None:
    stack = written({PODS: {"items": [step(SDK, "'mlflow==2.17.2' 'scikit-learn==1.4.1.post1'")]}})
    assert stack.components["kfp"] == "2.9.0"
    assert stack.roles["trainer"].pins == load_stack("2024.11-fixed").roles["trainer"].pins


def test_a_trainer_that_no_stack_has_can_be_locked_from_what_pods_show(written: Callable[..., Stack]) -> None:
    stack = written({PODS: {"items": [step(SDK, "'mlflow==2.16.0'")]}})
    with pytest.raises(CannotTell, match="`trivet stack lock FOLDER --role trainer` resolves what"):
        stack.roles["trainer"]
    assert 'requires = ["kfp==2.9.0", "mlflow==2.16.0"]' in (stack.folder / "stack.toml").read_text(encoding="utf-8")


def test_pipelines_with_two_sdks_leave_the_sdk_unknown() -> None:
    pods = [step(SDK), step(SDK.replace("2.9.0", "2.10.1"), name="train-2")]
    reason = live({PODS: {"items": pods}}).reason("kfp")
    assert reason == "pipelines use several versions: 2.9.0 in pod team/train-1; 2.10.1 in pod team/train-2"


def test_only_exact_versions_in_pip_commands_count() -> None:
    pod = step("'Scikit_Learn[alldeps]==1.5.2' 'numpy>=1.26' pandas==2.2.*")
    pod["spec"]["containers"][0]["env"] = [{"name": "X", "value": "pip install torch==2"}]
    assert pinned_packages(pod) == {"scikit-learn": "1.5.2"}


# -- names of images


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("kserve/kserve-controller:v0.14.1", "0.14.1"),
        ("registry.example:5000/mlserver:1.7.1-slim", "1.7.1"),
        ("x:v0.15.0-rc1", "0.15.0rc1"),
        ("x:v1.30.14-gke.100", "1.30.14"),
        ("x:1.5.0@sha256:0a1b", "1.5.0"),
        ("x:latest", ""),
        ("x", ""),
        ("registry.example:5000/x", ""),
        ("x@sha256:0123", ""),
    ],
)
def test_the_version_of_an_image_is_in_its_tag(image: str, version: str) -> None:
    assert version_in(image) == version


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("seldonio/mlserver:1.5.0", "docker.io/seldonio/mlserver:1.5.0", True),
        ("python:3.11", "docker.io/library/python:3.11", True),
        ("seldonio/mlserver:1.5.0", "registry.example/seldonio/mlserver:1.5.0", False),
        ("seldonio/mlserver:1.5.0", "seldonio/mlserver:1.5.1", False),
    ],
)
def test_an_image_is_the_same_under_its_short_and_its_full_name(one: str, other: str, same: bool) -> None:
    assert same_image(one, other) is same
