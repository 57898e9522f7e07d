"""Reads a platform, everything of a cluster except the roles of a stack, from its folder. Builds and installs nothing.

``platform.toml`` may include another platform (``include``): tables are merged, the including file has priority, and lists are appended to
the included ones. ``install.toml`` in the same folder has further tables. Each part of the table is validated where it is used: images in
``provision.images.recipes``, the installation in ``provision.kind.steps``.

An add-on is a folder of the same form, whose images and steps come in addition to those of any platform.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trivet.errors import UsageError, unknown
from trivet.model.stack import Stack

PLATFORM_FILE = "platform.toml"
INSTALL_FILE = "install.toml"
STORE_IMAGE = "trivet/registry"
"""The path of the image store's own image."""
_SHARED = ("go", "rootfs", "wheel", "module", "files")
"""The tables of the common platform that an add-on's recipes can refer to."""
SHIPPED = "trivet.fixtures"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A platform's folder and merged table."""

    name: str
    folder: Path
    table: Mapping[str, Any]


def shipped_platforms() -> list[str]:
    """The names of the platforms that are shipped with trivet and that a stack can name."""
    return sorted(
        file.parent.name for file in _shipped_folder().glob(f"*/{PLATFORM_FILE}") if file.parent.name != "common"
    )


def load_platform(stack: Stack) -> Platform:
    """The platform that ``stack`` names: a shipped one, or a folder relative to the stack's folder.

    Raises UsageError when the stack names none, when there is no such platform, and for a ``platform.toml`` that does not parse.
    """
    if not stack.platform:
        names = ", ".join(shipped_platforms())
        why, other = (
            f": {stack.no_platform}" if stack.no_platform else "",
            " of the same versions" if stack.no_platform else "",
        )
        place = f"{stack.folder}/stack.toml" if stack.parts else "its stack.toml"
        raise UsageError(
            f"stack {stack.name} has no platform, so no cluster can be created for it{why}",
            remedy=f'add `platform = "NAME"` to {place}, with one{other} of: {names}',
        )
    if stack.platform in shipped_platforms():
        return read_platform(_shipped_folder() / stack.platform)
    folder = stack.folder / stack.platform
    if (folder / PLATFORM_FILE).is_file():
        return read_platform(folder)
    error = unknown("platform", stack.platform, shipped_platforms())
    raise UsageError(
        f"stack {stack.name}: {error.message}", remedy=f"{error.remedy}, or name a folder with a {PLATFORM_FILE}"
    )


def platform_content(stack: Stack) -> str | list[list[str]]:
    """What tells the platform that ``stack`` names from others: the name of a shipped one; of a user's, its files, with those of the
    platforms that it includes.
    """
    folder = (stack.folder / stack.platform).resolve()
    if not stack.platform or stack.platform in shipped_platforms() or not (folder / PLATFORM_FILE).is_file():
        return stack.platform
    return [
        [str(file.relative_to(one)), hashlib.sha256(file.read_bytes()).hexdigest()]
        for one, _ in _include_chain(folder)
        for file in sorted(one.rglob("*"))
        if file.is_file()
    ]


def common_platform() -> Platform:
    """The platform that all shipped platforms include."""
    return read_platform(_shipped_folder() / "common")


def shipped_addons() -> list[str]:
    """The names of the add-ons that are shipped with trivet."""
    return sorted(file.parent.name for file in _shipped_folder("addons").glob(f"*/{PLATFORM_FILE}"))


def load_addon(name: str) -> Platform:
    """The add-on ``name``, with the tables of the common platform that its recipes can refer to, and the image of the image store.

    Raises UsageError when there is no such add-on.
    """
    if name not in shipped_addons():
        raise unknown("add-on", name, shipped_addons())
    addon = read_platform(_shipped_folder("addons") / name)
    common = common_platform().table
    shared = {key: common[key] for key in _SHARED if key in common}
    store = [image for image in common["image"] if f"/{STORE_IMAGE}:" in image["name"]]
    return replace(addon, table=_merged({**shared, "image": store}, addon.table))


def read_platform(folder: Path) -> Platform:
    """The platform in ``folder``. Raises UsageError as :func:`load_platform` does."""
    folder = folder.resolve()
    table: dict[str, Any] = {}
    for one, content in reversed(list(_include_chain(folder))):
        table = _merged(table, _with_paths(content, one))
    return Platform(name=folder.name, folder=folder, table=table)


def _include_chain(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """``folder`` and the folders that it includes, each with its own table."""
    visited: set[Path] = set()
    while folder not in visited:
        visited.add(folder)
        content = _parsed(folder / PLATFORM_FILE)
        if (folder / INSTALL_FILE).is_file():
            content = _merged(content, _parsed(folder / INSTALL_FILE))
        yield folder, content
        included = content.pop("include", "")
        if not included:
            return
        folder = (folder / str(included)).resolve()
    raise UsageError(f"{folder / PLATFORM_FILE} includes itself", remedy="remove `include` from one of the files")


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: invalid TOML: {error}", remedy="correct that line; see https://toml.io") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", remedy="provide a TOML file in UTF-8") from error


def _with_paths(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table with what its paths refer to, which are relative to the file that declares them: absolute folders of Go modules, and the
    text of an image's file in place of its ``source``.
    """
    for name, module in table.get("go", {}).items():
        module["folder"] = str((folder / module.get("folder", f"go/{name}")).resolve())
    for name, group in table.get("files", {}).items():
        for file in (one for one in group if "source" in one):
            source = folder / file.pop("source")
            try:
                file["text"] = source.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"{folder / PLATFORM_FILE}: cannot read {source} of [[files.{name}]]: {error}",
                    remedy="provide the file in UTF-8, or write its content as `text`",
                ) from error
    return table


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        match merged.get(key), value:
            case dict() as current, dict():
                merged[key] = _merged(current, value)
            case list() as current, list():
                merged[key] = [*current, *value]
            case _:
                merged[key] = value
    return merged


def _shipped_folder(name: str = "platforms") -> Path:
    from importlib.resources import files

    return Path(str(files(SHIPPED))) / name
