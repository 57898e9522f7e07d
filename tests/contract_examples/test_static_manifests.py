"""Controls of the contracts over InferenceService manifests."""

from __future__ import annotations

import pytest
from contract_examples.registry import failing, inconclusive, passing
from contract_examples.static import findings

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome

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
      modelFormat: {name: mlflow}
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


# fields_are_known


@failing("manifests.fields_are_known", because="no field spec.predictor.containerSpec; did you mean 'containers'?")
def test_container_spec_does_not_exist() -> list[Finding]:
    text = changed("    minReplicas: 2\n", "    minReplicas: 2\n    containerSpec: {readinessProbe: {}}\n")
    return findings("manifests.fields_are_known", text)


@failing("manifests.fields_are_known", because="it belongs to spec.predictor.model")
def test_a_field_one_level_too_high() -> list[Finding]:
    return findings("manifests.fields_are_known", changed("    minReplicas: 2\n", "    storageUri: s3://a/\n"))


@failing("manifests.fields_are_known", because="spec.predictor.minReplicas is a text '2'")
def test_a_text_where_the_api_has_a_number() -> list[Finding]:
    return findings("manifests.fields_are_known", changed("minReplicas: 2", 'minReplicas: "2"'))


@failing("manifests.fields_are_known", because="put it in quotes")
def test_an_annotation_that_yaml_reads_as_a_number() -> list[Finding]:
    text = changed("    serving.kserve.io/dep", "    autoscaling.knative.dev/target: 5\n    serving.kserve.io/dep")
    return findings("manifests.fields_are_known", text)


@failing("manifests.fields_are_known", because="the API has a list there")
def test_a_mapping_where_the_api_has_a_list() -> list[Finding]:
    return findings("manifests.fields_are_known", changed("    minReplicas: 2\n", "    tolerations: {key: gpu}\n"))


@failing("manifests.fields_are_known", because="serving.kserve.io/v1alpha2")
def test_an_api_version_that_is_gone() -> list[Finding]:
    return findings("manifests.fields_are_known", changed("io/v1beta1", "io/v1alpha2"))


@failing("manifests.fields_are_known", because="spec.predictor.autoScaling")
def test_a_field_that_only_a_later_version_has() -> list[Finding]:
    text = changed("    minReplicas: 2\n", "    autoScaling: {metrics: []}\n")
    return findings("manifests.fields_are_known", text, "2024.11")


@passing("manifests.fields_are_known")
def test_the_same_field_in_the_version_that_has_it() -> list[Finding]:
    text = changed("    minReplicas: 2\n", "    autoScaling: {metrics: []}\n")
    return findings("manifests.fields_are_known", text, "current")


@passing("manifests.fields_are_known")
def test_known_fields() -> list[Finding]:
    return findings("manifests.fields_are_known", SOUND)


@passing("manifests.fields_are_known")
def test_a_custom_container_with_everything_that_a_pod_has() -> list[Finding]:
    return findings(
        "manifests.fields_are_known",
        """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: custom, creationTimestamp: null, labels: {team: a}}
spec:
  predictor:
    nodeSelector: {disk: ssd}
    tolerations: [{key: gpu, operator: Exists, tolerationSeconds: 30}]
    volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}]
    containers:
    - name: kserve-container
      image: example/custom:1
      ports: [{containerPort: 8080, protocol: TCP}]
      env: [{name: A, value: "1"}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1}}}]
      livenessProbe: {httpGet: {path: /, port: http1}, periodSeconds: 10}
      resources: {limits: {cpu: 0.5, nvidia.com/gpu: 1}}
status: {whatever: the cluster says}
""",
    )


# name_is_admitted


@failing("manifests.name_is_admitted", because="'Recommendation_Classifier'")
def test_a_name_that_the_webhook_refuses() -> list[Finding]:
    return findings(
        "manifests.name_is_admitted", changed("  name: recommendation-", "  name: Recommendation_Classifier #")
    )


@failing("manifests.name_is_admitted", because="longer than the 63")
def test_a_name_that_leaves_no_room_for_the_service() -> list[Finding]:
    return findings("manifests.name_is_admitted", changed("  name: recommendation-", f"  name: {'a' * 54} #"))


@pytest.mark.parametrize("name", ["recommendation-classifier", "a", "a" * 53])
@passing("manifests.name_is_admitted")
def test_an_admitted_name(name: str) -> list[Finding]:
    return findings("manifests.name_is_admitted", changed("  name: recommendation-classifier", f"  name: {name}"))


# deployment_mode_is_known


@failing("manifests.deployment_mode_is_known", because="'Standard' is unknown and ignored")
def test_the_new_name_of_a_mode_on_an_old_kserve() -> list[Finding]:
    return findings("manifests.deployment_mode_is_known", changed("Mode: Serverless", "Mode: Standard"), "2024.11")


@passing("manifests.deployment_mode_is_known")
def test_the_new_name_of_a_mode() -> list[Finding]:
    return findings("manifests.deployment_mode_is_known", changed("Mode: Serverless", "Mode: Standard"), "current")


# autoscaler_fits_deployment_mode

SCALER = "    serving.kserve.io/autoscalerClass: hpa\n    serving.kserve.io/deploymentMode: "


@failing("manifests.autoscaler_fits_deployment_mode", because="'hpa' is ignored in Serverless mode")
def test_hpa_in_serverless_mode() -> list[Finding]:
    return findings(
        "manifests.autoscaler_fits_deployment_mode", changed("    serving.kserve.io/deploymentMode: ", SCALER)
    )


@failing("manifests.autoscaler_fits_deployment_mode", because="Serverless is the stack's default")
def test_hpa_without_a_mode() -> list[Finding]:
    text = changed("    serving.kserve.io/deploymentMode: Serverless", "    serving.kserve.io/autoscalerClass: hpa")
    return findings("manifests.autoscaler_fits_deployment_mode", text)


@failing("manifests.autoscaler_fits_deployment_mode", because="refuses the autoscaler class 'keda'")
def test_a_class_that_this_version_does_not_have() -> list[Finding]:
    text = changed("    serving.kserve.io/deploymentMode: Serverless", SCALER.replace("hpa", "keda") + "RawDeployment")
    return findings("manifests.autoscaler_fits_deployment_mode", text)


@failing("manifests.autoscaler_fits_deployment_mode", because="it is concurrency or rps")
def test_scaling_by_cpu_with_knatives_own_autoscaler() -> list[Finding]:
    return findings("manifests.autoscaler_fits_deployment_mode", without("autoscaling.knative.dev/class"))


@failing("manifests.autoscaler_fits_deployment_mode", because="scaleMetric with the autoscaler class keda")
def test_scale_metric_with_keda() -> list[Finding]:
    text = changed("    serving.kserve.io/deploymentMode: Serverless", SCALER.replace("hpa", "keda") + "Standard")
    return findings("manifests.autoscaler_fits_deployment_mode", text, "current")


@passing("manifests.autoscaler_fits_deployment_mode")
def test_knatives_hpa() -> list[Finding]:
    return findings("manifests.autoscaler_fits_deployment_mode", SOUND)


@passing("manifests.autoscaler_fits_deployment_mode")
def test_hpa_in_raw_mode() -> list[Finding]:
    text = changed("    serving.kserve.io/deploymentMode: Serverless", SCALER + "RawDeployment")
    return findings("manifests.autoscaler_fits_deployment_mode", text)


# protocol_version_is_served


@failing("manifests.protocol_version_is_served", because="'v1' is not served by kserve-mlserver")
def test_protocol_v1_for_an_mlflow_model() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "protocolVersion: v1"))


@failing("manifests.protocol_version_is_served", because="looks for a runtime that serves v1")
def test_no_protocol_for_an_mlflow_model() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", without("protocolVersion"))


@passing("manifests.protocol_version_is_served")
def test_protocol_v2() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", SOUND)


@passing("manifests.protocol_version_is_served")
def test_no_protocol_where_the_runtime_is_named() -> list[Finding]:
    return findings("manifests.protocol_version_is_served", changed("protocolVersion: v2", "runtime: kserve-mlserver"))


# no_canary_on_first_deployment

CANARY = changed("    minReplicas: 2\n", "    canaryTrafficPercent: 20\n")


@failing("manifests.no_canary_on_first_deployment", because="no earlier revision has been rolled out")
def test_a_canary_percentage_on_a_service_without_a_revision() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", CANARY + "status: {components: {predictor: {}}}\n")


@failing("manifests.no_canary_on_first_deployment", because="no earlier revision has been rolled out")
def test_a_canary_percentage_on_a_service_that_is_yet_to_be_named() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", changed("  name: ", "  generateName: ", CANARY))


@pytest.mark.parametrize("names", ["  name: ", "  generateName: recommendation-\n  name: "])
@inconclusive("manifests.no_canary_on_first_deployment", because="nothing in the file tells whether this is one")
def test_a_canary_percentage_on_a_service_that_may_exist(names: str) -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", changed("  name: ", names, CANARY))


@failing("manifests.no_canary_on_first_deployment", because="is ignored in RawDeployment mode")
def test_a_canary_percentage_in_raw_mode() -> list[Finding]:
    text = changed("Mode: Serverless", "Mode: RawDeployment", CANARY)
    return findings("manifests.no_canary_on_first_deployment", text)


@passing("manifests.no_canary_on_first_deployment")
def test_a_canary_percentage_beside_an_earlier_revision() -> list[Finding]:
    status = "status: {components: {predictor: {latestRolledoutRevision: recommendation-classifier-00001}}}\n"
    return findings("manifests.no_canary_on_first_deployment", CANARY + status)


@passing("manifests.no_canary_on_first_deployment")
def test_no_canary_percentage() -> list[Finding]:
    return findings("manifests.no_canary_on_first_deployment", SOUND)


# model_readiness_is_probed

PROBE = "        httpGet: {path: /v2/models/recommendation-classifier/ready, port: 8080}"


@failing("manifests.model_readiness_is_probed", because="no readinessProbe")
def test_no_probe() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", without("readinessProbe", without("httpGet")))


@failing("manifests.model_readiness_is_probed", because="whether MLServer listens")
def test_a_probe_that_the_open_port_satisfies() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed(PROBE, "        tcpSocket: {port: 8080}"))


@failing("manifests.model_readiness_is_probed", because="asks for the model 'other'")
def test_a_probe_for_another_model() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed("models/recommendation-classifier", "models/other"))


@passing("manifests.model_readiness_is_probed")
def test_a_probe_for_the_model() -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", SOUND)


@pytest.mark.parametrize(
    "get",
    [
        "{path: /v2/health/ready, port: 8080}",
        "{path: /v2/models/recommendation-classifier/versions/1/ready, port: http}",
    ],
)
@passing("manifests.model_readiness_is_probed")
def test_other_probes_that_wait_for_the_model(get: str) -> list[Finding]:
    return findings("manifests.model_readiness_is_probed", changed(PROBE, f"        httpGet: {get}"))


@pytest.mark.parametrize(
    ("probe", "told"),
    [
        ("httpGet: {path: /healthz, port: 8080}", "/healthz"),
        ("httpGet: {path: /v2/health/ready, port: 9000}", "port 9000"),
        ("exec: {command: ['true']}", "exec"),
    ],
)
def test_a_probe_of_which_nothing_is_known(probe: str, told: str) -> None:
    (found,) = findings("manifests.model_readiness_is_probed", changed(PROBE, f"        {probe}"))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert told in found.message


# format_version_is_served


@failing("manifests.format_version_is_served", because="mlflow 3: kserve-mlserver declares 1, 2")
def test_a_format_version_that_no_runtime_declares() -> list[Finding]:
    return findings("manifests.format_version_is_served", changed("{name: mlflow}", '{name: mlflow, version: "3"}'))


@pytest.mark.parametrize("form", ["{name: mlflow}", '{name: mlflow, version: "2"}'])
@passing("manifests.format_version_is_served")
def test_a_format_version_that_the_runtime_declares(form: str) -> list[Finding]:
    return findings("manifests.format_version_is_served", changed("{name: mlflow}", form))


# resources_are_set


@failing("manifests.resources_are_set", because="spec.predictor.model states no cpu")
def test_memory_only() -> list[Finding]:
    return findings("manifests.resources_are_set", changed("cpu: 1, ", ""))


@failing("manifests.resources_are_set", because="spec.predictor.containers.0 states no cpu and no memory")
def test_a_custom_container_without_resources() -> list[Finding]:
    head = SOUND.partition("    model:\n")[0]
    return findings("manifests.resources_are_set", head + "    containers: [{image: example/custom:1}]\n")


@passing("manifests.resources_are_set")
def test_resources() -> list[Finding]:
    return findings("manifests.resources_are_set", SOUND)
