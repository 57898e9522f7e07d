"""The generator of manifests and the comparison of verdicts, without a cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest
import yaml
from differential.agreement import (
    BROKEN,
    COMPARED,
    FALSE_ALARM,
    KNOWN,
    MISPLACED,
    MISSED,
    Comparison,
    Disagreement,
    _at_the_place,
    is_meant,
)
from differential.children import Controller
from differential.creation import no_pods_namespace
from differential.judges import ApiServer, Lint, LintVerdict, ServerVerdict, _named_in, _warnings
from differential.mutations import Again, Plain, manifests, text
from hypothesis import HealthCheck, given, settings

from trivet.host.kubectl import Kubectl, KubectlError
from trivet.model.platform_config import PlatformConfig
from trivet.stacks.read import load_stack

STACK = load_stack("current")

MANIFEST = """apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
spec:
  predictor:
    minReplicas: 1
    containers:
    - name: kserve-container
      image: 1
"""


def failing_at(*lines: int) -> LintVerdict:
    return LintVerdict(failures=tuple(("manifests.any", line, "wrong") for line in lines))


def test_plain_scalars_have_no_quotes_and_keys_can_stand_twice() -> None:
    assert text({"a": Plain("yes"), Again("b"): "1", "b": "yes"}) == "a: yes\nb: '1'\nb: 'yes'\n"


@given(manifests(STACK))
@settings(max_examples=50, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_generated_manifest_is_yaml_of_one_object_of_its_kind(document: dict[str, object]) -> None:
    root = yaml.compose(text(document))
    assert isinstance(root, yaml.MappingNode)
    read = {key.value: value.value for key, value in root.value}
    for field in ("apiVersion", "kind"):
        assert read.get(field) == (str(document[field]) if field in document else None)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ('strict decoding error: unknown field "spec.predictor.x", unknown field "y"', ["spec.predictor.x", "y"]),
        (
            "json: cannot unmarshal number into Go struct field EnvVar.spec.a.env.name of type string",
            ["spec.a.env.name"],
        ),
        ("json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string", ["metadata.labels"]),
        ("'MinReplicas' cannot be less than 0", []),
    ],
)
def test_fields_that_the_api_server_names(message: str, fields: list[str]) -> None:
    assert _named_in(message) == fields


def test_warnings_of_one_header() -> None:
    assert _warnings('299 - "unknown field \\"a\\"", 299 - "two"') == ['unknown field "a"', "two"]


@pytest.mark.parametrize(
    ("field", "line", "agrees"),
    [
        ("spec.predictor.minReplicas", 7, True),
        ("spec.predictor.minReplicas", 4, False),
        ("spec.predictor.containers.image", 10, True),
        ("spec.predictor.containers[0].ports[1]", 9, True),
        ("spec.predictor", 10, True),
        ("metadata.labels", 3, True),
        ("metadata.labels", 7, False),
    ],
)
def test_a_finding_is_at_the_field_that_the_server_names_below_it_or_where_it_is_missing(
    field: str, line: int, agrees: bool
) -> None:
    assert _at_the_place(MANIFEST, ServerVerdict(error="wrong", fields=(field,)), failing_at(line)) is agrees


OLDER = """kind: InferenceService
spec:
  predictor:
    model:
      ports: [{}, {}]
    sklearn:
      ports:
      - {}
      - {}
"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ('InferenceService.serving.kserve.io "iris" is invalid: spec.predictor.model.ports[1]: Duplicate value', 9),
        ('admission webhook "defaulter" denied the request: json: cannot unmarshal', 5),
    ],
)
def test_an_older_field_is_the_model_once_the_webhook_has_seen_it(error: str, line: int) -> None:
    said = ServerVerdict(error=error, fields=("spec.predictor.model.ports[1]",))
    assert [one for one in (5, 9) if _at_the_place(OLDER, said, failing_at(one))] == [line]


class Says:
    """A judge with one verdict."""

    def __init__(self, verdict: Any) -> None:
        self._verdict = verdict

    def judge(self, *manifest: str, namespace: str = "") -> Any:
        return self._verdict

    def serves(self, version: str, kind: str) -> bool:
        return True


@pytest.mark.parametrize("server", [ServerVerdict(error="wrong"), ServerVerdict(stored=yaml.safe_load(MANIFEST))])
def test_a_check_that_raises_is_a_disagreement_whatever_the_server_says(server: ServerVerdict) -> None:
    raised = LintVerdict(
        failures=(("manifests.schema_is_met", 1, "wrong"),) if server.rejects else (),
        broken=(("validation.any", 1, "the check raised ValueError"),),
    )
    runtime = {"spec": {"containers": [{"name": "kserve-container", "image": "a"}]}}
    document = yaml.safe_load(MANIFEST) | {"kind": "Secret"}
    controller = Controller(stack=STACK, platform=PlatformConfig(), runtime=runtime)
    both = Comparison(cast(ApiServer, Says(server)), cast(Lint, Says(raised)), controller)
    found = both.disagreement(document)
    assert found is not None
    assert found.kind == BROKEN
    assert "the check raised ValueError" in found.signature
    assert not raised.of({}).rejects, "an error is no rejection"
    assert raised.of(COMPARED).broken == raised.broken


def test_known_differences_have_reasons_and_patterns() -> None:
    assert all(known.reason and (known.server or known.lint) for known in KNOWN)


def test_a_difference_is_meant_if_each_failure_of_lint_is() -> None:
    nul, other = (
        Disagreement(
            kind=FALSE_ALARM,
            layer="InferenceService",
            manifest='modelFormat:\n  "\\u0000": mlflow\n',
            server=ServerVerdict(),
            lint=LintVerdict(
                failures=(
                    ("manifests.fields_are_known", 2, "the API has no field spec.predictor.model.modelFormat."),
                    (
                        "manifests.schema_is_met",
                        1,
                        f"spec.predictor.model.{field} has no 'name', which the API requires",
                    ),
                )
            ),
        )
        for field in ("modelFormat", "env[0]")
    )
    assert is_meant(nul)
    assert not is_meant(other)


def meant(manifest: str, *, child: str = "", server: str = "", lint: tuple[str, str] | None = None) -> bool:
    """Whether a difference over ``manifest`` is meant: one that lint misses, or its one failure, as (contract, message)."""
    failures = ((lint[0], 1, lint[1]),) if lint else ()
    return is_meant(
        Disagreement(
            kind=FALSE_ALARM if lint else MISSED,
            layer="InferenceService",
            manifest=manifest,
            server=ServerVerdict(error=server),
            lint=LintVerdict(failures=failures),
            child=child,
        )
    )


def service_of(predictor: str, rest: str = "") -> str:
    document = {
        "metadata": {"name": "iris"},
        "spec": {"predictor": yaml.safe_load(predictor), **yaml.safe_load(rest or "{}")},
    }
    return text(document)


SEVERAL = "{containers: [{name: a, image: b}, {name: b, image: b}], minReplicas: 1}"
WITH_KSERVES = "{containers: [{name: a, image: b}, {image: b, name: kserve-container}], minReplicas: 1}"
TRANSFORMER = "{transformer: {containers: [{name: kserve-container, image: c}, {name: t, image: b}]}}"
PODS, KNATIVES, SCHEMA = (
    "validation.kubernetes_admits_the_pods",
    "validation.knative_admits_the_revision",
    "manifests.schema_is_met",
)


@pytest.mark.parametrize(
    ("manifest", "contract", "message", "is_known"),
    [
        (service_of(SEVERAL), PODS, "spec.predictor.containers[0].image is empty", True),
        (service_of(SEVERAL), KNATIVES, "spec.predictor has 2 container ports", True),
        (service_of(SEVERAL), PODS, "the container name 'A' is not valid", True),
        (service_of(SEVERAL), PODS, "2 containers are named 'a', and a name must be unique", True),
        (service_of("{containers: [{name: a}, {image: A}]}"), PODS, "spec.predictor.containers[1] has no image", True),
        (service_of("{containers: [{image: A}, {name: a}]}"), PODS, "spec.predictor.containers[1] has no image", False),
        (service_of(WITH_KSERVES), PODS, "2 containers are named 'a', and a name must be unique", False),
        (service_of(SEVERAL, TRANSFORMER), PODS, "spec.predictor.containers[0].image is empty", True),
        (service_of(SEVERAL), SCHEMA, "spec.predictor.containers[0].image is 1, expected a string", False),
        (service_of(SEVERAL), PODS, "spec.transformer.containers[0].image is empty", False),
        (service_of(WITH_KSERVES), PODS, "spec.predictor.containers[0].image is empty", False),
        (service_of("{containers: [{name: a, image: b}]}", TRANSFORMER), PODS, "spec.predictor.volumes is bad", False),
    ],
)
def test_containers_of_which_kserve_makes_nothing_are_those_of_the_predictor_in_what_is_judged_of_pods(
    manifest: str, contract: str, message: str, is_known: bool
) -> None:
    assert meant(manifest, lint=(contract, message)) is is_known


MODEL = "{model: {modelFormat: {name: mlflow}, resources: {limits: {hugepages-2Mi: 2Mi}}}}"
FRAMEWORK = "{minReplicas: 1, sklearn: {storageUri: 's3://a/b', resources: {limits: {hugepages-2Mi: 2Mi}}}}"
CUSTOM = "{containers: [{name: kserve-container, image: b, resources: {limits: {hugepages-2Mi: 2Mi}}}]}"
CANARY = "{canary: [{trafficPercent: 10, predictor: {name: next, model: {modelFormat: {name: mlflow}}}}]}"
WORKERS = "{model: {modelFormat: {name: huggingface}}, workerSpec: {containers: [{name: w, image: b}]}}"
NO_HANDLER = (
    'Deployment.apps "x" is invalid: spec.template.spec.containers[0].livenessProbe: Required value: '
    "must specify a handler type"
)
NO_CPU = 'Deployment.apps "x" is invalid: spec.template.spec.containers[0].resources: Forbidden: HugePages require cpu or memory'
PRIVILEGED = (
    "{canary: [{trafficPercent: 10, predictor: {name: next, model: {modelFormat: {name: mlflow}, "
    "securityContext: {privileged: true}}}}]}"
)
STATED = PRIVILEGED.replace("{privileged: true}", "{privileged: true, allowPrivilegeEscalation: false}")
OF_A_CONTAINER = "{canary: [{trafficPercent: 10, predictor: {name: next, containers: [{name: a, image: b}]}}]}"


def escalates(number: int, what: str = "`privileged` to true") -> str:
    """What Kubernetes says of a Deployment whose container of this number is privileged and does not escalate."""
    return (
        f'Deployment.apps "x" is invalid: spec.template.spec.containers[{number}].securityContext: Invalid value: '
        f"core.SecurityContext{{}}: cannot set `allowPrivilegeEscalation` to false and {what}"
    )


ODD = "is invalid: x: hugepages-2Mi is not positive integer multiple of hugepages-2Mi"


@pytest.mark.parametrize(
    ("manifest", "child", "server", "is_known"),
    [
        (service_of(MODEL, CANARY), "iris-next-predictor", NO_HANDLER, True),
        (service_of(MODEL, CANARY), "iris-predictor", NO_HANDLER, False),
        (service_of(MODEL, PRIVILEGED), "iris-next-predictor", escalates(0), True),
        (service_of(MODEL, PRIVILEGED), "iris-next-predictor", escalates(0, "`capabilities.Add` CAP_SYS_ADMIN"), True),
        (service_of(MODEL, PRIVILEGED), "iris-next-predictor", escalates(1), False),
        (service_of(MODEL, PRIVILEGED), "iris-predictor", escalates(0), False),
        (service_of(MODEL, STATED), "iris-next-predictor", escalates(0), False),
        (service_of(MODEL, STATED), "iris-next-predictor", NO_HANDLER, True),
        (service_of(MODEL, OF_A_CONTAINER), "iris-next-predictor", escalates(0), False),
        (service_of(WORKERS), "iris-predictor", NO_HANDLER, True),
        (service_of(WORKERS), "iris-predictor-worker", NO_HANDLER, True),
        (service_of(WORKERS, TRANSFORMER), "iris-transformer", NO_HANDLER, False),
        (service_of(MODEL), "iris-predictor", NO_CPU, True),
        (service_of(FRAMEWORK), "iris-predictor", NO_CPU, True),
        (service_of(CUSTOM), "iris-predictor", NO_CPU, False),
        (service_of(MODEL, TRANSFORMER), "iris-transformer", NO_CPU, False),
        (service_of(MODEL.replace(": 2Mi", ": 99999999999999999999")), "iris-predictor", ODD, True),
        (service_of(MODEL.replace(": 2Mi", ": 9223372036854775808")), "iris-predictor", ODD, True),
        (service_of(MODEL.replace(": 2Mi", ": 9223372036854775807")), "iris-predictor", ODD, False),
    ],
)
def test_what_a_runtime_brings_is_known_of_the_pods_that_have_one_and_of_no_others(
    manifest: str, child: str, server: str, is_known: bool
) -> None:
    assert meant(manifest, child=child, server=server) is is_known


RELEASED, OWN = "kserve-sklearnserver", "kserve-mlserver"
OVER = "spec.predictor.model.resources.requests.cpu: the request of 2 cpu is over the limit of 1 of the runtime "


@pytest.mark.parametrize(
    ("contract", "message", "is_known"),
    [
        (PODS, f"{OVER}{RELEASED}", True),
        (PODS, "x: the request of 1 cpu of the runtime kserve-xgbserver is over the limit of 500m", True),
        (PODS, f"{OVER}{OWN}", False),
        (KNATIVES, f"{OVER}{RELEASED}", False),
        (PODS, f"x.privileged excludes y: false, which the container of the runtime {RELEASED} has", False),
        (KNATIVES, f"of the runtime {RELEASED}: x", False),
    ],
)
def test_only_the_resources_of_a_runtime_that_the_cluster_has_not_are_known(
    contract: str, message: str, is_known: bool
) -> None:
    assert meant(service_of(MODEL), lint=(contract, message)) is is_known


@pytest.mark.parametrize(
    ("stack", "predictor", "security"),
    [
        ("current", "{model: {modelFormat: {name: sklearn}}}", {"allowPrivilegeEscalation": False}),
        ("2024.11", "{model: {modelFormat: {name: sklearn}}}", {"allowPrivilegeEscalation": False}),
        (
            "current",
            "{model: {modelFormat: {name: sklearn}, securityContext: {privileged: true}}}",
            {"allowPrivilegeEscalation": False, "privileged": True},
        ),
        ("2024.08", "{model: {modelFormat: {name: sklearn}}}", None),
        ("current", "{model: {modelFormat: {name: huggingface}}, workerSpec: {}}", None),
        ("current", "{model: {modelFormat: {name: mlflow}, protocolVersion: v2}}", {}),
        ("current", "{containers: [{name: kserve-container, image: a}]}", None),
    ],
)
def test_the_securitycontext_of_a_container_of_kserve_s_release(stack: str, predictor: str, security: Any) -> None:
    platform = PlatformConfig(default_deployment_mode="Standard")
    controller = Controller(stack=load_stack(stack), platform=platform, runtime=OF_THE_PLATFORM)
    service = {"metadata": {"name": "iris"}, "spec": {"predictor": yaml.safe_load(predictor)}}
    deployment = next(child for kind, child in controller.children(service) if kind == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container.get("securityContext") == security


def test_the_object_that_is_rejected_is_named() -> None:
    runtime: dict[str, Any] = {"spec": {"containers": [], "supportedModelFormats": [], "protocolVersions": []}}
    controller = Controller(stack=STACK, platform=PlatformConfig(default_deployment_mode="Standard"), runtime=runtime)
    admitted = yaml.safe_load(MANIFEST.replace("image: 1", "image: a"))
    both = Comparison(cast(ApiServer, Says(ServerVerdict(error="no"))), cast(Lint, Says(LintVerdict())), controller)
    rejected = [(kind, name) for kind, name, _ in both.rejected_children(ServerVerdict(stored=admitted))]
    assert rejected[0] == ("Deployment", "iris-predictor")


OF_THE_PLATFORM: dict[str, Any] = {
    "metadata": {"name": "kserve-mlserver"},
    "spec": {
        "supportedModelFormats": [{"name": "mlflow", "version": "2", "autoSelect": True}],
        "protocolVersions": ["v2"],
        "containers": [{"name": "kserve-container", "image": "a"}],
    },
}


def modelled(**model: Any) -> dict[str, Any]:
    """An InferenceService with a model of the format mlflow and protocol v2, unless ``model`` says another."""
    fields = {"modelFormat": {"name": "mlflow"}, "protocolVersion": "v2", **model}
    stated = {key: value for key, value in fields.items() if value is not None}
    document = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "iris"}}
    return {**document, "spec": {"predictor": {"model": stated}}}


@pytest.mark.parametrize(
    ("stack", "model", "serves"),
    [
        ("current", {}, True),
        ("current", {"modelFormat": {"name": "iris"}}, False),
        ("current", {"modelFormat": {}}, False),
        ("current", {"modelFormat": {"name": "mlflow", "version": "2"}}, True),
        ("current", {"modelFormat": {"name": "mlflow", "version": "1"}}, False),
        ("current", {"protocolVersion": "v1"}, False),
        ("current", {"protocolVersion": None}, False),
        ("current", {"protocolVersion": None, "modelFormat": {"name": "sklearn"}}, True),
        ("current", {"protocolVersion": "own", "modelFormat": {"name": "vLLM"}}, True),
        ("current", {"protocolVersion": None, "runtime": "kserve-mlserver"}, True),
        ("current", {"runtime": "nothing"}, False),
        ("current", {"protocolVersion": "v1", "modelFormat": {"name": "xgboost", "version": "2"}}, True),
        ("2024.08", {"protocolVersion": "v1", "modelFormat": {"name": "xgboost", "version": "2"}}, False),
        (
            "current",
            {
                "protocolVersion": "v1",
                "modelFormat": {"name": "lightgbm", "version": "4"},
                "runtime": "kserve-predictiveserver",
            },
            True,
        ),
        ("current", {"modelFormat": {"name": "pytorch"}, "runtime": "kserve-tritonserver"}, True),
        ("current", {"protocolVersion": "grpc-v1", "modelFormat": {"name": "pytorch"}}, False),
    ],
)
def test_whether_a_runtime_of_the_release_or_the_platform_serves_a_model(stack: str, model: Any, serves: bool) -> None:
    controller = Controller(stack=load_stack(stack), platform=PlatformConfig(), runtime=OF_THE_PLATFORM)
    assert controller.has_runtime(modelled(**model)) is serves


@pytest.mark.parametrize(
    ("stack", "mode", "standard"),
    [
        ("2024.11", "RawDeployment", True),
        ("2024.11", "Standard", False),
        ("current", "Standard", True),
        ("current", "RawDeployment", True),
        ("current", "Knative", False),
        ("current", "ModelMesh", None),
        ("current", "x", False),
    ],
)
def test_a_mode_that_the_version_does_not_know_is_the_platform_s_default(
    stack: str, mode: str, standard: bool | None
) -> None:
    platform = PlatformConfig(default_deployment_mode="Serverless")
    controller = Controller(stack=load_stack(stack), platform=platform, runtime=OF_THE_PLATFORM)
    service = modelled()
    service["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": mode}
    assert controller.is_standard(service) is standard


def test_a_runtime_for_several_nodes_serves_a_model_with_workers_and_no_other() -> None:
    controller = Controller(stack=STACK, platform=PlatformConfig(), runtime=OF_THE_PLATFORM)
    for format_, serves in (("huggingface", True), ("mlflow", False)):
        service = modelled(modelFormat={"name": format_})
        service["spec"]["predictor"]["workerSpec"] = {}
        assert controller.has_runtime(service) is serves


WITHOUT_RUNTIME = ("validation.runtime_serves_the_model", 1, "no runtime")


@pytest.mark.parametrize(("format_", "failures", "kinds"), [("mlflow", (), [MISSED]), ("iris", (WITHOUT_RUNTIME,), [])])
def test_nothing_is_made_of_a_model_without_a_runtime_and_nothing_compared_but_its_admission(
    format_: str, failures: tuple[Any, ...], kinds: list[str]
) -> None:
    document = modelled(modelFormat={"name": format_})

    class Server(Says):
        """Admits the service, and rejects whatever is made of it."""

        def judge(self, *manifest: str, namespace: str = "") -> Any:
            admitted = manifest[0] == "InferenceService"
            return ServerVerdict(stored=document) if admitted else ServerVerdict(error="no")

    controller = Controller(stack=STACK, platform=PlatformConfig(), runtime=OF_THE_PLATFORM)
    both = Comparison(cast(ApiServer, Server(None)), cast(Lint, Says(LintVerdict(failures=failures))), controller)
    assert [one.kind for one in both.differences(document)] == kinds


@pytest.mark.parametrize(
    ("model", "annotations", "failing", "found"),
    [
        ({}, {}, "", []),
        ({}, {}, "validation.runtime_serves_the_model", [(FALSE_ALARM, "runtime")]),
        ({}, {}, "manifests.protocol_version_is_served", [(FALSE_ALARM, "runtime")]),
        ({}, {}, "manifests.format_version_is_served", [(FALSE_ALARM, "runtime")]),
        ({"modelFormat": {"name": "iris"}}, {}, "", [(MISSED, "runtime")]),
        ({"modelFormat": {"name": "iris"}}, {}, "manifests.resources_are_set", [(MISSED, "runtime")]),
        ({"modelFormat": {"name": "iris"}}, {}, "validation.runtime_serves_the_model", []),
        ({"runtime": ""}, {}, "", [(MISSED, "runtime")]),
        ({"modelFormat": {"name": "iris"}}, {"serving.kserve.io/stop": "true"}, "", []),
    ],
)
def test_whether_a_runtime_serves_the_model_is_compared(
    model: Any, annotations: Any, failing: str, found: list[tuple[str, str]]
) -> None:
    document = modelled(**model)
    document["metadata"]["annotations"] = annotations
    said = LintVerdict(failures=((failing, 1, "wrong"),) if failing else ())
    admits = cast(ApiServer, Says(ServerVerdict(stored=document)))
    platform = PlatformConfig(default_deployment_mode="Standard")
    controller = Controller(stack=STACK, platform=platform, runtime=OF_THE_PLATFORM)
    both = Comparison(admits, cast(Lint, Says(said)), controller)
    assert [(one.kind, one.layer) for one in both.differences(document)] == found


@pytest.mark.parametrize(
    ("runtime", "is_known"),
    [("nothing", True), ("1", True), ("kserve-mlserver", False), ("kserve-tensorflow-serving", False), ("", False)],
)
def test_only_a_runtime_that_lint_cannot_know_may_be_missing(runtime: str, is_known: bool) -> None:
    assert meant(text(modelled(runtime=runtime)), server="no runtime serves the model") is is_known


@pytest.mark.parametrize(
    "predictor",
    [
        "{model: {modelFormat: {name: nosuch}, runtime: null}}",
        "{model: {modelFormat: {name: nosuch}}}",
        "{labels: {runtime: x}, model: {modelFormat: {name: nosuch}}}",
        "{model: {modelFormat: {name: nosuch}, labels: {runtime: x}}}",
        "{model: {modelFormat: {name: nosuch}, runtime: 5}}",
    ],
)
def test_a_model_that_names_no_runtime_is_looked_for_among_those_that_lint_knows(predictor: str) -> None:
    assert not meant(service_of(predictor), server="no runtime serves the model")


@pytest.mark.parametrize(
    ("contract", "kinds"),
    [("validation.kubernetes_admits_the_pods", []), ("manifests.schema_is_met", [FALSE_ALARM])],
)
@pytest.mark.parametrize("stopped", [True, False])
def test_lint_may_judge_the_pods_of_a_stopped_service_and_of_a_model_without_a_runtime(
    stopped: bool, contract: str, kinds: list[str]
) -> None:
    document = modelled(modelFormat={"name": "mlflow" if stopped else "iris"})
    document["metadata"]["annotations"] = {"serving.kserve.io/stop": "True"} if stopped else {}
    said = LintVerdict(failures=((contract, 1, "wrong"), *(() if stopped else (WITHOUT_RUNTIME,))))
    controller = Controller(stack=STACK, platform=PlatformConfig(), runtime=OF_THE_PLATFORM)
    both = Comparison(cast(ApiServer, Says(ServerVerdict(stored=document))), cast(Lint, Says(said)), controller)
    assert [one.kind for one in both.differences(document)] == kinds


@pytest.mark.parametrize(
    ("format_", "annotations", "found"),
    [
        ("iris", {}, []),
        ("mlflow", {"serving.kserve.io/stop": "true"}, []),
        ("mlflow", {}, [FALSE_ALARM]),
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        "spec.predictor.containers[0] is empty",
        "spec.predictor.model.env[1] is empty",
        "spec.predictor.initContainers[0] has no 'name'",
        "spec.canary[0].predictor.model.volumeMounts[0] has no 'mountPath'",
        "spec.predictor.affinity.podAffinityTerm has no 'topologyKey'",
    ],
)
def test_what_becomes_a_zero_value_of_a_pod_is_refused_where_something_is_made(
    format_: str, annotations: Any, found: list[str], message: str
) -> None:
    document = modelled(modelFormat={"name": format_})
    document["metadata"]["annotations"] = annotations
    document["spec"]["predictor"]["containers"] = [{"name": "", "resources": {}}]
    said = LintVerdict(failures=((SCHEMA, 1, message), *((WITHOUT_RUNTIME,) if format_ == "iris" else ())))
    admits = cast(ApiServer, Says(ServerVerdict(stored=document)))
    platform = PlatformConfig(default_deployment_mode="Standard")
    controller = Controller(stack=STACK, platform=platform, runtime=OF_THE_PLATFORM)
    both = Comparison(admits, cast(Lint, Says(said)), controller)
    assert [one.kind for one in both.differences(document) if not is_meant(one)] == found


@pytest.mark.parametrize(("beside", "is_known"), [("sklearn: {}, ", True), ("sklearn: null, ", False), ("", False)])
def test_a_model_beside_an_older_field_is_not_there(beside: str, is_known: bool) -> None:
    manifest = service_of(f"{{{beside}model: {{env: [{{name: A}}, {{name: A}}]}}}}")
    assert meant(manifest, lint=(SCHEMA, "spec.predictor.model.env[1] has the name 'A' of an earlier item")) is is_known


@pytest.mark.parametrize(("value", "meant"), [("$request", True), ("request", False)])
@pytest.mark.parametrize("kind", [MISSED, MISPLACED])
def test_a_placeholder_is_no_value_yet(kind: str, value: str, meant: bool) -> None:
    said = ServerVerdict(error=f'a is invalid: spec.resources.limits.data: Invalid value: "{value}": should match')
    failures = () if kind == MISSED else (("manifests.fields_are_known", 4, "the API has no field a"),)
    found = Disagreement(kind=kind, layer="a", manifest="a: b", server=said, lint=LintVerdict(failures=failures))
    assert is_meant(found) is meant


@pytest.mark.parametrize(("kind", "meant"), [("ClusterStorageContainer", True), ("ServingRuntime", False)])
def test_an_int32_is_checked_where_a_webhook_reads_it(kind: str, meant: bool) -> None:
    said = LintVerdict(
        failures=(
            (SCHEMA, 4, "spec.container.ports[0].containerPort is 2147483648, expected at most 2147483647 (KServe)"),
        )
    )
    found = Disagreement(
        kind=FALSE_ALARM, layer=kind, manifest=f"apiVersion: a\nkind: {kind}\n", server=ServerVerdict(), lint=said
    )
    assert is_meant(found) is meant


class Answers:
    """A kubectl that answers starts of a pod with ``errors``, an empty one for none, and fails in commands that begin with ``fails``."""

    def __init__(self, *errors: str, fails: tuple[str, ...] = ()) -> None:
        self._errors = iter(errors)
        self._fails = fails
        self.calls: list[tuple[str, ...]] = []

    def run(self, *args: str, stdin: str = "") -> str:
        self.calls.append((*args[:2], *([yaml.safe_load(stdin)["kind"].lower()] if stdin else ())))
        if args[0] == "run" and (error := next(self._errors, "")):
            raise KubectlError("kubectl run", error)
        if args[: len(self._fails)] == self._fails and self._fails:
            raise KubectlError(f"kubectl {args[0]}", "timed out")
        return ""


DENIED = "ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no pod may start in this namespace"
NO_ACCOUNT_YET = (
    'pods "probe" is forbidden: error looking up service account x/default: serviceaccount "default" not found'
)
DELETED = [
    ("delete", "namespace"),
    ("delete", "validatingadmissionpolicybinding"),
    ("delete", "validatingadmissionpolicy"),
]
NOTHING_MADE = Controller(stack=STACK, platform=PlatformConfig(), runtime={})


def test_a_namespace_is_waited_for_until_it_has_its_account_and_denies_pods() -> None:
    kubectl = Answers(NO_ACCOUNT_YET, "", DENIED)
    with no_pods_namespace(cast(Kubectl, kubectl), NOTHING_MADE):
        assert [call[0] for call in kubectl.calls if call[0] == "run"] == ["run"] * 3
    assert kubectl.calls[-3:] == DELETED


def test_another_error_of_a_pod_ends_the_wait_and_everything_is_deleted() -> None:
    kubectl = Answers("error: connection refused")
    with (
        pytest.raises(KubectlError, match="connection refused"),
        no_pods_namespace(cast(Kubectl, kubectl), NOTHING_MADE),
    ):
        raise AssertionError("not reached")
    assert kubectl.calls[-3:] == DELETED


def test_a_policy_of_the_cluster_is_deleted_though_its_namespace_cannot_be() -> None:
    kubectl = Answers(DENIED, fails=("delete", "namespace"))
    with pytest.raises(KubectlError, match="timed out"), no_pods_namespace(cast(Kubectl, kubectl), NOTHING_MADE):
        pass
    assert kubectl.calls[-3:] == DELETED
