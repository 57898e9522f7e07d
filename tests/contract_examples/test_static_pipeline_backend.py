"""Examples of the contracts over what KFP's backend does with a compiled pipeline, as far as its file shows."""

from __future__ import annotations

import json

import pytest
from contract_examples.registry import failing, not_applicable, passing
from contract_examples.static import findings, place
from contract_examples.test_static_pipeline_spec import SOUND, changed, configured, one, replaced

from trivet.model.finding import Finding
from trivet.model.platform_config import PlatformConfig


def on(backend: str, text: str) -> list[Finding]:
    """The findings on the platform with this release of KFP's backend."""
    return findings("pipeline_backend.asked_features_are_supported", text, platform=PlatformConfig(kfp_backend=backend))


# asked_features_are_supported


@pytest.mark.parametrize(
    ("until", "since", "pair", "because", "at"),
    [
        ("2.4.1", "2.5.0", None, "ignores the retries of task prepare", "retryPolicy"),
        (
            "2.3.0",
            "2.4.0",
            None,
            "task clean, which is to run whatever happens before it, does not run",
            "triggerPolicy",
        ),
        ("2.3.0", "2.4.0", None, "ignores the parallelismLimit of task for-loop-2", "iteratorPolicy"),
        (
            "2.5.0",
            "2.14.0",
            None,
            "takes the final status of another: the backend refuses the run",
            "inputs: {parameters: {status",
        ),
        (
            "2.15.0",
            "2.16.0",
            None,
            "refuses the field components.comp-prepare.inputDefinitions.parameters.mode",
            "mode:",
        ),
        ("2.3.0", "2.4.0", ("enableCache: true", "cacheKey: a"), "prepare.cachingOptions.cacheKey", "cachingOptions"),
        (
            "2.14.4",
            "2.15.0",
            ("{parameterType: TASK_FINAL_STATUS}", "{parameterType: TASK_CONFIG}"),
            "refuses the type of components.comp-clean.inputDefinitions.parameters.status, TASK_CONFIG",
            "status",
        ),
        (
            "2.14.4",
            "2.15.0",
            ("importer: {artifactUri", "importer: {downloadToWorkspace: true, artifactUri"),
            "ignores the field deploymentSpec.executors.exec-import.importer.downloadToWorkspace",
            "exec-import",
        ),
        (
            "2.3.0",
            "2.4.0",
            ("{memoryLimit: 2.0, resourceM", "{resourceM"),
            "the driver ignores resourceMemoryLimit of step train, and there is no memoryLimit beside it",
            "resources",
        ),
        (
            "2.3.0",
            "2.4.0",
            ("{memoryLimit: 2.0,", "{accelerator: {resourceType: nvidia.com/gpu, count: '1'}, memoryLimit: 2.0,"),
            "the driver ignores resourceType of step train, and there is no type beside it",
            "resources",
        ),
        (
            "2.5.0",
            "2.14.0",
            (
                "componentRef: {name: comp-report}",
                "componentRef: {name: comp-report}\n          retryPolicy: {maxRetryCount: 1}",
            ),
            "ignores the retries of task report",
            "retryPolicy",
        ),
        (
            "2.5.0",
            "2.14.0",
            ("iteratorPolicy: {parallelismLimit: 2}", "retryPolicy: {maxRetryCount: 1}"),
            "ignores the retries of task for-loop-2",
            "retryPolicy",
        ),
        (
            "2.4.1",
            "2.5.0",
            ("{constant: fast}", "{constant: '{{$.pipeline_job_name}}'}"),
            "task prepare gets the placeholder of mode as it is written",
            "inputs",
        ),
        (
            "2.3.0",
            "2.4.0",
            (
                "{outputParameterKey: rows, producerTask: prepare}",
                "{outputParameterKey: rows, producerTask: condition-1}",
            ),
            "the driver of task train does not find the output of the nested pipeline or condition condition-1",
            "rows:",
        ),
        (
            "2.5.0",
            "2.14.0",
            (
                "{outputParameterKey: rows, producerTask: prepare}",
                "{outputParameterKey: rows, producerTask: for-loop-2}",
            ),
            "the driver of task train does not find the output of the loop for-loop-2",
            "rows:",
        ),
        (
            "2.5.0",
            "2.14.0",
            ("{outputArtifactKey: data, producerTask: prepare}", "{outputArtifactKey: data, producerTask: for-loop-2}"),
            "the driver of task train does not find the output of the loop for-loop-2",
            "artifacts:",
        ),
        (
            "2.5.0",
            "2.14.0",
            ("  kubernetes:\n", "  kubernetes:\n    pipelineConfig: {workspace: {size: 1Gi}}\n"),
            "the API server does not know the field platforms.kubernetes.pipelineConfig.workspace",
            "pipelineConfig",
        ),
    ],
)
@failing("pipeline_backend.asked_features_are_supported", because="KFP 2.")
def test_what_a_release_does_not_do(
    until: str, since: str, pair: tuple[str, str] | None, because: str, at: str
) -> list[Finding]:
    text = changed(pair) if pair else SOUND

    def named(backend: str) -> list[Finding]:
        return [each for each in on(backend, text) if because in each.message]

    found = on(until, text)
    (first,) = named(until)
    assert first.message.endswith(f"; from {since} on it does")
    assert at in place(first.location)
    assert named(since) == []
    return found


@pytest.mark.parametrize(
    ("config", "until", "since", "because"),
    [
        (
            "securityContext: {runAsUser: 1}",
            "2.15.0",
            "2.16.0",
            "the driver ignores the field exec-train.securityContext",
        ),
        ("nodeAffinity: [{weight: 1}]", "2.1.0", "2.2.0", "the driver fails on the field exec-train.nodeAffinity"),
        (
            "secretAsEnv: [{secretName: a, keyToEnv: [], optional: true}]",
            "2.14.4",
            "2.15.0",
            "the driver ignores the field exec-train.secretAsEnv[0].optional of the platform spec",
        ),
        ("tolerations: [{key: gpu}]", "2.0.5", "2.1.0", "the driver fails on the field exec-train.tolerations of the"),
    ],
)
@failing("pipeline_backend.asked_features_are_supported", because="of the platform spec")
def test_configuration_that_a_release_does_not_know(config: str, until: str, since: str, because: str) -> list[Finding]:
    found = on(until, configured(config))
    (first,) = (each for each in found if because in each.message)
    assert first.message.endswith(f"; from {since} on it does")
    assert config.partition(":")[0] in place(first.location)
    assert not any(because in each.message for each in on(since, configured(config)))
    return found


@pytest.mark.parametrize("backend", ["", "2.17.0"])
@failing(
    "pipeline_backend.asked_features_are_supported",
    because="task for-loop-2 iterates over artifacts: the backend refuses the run; no release up to 2.17.0 does it",
    at="artifactIterator",
)
def test_what_no_release_does(backend: str) -> list[Finding]:
    return one(
        on(
            backend,
            changed(
                ("parameterIterator: {itemInput: item, items: {raw: '[1, 2]'}}", "artifactIterator: {itemInput: item}")
            ),
        )
    )


@passing(
    "pipeline_backend.asked_features_are_supported",
    because="KFP 2.16.0 does what the pipeline asks for",
    at="pipelineInfo",
)
def test_a_backend_that_does_what_is_asked() -> list[Finding]:
    return one(on("2.16.0", SOUND))


@passing("pipeline_backend.asked_features_are_supported", because="KFP 2.0.5 does what the pipeline asks for")
def test_a_pipeline_that_the_oldest_backend_runs() -> list[Finding]:
    """Limits stand in the older fields too, as SDKs from 2.13 on write them, and retries of 0 ask for none."""
    text = changed(
        ("maxRetryCount: 2", "maxRetryCount: 0"),
        ("iteratorPolicy: {parallelismLimit: 2}", "iteratorPolicy: {}"),
        (", literals: [fast, slow]", ""),
        ("{taskFinalStatus: {producerTask: train}}", "{runtimeValue: {constant: ''}}"),
        ("triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}", "triggerPolicy: {}"),
        (
            "comp-unused:\n    executorLabel: exec-unused",
            "comp-unused: {dag: {tasks: {a: {retryPolicy: {maxRetryCount: 1}}}}}",
        ),
    )
    return one(on("2.0.5", text))


@not_applicable("pipeline_backend.asked_features_are_supported", because="set kfp_backend in [tool.trivet.lint]")
def test_a_backend_that_nobody_named() -> list[Finding]:
    return one(on("", SOUND))


@not_applicable("pipeline_backend.asked_features_are_supported", because="made for Vertex AI Pipelines")
def test_a_pipeline_for_another_backend() -> list[Finding]:
    return one(
        on("2.0.5", changed(("image: example/one:1", "image: gcr.io/ml-pipeline/google-cloud-pipeline-components:2")))
    )


# passed_artifacts_are_fetchable

MODEL = """\
import mlflow
def prepare(data, rows: int, uri: str):
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(1, "model")
    LINE
def other(data):
    data.uri = "runs:/1/model"
"""


def prepared(line: str, taken: str = "prepare") -> str:
    """The sound pipeline, whose step prepare runs Python code with this line; train takes its artifact."""
    script = "python3 -m kfp.dsl.executor_main"
    code = json.dumps(MODEL.replace("LINE", line))
    return changed(
        (
            "        image: example/prepare:1\n        args: [--rows, \"{{$.inputs.parameters['rows']}}\", "
            "\"{{$.outputs.artifacts['data'].path}}\"]",
            "        image: example/prepare:1\n        args: [--executor_input, '{{$}}', --function_to_execute, prepare]\n"
            f"        command:\n        - {script}\n        - {code}",
        ),
        (
            "taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}",
            f"taskOutputArtifact: {{outputArtifactKey: data, producerTask: {taken}}}",
        ),
    )


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("data.uri = logged.model_uri", "the model_uri of MLflow's log_model, which is runs:/"),
        ("uri = logged.model_uri; data.uri = uri", "the model_uri of MLflow's log_model"),
        ("data.uri = f'runs:/{run.info.run_id}/model'", "the URI 'runs:/{run_id}/model'"),
        ("data.uri = 'models:/churn/1'", "the URI 'models:/churn/1'"),
        ("data.uri = 'mlflow-artifacts:/1/2/artifacts/model'", "the URI 'mlflow-artifacts:/1/2/artifacts/model'"),
        ("data.uri = 'https://a.example/model'", "the URI 'https://a.example/model'"),
        ("data.uri = 'pvc://claim/model'", "the URI 'pvc://claim/model'"),
    ],
)
@failing(
    "pipeline_backend.passed_artifacts_are_fetchable",
    because="step prepare: its code gives the artifact data the",
    at='- "import mlflow',
)
def test_an_artifact_of_mlflow_that_another_step_takes(line: str, because: str) -> list[Finding]:
    found = one(findings("pipeline_backend.passed_artifacts_are_fetchable", prepared(line)))
    assert because in found[0].message
    assert found[0].message.endswith("the launcher of train, which takes it, fails")
    return found


@failing("pipeline_backend.passed_artifacts_are_fetchable", because="the launcher of one, which takes it, fails")
def test_an_artifact_that_a_step_in_a_loop_takes() -> list[Finding]:
    text = replaced(
        prepared("data.uri = logged.model_uri"),
        (
            "inputs: {parameters: {number: {componentInputParameter: item}}}",
            "inputs: {artifacts: {model: {componentInputArtifact: model}}}",
        ),
        (
            "iteratorPolicy: {parallelismLimit: 2}",
            "inputs: {artifacts: {model: {taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}}}}",
        ),
        ("artifacts: {data: {taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}}}", "artifacts: {}"),
    )
    return one(findings("pipeline_backend.passed_artifacts_are_fetchable", text))


@failing("pipeline_backend.passed_artifacts_are_fetchable", because="the launcher of train, which takes it, fails")
def test_an_artifact_that_a_nested_pipeline_passes_on() -> list[Finding]:
    outputs = "{artifacts: {data: {artifactSelectors: [{producerSubtask: prepare, outputArtifactKey: data}]}}}"
    text = replaced(
        prepared("data.uri = logged.model_uri", taken="condition-1"),
        (
            "  comp-condition-1:\n    dag:\n      tasks:\n",
            f"  comp-condition-1:\n    dag:\n      outputs: {outputs}\n      tasks:\n"
            "        prepare: {componentRef: {name: comp-prepare}}\n",
        ),
    )
    return one(findings("pipeline_backend.passed_artifacts_are_fetchable", text))


@pytest.mark.parametrize(
    "line",
    [
        "data.uri = 's3://bucket/model'",
        "data.uri = uri",
        "data.uri = os.environ['MODEL']",
        "data.uri = run.info.artifact_uri + '/model'",
        "data.metadata['uri'] = logged.model_uri",
        "data.path = 'runs:/1/model'",
        "rows.uri = 'runs:/1/model'",
        "data = other(); data.uri = 'runs:/1/model'",
        "settings = open('a'); settings.uri = 'runs:/1/model'",
    ],
)
@passing(
    "pipeline_backend.passed_artifacts_are_fetchable", because="no step's code gives an artifact", at="pipelineInfo"
)
def test_artifacts_that_the_launcher_opens(line: str) -> list[Finding]:
    return one(findings("pipeline_backend.passed_artifacts_are_fetchable", prepared(line)))


# artifacts_are_left_where_they_are_uploaded


@pytest.mark.parametrize(
    "uri", ["s3://models/recommendation", "gs://models/a", "minio://mlpipeline/v2/artifacts/model"]
)
@failing(
    "pipeline_backend.artifacts_are_left_where_they_are_uploaded",
    because="step prepare: its code gives the artifact data the URI",
    at='- "import mlflow',
)
def test_an_artifact_in_another_bucket(uri: str) -> list[Finding]:
    text = prepared(f"data.uri = {uri!r}")
    return one(findings("pipeline_backend.artifacts_are_left_where_they_are_uploaded", text))


@pytest.mark.parametrize(
    "line",
    [
        "data.uri = 'runs:/1/model'",  # skipped with a warning, and judged by passed_artifacts_are_fetchable
        "data.uri = f's3://models/{rows}'",
        "data.uri = uri",
        "data.metadata['uri'] = 's3://models/a'",
        "rows.uri = 's3://models/a'",
    ],
)
@passing(
    "pipeline_backend.artifacts_are_left_where_they_are_uploaded",
    because="the URI of another folder",
    at="pipelineInfo",
)
def test_artifacts_that_the_launcher_uploads_or_leaves_alone(line: str) -> list[Finding]:
    return one(findings("pipeline_backend.artifacts_are_left_where_they_are_uploaded", prepared(line)))


@not_applicable(
    "pipeline_backend.passed_artifacts_are_fetchable", because="no step takes an artifact of another", at="pipelineInfo"
)
def test_steps_that_take_no_artifacts() -> list[Finding]:
    text = changed(
        ("artifacts: {data: {taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}}}", "artifacts: {}")
    )
    return one(findings("pipeline_backend.passed_artifacts_are_fetchable", text))


# declared_outputs_are_written


@failing(
    "pipeline_backend.declared_outputs_are_written",
    because="step prepare declares the output artifact data, and its function prepare never uses it: the step is green",
    at='- "import mlflow',
)
def test_an_artifact_that_the_function_never_uses() -> list[Finding]:
    return one(findings("pipeline_backend.declared_outputs_are_written", prepared("print(rows)")))


@failing(
    "pipeline_backend.declared_outputs_are_written",
    because="step prepare declares the output parameter rows, and its function prepare never uses it: the launcher fails",
)
def test_a_parameter_whose_path_the_function_never_uses() -> list[Finding]:
    return one(findings("pipeline_backend.declared_outputs_are_written", prepared("open(data.path)")))


@failing(
    "pipeline_backend.declared_outputs_are_written",
    because="step prepare declares the output artifact data, and no command, argument or variable of its container names its path",
    at="container:",
)
def test_an_artifact_whose_path_the_container_never_gets() -> list[Finding]:
    return [
        each
        for each in findings(
            "pipeline_backend.declared_outputs_are_written",
            changed((".outputs.artifacts['data'].path", ".inputs.artifacts['data'].path")),
        )
        if "artifact" in each.message
    ]


@failing(
    "pipeline_backend.declared_outputs_are_written",
    because="step prepare declares the output artifact model, and no command",
)
def test_a_model_that_nobody_takes() -> list[Finding]:
    more = "artifacts: {model: {artifactType: {schemaTitle: system.Model}}, data:"
    text = changed(("    outputDefinitions:\n      artifacts: {data:", f"    outputDefinitions:\n      {more}"))
    return [each for each in findings("pipeline_backend.declared_outputs_are_written", text) if "model" in each.message]


WRITTEN = "open(data.path).write(open(rows).read())"


@pytest.mark.parametrize(
    "line", [WRITTEN, "exec('data')", "print(locals())", "def inner():\n        print(data, rows)\n    inner()"]
)
@passing("pipeline_backend.declared_outputs_are_written", because="every step names the outputs", at="pipelineInfo")
def test_outputs_that_the_function_uses(line: str) -> list[Finding]:
    return one(findings("pipeline_backend.declared_outputs_are_written", prepared(line)))


@pytest.mark.parametrize(
    "args",
    [
        "[\"{{$.outputs.artifacts['data'].uri}}\", \"{{$.outputs.parameters['rows'].output_file}}\"]",
        "[--executor_input, '{{$}}']",
        "[], env: [{name: A, value: \"{{$.outputs.artifacts['data'].path}}{{$.outputs.parameters['rows'].output_file}}\"}]",
    ],
)
@passing("pipeline_backend.declared_outputs_are_written", because="every step names the outputs")
def test_outputs_whose_paths_the_container_gets(args: str) -> list[Finding]:
    whole = "[--rows, \"{{$.inputs.parameters['rows']}}\", \"{{$.outputs.artifacts['data'].path}}\"]"
    text = changed(
        (
            f"      container:\n        image: example/prepare:1\n        args: {whole}",
            f"      container: {{image: example/prepare:1, args: {args}}}",
        )
    )
    return one(findings("pipeline_backend.declared_outputs_are_written", text))


@not_applicable(
    "pipeline_backend.declared_outputs_are_written", because="no step declares an output that others rely on"
)
def test_steps_without_outputs() -> list[Finding]:
    text = changed(
        (
            "      artifacts: {data: {artifactType: {schemaTitle: system.Dataset, schemaVersion: 0.0.1}}}\n"
            "      parameters: {rows: {parameterType: NUMBER_INTEGER}}\n  comp-report",
            "      parameters: {}\n  comp-report",
        ),
        (
            "outputDefinitions: {parameters: {Output: {parameterType: STRING}}}\n  comp-unused",
            "outputDefinitions: {}\n  comp-unused",
        ),
        ("artifacts: {data: {taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}}}", "artifacts: {}"),
    )
    return one(findings("pipeline_backend.declared_outputs_are_written", text))
