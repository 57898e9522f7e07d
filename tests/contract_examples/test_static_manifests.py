"""Examples of the contracts over InferenceService manifests."""

from __future__ import annotations

import pytest
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import findings

from trivet.model.finding import Finding

SOUND = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: recommendation-classifier
  annotations:
    serving.kserve.io/deploymentMode: Serverless
    autoscaling.knative.dev/class: hpa.autoscaling.knative.dev
spec:
  predictor:
    minReplicas: 2
    scaleMetric: cpu
    scaleTarget: 70
    model:
      modelFormat:
        name: mlflow
      protocolVersion: v2
      storageUri: s3://models/1/0123/artifacts/model/
      readinessProbe:
        httpGet: {path: /v2/models/recommendation-classifier/ready, port: 8080}
      resources:
        requests: {cpu: 1, memory: 2Gi}
        limits: {memory: 2Gi}
"""


def without(fragment: str, text: str = SOUND) -> str:
    """``text`` less the lines that contain ``fragment``."""
    kept = [line for line in text.splitlines() if fragment not in line]
    assert len(kept) < len(text.splitlines())
    return "\n".join(kept) + "\n"


def changed(old: str, new: str, text: str = SOUND) -> str:
    assert old in text
    return text.replace(old, new)


def stated(*lines: str, text: str = SOUND) -> str:
    """``text`` with more lines in the predictor."""
    return changed("    minReplicas: 2\n", "    minReplicas: 2\n" + "".join(f"    {line}\n" for line in lines), text)


def annotated(mode: str, *annotations: str) -> str:
    """The sound manifest in another mode (or without one), with these annotations only."""
    lines = [f"    serving.kserve.io/deploymentMode: {mode}\n"] * bool(mode)
    text = without("autoscaling.knative.dev/class", without("deploymentMode"))
    return changed(
        "  annotations:\n", "  annotations:\n" + "".join(lines) + "".join(f"    {each}\n" for each in annotations), text
    )


def one(found: list[Finding]) -> list[Finding]:
    assert len(found) == 1, found
    return found


BEFORE_MODEL = SOUND.partition("    model:\n")[0]
NOT_OURS = [
    changed("name: mlflow", "name: sklearn"),
    changed("protocolVersion: v2", "runtime: runtime-of-ones-own"),
    BEFORE_MODEL + "    sklearn: {storageUri: s3://models/1/}\n",
    changed("Mode: Serverless", "Mode: ModelMesh"),
]
"""Models that another runtime than the stack's serves."""


RUNTIME = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: own}
spec:
  supportedModelFormats: [{name: mlflow, version: "2", autoSelect: true}]
  containers:
  - name: kserve-container
    image: registry.example/own:1
    env: [{name: MODELS_DIR, value: /mnt/models}]
    ports: [{containerPort: 8080}]
    resources:
      requests: {cpu: "1", memory: 2Gi}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: store, annotations: {serving.kserve.io/s3-endpoint: store.example}}
data:
  AWS_ACCESS_KEY_ID: bWU=
"""
CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models}
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 10Gi
"""


# api_version_is_served


@failing(
    "manifests.api_version_is_served",
    because="'serving.kserve.io/v1alpha1' has no InferenceService, expected serving.kserve.io/v1beta1 (KServe 0.14.1)",
    at="apiVersion: ",
)
def test_an_api_version_that_the_kind_does_not_have() -> list[Finding]:
    lines = SOUND.replace("io/v1beta1", "io/v1alpha1").splitlines()
    return one(findings("manifests.api_version_is_served", "\n".join([*lines[1:], lines[0]])))


@pytest.mark.parametrize(
    ("text", "because", "at"),
    [
        (changed("kserve.io/v1beta1", "kubeflow.org/v1beta1"), "kubeflow.org/v1beta1' has no InferenceService, expected serving", "apiV"),
        (changed("kserve.io/v1beta1", "kserv.io/v1beta1"), "'serving.kserv.io/v1beta1' has no InferenceService, expected serving", "apiV"),
        (changed("serving.kserve.io/v1beta1", "v1beta1"), "apiVersion 'v1beta1' has no InferenceService, expected serving", "apiV"),
        (changed("apiVersion: ", "api_version: "), "has no apiVersion but an api_version, expected apiVersion: serving", "api_version: "),
        (without("apiVersion"), "InferenceService has no apiVersion, expected serving.kserve.io/v1beta1", "kind: "),
        (changed("apiVersion: serving.kserve.io/v1beta1", "apiVersion:"), "InferenceService has no apiVersion, expected serving", "apiV"),
        (without("kind: "), "the object has no kind, expected InferenceService (KServe 0.14.1)", "apiVersion: "),
        ("apiVersion: serving.kserve.io/v1alpha1\n", "the object has no kind, expected one of ClusterServingRuntime, ", "apiV"),
        (changed("kind: I", "kind: i"), "has no kind 'inferenceService'; did you mean 'InferenceService' of serving", "kind: "),
        (changed("Service\n", "Servise\n"), "has no kind 'InferenceServise'; did you mean 'InferenceService' of ", "kind: "),
        (changed("Runtime\n", "Runtimes\n", RUNTIME), "no kind 'ServingRuntimes'; did you mean 'ServingRuntime' of serving", "kind: "),
        (changed("v1alpha1", "v1beta1", RUNTIME), "'serving.kserve.io/v1beta1' has no ServingRuntime, expected serving", "apiV"),
        (changed("kind: ", "kind: LLM"), "has no kind 'LLMInferenceService'; it has ClusterServingRuntime, ", "kind: "),
        (changed("InferenceService", "Deployment"), "has no kind 'Deployment'; it has ClusterServingRuntime, ", "kind: "),
        (changed("apiVersion: v1", "apiVersion: v1beta1", SECRET), "apiVersion 'v1beta1' has no Secret, expected v1 (KServe", "apiV"),
        (changed("kind: Secret", "kind: secret", SECRET), "has no kind 'secret'; did you mean 'Secret' of v1?", "kind: "),
        (without("apiVersion", CLAIM), "PersistentVolumeClaim has no apiVersion, expected v1", "kind: "),
    ],
)  # fmt: skip
def test_an_object_with_a_wrong_address(text: str, because: str, at: str) -> None:
    @failing("manifests.api_version_is_served", because=because, at=at)
    def example() -> list[Finding]:
        return one(findings("manifests.api_version_is_served", text))

    example()


@pytest.mark.parametrize("text", [RUNTIME, SECRET, CLAIM])
@passing("manifests.api_version_is_served", at="apiVersion: ")
def test_another_object_with_its_api_version(text: str) -> list[Finding]:
    return findings("manifests.api_version_is_served", text)


@passing(
    "manifests.api_version_is_served", because="serving.kserve.io/v1alpha1 has LLMInferenceService (KServe 0.20.0)"
)
def test_a_kind_that_only_a_later_version_has() -> list[Finding]:
    text = "apiVersion: serving.kserve.io/v1alpha1\nkind: LLMInferenceService\nmetadata: {name: a}\n"
    return findings("manifests.api_version_is_served", text, "current")


@passing("manifests.api_version_is_served", because="serving.kserve.io/v1beta1 has InferenceService", at="apiVersion: ")
def test_an_api_version_that_the_kind_has() -> list[Finding]:
    return findings("manifests.api_version_is_served", SOUND)


# fields_are_known


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("containerSpec: {readinessProbe: {}}", "no field spec.predictor.containerSpec; did you mean 'containers'? (KServe"),
        ("storageUri: s3://a/", "no field spec.predictor.storageUri; it belongs to spec.predictor.model (KServe"),
        ("wholly: new", "the API has no field spec.predictor.wholly (KServe"),
        ("tolerations: [{key: gpu, weather: fine}]", "no field spec.predictor.tolerations[0].weather; available: effect, key, "),
    ],
)  # fmt: skip
def test_a_field_that_the_api_does_not_have_so(line: str, because: str) -> None:
    @failing("manifests.fields_are_known", because=because, at=line)
    def example() -> list[Finding]:
        return one(findings("manifests.fields_are_known", stated(line, text=without("scaleTarget"))))

    example()


@pytest.mark.parametrize(
    ("text", "because", "at"),
    [
        (f"{SECRET}status: {{}}\n", "no field status", "status: {}"),
        (f"{CLAIM}status: {{faze: Bound}}\n", "no field status.faze", "status: {faze: Bound}"),
        (changed("    image:", "    storageUri: s3://a/\n    image:", RUNTIME), "spec.containers[0].storageUri (KServe", "storageUri: "),
        (changed("  supported", "  multimodel: true\n  supported", RUNTIME), "spec.multimodel; did you mean 'multiModel'?", "multimodel: "),
        (changed("\ndata:", "\nstringdata:", SECRET), "did you mean 'stringData'?", "stringdata:"),
        (changed("      storage: 10Gi", "      storage: 10Gi\n    request: {}", CLAIM), "spec.resources.request; did you", "request: {}"),
        (changed("metadata: {name: models}", "metadata: {name: models, lables: {}}", CLAIM), "metadata.lables; did you mean", "metadata: "),
    ],
)  # fmt: skip
def test_a_field_that_another_object_does_not_have(text: str, because: str, at: str) -> None:
    @failing("manifests.fields_are_known", because=because, at=at)
    def example() -> list[Finding]:
        return one(findings("manifests.fields_are_known", text))

    example()


@pytest.mark.parametrize("text", [RUNTIME, RUNTIME.replace("kind: ", "kind: Cluster"), SECRET, CLAIM])
@passing("manifests.fields_are_known")
def test_the_known_fields_of_other_objects(text: str) -> list[Finding]:
    return findings("manifests.fields_are_known", text)


@pytest.mark.parametrize(
    ("context", "listed"),
    [("securityContext: {podwards: 1}", False), ("containers: [{name: a, securityContext: {podwards: 1}}]", True)],
)
def test_the_fields_of_a_type_are_listed_up_to_twelve(context: str, listed: bool) -> None:
    """In KServe 0.20.0 the security context of a pod has 13 fields, and that of a container 12."""
    (found,) = findings("manifests.fields_are_known", stated(context), "current")
    assert ("; available: allowPrivilegeEscalation, " in found.message) is listed
    assert found.message.endswith("windowsOptions (KServe 0.20.0)" if listed else ".podwards (KServe 0.20.0)")


@failing("manifests.fields_are_known", because="spec.predictor.autoScaling")
def test_a_field_that_only_a_later_version_has() -> list[Finding]:
    return one(findings("manifests.fields_are_known", stated("autoScaling: {metrics: []}"), "2024.11"))


@passing("manifests.fields_are_known")
def test_the_same_field_in_the_version_that_has_it() -> list[Finding]:
    return findings("manifests.fields_are_known", stated("autoScaling: {metrics: []}"), "current")


@passing("manifests.fields_are_known", because="every field is in the API of KServe 0.14.1", at="apiVersion: ")
def test_known_fields() -> list[Finding]:
    return findings("manifests.fields_are_known", SOUND)


@pytest.mark.parametrize("time", ["null", "2026-11-29T18:00:00Z", '"2026-11-29T18:00:00Z"'])
@passing("manifests.fields_are_known")
def test_a_custom_container_with_everything_that_a_pod_has(time: str) -> list[Finding]:
    return findings(
        "manifests.fields_are_known",
        f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: custom, creationTimestamp: {time}, labels: {{team: a}}}}
spec:
  predictor:
    hostIPC: false
    overhead: {{cpu: 0.1, memory: 1Gi}}
    nodeSelector: {{disk: ssd}}
    tolerations: [{{key: gpu, operator: Exists, tolerationSeconds: 30}}]
    volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: 1Gi}}}}, {{name: tmp, emptyDir: {{sizeLimit: 1000000}}}}]
    containers:
    - name: kserve-container
      image: example/custom:1
      ports: [{{containerPort: 8080, protocol: TCP}}]
      env: [{{name: A, value: "1"}}, {{name: B, valueFrom: {{resourceFieldRef: {{resource: limits.cpu, divisor: 1}}}}}}]
      livenessProbe: {{httpGet: {{path: /, port: http1}}, periodSeconds: 10}}
      resources: {{requests: {{cpu: 1}}, limits: {{cpu: 0.5, nvidia.com/gpu: 1}}}}
status: {{whatever: the cluster says}}
""",
    )


# schema_is_met


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("scaleTarget: 9223372036854775808", "spec.predictor.scaleTarget is 9223372036854775808, expected at most 9223372036854775807"),
        ("scaleTarget: '70'", "spec.predictor.scaleTarget is a string '70', expected an integer (KServe 0.14.1)"),
        ("scaleTarget: 7.5", "spec.predictor.scaleTarget is a number 7.5, expected an integer (KServe"),
        ("hostIPC: 1", "spec.predictor.hostIPC is an integer 1, expected a boolean (KServe"),
        ("hostname: 5", "spec.predictor.hostname is an integer 5, expected a string: put it in quotes (KServe"),
        ("hostname: true", "spec.predictor.hostname is a boolean True, expected a string: put it in quotes (KServe"),
        ("hostname: [a]", "spec.predictor.hostname is a list, expected a string (KServe"),
        ("hostname: {a: b}", "spec.predictor.hostname is a mapping, expected a string (KServe"),
        ("tolerations: {key: gpu}", "spec.predictor.tolerations is a mapping, expected a list (KServe"),
        ("tolerations: 5", "spec.predictor.tolerations is an integer 5, expected a list (KServe"),
        ("tolerations: [gpu]", "spec.predictor.tolerations[0] is a string 'gpu', expected a mapping (KServe"),
        ("tolerations: [null]", "spec.predictor.tolerations[0] is empty, expected a mapping (KServe"),
        ("nodeSelector: [ssd]", "spec.predictor.nodeSelector is a list, expected a mapping (KServe"),
        ("nodeSelector: {disk: 5}", "spec.predictor.nodeSelector.disk is an integer 5, expected a string: put it in quotes"),
        ("affinity: near", "spec.predictor.affinity is a string 'near', expected a mapping (KServe"),
        ("volumes: [{name: shm, emptyDir: {sizeLimit: true}}]", "emptyDir.sizeLimit is a boolean True, expected a quantity, s"),
        ("volumes: [{name: shm, emptyDir: {sizeLimit: [1]}}]", "emptyDir.sizeLimit is a list, expected a quantity, such as"),
        ("volumes: [{name: shm, emptyDir: {sizeLimit: 1gb}}]", "sizeLimit is a string '1gb', expected a quantity, such as 50"),
        ("volumes: [{name: shm, emptyDir: {sizeLimit: 1e}}]", "sizeLimit is a string '1e', expected a quantity, such as 50"),
        ("volumes: [{name: shm, emptyDir: {sizeLimit: ''}}]", "sizeLimit is a string '', expected a quantity, such as 50"),
        ("volumes: [{emptyDir: {}}]", "spec.predictor.volumes[0] has no 'name', which the API requires (KServe 0.14.1)"),
        ("volumes: [{name: , emptyDir: {}}]", "spec.predictor.volumes[0].name is empty, expected a string (KServe 0.14.1)"),
        ("maxReplicas: .inf", "spec.predictor.maxReplicas is a number .inf, expected an integer"),
        ("maxReplicas: -.inf", "spec.predictor.maxReplicas is a number -.inf, expected an integer"),
        ("batcher: {timeout: .nan}", "spec.predictor.batcher.timeout is a number .nan, expected an integer"),
        ("initContainers: [{name: a, env: [{name: A, value: 98765432}]}]", "env[0].value is an integer, expected a string: put it in"),
        (f"affinity: 'https://me:{'x' * 80}@h/'", "affinity is a string 'https://me:[redacted]@h/', expected a mapping"),
        ("scaleMetric: CPU", "is 'CPU', expected one of 'cpu', 'memory', 'concurrency', 'rps' (KServe 0.14.1)"),
        ("scaleMetric: memroy", "'concurrency', 'rps'; did you mean 'memory'? (KServe 0.14.1)"),
        ("initContainers: [{name: a, ports: [{containerPort: 2147483648}]}]", "2147483648, expected at most 2147483647"),
        ("initContainers: [{name: a, livenessProbe: {tcpSocket: {port: 8.5}}}]", "8.5, expected an integer or a string"),
        ("initContainers: [{name: a, env: [{name: A}, {name: A}]}]", "env[1] has the name 'A' of an earlier item, and items"),
        (
            "initContainers: [{name: a, ports: [{containerPort: 80}, {containerPort: 80, protocol: TCP}]}]",
            "ports[1] has the containerPort 80, protocol 'TCP' of an earlier item, and items of this list must differ",
        ),
    ],
)  # fmt: skip
def test_a_value_that_the_schema_does_not_allow(line: str, because: str) -> None:
    @failing("manifests.schema_is_met", because=because, at=line)
    def example() -> list[Finding]:
        text = without("scaleMetric", without("scaleTarget"))
        return one(findings("manifests.schema_is_met", stated(line, text=text)))

    example()


@failing(
    "manifests.schema_is_met",
    because="data.PGPASSWORD is an integer, expected a string: put it in",
    at="PGPASSWORD: 98765432",
)
def test_a_number_in_a_config_map_is_not_shown() -> list[Finding]:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: database}\ndata:\n  PGPASSWORD: 98765432\n"
    return one(findings("manifests.schema_is_met", text))


@failing("manifests.schema_is_met", because="metadata.creationTimestamp is an integer 5", at="creationTimestamp: 5")
def test_a_time_that_is_none() -> list[Finding]:
    return one(findings("manifests.schema_is_met", changed("metadata:\n", "metadata:\n  creationTimestamp: 5\n")))


@failing("manifests.schema_is_met", because="is 'now', expected a time such as '2024", at="creationTimestamp: now")
def test_a_text_that_is_no_time() -> list[Finding]:
    return one(findings("manifests.schema_is_met", changed("metadata:\n", "metadata:\n  creationTimestamp: now\n")))


@failing(
    "manifests.schema_is_met",
    because="annotations.autoscaling.knative.dev/target is an integer 5, expected a string: put it in quotes",
    at="autoscaling.knative.dev/target: 5",
)
def test_an_annotation_that_yaml_reads_as_a_number() -> list[Finding]:
    return one(findings("manifests.schema_is_met", annotated("Serverless", "autoscaling.knative.dev/target: 5")))


@pytest.mark.parametrize(
    ("text", "because", "at"),
    [
        (f"{SOUND}status: {{url: 1}}\n", "status.url is an integer 1, expected a string", "status: {url: 1}"),
        (changed("- name: kserve-container\n    image: ", "- image: ", RUNTIME), "spec.containers[0] has no 'name'", "- image: "),
        (changed("autoSelect: true", "priority: 0", RUNTIME), "supportedModelFormats[0].priority is 0, expected at least 1", "supported"),
        (changed('cpu: "1"', "cpu: 0.5", RUNTIME), "requests.cpu is a number 0.5, expected a quantity", "requests:"),
        (changed("bWU=", "me", SECRET), "data.AWS_ACCESS_KEY_ID is not base64: encode it, or put the plain", "AWS_ACCESS_KEY_ID"),
        (changed("bWU=", "12345", SECRET), "AWS_ACCESS_KEY_ID is an integer, expected a string: put it in quotes", "AWS_ACCESS_KEY_ID"),
        (changed("10Gi", "10GB", CLAIM), "spec.resources.requests.storage is a string '10GB', expected a quantity", "storage: "),
        (changed("[ReadWriteOnce]", "ReadWriteOnce", CLAIM), "is a string 'ReadWriteOnce', expected a list", "accessModes: "),
    ],
)  # fmt: skip
def test_a_value_that_the_schema_of_another_object_does_not_allow(text: str, because: str, at: str) -> None:
    @failing("manifests.schema_is_met", because=because, at=at)
    def example() -> list[Finding]:
        return one(findings("manifests.schema_is_met", text))

    example()


def test_a_long_value_is_shown_in_part() -> None:
    (found,) = findings("manifests.schema_is_met", stated(f"affinity: {'near ' * 100}"))
    assert found.message.count("near") < 20
    assert len(found.message) < 160


def test_the_values_of_a_secret_are_not_shown() -> None:
    for field in ("data: {key: 5401}", "data: {key: '5401.'}", "stringData: {key: 5401}", "data: {key: [5401]}"):
        text = changed("data:\n  AWS_ACCESS_KEY_ID: bWU=", field, SECRET)
        (found,) = findings("manifests.schema_is_met", text)
        assert "5401" not in found.message, found.message


@pytest.mark.parametrize(
    "line",
    [
        "scaleTarget: 70.0",
        "scaleTarget: null",
        "canaryTrafficPercent: ",
        "overhead: {cpu: 0.1, memory: ' 1Gi ', storage: 1e3, pods: .5, other: +1.}",
        "initContainers: [{name: a, args: [null], ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]}]",
        "containers: [{image: a}]",
        "initContainers: [{name: a, livenessProbe: {tcpSocket: {port: http}}}]",
    ],
)
@passing(
    "manifests.schema_is_met", because="every value is one that the API of KServe 0.14.1 allows", at="apiVersion: "
)
def test_a_value_that_the_api_server_reads_as_one_that_it_allows(line: str) -> list[Finding]:
    return findings("manifests.schema_is_met", stated(line, text=without("scaleTarget")))


def with_canary(predictor: str) -> str:
    return SOUND + f"  canary: [{{trafficPercent: 20, predictor: {{name: candidate, {predictor}}}}}]\n"


@passing("manifests.schema_is_met")
@pytest.mark.parametrize("field", ["model: {modelFormat: {name: mlflow}, storageUri: 's3://a/b'}", "sklearn: {}"])
def test_the_model_of_a_canary_without_a_name_for_its_container(field: str) -> list[Finding]:
    return findings("manifests.schema_is_met", with_canary(field), "current")


@pytest.mark.parametrize("form", ["", "modelFormat: null, ", "modelFormat: {}, ", "modelFormat: {name: null}, "])
@passing("manifests.schema_is_met")
def test_the_model_of_a_canary_that_has_the_stable_one_s_format(form: str) -> list[Finding]:
    return findings("manifests.schema_is_met", with_canary(f"model: {{{form}storageUri: 's3://a'}}"), "current")


@failing(
    "manifests.schema_is_met", because="spec.canary[0].predictor.model.modelFormat.name is an integer 5", at="canary: "
)
def test_the_model_of_a_canary_with_a_format_that_is_no_text() -> list[Finding]:
    return findings("manifests.schema_is_met", with_canary("model: {modelFormat: {name: 5}}"), "current")


@failing("manifests.schema_is_met", because="spec.canary[0].predictor.containers[0] has no 'name'", at="canary: ")
def test_a_container_of_a_canary_without_a_name() -> list[Finding]:
    return findings("manifests.schema_is_met", with_canary("containers: [{image: a}]"), "current")


@passing("manifests.schema_is_met")
def test_a_status_as_the_cluster_has_it() -> list[Finding]:
    return findings(
        "manifests.schema_is_met", f"{SOUND}status: {{conditions: [{{status: 'True'}}], url: 'http://a'}}\n"
    )


@pytest.mark.parametrize("text", [RUNTIME, RUNTIME.replace("kind: ", "kind: Cluster"), SECRET, CLAIM])
@passing("manifests.schema_is_met")
def test_the_allowed_values_of_other_objects(text: str) -> list[Finding]:
    return findings("manifests.schema_is_met", text)


@passing("manifests.schema_is_met")
def test_line_breaks_in_base64_and_an_empty_value() -> list[Finding]:
    return findings("manifests.schema_is_met", changed("bWU=", "|\n    bWVt\n    bWU=\n  OTHER:", SECRET))


LLM = """\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: a}
spec:
  model: {uri: hf://a/b, name: b}
  replicas: 2
"""


ROUTED = changed("  replicas: 2\n", "  replicas: 2\n  router: {route: {http: {spec: {rules: [{matches: []}]}}}}\n", LLM)


@passing("manifests.schema_is_met", because="expressions (CEL) of its HTTP route are not judged", at="apiVersion: ")
def test_what_is_not_judged_of_a_route_is_stated() -> list[Finding]:
    return findings("manifests.schema_is_met", ROUTED, "current")


@passing("manifests.schema_is_met", because="every value is one that the API of KServe 0.20.0 allows")
def test_a_later_kind_without_a_route() -> list[Finding]:
    found = findings("manifests.schema_is_met", LLM, "current")
    assert not any("not judged" in finding.message for finding in found)
    return found


@failing("manifests.schema_is_met", because="spec.replicas is a string 'two', expected an integer", at="replicas: two")
def test_a_value_of_a_later_kind() -> list[Finding]:
    return one(findings("manifests.schema_is_met", changed("replicas: 2", "replicas: two", LLM), "current"))


@not_applicable("manifests.schema_is_met", because="the stack has no schema of serving.kserve.io/v1/TrainedModel")
def test_a_version_without_a_schema() -> list[Finding]:
    return findings("manifests.schema_is_met", "apiVersion: serving.kserve.io/v1\nkind: TrainedModel\nspec: {}\n")


@not_applicable("manifests.fields_are_known", because="the stack has no schema of serving.kserve.io/v1/TrainedModel")
def test_the_fields_of_a_version_without_a_schema() -> list[Finding]:
    return findings("manifests.fields_are_known", "apiVersion: serving.kserve.io/v1\nkind: TrainedModel\nspec: {}\n")


@inconclusive("manifests.schema_is_met", because="data.password is not base64", at="password: ")
def test_a_value_that_is_filled_later() -> list[Finding]:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  password: '{{ password | b64encode }}'\n"
    return findings("manifests.schema_is_met", text)


@pytest.mark.parametrize("value", ["${MIN}", "${MIN:=1}", "$(MIN)", "$MIN"])
@inconclusive("manifests.schema_is_met", because="it has a placeholder, whose value is not in the file", at="minRepl")
def test_a_number_that_is_filled_later(value: str) -> list[Finding]:
    return findings("manifests.schema_is_met", changed("minReplicas: 2", f"minReplicas: {value}"))


# name_is_valid


@pytest.mark.parametrize("name", ["Recommendation_Classifier", "-a", "a-", "1a", "5", "null", "[a]"])
@failing("manifests.name_is_valid", because="it must match", at="name: ")
def test_a_name_that_the_webhook_refuses(name: str) -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", f"  name: {name} #"))


@inconclusive("manifests.name_is_valid", because="it has a placeholder, whose value is not in the file", at="name: ")
def test_a_name_that_is_filled_later() -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", "  name: ${NAME} #"))


@failing("manifests.name_is_valid", because="KServe rejects the name None", at="metadata:")
def test_no_name() -> list[Finding]:
    return findings("manifests.name_is_valid", without("  name: recommendation-"))


@failing("manifests.name_is_valid", because="longer than the 63", at="name: aaa")
def test_a_name_that_leaves_no_room_for_the_service() -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", f"  name: {'a' * 54} #"))


@failing("manifests.name_is_valid", because="-transformer is longer than the 63", at="name: aaa")
def test_a_name_that_leaves_no_room_for_the_transformer() -> list[Finding]:
    text = changed("  name: recommendation-", f"  name: {'a' * 52} #")
    return findings("manifests.name_is_valid", text + "  transformer: {containers: [{name: a, image: b}]}\n")


@passing("manifests.name_is_valid")
def test_a_name_that_leaves_no_room_for_a_transformer_that_is_null() -> list[Finding]:
    text = changed("  name: recommendation-", f"  name: {'a' * 52} #")
    return findings("manifests.name_is_valid", text + "  transformer: null\n")


@failing("manifests.name_is_valid", because="-candidate-predictor is longer than the 63", at="name: aaa")
def test_a_name_that_leaves_no_room_for_a_canary() -> list[Finding]:
    text = changed("  name: recommendation-", f"  name: {'a' * 44} #")
    return findings("manifests.name_is_valid", text + "  canary: [{predictor: {name: candidate}}]\n", "current")


@pytest.mark.parametrize("name", ["recommendation-classifier", "a", "a" * 53])
@pytest.mark.parametrize("generated", ["", "  generateName: Recommendation-\n"])
@passing("manifests.name_is_valid", because="KServe admits the name", at="name: ")
def test_an_admitted_name(generated: str, name: str) -> list[Finding]:
    text = changed("  name: recommendation-classifier", f"{generated}  name: {name}")
    return findings("manifests.name_is_valid", text)


@pytest.mark.parametrize("prefix", ["A-", "a_", "1a"])
@failing("manifests.name_is_valid", because="the names that begin with", at="generateName: ")
def test_generated_names_that_the_webhook_refuses(prefix: str) -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", f"  generateName: {prefix} #"))


@failing("manifests.name_is_valid", because="and a name 5 more", at="generateName: ")
def test_a_generated_name_that_leaves_no_room_for_the_service() -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", f"  generateName: {'a' * 49} #"))


@not_applicable("manifests.name_is_valid", because="the API server generates the name", at="metadata:")
def test_a_prefix_that_leaves_room_for_the_service() -> list[Finding]:
    return findings("manifests.name_is_valid", changed("  name: recommendation-", f"  generateName: {'a' * 48} #"))


@not_applicable("manifests.name_is_valid", because="the API server generates the name", at="metadata:")
def test_a_name_that_the_api_server_generates() -> list[Finding]:
    return findings("manifests.name_is_valid", changed("\n  name: ", "\n  generateName: "))


# deployment_mode_is_supported


@failing(
    "manifests.deployment_mode_is_supported",
    because="'Standard' is unknown and ignored: Serverless applies",
    at="serving.kserve.io/deploymentMode: Standard",
)
def test_the_new_name_of_a_mode_on_an_old_kserve() -> list[Finding]:
    return findings("manifests.deployment_mode_is_supported", annotated("Standard"), "2024.11")


@passing("manifests.deployment_mode_is_supported", at="serving.kserve.io/deploymentMode: Standard")
def test_the_new_name_of_a_mode() -> list[Finding]:
    return findings("manifests.deployment_mode_is_supported", annotated("Standard"), "current")


@inconclusive(
    "manifests.deployment_mode_is_supported", because="the deployment mode is '${MODE}': it has a placeholder"
)
def test_a_mode_that_is_filled_later() -> list[Finding]:
    return findings("manifests.deployment_mode_is_supported", annotated("${MODE}"))


@not_applicable("manifests.deployment_mode_is_supported", because="no deployment mode;", at="annotations:")
def test_the_clusters_own_mode() -> list[Finding]:
    return findings("manifests.deployment_mode_is_supported", without("deploymentMode"))


# autoscaler_fits_deployment_mode

CLASS = "serving.kserve.io/autoscalerClass: "
HPA_OF_KNATIVE = "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev"


@pytest.mark.parametrize("mode", ["Serverless", "Knative"])
def test_hpa_in_a_mode_of_knative(mode: str) -> None:
    @failing("manifests.autoscaler_fits_deployment_mode", because=f"'hpa' is ignored in {mode} mode", at=CLASS + "hpa")
    def example() -> list[Finding]:
        text = annotated(mode, CLASS + "hpa", HPA_OF_KNATIVE)
        return one(findings("manifests.autoscaler_fits_deployment_mode", text, "current"))

    example()


@failing("manifests.autoscaler_fits_deployment_mode", because="Serverless is the platform's default", at=CLASS + "hpa")
def test_hpa_without_a_mode() -> list[Finding]:
    text = annotated("", CLASS + "hpa", HPA_OF_KNATIVE)
    return one(findings("manifests.autoscaler_fits_deployment_mode", text))


@failing("manifests.autoscaler_fits_deployment_mode", because="rejects the autoscaler class 'keda'", at=CLASS + "keda")
def test_a_class_that_this_version_does_not_have() -> list[Finding]:
    return findings("manifests.autoscaler_fits_deployment_mode", annotated("RawDeployment", CLASS + "keda"))


@pytest.mark.parametrize(
    ("mode", "metric", "because"),
    [
        ("Serverless", "cpu", "in Serverless mode use concurrency or rps"),
        ("Serverless", "memory", "in Serverless mode use concurrency or rps"),
        ("Knative", "cpu", "in Knative mode use concurrency or rps"),
        ("RawDeployment", "concurrency", "in RawDeployment mode use cpu or memory"),
        ("Standard", "rps", "in Standard mode use cpu or memory"),
    ],
)
def test_a_metric_that_does_not_work_in_the_mode(mode: str, metric: str, because: str) -> None:
    @failing("manifests.autoscaler_fits_deployment_mode", because=because, at=f"scaleMetric: {metric}")
    def example() -> list[Finding]:
        text = annotated(mode).replace("scaleMetric: cpu", f"scaleMetric: {metric}")
        return one(findings("manifests.autoscaler_fits_deployment_mode", text, "current"))

    example()


@failing("manifests.autoscaler_fits_deployment_mode", because="scaleMetric 'cpu' does not work")
def test_a_class_of_the_other_modes_excuses_no_metric_in_a_mode_of_knative() -> list[Finding]:
    found = findings(
        "manifests.autoscaler_fits_deployment_mode", annotated("Serverless", CLASS + "external"), "current"
    )
    assert len(found) == 2
    return found


@pytest.mark.parametrize("component", ["transformer", "explainer"])
@failing("manifests.autoscaler_fits_deployment_mode", because="scaleMetric 'rps' does not work", at="scaleMetric: rps")
def test_a_metric_of_another_component(component: str) -> list[Finding]:
    text = annotated("RawDeployment") + f"  {component}:\n    minReplicas: 1\n    scaleMetric: rps\n"
    return one(findings("manifests.autoscaler_fits_deployment_mode", text))


@failing(
    "manifests.autoscaler_fits_deployment_mode", because="scaleMetric with the autoscaler class keda", at="scaleMetric:"
)
def test_scale_metric_with_keda() -> list[Finding]:
    return one(findings("manifests.autoscaler_fits_deployment_mode", annotated("Standard", CLASS + "keda"), "current"))


@failing(
    "manifests.autoscaler_fits_deployment_mode", because="autoScaling is ignored in Serverless mode", at="autoScaling:"
)
def test_auto_scaling_in_a_mode_of_knative() -> list[Finding]:
    return one(findings("manifests.autoscaler_fits_deployment_mode", stated("autoScaling: {metrics: []}"), "current"))


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        (SOUND, "cpu"),
        (SOUND, "memory"),
        (annotated("Serverless"), "concurrency"),
        (annotated("Serverless"), "rps"),
        (annotated("RawDeployment"), "cpu"),
        (annotated("RawDeployment", CLASS + "hpa"), "memory"),
        (annotated("Standard", CLASS + "external"), "concurrency"),
        (annotated("Standard", CLASS + "none"), "concurrency"),
        (without("scaleMetric", stated("scaleMetric: null", text=annotated("Standard", CLASS + "keda"))), "cpu"),
        (stated("autoScaling: {metrics: []}", text=annotated("Standard")), "cpu"),
    ],
)
@passing("manifests.autoscaler_fits_deployment_mode", because="have an effect in ", at="apiVersion: ")
def test_an_autoscaler_of_the_mode(text: str, metric: str) -> list[Finding]:
    text = text.replace("scaleMetric: cpu", f"scaleMetric: {metric}")
    return one(findings("manifests.autoscaler_fits_deployment_mode", text, "current"))


@not_applicable("manifests.autoscaler_fits_deployment_mode", because="ModelMesh scales its own pods", at="apiVersion: ")
def test_an_autoscaler_of_modelmesh() -> list[Finding]:
    return one(findings("manifests.autoscaler_fits_deployment_mode", annotated("ModelMesh", CLASS + "hpa")))


# protocol_version_is_served


@failing(
    "manifests.protocol_version_is_served", because="'v1' is not served by kserve-mlserver", at="protocolVersion: v1"
)
def test_protocol_v1_for_an_mlflow_model() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "protocolVersion: v1"))


@failing("manifests.protocol_version_is_served", because="looks for a runtime that serves v1", at="model:")
def test_no_protocol_for_an_mlflow_model() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", without("protocolVersion"))


@inconclusive(
    "manifests.protocol_version_is_served", because="protocolVersion is '${PROTOCOL}'", at="protocolVersion: "
)
def test_a_protocol_version_that_is_filled_later() -> list[Finding]:
    text = changed("protocolVersion: v2", "protocolVersion: ${PROTOCOL}")
    return findings("manifests.protocol_version_is_served", text)


@not_applicable("manifests.protocol_version_is_served", because="does not serve this model", at="predictor:")
def test_a_model_that_kserve_drops_for_an_older_field() -> list[Finding]:
    text = without("protocolVersion")
    return findings("manifests.protocol_version_is_served", stated("sklearn: {storageUri: s3://models/1/}", text=text))


@passing("manifests.protocol_version_is_served", because="KServe asks no runtime for a protocol that is empty")
def test_an_empty_protocol_for_an_mlflow_model() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "protocolVersion: ''"))


@not_applicable("manifests.protocol_version_is_served", because="the stack's runtime for MLflow models does not serve")
def test_no_protocol_where_the_name_of_the_runtime_is_empty() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "runtime: ''"))


@passing("manifests.protocol_version_is_served", because="kserve-mlserver serves v2", at="protocolVersion: v2")
def test_protocol_v2() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", SOUND)


@passing("manifests.protocol_version_is_served", because="KServe sets v2 for the runtime kserve-mlserver")
def test_no_protocol_where_the_runtime_is_named() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "runtime: kserve-mlserver"))


@pytest.mark.parametrize(
    "contract", ["protocol_version_is_served", "model_readiness_is_probed", "format_version_is_served"]
)
@pytest.mark.parametrize("text", NOT_OURS)
def test_a_model_that_another_runtime_serves(contract: str, text: str) -> None:
    @not_applicable(
        f"manifests.{contract}",
        because="the stack's runtime for MLflow models does not serve this model",
        at="predictor:",
    )
    def example() -> list[Finding]:
        return one(findings(f"manifests.{contract}", text))

    example()


# no_canary_on_first_deployment

CANARY = changed("    minReplicas: 2\n", "    canaryTrafficPercent: 20\n")


@failing(
    "manifests.no_canary_on_first_deployment",
    because="no earlier revision has been rolled out",
    at="canaryTrafficPercent: 20",
)
def test_a_canary_percentage_on_a_service_without_a_revision() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", CANARY + "status: {components: {predictor: {}}}\n")


@failing("manifests.no_canary_on_first_deployment", because="no earlier revision has been rolled out")
def test_a_canary_percentage_on_a_service_that_is_yet_to_be_named() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", changed("\n  name: ", "\n  generateName: ", CANARY))


@pytest.mark.parametrize("names", ["  name: ", "  generateName: recommendation-\n  name: ", "  # no name: "])
@inconclusive("manifests.no_canary_on_first_deployment", because="the file does not show whether this is one")
def test_a_canary_percentage_on_a_service_that_may_exist(names: str) -> list[Finding]:
    return findings(
        "manifests.no_canary_on_first_deployment", changed("  name: recommend", f"{names}recommend", CANARY)
    )


@pytest.mark.parametrize(
    "text",
    [
        stated("canaryTrafficPercent: 20", text=annotated("RawDeployment")),
        annotated("RawDeployment") + "  transformer:\n    canaryTrafficPercent: 20\n",
        annotated("RawDeployment") + "  explainer:\n    canaryTrafficPercent: 20\n",
    ],
)
@failing(
    "manifests.no_canary_on_first_deployment", because="is ignored in RawDeployment mode", at="canaryTrafficPercent: 20"
)
def test_a_canary_percentage_in_raw_mode(text: str) -> list[Finding]:
    return one(findings("manifests.no_canary_on_first_deployment", text))


@passing(
    "manifests.no_canary_on_first_deployment",
    because="20 % for the canary, the rest for the earlier revision recommendation-classifier-00001",
)
def test_a_canary_percentage_beside_an_earlier_revision() -> list[Finding]:
    status = "status: {components: {predictor: {latestRolledoutRevision: recommendation-classifier-00001}}}\n"
    return findings("manifests.no_canary_on_first_deployment", CANARY + status)


@passing("manifests.no_canary_on_first_deployment", because="all traffic goes to the new revision", at="Percent: 100")
def test_a_canary_percentage_of_all_traffic() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", CANARY.replace("Percent: 20", "Percent: 100"))


@passing("manifests.no_canary_on_first_deployment", because="no canary percentage", at="apiVersion: ")
def test_no_canary_percentage() -> list[Finding]:
    return one(findings("manifests.no_canary_on_first_deployment", SOUND))


# model_readiness_is_probed

PROBE = "        httpGet: {path: /v2/models/recommendation-classifier/ready, port: 8080}"


@failing("manifests.model_readiness_is_probed", because="no readinessProbe", at="model:")
def test_no_probe() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", without("readinessProbe", without("httpGet")))


@pytest.mark.parametrize(
    "probe",
    [
        "tcpSocket: {port: 8080}",
        "httpGet: {path: /v2/health/live, port: 8080}",
        "httpGet: {path: /v2, port: 8080}",
        "httpGet: {path: /, port: 8080}",
    ],
)
@failing("manifests.model_readiness_is_probed", because="checks whether MLServer listens", at="readinessProbe:")
def test_a_probe_that_the_open_port_satisfies(probe: str) -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed(PROBE, f"        {probe}"))


@pytest.mark.parametrize("env", ["null", "[{name: MLSERVER_DEBUG, value: 'true'}]"])
@failing("manifests.model_readiness_is_probed", because="requests the model 'other'", at="readinessProbe:")
def test_a_probe_for_another_model(env: str) -> list[Finding]:
    text = changed("    model:\n", f"    model:\n      env: {env}\n")
    return findings(
        "manifests.model_readiness_is_probed", changed("models/recommendation-classifier", "models/other", text)
    )


@passing(
    "manifests.model_readiness_is_probed",
    because="the readinessProbe requests /v2/models/recommendation-classifier/ready",
    at="readinessProbe:",
)
def test_a_probe_for_the_model() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", SOUND)


@passing("manifests.model_readiness_is_probed")
def test_a_probe_for_a_model_that_has_another_name_than_its_service() -> list[Finding]:
    env = "      env: [{name: MLSERVER_DEBUG, value: 'true'}, {name: MLSERVER_MODEL_NAME, value: other}]\n"
    text = changed("    model:\n", "    model:\n" + env)
    return findings(
        "manifests.model_readiness_is_probed", changed("models/recommendation-classifier", "models/other", text)
    )


@passing("manifests.model_readiness_is_probed")
def test_a_probe_for_a_model_of_a_service_that_is_yet_to_be_named() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed("\n  name: ", "\n  generateName: "))


@pytest.mark.parametrize(
    "get",
    [
        "{path: /v2/health/ready, port: 8080}",
        "{path: /v2/health/ready, port: '8080'}",
        "{path: /v2/models/recommendation-classifier/versions/1/ready, port: http}",
    ],
)
@passing("manifests.model_readiness_is_probed")
def test_other_probes_that_wait_for_the_model(get: str) -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed(PROBE, f"        httpGet: {get}"))


@pytest.mark.parametrize(
    ("probe", "because"),
    [
        ("httpGet: {path: /healthz, port: 8080}", "is unknown: /healthz"),
        ("httpGet: {path: 5, port: 8080}", "is unknown: 5"),
        (
            "httpGet: {path: /v2/health/ready, port: 9000}",
            "uses port 9000, but kserve-mlserver serves HTTP on 8080",
        ),
        ("httpGet: {path: /v2/health/ready, port: '9000'}", "uses port 9000"),
        ("httpGet: {path: /v2/health/ready}", "uses port None"),
        ("exec: {command: ['true']}", "is unknown: exec"),
    ],
)
def test_a_probe_of_which_nothing_is_known(probe: str, because: str) -> None:
    @inconclusive("manifests.model_readiness_is_probed", because=because, at="readinessProbe:")
    def example() -> list[Finding]:
        return one(findings("manifests.model_readiness_is_probed", changed(PROBE, f"        {probe}")))

    example()


# format_version_is_served

NAMED = "        name: mlflow\n"


@failing("manifests.format_version_is_served", because="mlflow 3: kserve-mlserver declares 1, 2", at='version: "3"')
def test_a_format_version_that_no_runtime_declares() -> list[Finding]:
    return findings("manifests.format_version_is_served", changed(NAMED, NAMED + '        version: "3"\n'))


@inconclusive("manifests.format_version_is_served", because="modelFormat.version is '{{ v }}'", at="version: ")
def test_a_format_version_that_is_filled_later() -> list[Finding]:
    return findings("manifests.format_version_is_served", changed(NAMED, NAMED + '        version: "{{ v }}"\n'))


@passing("manifests.format_version_is_served", because="kserve-mlserver declares mlflow 2", at='version: "2"')
def test_a_format_version_that_the_runtime_declares() -> list[Finding]:
    return findings("manifests.format_version_is_served", changed(NAMED, NAMED + '        version: "2"\n'))


@passing("manifests.format_version_is_served", because="no version of mlflow is required", at="modelFormat:")
def test_no_format_version() -> list[Finding]:
    return findings("manifests.format_version_is_served", SOUND)


@not_applicable("manifests.format_version_is_served", because="the manifest names the runtime", at='version: "3"')
def test_a_format_version_where_the_runtime_is_named() -> list[Finding]:
    text = changed("protocolVersion: v2", "runtime: kserve-mlserver", changed(NAMED, NAMED + '        version: "3"\n'))
    return findings("manifests.format_version_is_served", text)


@not_applicable(
    "manifests.format_version_is_served",
    because="the stack's runtime for MLflow models does not serve this model",
    at="predictor:",
)
def test_the_version_of_another_format() -> list[Finding]:
    text = changed("protocolVersion: v2", "runtime: kserve-mlserver")
    sklearn = '        name: sklearn\n        version: "9"\n'
    return one(findings("manifests.format_version_is_served", changed(NAMED, sklearn, text)))


# resources_are_set


@failing("manifests.resources_are_set", because="spec.predictor.model sets no cpu", at="resources:")
def test_memory_only() -> list[Finding]:
    return one(findings("manifests.resources_are_set", changed("cpu: 1, ", "")))


@pytest.mark.parametrize(
    "framework",
    ["sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"],
)
def test_a_framework_without_resources(framework: str) -> None:
    @failing(
        "manifests.resources_are_set", because=f"spec.predictor.{framework} sets no cpu and no memory", at=framework
    )
    def example() -> list[Finding]:
        return one(
            findings("manifests.resources_are_set", BEFORE_MODEL + f"    {framework}: {{storageUri: s3://m/}}\n")
        )

    example()


@pytest.mark.parametrize(
    ("containers", "index"),
    [
        ("[{image: example/custom:1}]", 0),
        ("[{image: example/custom:1}, {image: example/proxy:1}]", 0),
        ("[{name: proxy}, {name: kserve-container}, {name: logger}]", 1),
    ],
)
def test_a_custom_container_without_resources(containers: str, index: int) -> None:
    because = f"spec.predictor.containers.{index} sets no cpu and no memory"

    @failing("manifests.resources_are_set", because=because, at="containers: ")
    def example() -> list[Finding]:
        return one(findings("manifests.resources_are_set", BEFORE_MODEL + f"    containers: {containers}\n"))

    example()


@pytest.mark.parametrize(
    "resources",
    [
        "{requests: {cpu: 1, memory: 2Gi}}",
        "{limits: {cpu: 1, memory: 2Gi}}",
        "{requests: {cpu: 1}, limits: {memory: 2Gi}}",
    ],
)
@passing("manifests.resources_are_set", because="spec.predictor.sklearn sets cpu and memory", at="resources: ")
def test_resources(resources: str) -> list[Finding]:
    text = BEFORE_MODEL + f"    sklearn:\n      storageUri: s3://m/\n      resources: {resources}\n"
    return findings("manifests.resources_are_set", text)


@passing("manifests.resources_are_set", because="spec.predictor.model sets cpu and memory")
def test_the_models_container_is_judged_and_no_other() -> list[Finding]:
    return one(findings("manifests.resources_are_set", stated("containers: [{name: proxy}]")))


@pytest.mark.parametrize("containers", ["[]", "5", "null", "{}"])
@not_applicable(
    "manifests.resources_are_set", because="the manifest describes no container of the predictor", at="predictor:"
)
def test_no_container(containers: str) -> list[Finding]:
    return one(findings("manifests.resources_are_set", BEFORE_MODEL + f"    containers: {containers}\n"))


@not_applicable("manifests.resources_are_set", because="ModelMesh sizes the runtime's pods", at="apiVersion: ")
def test_a_container_of_modelmesh() -> list[Finding]:
    return one(findings("manifests.resources_are_set", annotated("ModelMesh")))
