"""What the published image of a stack's serving runtime holds, from a table beside the stack. Pulls no image.

The image of MLServer 1.5.0 and 1.7.1 is built with every runtime of MLServer but ``mllib`` (Dockerfile, ``RUNTIMES="all"``), with its
``poetry.lock`` as constraints. MLServer before 1.4 has no lock: its image has what pip found on the day of the release. The stack's
``runtime.lock`` holds what serving an MLflow model of scikit-learn needs, which is less.

The table is ``{"source": {name: version}, "packages": {distribution: version or null}, "loaders": {module: distribution},
"names": {module: "name name …"}}``. To write it for a stack from a checkout of MLServer at the stack's version::

    python -m trivet.stacks.runtime_image CHECKOUT STACK
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trivet.errors import PlatformError, UsageError
from trivet.model.stack import Role
from trivet.stacks import runtime_names
from trivet.stacks.uv import run_uv

NOT_IN_THE_IMAGE = "mllib"
"""MLServer 1.5.0 and 1.7.1 Dockerfile: "Temporarily excluding mllib from the main image"."""

_TIMEOUT = 300.0
_PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}


@dataclass(frozen=True, kw_only=True)
class RuntimeImage:
    """The contents of an image. ``source`` says what they were derived from.

    ``packages`` maps normalised distribution names to versions, None for one that the image's build did not pin. ``loaders`` maps each
    ``loader_module`` of the image's MLflow to the distribution that it needs, empty for none. ``names`` maps modules of NumPy and
    scikit-learn to the names that pickles find in them; other packages are not listed.
    """

    source: Mapping[str, str]
    packages: Mapping[str, str | None]
    loaders: Mapping[str, str]
    names: Mapping[str, frozenset[str]]

    def lacks(self, module: str, name: str) -> bool:
        """Whether ``module`` belongs to a listed package and has no ``name``, so that no pickle with that name loads."""
        if module in self.names:
            return name.partition(".")[0] not in self.names[module]
        return module.partition(".")[0] in self.names and not runtime_names.UNLISTED.search(module)


@lru_cache(maxsize=8)
def load_runtime_image(path: Path) -> RuntimeImage:
    """The image in a ``runtime_image.json``. Raises UsageError for an invalid file."""
    try:
        content = json.loads(path.read_bytes())
        return RuntimeImage(
            source=content["source"],
            packages=content["packages"],
            loaders=content["loaders"],
            names={module: frozenset(names.split()) for module, names in content["names"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} does not have the contents of a runtime's image: {type(error).__name__}: {error}",
            remedy=f"write it again: python -m trivet.stacks.runtime_image CHECKOUT {path.parent}",
        ) from error


def image_packages(checkout: Path, python: str) -> dict[str, str | None]:
    """Distribution → version of what MLServer's Dockerfile installs from ``checkout`` into Python ``python``; None where no lock pins it.

    It installs the wheels of MLServer and of ``runtimes/*`` with the packages that they require, and ``poetry.lock`` as constraints, as far
    as these hold on Linux on x86_64. What an unpinned package requires is taken from the lock too, since its version is that of the day.
    """
    lock: dict[str, Mapping[str, Any]] = {}
    for each in tomllib.loads((checkout / "poetry.lock").read_text(encoding="utf-8"))["package"]:
        if canonicalize_name(each["name"]) not in lock or _applies(each.get("markers", ""), python):
            lock[canonicalize_name(each["name"])] = each
    installed: dict[str, str | None] = {}
    waiting: list[tuple[str, frozenset[str]]] = []
    for file in [*sorted(checkout.glob("runtimes/*/pyproject.toml")), checkout / "pyproject.toml"]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["poetry"]
        if file.parent.name != NOT_IN_THE_IMAGE:
            installed[canonicalize_name(project["name"])] = project["version"]
            waiting += _required(project["dependencies"], python)
    own = set(installed)
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if name in own or name == "python" or (name, extras) in seen:
            continue
        seen.add((name, extras))
        locked = lock.get(name)
        from_git = (locked or {}).get("source", {}).get(
            "type"
        ) == "git"  # removed from the constraints, so of the day of the build
        # `poetry export` writes an entry's marker beside its version, and pip leaves a constraint out whose marker does not hold: in
        # 1.7.1's lock nearly all of them exclude Linux on x86_64.
        pinned = locked and not from_git and _applies(locked.get("markers", ""), python)
        installed[name] = locked["version"] if locked and pinned else None
        if locked:
            waiting += _required(locked.get("dependencies", {}), python, extras, _extra_names(locked, extras))
    return dict(sorted(installed.items()))


def unlocked_packages(checkout: Path, python: str, day: str) -> dict[str, str | None]:
    """:func:`image_packages` for a checkout of MLServer before 1.4, which has no lock: what resolves as of ``day`` (YYYY-MM-DD).

    The Dockerfile installs the wheels of ``runtimes/*`` and of MLServer, and then ``requirements/docker.txt`` over whatever they require.
    """
    own = _version(checkout)
    runtimes = sorted(file.parent.name for file in checkout.glob("runtimes/*/setup.py"))
    names = ["mlserver", *(f"mlserver-{name}" for name in runtimes if name != NOT_IN_THE_IMAGE)]
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "wheels.in").write_text("".join(f"{name}=={own}\n" for name in names), encoding="utf-8")
        text = run_uv(
            [
                *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--prerelease", "disallow", "--exclude-newer", f"{day}T23:59:59Z"),
                *("--python-version", python, "--python-platform", "x86_64-unknown-linux-gnu"),
                *("--overrides", str((checkout / "requirements/docker.txt").resolve()), "wheels.in"),
            ],
            what=f"resolve the packages of MLServer {own} as of {day}",
            cwd=Path(scratch),
        )
    pins = (Requirement(line) for line in text.splitlines() if "==" in line)
    return {canonicalize_name(one.name): next(iter(one.specifier)).version for one in pins}


def runtime_image(checkout: Path, role: Role) -> str:
    """The text of ``runtime_image.json`` for a stack's runtime role, whose environment is built when missing."""
    from trivet.stacks.environments import build_environment

    python = build_environment(role).python
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "names.json"
        try:
            subprocess.run(
                [python, "-I", runtime_names.__file__, output],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            detail = f"\n{error.stderr.strip()}" if isinstance(error.stderr, str) else ""
            raise PlatformError(
                f"cannot list the names in the runtime of stack {role.lock.parent.name}: {error}{detail}",
                remedy=f"check that {role.lock.name} has mlflow, numpy and scikit-learn",
            ) from error
        listed = json.loads(output.read_text(encoding="utf-8"))
    served = role.image_python or role.python
    locked = (checkout / "poetry.lock").is_file()
    content = {
        "source": {"mlserver": _version(checkout), **listed["source"]},
        "packages": image_packages(checkout, served) if locked else unlocked_packages(checkout, served, role.cutoff),
        "loaders": listed["loaders"],
        "names": {module: " ".join(names) for module, names in listed["names"].items()},
    }
    return _text(content)


def runtime_image_text(image: RuntimeImage, packages: Mapping[str, str | None]) -> str:
    """The text of a ``runtime_image.json`` like ``image``, for an image that holds ``packages`` and the same sources."""
    names = {module: " ".join(sorted(names)) for module, names in image.names.items()}
    return _text(
        {"source": image.source, "packages": dict(sorted(packages.items())), "loaders": image.loaders, "names": names}
    )


def _version(checkout: Path) -> str:
    project = checkout / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["poetry"]["version"])
    return (checkout / "mlserver/version.py").read_text(encoding="utf-8").partition('"')[2].partition('"')[0]


def _required(
    dependencies: Mapping[str, Any], python: str, extras: Iterable[str] = (), optional: Iterable[str] = ()
) -> Iterator[tuple[str, frozenset[str]]]:
    """The distributions that a table of Poetry's dependencies brings, each with its extras; optional ones only if they are named."""
    for name, wanted in dependencies.items():
        for each in wanted if isinstance(wanted, list) else [wanted]:
            each = each if isinstance(each, dict) else {}
            chosen = not each.get("optional") or canonicalize_name(name) in optional
            if chosen and any(_applies(each.get("markers", ""), python, extra) for extra in ("", *extras)):
                yield canonicalize_name(name), frozenset(each.get("extras", ()))


def _extra_names(locked: Mapping[str, Any], extras: Iterable[str]) -> set[str]:
    wanted = {canonicalize_name(extra) for extra in extras}
    return {
        canonicalize_name(Requirement(text).name)
        for extra, texts in locked.get("extras", {}).items()
        if canonicalize_name(extra) in wanted
        for text in texts
    }


def _applies(marker: str | Mapping[str, str], python: str, extra: str = "") -> bool:
    """Whether a marker, or one of a package's markers by group, holds in the image."""
    if isinstance(marker, Mapping):
        return any(_applies(each, python, extra) for each in marker.values())
    short = ".".join(python.split(".")[:2])
    environment = {**_PLATFORM, "python_full_version": python, "python_version": short, "extra": extra}
    return not marker or Marker(marker).evaluate(environment)


def _text(content: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per entry, so that another version gives a short diff."""
    tables = []
    for name, table in content.items():
        entries = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
        tables.append(f"  {json.dumps(name)}: {{\n{entries}\n  }}")
    return "{\n" + ",\n".join(tables) + "\n}\n"


def main(checkout: str, stack: str) -> None:
    """Write the table of ``stack`` from ``checkout``."""
    from trivet.stacks.read import IMAGE_FILE, load_stack

    loaded = load_stack(stack)
    (loaded.folder / IMAGE_FILE).write_text(runtime_image(Path(checkout), loaded.roles["runtime"]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
