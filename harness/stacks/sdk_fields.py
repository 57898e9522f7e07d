"""Run by file name inside a stack's sdk environment: writes the fields of KServe's API as the KServe SDK's models declare them.

Usage: ``python sdk_fields.py OUTPUT.json``. Needs nothing of trivet, and the packages ``kserve`` and ``kubernetes``.
"""

import importlib
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = "V1beta1InferenceService"
_QUALIFIED = re.compile(r"K8sIoApi(?:Apps|Autoscaling|Core)(?=V\d)")
"""kserve's models refer to Kubernetes types by their Go package (``K8sIoApiAppsV1DeploymentStrategy``), kubernetes' models do not."""


def described_type(declared: str) -> str:
    """A model's type string in one notation: ``list[T]``, ``dict(str, T)`` or a name. (kubernetes >= 34 writes ``Dict[str, T]``.)"""
    if of := re.fullmatch(r"[Ll]ist\[(.+)\]", declared):
        return f"list[{described_type(of[1])}]"
    if of := re.fullmatch(r"[Dd]ict[\[(](\w+), ?(.+)[\])]", declared):
        return f"dict({of[1]}, {described_type(of[2])})"
    return _QUALIFIED.sub("", declared)


def reachable(packages: list[Any], root: str) -> dict[str, dict[str, str]]:
    """Type name → JSON field name → type, for every model that can be reached from ``root``; types without a model are left out."""
    types: dict[str, dict[str, str]] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        model = next((getattr(package, name) for package in packages if hasattr(package, name)), None)
        if name in types or model is None:
            continue
        types[name] = {
            model.attribute_map[attribute]: described_type(declared)
            for attribute, declared in model.openapi_types.items()
        }
        waiting.extend(word for declared in types[name].values() for word in re.findall(r"[A-Z]\w+", declared))
    return types


def main(output: str) -> None:
    """Write ``{"source": …, "types": …}`` to ``output``."""
    packages = [importlib.import_module(name) for name in ("kserve.models", "kubernetes.client.models")]
    api = {
        "source": {name: version(name) for name in ("kserve", "kubernetes")},
        "types": dict(sorted(reachable(packages, ROOT).items())),
    }
    Path(output).write_text(json.dumps(api), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
