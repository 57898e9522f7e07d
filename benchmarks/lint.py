"""``trivet lint`` over 10,000 manifests, beside the schema validators that users would pick. One command, one run, one table.

Usage: ``python benchmarks/lint.py [--manifests 10000] [--stack 2024.11]``

check-jsonschema comes from the package index into a throw-away environment; kubeconform is built with ``go install`` where there
is Go. Both get the schema of InferenceService from KServe's own CRD (the Go module of the stack's version), made strict as
kubeconform's documentation does it: no fields but the known ones. Without Go the schema is made from the stack's kserve_api.json.
Every tool runs as a whole process over files that it has not seen; the page cache is warm for all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trivet.model.stack import Stack
from trivet.stacks.kserve_api import ROOT, load_api
from trivet.stacks.read import load_stack

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifests", type=int, default=10_000)
    parser.add_argument("--stack", default="2024.11")
    asked = parser.parse_args()
    stack = load_stack(asked.stack)
    with tempfile.TemporaryDirectory(prefix="trivet-benchmark-") as scratch:
        place = Path(scratch)
        schema, source = strict_schema(stack)
        (place / "inferenceservice.json").write_text(json.dumps(schema), encoding="utf-8")
        manifests = write_manifests(place / "manifests", asked.manifests)
        commands = {"trivet lint": [str(Path(sys.executable).with_name("trivet")), "lint", "--stack", asked.stack]}
        commands |= validators(place)
        print(
            f"{asked.manifests:,} manifests of {MANIFEST.count(chr(10))} lines; schema from {source}; {os.cpu_count()} processors"
        )
        for command in commands.values():
            refuse_a_broken_one(command, place)
        times = {name: measure(command, manifests, place) for name, command in commands.items()}
    print(f"{'':<18}{'seconds':>9}{'ms each':>9}{'of trivet':>11}")
    for name, seconds in times.items():
        each = seconds / asked.manifests * 1000
        print(f"{name:<18}{seconds:>9.2f}{each:>9.3f}{seconds / times['trivet lint']:>10.2f}x")


def measure(command: Sequence[str], manifests: Path, place: Path) -> float:
    """Seconds of wall time for the whole process. Raises SystemExit when it did not find the manifests sound."""
    began = time.perf_counter()
    done = run(command, manifests, place)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} exited {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return seconds


def refuse_a_broken_one(command: Sequence[str], place: Path) -> None:
    """A tool that accepts an unknown field does not do the work that is measured."""
    broken = write_manifests(place / f"broken-{Path(command[0]).name}", 1)
    file = broken / "000000.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("minReplicas", "minimumReplicas"), encoding="utf-8")
    done = run(command, broken, place)
    if not done.returncode or "minimumReplicas" not in done.stdout + done.stderr:
        raise SystemExit(f"{command[0]} does not refuse an unknown field:\n{done.stdout}{done.stderr}")


def run(command: Sequence[str], manifests: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """The tool over every file of a directory; check-jsonschema takes files, the others walk."""
    given = sorted(map(str, manifests.glob("*.yaml"))) if "check-jsonschema" in command[0] else [str(manifests)]
    return subprocess.run([*command, *given], cwd=place, capture_output=True, text=True, check=False)


def write_manifests(folder: Path, number: int) -> Path:
    """``number`` sound manifests, no two alike."""
    folder.mkdir()
    for index in range(number):
        text = MANIFEST.format(number=index, team=index % 97, replicas=3 + index % 11)
        (folder / f"{index:06}.yaml").write_text(text, encoding="utf-8")
    return folder


def validators(place: Path) -> dict[str, list[str]]:
    """The validators' commands, once they are installed."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
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
    if not shutil.which("go"):
        return schema_of_api(stack), "kserve_api.json"
    module = json.loads(quiet("go", "mod", "download", "-json", f"github.com/kserve/kserve@v{version}"))
    crd = yaml.load((Path(module["Dir"]) / CRD).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
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


def schema_of_api(stack: Stack) -> dict[str, Any]:
    """The same from what the stack knows of KServe's API."""
    api = load_api(stack.kserve_api)
    scalars: Mapping[str, Any] = {
        "str": ["string", "number"],
        "int": "integer",
        "bool": "boolean",
        "datetime": "string",
    }

    def of(declared: str) -> Any:
        if found := re.fullmatch(r"list\[(.+)\]", declared):
            return {"type": "array", "items": of(found[1])}
        if found := re.fullmatch(r"dict\(str, (.+)\)", declared):
            return {"type": "object", "additionalProperties": of(found[1])}
        if declared in scalars:
            return {"type": scalars[declared]}
        return {"$ref": f"#/definitions/{declared}"} if declared in api.types else {}

    definitions = {
        name: {"type": "object", "properties": {f: of(t) for f, t in fields.items()}, "additionalProperties": False}
        for name, fields in api.types.items()
    }
    return {"$ref": f"#/definitions/{ROOT}", "definitions": definitions}


if __name__ == "__main__":
    main()
