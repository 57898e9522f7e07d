"""mlflow → runtime: the packages that a model was saved with are compatible with the serving runtime. MLflow itself only warns."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from trivet.authoring import (
    MUST,
    SHOULD,
    Finding,
    Keys,
    Location,
    ModelDirectory,
    PickleContent,
    Role,
    Stack,
    contract,
    evidence,
    failed,
    inconclusive,
    not_applicable,
    passed,
    read_pickle,
    remembered,
)
from trivet.contracts._executing_names import executes
from trivet.contracts._model_directories import (
    OWN_ENVIRONMENT,
    Served,
    StatedVersion,
    brings_its_environment,
    code_modules,
    exact,
    flavor,
    image,
    in_the_image,
    named_paths,
    requirement_lines,
    runtime,
    served_version,
    stated_pythons,
    stated_versions,
)
from trivet.contracts._xgboost_files import xgboost_version

SEAM = ("mlflow", "runtime")

SKOPS_SINCE = Version("3.9.0")
"""The first MLflow that reads ``model.skops`` (mlflow/sklearn/__init__.py: 3.8.0 has no skops, 3.9.0 has)."""

PICKLES = ("pickle", "cloudpickle")

LGB_BOOSTER = "lightgbm.basic.Booster"
"""The class of a model of LightGBM that names none (mlflow 3.17.2 mlflow/lightgbm/__init__.py, _load_model)."""

SERIALIZED = ("sklearn", "lightgbm")
"""Flavors with a ``serialization_format`` (mlflow 3.17.2 mlflow/sklearn and mlflow/lightgbm)."""

MOST_NAMED = 12
"""Packages that a message names; the evidence has all."""

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")

CODE_SINCE = Version("3.11")
"""The first Python whose code objects have 18 fields, where 3.8 to 3.10 have 16 (cpython Objects/codeobject.c, code_new_impl)."""

XGBOOST_BASE_SCORE_SINCE = Version("3.1")
"""The first XGBoost whose ``base_score`` is a list, which earlier versions load and do not apply (measured, see the contract)."""

BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
"""numpy 2.1.3 numpy/random/_pickle.py, BitGenerators."""

COMPILED = {"_loss": "scikit-learn"}
"""Compiled modules that pickles contain by their bare name, and the distribution that brings them (measured: 1.5 and later)."""

MODULES_OF = {
    "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
"""Module → distribution, where the names differ in more than case and separators."""

STATE: Mapping[tuple[str, str], tuple[str, str]] = {
    ("sklearn.tree._tree", "Tree"): ("missing_go_to_left", "1.3"),
    ("sklearn.tree._classes", "DecisionTreeClassifier"): ("monotonic_cst", "1.4"),
    ("sklearn.tree._classes", "DecisionTreeRegressor"): ("monotonic_cst", "1.4"),
    ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting", "HistGradientBoostingClassifier"): (
        "_preprocessor",
        "1.4",
    ),
    ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting", "HistGradientBoostingRegressor"): (
        "_preprocessor",
        "1.4",
    ),
    ("sklearn.impute._base", "SimpleImputer"): ("keep_empty_features", "1.2"),
    ("sklearn.preprocessing._encoders", "OneHotEncoder"): ("_drop_idx_after_grouping", "1.2"),
}
"""Class → the attribute or field in its pickle without which scikit-learn from that version on fails (measured, see the contract)."""

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "runtime": ">=1.3"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="A model must have been saved with packages whose pickles the serving runtime reads",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A pickle contains names of private classes of the packages that wrote it, and the attributes of their objects. Where the "
        "runtime's packages do not have such a name, or need an attribute that is not there, the model does not load, or fails at its "
        "first request. XGBoost's files of 3.1 and later load in earlier versions and predict other values."
    ),
    remedy="Train with the versions in the runtime's lock, or serve with a runtime that has the trainer's versions.",
    sources=(
        "measured: 26 estimators of scikit-learn 1.1.3, 1.2.2, 1.3.2, 1.5.2, 1.6.1 and 1.7.2 loaded and asked in the runtimes of MLServer "
        "1.5.0 (1.4.1.post1, NumPy 1.26.4) and 1.7.1 (1.5.2, NumPy 1.26.4)",
        "numpy 1.26.4 numpy/random/_pickle.py, __bit_generator_ctor: takes a name, and 2.x pickles the class "
        "('MT19937 is not a known BitGenerator module')",
        "numpy 2.1.3 numpy/_core/numeric.py, _frombuffer: arrays under pickle protocol 5, which cloudpickle uses "
        "(No module named 'numpy._core.numeric' in 1.26.4); under protocol 4, as MLflow writes models of scikit-learn, arrays load",
        "cpython 3.11 Objects/codeobject.c, code_new_impl: two fields more than in 3.10",
        "measured: classifiers and regressors of XGBoost 3.1.1, as JSON, as UBJSON and in the pickle of a scikit-learn pipeline, load in "
        "2.0.3, 2.1.2 and 3.0.2, and each predicts other values; those of 2.0.3, 2.1.2 and 3.0.2 predict the same in each",
        "the stack's runtime_image.json: the names in NumPy and scikit-learn of the runtime",
    ),
)
def dependencies_fit_the_runtime(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    pickles = _pickles(model_directory)
    if brings_its_environment(model_directory):
        yield _own_environment(model_directory)
        return
    boosted = list(_incompatible_xgboost(model_directory, stack))
    if not pickles and not boosted:
        reason = "according to its files the model does not pickle objects of scikit-learn or NumPy"
        yield not_applicable(reason, location=model_directory.at("flavors"))
    yield from boosted
    for pickle in pickles:
        if pickle.content is None:
            yield inconclusive(f"{pickle.path} cannot be examined: {pickle.problem}", location=pickle.location)
            continue
        breaks = list(_breaks(pickle, model_directory, stack))
        for each in breaks:
            yield _broken(each, pickle, model_directory, stack)
        if executing := sorted(f"{module}.{name}" for module, name in pickle.content.names if executes(module, name)):
            yield inconclusive(
                f"{pickle.path} refers to {', '.join(executing[:3])}: loading it may run programs, open connections or change files, and "
                "nothing was executed to see that",
                location=pickle.location,
                remedy="find out who made this model, and load it only if you trust it: trivet check runs it without a network",
            )
        elif not breaks and not boosted:
            served = {name: served_version(stack, name) for name in ("scikit-learn", "numpy")}
            known = ", ".join(f"{name} {one.version}" for name, one in served.items() if one)
            yield passed(
                f"nothing in {pickle.path} is known to fail in the runtime ({known})", location=pickle.location
            )


@contract(
    title="A model should be loaded only by versions for which its libraries support it",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Most models load in a neighbouring version and predict the same, though no library promises it: scikit-learn supports no "
        "other version than the one that wrote the model, NumPy no older major version, XGBoost no older version."
    ),
    remedy="Train with the versions in the runtime's lock, or compare predictions of the deployed model with the trainer's.",
    sources=(
        "scikit-learn, model persistence: loading a model saved with another version is entirely unsupported "
        "(InconsistentVersionWarning)",
        "XGBoost, introduction to model IO: models load in later versions, not in earlier ones",
    ),
)
def loading_is_supported(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    if brings_its_environment(model_directory):
        yield _own_environment(model_directory)
        return
    pickles = [each for each in _pickles(model_directory) if each.content is not None]
    broken = {one.package for each in pickles for one in _breaks(each, model_directory, stack)}
    doubts = 0
    for saved in _unsupported(pickles, model_directory, stack):
        if saved.name not in broken and not any(_incompatible_xgboost(model_directory, stack)):
            doubts += 1
            yield failed(
                f"unsupported upstream, but nothing seen that breaks: saved with {saved.name} {saved.version}, and the runtime "
                f"has {in_the_image(stack)[saved.name]}",
                location=saved.location,
            )
    for saved in _not_pinned(pickles, model_directory, stack):
        doubts += 1
        yield inconclusive(
            f"saved with {saved.name} {saved.version}, and the version in the runtime's image is unknown: its build did not pin it",
            location=saved.location,
        )
    for pickle in pickles:
        for reason in _unknown(pickle, model_directory, stack):
            doubts += 1
            yield inconclusive(reason, location=pickle.location)
    if not doubts:
        yield passed("no library is known not to support loading it", location=model_directory.at("flavors"))


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
    served = in_the_image(stack)
    stated = [versions[0] for versions in stated_versions(model_directory).values()]
    other = [each for each in stated if _other(each, served)]
    absent = [each for each in stated if each.name not in served]
    unknown = [each for each in stated if each.name in served and served[each.name] is None]
    same = [each for each in stated if each not in other and each not in absent and each not in unknown]
    if brings_its_environment(model_directory):
        yield _own_environment(model_directory)
        return
    if not stated:
        yield inconclusive(
            "neither requirements.txt nor conda.yaml has a version", location=Location(file=str(model_directory.path))
        )
    if other or absent:
        yield failed(
            "; ".join(filter(None, (_listed_others(other, served), _listed_absent(absent, stack)))),
            location=(other or absent)[0].location,
            evidence=(evidence("versions", "table", _table([*other, *absent], served)),),
        )
    elif unknown:
        yield inconclusive(
            f"the versions of {_first([one.name for one in unknown])} in the runtime's image are unknown: its build did not pin them",
            location=unknown[0].location,
        )
    elif same:
        yield passed(f"{', '.join(f'{each.name} {each.version}' for each in same)} in both", location=same[0].location)


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
    role = runtime(stack)
    served = role.image_python or role.python
    saved, where = next(iter(stated_pythons(model_directory)), ("", model_directory.at("flavors")))
    if brings_its_environment(model_directory):
        yield _own_environment(model_directory)
    elif not saved:
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
        "mlflow 3.17.2 mlflow/lightgbm/__init__.py, _save_model: a Booster is saved as text",
    ),
)
def serialization_is_readable(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    role = runtime(stack)
    name = next((name for name in SERIALIZED if _is_serialized(flavor(model_directory, name))), "")
    where = model_directory.at("flavors", name, "serialization_format")
    form = flavor(model_directory, name).get("serialization_format", "pickle")
    mlflow = served_version(stack, "mlflow") or served_version(stack, "mlflow-skinny")
    if not name:
        yield passed(
            "the model has no flavor with a format that older versions of MLflow cannot read",
            location=model_directory.at("flavors"),
        )
    elif form in PICKLES:
        yield passed(f"every version of MLflow reads the format {form}", location=where)
    elif form != "skops":
        yield inconclusive(f"unknown serialization format {form!r}", location=where)
    elif mlflow is None:
        yield inconclusive(f"the runtime's lock {role.lock.name} has no mlflow", location=where)
    elif not mlflow.known and "skops" in in_the_image(stack):
        yield inconclusive(
            f"the model is in skops format, which MLflow {SKOPS_SINCE} and later read, and the image's MLflow is unknown: its build did "
            "not pin it",
            location=where,
        )
    elif Version(mlflow.version) < SKOPS_SINCE and mlflow.known:
        yield failed(
            f"the model is in skops format, which the runtime's MLflow {mlflow.version} cannot read (it needs {SKOPS_SINCE})",
            location=where,
        )
    elif "skops" not in in_the_image(stack):
        yield failed("the model is in skops format, but the runtime's lock has no skops", location=where)
    else:
        yield passed(
            f"the runtime has MLflow {mlflow.version} and skops {in_the_image(stack)['skops']}", location=where
        )


def _is_serialized(flavor: Mapping[str, Any]) -> bool:
    """Whether a flavor's format counts: a Booster of LightGBM is saved as text, whatever format stands beside it."""
    return bool(flavor) and not ("lgb_version" in flavor and flavor.get("model_class", LGB_BOOSTER) == LGB_BOOSTER)


_ONE_EQUALS = re.compile(r"[\w.\[\],-]+\s*=\s*[\w.*]+")
"""A version as conda writes it, which pip refuses."""


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
    lines = requirement_lines(model_directory)
    if not lines:
        yield failed(
            "the model lists no requirements",
            location=Location(file=str(model_directory.path / "requirements.txt")),
        )
    loose: list[tuple[str, Location]] = []
    for text, where in lines:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            if _ONE_EQUALS.fullmatch(text):
                write = "an exact version after '=='" if "*" in text else repr(text.replace("=", "==", 1))
                yield failed(f"pip refuses {text!r}: write {write}", location=where)
            continue  # an option of pip's, or the path of a wheel in the model's directory
        if requirement.url or exact(requirement) is not None:
            yield passed(f"{text} is exact", location=where)
        else:
            loose.append((text, where))
    if loose:
        texts = ", ".join(repr(text) for text, _ in loose)
        wrong = "are not pinned to exact versions" if len(loose) > 1 else "is not pinned to an exact version"
        yield failed(f"{texts} {wrong}", location=loose[0][1])


# -- what a pickle holds ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Pickle:
    """A pickle of the model; MLflow itself unpickles those that are ``strict``. Without ``content`` there is a ``problem``."""

    path: str
    location: Location
    strict: bool
    content: PickleContent | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class _Incompatibility:
    """Why a pickle does not load or fails at its first request: what the runtime's ``package`` (empty for none) makes of it.

    ``assumed`` is the version that this depends on, where it is the stack's lock's and that in the image is unknown.
    """

    package: str
    reason: str
    assumed: str = ""


@remembered
def _pickles(model: ModelDirectory) -> Sequence[_Pickle]:
    """The named files that are unpickled when the model is loaded; those that MLflow itself does not open only if they exist."""
    found = []
    sklearn = flavor(model, "sklearn")
    skops = sklearn.get("serialization_format", "pickle") not in PICKLES
    for named in named_paths(model):
        strict = _is_strict(named.keys, sklearn=bool(sklearn))
        pickled = strict or PurePosixPath(named.path).suffix in PICKLE_SUFFIXES
        if (strict and skops and named.keys[-1] != "python_model") or not pickled:
            continue
        if named.file is None:
            content, problem = None, "it is no path in the model's directory"
        elif size := model.left_out.get(named.path):
            content, problem = None, f"it has {size:,} bytes and was not downloaded"
        else:
            content, problem = _examined(named.file)
        if content is not None or strict or named.path in model.left_out:
            place = model.at(*named.keys)
            found.append(_Pickle(path=named.path, location=place, strict=strict, content=content, problem=problem))
    return found


def _is_strict(keys: Keys, *, sklearn: bool) -> bool:
    """Whether MLflow itself opens this file with pickle or cloudpickle."""
    return keys[-1] == "python_model" or (
        sklearn and keys[-1] in ("pickled_model", "model_path", "data") and len(keys) == 3
    )


def _examined(file: Path) -> tuple[PickleContent | None, str]:
    try:
        status = file.stat()
        if not file.is_file():
            return None, "it is a directory"
        if not status.st_size:
            return None, "it is empty"
        with file.open("rb") as opened:
            if opened.read(8) in (b"version ", b"/annex/o"):
                return None, "it is a pointer to a file that is not there"
        return _read(file, status.st_mtime_ns, status.st_size), ""
    except FileNotFoundError:
        return None, "it is not in the model's directory"
    except OSError as error:
        return None, f"it cannot be read ({error.strerror})"


@lru_cache(maxsize=16)
def _read(file: Path, modified: int, size: int) -> PickleContent:
    """The content of a pickle, read once for all contracts; ``modified`` and ``size`` tell files of one path apart."""
    return read_pickle(file, strings={attribute for attribute, _ in STATE.values()})


def _breaks(pickle: _Pickle, model: ModelDirectory, stack: Stack) -> Iterator[_Incompatibility]:
    """One break for each package, with all of its reasons."""
    content = pickle.content
    assert content is not None
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in (
        *(
            [_Incompatibility(package="", reason=f"is no complete pickle: {content.broken}")]
            if content.broken and pickle.strict
            else []
        ),
        *_lacking(content, stack),
        *_numpy_2(content, stack),
        *_outdated_state(content, _saved("scikit-learn", [pickle], model), stack),
        *_not_importable(content, model, stack),
        *_code_of_another_python(content, model, stack),
    ):
        reasons.setdefault((each.package, each.assumed), []).append(each.reason)
    for (package, assumed), found in reasons.items():
        yield _Incompatibility(package=package, reason="; ".join(found), assumed=assumed)


def _by_version(package: str, served: Served, reason: str) -> _Incompatibility:
    """An incompatibility with the version of a package that the runtime has."""
    return _Incompatibility(package=package, reason=reason, assumed="" if served.known else served.version)


def _lacking(content: PickleContent, stack: Stack) -> Iterator[_Incompatibility]:
    """Names of NumPy and scikit-learn that the runtime does not have."""
    if (held := image(stack)) is None:
        return
    lacking: dict[str, list[str]] = {}
    for module, name in sorted(content.names):
        if (module in COMPILED and module not in held.names) or held.lacks(module, name):
            package = COMPILED.get(module) or _distribution(module.partition(".")[0])
            lacking.setdefault(package, []).append(f"{module}.{name}")
    for package, names in lacking.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        if served := served_version(stack, package):
            reason = f"contains {names[0]}{more}, which {package} {served.version} does not have"
            yield _by_version(package, served, reason)


def _numpy_2(content: PickleContent, stack: Stack) -> Iterator[_Incompatibility]:
    served = served_version(stack, "numpy")
    by_class = any(module.startswith("numpy.random.") and name in BIT_GENERATORS for module, name in content.names)
    if served and Version(served.version).major < 2 and by_class:
        yield _by_version(
            "numpy",
            served,
            f"contains a random generator by its class, as NumPy 2 pickles it; NumPy {served.version} knows them by name",
        )


def _outdated_state(content: PickleContent, saved: StatedVersion | None, stack: Stack) -> Iterator[_Incompatibility]:
    """Objects of an earlier scikit-learn without an attribute that the runtime's needs."""
    served = served_version(stack, "scikit-learn")
    if saved is None or served is None:
        return
    for (module, name), (attribute, since) in STATE.items():
        needed = saved.version < Version(since) <= Version(served.version)
        if needed and (module, name) in content.names and attribute not in content.strings:
            yield _by_version(
                "scikit-learn",
                served,
                f"contains a {name} without {attribute}, which scikit-learn {since} and later need",
            )


def _not_importable(content: PickleContent, model: ModelDirectory, stack: Stack) -> Iterator[_Incompatibility]:
    """Names of the training script, and of packages that the model requires and the image does not have."""
    for top, name in _foreign(content, model, stack).items():
        if top == "__main__":
            yield _Incompatibility(
                package="",
                reason=f"contains {name}, which was defined in the script or notebook that trained the model",
            )
        elif package := _required_and_absent(top, model, stack):
            yield _Incompatibility(package=package, reason=f"contains {name}, and the runtime's image has no {package}")


def _code_of_another_python(content: PickleContent, model: ModelDirectory, stack: Stack) -> Iterator[_Incompatibility]:
    by_value = any(module.startswith("cloudpickle.") and name == "_make_function" for module, name in content.names)
    role = runtime(stack)
    served = role.image_python or role.python
    for saved, _ in stated_pythons(model)[:1] if by_value else ():
        try:
            differ = (Version(saved) >= CODE_SINCE) != (Version(served) >= CODE_SINCE)
        except ValueError:  # no version, or one with a number of over 4300 digits
            continue
        if differ:
            yield _Incompatibility(
                package="",
                reason=f"contains byte code of Python {saved}, whose form the image's Python {served} does not read",
            )


def _unknown(pickle: _Pickle, model: ModelDirectory, stack: Stack) -> Iterator[str]:
    """What cannot be told about a pickle."""
    content = pickle.content
    assert content is not None
    if content.unread:
        yield f"{pickle.path} was not examined to its end: {content.unread}"
    unknown = [
        name
        for top, name in _foreign(content, model, stack).items()
        if top != "__main__" and not _required_and_absent(top, model, stack)
    ]
    if unknown:
        yield (
            f"{pickle.path} contains {', '.join(unknown[:3])}{' …' if len(unknown) > 3 else ''}, and it is unknown whether the runtime "
            "has it: no package there has that name, the model brings no such code, and its requirements do not name it"
        )


def _foreign(content: PickleContent, model: ModelDirectory, stack: Stack) -> dict[str, str]:
    """Top-level module → its first name, for modules of the pickle that neither Python, the image nor the model's code is known to have."""
    if (held := image(stack)) is None:
        return {}
    found: dict[str, str] = {}
    code = code_modules(model)
    for module, name in sorted(content.names):
        top = module.partition(".")[0]
        known = top in sys.stdlib_module_names or top in _OF_PYTHON_2 or top in COMPILED or top in held.names
        if top == "__main__" or not (known or top in code or _has_package(top, held.packages)):
            found.setdefault(top, f"{module}.{name}")
    return found


_OF_PYTHON_2 = ("__builtin__", "copy_reg")
"""Names that unpickling maps (cpython Lib/_compat_pickle.py)."""


def _required_and_absent(top: str, model: ModelDirectory, stack: Stack) -> str:
    """The distribution that the model requires for a module, and that the image does not have; empty when none is known."""
    held = image(stack)
    loaders = held.loaders.values() if held else ()
    required = {canonicalize_name(text) for text in loaders if text} | _requirement_names(model)
    wanted = _distribution(top)
    return next((name for name in sorted(required) if name == wanted or name.startswith(f"{wanted}-")), "")


@remembered
def _requirement_names(model: ModelDirectory) -> set[str]:
    found: set[str] = set()
    for text, _ in requirement_lines(model):
        try:
            found.add(canonicalize_name(Requirement(text).name))
        except InvalidRequirement:
            continue  # an option of pip's, or the path of a wheel
    return found


def _has_package(top: str, packages: Mapping[str, str | None]) -> bool:
    wanted = _distribution(top)
    return wanted in packages or any(name.startswith(f"{wanted}-") for name in packages)


def _distribution(top: str) -> str:
    return MODULES_OF.get(top, canonicalize_name(top))


# -- what the versions say --------------------------------------------------------------------------------------------


def _broken(each: _Incompatibility, pickle: _Pickle, model: ModelDirectory, stack: Stack) -> Finding:
    if each.assumed:
        return inconclusive(
            f"{pickle.path} {each.reason}: that is the version of the stack's lock, and the image's is unknown, since its build did not "
            f"pin {each.package}",
            location=pickle.location,
            remedy=f"Train with {_beside(runtime(stack))}, and look into the image for its version.",
        )
    saved = _saved(each.package, [pickle], model)
    served = in_the_image(stack).get(each.package)
    if saved and served and str(saved.version) != served:
        return failed(
            f"saved with {saved.name} {saved.version}, but the runtime has {served}: {pickle.path} {each.reason}",
            remedy=f"train with {_beside(runtime(stack))}, or serve with a runtime that has {saved.name} {saved.version}",
            location=saved.location,
        )
    return failed(f"{pickle.path} {each.reason}", location=pickle.location)


def _saved(package: str, pickles: Sequence[_Pickle], model: ModelDirectory) -> StatedVersion | None:
    """The version of a package that the model was saved with: as a model of XGBoost or its files state it, or as its estimators do."""
    if package == "xgboost" and (by_xgboost := _written_by_xgboost(model)):
        return by_xgboost
    if stated := stated_versions(model).get(package):
        return stated[0]
    written = [
        (each, each.content.sklearn_versions) for each in pickles if each.content and each.content.sklearn_versions
    ]
    if package != "scikit-learn" or not written:
        return None
    pickle, texts = written[0]
    versions = [each for each in map(_parsed, texts) if each]
    return StatedVersion(name=package, version=max(versions), location=pickle.location) if versions else None


@remembered
def _written_by_xgboost(model: ModelDirectory) -> StatedVersion | None:
    """What the models of XGBoost among the named files state themselves, which MLmodel and requirements may not."""
    here = (named for named in named_paths(model) if named.path not in model.left_out)
    for file in (named.file for named in here if named.file and named.file.is_file()):
        if not flavor(model, "xgboost"):
            content, _ = _examined(file)
            if not content or all(module.partition(".")[0] != "xgboost" for module, _ in content.names):
                continue
        with suppress(OSError):  # what another process has taken away, or may not be read
            status = file.stat()
            if version := _written_by(file, status.st_mtime_ns, status.st_size):
                return StatedVersion(name="xgboost", version=version, location=Location(file=str(file)))
    return None


@lru_cache(maxsize=16)
def _written_by(file: Path, modified: int, size: int) -> Version | None:
    """The XGBoost that wrote a file, read once for all contracts; see :func:`_read`."""
    return xgboost_version(file)


def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except ValueError:  # no version, or one with a number of over 4300 digits
        return None


def _concerned(pickles: Sequence[_Pickle], model: ModelDirectory) -> Iterator[StatedVersion]:
    """The versions that a model was saved with, of the libraries that say which versions load it."""
    named = {module.partition(".")[0] for each in pickles if each.content for module, _ in each.content.names}
    candidates = {
        "scikit-learn": "sklearn" in named,
        "numpy": "numpy" in named,
        "xgboost": bool(flavor(model, "xgboost")) or "xgboost" in named,
    }
    for package, concerned in candidates.items():
        if concerned and (saved := _saved(package, pickles, model)):
            yield saved


def _not_pinned(pickles: Sequence[_Pickle], model: ModelDirectory, stack: Stack) -> Iterator[StatedVersion]:
    """Those of them that the image has in an unknown version."""
    pins = in_the_image(stack)
    yield from (saved for saved in _concerned(pickles, model) if saved.name in pins and pins[saved.name] is None)


def _unsupported(pickles: Sequence[_Pickle], model: ModelDirectory, stack: Stack) -> Iterator[StatedVersion]:
    """The versions that a library does not support to be loaded by the runtime's."""
    pins = in_the_image(stack)
    for saved in _concerned(pickles, model):
        package, served = saved.name, pins.get(saved.name)
        if not served:
            continue
        there = Version(served)
        if (
            (package == "scikit-learn" and saved.version.release[:2] != there.release[:2])
            or (package == "numpy" and saved.version.major > there.major)
            or (package == "xgboost" and saved.version.release[:2] > there.release[:2])
        ):
            yield saved


def _incompatible_xgboost(model: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    saved, served = _saved("xgboost", [], model), in_the_image(stack).get("xgboost")
    changed = XGBOOST_BASE_SCORE_SINCE
    concerned = flavor(model, "xgboost") or _written_by_xgboost(model)
    if concerned and saved and served and saved.version >= changed > Version(served):
        yield failed(
            f"saved with xgboost {saved.version}, but the runtime has {served}: it loads the file and predicts other values, since "
            f"base_score is written in another form from {changed} on",
            location=saved.location,
        )


def _other(saved: StatedVersion, served: Mapping[str, str | None]) -> bool:
    version = served.get(saved.name)
    return version is not None and Version(version) != saved.version


def _listed_others(saved: list[StatedVersion], served: Mapping[str, str | None]) -> str:
    each = [f"{one.name} {one.version}, but the runtime has {served[one.name]}" for one in saved]
    return f"saved with {_first(each)}" if each else ""


def _listed_absent(saved: list[StatedVersion], stack: Stack) -> str:
    whose = "the runtime's image" if image(stack) else "the runtime's lock"
    return (
        f"saved with {_first([f'{one.name} {one.version}' for one in saved])}, which {whose} does not have"
        if saved
        else ""
    )


def _first(texts: list[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more packages" if len(texts) > MOST_NAMED else ""
    return f"{'; '.join(texts[:MOST_NAMED])}{more}"


def _table(saved: list[StatedVersion], served: Mapping[str, str | None]) -> dict[str, dict[str, str | None]]:
    return {
        one.name: {"saved": str(one.version), "runtime": served.get(one.name), "stated in": str(one.location)}
        for one in saved
    }


def _beside(role: Role) -> str:
    names = ("scikit-learn", "numpy", "scipy", "joblib", "cloudpickle")
    return " ".join(f"{name}=={role.pins[name]}" for name in names if name in role.pins)


def _own_environment(model: ModelDirectory) -> Finding:
    return not_applicable(
        f"the model brings its own environment, {OWN_ENVIRONMENT}",
        location=Location(file=str(model.path / OWN_ENVIRONMENT)),
    )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
