"""What the contracts over model directories share: flavors, named files, stated versions, and what the runtime has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from trivet.authoring import CannotTell, Keys, Location, ModelDirectory, Role, Stack, remembered, text_lines
from trivet.stacks.runtime_image import RuntimeImage, load_runtime_image

PYFUNC = "python_function"
PYFUNC_MODEL = ("mlflow.pyfunc.model", "mlflow.pyfunc.loaders.chat_model", "mlflow.pyfunc.loaders.code_model")
"""Loaders of models that are written in Python themselves (mlflow 2.19.0 mlflow/pyfunc)."""

OWN_ENVIRONMENT = "environment.tar.gz"
"""MLServer 1.5.0 and 1.7.1 Dockerfile, MLSERVER_ENV_TARBALL: a packed environment in the model's directory, which serves instead of the
image's."""

MAX_TEXT = 4 * 1024 * 1024
"""Bytes of a requirements.txt, conda.yaml or python_env.yaml; MLflow writes some hundred."""

MAX_LINE = 4096
"""Characters of a requirement; one with a URL and hashes has some hundred."""

MAX_PARENTHESES = 50
"""Of a requirement. Its marker may have some; packaging, which descends into each, ends at some hundred."""

LISTED_OF = ("mlflow", "mlserver", "numpy", "scikit-learn")
"""The packages whose versions decide what a table of an image says."""

VERSION_KEYS: Mapping[str, tuple[str, str]] = {
    "catboost": ("catboost_version", "catboost"),
    "h2o": ("h2o_version", "h2o"),
    "keras": ("keras_version", "keras"),
    "lightgbm": ("lgb_version", "lightgbm"),
    "onnx": ("onnx_version", "onnx"),
    "pmdarima": ("pmdarima_version", "pmdarima"),
    "prophet": ("prophet_version", "prophet"),
    "python_function": ("cloudpickle_version", "cloudpickle"),
    "pytorch": ("pytorch_version", "torch"),
    "sklearn": ("sklearn_version", "scikit-learn"),
    "spacy": ("spacy_version", "spacy"),
    "spark": ("pyspark_version", "pyspark"),
    "statsmodels": ("statsmodels_version", "statsmodels"),
    "transformers": ("transformers_version", "transformers"),
    "xgboost": ("xgb_version", "xgboost"),
}
"""Flavor → the key that states a version, and the distribution (mlflow 2.19.0, ``add_flavor`` of each flavor)."""

_FILE_KEYS = (
    "data",
    "model_path",
    "model_data",
    "model_code_path",
    "pickled_model",
    "python_model",
    "saved_model_dir",
    "parameters_path",
    "code",
)
"""Keys of flavors whose values are paths in the model's directory (mlflow 2.10.2 and 2.19.0, ``add_flavor`` and ``add_to_model``)."""


@dataclass(frozen=True, kw_only=True)
class StatedVersion:
    """A version of a package that a file of the model states, and where."""

    name: str
    version: Version
    location: Location


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """A path that MLmodel names, with the keys that it stands under.

    ``file`` is where that is in the model's directory, whether it exists or not; None for what :func:`inside` refuses.
    """

    keys: Keys
    path: str
    file: Path | None


def flavor(model: ModelDirectory, name: str) -> Mapping[str, Any]:
    """The flavor ``name``; empty when the model has none, or none that is a mapping."""
    found = model.mlmodel["flavors"].get(name)
    return found if isinstance(found, Mapping) else {}


def loader(model: ModelDirectory) -> str:
    """The module that loads the model for MLServer; empty when MLmodel names none."""
    return str(flavor(model, PYFUNC).get("loader_module") or "")


def loaded_flavor(model: ModelDirectory) -> str:
    """The flavor beside ``python_function`` whose files the loader reads, such as ``sklearn``; empty for a loader of the user's own."""
    package, _, rest = loader(model).partition(".")
    name = rest.partition(".")[0]
    return name if package == "mlflow" and name != "pyfunc" else ""


def runtime(stack: Stack) -> Role:
    """The role of the serving runtime."""
    return stack.roles["runtime"]


@remembered
def image(stack: Stack) -> RuntimeImage | None:
    """What the runtime's image holds, with the versions of the runtime's lock, but for those that the image's build did not pin, which are
    unknown; None without a table of it that has the lock's versions."""
    if stack.runtime_image is None:
        return None
    found, pins = load_runtime_image(stack.runtime_image), runtime(stack).pins
    if any(found.source.get(name) != pins.get(name) for name in LISTED_OF):
        return None
    locked = {name: version for name, version in pins.items() if found.packages.get(name, version) is not None}
    return replace(found, packages={**found.packages, **locked})


def in_the_image(stack: Stack) -> Mapping[str, str | None]:
    """Distribution → version, as far as it is known of the runtime: its image's, or without a table its lock's."""
    found = image(stack)
    return found.packages if found else dict(runtime(stack).pins)


class Served(NamedTuple):
    """The version of a package that a model is judged by. ``known`` if it is the image's: its build pinned it, or the stack's lock is taken
    for it; else it is the lock's, and the image may have another."""

    version: str
    known: bool


def served_version(stack: Stack, package: str) -> Served | None:
    """The runtime's version of a package; None if none is known."""
    if pinned := in_the_image(stack).get(package):
        return Served(pinned, known=True)
    locked = runtime(stack).pins.get(package)
    return Served(locked, known=False) if locked else None


def brings_its_environment(model: ModelDirectory) -> bool:
    """Whether MLServer activates an environment of the model's own, so that what the image holds does not matter."""
    return (model.path / OWN_ENVIRONMENT).is_file()


@remembered
def named_paths(model: ModelDirectory) -> Sequence[NamedPath]:
    """The paths that MLmodel names and that MLServer reads: those of ``python_function`` and of the flavor that its loader loads."""
    found: list[NamedPath] = []

    def add(keys: Keys, path: str) -> None:
        found.append(NamedPath(keys=keys, path=path, file=inside(model, path)))

    for name in filter(None, (PYFUNC, loaded_flavor(model))):
        settings = flavor(model, name)
        for key in _FILE_KEYS:
            if isinstance(path := settings.get(key), str) and path:
                keys: Keys = ("flavors", name, key)
                add(keys, _in_directory(path) if key == "model_code_path" else path)
        artifacts = settings.get("artifacts")
        for artifact, entry in artifacts.items() if isinstance(artifacts, Mapping) else ():
            if isinstance(entry, Mapping) and isinstance(path := entry.get("path"), str):
                add(("flavors", name, "artifacts", str(artifact), "path"), path)
    unique = {each.path: each for each in reversed(found)}
    return [each for each in found if unique[each.path] is each]


def inside(model: ModelDirectory, name: str) -> Path | None:
    """Where ``name`` is in a model's directory, whether it exists or not.

    None for an absolute name, one with ``..``, one that no file can have (with a NUL, or too long), and one that symbolic links lead out of
    the model's root. A model may come from anybody, so that its contracts open no file but through this.
    """
    pure, path = PurePosixPath(name), model.path / name
    if pure.is_absolute() or ".." in pure.parts:
        return None
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError):
        return None
    return path if f"{os.path.realpath(path)}/".startswith(_root(model)) else None


@remembered
def _root(model: ModelDirectory) -> str:
    """The model's root without symbolic links, with a slash at its end."""
    return f"{os.path.realpath(model.root)}/".replace("//", "/")


@remembered
def code_modules(model: ModelDirectory) -> AbstractSet[str]:
    """The top-level modules and packages that the model brings as code; none when ``code`` is not a directory of the model's."""
    code = flavor(model, PYFUNC).get("code")
    folder = inside(model, code) if isinstance(code, str) and code else None
    if folder is None or not folder.is_dir():
        return set()
    try:
        return {each.name.removesuffix(".py") for each in folder.iterdir() if each.suffix == ".py" or each.is_dir()}
    except OSError as error:
        raise CannotTell(f"{folder} cannot be read: {error}") from error


def _in_directory(path: str) -> str:
    """mlflow 2.19.0 mlflow/pyfunc/model.py, _load_context_model_and_signature: only the file's name is used, without its directories."""
    return PurePosixPath(path).name


@remembered
def stated_versions(model: ModelDirectory) -> Mapping[str, Sequence[StatedVersion]]:
    """Package → its exact versions as the model's files state them: MLmodel first, then requirements.txt, then conda.yaml."""
    stated: dict[str, list[StatedVersion]] = {}

    def add(name: str, version: Any, location: Location) -> None:
        with suppress(ValueError):  # no version, as None, or one with a number of over 4300 digits
            entry = StatedVersion(name=name, version=Version(str(version)), location=location)
            stated.setdefault(name, []).append(entry)

    for name, (key, distribution) in VERSION_KEYS.items():
        add(distribution, flavor(model, name).get(key), model.at("flavors", name, key))
    add("mlflow", model.mlmodel.get("mlflow_version"), model.at("mlflow_version"))
    for file in ("requirements.txt", "conda.yaml"):
        for text, where in lines_of(model, file):
            with suppress(InvalidRequirement):
                requirement = Requirement(text)
                add(canonicalize_name(requirement.name), exact(requirement), where)
    return stated


@remembered
def requirement_lines(model: ModelDirectory) -> Sequence[tuple[str, Location]]:
    """The lines of requirements.txt, or without that file the entries below ``pip:`` in conda.yaml."""
    for name in ("requirements.txt", "conda.yaml"):
        if (model.path / name).is_file():
            return list(lines_of(model, name))
    return []


def lines_of(model: ModelDirectory, name: str) -> Iterator[tuple[str, Location]]:
    """The requirements in a requirements.txt or a conda.yaml; none when there is no such file.

    Lines over MAX_LINE or MAX_PARENTHESES are not read.
    """
    file = model.path / name
    pattern = (
        r"(?P<text>[^#-].*)"
        if name == "requirements.txt"
        else r"-\s+(?P<quote>['\"]?)(?P<text>[\w.\[\],-]+\s*[=<>~!]{2}.+)(?P=quote)"
    )
    for number, line in enumerate(text_lines(text_of(model, name)) if file.is_file() else (), 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        readable = len(line) <= MAX_LINE and line.count("(") <= MAX_PARENTHESES
        if readable and (found := re.fullmatch(pattern, text)):
            yield found["text"], Location(file=str(file), line=number)


def exact(requirement: Requirement) -> str | None:
    """The version that a requirement pins; None for a range."""
    specifiers = list(requirement.specifier)
    pinned = (
        len(specifiers) == 1 and specifiers[0].operator in ("==", "===") and not specifiers[0].version.endswith("*")
    )
    return specifiers[0].version if pinned else None


@remembered
def stated_pythons(model: ModelDirectory) -> Sequence[tuple[str, Location]]:
    """The Python versions that MLmodel, python_env.yaml and conda.yaml state, in this order."""
    found: list[tuple[str, Location]] = []
    version = flavor(model, PYFUNC).get("python_version")
    if version is not None:
        found.append((str(version), model.at("flavors", PYFUNC, "python_version")))
    for name, pattern in (
        ("python_env.yaml", r"python:\s*['\"]?([\d.]+).*"),
        ("conda.yaml", r"\s*-\s+['\"]?python=+([\d.]+).*"),
    ):
        file = model.path / name
        for number, line in enumerate(text_lines(text_of(model, name)) if file.is_file() else (), 1):
            if match := re.fullmatch(pattern, line):
                found.append((match[1], Location(file=str(file), line=number)))
    return found


def text_of(model: ModelDirectory, name: str) -> str:
    """The text of a file beside MLmodel. Raises CannotTell if it is none, has over MAX_TEXT bytes, or is a link out of the model's root."""
    file = model.path / name
    if inside(model, name) is None:
        raise CannotTell(f"{file} is a symbolic link to outside of the model's directory, which is not read")
    try:
        if (size := file.stat().st_size) > MAX_TEXT:
            raise CannotTell(f"{file} has {size:,} bytes, and at most {MAX_TEXT:,} are read")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotTell(f"{file} cannot be read: {error}") from error
