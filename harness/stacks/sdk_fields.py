"""A script for a stack's sdk environment: writes the fields of KServe's API as the models of the KServe SDK declare them.

Usage: ``python sdk_fields.py OUTPUT.json``. Needs the packages ``kserve`` and ``kubernetes``, and nothing of trivet.
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
"""The models of kserve refer to Kubernetes types by their Go package (``K8sIoApiAppsV1DeploymentStrategy``); those of kubernetes do not."""


def normalised_type(declared: str) -> str:
    """A model's type string, normalised to ``list[T]``, ``dict(str, T)`` or a name. (kubernetes >= 34 writes ``Dict[str, T]``.)"""
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", declared):
        return f"list[{normalised_type(match[1])}]"
    if match := re.fullmatch(r"[Dd]ict[\[(](\w+), ?(.+)[\])]", declared):
        return f"dict({match[1]}, {normalised_type(match[2])})"
    return _QUALIFIED.sub("", declared)


def reachable(packages: list[Any], root: str) -> dict[str, dict[str, str]]:
    """Type name → JSON field name → type, for every model that ``root`` refers to, directly or not; types without a model are omitted."""
    types: dict[str, dict[str, str]] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        model = next((getattr(package, name) for package in packages if hasattr(package, name)), None)
        if name in types or model is None:
            continue
        types[name] = {
            model.attribute_map[attribute]: normalised_type(declared)
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
