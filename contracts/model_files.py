"""mlflow → runtime: a model directory has the files that its MLmodel names, and a flavor that the runtime can load."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path, PurePosixPath

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from trivet.authoring import (
    MUST,
    SHOULD,
    Finding,
    Location,
    ModelDirectory,
    Stack,
    contract,
    failed,
    inconclusive,
    not_applicable,
    passed,
    text_lines,
)
from trivet.contracts._model_directories import (
    OWN_ENVIRONMENT,
    PYFUNC,
    NamedPath,
    brings_its_environment,
    code_modules,
    flavor,
    image,
    inside,
    loader,
    named_paths,
    served_version,
    stated_pythons,
    stated_versions,
    text_of,
)
from trivet.contracts.values import mapping

SEAM = ("mlflow", "runtime")

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "runtime": ">=1.3"}
"""The oldest versions that these contracts were verified with, by reading or running them."""

POINTERS = {
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS",
    b"/annex/objects/": "a pointer of git-annex",
    b"../.git/annex/objects/": "a pointer of git-annex",
}
"""How files begin that stand for content elsewhere (git-lfs docs/spec.md; git-annex, unlocked files)."""

MOST_FILES = 2_000
"""Files of one directory that are looked into."""


@contract(
    title="Every file that MLmodel names must be in the model's directory, with its content",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLflow reads MLmodel first and the files that it names later: a directory that was copied in part, or checked out "
        "without Git LFS, is registered and admitted, and fails in the serving container."
    ),
    remedy="Copy the directory whole, as save_model wrote it; fetch large files first (git lfs pull, dvc pull).",
    sources=(
        "mlflow 2.10.2 and 2.19.0 mlflow/pyfunc/__init__.py, load_model: `data` and `code` are joined to the model's directory",
        "mlflow 2.19.0 mlflow/pyfunc/model.py, _load_context_model_and_signature: python_model and artifacts likewise",
        "git-lfs docs/spec.md: a pointer is a text file",
    ),
)
def named_files_are_there(model_directory: ModelDirectory) -> Iterator[Finding]:
    named = named_paths(model_directory)
    wrong = 0
    for each in named:
        where = model_directory.at(*each.keys)
        if reason := _unusable(model_directory, each):
            wrong += 1
            yield failed(reason, location=where)
        elif each.file is None:
            wrong += 1
            yield inconclusive(
                f"{each.path} is a symbolic link to outside of the model's directory, where nothing is read",
                remedy="put the file itself into the directory",
                location=where,
            )
    settings = flavor(model_directory, PYFUNC)
    if loader(model_directory) == "mlflow.sklearn" and not settings.get("data") and not settings.get("model_path"):
        wrong += 1
        yield failed(
            "python_function names neither model_path nor data, one of which mlflow.sklearn loads",
            location=model_directory.at("flavors", PYFUNC),
        )
    if not named and not wrong:
        yield not_applicable("MLmodel names no file", location=model_directory.at("flavors"))
    elif not wrong:
        what = ", ".join(dict.fromkeys(each.path for each in named))
        yield passed(f"in the directory: {what}", location=model_directory.at("flavors"))


@contract(
    title="A model must have the flavor python_function, with a loader that the runtime's image has",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLServer loads a model as python_function and by nothing else, with the MLflow and the packages in its image; it "
        "installs nothing of the model's requirements."
    ),
    remedy=(
        "Log the model with the log_model of its flavor, which adds python_function; for packages that the image lacks, put a "
        f"packed environment ({OWN_ENVIRONMENT}) into the model's directory or use a custom image."
    ),
    sources=(
        "MLServer 1.5.0 and 1.7.1 runtimes/mlflow/mlserver_mlflow/runtime.py, load: mlflow.pyfunc.load_model",
        "mlflow 2.10.2 and 2.19.0 mlflow/pyfunc/__init__.py, load_model: 'Model does not have the \"python_function\" flavor'",
        "the stack's runtime_image.json, from MLServer's poetry.lock and from the runtime's MLflow",
        "MLServer 1.5.0 and 1.7.1 Dockerfile, MLSERVER_ENV_TARBALL",
    ),
)
def runtime_loads_the_flavor(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    where = model_directory.at("flavors", PYFUNC, "loader_module")
    module = loader(model_directory)
    held = image(stack)
    server = f"MLServer {stack.components['runtime']}"
    if not flavor(model_directory, PYFUNC):
        others = ", ".join(map(str, model_directory.mlmodel["flavors"])) or "no flavor"
        yield failed(
            f"the model has no flavor python_function, the only one that {server} loads; it has {others}",
            location=model_directory.at("flavors"),
        )
    elif not module:
        yield failed("python_function names no loader_module", location=model_directory.at("flavors", PYFUNC))
    elif brings_its_environment(model_directory):
        yield not_applicable(f"the model brings its own environment, {OWN_ENVIRONMENT}", location=where)
    elif held is None:
        yield inconclusive(
            f"the stack {stack.name} has no runtime_image.json for its runtime.lock, which says whether the image has {module}",
            location=where,
        )
    elif module in held.loaders:
        package = held.loaders[module]
        if package and canonicalize_name(package) not in held.packages:
            yield failed(f"{module} imports {package}, which the image of {server} does not have", location=where)
        else:
            yield passed(f"the image of {server} has {module}{f' and {package}' if package else ''}", location=where)
    elif module.partition(".")[0] == "mlflow":
        mlflow = served_version(stack, "mlflow")
        offered = ", ".join(name.removeprefix("mlflow.") for name in held.loaders)
        if mlflow is None or mlflow.known:
            yield failed(
                f"MLflow {mlflow.version if mlflow else held.source.get('mlflow', '')} in the image of {server} has no loader {module}",
                remedy=f"use a flavor that it has: {offered}",
                location=where,
            )
        else:
            near = get_close_matches(module, held.loaders, 1)
            yield inconclusive(
                f"MLflow {mlflow.version} of the stack's lock has no loader {module}{f'; did you mean {near[0]}?' if near else ''}, and "
                f"which MLflow the image of {server} has is unknown: its build did not pin it",
                remedy=f"use a flavor that it has: {offered}",
                location=where,
            )
    else:
        yield _own_loader(model_directory, module, held.packages, server, where)


@contract(
    title="The files of a model should agree about its versions",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLflow writes MLmodel, requirements.txt, conda.yaml and python_env.yaml from one environment. Where they differ, one was "
        "edited or copied from another model, and an environment that is rebuilt from it is not the trainer's."
    ),
    remedy="Log the model again from the environment that trained it.",
    sources=(
        "mlflow 2.19.0 mlflow/sklearn/__init__.py, save_model: writes all of them",
        "mlflow 2.19.0 mlflow/utils/environment.py, _PythonEnv, _CONDA_ENV_FILE_NAME, _REQUIREMENTS_FILE_NAME",
    ),
)
def files_agree(model_directory: ModelDirectory) -> Iterator[Finding]:
    found = list(_contradictions(model_directory))
    for text, where in found:
        yield failed(text, location=where)
    if not found:
        yield passed("no two files of the model contradict each other", location=model_directory.at("flavors"))


def _contradictions(model: ModelDirectory) -> Iterator[tuple[str, Location]]:
    """What two files say differently, and where: packages, Python, and files that are named and not there, or are no YAML."""
    packages = []
    for name, stated in stated_versions(model).items():
        others = [each for each in stated if not _same(name, each.version, stated[0].version)]
        if others:
            said = ", ".join(f"{each.version} in {_file(each.location)}" for each in (stated[0], *others))
            packages.append((f"{name} is {said}", others[0].location))
    if packages:
        yield "; ".join(text for text, _ in packages), packages[0][1]
    pythons = stated_pythons(model)
    for version, where in pythons[1:]:
        if _differ(pythons[0][0], version):
            yield f"Python is {pythons[0][0]} in {_file(pythons[0][1])}, {version} in {_file(where)}", where
            break
    absent = [
        (file, where)
        for file, where in _environment_files(model)
        if not ((found := inside(model, file)) and found.is_file())
    ]
    if absent:
        files = " and ".join(file for file, _ in absent)
        yield f"MLmodel names {files} as the environment, which is not in the directory", absent[0][1]
    example = mapping(model.mlmodel.get("saved_input_example_info")).get("artifact_path")
    if isinstance(example, str) and not ((found := inside(model, example)) and found.is_file()):
        where = model.at("saved_input_example_info", "artifact_path")
        yield f"MLmodel names {example} as the input example, which is not in the directory", where
    for number, line in enumerate(_lines(model, "python_env.yaml"), 1):
        if (named := _REQUIREMENTS.fullmatch(line)) and not ((found := inside(model, named[1])) and found.is_file()):
            where = Location(file=str(model.path / "python_env.yaml"), line=number)
            yield f"python_env.yaml names {named[1]} with the requirements, which is not in the directory", where
    yield from _no_yaml(model)


_REQUIREMENTS = re.compile(r"\s*-\s+(?:-r|--requirement)\s+([^\s#]+)\s*(?:#.*)?")


def _lines(model: ModelDirectory, name: str) -> list[str]:
    return text_lines(text_of(model, name)) if (model.path / name).is_file() else []


def _no_yaml(model: ModelDirectory) -> Iterator[tuple[str, Location]]:
    for name in ("conda.yaml", "python_env.yaml"):
        if not (model.path / name).is_file():
            continue
        try:
            deque(yaml.parse(text_of(model, name), Loader=yaml.CSafeLoader), maxlen=0)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            yield f"{name} is no YAML: {error.problem}", Location(file=str(model.path / name), line=line)
        except yaml.YAMLError as error:
            yield f"{name} is no YAML: {error}", Location(file=str(model.path / name), line=1)


def _same(name: str, one: Version, other: Version) -> bool:
    """MLflow 2.4 requires itself without the last part of its version (``mlflow==2.4`` in a model of 2.4.2)."""
    return one == other or (
        name == "mlflow" and one.release[:2] == other.release[:2] and 2 in map(len, (one.release, other.release))
    )


def _unusable(model: ModelDirectory, named: NamedPath) -> str:
    """Why MLflow cannot read a path that MLmodel names; empty when it can, or when the path is a link that leads out of the directory."""
    key, path = ".".join(str(key) for key in named.keys[1:]), named.file
    if "\0" in named.path:
        return f"{key} names {named.path!r}, which is no path: it has a NUL"
    if "\\" in named.path and not (path and path.exists()):
        return f"{key} names {named.path}, as Windows writes paths; on Linux the backslash is part of a file's name"
    if PurePosixPath(named.path).is_absolute() or ".." in PurePosixPath(named.path).parts:
        return f"{key} names {named.path}, which is outside of the model's directory, so that it is not downloaded"
    if not os.path.lexists(path or model.path / named.path) or (path and not path.exists()):
        return f"{key} names {named.path}, which is not in the model's directory"
    if path is None:
        return ""
    if path.is_file():
        content = _without_content(path)
        return f"{key} names {named.path}, which is {content}" if content else ""
    files = list(islice(_files_below(path), MOST_FILES))
    if not files:
        return f"{key} names {named.path}, a directory without files"
    for file in files:
        if (
            inside(model, str(file.relative_to(model.path)))
            and (content := _without_content(file))
            and content != _EMPTY
        ):
            return f"{key} names {named.path}, in which {file.relative_to(path)} is {content}"
    return ""


_EMPTY = "empty"


def _without_content(file: Path) -> str:
    """``empty``, or which pointer a file is; empty for a file with content of its own. A file that cannot be read is ``unreadable``."""
    try:
        with file.open("rb") as opened:
            start = opened.read(64)
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return _EMPTY if not start else next((kind for prefix, kind in POINTERS.items() if start.startswith(prefix)), "")


def _files_below(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder) / name for name in sorted(names))


def _own_loader(
    model: ModelDirectory, module: str, packages: Mapping[str, str | None], server: str, where: Location
) -> Finding:
    """The finding about a loader that is not MLflow's: the model brings it as code, or the image has it."""
    top = module.partition(".")[0]
    code = flavor(model, PYFUNC).get("code")
    if top in code_modules(model):
        return passed(f"the model brings the loader {module} in {code}", location=where)
    if canonicalize_name(top) in packages:
        return passed(f"the image of {server} has {top}", location=where)
    if isinstance(code, str) and code:
        return failed(
            f"the model's code in {code} has no {top}, and the image of {server} has no package {top}, which loads the model",
            location=where,
        )
    return failed(
        f"the model brings no code, and the image of {server} has no package {top}, which loads the model",
        location=where,
    )


def _environment_files(model: ModelDirectory) -> Iterator[tuple[str, Location]]:
    """The files that ``env`` of python_function names: one, or one for each kind of environment."""
    env = flavor(model, PYFUNC).get("env")
    for key, file in env.items() if isinstance(env, Mapping) else (("", env),):
        if isinstance(file, str) and file:
            yield file, model.at("flavors", PYFUNC, "env", *([key] if key else []))


def _file(location: Location) -> str:
    return Path(location.file or "").name


def _differ(one: str, other: str) -> bool:
    """Whether two versions of Python differ in major or minor; what one of them leaves open does not."""
    return any(a != b for a, b in zip(one.split(".")[:2], other.split(".")[:2], strict=False))
