"""Composed stacks: a stack with single parts from other stacks, or in other versions, which are locked by the way.

Starts nothing and builds no environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from trivet.errors import PlatformError, UsageError, choices, unknown
from trivet.model.partial import PartialMapping
from trivet.model.stack import ROLES, Role, Stack
from trivet.stacks.environments import cache_directory
from trivet.stacks.lock import resolve
from trivet.stacks.parts import digest_of, parts_digest
from trivet.stacks.read import STACK_FILE, load_stack, pins_of, shipped_stacks, stack_folder
from trivet.stacks.releases import pinned_version, release_days

Value = TypeVar("Value")

KSERVE, SDK, BACKEND = "kserve", "sdk", "pipelines"
PARTS = (KSERVE, *ROLES, SDK, BACKEND)
"""What can be taken from elsewhere, in the order in which it is: ``kserve`` is KServe's API and the facts of its release (schemas,
``[serving]``, the platform of its clusters), a role is the process of that name, ``sdk`` the KFP SDK in the trainer's environment,
``pipelines`` KFP's backend as ``[pipelines]`` describes it."""

OF_TRAINER = ("trainer", SDK)
"""The parts that are in the trainer's environment, and in no image of the platform."""

_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "trainer": ("mlflow",),
    "tracking": ("mlflow",),
    "initializer": ("kserve-storage", "kserve"),
    "runtime": ("mlserver",),
    SDK: ("kfp",),
}
"""Part → the distributions whose version is the part's. KServe's storage initializer is ``kserve_storage`` since 0.16, ``kserve.storage``
before."""

MLFLOW_CLIENT, INITIALIZER = "mlflow_client", "storage_initializer"
"""Components of a composed stack only: the trainer's MLflow where it is not the tracking server's, which is the component ``mlflow``, and
the storage initializer where it is not of KServe's release."""

OF_KSERVE = ("kserve", "knative", "kubernetes", "store", "prometheus")
"""The components that come with the part ``kserve``."""


def read_parts(texts: Iterable[str]) -> dict[str, str]:
    """Part → value, from texts such as ``tracking=2.15.1``. Raises UsageError for another form, an unknown part, and a part given twice."""
    found: dict[str, str] = {}
    for text in texts:
        part, equals, value = (one.strip() for one in text.partition("="))
        if not (part and equals and value):
            raise UsageError(
                f"{text!r} does not compose a stack",
                remedy="write ROLE=STACK or ROLE=VERSION, such as tracking=2.15.1",
            )
        check_part(part)
        if found.get(part, value) != value:
            raise UsageError(
                f"{part} is given twice, as {found[part]} and as {value}", remedy="a stack has one of each role"
            )
        found[part] = value
    return found


def check_part(part: str) -> None:
    """Raise UsageError, with the nearest one, when a stack has no such part."""
    if part not in PARTS:
        raise unknown("role", part, PARTS)


def compose(base: Stack, parts: Mapping[str, str], *, progress: Callable[[str], None] = lambda _: None) -> Stack:
    """``base`` with each of ``parts`` from elsewhere: part (one of :data:`PARTS`) → name or path of a stack, or a version.

    A version is that of the role's main distribution (mlflow, kserve or kserve-storage, mlserver, kfp). The role's other requirements
    stay; where no shipped lock has them, they are resolved as of the day on which the newest of its exact pins was released, and the lock
    is kept in the cache. A part that ``base`` has already changes nothing. The component ``mlflow`` is the tracking server's version,
    ``kfp`` the trainer's SDK; other versions of MLflow in the trainer, or of KServe in the initializer, are components of their own.

    Raises UsageError for an unknown part, stack or version, and for requirements that contradict each other; PlatformError when the package
    index cannot be reached.
    """
    for part in parts:
        check_part(part)
    stack, changes = base, {}
    for part in PARTS:
        if part in parts:
            changed = _with_part(stack, part, parts[part], progress)
            if parts_digest(changed, _names(changed)) != parts_digest(stack, _names(stack)):
                changes[part] = _given(parts[part])
                stack = changed
    if not changes:
        return base
    stack = replace(stack, components=_components(stack))
    named = [f"{part}={_shown(value)}" for part, value in changes.items()]
    of_platform = {part: value for part, value in changes.items() if part not in OF_TRAINER}
    return replace(
        stack,
        name="+".join((base.name, *named)),
        title=f"{base.title}; with {', '.join(named)}",
        given=base.given,
        parts=changes,
        composed_from=base,
        digest=parts_digest(stack, _names(stack)),
        cluster_of=compose(base, of_platform, progress=progress) if len(of_platform) < len(changes) else None,
    )


def version_of(role: Role) -> str:
    """The version of a role: that of its main distribution in its lock; empty when the lock has none."""
    return next((role.pins[one] for one in _DISTRIBUTIONS[role.name] if one in role.pins), "")


def stack_of(role: Role) -> Stack | None:
    """The stack that a role is from; None for a role in a version that no stack has."""
    folder = role.lock.parent
    return load_stack(str(folder)) if (folder / STACK_FILE).is_file() else None


def _with_part(stack: Stack, part: str, value: str, progress: Callable[[str], None]) -> Stack:
    other = _stack_named(value)
    if part == KSERVE:
        return _with_kserve(stack, other or _kserve_in_version(value, stack))
    if part == BACKEND:
        return replace(stack, settings=_with_backend(stack, other, value))
    if part == SDK:
        version = other.roles["trainer"].pins.get("kfp", "") if other else value
        trainer = _in_version(stack.roles["trainer"], SDK, version, progress)
        return _with_role(stack, trainer)
    if other:
        role = other.roles[part]
        image = other.runtime_image
    elif part == "runtime":
        role, image = _runtime_in_version(value, stack)
    else:
        role, image = _in_version(stack.roles[part], part, value, progress), None
    stack = _with_role(stack, role)
    return replace(stack, runtime_image=image) if part == "runtime" else stack


def _with_role(stack: Stack, role: Role) -> Stack:
    return replace(stack, roles=_but(stack.roles, {role.name: role}))


def _with_kserve(stack: Stack, other: Stack) -> Stack:
    components = other.components
    theirs = (
        components.only(OF_KSERVE)
        if isinstance(components, PartialMapping)
        else {name: version for name, version in components.items() if name in OF_KSERVE}
    )
    return replace(
        stack,
        folder=other.folder,
        components=_but(stack.components, theirs, without=OF_KSERVE),
        api_schemas=other.api_schemas,
        platform=other.platform,
        no_platform=other.no_platform,
        settings={**stack.settings, **{name: one for name, one in other.settings.items() if name != BACKEND}},
    )


def _with_backend(stack: Stack, other: Stack | None, version: str) -> Mapping[str, Any]:
    """The settings with the backend of another stack, or with the stack's own in another version, whose configuration stays."""
    rest = {name: one for name, one in stack.settings.items() if name != BACKEND}
    if other:
        return {**rest, **({BACKEND: other.settings[BACKEND]} if BACKEND in other.settings else {})}
    if BACKEND not in stack.settings:
        raise UsageError(
            f"{stack.name} describes no backend of KFP that could be in version {version}",
            remedy='add a table [pipelines] with backend = "2.17.0" to its stack.toml',
        )
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UsageError(f"{version} is no release of KFP's backend", remedy="give all three numbers, such as 2.17.0")
    return {**rest, BACKEND: {**stack.settings[BACKEND], "backend": version}}


# -- what a value names


def _stack_named(value: str) -> Stack | None:
    """The stack of a name or path; None for a version. A shipped stack's name may look like a version, and is then a name."""
    if value in shipped_stacks() or not _is_version(value):
        try:
            stack_folder(value)
        except UsageError as error:
            raise UsageError(error.message, remedy=f"{error.remedy}, or give a version such as 2.17.2") from error
        return load_stack(value)
    return None


def _is_version(value: str) -> bool:
    try:
        Version(value)
    except InvalidVersion:
        return False
    return True


def _kserve_in_version(version: str, stack: Stack) -> Stack:
    stacks = (*map(load_stack, shipped_stacks()), stack)
    known = {one.components["kserve"]: one for one in stacks if "kserve" in dict(one.components)}
    if version not in known:
        raise UsageError(
            f"no shipped stack has the API of KServe {version}",
            remedy=f"{choices(version, sorted(known))}; or name a stack of your own, whose schemas `trivet stack lock` generates",
        )
    return known[version]


def _runtime_in_version(version: str, stack: Stack) -> tuple[Role, Path | None]:
    """The runtime of a shipped stack: it is what the published image holds, which no resolution finds out."""
    known = {one.roles["runtime"].pins.get("mlserver", ""): one for one in (*map(load_stack, shipped_stacks()), stack)}
    if version not in known:
        raise UsageError(
            f"no shipped stack has the runtime MLServer {version}",
            remedy=f"{choices(version, sorted(filter(None, known)))}; or name a stack of your own with the pins of its image",
        )
    return known[version].roles["runtime"], known[version].runtime_image


# -- versions


@dataclass(frozen=True, kw_only=True)
class _Variation:
    """A role's requirements with one of them in another version."""

    role: Role
    requires: tuple[str, ...]
    pin: str


def _in_version(role: Role, part: str, version: str, progress: Callable[[str], None]) -> Role:
    """``role`` with the part's distribution in ``version``: as it is, from a shipped stack, from the cache, or locked now."""
    variations = list(_variations(role, part, version))
    if not variations:
        names = " or ".join(_DISTRIBUTIONS[part])
        raise UsageError(
            f"the {role.name} of {role.lock.parent.name} does not require {names}, so it has no version to replace",
            remedy="name a stack instead of a version",
        )
    if any(one.requires == role.requires for one in variations):
        return role
    for variation in variations:
        if found := _shipped(variation):
            return found
    error: UsageError | None = None
    for variation in variations:
        try:
            return _locked(variation, progress)
        except _NoSuchVersion as missing:
            error = error or UsageError(missing.message, remedy=missing.remedy)
    assert error is not None
    raise error


def _variations(role: Role, part: str, version: str) -> Iterable[_Variation]:
    """The requirement in force comes first; KServe's initializer has another distribution before 0.16."""
    names = _DISTRIBUTIONS[part]
    for number, requirement in enumerate(role.requires):
        parsed = Requirement(requirement)
        if (name := canonicalize_name(parsed.name)) in names:
            forms = [f"{parsed.name}{_extras(parsed)}", *(_FORMS[other] for other in names if other != name)]
            for form in forms:
                pin = f"{form}=={version}"
                requires = (*role.requires[:number], pin, *role.requires[number + 1 :])
                yield _Variation(role=role, requires=requires, pin=pin)
            return


_FORMS = {"kserve": "kserve[storage]", "kserve-storage": "kserve-storage"}


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _shipped(variation: _Variation) -> Role | None:
    """The role of a shipped stack with exactly these requirements."""
    wanted = (variation.requires, variation.role.constraints, variation.role.python)
    for name in shipped_stacks():
        role = load_stack(name).roles[variation.role.name]
        if (role.requires, role.constraints, role.python) == wanted:
            return role
    return None


SEEDED = ("setuptools",)
"""What environments of Python up to 3.11 had without being asked (venv, and the images of python.org), and older releases import without
requiring it: mlflow 2.12.2, ``mlflow/utils/requirements_utils.py``, imports pkg_resources."""


def _named(requires: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requires}


class Contradiction(UsageError):
    """The requirements of a composed role contradict each other; the message says which."""


class _NoSolution(PlatformError):
    """uv found no versions that meet the requirements of a role."""


class _NoSuchVersion(UsageError):
    """A version that the package index does not have."""


def _locked(variation: _Variation, progress: Callable[[str], None]) -> Role:
    """The role with its lock from the cache, or resolved now. The folder's name is a digest of everything that is resolved."""
    role = variation.role
    requires = (*variation.requires, *(one for one in SEEDED if one not in _named(variation.requires)))
    folder = cache_directory() / "locks" / digest_of([requires, role.constraints, role.python])[:24]
    lock, made = folder / f"{role.name}.lock", folder / f"{role.name}.json"
    contradiction = folder / f"{role.name}.contradiction.txt"
    title = f"the {role.name} with {variation.pin}"
    if contradiction.is_file():
        raise _contradiction(contradiction.read_text(encoding="utf-8"), contradiction)
    if not (lock.is_file() and made.is_file()):
        progress(f"locking {title}")
        try:
            _lock(replace(variation, requires=requires), lock, made, title)
        except _NoSolution as error:
            # As of the same day, the same requirements contradict each other again.
            _write_whole(contradiction, error.message)
            raise _contradiction(error.message, contradiction) from error
    text = lock.read_text(encoding="utf-8")
    return replace(
        role,
        requires=requires,
        cutoff=json.loads(made.read_text(encoding="utf-8"))["cutoff"],
        lock=lock,
        pins=pins_of(text, role.python, lock),
        # They describe the published image of the version that is replaced.
        image="",
        image_python="",
        title=title,
    )


def _lock(variation: _Variation, lock: Path, made: Path, title: str) -> None:
    """Resolve a role as of the day on which the newest of its pins was released: it cannot be older, and what floats is as it was then."""
    role = variation.role
    try:
        days = release_days([variation.pin], role.python)
    except UsageError as error:
        raise _NoSuchVersion(error.message, remedy=error.remedy) from error
    pins = [one for one in variation.requires if pinned_version(one) and one != variation.pin]
    if pins:
        days |= release_days(pins, role.python)
    cutoff = max(days.values())
    settings = {"requires": variation.requires, "constraints": role.constraints, "python": role.python}
    try:
        # The end of that day in UTC; uv reads a date in the time zone of the machine.
        text = resolve(role.name, settings, f"{cutoff}T23:59:59Z", title)
    except PlatformError as error:
        if "No solution found" not in error.message:
            raise
        explanation = _explanation(error.message)
        raise _NoSolution(f"the requirements of {title} contradict each other: {explanation}") from error
    _write_whole(lock, text)
    _write_whole(made, json.dumps({"cutoff": cutoff, "requires": variation.requires}))


def _contradiction(message: str, kept: Path) -> Contradiction:
    return Contradiction(
        message,
        remedy=(
            "choose another version; compose the other one too, such as --with sdk=VERSION; or take the whole role from a stack. "
            f"If the package index was incomplete, delete {kept}, which keeps this answer, and try again"
        ),
    )


def _write_whole(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{digest_of(content)[:8]}.unfinished")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(file)


def _explanation(output: str) -> str:
    """uv's reasons as one sentence per line, without its drawing of lines."""
    reasons = output.partition("No solution found")[2].partition("Because")[2]
    return re.sub(r"\s+", " ", f"because{reasons}") if reasons else output


# -- what the composed stack is


def _components(stack: Stack) -> Mapping[str, str]:
    """The components by the roles: a server's or release's own version is the component, a client that differs stands beside it.

    What is unknown stays unknown, unless a role's lock has it.
    """
    pins = {name: role.pins for name, role in stack.roles.items()}

    def pinned(role: str, *distributions: str) -> str:
        return next((pins[role][one] for one in distributions if one in pins.get(role, {})), "")

    versions = {
        "kfp": pinned("trainer", "kfp"),
        "mlflow": pinned("tracking", "mlflow"),
        "runtime": pinned("runtime", "mlserver"),
    }
    locked = {name: version for name, version in versions.items() if version}
    found = _but(stack.components, locked, without=(MLFLOW_CLIENT, INITIALIZER))
    known = dict(found)
    others = {
        MLFLOW_CLIENT: (pinned("trainer", "mlflow"), known.get("mlflow")),
        INITIALIZER: (pinned("initializer", *_DISTRIBUTIONS["initializer"]), known.get("kserve")),
    }
    return _but(found, {name: version for name, (version, server) in others.items() if version and version != server})


def _but(values: Mapping[str, Value], new: Mapping[str, Value], *, without: Sequence[str] = ()) -> Mapping[str, Value]:
    """``values`` of a stack with ``new`` ones, and without others. What is unknown stays unknown, unless it is among them."""
    if isinstance(values, PartialMapping):
        return values.without(without).but(new)
    if isinstance(new, PartialMapping):
        return PartialMapping(values, {}, new.what).without(without).but(new)
    return {name: value for name, value in values.items() if name not in without} | dict(new)


def _keys(values: Mapping[str, Any]) -> Iterable[str]:
    """The keys of what is known and of what is unknown."""
    return (*values, *(values.unknown if isinstance(values, PartialMapping) else ()))


def _names(stack: Stack) -> Sequence[str]:
    """The parts that decide how a composed stack behaves."""
    return (
        *(f"roles.{name}" for name in _keys(stack.roles)),
        *(f"components.{name}" for name in _keys(stack.components)),
        *(f"settings.{name}" for name in stack.settings),
        *("api_schemas", "runtime_image", "platform"),
    )


def _given(value: str) -> str:
    """A part's value as another command in another directory would be given it."""
    other = _stack_named(value)
    return other.given if other else value


def _shown(value: str) -> str:
    return value if _is_version(value) or value in shipped_stacks() else stack_folder(value).resolve().name
