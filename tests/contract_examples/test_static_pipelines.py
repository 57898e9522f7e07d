"""Examples of the contracts over compiled pipelines: IR as SDK 2.9 and 2.17 write it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contract_examples.registry import failing, not_applicable, passing
from contract_examples.static import findings

from trivet.contracts.ir.credentials import credential_assigned_in, credential_in
from trivet.contracts.ir.step_code import Program, read_program
from trivet.contracts.quantities import quantity
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
    field: str = "command",
    cached: bool = False,
    given: bool = True,
    parameter: str = "tracking_uri",
    default: Any = "http://mlflow:5000",
    env: str = "[]",
    resources: str = "{cpuLimit: 1.0, memoryLimit: 2.0}",
) -> str:
    """A pipeline of one conditional training step, and beside it one that has nothing to do with MLflow, and one without a container."""
    return f"""\
pipelineInfo: {{name: example}}
schemaVersion: 2.1.0
sdkVersion: kfp-2.9.0
root:
  dag:
    tasks:
      condition-1:
        componentRef: {{name: comp-condition-1}}
      report:
        cachingOptions: {{enableCache: true}}
        componentRef: {{name: comp-report}}
components:
  comp-condition-1:
    dag:
      tasks:
        train:
          cachingOptions: {"{enableCache: true}" if cached else "{}"}
          componentRef: {{name: comp-train}}
          inputs: {{parameters: {{{f"{parameter}: {{componentInputParameter: uri}}" if given else ""}}}}}
    inputDefinitions: {{parameters: {{tracking_uri: {{defaultValue: http://mlflow:5000, parameterType: STRING}}}}}}
  comp-report:
    executorLabel: exec-report
  comp-train:
    executorLabel: exec-train
    inputDefinitions:
      parameters:
        n: {{parameterType: NUMBER_INTEGER}}
        {parameter}:
          defaultValue: {json.dumps(default)}
          parameterType: STRING
deploymentSpec:
  executors:
    exec-import: {{importer: {{artifactUri: {{constant: s3://bucket/data}}}}}}
    exec-report:
      container:
        image: example/report:1
        command: [python, -c, "print('done')"]
        resources: {{cpuLimit: 1.0, memoryLimit: 2.0}}
    exec-train:
      container:
        image: example/trainer:1
        {field}:
        - 5
        - {json.dumps(code)}
        env: {env}
        resources: {resources}
---
platforms: {{kubernetes: {{}}}}
"""


def one(found: list[Finding]) -> list[Finding]:
    assert len(found) == 1, found
    return found


def code(line: str) -> str:
    return f"import os, mlflow\nfrom mlflow import MlflowClient\nADDRESS = 'http://mlflow:5000'\n{line}\nmlflow.start_run()\n"


# tracking_uri_is_injected


@pytest.mark.parametrize("field", ["command", "args"])
@pytest.mark.parametrize(
    "line",
    [
        "mlflow.set_tracking_uri('http://mlflow:5000')",
        "mlflow.set_tracking_uri(uri='file:///tmp/runs')",
        "mlflow.set_tracking_uri(ADDRESS)",
        "mlflow.set_registry_uri('http://mlflow:5000')",
        "os.environ['MLFLOW_TRACKING_URI'] = 'http://mlflow:5000'",
        "uri = os.environ['MLFLOW_TRACKING_URI'] = 'http://mlflow:5000'",
        "os.environ.setdefault('MLFLOW_TRACKING_URI', 'http://mlflow:5000')",
        "os.putenv('MLFLOW_TRACKING_URI', 'http://mlflow:5000')",
        "mlflow.set_tracking_uri(os.getenv('MLFLOW_TRACKING_URI', ADDRESS))",
        "mlflow.set_tracking_uri(os.environ.get('MLFLOW_TRACKING_URI', ADDRESS))",
        "os.environ.update({'A': 'b', 'MLFLOW_TRACKING_URI': 'databricks'})",
        "client = MlflowClient('http://mlflow:5000')",
        "client = MlflowClient(tracking_uri='http://mlflow:5000')",
        "os.environ.update(MLFLOW_TRACKING_URI='http://mlflow:5000')",
        "subprocess.run(['train'], env=dict(MLFLOW_TRACKING_URI='http://mlflow:5000'))",
        "mlflow.set_tracking_uri(f'http://{host}:5000')",
        "mlflow.set_tracking_uri('http://' + 'mlflow' + ':5000')",
        "mlflow.set_tracking_uri('http://{}:{port}'.format('mlflow', port=5000))",
        "mlflow.set_tracking_uri('http://%s:%d' % ('mlflow', 5000))",
        "host = 'mlflow'; mlflow.set_tracking_uri(f'http://{host}:5000')",
        "mlflow.set_tracking_uri(':'.join(['http', '//mlflow', '5000']))",
        "mlflow.set_tracking_uri(os.environ.get('SERVER', ADDRESS))",
        "mlflow.set_tracking_uri(os.environ.get('SERVER') or ADDRESS)",
        "mlflow.set_tracking_uri(f\"http://{os.environ.get('HOST', 'mlflow')}:5000\")",
        "mlflow.set_tracking_uri(ADDRESS if os.environ.get('CI') else os.environ['SERVER'])",
        "settings = {'uri': ADDRESS}; mlflow.set_tracking_uri(settings['uri'])",
        "settings = dict(uri=ADDRESS); mlflow.set_tracking_uri(settings['uri'])",
        "servers = [ADDRESS]; mlflow.set_tracking_uri(servers[0])",
        "class Settings: URI = ADDRESS\nmlflow.set_tracking_uri(Settings.URI)",
        "scheme, host = 'http', 'mlflow'; mlflow.set_tracking_uri(scheme + '://' + host)",
        "uri = 'http://'; uri += 'mlflow'; mlflow.set_tracking_uri(uri)",
        "def uri():\n    return ADDRESS\nmlflow.set_tracking_uri(uri())",
        "def connect(uri=ADDRESS):\n    mlflow.set_tracking_uri(uri)\nconnect()",
        "def connect(uri):\n    mlflow.set_tracking_uri(uri)\nconnect(ADDRESS)",
        "for uri in (ADDRESS,): mlflow.set_tracking_uri(uri)",
        "import base64; mlflow.set_tracking_uri(base64.b64decode('aHR0cDovL21sZmxvdzo1MDAw').decode())",
        "mlflow.set_tracking_uri(str(ADDRESS).rstrip('/'))",
        "from urllib.parse import urljoin; mlflow.set_tracking_uri(urljoin(ADDRESS, 'path'))",
        "from mlflow import set_tracking_uri as connect; connect(ADDRESS)",
        "connect = mlflow.set_tracking_uri; connect(ADDRESS)",
        "getattr(mlflow, 'set_tracking_uri')(ADDRESS)",
        "client = MlflowClient(registry_uri=ADDRESS)",
        "NAME = 'MLFLOW_TRACKING_URI'; os.environ[NAME] = ADDRESS",
        "os.environ |= {'MLFLOW_TRACKING_URI': ADDRESS}",
        "os.environ.update([('MLFLOW_TRACKING_URI', ADDRESS)])",
        "os.system('MLFLOW_TRACKING_URI=http://mlflow:5000 python train.py')",
        "subprocess.run(['sh', '-c', 'export MLFLOW_TRACKING_URI=http://mlflow:5000; train'])",
        "requests.post(ADDRESS + '/api/2.0/mlflow/runs/create')",
        "exec('mlflow.set_tracking_uri(\\'http://mlflow:5000\\')')",
    ],
)
@failing(
    "pipelines.tracking_uri_is_injected",
    because="step train: its code hard-codes the tracking server",
    at='- "import os',
)
def test_a_server_in_the_code(line: str, field: str) -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(code(line), field=field, parameter="other")))


@failing("pipelines.tracking_uri_is_injected", because="its command sets MLFLOW_TRACKING_URI to 'http://tracking:5000'")
def test_a_server_in_a_shell_command() -> list[Finding]:
    shell = "export MLFLOW_TRACKING_URI=http://tracking:5000; python train.py"
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(shell)))


@pytest.mark.parametrize("argument", ["--tracking-uri", "--mlflow_tracking_uri", "--registry-url"])
@pytest.mark.parametrize("form", ['"{}", "http://mlflow:5000"', '"{}=http://mlflow:5000"'])
@failing("pipelines.tracking_uri_is_injected", because="step report: its arguments set --", at="command: [train, ")
def test_a_server_in_the_arguments_of_a_container(argument: str, form: str) -> list[Finding]:
    text = pipeline("print('done')").replace("[python, -c, \"print('done')\"]", f"[train, {form.format(argument)}]")
    return one(findings("pipelines.tracking_uri_is_injected", text))


@failing("pipelines.tracking_uri_is_injected", because="'http://[redacted]@mlflow:5000'")
def test_the_password_of_a_hard_coded_server_is_not_quoted() -> list[Finding]:
    found = one(
        findings(
            "pipelines.tracking_uri_is_injected", pipeline(code("mlflow.set_tracking_uri('http://u:p4ss@mlflow:5000')"))
        )
    )
    assert "p4ss" not in found[0].message
    return found


@failing("pipelines.tracking_uri_is_injected", because="task train does not set server", at='defaultValue: "http://')
def test_a_default_that_the_code_makes_the_tracking_uri() -> list[Finding]:
    program = "import mlflow\ndef train(server: str = 'http://mlflow:5000'):\n    mlflow.set_tracking_uri(server)\n"
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(program, given=False, parameter="server")))


@pytest.mark.parametrize("program", [INJECTED, "print('no mlflow')"])
@pytest.mark.parametrize("parameter", ["tracking_uri", "MLFLOW_TRACKING_URI"])
@failing(
    "pipelines.tracking_uri_is_injected", because="task train does not set ", at='defaultValue: "http://mlflow:5000"'
)
def test_a_default_that_the_pipeline_does_not_replace(parameter: str, program: str) -> list[Finding]:
    text = pipeline(program, given=False, parameter=parameter)
    return one(findings("pipelines.tracking_uri_is_injected", text))


@failing("pipelines.tracking_uri_is_injected", because="task report does not set uri_of_tracking_url")
def test_a_default_of_a_step_that_stands_directly_in_the_pipeline() -> list[Finding]:
    definition = "inputDefinitions: {parameters: {uri_of_tracking_url: {defaultValue: http://mlflow:5000}}}"
    text = pipeline().replace("executorLabel: exec-report\n", f"executorLabel: exec-report\n    {definition}\n")
    return one(findings("pipelines.tracking_uri_is_injected", text))


@pytest.mark.parametrize(
    "line",
    [
        "mlflow.set_tracking_uri(os.environ['MLFLOW_TRACKING_URI'])",
        "mlflow.set_tracking_uri(os.getenv('MLFLOW_TRACKING_URI'))",
        "mlflow.set_tracking_uri(f'http://{os.environ[\"HOST\"]}:5000')",
        "mlflow.set_tracking_uri(f'{scheme}://{host}:5000')",
        "mlflow.set_tracking_uri(f'')",
        "mlflow.set_tracking_uri('mlruns')",
        "mlflow.set_tracking_uri(**settings)",
        "mlflow.set_registry_uri(os.getenv('MLFLOW_REGISTRY_URI', ''))",
        "os.environ.get('HOMEPAGE', ADDRESS)",
        "links['home'] = ADDRESS",
        "links = {**links, 'home': ADDRESS}",
        "print('see http://mlflow:5000')",
        "print('MLFLOW_TRACKING_URI', ADDRESS)",
        "handlers[0]('MLFLOW_TRACKING_URI', ADDRESS)",
        "mlflow.set_tracking_uri(os.environ['SCHEME'] + '://mlflow')",
        "mlflow.set_tracking_uri('http://' + os.environ['HOST'] + ':5000')",
        "mlflow.set_tracking_uri('http://{}:5000'.format(os.environ['HOST']))",
        "def f(host):\n    mlflow.set_tracking_uri(f'http://{host}:5000')",
        "def f(path):\n    mlflow.set_tracking_uri(f'sqlite:///{path}/db')",
        "import json; mlflow.set_tracking_uri(json.load(open('/etc/settings.json'))['uri'])",
        "from settings import URI; mlflow.set_tracking_uri(URI)",
        "def uri():\n    return os.environ['SERVER']\nmlflow.set_tracking_uri(uri())",
        "settings = {'home': ADDRESS, 'uri': os.environ['SERVER']}; mlflow.set_tracking_uri(settings['uri'])",
        "requests.get('https://mlflow.org/docs/latest')",
        "requests.post(os.environ['SERVER'] + '/api/2.0/mlflow/runs/create')",
        "uri = uri or os.environ['SERVER']; mlflow.set_tracking_uri(uri)",
    ],
)
@passing("pipelines.tracking_uri_is_injected", because="no step's code and no effective default", at="pipelineInfo")
def test_a_server_from_outside(line: str) -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(code(line))))


@pytest.mark.parametrize("default", ["", "mlruns", 5, None])
@passing("pipelines.tracking_uri_is_injected", because="no step's code and no effective default")
def test_a_default_that_names_no_server(default: Any) -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(given=False, default=default)))


@passing("pipelines.tracking_uri_is_injected", because="no step's code and no effective default")
def test_a_server_in_the_environment_of_the_container() -> list[Finding]:
    env = "[{name: HOME, value: /}, {name: MLFLOW_TRACKING_URI, value: http://mlflow:5000}]"
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(parameter="other", env=env)))


@pytest.mark.parametrize("source", ["secretAsEnv", "configMapAsEnv"])
@passing("pipelines.tracking_uri_is_injected", because="no step's code and no effective default")
def test_a_server_from_an_object_of_the_cluster(source: str) -> list[Finding]:
    config = f"{{{source}: [{{keyToEnv: [{{envVar: MLFLOW_TRACKING_URI}}]}}]}}"
    platform = f"platforms: {{kubernetes: {{deploymentSpec: {{executors: {{exec-train: {config}}}}}}}}}"
    text = pipeline(parameter="other", given=False, default="").replace("platforms: {kubernetes: {}}", platform)
    return one(findings("pipelines.tracking_uri_is_injected", text))


@pytest.mark.parametrize("env", ["[]", "null", "[{name: HOME, value: /}]"])
@passing(
    "pipelines.tracking_uri_is_injected", because="the pipeline sets none for train either, so the platform must inject"
)
def test_a_server_that_only_the_platform_can_name(env: str) -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(parameter="homepage", given=False, env=env)))


@pytest.mark.parametrize("parameter", ["tracking_uri", "MLFLOW_TRACKING_URI"])
@passing("pipelines.tracking_uri_is_injected", because="no step's code and no effective default")
def test_a_server_in_a_parameter(parameter: str) -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline(parameter=parameter)))


@not_applicable("pipelines.tracking_uri_is_injected", because="no step uses mlflow", at="pipelineInfo")
def test_steps_that_have_nothing_to_do_with_mlflow() -> list[Finding]:
    return one(findings("pipelines.tracking_uri_is_injected", pipeline("print('done')")))


# resources_are_limited


@failing(
    "pipelines.resources_are_limited",
    because="1 of 2 steps has no limit for memory: train",
    at="resources: {cpuLimit: 1.0, resource",
)
def test_no_memory_limit() -> list[Finding]:
    return one(
        findings("pipelines.resources_are_limited", pipeline(resources="{cpuLimit: 1.0, resourceCpuLimit: '1'}"))
    )


@pytest.mark.parametrize("resources", ["{}", "null", "{cpuLimit: 0.0, resourceMemoryLimit: ''}"])
@failing(
    "pipelines.resources_are_limited", because="1 of 2 steps has no limit for CPU and memory: train", at="resources: "
)
def test_no_limits(resources: str) -> list[Finding]:
    return one(findings("pipelines.resources_are_limited", pipeline(resources=resources)))


@failing("pipelines.resources_are_limited", because="1 of 2 steps has no limit for CPU and memory: exec-train")
def test_an_executor_of_no_component_goes_by_its_own_name() -> list[Finding]:
    text = pipeline(resources="{}").replace("executorLabel: exec-train", "executorLabel: exec-other")
    return one(findings("pipelines.resources_are_limited", text))


@failing(
    "pipelines.resources_are_limited",
    because="6 of 8 steps have no limit for CPU and memory: a, b, c, d, e and 1 more; "
    "1 of 8 steps has no limit for CPU: train",
)
def test_what_many_steps_lack_is_one_finding() -> list[Finding]:
    more = "".join(f"    exec-{name}: {{container: {{image: example/{name}:1}}}}\n" for name in "abcdef")
    owned = "".join(f"  comp-{name}: {{executorLabel: exec-{name}}}\n" for name in "abcdef")
    text = pipeline(resources="{memoryLimit: 2.0}").replace("    exec-import:", f"{more}    exec-import:")
    return one(findings("pipelines.resources_are_limited", text.replace("deploymentSpec:", f"{owned}deploymentSpec:")))


@pytest.mark.parametrize(
    "resources",
    [
        "{cpuLimit: 1.0, memoryLimit: 2.0}",
        "{resourceCpuLimit: '{{$.inputs.parameters[''cpu'']}}', resourceMemoryLimit: 2Gi}",
        "{cpuLimit: 1.0, memoryLimit: 2.0, accelerator: {resourceCount: '1', resourceType: nvidia.com/gpu}}",
    ],
)
@passing("pipelines.resources_are_limited", because="2 steps have limits for CPU and memory", at="pipelineInfo")
def test_limits(resources: str) -> list[Finding]:
    return one(findings("pipelines.resources_are_limited", pipeline(resources=resources)))


@pytest.mark.parametrize(
    ("image", "outputs"),
    [
        ("argostub/createpvc", "{}"),
        ("argostub/deletepvc", "{}"),
        ("gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0", "{}"),
        ("us-docker.pkg.dev/vertex-ai/automl-tabular/kfp-v2-base:1", "{}"),
        ("example/trainer:1", "{parameters: {gcp_resources: {parameterType: STRING}}}"),
    ],
)
@passing("pipelines.resources_are_limited", because="1 step has limits for CPU and memory")
def test_a_step_without_a_pod_of_its_own_needs_no_limits(image: str, outputs: str) -> list[Finding]:
    text = pipeline(resources="{}").replace("image: example/trainer:1", f"image: {image}")
    outputs = f"executorLabel: exec-train\n    outputDefinitions: {outputs}\n"
    return one(findings("pipelines.resources_are_limited", text.replace("executorLabel: exec-train\n", outputs)))


@not_applicable("pipelines.resources_are_limited", because="no step runs a container", at="pipelineInfo")
def test_no_containers() -> list[Finding]:
    return findings("pipelines.resources_are_limited", pipeline().replace("      container:", "      importer:"))


# resources_are_valid


@pytest.mark.parametrize(
    ("resources", "because"),
    [
        ("{resourceMemoryLimit: 4GB}", "its resourceMemoryLimit is '4GB', which is not a Kubernetes quantity"),
        ("{resourceMemoryLimit: 4 Gi}", "is '4 Gi', which is not a Kubernetes quantity"),
        ("{resourceMemoryRequest: 512m}", "its resourceMemoryRequest is 512m: 0.512 bytes"),
        ("{resourceCpuLimit: two}", "its resourceCpuLimit is 'two', which is not a Kubernetes quantity"),
        ("{resourceCpuLimit: '-1'}", "its resourceCpuLimit is negative (-1)"),
        ("{cpuLimit: -0.5}", "its cpuLimit is negative (-0.5)"),
        ("{cpuLimit: 1.0, cpuRequest: 2.0}", "its cpuRequest is 2, more than the limit of 1"),
        (
            "{memoryLimit: 4.294967296, memoryRequest: 8.0}",
            "its memoryRequest is 8G, more than the limit of 4.294967296G",
        ),
        (
            "{memoryLimit: 2.0, resourceMemoryRequest: 2Gi}",
            "its resourceMemoryRequest is 2Gi, more than the limit of 2G",
        ),
        (
            "{resourceCpuLimit: 500m, resourceCpuRequest: '1'}",
            "its resourceCpuRequest is 1, more than the limit of 500m",
        ),
        ("{accelerator: {count: '1'}}", "its accelerator requests accelerators without a type"),
        ("{accelerator: {resourceCount: '1'}}", "its accelerator requests accelerators without a type"),
        ("{accelerator: {type: nvidia.com/gpu}}", "its accelerator names an accelerator type and requests none"),
        (
            "{accelerator: {resourceType: nvidia.com/gpu}}",
            "its accelerator names an accelerator type and requests none",
        ),
        ("{accelerator: {type: NVIDIA_TESLA_T4, count: '1'}}", "has the type 'NVIDIA_TESLA_T4', expected the name of"),
        ("{accelerator: {type: nvidia.com/gpu, resourceCount: '0.5'}}", "has the count '0.5', expected a whole number"),
        ("{accelerator: {type: nvidia.com/gpu, resourceCount: '-1'}}", "has the count '-1', expected a whole number"),
        ("{accelerator: {type: nvidia.com/gpu, resourceCount: one}}", "has the count 'one', expected a whole number"),
    ],
)
@failing("pipelines.resources_are_valid", because="step train: its ", at="resources: {")
def test_resources_that_the_cluster_refuses_or_drops(resources: str, because: str) -> list[Finding]:
    found = one(findings("pipelines.resources_are_valid", pipeline(resources=resources)))
    assert because in found[0].message
    return found


@pytest.mark.parametrize(
    "resources",
    [
        "{cpuLimit: 0.25, cpuRequest: 0.25, memoryLimit: 2.0, memoryRequest: 1.5}",
        "{resourceCpuLimit: 1500m, resourceCpuRequest: '1.5', resourceMemoryLimit: 1Gi, resourceMemoryRequest: 1000Mi}",
        "{resourceMemoryLimit: 1e9, resourceCpuLimit: .5}",
        "{resourceCpuLimit: '{{$.inputs.parameters[''cpu'']}}', cpuRequest: 4.0}",
        "{memoryLimit: 1.0, resourceMemoryLimit: 4Gi, resourceMemoryRequest: 2Gi}",
        "{accelerator: {resourceCount: '1', resourceType: nvidia.com/gpu}}",
        "{accelerator: {count: '2', type: amd.com/gpu}}",
        "{accelerator: {resourceCount: '{{$.inputs.parameters[''n'']}}', resourceType: '{{$.inputs.parameters[''t'']}}'}}",
    ],
)
@passing("pipelines.resources_are_valid", because="the resources of 2 steps are valid", at="pipelineInfo")
def test_resources_that_a_pod_can_have(resources: str) -> list[Finding]:
    return one(findings("pipelines.resources_are_valid", pipeline(resources=resources)))


@not_applicable("pipelines.resources_are_valid", because="no step sets resources", at="pipelineInfo")
def test_no_resources() -> list[Finding]:
    text = pipeline(resources="{}").replace("resources: {cpuLimit: 1.0, memoryLimit: 2.0}", "resources: {}")
    return one(findings("pipelines.resources_are_valid", text))


# recording_step_is_not_cached


@failing(
    "pipelines.recording_step_is_not_cached",
    because="task train records a run and is cached",
    at="cachingOptions: {enableCache: true}",
)
def test_a_cached_recording_step() -> list[Finding]:
    return one(findings("pipelines.recording_step_is_not_cached", pipeline(cached=True)))


@failing(
    "pipelines.recording_step_is_not_cached",
    because="task report records a run and is cached",
    at="cachingOptions: {enableCache: true}",
)
def test_a_cached_recording_step_that_stands_directly_in_the_pipeline() -> list[Finding]:
    text = pipeline("print('done')").replace("print('done')\"]", 'import mlflow; mlflow.start_run()"]')
    return one(findings("pipelines.recording_step_is_not_cached", text))


@failing(
    "pipelines.recording_step_is_not_cached",
    because="task report records a run and is cached",
    at="cachingOptions: {enableCache: true}",
)
def test_a_cached_step_that_trains_by_trivet() -> list[Finding]:
    code = "from trivet.operations.steps import train; train('acme:train')"
    return one(
        findings("pipelines.recording_step_is_not_cached", pipeline("print('done')").replace("print('done')", code))
    )


@failing(
    "pipelines.recording_step_is_not_cached",
    because="task report records a run and is cached",
    at="enableCache",
)
def test_a_cached_step_that_trains_by_an_attribute_of_trivet() -> list[Finding]:
    code = "from trivet.operations import steps; steps.train('acme:train')"
    return one(
        findings("pipelines.recording_step_is_not_cached", pipeline("print('done')").replace("print('done')", code))
    )


@failing(
    "pipelines.recording_step_is_not_cached",
    because="2 tasks (report, train) record a run and are cached",
    at="cachingOptions: {enableCache: true}",
)
def test_cached_recording_steps_are_one_finding() -> list[Finding]:
    text = pipeline(cached=True).replace("print('done')\"]", 'import mlflow; mlflow.start_run()"]')
    return one(findings("pipelines.recording_step_is_not_cached", text))


@passing("pipelines.recording_step_is_not_cached", because="2 tasks (report, train) are not cached")
def test_recording_steps_that_always_run() -> list[Finding]:
    text = pipeline().replace("print('done')\"]", 'import mlflow; mlflow.start_run()"]')
    return one(
        findings("pipelines.recording_step_is_not_cached", text.replace("enableCache: true", "enableCache: false"))
    )


@passing("pipelines.recording_step_is_not_cached", because="task train is not cached", at="cachingOptions: {}")
def test_a_recording_step_that_always_runs() -> list[Finding]:
    return one(findings("pipelines.recording_step_is_not_cached", pipeline()))


@not_applicable("pipelines.recording_step_is_not_cached", because="no step records a run", at="pipelineInfo")
def test_a_cached_step_that_only_reads() -> list[Finding]:
    text = code("mlflow.search_runs()").replace("mlflow.start_run()", "")
    return one(findings("pipelines.recording_step_is_not_cached", pipeline(text, cached=True)))


# what a program does with MLflow


@pytest.mark.parametrize(
    ("program", "uses", "records"),
    [
        ("import mlflow\nmlflow.start_run()", True, True),
        ("import mlflow.sklearn\nmlflow.sklearn.autolog()", True, True),
        ("import mlflow as m\nm.register_model(a, b)", True, True),
        ("from mlflow import MlflowClient\nMlflowClient().log_metric('1', 'a', 1)", True, True),
        ("from mlflow import MlflowClient\nclient = MlflowClient()\nclient.set_tag('1', 'a', 'b')", True, True),
        ("from mlflow import sklearn as flavor\nflavor.log_model(model)", True, True),
        ("from mlflow.tracking import MlflowClient as C\nC().create_model_version(a)", True, True),
        ("import mlflow\nself.client = mlflow.MlflowClient()\nmlflow.search_runs()", True, False),
        ("import mlflow\nmlflow.log_in_words", True, False),
        ("import mlflow, wandb\nrun = wandb.init()\nrun.log_metric('a', 1)", True, False),
        ("import os\nos.log_metric('a', 1)", False, False),
        ("from . import mlflow\nmlflow.start_run()", False, False),
        ("from wandb import log_metric\nlog_metric('a', 1)", False, False),
        ("import mlflow_exporter\nmlflow_exporter.start_run()", False, False),
        ("mlflow run . --run-id 1", False, False),
    ],
)
def test_what_a_program_does_with_mlflow(program: str, uses: bool, records: bool) -> None:
    assert read_program(program) == Program(literals=(), uses_mlflow=uses, records=records)


@pytest.mark.parametrize(
    "line",
    [
        "x = " + " + ".join(["'http://mlflow'"] * 300),
        "x = '" + "{}" * 2000 + "'.format(" + ", ".join(["a or 'b'"] * 2000) + ")",
        "x = 'a'\n" + "x = x + 'b'\n" * 2000,
        "def f(a):\n    return f(a + a)\nx = f('a')",
        "x = x + x",
    ],
)
def test_a_program_is_followed_only_so_far(line: str) -> None:
    assert read_program(f"import mlflow\n{line}\nmlflow.set_tracking_uri(x)\n").secrets == ()


@pytest.mark.parametrize("piece", ["-eyJ", "a.", "--a", "http://a:", "a=", "-----BEGIN PRIVATE KEY-----", "9"])
def test_a_long_text_is_searched_in_linear_time(piece: str) -> None:
    text = piece * 5_000 + "."
    assert credential_in(text) == credential_assigned_in(text) == ""
    assert quantity(text + "x") is None
