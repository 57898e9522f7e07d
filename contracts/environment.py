"""mlflow → runtime: the packages that a model was saved with are compatible with the serving runtime. MLflow itself only warns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from trivet.authoring import (
    MUST,
    SHOULD,
    CannotTell,
    Finding,
    Location,
    ModelDirectory,
    Role,
    Stack,
    contract,
    failed,
    inconclusive,
    not_applicable,
    passed,
)

SEAM = ("mlflow", "runtime")

SKOPS_SINCE = Version("3.9.0")
"""The first MLflow that reads ``model.skops`` (mlflow/sklearn/__init__.py: 3.8.0 has no skops, 3.9.0 has)."""

PICKLES = ("pickle", "cloudpickle")

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "runtime": ">=1.3"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="A model must have been saved with packages whose pickles the serving runtime reads",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A pickle contains names of private classes of the packages that wrote it. scikit-learn does not support loading "
        "across versions, and NumPy 1 does not have the random generators that NumPy 2 pickles; the runtime then fails to "
        "load the model, or loads it and predicts wrong values."
    ),
    remedy="Train with the versions in the runtime's lock, or serve with a runtime that has the trainer's versions.",
    sources=(
        "scikit-learn, model persistence: loading a model saved with another version is entirely unsupported "
        "(InconsistentVersionWarning)",
        "numpy 1.26.4 numpy/random/_pickle.py, __bit_generator_ctor: takes a name, and 2.x pickles the class "
        "('MT19937 is not a known BitGenerator module')",
        "measured: gradient boosting saved with scikit-learn 1.5.2 and NumPy 2.1.3 does not load in MLServer 1.5.0 "
        "(1.4.1.post1, 1.26.4)",
    ),
)
def dependencies_fit_the_runtime(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    runtime = _runtime(stack)
    packages = _pickled_packages(model_directory)
    opaque = not _flavor(model_directory, "sklearn")
    if not packages:
        reason = "according to its files the model does not pickle objects of scikit-learn or NumPy"
        yield not_applicable(reason, location=model_directory.at("flavors"))
    for saved in packages:
        served = runtime.pins.get(saved.name)
        if served is None:
            yield inconclusive(f"the runtime's lock {runtime.lock.name} has no {saved.name}", location=saved.location)
        elif (reason := _unreadable(saved, Version(served))) and opaque:
            yield inconclusive(
                f"saved with {saved.name} {saved.version}, but the runtime has {served}: {reason}, and it is unknown "
                "whether the pickled Python model contains such objects",
                location=saved.location,
            )
        elif reason:
            yield failed(
                f"saved with {saved.name} {saved.version}, but the runtime has {served}: {reason}",
                remedy=f"train with {_beside(runtime)}, or serve with a runtime that has {saved.name} {saved.version}",
                location=saved.location,
            )
        else:
            yield passed(
                f"the runtime's {saved.name} {served} reads models of {saved.name} {saved.version}",
                location=saved.location,
            )


@contract(
    title="A model should have been saved with the same versions that the serving runtime has",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Differences that do not break loading go unnoticed until a prediction differs; MLflow only logs a warning."
    ),
    remedy="Pin every package that the model uses in the trainer to the version in the runtime's lock.",
    sources=("mlflow 2.10.2 and 2.19.0 mlflow/pyfunc/__init__.py, _warn_dependency_requirement_mismatches",),
)
def versions_are_the_same(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    runtime = _runtime(stack)
    stated = _stated(model_directory)
    if not stated:
        yield inconclusive(
            "neither requirements.txt nor conda.yaml has a version", location=Location(file=str(model_directory.path))
        )
    for saved in stated:
        served = runtime.pins.get(saved.name)
        if served is None:
            yield failed(
                f"saved with {saved.name} {saved.version}, but the runtime's lock has no {saved.name}",
                location=saved.location,
            )
        elif Version(served) != saved.version:
            yield failed(
                f"saved with {saved.name} {saved.version}, but the runtime has {served}", location=saved.location
            )
        else:
            yield passed(f"{saved.name} {saved.version} in both", location=saved.location)


@contract(
    title="A model should have been saved with the Python that the serving runtime has",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "cloudpickle stores the byte code of everything defined in a script or notebook, and byte code is not portable "
        "between minor versions of Python."
    ),
    remedy="Train with the runtime's Python, or define everything that the model refers to in installed modules.",
    sources=(
        "cloudpickle README: only between the exact same version of Python",
        "the stack's runtime image, image_python",
    ),
)
def python_fits_the_runtime(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    runtime = _runtime(stack)
    served = runtime.image_python or runtime.python
    saved, where = _python(model_directory)
    if not saved:
        yield inconclusive("neither MLmodel nor python_env.yaml has the Python version of the model", location=where)
    elif _minor(saved) == _minor(served):
        yield passed(f"saved with Python {saved}, and the runtime has {served}", location=where)
    else:
        yield failed(f"saved with Python {saved}, but the runtime's image has Python {served}", location=where)


@contract(
    title="A model must be serialised in a format that the serving runtime's MLflow reads",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLflow 3.14 and later saves scikit-learn models as model.skops by default; MLflow before 3.9 does not support "
        "that format and rejects the model."
    ),
    remedy=(
        'Log the model with serialization_format="cloudpickle", or serve with an MLflow that reads skops and has the'
        " package skops."
    ),
    sources=(
        "mlflow 2.19.0 mlflow/sklearn/__init__.py, SUPPORTED_SERIALIZATION_FORMATS; 3.8.0 has no skops, 3.9.0 has",
        "mlflow 3.17.2 mlflow/sklearn/__init__.py, save_model: skops by default",
    ),
)
def serialization_is_readable(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    runtime = _runtime(stack)
    flavor = _flavor(model_directory, "sklearn")
    where = model_directory.at("flavors", "sklearn", "serialization_format")
    form = flavor.get("serialization_format", "pickle")
    mlflow = runtime.pins.get("mlflow") or runtime.pins.get("mlflow-skinny")
    if not flavor:
        yield passed(
            "the model has no flavor with a format that older versions of MLflow cannot read",
            location=model_directory.at("flavors"),
        )
    elif form in PICKLES:
        yield passed(f"every version of MLflow reads the format {form}", location=where)
    elif form != "skops":
        yield inconclusive(f"unknown serialization format {form!r}", location=where)
    elif mlflow is None:
        yield inconclusive(f"the runtime's lock {runtime.lock.name} has no mlflow", location=where)
    elif Version(mlflow) < SKOPS_SINCE:
        yield failed(
            f"the model is in skops format, which the runtime's MLflow {mlflow} cannot read (it needs {SKOPS_SINCE})",
            location=where,
        )
    elif "skops" not in runtime.pins:
        yield failed("the model is in skops format, but the runtime's lock has no skops", location=where)
    else:
        yield passed(f"the runtime has MLflow {mlflow} and skops {runtime.pins['skops']}", location=where)


@contract(
    title="The requirements of a model should be pinned",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Without exact versions the environment of a model can neither be compared with a runtime nor be rebuilt."
    ),
    remedy="Log the model with pip_requirements=trivet.integration.pinned_requirements([...]).",
    sources=("mlflow: pip_requirements of log_model; requirements.txt in the model's directory",),
)
def requirements_are_pinned(model_directory: ModelDirectory) -> Iterator[Finding]:
    lines = list(_requirement_lines(model_directory.path))
    if not lines:
        yield failed(
            "the model lists no requirements",
            location=Location(file=str(model_directory.path / "requirements.txt")),
        )
    for text, where in lines:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # an option of pip's, or the path of a wheel in the model's directory
        if requirement.url or _exact(requirement) is not None:
            yield passed(f"{text} is exact", location=where)
        else:
            yield failed(f"{text!r} is not pinned to an exact version", location=where)


# -- the model directory ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A package that a model was saved with, and the location of that information."""

    name: str
    version: Version
    location: Location


def _pickled_packages(model: ModelDirectory) -> list[Saved]:
    """The packages whose versions affect loading: of scikit-learn estimators and of pickled Python models."""
    sklearn = _flavor(model, "sklearn")
    custom = "python_model" in _flavor(model, "python_function")
    wanted = set()
    if sklearn or custom:
        wanted.add("scikit-learn")
    if custom or (sklearn and sklearn.get("serialization_format", "pickle") in PICKLES):
        wanted.add("numpy")
    return [saved for saved in _stated(model) if saved.name in wanted]


def _unreadable(saved: Saved, served: Version) -> str:
    if saved.name == "scikit-learn" and saved.version.release[:2] != served.release[:2]:
        return "scikit-learn does not support loading a model saved with another minor version"
    if saved.name == "numpy" and saved.version.major > served.major:
        return f"NumPy {served.major} cannot read the random generators that NumPy {saved.version.major} pickles"
    return ""


def _beside(runtime: Role) -> str:
    names = ("scikit-learn", "numpy", "scipy", "joblib", "cloudpickle")
    return " ".join(f"{name}=={runtime.pins[name]}" for name in names if name in runtime.pins)


def _stated(model: ModelDirectory) -> list[Saved]:
    """Every package whose exact version the model states; the flavor's version takes precedence."""
    stated: dict[str, Saved] = {}

    def add(name: str, version: Any, location: Location) -> None:
        with suppress(InvalidVersion):  # which None is too
            stated.setdefault(name, Saved(name=name, version=Version(str(version)), location=location))

    sklearn = _flavor(model, "sklearn").get("sklearn_version")
    add("scikit-learn", sklearn, model.at("flavors", "sklearn", "sklearn_version"))
    add("mlflow", model.mlmodel.get("mlflow_version"), model.at("mlflow_version"))
    for text, where in _requirement_lines(model.path):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        add(canonicalize_name(requirement.name), _exact(requirement), where)
    return list(stated.values())


def _requirement_lines(directory: Path) -> Iterator[tuple[str, Location]]:
    """The lines of requirements.txt, or without that file the entries below ``pip:`` in conda.yaml."""
    for name, pattern in (
        ("requirements.txt", r"\s*(?P<text>[^#\s-].*?)\s*(\s#.*)?"),
        ("conda.yaml", r"\s*-\s+(?P<quote>['\"]?)(?P<text>[\w.\[\],-]+\s*[=<>~!]{2}.+?)(?P=quote)\s*(\s#.*)?"),
    ):
        file = directory / name
        if not file.is_file():
            continue
        for number, line in enumerate(_read(file).splitlines(), 1):
            if found := re.fullmatch(pattern, line):
                yield found["text"], Location(file=str(file), line=number)
        return


def _exact(requirement: Requirement) -> str | None:
    specifiers = list(requirement.specifier)
    exact = len(specifiers) == 1 and specifiers[0].operator in ("==", "===") and not specifiers[0].version.endswith("*")
    return specifiers[0].version if exact else None


def _python(model: ModelDirectory) -> tuple[str, Location]:
    version = _flavor(model, "python_function").get("python_version")
    if version is not None:
        return str(version), model.at("flavors", "python_function", "python_version")
    file = model.path / "python_env.yaml"
    for number, line in enumerate(_read(file).splitlines() if file.is_file() else (), 1):
        if found := re.match(r"python:\s*['\"]?([\d.]+)", line):
            return found[1], Location(file=str(file), line=number)
    return "", model.at("flavors")


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotTell(f"{file} cannot be read: {error}") from error


def _flavor(model: ModelDirectory, name: str) -> Mapping[str, Any]:
    found = model.mlmodel["flavors"].get(name)
    return found if isinstance(found, Mapping) else {}


def _runtime(stack: Stack) -> Role:
    return stack.roles["runtime"]
