"""When versions of distributions were released, and which versions there are, as the package index of uv's settings states them."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trivet.errors import PlatformError, UsageError
from trivet.stacks.uv import run_uv

_NO_VERSION = ("there is no version of", "was not found in the package registry", "there are no versions of")


def pinned_version(requirement: str) -> str:
    """The version of an exact pin such as ``mlflow==2.17.2``; empty for any other requirement."""
    specifiers = list(Requirement(requirement).specifier)
    if len(specifiers) == 1 and specifiers[0].operator == "==" and not specifiers[0].version.endswith(".*"):
        return specifiers[0].version
    return ""


def release_days(pins: Sequence[str], python: str) -> dict[str, str]:
    """Normalised distribution name → the day (YYYY-MM-DD, UTC) on which its first wheel, or else its source, was uploaded.

    ``pins`` are exact requirements. Raises UsageError, with the nearest versions, for a version that does not exist, and PlatformError
    when the index cannot be reached or does not state upload times.
    """
    try:
        answer = tomllib.loads(_compiled(pins, python, "--format", "pylock.toml"))
    except PlatformError as error:
        if any(words in error.message for words in _NO_VERSION):
            for pin in pins:
                _check_exists(pin, python)
        raise
    return {canonicalize_name(one["name"]): _first_upload(one) for one in answer["packages"]}


def _check_exists(pin: str, python: str) -> None:
    """Raise UsageError, with the nearest versions, when the pinned version does not exist."""
    if _version_of(pin, python):
        return
    name, version = Requirement(pin).name, pinned_version(pin)
    below = _version_of(f"{name}<{version}", python)
    above = _version_of(f"{name}>{version}", python, "--resolution", "lowest")
    near = " and ".join(one for one in (below, above) if one)
    raise UsageError(
        f"there is no {name} {version}",
        remedy=f"choose another version; the nearest: {near}" if near else f"the package index has no {name} at all",
    )


def _version_of(requirement: str, python: str, *options: str) -> str:
    """The version that a requirement resolves to, without its dependencies; empty when there is none."""
    try:
        lines = _compiled([requirement], python, *options).split()
    except PlatformError as error:
        if any(words in error.message for words in (*_NO_VERSION, "No solution found")):
            return ""
        raise
    return lines[0].partition("==")[2] if lines else ""


def _compiled(requirements: Sequence[str], python: str, *options: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "requires.in").write_text("".join(f"{one}\n" for one in requirements), encoding="utf-8")
        return run_uv(
            [
                *("pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate"),
                *("--python-version", python, *options, "requires.in"),
            ],
            what=f"find the release of {', '.join(requirements)}",
            cwd=Path(scratch),
        )


def _first_upload(package: Mapping[str, Any]) -> str:
    files = package.get("wheels") or [package.get("sdist") or {}]
    times = [one["upload-time"] for one in files if "upload-time" in one]
    if not times:
        raise PlatformError(
            f"the package index does not state when {package['name']} {package['version']} was released",
            remedy="use an index with upload times (PEP 700), or lock a stack of your own with `trivet stack lock`",
        )
    return min(_as_utc(one) for one in times).date().isoformat()


def _as_utc(value: Any) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
