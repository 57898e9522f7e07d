"""A script for a stack's runtime environment: writes what MLflow and pickles find there by name.

Usage: ``python runtime_names.py OUTPUT.json``. Needs the packages ``mlflow``, ``numpy`` and ``scikit-learn``, and nothing of trivet.
"""

import ast
import importlib
import json
import pkgutil
import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

LISTED = ("numpy", "sklearn")
"""The packages whose names are listed: those whose private names pickles of scikit-learn models contain."""

LOADER = "_load_pyfunc"
"""The function that MLflow calls in the module that ``loader_module`` names (mlflow/pyfunc/__init__.py, load_model)."""

UNLISTED = re.compile(r"\.(tests?|conftest|setup|testing|f2py|distutils|_pyinstaller)(\.|$)")
"""Modules that no model pickles anything of."""
_CONSTANTS = (str, bytes, int, float, tuple, list, dict, set, frozenset, type(None), type(sys))
"""Types of which no value is pickled by its name."""

_OF_EVERY_MODULE = ("__loader__", "__spec__")


def loaders(mlflow: Any) -> dict[str, str]:
    """Module with a ``_load_pyfunc`` (the ``loader_module`` of an MLmodel) → the distribution that it imports, empty for none.

    MLflow's own table says which (mlflow/ml_package_versions.py, ``package_info.pip_release``).
    """
    from mlflow.ml_package_versions import _ML_PACKAGE_VERSIONS  # type: ignore[import-not-found, unused-ignore]

    root = Path(mlflow.__file__).parent
    found = {}
    for file in sorted(root.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if LOADER in text and (origin := _origin(ast.parse(text))) is not None:
            parts = [part for part in file.relative_to(root).with_suffix("").parts if part != "__init__"]
            flavor = _ML_PACKAGE_VERSIONS.get(parts[0]) or _ML_PACKAGE_VERSIONS.get(origin) or {}
            found[".".join(("mlflow", *parts))] = flavor.get("package_info", {}).get("pip_release", "")
    return found


def _origin(module: ast.Module) -> str | None:
    """The flavor whose loader a module takes over, empty when it defines one itself; None when it has none."""
    if any(isinstance(node, ast.FunctionDef) and node.name == LOADER for node in module.body):
        return ""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and any(alias.name == LOADER for alias in node.names):
            return (node.module or "").split(".")[1]
    return None


def names(package: str) -> dict[str, list[str]]:
    """Module → the names in it, for every module of ``package`` that can be imported, under each name that Python finds it by."""
    folder = Path(importlib.import_module(package).__file__ or "").parent
    for module in pkgutil.walk_packages([str(folder)], f"{package}.", onerror=lambda _: None):
        if not UNLISTED.search(module.name):
            try:
                importlib.import_module(module.name)
            except Exception:
                continue  # of another platform, or in need of a package that is not there
    # Compiled modules of scikit-learn are found by their bare names too once they are imported, such as `_loss`.
    return {
        name: sorted(
            key for key, value in vars(module).items() if type(value) not in _CONSTANTS and key not in _OF_EVERY_MODULE
        )
        for name, module in sorted(sys.modules.items())
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/") and not UNLISTED.search(name)
    }


def main(output: str) -> None:
    """Write ``{"source": …, "loaders": …, "names": …}`` to ``output``."""
    warnings.simplefilter("ignore")
    mlflow = importlib.import_module("mlflow")
    listed = {module: found for package in LISTED for module, found in names(package).items()}
    content = {
        "source": {name: version(name) for name in ("mlflow", "numpy", "scikit-learn")},
        "loaders": loaders(mlflow),
        "names": listed,
    }
    Path(output).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
