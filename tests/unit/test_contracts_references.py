"""References between the parts of a compiled pipeline, and arguments of its tasks: where each that does not hold stands."""

from __future__ import annotations

import pytest
import yaml
from contract_examples.test_static_pipeline_spec import changed

from trivet.contracts.ir.references import dangling, nearest, unfit_arguments
from trivet.contracts.values import path
from trivet.contracts.violation import Violation
from trivet.model.subjects import CompiledPipeline

ONE = "exec-one: {container: {image: example/one:1}}"
TEXT = "{componentInputParameter: run}\n"
RUN = "run: {valueFromParameter: {outputParameterKey: Output, producerSubtask: train}}"
LAST = "triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}"
DEFAULTED = "inputDefinitions: {parameters: {a: {defaultValue: a, parameterType: LIST}}}"
OUTPUTS = "    outputs:\n      parameters:\n"
IN_LOOP = "inputs: {parameters: {number: {componentInputParameter: item}}}"
SELECTED = (
    "    outputs:\n      artifacts: {data: {artifactSelectors: [{producerSubtask: TASK, outputArtifactKey: KEY}]}}\n"
)
WITH_ARTIFACT = (
    "  comp-one:\n    executorLabel: exec-one\n    inputDefinitions:\n",
    "  comp-one:\n    executorLabel: exec-one\n    inputDefinitions:\n      artifacts: {data: {artifactType: {}}}\n",
)


def pipeline(*pairs: tuple[str, str]) -> CompiledPipeline:
    """The sound pipeline with texts replaced."""
    document = next(iter(yaml.safe_load_all(changed(*pairs))))
    return CompiledPipeline(file="pipeline.yaml", document=document, line=lambda keys: 1)


def selected(task: str, key: str) -> tuple[str, str]:
    return OUTPUTS, SELECTED.replace("TASK", task).replace("KEY", key) + "      parameters:\n"


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(ONE, "exec-one: {importer: {artifactUri: {constant: s3://a}}}")],
        [(ONE, "exec-one: {resolver: {}}")],
        [(ONE, "exec-one: {customJob: {}}")],
        [(ONE, "exec-one: {container: {image: a, args: [\"{{$.inputs.parameters['none']}}\\n\"]}}")],
        [(ONE, "exec-one: {container: {image: a, args: [\"$.inputs.parameters['none']\"]}}")],
        [(ONE, "exec-one: {container: {image: a, args: [\"{{$.inputs.parameters['number']}}\"]}}")],
        [("dependentTasks: [prepare]", "dependentTasks: [[prepare], prepare]")],
        [("dependentTasks: [prepare]", "dependentTasks: prepare")],
        [("raw: '[1, 2]'", "raw: [1, 2]")],
        [("raw: '[1, 2]'", "raw: '[]'")],
        [selected("prepare", "data")],
        [(RUN, "run: {}")],
        [("componentRef: {name: comp-one}", "componentRef: {name: comp-for-loop-2}")],
        [("constant: \"run {{$.inputs.parameters['pipelinechannel--run']}}\"", "constant: \"{{$.outputs.parameters['none']}}\"")],
        [("{componentInputParameter: memory}", "{componentInputParameter: memory, taskOutputParameter: {producerTask: none}}")],
        [("items: {raw: '[1, 2]'}}", "items: {inputParameter: a}}\n        inputs: {parameters: {a: {componentInputParameter: rows}}}")],
        [("comp-unused:\n    executorLabel: exec-unused", "comp-unused: {dag: {tasks: {a: {}}}}")],
        [
            WITH_ARTIFACT,
            ("    inputDefinitions: {parameters: {item:", "    inputDefinitions: {artifacts: {data: {}}, parameters: {item:"),
            (IN_LOOP, "inputs: {artifacts: {data: {componentInputArtifact: data}}}"),
        ],
    ],
)  # fmt: skip
def test_references_that_hold(pairs: list[tuple[str, str]]) -> None:
    assert list(dangling(pipeline(*pairs))) == []


@pytest.mark.parametrize(
    ("pairs", "place", "text"),
    [
        ([("    executorLabel: exec-one\n", "")], "components.comp-one", "comp-one has neither a dag nor"),
        ([("executorLabel: exec-one", "executorLabel: 5")], "components.comp-one.executorLabel", "names the executor 5"),
        ([(ONE, "exec-one: {}")], "deploymentSpec.executors.exec-one", "has neither a container nor an importer"),
        ([(ONE, "exec-one: {container: {}}")], "deploymentSpec.executors.exec-one.container", "has no image"),
        (
            [(ONE, "exec-one: {container: {image: a, args: [b, \"{{$.inputs.artifacts['none']}}\"]}}")],
            "deploymentSpec.executors.exec-one.container.args[1]",
            "comp-one uses inputs.artifacts['none'], which it does not declare",
        ),
        (
            [(ONE, "exec-one: {container: {image: a, env: [{value: \"{{$.outputs.parameters['number']}}\"}]}}")],
            "deploymentSpec.executors.exec-one.container.env[0].value",
            "comp-one uses outputs.parameters['number'], which it does not declare",
        ),
        (
            [(IN_LOOP, "inputs: {artifacts: {data: {componentInputArtifact: data}}}")],
            "components.comp-for-loop-2.dag.tasks.one.inputs.artifacts.data",
            "task one passes the artifact 'data', and comp-for-loop-2 has no such input",
        ),
        ([("executorLabel: exec-one", "executorLabel: [a]")], "components.comp-one.executorLabel", "names the executor ['a']"),
        (
            [("componentRef: {name: comp-one}", f"componentRef: {{name: comp-one}}\n          {LAST}")],
            "components.comp-for-loop-2.dag.tasks",
            "comp-for-loop-2 has exit tasks only",
        ),
        (
            [("$.inputs.parameters['pipelinechannel--run']", "$.inputs.parameters['pipelinechannel--ran']")],
            "components.comp-condition-1.dag.tasks.report.inputs.parameters.text",
            "task report builds text of its input 'pipelinechannel--ran', which it does not get",
        ),
        (
            [(RUN, "run: {valueFromOneof: {parameterSelectors: [{outputParameterKey: Output, producerSubtask: none}]}}")],
            "root.dag.outputs.parameters.run",
            "root outputs run of task none, which it does not have",
        ),
        ([(RUN, "run: {valueFromParameter: {}}")], "root.dag.outputs.parameters.run", "root outputs run of task , which"),
        (
            [("componentRef: {name: comp-prepare}", "dependentTasks: [condition-1]\n        componentRef: {name: comp-prepare}")],
            "root.dag.tasks.prepare",
            "tasks of root wait for one another: prepare → condition-1 → train → prepare",
        ),
        ([selected("none", "data")], "root.dag.outputs.artifacts.data", "root outputs data of task none"),
        ([selected("prepare", "none")], "root.dag.outputs.artifacts.data", "which has no output artifact 'none'"),
        (
            [("componentRef: {name: comp-prepare}", "dependentTasks: [train]\n        componentRef: {name: comp-prepare}")],
            "root.dag.tasks.prepare",
            "tasks of root wait for one another: prepare → train → prepare",
        ),
        (
            [
                ("dependentTasks: [prepare]\n", "dependentTasks: []\n"),
                ("componentRef: {name: comp-prepare}", "dependentTasks: [train]\n        componentRef: {name: comp-prepare}"),
            ],
            "root.dag.tasks.prepare",
            "tasks of root wait for one another: prepare → train → prepare",
        ),
        ([("producerTask: prepare}}}\n          parameters", "producerTask: 5}}}\n          parameters")], "", ""),
        (
            [("taskFinalStatus: {producerTask: train}", "taskFinalStatus: {producerTask: clean}")],
            "root.dag.tasks.clean",
            "tasks of root wait for one another: clean → clean",
        ),
    ],
)  # fmt: skip
def test_references_that_do_not_hold(pairs: list[tuple[str, str]], place: str, text: str) -> None:
    found = list(dangling(pipeline(*pairs)))
    if not place:
        assert found == []
        return
    assert [path(each.keys) for each in found] == [place]
    assert text in found[0].message


def typed(kind: str, value: str) -> list[Violation]:
    """What is wrong where a parameter of this type gets this value."""
    pairs = [
        ("mode: {parameterType: STRING, literals: [fast, slow]}", f"mode: {{parameterType: {kind}}}"),
        ("mode: {runtimeValue: {constant: fast}}", f"mode: {{runtimeValue: {{constant: {value}}}}}"),
    ]
    return list(unfit_arguments(pipeline(*pairs)))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("NUMBER_DOUBLE", ("1", "1.5")),
        ("NUMBER_INTEGER", ("1", "1.0")),
        ("BOOLEAN", ("true", "false")),
        ("LIST", ("[]", "[1]")),
        ("STRUCT", ("{}", "{a: 1}")),
        ("STRING", ("a", "1", "true", "[]", "{}")),
        ("TASK_CONFIG", ("a", "[]")),
        ("OTHER", ("a",)),
    ],
)
def test_values_that_a_type_takes(kind: str, values: tuple[str, ...]) -> None:
    assert [typed(kind, value) for value in values] == [[]] * len(values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("NUMBER_DOUBLE", ("a", "true", "[]")),
        ("NUMBER_INTEGER", ("a", "true", "{}")),
        ("BOOLEAN", ("a", "1", "[]")),
        ("LIST", ("a", "true", "{}")),
        ("STRUCT", ("a", "true", "[]")),
    ],
)
def test_values_that_a_type_does_not_take(kind: str, values: tuple[str, ...]) -> None:
    for value in values:
        (found,) = typed(kind, value)
        assert path(found.keys) == "root.dag.tasks.prepare.inputs.parameters.mode.runtimeValue.constant"
        assert found.message.startswith("task prepare gives mode the value ")
        assert found.message.endswith(f", and its type is {kind}")


MODE = "mode: {runtimeValue: {constant: fast}}"


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(MODE, "mode: {runtimeValue: {constant: fast}, parameterExpressionSelector: a}")],
        [(MODE, "mode: {runtimeValue: {constant: 5}, parameterExpressionSelector: a}")],
        [(MODE, f"{MODE}, unlike: {{runtimeValue: {{constant: a}}}}")],
        [("literals: [fast, slow]", "literals: []")],
        [("mode: {parameterType: STRING", "mode: {isOptional: true, parameterType: STRING"), (f", {MODE}", "")],
        [("mode: {parameterType: STRING", "mode: {defaultValue: ~, parameterType: STRING"), (f", {MODE}", "")],
        [("mode: {parameterType: STRING, literals: [fast, slow]}", "mode: {parameterType: TASK_CONFIG}"), (f", {MODE}", "")],
        [("iteratorPolicy: {parallelismLimit: 2}", "inputs: {parameters: {item: {componentInputParameter: memory}}}")],
        [("componentInputParameter: memory", "componentInputParameter: none")],
        [("comp-unused:\n", f"comp-unused:\n    dag: {{}}\n    {DEFAULTED}\n")],
        [("literals: [fast, slow]", "literals: {a: b}")],
        [("{componentInputParameter: rows}", "{runtimeValue: {constant: 1}, componentInputParameter: memory}")],
        [("{componentInputParameter: rows}", "{componentInputParameter: none}")],
        [(MODE, "mode: {componentInputParameter: rows}")],
        [(MODE, "mode: {componentInputParameter: rows}"), ("mode: {parameterType: STRING,", "mode: {parameterType: TASK_CONFIG,")],
        [("componentRef: {name: comp-clean}", "componentRef: {name: none}")],
        [("parameterIterator: {itemInput: item, items: {raw: '[1, 2]'}}", "artifactIterator: {itemInput: item}")],
    ],
)  # fmt: skip
def test_arguments_that_fit(pairs: list[tuple[str, str]]) -> None:
    assert list(unfit_arguments(pipeline(*pairs))) == []


@pytest.mark.parametrize(
    ("pairs", "place", "text"),
    [
        ([(f", {MODE}", "")], "root.dag.tasks.prepare", "does not give the parameter 'mode', which comp-prepare requires"),
        (
            [(MODE, f"{MODE}, qualty: {{runtimeValue: {{constant: 1}}}}")],
            "root.dag.tasks.prepare.inputs.parameters.qualty",
            "gives the parameter 'qualty', which comp-prepare does not have; did you mean quality?",
        ),
        (
            [("constant: fast", "constant: quick")],
            "root.dag.tasks.prepare.inputs.parameters.mode.runtimeValue.constant",
            "gives mode the value 'quick', expected one of 'fast', 'slow'",
        ),
        (
            [("{componentInputParameter: rows}", "{componentInputParameter: memory}")],
            "root.dag.tasks.prepare.inputs.parameters.rows",
            "gives rows a value of type STRING, and its type is NUMBER_INTEGER",
        ),
        (
            [("NUMBER_INTEGER}}\n  comp-report", "LIST}}\n  comp-report")],
            "root.dag.tasks.train.inputs.parameters.rows",
            "gives rows a value of type LIST, and its type is NUMBER_INTEGER",
        ),
        (
            [("defaultValue: 100.0", "defaultValue: true")],
            "root.inputDefinitions.parameters.rows.defaultValue",
            "the default of rows is true, and its type NUMBER_INTEGER",
        ),
        (
            [("parameters: {item: {parameterType: NUMBER_INTEGER}}", "parameters: {item: {parameterType: LIST}}")],
            "components.comp-for-loop-2.dag.tasks.one.inputs.parameters.number",
            "gives number a value of type LIST, and its type is NUMBER_INTEGER",
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(pairs: list[tuple[str, str]], place: str, text: str) -> None:
    (found,) = unfit_arguments(pipeline(*pairs))
    assert path(found.keys) == place
    assert text in found.message


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["trian", "test"], "; did you mean trian?"),
        (["b", "a"], " (there are a, b)"),
        (list("abcdef"), " (there are a, b, c, d, e, f)"),
        (list("abcdefg"), ""),
    ],
)
def test_what_is_named_instead(names: list[str], text: str) -> None:
    assert nearest("train", names) == text
