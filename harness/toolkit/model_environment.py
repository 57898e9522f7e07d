"""The environment that a model asks for: its Python and requirements.txt as a locked role. Builds nothing and runs nothing of the model.

MLflow itself would install requirements.txt as it stands. Here only names with version ranges are taken, resolved to wheels as of the day
that the model was made: a requirement may be a URL, an index or a file, and building a source distribution executes its code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from trivet.errors import CannotTell, PlatformError
from trivet.model.stack import Role
from trivet.model.subjects import ModelDirectory
from trivet.stacks.environments import find_python
from trivet.stacks.lock import resolve
from trivet.stacks.read import pins_of

REQUIREMENTS = "requirements.txt"
MAX_LINES = 1_000
MAX_BYTES = 256 * 1024


def environment_of(model: ModelDirectory, directory: Path) -> Role:
    """The role ``model``, whose lock is written to ``directory``.

    Raises CannotTell for a model that states no Python or no requirements, for a requirement that is more than a name with versions, for a
    Python that is not on this machine, and when nothing satisfies the requirements.
    """
    python = _python(model)
    requires = tuple(_requirements(model.path / REQUIREMENTS))
    cutoff = cutoff_of(model)
    try:
        find_python(python)
        text = resolve("model", {"requires": requires, "python": python}, cutoff, model.path.name, build=False)
    except PlatformError as error:
        raise CannotTell(
            f"the environment that the model asks for cannot be made: {error.message}",
            remedy=error.remedy or f"install Python {python}, or check {REQUIREMENTS}",
        ) from error
    lock = directory / "model.lock"
    lock.write_text(text, encoding="utf-8")
    return Role(
        name="model",
        python=python,
        requires=requires,
        cutoff=cutoff,
        lock=lock,
        pins=pins_of(text, python, lock),
        title="the environment of the model",
    )


def cutoff_of(model: ModelDirectory) -> str:
    """The day as of which the model's requirements are resolved, as YYYY-MM-DD: the one after it was made, for which MLmodel's
    ``utc_time_created`` stands; tomorrow if it says none, so that its environment may change from day to day."""
    stated = str(model.mlmodel.get("utc_time_created") or "")[:10]
    try:
        day = min(date.fromisoformat(stated), date.today())
    except ValueError:
        day = date.today()
    return (day + timedelta(days=1)).isoformat()


def _python(model: ModelDirectory) -> str:
    """The minor version in MLmodel."""
    loader = model.mlmodel["flavors"].get("python_function")
    stated = str(loader.get("python_version") or "") if isinstance(loader, dict) else ""
    found = re.fullmatch(r"(3\.\d{1,2})(\.\d{1,3})?", stated)
    if not found:
        raise CannotTell(
            f"MLmodel states no Python version of the model (python_function.python_version is {stated!r})",
            remedy="log the model again, or write the version there",
        )
    return found[1]


def _requirements(file: Path) -> Iterator[str]:
    """The requirements in ``file``, without comments."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise CannotTell(f"{REQUIREMENTS} has more than {MAX_BYTES:,} bytes", remedy="list the packages alone")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CannotTell(
            f"the model has no {REQUIREMENTS}, so that its environment is unknown",
            remedy="log the model again with pip_requirements",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotTell(f"{REQUIREMENTS} cannot be read: {error}") from error
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise CannotTell(f"{REQUIREMENTS} has more than {MAX_LINES:,} lines", remedy="list the packages alone")
    for number, line in enumerate(lines, 1):
        wanted = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not wanted:
            continue
        try:
            requirement = Requirement(wanted)
        except (InvalidRequirement, RecursionError):
            requirement = None
        if requirement is None or requirement.url:
            raise CannotTell(
                f"{REQUIREMENTS}:{number}: {wanted[:100]!r} is not a package with versions, and nothing else is installed for a check",
                remedy="require the package by name, as name==version",
            )
        yield str(requirement)
