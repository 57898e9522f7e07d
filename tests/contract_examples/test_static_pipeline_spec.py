"""Examples of the contracts over a compiled pipeline as a whole: its fields, references, inputs, source code and credentials."""

from __future__ import annotations

import json

import pytest
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import findings, place

from trivet.contracts.ir.messages import SCHEMA
from trivet.contracts.ir.step_code import syntax_error
from trivet.contracts.quantities import quantity
from trivet.model.finding import Finding

SOURCE = "import os\n\ndef train(rows: int) -> str:\n    return os.environ['MLFLOW_TRACKING_PASSWORD'] and 'run'\n"

SOUND = f"""\
pipelineInfo: {{name: example}}
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
root:
  dag:
    outputs:
      parameters:
        run: {{valueFromParameter: {{outputParameterKey: Output, producerSubtask: train}}}}
    tasks:
      prepare:
        cachingOptions: {{enableCache: true}}
        componentRef: {{name: comp-prepare}}
        inputs: {{parameters: {{rows: {{componentInputParameter: rows}}, mode: {{runtimeValue: {{constant: fast}}}}}}}}
        retryPolicy: {{maxRetryCount: 2, backoffDuration: 0s, backoffFactor: 2.0, backoffMaxDuration: 3600s}}
      train:
        componentRef: {{name: comp-train}}
        dependentTasks: [prepare]
        inputs:
          artifacts: {{data: {{taskOutputArtifact: {{outputArtifactKey: data, producerTask: prepare}}}}}}
          parameters:
            pipelinechannel--memory: {{componentInputParameter: memory}}
            rows: {{taskOutputParameter: {{outputParameterKey: rows, producerTask: prepare}}}}
      condition-1:
        componentRef: {{name: comp-condition-1}}
        dependentTasks: [train]
        inputs: {{parameters: {{run: {{taskOutputParameter: {{outputParameterKey: Output, producerTask: train}}}}}}}}
        triggerPolicy: {{condition: "inputs.parameter_values['run'] != ''"}}
      for-loop-2:
        componentRef: {{name: comp-for-loop-2}}
        iteratorPolicy: {{parallelismLimit: 2}}
        parameterIterator: {{itemInput: item, items: {{raw: '[1, 2]'}}}}
      clean:
        componentRef: {{name: comp-clean}}
        dependentTasks: [train]
        inputs: {{parameters: {{status: {{taskFinalStatus: {{producerTask: train}}}}}}}}
        triggerPolicy: {{strategy: ALL_UPSTREAM_TASKS_COMPLETED}}
  inputDefinitions:
    parameters:
      rows: {{defaultValue: 100.0, isOptional: true, parameterType: NUMBER_INTEGER}}
      memory: {{parameterType: STRING}}
  outputDefinitions: {{parameters: {{run: {{parameterType: STRING}}}}}}
components:
  comp-clean:
    executorLabel: exec-clean
    inputDefinitions: {{parameters: {{status: {{parameterType: TASK_FINAL_STATUS}}}}}}
  comp-condition-1:
    dag:
      tasks:
        report:
          componentRef: {{name: comp-report}}
          inputs:
            parameters:
              text: {{runtimeValue: {{constant: "run {{{{$.inputs.parameters['pipelinechannel--run']}}}}"}}}}
              pipelinechannel--run: {{componentInputParameter: run}}
    inputDefinitions: {{parameters: {{run: {{parameterType: STRING}}}}}}
  comp-for-loop-2:
    dag:
      tasks:
        one:
          componentRef: {{name: comp-one}}
          inputs: {{parameters: {{number: {{componentInputParameter: item}}}}}}
    inputDefinitions: {{parameters: {{item: {{parameterType: NUMBER_INTEGER}}}}}}
  comp-one:
    executorLabel: exec-one
    inputDefinitions:
      parameters:
        number: {{parameterType: NUMBER_INTEGER}}
        secret_name: {{parameterType: STRING, isOptional: true, defaultValue: mlflow-login-2}}
  comp-prepare:
    executorLabel: exec-prepare
    inputDefinitions:
      parameters:
        rows: {{parameterType: NUMBER_INTEGER}}
        mode: {{parameterType: STRING, literals: [fast, slow]}}
        quality: {{defaultValue: 0.5, isOptional: true, parameterType: NUMBER_DOUBLE}}
    outputDefinitions:
      artifacts: {{data: {{artifactType: {{schemaTitle: system.Dataset, schemaVersion: 0.0.1}}}}}}
      parameters: {{rows: {{parameterType: NUMBER_INTEGER}}}}
  comp-report:
    executorLabel: exec-report
    inputDefinitions: {{parameters: {{text: {{parameterType: STRING}}}}}}
  comp-train:
    executorLabel: exec-train
    inputDefinitions:
      artifacts: {{data: {{artifactType: {{schemaTitle: system.Dataset, schemaVersion: 0.0.1}}}}}}
      parameters: {{rows: {{parameterType: NUMBER_INTEGER}}}}
    outputDefinitions: {{parameters: {{Output: {{parameterType: STRING}}}}}}
  comp-unused:
    executorLabel: exec-unused
deploymentSpec:
  executors:
    exec-clean: {{container: {{image: example/clean:1, args: ["{{{{$.inputs.parameters['status']}}}}"]}}}}
    exec-import: {{importer: {{artifactUri: {{constant: s3://bucket/data}}, typeSchema: {{schemaTitle: system.Dataset}}}}}}
    exec-one: {{container: {{image: example/one:1}}}}
    exec-prepare:
      container:
        image: example/prepare:1
        args: [--rows, "{{{{$.inputs.parameters['rows']}}}}", "{{{{$.outputs.artifacts['data'].path}}}}"]
    exec-report: {{container: {{image: example/report:1, command: [sh, -c, "echo $0"], args: ["{{{{$.inputs.parameters['text']}}}}"]}}}}
    exec-train:
      container:
        image: example/train:1
        env: [{{name: MLFLOW_TRACKING_USERNAME, value: trainer}}, {{name: TOKEN_FILE, value: /var/run/token}}]
        resources: {{memoryLimit: 2.0, resourceMemoryLimit: "{{{{$.inputs.parameters['pipelinechannel--memory']}}}}"}}
        args: [--executor_input, "{{{{$}}}}", --function_to_execute, train]
        command:
        - sh
        - -ec
        - 'printf "%s" "$0" > /tmp/e.py; python3 -m kfp.dsl.executor_main --component_module_path /tmp/e.py "$@"'
        - {json.dumps(SOURCE)}
---
platforms:
  kubernetes:
    deploymentSpec:
      executors:
        exec-train:
          secretAsEnv: [{{secretName: mlflow, keyToEnv: [{{envVar: MLFLOW_TRACKING_PASSWORD, secretKey: password}}]}}]
"""


def changed(*pairs: tuple[str, str]) -> str:
    """The sound pipeline with texts replaced; each must be there."""
    return replaced(SOUND, *pairs)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """A text with texts in it replaced; each must be there."""
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def configured(config: str) -> str:
    """The sound pipeline with what the platform spec configures for exec-train, as YAML of one line."""
    start = SOUND.index("          secretAsEnv: [")
    return f"{SOUND[:start]}          {config}\n"


def with_source(source: str) -> str:
    return changed((json.dumps(SOURCE), json.dumps(source)))


def one(found: list[Finding]) -> list[Finding]:
    assert len(found) == 1, found
    return found


@pytest.mark.parametrize(
    "contract",
    [
        "spec_is_valid",
        "references_resolve",
        "inputs_fit_their_component",
        "step_source_is_python",
        "credentials_are_injected",
        "resources_are_valid",
        "imported_artifact_is_fetchable",
    ],
)
def test_the_sound_pipeline_is_sound(contract: str) -> None:
    assert [str(finding.outcome) for finding in findings(f"pipelines.{contract}", SOUND)] == ["PASSED"]


# spec_is_valid


@pytest.mark.parametrize(
    ("before", "after", "because", "at"),
    [
        (
            "cachingOptions:",
            "cachingOption:",
            "cachingOption is not a field; did you mean cachingOptions?: the API",
            "cachingOption:",
        ),
        ("schemaVersion: 2.1.0\n", "schemaVersion: 2.0.0\n", "schemaVersion is 2.0.0, expected 2.1.0", "schemaVersion"),
        ("schemaVersion: 2.1.0\n", "", "schemaVersion is missing", "pipelineInfo"),
        ("{name: example}", "{}", "pipelineInfo.name is empty", "pipelineInfo"),
        (
            "{name: example}",
            "{name: ПРИМЕР}",
            "pipelineInfo.name is 'ПРИМЕР', expected lower-case letters",
            "pipelineInfo",
        ),
        ("enableCache: true", "enableCache: 'true'", "enableCache is 'true', expected true or false", "cachingOptions"),
        ("maxRetryCount: 2", "maxRetryCount: 2.5", "maxRetryCount is 2.5, expected an integer", "retryPolicy"),
        (
            "backoffDuration: 0s",
            "backoffDuration: 0",
            "backoffDuration is 0, expected seconds such as 60s",
            "retryPolicy",
        ),
        ("backoffFactor: 2.0", "backoffFactor: twice", "backoffFactor is 'twice', expected a number", "retryPolicy"),
        (
            "dependentTasks: [prepare]",
            "dependentTasks: prepare",
            "dependentTasks is 'prepare', expected a list",
            "dependentTasks",
        ),
        (
            "dependentTasks: [prepare]",
            "dependentTasks: [1]",
            "dependentTasks.0 is 1, expected a string",
            "dependentTasks",
        ),
        (
            "dependentTasks: [prepare]",
            "dependentTasks: {a: b}",
            "dependentTasks is a mapping, expected a list",
            "dependentTasks",
        ),
        (
            "executorLabel: exec-one",
            "executorLabel: [exec-one]",
            "executorLabel is a list, expected a string",
            "executorLabel",
        ),
        (
            "memory: {parameterType: STRING}",
            "memory: {parameterType: TEXT}",
            "parameterType is 'TEXT', expected one of NUMBER_DOUBLE",
            "memory:",
        ),
        ("TASKS_COMPLETED", "TASKS_DONE", "expected one of ALL_UPSTREAM_TASKS_SUCCEEDED", "triggerPolicy"),
        (
            "componentRef: {name: comp-one}",
            "componentRef: comp-one",
            "componentRef is 'comp-one', expected a mapping",
            "",
        ),
        ("{constant: fast}", "{constant: fast, runtimeParameter: mode}", "cannot stand beside constant", "inputs"),
        ("components:\n", "components: []\nrest:\n", "components is a list, expected a mapping", "components"),
    ],
)
@failing("pipelines.spec_is_valid", because="the API server refuses the pipeline")
def test_a_pipeline_that_the_api_server_refuses(before: str, after: str, because: str, at: str) -> list[Finding]:
    found = findings("pipelines.spec_is_valid", changed((before, after)))
    assert any(because in finding.message and at in place(finding.location) for finding in found), found
    return found


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        (
            "resources: {memoryLimit",
            "resource: {memoryLimit",
            "container.resource is not a field; did you mean resources?",
        ),
        ("resources: {memoryLimit", "resources: {memorylimit", "is not a field; did you mean memoryLimit?"),
        (
            "image: example/train:1",
            "image: example/train:1\n        imagePullPolicy: Always",
            "imagePullPolicy is not a field",
        ),
    ],
)
@failing("pipelines.spec_is_valid", because="KFP silently ignores it")
def test_a_field_of_a_container_that_kfp_drops(before: str, after: str, because: str) -> list[Finding]:
    found = one(findings("pipelines.spec_is_valid", changed((before, after))))
    assert because in found[0].message, found
    return found


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        ("value: trainer", "value: 5", "env.0.value is 5, expected a string"),
        ("value: trainer", "value: true", "env.0.value is true, expected a string"),
        ("memoryLimit: 2.0", "memoryLimit: 2Gi", "memoryLimit is '2Gi', expected a number"),
        ("memoryLimit: 2.0", "memoryLimit: true", "memoryLimit is true, expected a number"),
        (
            "[{name: MLFLOW_TRACKING_USERNAME",
            "[USER, {name: MLFLOW_TRACKING_USERNAME",
            "env.0 is 'USER', expected a mapping",
        ),
    ],
)
@failing("pipelines.spec_is_valid", because="KFP cannot run the pipeline", at="")
def test_a_container_that_kfp_cannot_read(before: str, after: str, because: str) -> list[Finding]:
    found = one(findings("pipelines.spec_is_valid", changed((before, after))))
    assert because in found[0].message, found
    return found


@failing("pipelines.spec_is_valid", because="there is no root: no task would run", at="pipelineInfo")
def test_a_pipeline_without_root() -> list[Finding]:
    return one(
        findings("pipelines.spec_is_valid", "pipelineInfo: {name: a}\nschemaVersion: 2.1.0\ndeploymentSpec: {}\n")
    )


@pytest.mark.parametrize(
    "pair",
    [
        ("enableCache: true", "enable_cache: true"),
        ("value: trainer", "value: yes"),
        ("value: trainer", "value: y"),
        ("memoryLimit: 2.0", "memoryLimit: '2.0'"),
        ("backoffFactor: 2.0", "backoffFactor: Infinity"),
        ("maxRetryCount: 2", "maxRetryCount: '2'"),
        ("parallelismLimit: 2", "parallelismLimit: 2.0"),
        ("dependentTasks: [prepare]", "dependentTasks: ~"),
        ("memory: {parameterType: STRING}", "memory: {parameterType: 3}"),
        (
            "deploymentSpec:\n",
            "deploymentSpec:\n  '@type': type.googleapis.com/ml_pipelines.PipelineDeploymentConfig\n",
        ),
    ],
)
@passing("pipelines.spec_is_valid", because="every field is known", at="pipelineInfo")
def test_spellings_that_protojson_takes(pair: tuple[str, str]) -> list[Finding]:
    return one(findings("pipelines.spec_is_valid", changed(pair)))


@inconclusive("pipelines.spec_is_valid", because="is not a field of KFP 2.17, and the pipeline is of kfp-2.18.0")
def test_a_field_of_a_later_sdk() -> list[Finding]:
    text = changed(("kfp-2.17.0", "kfp-2.18.0"), ("cachingOptions:", "priority: 1\n        cachingOptions:"))
    return one(findings("pipelines.spec_is_valid", text))


@not_applicable("pipelines.spec_is_valid", because="prebuilt components of Google Cloud", at="pipelineInfo")
def test_a_pipeline_for_vertex_ai() -> list[Finding]:
    image = ("example/one:1", "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0")
    return one(
        findings("pipelines.spec_is_valid", changed(image, ("schemaVersion: 2.1.0\n", "schemaVersion: 2.0.0\n")))
    )


def test_every_message_of_the_schema_has_its_fields() -> None:
    # kfp-pipeline-spec 2.17.3 has 55 messages below the first three, two of them alike (PipelineTaskInfo and ComponentRef), and
    # kubernetes_executor_config.proto has 27, of which TypedLocalObjectReference, CreatePvc and DeletePvc configure no executor, and one
    # (EnvVar of an init container) is like the container's.
    assert len(SCHEMA) == 54 + 23
    assert sum(map(len, SCHEMA.values())) == 158 + 102


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        ("platforms:\n", "metadata: {}\nplatforms:\n", "metadata is not a field"),
        (
            "  kubernetes:\n    deploymentSpec",
            "  kubernets:\n    deploymentSpec",
            "and no kubernetes: KFP silently ignores the whole document",
        ),
        ("    deploymentSpec:\n      executors:", "    deployment:\n      executors:", "did you mean deploymentSpec?"),
        (
            "        exec-train:\n          secretAsEnv: [",
            "        exec-train:\n        - [",
            "exec-train is a list, expected a",
        ),
    ],
)
@failing("pipelines.spec_is_valid", because="KFP silently ignores the whole document")
def test_a_platform_spec_that_kfp_does_not_recognise(before: str, after: str, because: str) -> list[Finding]:
    found = one(findings("pipelines.spec_is_valid", changed((before, after))))
    assert because in found[0].message, found
    return found


@pytest.mark.parametrize(
    ("config", "because"),
    [
        ("pvcmount: []", "exec-train.pvcmount is not a field; did you mean pvcMount?: KFP silently ignores it"),
        (
            "pvcMount: [{mountpath: /data, pvcNameParameter: {runtimeValue: {constant: data}}}]",
            "exec-train.pvcMount.0.mountpath is not a field; did you mean mountPath?: KFP silently ignores it",
        ),
        (
            "secretAsEnv: [{keyToEnv: [{secretKey: user, env: USER}]}]",
            "exec-train.secretAsEnv.0.keyToEnv.0.env is not a field; did you mean envVar?: KFP silently ignores it",
        ),
        ("tolerations: {key: gpu}", "exec-train.tolerations is a mapping, expected a list: KFP cannot run the step"),
        ("activeDeadlineSeconds: soon", "exec-train.activeDeadlineSeconds is 'soon', expected an integer: KFP cannot"),
        (
            "tolerations: [{key: gpu, operator: Exists, effect: NoSchedul}]",
            "exec-train.tolerations[0].effect 'NoSchedul' is not NoSchedule, PreferNoSchedule or NoExecute: Kubernetes refuses the pod",
        ),
        ("tolerations: [{key: gpu, operator: Exist}]", "exec-train.tolerations[0].operator 'Exist' is not Equal or"),
    ],
)
def test_a_configuration_of_an_executor_that_is_dropped_or_refused(config: str, because: str) -> None:
    @failing("pipelines.spec_is_valid", because=f"platform spec: {because}")
    def example() -> list[Finding]:
        return one(findings("pipelines.spec_is_valid", configured(config)))

    example()


@pytest.mark.parametrize(
    "config",
    [
        "tolerations: [{tolerationJson: {componentInputParameter: memory}}]",
        "tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]",
        "pvcMount: [{mountPath: /data, pvcNameParameter: {runtimeValue: {constant: data}}}]",
    ],
)
def test_a_configuration_of_an_executor_that_is_read(config: str) -> None:
    @passing("pipelines.spec_is_valid")
    def example() -> list[Finding]:
        return one(findings("pipelines.spec_is_valid", configured(config)))

    example()


@pytest.mark.parametrize(
    ("image", "why"), [("example/One:1", "a repository is in lower case"), ("one: 1", "' 1' is no tag")]
)
def test_an_image_that_the_kubelet_cannot_pull(image: str, why: str) -> None:
    @failing("pipelines.spec_is_valid", because=f"the image {image!r} of exec-one is no reference of an image: {why}")
    def example() -> list[Finding]:
        return one(findings("pipelines.spec_is_valid", changed(("image: example/one:1", f'image: "{image}"'))))

    example()


# references_resolve


@pytest.mark.parametrize(
    ("config", "because"),
    [
        (
            "secretAsEnv: [{secretNameParameter: {componentInputParameter: memry}}]",
            "exec-train takes the input 'memry', and root has none; did you mean memory?",
        ),
        (
            "pvcMount: [{mountPath: /data, taskOutputParameter: {producerTask: perpare, outputParameterKey: rows}}]",
            "exec-train takes an output of task perpare, and root has none; did you mean prepare?",
        ),
        (
            "pvcMount: [{mountPath: /data, taskOutputParameter: {producerTask: prepare, outputParameterKey: row}}]",
            "exec-train takes the output 'row' of prepare, which has none; did you mean rows?",
        ),
    ],
)
def test_a_configuration_of_an_executor_that_leads_nowhere(config: str, because: str) -> None:
    @failing("pipelines.references_resolve", because=f"platform spec: {because}")
    def example() -> list[Finding]:
        return one(findings("pipelines.references_resolve", configured(config)))

    example()


@pytest.mark.parametrize(
    "source",
    [
        "componentInputParameter: memory",
        "taskOutputParameter: {producerTask: prepare, outputParameterKey: rows}",
        "runtimeValue: {constant: data}",
    ],
)
def test_a_configuration_of_an_executor_that_leads_somewhere(source: str) -> None:
    @passing("pipelines.references_resolve")
    def example() -> list[Finding]:
        return one(
            findings(
                "pipelines.references_resolve", configured(f"secretAsEnv: [{{secretNameParameter: {{{source}}}}}]")
            )
        )

    example()


@failing(
    "pipelines.references_resolve", because="step train executes the function 'tarin', which its source does not define"
)
def test_a_function_that_the_source_does_not_define() -> list[Finding]:
    return one(
        findings(
            "pipelines.references_resolve", changed(("--function_to_execute, train", "--function_to_execute, tarin"))
        )
    )


@failing(
    "pipelines.references_resolve", because="exec-prepare imports the URI in 'url', which comp-prepare does not have"
)
def test_an_importer_of_an_input_that_is_not_there() -> list[Finding]:
    start = SOUND.index("    exec-prepare:\n      container:")
    end = SOUND.index("    exec-report:", start)
    importer = "    exec-prepare: {importer: {artifactUri: {runtimeParameter: url}, typeSchema: {schemaTitle: system.Dataset}}}\n"
    return one(findings("pipelines.references_resolve", SOUND[:start] + importer + SOUND[end:]))


@pytest.mark.parametrize(
    "condition",
    ["run and true", "not run", "inputs.parameter_values['run'] = ''", "inputs.parameter_values['run'] <> ''"],
)
@failing("pipelines.references_resolve", because="is no CEL expression: it has &&, ||, ! and ==")
def test_a_condition_that_is_no_cel(condition: str) -> list[Finding]:
    change = ("inputs.parameter_values['run'] != ''", condition)
    return one(findings("pipelines.references_resolve", changed(change)))


@pytest.mark.parametrize("condition", ["inputs.parameter_values['run'] >= 'x and y = z'", "!(1 <= 2) || 3 == 3"])
@passing("pipelines.references_resolve")
def test_a_condition_that_is_cel(condition: str) -> list[Finding]:
    change = ("inputs.parameter_values['run'] != ''", condition)
    return one(findings("pipelines.references_resolve", changed(change)))


@failing(
    "pipelines.references_resolve",
    because="configures the executor exec-trian, and deploymentSpec has none of that name; did you mean exec-train?",
    at="exec-trian:",
)
def test_a_platform_spec_for_an_executor_that_is_not_there() -> list[Finding]:
    change = ("        exec-train:\n          secretAsEnv", "        exec-trian:\n          secretAsEnv")
    return one(findings("pipelines.references_resolve", changed(change)))


@pytest.mark.parametrize(
    ("before", "after", "because", "at"),
    [
        (
            "componentRef: {name: comp-train}",
            "componentRef: {name: comp-trian}",
            "is of the component comp-trian, which the pipeline does not have; did you mean comp-train?",
            "componentRef",
        ),
        ("componentRef: {name: comp-train}", "componentRef: {}", "task train has no componentRef", "train:"),
        (
            "executorLabel: exec-train",
            "executorLabel: exec-trian",
            "names the executor 'exec-trian', and deploymentSpec has none of that name; did you mean exec-train?",
            "executorLabel: exec-trian",
        ),
        ("    executorLabel: exec-one\n", "", "comp-one has neither a dag nor an executorLabel", "comp-one"),
        (
            "exec-one: {container: {image: example/one:1}}",
            "exec-one: {}",
            "exec-one has neither a container nor an importer",
            "exec-one: {}",
        ),
        ("{image: example/one:1}", "{args: [a]}", "the container of exec-one has no image", "exec-one"),
        (
            "dependentTasks: [prepare]",
            "dependentTasks: [perpare]",
            "depends on perpare, and root has no such task; did you mean prepare?",
            "dependentTasks",
        ),
        (
            "outputArtifactKey: data, producerTask: prepare",
            "outputArtifactKey: data, producerTask: load",
            "takes data from task load, and root has none",
            "artifacts",
        ),
        (
            "outputArtifactKey: data, producerTask: prepare",
            "outputArtifactKey: dataset, producerTask: prepare",
            "'dataset'; did you mean data?",
            "artifacts",
        ),
        (
            "outputParameterKey: rows, producerTask: prepare",
            "outputParameterKey: count, producerTask: prepare",
            "no output parameter 'count' (there are rows)",
            "rows",
        ),
        (
            "taskFinalStatus: {producerTask: train}",
            "taskFinalStatus: {producerTask: fit}",
            "takes status from task fit, and root has none",
            "inputs",
        ),
        (
            "componentInputParameter: memory",
            "componentInputParameter: mem",
            "passes the parameter 'mem', and root has no such input; did you mean memory?",
            "memory",
        ),
        (
            "componentInputParameter: item",
            "componentInputParameter: element",
            "passes the parameter 'element', and comp-for-loop-2 has no such input",
            "inputs",
        ),
        (
            "inputs.parameter_values['run']",
            "inputs.parameter_values['ran']",
            "condition of task condition-1 uses the input 'ran', which the task does not get; did you mean run?",
            "triggerPolicy",
        ),
        ("raw: '[1, 2]'", "raw: '[1, 2'", "iterates over '[1, 2', which is no JSON list", "parameterIterator"),
        ("raw: '[1, 2]'", "raw: '3'", "iterates over '3', which is no JSON list", "parameterIterator"),
        (
            "raw: '[1, 2]'",
            "inputParameter: numbers",
            "iterates over the input 'numbers', which it does not get",
            "parameterIterator",
        ),
        (
            "producerSubtask: train",
            "producerSubtask: fit",
            "root outputs run of task fit, which it does not have",
            "run:",
        ),
        (
            "outputParameterKey: Output, producerSubtask",
            "outputParameterKey: out, producerSubtask",
            "root outputs run of train, which has no output parameter 'out'",
            "run:",
        ),
        (
            "componentRef: {name: comp-prepare}",
            "dependentTasks: [train]\n        componentRef: {name: comp-prepare}",
            "tasks of root wait for one another: ",
            "",
        ),
        (
            "$.inputs.parameters['text']",
            "$.inputs.parameters['txt']",
            "comp-report uses inputs.parameters['txt'], which it does not declare; did you mean text?",
            "exec-report",
        ),
        (
            "$.outputs.artifacts['data']",
            "$.outputs.artifacts['table']",
            "comp-prepare uses outputs.artifacts['table'], which it does not declare",
            "args: [--rows",
        ),
        (
            "{{$.inputs.parameters['rows']}}",
            "{{$.inputs.parameters['rows'}}",
            "comp-prepare has \"{{$.inputs.parameters['rows'}}\", which no input or output is put in for",
            "args: [--rows",
        ),
        (
            "$.inputs.parameters['rows']",
            "$.inputs.artifacts['rows']",
            "uses inputs.artifacts['rows'], which it does not declare; rows is a parameter: write inputs.parameters['rows']",
            "args: [--rows",
        ),
        (
            "$.outputs.artifacts['data']",
            "$.outputs.parameters['data']",
            "uses outputs.parameters['data'], which it does not declare; data is an artifact: write outputs.artifacts['data']",
            "args: [--rows",
        ),
        (
            "$.inputs.parameters['pipelinechannel--memory']",
            "$.inputs.parameters['pipelinechannel--mem']",
            "comp-train uses inputs.parameters['pipelinechannel--mem'], which it does not declare",
            "resources",
        ),
        (
            "$.inputs.parameters['pipelinechannel--run']",
            "$.inputs.parameters['pipelinechannel--ran']",
            "builds text of its input 'pipelinechannel--ran', which it does not get; did you mean pipelinechannel--run?",
            "inputs",
        ),
    ],
)
@failing("pipelines.references_resolve", because="")
def test_a_reference_that_leads_nowhere(before: str, after: str, because: str, at: str) -> list[Finding]:
    found = one(findings("pipelines.references_resolve", changed((before, after))))
    assert because in found[0].message, found
    assert at in place(found[0].location)
    return found


@failing(
    "pipelines.references_resolve",
    because="comp-for-loop-2 has no tasks: there is nothing to run",
    at="dag: {tasks: {}}",
)
def test_a_dag_without_tasks() -> list[Finding]:
    start = SOUND.index("    dag:\n      tasks:\n        one:")
    end = SOUND.index("    inputDefinitions", start)
    return one(findings("pipelines.references_resolve", SOUND[:start] + "    dag: {tasks: {}}\n" + SOUND[end:]))


@failing("pipelines.references_resolve", because="comp-for-loop-2 has exit tasks only")
def test_a_dag_of_exit_tasks() -> list[Finding]:
    strategy = "componentRef: {name: comp-one}\n          triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}"
    return one(findings("pipelines.references_resolve", changed(("componentRef: {name: comp-one}", strategy))))


@passing("pipelines.references_resolve", because="every reference resolves", at="pipelineInfo")
def test_references_that_lead_somewhere() -> list[Finding]:
    """``comp-unused`` names an executor that is not there, and no task is of it: the backend does not look at it."""
    return one(findings("pipelines.references_resolve", SOUND))


@pytest.mark.parametrize("selection", ["valueFromOneof: {parameterSelectors: [{", "valueFromParameter: {"])
@passing("pipelines.references_resolve", because="every reference resolves")
def test_outputs_of_a_dag(selection: str) -> list[Finding]:
    closed = "train}]}" if "[" in selection else "train}"
    text = changed(("valueFromParameter: {", selection), ("producerSubtask: train}", f"producerSubtask: {closed}"))
    return one(findings("pipelines.references_resolve", text))


# inputs_fit_their_component


@pytest.mark.parametrize(
    ("before", "after", "because", "at"),
    [
        (
            "mode: {runtimeValue: {constant: fast}}",
            "",
            "does not give the parameter 'mode', which comp-prepare requires",
            "prepare:",
        ),
        (
            "mode: {runtimeValue: {constant: fast}}",
            "mode: {runtimeValue: {constant: fast}}, qualty: {runtimeValue: {constant: 1}}",
            "gives the parameter 'qualty', which comp-prepare does not have; did you mean quality?",
            "inputs",
        ),
        (
            "artifacts: {data: {taskOutputArtifact: {outputArtifactKey: data, producerTask: prepare}}}",
            "artifacts: {}",
            "does not give the artifact 'data', which comp-train requires",
            "train:",
        ),
        (
            "{componentInputParameter: rows}",
            "{runtimeValue: {constant: '100'}}",
            "gives rows the value '100', and its type is NUMBER_INTEGER",
            "inputs",
        ),
        (
            "{componentInputParameter: rows}",
            "{runtimeValue: {constant: true}}",
            "gives rows the value true, and its type is NUMBER_INTEGER",
            "inputs",
        ),
        (
            "{componentInputParameter: rows}",
            "{componentInputParameter: memory}",
            "gives rows a value of type STRING, and its type is NUMBER_INTEGER",
            "inputs",
        ),
        (
            "{constant: fast}",
            "{constant: medium}",
            "gives mode the value 'medium', expected one of 'fast', 'slow'",
            "inputs",
        ),
        (
            "defaultValue: 100.0",
            "defaultValue: '100'",
            "the default of rows is '100', and its type NUMBER_INTEGER",
            "rows:",
        ),
    ],
)
@failing("pipelines.inputs_fit_their_component", because="")
def test_inputs_that_do_not_fit(before: str, after: str, because: str, at: str) -> list[Finding]:
    found = one(findings("pipelines.inputs_fit_their_component", changed((before, after))))
    assert because in found[0].message, found
    assert at in place(found[0].location)
    return found


@pytest.mark.parametrize(
    "pair",
    [
        ("quality: {defaultValue: 0.5", "quality: {defaultValue: 1"),
        ("{componentInputParameter: rows}", "{runtimeValue: {constant: 100}}"),
        ("{componentInputParameter: rows}", "{runtimeValue: {constant: ~}}"),
        ("mode: {runtimeValue", "cpu_limit: {componentInputParameter: memory}, mode: {runtimeValue"),
        ("mode: {parameterType: STRING, literals: [fast, slow]}", "mode: {parameterType: STRING, defaultValue: 5}"),
        (
            "parameters: {rows: {parameterType: NUMBER_INTEGER}}\n    outputDefinitions",
            "parameters: {rows: {parameterType: NUMBER_DOUBLE}}\n    outputDefinitions",
        ),
    ],
)
@passing(
    "pipelines.inputs_fit_their_component", because="every task gives what its component requires", at="pipelineInfo"
)
def test_inputs_that_fit(pair: tuple[str, str]) -> list[Finding]:
    return one(findings("pipelines.inputs_fit_their_component", changed(pair)))


# step_source_is_python


@pytest.mark.parametrize(
    ("source", "because"),
    [
        ("def train():\n    pass\n<<<<<<< HEAD\n", "(line 3 of the code)"),
        ("def train():\n    return (1\n", "(line 2 of the code)"),
        ("def train():\nreturn 1\n", "(line 2 of the code)"),
        ("def train():\n    print 'done'\n", "(line 2 of the code)"),
        ("a = 1\0", "null"),
    ],
)
@failing("pipelines.step_source_is_python", because="step train: its source is not Python: ", at='- "')
def test_source_that_is_not_python(source: str, because: str) -> list[Finding]:
    found = one(findings("pipelines.step_source_is_python", with_source(source)))
    assert because in found[0].message
    return found


@pytest.mark.parametrize(
    "command", ['[python3, -c, "x = ("]', '[sh, -c, "printf \'%s\' \\"$0\\" > a; python3 -u a", "x = ("]']
)
@failing("pipelines.step_source_is_python", because="step report: its source is not Python: ")
def test_source_in_other_commands(command: str) -> list[Finding]:
    return findings("pipelines.step_source_is_python", changed(('[sh, -c, "echo $0"]', command)))


@pytest.mark.parametrize(
    "source",
    ["def f[T](x: T): ...\n", "type A = int\n", "class A[T]: ...\n", "try: ...\nexcept A, B: ...\n", "x = t'{a}'\n"],
)
@inconclusive("pipelines.step_source_is_python", because="a later Python may read it", at='- "')
def test_source_of_a_later_python(source: str) -> list[Finding]:
    error, newer = syntax_error(source)
    if not error:
        pytest.skip("this Python reads it")
    assert newer
    return one(findings("pipelines.step_source_is_python", with_source(source)))


@passing("pipelines.step_source_is_python", because="step train: its source is Python", at='- "import os')
def test_source_that_is_python() -> list[Finding]:
    return one(findings("pipelines.step_source_is_python", SOUND))


@not_applicable("pipelines.step_source_is_python", because="no step has source code of its own", at="pipelineInfo")
def test_steps_without_source() -> list[Finding]:
    return one(
        findings("pipelines.step_source_is_python", changed(("executor_main", "other_main"), ("printf ", "cat ")))
    )


# credentials_are_injected

SECRET = "hunter2-9f8e7d6c5b4a"


@pytest.mark.parametrize(
    "line",
    [
        f"os.environ['MLFLOW_TRACKING_PASSWORD'] = '{SECRET}'",
        f"NAME = 'MLFLOW_TRACKING_PASSWORD'; os.environ[NAME] = '{SECRET}'",
        f"os.environ.update(MLFLOW_TRACKING_TOKEN='{SECRET}')",
        f"os.environ.setdefault('AWS_SECRET_ACCESS_KEY', '{SECRET}')",
        f"password = os.getenv('DB_PASSWORD', '{SECRET}')",
        "os.environ['AWS_SECRET_ACCESS_KEY'] = 'minioadmin'",
        "client = Minio('store:9000', access_key='minio', secret_key='minioadmin')",
        f"value = os.getenv('DB_PASSWORD', '{SECRET}')",
        f"settings = {{'password': '{SECRET}'}}",
        f"self.api_key = '{SECRET}'",
        f"apiKey: str = '{SECRET}'",
        f"boto3.client('s3', aws_secret_access_key='{SECRET}')",
        f"half = '{SECRET}'; client = connect(password=half + half)",
        "password = base64.b64decode('aHVudGVyMi05ZjhlN2Q2YzViNGE=').decode()",
        f"requests.get(url, auth=('ci', '{SECRET}'))",
        f"session.auth = HTTPBasicAuth('ci', '{SECRET}')",
        f"client = Minio('store:9000', 'minio', '{SECRET}')",
        f"headers = {{'Authorization': 'Bearer {SECRET}'}}",
        f"def connect(user, password='{SECRET}'): ...\nconnect('ci')",
        f"engine = create_engine('postgresql://mlflow:{SECRET}@db:5432/mlflow')",
        f"user = 'mlflow'; engine = create_engine(f'postgresql://{{user}}:{SECRET}@db')",
        f"engine = create_engine('postgresql://%s:%s@db' % ('mlflow', '{SECRET}'))",
        "client = boto3.Session('AKIAZ3MSJV4WXYZQWERT', secret)",
        "login('ghp_abcdefghijklmnopqrstuvwxyz0123456789')",
        "login('hf_abcdefghijklmnopqrstuvwxyz0123456789')",
        "key = '''-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx1abcdefghijklmnop\n'''",
    ],
)
@failing("pipelines.credentials_are_injected", because="step train: its code ", at='- "import os')
def test_a_credential_in_the_code(line: str) -> list[Finding]:
    found = findings("pipelines.credentials_are_injected", with_source(f"import os\n{line}\n"))
    assert not any(SECRET in finding.message for finding in found), found
    return found


@pytest.mark.parametrize(
    ("before", "after", "because", "at"),
    [
        (
            "{name: MLFLOW_TRACKING_USERNAME, value: trainer}",
            f"{{name: MLFLOW_TRACKING_PASSWORD, value: {SECRET}}}",
            "step train: its environment variable MLFLOW_TRACKING_PASSWORD is a literal credential",
            "env:",
        ),
        (
            "{name: MLFLOW_TRACKING_USERNAME, value: trainer}",
            f"{{name: MLFLOW_TRACKING_URI, value: 'https://ci:{SECRET}@mlflow'}}",
            "MLFLOW_TRACKING_URI contains a password in the URL https://ci:[redacted]@",
            "env:",
        ),
        (
            '"echo $0"',
            f'"export AWS_SECRET_ACCESS_KEY={SECRET}; train"',
            "step report: its command sets AWS_SECRET_ACCESS_KEY to a literal",
            "exec-report",
        ),
        (
            '"echo $0"',
            f'"train --db-password {SECRET}"',
            "step report: its command sets db-password to a literal",
            "exec-report",
        ),
        (
            '"echo $0"',
            f'"curl https://ci:{SECRET}@mlflow"',
            "step report: its command contains a password in the URL",
            "exec-report",
        ),
        (
            "args: [--rows",
            f"args: [--api-token, {SECRET}, --rows",
            "its arguments set --api-token to a literal",
            "args: [--api-token",
        ),
        (
            "secret_name: {parameterType: STRING, isOptional: true, defaultValue: mlflow-login-2}",
            f"db_password: {{parameterType: STRING, isOptional: true, defaultValue: {SECRET}}}",
            "the parameter db_password is a literal credential",
            "",
        ),
        (
            "memory: {parameterType: STRING}",
            f"memory: {{parameterType: STRING}}\n      api_key: {{parameterType: STRING, defaultValue: {SECRET}}}",
            "the parameter api_key is a literal credential",
            "api_key:",
        ),
        (
            "rows: {componentInputParameter: rows}",
            f"auth_token: {{runtimeValue: {{constant: {SECRET}}}}}",
            "the parameter auth_token is a literal credential",
            "",
        ),
        (
            "rows: {componentInputParameter: rows}",
            f"uri: {{runtimeValue: {{constant: 'http://ci:{SECRET}@mlflow'}}}}",
            "the parameter uri contains a password in the URL http://ci:[redacted]@",
            "",
        ),
    ],
)
@failing("pipelines.credentials_are_injected", because="")
def test_a_credential_in_the_pipeline(before: str, after: str, because: str, at: str) -> list[Finding]:
    found = one(findings("pipelines.credentials_are_injected", changed((before, after))))
    assert because in found[0].message
    assert SECRET not in found[0].message
    assert at in place(found[0].location)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['MLFLOW_TRACKING_PASSWORD']",
        "password = os.getenv('DB_PASSWORD', '')",
        "password = os.getenv('DB_PASSWORD', 'not-set')",
        "token = open('/var/run/secrets/token').read()",
        "token_path = '/var/run/secrets/token-1'",
        "token = '/var/run/secrets/token-1'",
        "settings = {'password': 'MLFLOW_TRACKING_PASSWORD', 'token': '<your token>'}",
        "secretKey = 'password'; secret_name = 'mlflow-login-2'; pad_token = '<pad>'",
        "headers = {'Authorization': f'Bearer {token}'}",
        "headers = {'Authorization': 'Bearer ' + os.environ['TOKEN']}",
        "max_tokens = 4096; tokenizer = 'bert-base-2'; page_token = 'a1b2c3d4e5f6g7h8'",
        "engine = create_engine(f'postgresql://{user}:{password}@db')",
        "engine = create_engine('postgresql://{}:{}@db'.format(user, os.environ['DB_PASSWORD']))",
        "print('see https://mlflow.org:443/docs and a@example.com')",
        "def train(password='hunter2-9f8e7d6c5b4a'): ...",
        '"""Give https://user:secret1@host, for example."""',
    ],
)
@passing("pipelines.credentials_are_injected", because="no code, variable, argument or default", at="pipelineInfo")
def test_code_that_takes_its_credentials_from_outside(line: str) -> list[Finding]:
    """A default of the step's own function stands in the pipeline as a default of its component, and is found there."""
    return one(findings("pipelines.credentials_are_injected", with_source(f"import os\n{line}\n")))


@pytest.mark.parametrize(
    "pair",
    [
        ('"echo $0"', '"train --db-password $DB_PASSWORD --token-file /run/token"'),
        ('"echo $0"', '"DB_PASSWORD=${DB_PASSWORD} AWS_SECRET_ACCESS_KEY=$(cat /run/key) train"'),
        ("value: trainer", "value: https://mlflow.example.com:5000/"),
        ("args: [--rows", "args: [--password, \"{{$.inputs.parameters['mode']}}\", --rows"),
    ],
)
@passing("pipelines.credentials_are_injected", because="no code, variable, argument or default")
def test_commands_that_take_their_credentials_from_outside(pair: tuple[str, str]) -> list[Finding]:
    return one(findings("pipelines.credentials_are_injected", changed(pair)))


# imported_artifact_is_fetchable


@pytest.mark.parametrize(
    "uri",
    ["runs:/0123/model", "models:/m/1", "mlflow-artifacts:/1/2", "https://example.com/a", "file:///data", "s3:/a"],
)
@failing("pipelines.imported_artifact_is_fetchable", because="importer import: KFP cannot fetch", at="exec-import")
def test_an_importer_of_what_kfp_cannot_open(uri: str) -> list[Finding]:
    return one(findings("pipelines.imported_artifact_is_fetchable", changed(("s3://bucket/data", uri))))


IMPORTED = (
    ("{artifactUri: {constant: s3://bucket/data}", "{artifactUri: {runtimeParameter: uri}"),
    ("comp-unused:\n    executorLabel: exec-unused", "comp-import:\n    executorLabel: exec-import"),
)
"""exec-import gets its URI from the tasks of comp-import."""


def importing(source: str, default: str = "s3://bucket/data") -> str:
    """The sound pipeline, whose condition has an importer that gets its URI from ``source``."""
    return changed(
        *IMPORTED,
        ("memory: {parameterType: STRING}", f"memory: {{parameterType: STRING, defaultValue: '{default}'}}"),
        (
            "        report:\n",
            f"        import: {{componentRef: {{name: comp-import}}, inputs: {{parameters: {{uri: {source}}}}}}}\n"
            "        report:\n",
        ),
        (
            "inputs: {parameters: {run: {taskOutput",
            "inputs: {parameters: {memory: {componentInputParameter: memory}, run: {taskOutput",
        ),
    )


@failing(
    "pipelines.imported_artifact_is_fetchable",
    because="importer import: KFP cannot fetch \"runs:/{{$.inputs.parameters['run']}}/model\"",
    at="import:",
)
def test_an_importer_of_a_text_that_its_task_builds() -> list[Finding]:
    source = "{runtimeValue: {constant: \"runs:/{{$.inputs.parameters['run']}}/model\"}}"
    return one(findings("pipelines.imported_artifact_is_fetchable", importing(source)))


@failing("pipelines.imported_artifact_is_fetchable", because="KFP cannot fetch 'models:/churn/1'", at="memory:")
def test_an_importer_of_a_parameter_with_a_default_of_mlflow() -> list[Finding]:
    text = importing("{componentInputParameter: memory}", "models:/churn/1")
    return one(findings("pipelines.imported_artifact_is_fetchable", text))


@passing("pipelines.imported_artifact_is_fetchable", because="is in a store that KFP opens", at="memory:")
def test_an_importer_of_a_parameter_with_a_default_in_a_store() -> list[Finding]:
    return one(findings("pipelines.imported_artifact_is_fetchable", importing("{componentInputParameter: memory}")))


@pytest.mark.parametrize(
    "source",
    [
        "{componentInputParameter: run}",
        "{runtimeValue: {constant: \"{{$.inputs.parameters['run']}}/model\"}}",
        "{runtimeValue: {constant: ''}}",
    ],
)
@not_applicable("pipelines.imported_artifact_is_fetchable", because="no importer names its artifact", at="pipelineInfo")
def test_an_importer_of_what_only_the_run_shows(source: str) -> list[Finding]:
    return one(findings("pipelines.imported_artifact_is_fetchable", importing(source)))


@pytest.mark.parametrize("uri", ["gs://bucket/a", "s3://bucket", "minio://bucket/a", "oci://registry/model:1"])
@passing("pipelines.imported_artifact_is_fetchable", because="is in a store that KFP opens", at="exec-import")
def test_an_importer_of_an_object_store(uri: str) -> list[Finding]:
    return one(findings("pipelines.imported_artifact_is_fetchable", changed(("s3://bucket/data", uri))))


@pytest.mark.parametrize(
    "pair",
    [
        ("{constant: s3://bucket/data}", "{runtimeParameter: uri}"),
        (
            "{constant: s3://bucket/data}, typeSchema: {schemaTitle: system.Dataset}",
            "{constant: https://a}, typeSchema: {schemaTitle: google.VertexModel}",
        ),
        ("importer: {artifactUri", "container: {image"),
    ],
)
@not_applicable("pipelines.imported_artifact_is_fetchable", because="no importer names its artifact", at="pipelineInfo")
def test_importers_that_are_told_at_run_time(pair: tuple[str, str]) -> list[Finding]:
    return one(findings("pipelines.imported_artifact_is_fetchable", changed(pair)))


# quantities


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("2G", 2e9),
        ("1e3", 1000),
        ("1E-1", 0.1),
        ("2E", 2e18),
        ("-1", -1),
        ("100n", 1e-7),
    ],
)
def test_a_quantity_of_kubernetes(text: str, number: float) -> None:
    found = quantity(text)
    assert found is not None
    assert float(found) == number


@pytest.mark.parametrize(
    "text", ["", "4GB", "4 Gi", "4gi", "1K", "1mi", "two", "1,5", "0x10", "NaN", "1e", "--1", "1.2.3"]
)
def test_no_quantity_of_kubernetes(text: str) -> None:
    assert quantity(text) is None
