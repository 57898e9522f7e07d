"""Controls of the contracts over compiled pipelines: IR as SDK 2.9 and 2.17 write it."""

from __future__ import annotations

import json

import pytest
from controls.registry import broken, sound
from controls.twins import findings

from trivet.model.finding import Finding

INJECTED = """
def train(tracking_uri: str = "http://mlflow:5000", n: int = 3):
    import os
    import mlflow as m
    m.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    with m.start_run():
        m.log_param("n", n)
"""


def pipeline(
    code: str = INJECTED,
    *,
    cached: bool = False,
    given: bool = True,
    resources: str = "{cpuLimit: 1.0, memoryLimit: 2.0}",
) -> str:
    """A pipeline of one conditional training step."""
    return f"""\
pipelineInfo: {{name: twin}}
schemaVersion: 2.1.0
sdkVersion: kfp-2.9.0
root: {{dag: {{tasks: {{condition-1: {{componentRef: {{name: comp-condition-1}}}}}}}}}}
components:
  comp-condition-1:
    dag:
      tasks:
        train:
          cachingOptions: {"{enableCache: true}" if cached else "{}"}
          componentRef: {{name: comp-train}}
          inputs: {{parameters: {{{"tracking_uri: {componentInputParameter: uri}" if given else ""}}}}}
  comp-train:
    executorLabel: exec-train
    inputDefinitions: {{parameters: {{tracking_uri: {{defaultValue: http://mlflow:5000, parameterType: STRING}}}}}}
deploymentSpec:
  executors:
    exec-train:
      container:
        image: example/trainer:1
        command: [sh, -c, {json.dumps(code)}]
        resources: {resources}
---
platforms: {{kubernetes: {{}}}}
"""


def code(line: str) -> str:
    return f"import os, mlflow\nfrom mlflow import MlflowClient\nADDRESS = 'http://mlflow:5000'\n{line}\nmlflow.start_run()\n"


@pytest.mark.parametrize(
    "line",
    [
        "mlflow.set_tracking_uri('http://mlflow:5000')",
        "mlflow.set_tracking_uri(uri='file:///tmp/runs')",
        "mlflow.set_tracking_uri(ADDRESS)",
        "os.environ['MLFLOW_TRACKING_URI'] = 'http://mlflow:5000'",
        "os.environ.setdefault('MLFLOW_TRACKING_URI', 'http://mlflow:5000')",
        "mlflow.set_tracking_uri(os.getenv('MLFLOW_TRACKING_URI', ADDRESS))",
        "os.environ.update({'MLFLOW_TRACKING_URI': 'databricks'})",
        "client = MlflowClient('http://mlflow:5000')",
        "os.environ.update(MLFLOW_TRACKING_URI='http://mlflow:5000')",
        "mlflow.set_tracking_uri(f'http://{host}:5000')",
    ],
)
@broken("pipelines.tracking_uri_is_injected", because="its code names the tracking server")
def test_a_server_in_the_code(line: str) -> list[Finding]:
    return findings("pipelines.tracking_uri_is_injected", pipeline(code(line)))


@broken("pipelines.tracking_uri_is_injected", because="its command sets MLFLOW_TRACKING_URI to 'http://mlflow:5000'")
def test_a_server_in_a_shell_command() -> list[Finding]:
    shell = "export MLFLOW_TRACKING_URI=http://mlflow:5000; python train.py"
    return findings("pipelines.tracking_uri_is_injected", pipeline(shell))


@broken("pipelines.tracking_uri_is_injected", because="given no tracking_uri")
def test_a_default_that_the_pipeline_does_not_replace() -> list[Finding]:
    return findings("pipelines.tracking_uri_is_injected", pipeline(given=False))


@pytest.mark.parametrize(
    "line",
    [
        "mlflow.set_tracking_uri(os.environ['MLFLOW_TRACKING_URI'])",
        "mlflow.set_tracking_uri(f'http://{os.environ[\"HOST\"]}:5000')",
        "mlflow.set_registry_uri(os.getenv('MLFLOW_REGISTRY_URI', ''))",
        "print('see http://mlflow:5000')",
    ],
)
@sound("pipelines.tracking_uri_is_injected")
def test_a_server_from_outside(line: str) -> list[Finding]:
    return findings("pipelines.tracking_uri_is_injected", pipeline(code(line)))


@sound("pipelines.tracking_uri_is_injected")
def test_a_server_that_only_the_platform_can_name() -> list[Finding]:
    text = pipeline().replace("{tracking_uri: {defaultValue", "{other: {defaultValue")
    found = findings("pipelines.tracking_uri_is_injected", text)
    assert "the platform is expected to inject MLFLOW_TRACKING_URI" in found[0].message
    return found


@broken("pipelines.resources_are_limited", because="no limit for memory")
def test_no_memory_limit() -> list[Finding]:
    return findings("pipelines.resources_are_limited", pipeline(resources="{cpuLimit: 1.0, resourceCpuLimit: '1'}"))


@broken("pipelines.resources_are_limited", because="no limit for CPU and memory")
def test_no_limits() -> list[Finding]:
    return findings("pipelines.resources_are_limited", pipeline(resources="{}"))


@broken("pipelines.resources_are_limited", because="accelerators without saying of which type")
def test_an_accelerator_without_type() -> list[Finding]:
    resources = "{cpuLimit: 1.0, memoryLimit: 2.0, accelerator: {count: '1'}}"
    return findings("pipelines.resources_are_limited", pipeline(resources=resources))


@pytest.mark.parametrize("field", ["type", "resourceType"])
@broken("pipelines.resources_are_limited", because="names an accelerator and asks for none")
def test_an_accelerator_without_count(field: str) -> list[Finding]:
    resources = f"{{cpuLimit: 1.0, memoryLimit: 2.0, accelerator: {{{field}: nvidia.com/gpu}}}}"
    return findings("pipelines.resources_are_limited", pipeline(resources=resources))


@pytest.mark.parametrize(
    "resources",
    [
        "{cpuLimit: 1.0, memoryLimit: 2.0}",
        "{resourceCpuLimit: '{{$.inputs.parameters[''cpu'']}}', resourceMemoryLimit: 2Gi}",
        "{cpuLimit: 1.0, memoryLimit: 2.0, accelerator: {resourceCount: '1', resourceType: nvidia.com/gpu}}",
    ],
)
@sound("pipelines.resources_are_limited")
def test_limits(resources: str) -> list[Finding]:
    return findings("pipelines.resources_are_limited", pipeline(resources=resources))


@broken("pipelines.recording_step_is_not_cached", because="task train records a run and is cached")
def test_a_cached_recording_step() -> list[Finding]:
    return findings("pipelines.recording_step_is_not_cached", pipeline(cached=True))


@broken("pipelines.recording_step_is_not_cached", because="is cached")
def test_a_cached_step_that_records_through_a_client() -> list[Finding]:
    text = code("client = MlflowClient()\nclient.log_metric('1', 'a', 1)").replace("mlflow.start_run()", "")
    return findings("pipelines.recording_step_is_not_cached", pipeline(text, cached=True))


@sound("pipelines.recording_step_is_not_cached")
def test_a_recording_step_that_always_runs() -> list[Finding]:
    return findings("pipelines.recording_step_is_not_cached", pipeline())
