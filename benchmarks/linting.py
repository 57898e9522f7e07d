"""``trivet lint`` over 10,000 manifests, beside the schema validators that users would pick.

check-jsonschema comes from the package index into a throw-away environment; kubeconform is built with ``go install`` where there
is Go. Both get the schema of InferenceService from KServe's own CRD (the Go module of the stack's version), made strict as
kubeconform's documentation does it: no fields but the known ones.
Every tool runs as a whole process as users would call it: trivet and kubeconform on every processor, check-jsonschema on one.

Further: the memory of each, what trivet has spent when its first finding is printed, and a stream of 200,000 lines on standard input.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from sides import first_line, interleaved, peak_memory, spend, spread, table
from uv import find_uv_bin

from trivet.model.stack import Stack
from trivet.stacks.go_modules import download_module
from trivet.stacks.read import load_stack

TRIVET = "trivet lint"
STACK = "2024.11"
MANIFESTS = 10_000
STREAM_LINES = 200_000
CHECK_JSONSCHEMA = "check-jsonschema==0.33.0"
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.6.7"
CRD = "config/crd/full/serving.kserve.io_inferenceservices.yaml"

MANIFEST = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: recommendation-{number}
  namespace: team-{team}
  labels:
    trivet.dev/run-id: r{number:031x}
    trivet.dev/pipeline: recommendation-training-pipeline
  annotations:
    serving.kserve.io/deploymentMode: Serverless
    autoscaling.knative.dev/target-utilization-percentage: "70"
spec:
  predictor:
    minReplicas: 2
    maxReplicas: {replicas}
    scaleMetric: concurrency
    scaleTarget: 70
    timeout: 60
    serviceAccountName: models
    model:
      modelFormat:
        name: mlflow
      protocolVersion: v2
      storageUri: s3://models/{team}/r{number:031x}/artifacts/model/
      readinessProbe:
        httpGet:
          path: /v2/models/recommendation-{number}/ready
          port: 8080
        periodSeconds: 5
      resources:
        requests:
          cpu: "1"
          memory: 2Gi
        limits:
          cpu: "2"
          memory: 4Gi
"""


def measure(scratch: Path, rounds: int) -> str:
    """Show that every tool refuses an unknown field, then let them take turns over the same sound files."""
    stack = load_stack(STACK)
    schema, source = strict_schema(stack)
    (scratch / "inferenceservice.json").write_text(json.dumps(schema), encoding="utf-8")
    manifests = write_manifests(scratch / "manifests", MANIFESTS)
    commands = {
        TRIVET: [str(Path(sys.executable).with_name("trivet")), "lint", "--stack", STACK],
        **validators(scratch),
    }
    for command in commands.values():
        refuse_a_broken_one(command, scratch)
    turns = interleaved(
        {name: partial(spend, over(command, manifests), scratch) for name, command in commands.items()}, rounds
    )
    rows = [["", "wall s", "CPU s", "CPU ms each", "CPU of trivet", "MB"]]
    for name, spent in turns.items():
        cpu = [turn.cpu for turn in spent]
        ratio = median(one.cpu / other.cpu for one, other in zip(spent, turns[TRIVET], strict=True))
        memory = peak_memory(over(commands[name], manifests), scratch) / 1e6
        each = f"{median(cpu) / MANIFESTS * 1000:.3f}"
        rows.append([name, spread([turn.wall for turn in spent]), spread(cpu), each, f"{ratio:.2f}x", f"{memory:.0f}"])
    lines = MANIFEST.count("\n")
    return (
        f"{MANIFESTS:,} manifests of {lines} lines, stack {STACK}, schema from {source}, {rounds} rounds: "
        f"median (smallest–largest)\n{table(rows)}\n{first_findings(commands[TRIVET], manifests, scratch, rounds)}"
        f"\n{streams(commands, manifests, scratch, rounds)}"
    )


def first_findings(command: Sequence[str], manifests: Path, place: Path, rounds: int) -> str:
    """What trivet has spent when its first finding is printed: of one file, and of all of them when the first is broken."""
    first = min(manifests.glob("*.yaml"))
    sound = first.read_text(encoding="utf-8")
    first.write_text(sound.replace("minReplicas", "minimumReplicas"), encoding="utf-8")
    turns = interleaved(
        {
            "one file": partial(first_line, [*command, str(first)], place),
            f"{MANIFESTS:,} files": partial(first_line, [*command, str(manifests)], place),
        },
        rounds,
    )
    first.write_text(sound, encoding="utf-8")
    rows = [["first finding", "wall s", "CPU s"]]
    for name, spent in turns.items():
        if not all("minimumReplicas" in turn.output for turn in spent):
            raise SystemExit(f"no finding in the first line: {spent[0].output}")
        rows.append([name, spread([turn.wall for turn in spent]), spread([turn.cpu for turn in spent])])
    return table(rows)


def streams(commands: Mapping[str, Sequence[str]], manifests: Path, place: Path, rounds: int) -> str:
    """A stream of documents on standard input, for the tools that read one."""
    stream = place / "stream.yaml"
    lines = MANIFEST.count("\n") + 1
    files = sorted(manifests.glob("*.yaml"))[: STREAM_LINES // lines + 1]
    stream.write_text("".join(f"---\n{file.read_text(encoding='utf-8')}" for file in files), encoding="utf-8")
    piped = {
        name: [*command, *(["-"] if name == TRIVET else [])]
        for name, command in commands.items()
        if name != "check-jsonschema"
    }
    turns = interleaved({name: partial(spend, command, place, stdin=stream) for name, command in piped.items()}, rounds)
    rows = [[f"stream of {len(files) * lines:,} lines", "wall s", "CPU s", "CPU of trivet", "MB"]]
    for name, spent in turns.items():
        ratio = median(one.cpu / other.cpu for one, other in zip(spent, turns[TRIVET], strict=True))
        memory = peak_memory(piped[name], place, stdin=stream) / 1e6
        walls, cpus = ([turn.wall for turn in spent], [turn.cpu for turn in spent])
        rows.append([name, spread(walls), spread(cpus), f"{ratio:.2f}x", f"{memory:.0f}"])
    return table(rows)


def refuse_a_broken_one(command: Sequence[str], place: Path) -> None:
    """A tool that accepts an unknown field does not do the work that is measured."""
    broken = write_manifests(place / f"broken-{Path(command[0]).name}", 1)
    file = broken / "000000.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("minReplicas", "minimumReplicas"), encoding="utf-8")
    said = spend(over(command, broken), place, codes=(1,)).output
    if "minimumReplicas" not in said:
        raise SystemExit(f"{command[0]} does not name the unknown field:\n{said}")


def over(command: Sequence[str], manifests: Path) -> list[str]:
    """The tool over every file of a directory; check-jsonschema takes files, the others walk."""
    given = sorted(map(str, manifests.glob("*.yaml"))) if "check-jsonschema" in command[0] else [str(manifests)]
    return [*command, *given]


def write_manifests(folder: Path, number: int) -> Path:
    """``number`` sound manifests, no two alike."""
    folder.mkdir()
    for index in range(number):
        text = MANIFEST.format(number=index, team=index % 97, replicas=3 + index % 11)
        (folder / f"{index:06}.yaml").write_text(text, encoding="utf-8")
    return folder


def validators(place: Path) -> dict[str, list[str]]:
    """The validators' commands, once they are installed."""
    uv = find_uv_bin()
    python = place / "validator" / "bin" / "python"
    quiet(uv, "venv", "--quiet", str(place / "validator"))
    quiet(uv, "pip", "install", "--quiet", "--python", str(python), CHECK_JSONSCHEMA)
    commands = {
        "check-jsonschema": [str(python.with_name("check-jsonschema")), "--schemafile", "inferenceservice.json"]
    }
    if shutil.which("go"):
        quiet("go", "install", KUBECONFORM, GOBIN=str(place))
        schema = str(place / "{{.ResourceKind}}.json")
        commands["kubeconform"] = [str(place / "kubeconform"), "-strict", "-schema-location", schema]
    return commands


def quiet(*command: str, **environment: str) -> str:
    """The standard output of a command that must succeed."""
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, env={**os.environ, **environment}
    ).stdout


def strict_schema(stack: Stack) -> tuple[dict[str, Any], str]:
    """The JSON Schema of InferenceService v1beta1, and where it came from."""
    version = stack.components["kserve"]
    file = download_module("github.com/kserve/kserve", f"v{version}") / CRD
    crd = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (served,) = [each for each in crd["spec"]["versions"] if each["name"] == "v1beta1"]
    return strict(served["schema"]["openAPIV3Schema"]), f"the CRD of KServe {version}"


def strict(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema that knows no fields but those that are described."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    plain = {key: strict(value) for key, value in schema.items() if key not in ("description", "format")}
    if "properties" in plain and not schema.get("x-kubernetes-preserve-unknown-fields"):
        plain.setdefault("additionalProperties", False)
    return plain
