"""What protojson takes for each kind of field of a pipeline's messages, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.contracts.ir.messages import SpecViolation, described, spec_violations

TAKEN: list[tuple[str, str, tuple[Any, ...]]] = [
    ("InputParameter", "type", ("PRIMITIVE_TYPE_UNSPECIFIED", "INT", "DOUBLE", "STRING", 0, 9)),
    (
        "InputParameter",
        "parameterType",
        (
            *("PARAMETER_TYPE_ENUM_UNSPECIFIED", "NUMBER_DOUBLE", "NUMBER_INTEGER", "STRING", "BOOLEAN", "LIST"),
            *("STRUCT", "TASK_FINAL_STATUS", "TASK_CONFIG"),
        ),
    ),
    (
        "TriggerPolicy",
        "strategy",
        ("TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED", "ALL_UPSTREAM_TASKS_COMPLETED"),
    ),
    (
        "TaskConfigPassthrough",
        "field",
        (
            *("NONE", "RESOURCES", "ENV", "KUBERNETES_AFFINITY", "KUBERNETES_TOLERATIONS"),
            *("KUBERNETES_NODE_SELECTOR", "KUBERNETES_VOLUMES"),
        ),
    ),
    ("InputParameter", "defaultValue", (None, 1, "a", [], {})),
    ("InputParameter", "isOptional", (True, False, None)),
    ("InputParameter", "description", ("", "a")),
    ("InputParameter", "literals", ([], [1, "a", None])),
    ("RetryPolicy", "maxRetryCount", (0, -1, 2.0, "2", "2.0", "1e2", "-1")),
    ("RetryPolicy", "backoffFactor", (1, 1.5, "1.5", "-1e-3", "NaN", "Infinity", "-Infinity")),
    ("RetryPolicy", "backoffDuration", ("0s", "1.5s", "-1s", "1.123456789s")),
    ("Importer", "metadata", ({}, {"a": [1]})),
    ("Dag", "tasks", ({}, {"a": {}})),
    ("Task", "dependentTasks", ([], ["a"])),
]

REFUSED: list[tuple[str, str, Any, tuple[Any, ...], str]] = [
    ("InputParameter", "type", "INTEGER", (), "is 'INTEGER', expected one of INT, DOUBLE, STRING; did you mean INT?"),
    ("InputParameter", "type", "xyz", (), "is 'xyz', expected one of INT, DOUBLE, STRING"),
    ("InputParameter", "type", -1, (), "is -1, expected one of INT, DOUBLE, STRING"),
    ("InputParameter", "type", True, (), "is true, expected one of INT, DOUBLE, STRING"),
    ("InputParameter", "isOptional", "true", (), "is 'true', expected true or false"),
    ("InputParameter", "description", 5, (), "is 5, expected a string"),
    ("InputParameter", "literals", {}, (), "is a mapping, expected a list"),
    ("RetryPolicy", "maxRetryCount", True, (), "is true, expected an integer"),
    ("RetryPolicy", "maxRetryCount", 1.5, (), "is 1.5, expected an integer"),
    ("RetryPolicy", "maxRetryCount", "1.5", (), "is '1.5', expected an integer"),
    ("RetryPolicy", "maxRetryCount", "NaN", (), "is 'NaN', expected an integer"),
    ("RetryPolicy", "maxRetryCount", "01", (), "is '01', expected an integer"),
    ("RetryPolicy", "maxRetryCount", [], (), "is a list, expected an integer"),
    ("RetryPolicy", "backoffFactor", "1.", (), "is '1.', expected a number"),
    ("RetryPolicy", "backoffFactor", "nan", (), "is 'nan', expected a number"),
    ("RetryPolicy", "backoffDuration", 5, (), "is 5, expected seconds such as 60s"),
    ("RetryPolicy", "backoffDuration", "1.1234567891s", (), "is '1.1234567891s', expected seconds such as 60s"),
    ("Importer", "metadata", [], (), "is a list, expected a mapping"),
    ("Dag", "tasks", [], (), "is a list, expected a mapping"),
    ("Dag", "tasks", {"a": 5}, ("a",), "is 5, expected a mapping"),
    ("Task", "dependentTasks", 5, (), "is 5, expected a list"),
    ("Task", "dependentTasks", ["a", 5], (1,), "is 5, expected a string"),
    ("Task", "inputs", {"parameters": {"a": []}}, ("parameters", "a"), "is a list, expected a mapping"),
]


@pytest.mark.parametrize(
    ("message", "name", "value"), [(message, name, value) for message, name, values in TAKEN for value in values]
)
def test_a_value_that_protojson_takes(message: str, name: str, value: Any) -> None:
    assert list(spec_violations({name: value}, message)) == []


@pytest.mark.parametrize(("message", "name", "value", "below", "problem"), REFUSED)
def test_a_value_that_protojson_refuses(
    message: str, name: str, value: Any, below: tuple[Any, ...], problem: str
) -> None:
    assert list(spec_violations({name: value}, message, ("root",))) == [
        SpecViolation(keys=("root", name, *below), message=problem)
    ]


def test_fields_are_known_by_both_of_their_names_and_only_one_of_a_oneof_is_set() -> None:
    assert list(spec_violations({"max_retry_count": 1, "backoffFactor": None, "@type": "a"}, "RetryPolicy")) == []
    (unknown,) = spec_violations({"maxRetries": 1}, "RetryPolicy", ("a",))
    assert unknown.unknown
    assert (unknown.keys, unknown.message) == (("a", "maxRetries"), "is not a field; did you mean maxRetryCount?")
    (far,) = spec_violations({"xyz": 1}, "RetryPolicy")
    assert far.message == "is not a field"
    (both,) = spec_violations({"dag": {}, "executorLabel": "a", "outputDefinitions": {}}, "ComponentSpec")
    assert both == SpecViolation(
        keys=("executorLabel",), message="cannot stand beside dag: only one of them can be set", unknown=False
    )
    assert list(spec_violations({"dag": None, "executorLabel": "a"}, "ComponentSpec")) == []
    (set_to_null,) = spec_violations({"constant": None, "runtimeParameter": "a"}, "RuntimeValue")
    assert set_to_null.message == "cannot stand beside constant: only one of them can be set"
    (none,) = spec_violations([], "ComponentSpec", ("a",))
    assert none == SpecViolation(keys=("a",), message="is a list, expected a mapping")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "empty"),
        ({}, "a mapping"),
        ([], "a list"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        ("a", "'a'"),
        ("x" * 40, repr("x" * 40)),
        ("x" * 41, f"'{'x' * 37}'…"),
    ],
)
def test_how_a_value_is_described(value: Any, text: str) -> None:
    assert described(value) == text
