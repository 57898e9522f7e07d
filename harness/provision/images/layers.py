"""Builds one layer: a tar archive from a recipe, with the package managers of this machine (go, mmdebstrap, uv)."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trivet.errors import PlatformError
from trivet.provision.images import tars
from trivet.provision.images.layer_tools import run_logged
from trivet.provision.images.recipes import (
    ROLE_PYTHON,
    FilesLayer,
    GoLayer,
    Layer,
    ModuleLayer,
    PackageLayer,
    RoleLayer,
    RootfsLayer,
    WheelLayer,
    title_of,
)
from trivet.stacks.environments import MARKER, build_environment
from trivet.stacks.go_modules import module_folder
from trivet.stacks.uv import run_uv

MIRROR = "TRIVET_DEBIAN_MIRROR"
"""The environment variable with the URL of a Debian mirror to use in place of deb.debian.org."""

_GO_REMEDY = "install Go (https://go.dev/dl), put it on the PATH, and set GOPROXY to a module proxy that is reachable"
_DEBIAN_REMEDY = f"install mmdebstrap, and check that a Debian mirror with those packages is reachable (set another one with {MIRROR})"
_SKIPPED = (MARKER, ".lock", ".gitignore", "CACHEDIR.TAG")


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What building a layer needs: an empty working folder, a log file, a callback for progress notes, and the stop event."""

    folder: Path
    log: Path
    progress: Callable[[str], None]
    stop: threading.Event


def make_layer(layer: Layer, context: BuildContext) -> tuple[Path, Mapping[str, str]]:
    """The archive of ``layer``, in the context's folder, and the versions of tools and packages it was built with.

    Raises PlatformError that names the log.
    """
    archive = context.folder / "layer.tar"
    match layer:
        case GoLayer():
            made_by = _go(layer, archive, context)
        case RootfsLayer():
            made_by = _rootfs(layer, archive, context)
        case RoleLayer():
            made_by = _role(layer, archive, context)
        case WheelLayer():
            made_by = _wheel(layer, archive, context)
        case ModuleLayer():
            made_by = _module(layer, archive, context)
        case FilesLayer():
            made_by = _files(layer, archive)
        case PackageLayer():
            made_by = _package(layer, archive)
    return archive, made_by


def compile_programs(layer: GoLayer, folder: Path, *, log: Path, stop: threading.Event) -> Mapping[str, Path]:
    """The programs of a Go layer, compiled into ``folder``: package → executable file."""
    wrapper = _with_links(layer, folder / "wrapper", log=log, stop=stop) if layer.links else layer.folder
    run_logged(
        [
            *("go", "build", "-trimpath", "-ldflags", f"-s -w {layer.ldflags}", "-tags", layer.tags),
            *("-o", f"{folder}/", *layer.programs),
        ],
        what=f"build {title_of(layer)}",
        log=log,
        stop=stop,
        cwd=wrapper,
        environment={"CGO_ENABLED": "0", "GOWORK": "off"},
        remedy=_GO_REMEDY,
    )
    return {package: folder / _program(package) for package in layer.programs}


def _with_links(layer: GoLayer, wrapper: Path, *, log: Path, stop: threading.Event) -> Path:
    """A copy of the layer's wrapper module that replaces modules by copies of them with their links: go refuses overlays of its cache."""
    shutil.copytree(layer.folder, wrapper)
    for number, (module, links) in enumerate(sorted(layer.links.items())):
        copy = wrapper / f"modules-{number}"
        shutil.copytree(module_folder(layer.folder, module), copy, copy_function=shutil.copyfile)
        for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        for path, target in links.items():
            link = copy / path
            if not (link.parent / target).is_file():
                raise PlatformError(
                    f"the module {module} has no file {target} beside {path}", remedy="correct `links` of that module"
                )
            shutil.copyfile(link.parent / target, link)
        run_logged(
            ["go", "mod", "edit", f"-replace={module}=./{copy.name}"],
            what=f"replace {module}",
            log=log,
            stop=stop,
            cwd=wrapper,
            remedy=_GO_REMEDY,
        )
    return wrapper


def _program(package: str) -> str:
    """The file name that `go build` chooses: the last element of the import path, unless that is a major version."""
    *_, before, last = ["", *package.split("/")]
    return before if re.fullmatch(r"v\d+", last) else last


def _go(layer: GoLayer, archive: Path, context: BuildContext) -> Mapping[str, str]:
    built = compile_programs(layer, context.folder, log=context.log, stop=context.stop)
    with tars.open_layer(archive) as tar:
        for package, target in sorted(layer.programs.items(), key=lambda item: item[1]):
            tar.file(target, built[package], mode=0o755)
    return {"go": _output(["go", "env", "GOVERSION"])}


def _rootfs(layer: RootfsLayer, archive: Path, context: BuildContext) -> Mapping[str, str]:
    commands, hook, packages = (context.folder / name for name in ("commands.sh", "hook.sh", "packages"))
    commands.write_text("set -eu\n" + "".join(f"{line}\n" for line in layer.run), encoding="utf-8")
    hook.write_text(
        "#!/bin/sh\nset -eu\n"
        f'chroot "$1" sh < {commands}\n'
        f'chroot "$1" dpkg-query --show > {packages}\n'
        'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname\n',
        encoding="utf-8",
    )
    hook.chmod(0o755)
    mirror = os.environ.get(MIRROR)
    run_logged(
        [
            *("mmdebstrap", "--variant=minbase", f"--include={','.join(layer.packages)}"),
            *("--skip=output/dev", '--aptopt=Acquire::Languages "none"', f"--customize-hook={hook}"),
            *(f"--dpkgopt=path-exclude={path}" for path in layer.without),
            *(layer.suite, str(archive), *([mirror] if mirror else [])),
        ],
        what=f"build the root file system {layer.name}",
        log=context.log,
        stop=context.stop,
        environment={"SOURCE_DATE_EPOCH": str(tars.EPOCH), "DEBIAN_FRONTEND": "noninteractive"},
        remedy=_DEBIAN_REMEDY,
    )
    return {"packages": " ".join(packages.read_text(encoding="utf-8").replace("\t", "=").split())}


def _role(layer: RoleLayer, archive: Path, context: BuildContext) -> Mapping[str, str]:
    """The role's environment of this machine, with its paths changed to those in the image.

    Modification times are kept, because compiled bytecode refers to them.
    """
    folder = build_environment(layer.role, progress=context.progress, stop=context.stop).folder
    with tars.open_layer(archive) as tar:
        for path in _walk(folder):
            relative = path.relative_to(folder)
            target = f"{layer.target}/{relative}"
            if str(relative) in _SKIPPED or path.match("bin/activate*"):
                continue
            if path.is_symlink():
                interpreter = relative.parent == Path("bin") and relative.name.startswith("python")
                tar.link(target, ROLE_PYTHON if interpreter else str(path.readlink()))
            elif relative == Path("pyvenv.cfg"):
                tar.text(target, f"home = {Path(ROLE_PYTHON).parent}\n".encode(), mode=0o644)
            elif relative.parent == Path("bin"):
                tar.text(target, path.read_bytes().replace(str(folder).encode(), layer.target.encode()), mode=0o755)
            else:
                status = path.stat()
                mode = 0o755 if status.st_mode & 0o100 else 0o644
                tar.file(target, path, mode=mode, mtime=int(status.st_mtime))
    return {"uv": run_uv(["--version"], what="get the version of uv").strip()}


def _wheel(layer: WheelLayer, archive: Path, context: BuildContext) -> Mapping[str, str]:
    requirements, content = context.folder / "requirement.txt", context.folder / "wheel"
    requirements.write_text(f"{layer.requirement} --hash=sha256:{layer.sha256}\n", encoding="utf-8")
    run_uv(
        [
            *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--python", "3.11", "--target", str(content), "--requirements", str(requirements)),
        ],
        what=f"install {layer.requirement}",
        stop=context.stop,
    )
    with tars.open_layer(archive) as tar:
        for name, target in sorted(layer.files.items()):
            if not (content / name).is_file():
                raise PlatformError(
                    f"the wheel of {layer.requirement} has no file {name}", remedy="correct `files` of that wheel"
                )
            tar.file(target, content / name, mode=0o755)
    return {"wheel": f"{layer.requirement} sha256:{layer.sha256}"}


def _module(layer: ModuleLayer, archive: Path, context: BuildContext) -> Mapping[str, str]:
    module = module_folder(layer.folder, layer.module)
    source = module / layer.source
    with tars.open_layer(archive) as tar:
        for path in _walk(source):
            relative = str(path.relative_to(source))
            executable = any(fnmatch.fnmatch(relative, pattern) for pattern in layer.executable)
            tar.file(f"{layer.target}/{relative}", path, mode=0o755 if executable else 0o644)
    return {"module": module.name}


def _files(layer: FilesLayer, archive: Path) -> Mapping[str, str]:
    with tars.open_layer(archive) as tar:
        for file in layer.files:
            if file.link:
                tar.link(file.path, file.link)
            elif file.path.endswith("/"):
                mode = 0o755 if file.mode == "0644" else int(file.mode, 8)
                tar.folder(file.path, mode=mode, owner=int(file.owner))
            else:
                tar.text(file.path, file.text.encode(), mode=int(file.mode, 8), owner=int(file.owner))
    return {}


def _package(layer: PackageLayer, archive: Path) -> Mapping[str, str]:
    with tars.open_layer(archive) as tar:
        for path in layer.paths:
            tar.file(f"{layer.target}/{path.relative_to(layer.folder)}", path, mode=0o644)
    return {}


def _walk(folder: Path) -> Iterator[Path]:
    """Every file and symbolic link below ``folder``, sorted by name; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def _output(arguments: list[str]) -> str:
    binary = shutil.which(arguments[0]) or arguments[0]
    return subprocess.run([binary, *arguments[1:]], capture_output=True, text=True, check=True).stdout.strip()
