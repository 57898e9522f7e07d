"""Makes the folder of a stack from what was read of a live platform.

A role gets the lock of a shipped stack where what was read says that it is the same (the runtime: the same image; the tracking server: the
same MLflow; the initializer: the same KServe; the trainer: the same packages as pods of pipelines install). Where nothing says so, the
role, like every other value that is unknown, stands in ``[unknown]`` of ``stack.toml`` with the reason.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from trivet.engine.detect import MODEL_FORMAT, LivePlatform
from trivet.errors import PlatformError, UsageError
from trivet.model.detection import ABSENT, Fact
from trivet.model.stack import Stack
from trivet.stacks.api_generator import schemas_text
from trivet.stacks.read import (
    FACTS_FILE,
    IMAGE_FILE,
    SCHEMAS_FILE,
    STACK_FILE,
    load_stack,
    read_table,
    shipped_stacks,
)
from trivet.stacks.runtime_image import load_runtime_image, runtime_image_text
from trivet.targets.cluster.platform_reader import same_image

DETECTED_COMPONENTS = ("kfp", "mlflow", "kserve", "runtime", "knative", "kubernetes")
"""The components that are read of a platform."""
PORTS = {"http_port": "MLSERVER_HTTP_PORT", "grpc_port": "MLSERVER_GRPC_PORT"}
"""Key of ``[serving]`` → the variable of the serving runtime."""
OF_KSERVE = ("model_mount", "deployment_modes", "autoscaler_classes")
"""Keys of ``[serving]`` that are constants in KServe's code."""
OF_MLSERVER = ("metrics_port", "metrics_path")
"""Keys of ``[serving]`` that are defaults of MLServer."""
PYTHON = "3.11"
"""The Python of a role that is not locked yet."""


@dataclass
class _Values:
    """The values of one table of ``stack.toml``, the comment beside each, and the reasons of the unknown ones."""

    known: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, value: Any, source: str) -> None:
        """A known value and where it comes from."""
        self.known[key] = value
        self.comments[key] = source


@dataclass(frozen=True, kw_only=True)
class _RoleFound:
    """A role: its table in ``stack.toml``, its lock, and where both come from; without a lock ``source`` is why there is none."""

    source: str
    table: Mapping[str, Any] = field(default_factory=dict)
    lock: str = ""


def write_detected(live: LivePlatform, folder: Path) -> Stack:
    """Write the stack of ``live`` to ``folder``, whole or not at all, and return it.

    Raises UsageError when the folder has something in it, PlatformError when it cannot be written.
    """
    check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            unfinished = Path(scratch) / folder.name
            unfinished.mkdir()
            for name, text in stack_files(live, [load_stack(one) for one in shipped_stacks()]).items():
                (unfinished / name).write_text(text, encoding="utf-8")
            read_table(unfinished)
            unfinished.rename(folder)
    except OSError as error:
        raise PlatformError(
            f"cannot write the stack to {folder}: {error.strerror}", remedy="pass a path that you can write to"
        ) from error
    return load_stack(str(folder))


def check_folder(folder: Path) -> None:
    """Raises UsageError unless the folder is empty or does not exist."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists, and a detected stack is written to a new folder",
            remedy="pass another path, or remove it",
        )


def stack_files(live: LivePlatform, shipped: Sequence[Stack]) -> dict[str, str]:
    """File name → text of the stack of ``live``; ``shipped`` are the stacks whose locks and tables may fit."""
    now = datetime.now(UTC)
    day = now.date().isoformat()
    components = _components(live)
    roles = {
        "trainer": _trainer(live, shipped, day),
        "tracking": _tracking(live, shipped, day),
        "initializer": _initializer(live, shipped),
        "runtime": _runtime(live, shipped, day),
    }
    serving = _serving(live, shipped)
    schemas, of_schemas = _schemas(live, shipped)
    files = {f"{name}.lock": role.lock for name, role in roles.items() if role.lock}
    if image := _image(live, shipped):
        files[IMAGE_FILE] = image
    if schemas:
        files[SCHEMAS_FILE] = schemas
    unknown: dict[str, Any] = {
        "components": components.unknown,
        "roles": {name: role.source for name, role in roles.items() if not role.lock},
        "serving": serving.unknown,
        **({} if schemas else {"api_schemas": of_schemas.reason}),
    }
    tables = {f"roles.{name}": role for name, role in roles.items() if role.table}
    files[STACK_FILE] = (
        "\n".join(
            [
                f"# Written by `trivet detect` on {day}. Each comment says where a value was read; {FACTS_FILE} has all that was read.",
                f"title = {_toml(f'Detected on {live.context}, {day}')}",
                *_unknown_lines(unknown),
                *_table_lines("components", components.known, components.comments),
                "\n[roles]",
                *(line for name, role in tables.items() for line in _commented(name, role.table, role.source)),
                *_table_lines("serving", serving.known, serving.comments),
            ]
        )
        + "\n"
    )
    of_roles = [_role_fact(name, role) for name, role in roles.items()]
    content = {
        "context": live.context,
        "detected": now.isoformat(timespec="seconds"),
        "trivet": version("trivet"),
        "facts": [asdict(fact) for fact in (*live.facts.values(), *of_roles, of_schemas)],
    }
    files[FACTS_FILE] = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return files


def _components(live: LivePlatform) -> _Values:
    found = _Values()
    for name in DETECTED_COMPONENTS:
        fact = live.facts[name]
        if fact.value == ABSENT:
            continue
        if fact.value:
            found.add(name, fact.value, fact.source)
        else:
            found.unknown[name] = fact.reason
    return found


# -- roles --------------------------------------------------------------------------------------------------------------


def _copied(stack: Stack, role: str, why: str) -> _RoleFound:
    """The role of a shipped stack."""
    lock = stack.roles[role].lock.read_text(encoding="utf-8")
    return _RoleFound(
        source=f"the lock of stack {stack.name}: {why}", table=read_table(stack.folder)["roles"][role], lock=lock
    )


def _to_lock(role: str, why: str, requires: Sequence[str], day: str) -> _RoleFound:
    """A role whose requirements are known, and not the packages that they resolved to."""
    return _RoleFound(
        source=f"{why}; `trivet stack lock FOLDER --role {role}` resolves what [roles.{role}] requires",
        table={"python": PYTHON, "cutoff": day, "requires": list(requires)},
    )


def _runtime(live: LivePlatform, shipped: Sequence[Stack], day: str) -> _RoleFound:
    if found := live.runtime_packages:
        assert live.runtime is not None
        pins = _normalised(found.packages)
        lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
        table = {
            "image": live.runtime.image,
            "image_python": found.python,
            "python": ".".join(found.python.split(".")[:2]),
            "cutoff": day,
            "requires": lines,
        }
        head = f"# Read from pod {found.pod}. Without hashes: `trivet stack lock FOLDER --role runtime` adds them."
        return _RoleFound(source=f"the packages in pod {found.pod}", table=table, lock="\n".join([head, *lines, ""]))
    if live.runtime is None:
        return _RoleFound(source=live.reason("serving runtime"))
    image = live.runtime.image
    if same := _of_image(image, shipped):
        return _copied(same, "runtime", f"the same image, {image}")
    return _RoleFound(
        source=f"no stack of trivet has the image {image}; --exec-in-runtime reads its packages from a running pod"
    )


def _tracking(live: LivePlatform, shipped: Sequence[Stack], day: str) -> _RoleFound:
    version = live.value("mlflow")
    if not version:
        return _RoleFound(source=f"the version of mlflow is unknown: {live.reason('mlflow')}")
    for stack in shipped:
        if stack.roles["tracking"].pins.get("mlflow") == version:
            return _copied(stack, "tracking", f"the same mlflow, {version}; the server's other packages were not read")
    return _to_lock("tracking", f"no stack of trivet has mlflow {version}", [f"mlflow=={version}"], day)


def _initializer(live: LivePlatform, shipped: Sequence[Stack]) -> _RoleFound:
    image = live.value("storage initializer")
    if not image:
        return _RoleFound(source=f"its image is unknown: {live.reason('storage initializer')}")
    for stack in shipped:
        # A tag with more than the version is of another build, whose packages may be others.
        if re.fullmatch(
            rf"storage-initializer:v?{re.escape(stack.components['kserve'])}(@sha256:[0-9a-f]+)?",
            image.rpartition("/")[2],
        ):
            return _copied(stack, "initializer", f"the image {image} is of the same KServe")
    return _RoleFound(source=f"no stack of trivet has the image {image}")


def _trainer(live: LivePlatform, shipped: Sequence[Stack], day: str) -> _RoleFound:
    shown = _normalised(live.pipeline_packages)
    if not shown:
        return _RoleFound(source=live.reason("kfp") or "the pods of pipelines install no package by its version")
    for stack in shipped:
        pins = stack.roles["trainer"].pins
        if {"kfp", "mlflow"} <= shown.keys() and all(pins.get(name) == version for name, version in shown.items()):
            listed = ", ".join(f"{name} {version}" for name, version in sorted(shown.items()))
            return _copied(stack, "trainer", f"it has what pods of pipelines install: {listed}; the rest was not read")
    return _to_lock(
        "trainer",
        "no stack of trivet has what pods of pipelines install",
        [f"{name}=={version}" for name, version in sorted(shown.items())],
        day,
    )


def _normalised(packages: Mapping[str, str]) -> dict[str, str]:
    return {str(canonicalize_name(name)): version for name, version in packages.items()}


def _of_image(image: str, shipped: Sequence[Stack]) -> Stack | None:
    return next((stack for stack in shipped if same_image(stack.roles["runtime"].image, image)), None)


def _image(live: LivePlatform, shipped: Sequence[Stack]) -> str:
    """The table of what the runtime's image holds: of the stack with this image, or with the packages of the pod; empty for none."""
    if found := live.runtime_packages:
        pins = _normalised(found.packages)
        for stack in shipped:
            if stack.runtime_image is None:
                continue
            table = load_runtime_image(stack.runtime_image)
            if all(pins.get(name) == version for name, version in table.source.items()):
                return runtime_image_text(table, pins)
        return ""
    same = _of_image(live.runtime.image, shipped) if live.runtime else None
    return same.runtime_image.read_text(encoding="utf-8") if same and same.runtime_image else ""


# -- the rest of the stack ----------------------------------------------------------------------------------------------


def _serving(live: LivePlatform, shipped: Sequence[Stack]) -> _Values:
    found = _Values()
    kserve = live.value("kserve")
    base = next((stack for stack in shipped if stack.components["kserve"] == kserve), None)
    same = _of_image(live.runtime.image, shipped) if live.runtime else None
    no_base = f"no stack of trivet has KServe {kserve or '(unknown)'}, whose code decides this"
    _of_stack(found, OF_KSERVE, base, "the same KServe", no_base)
    _of_stack(found, OF_MLSERVER, same, "the same image", "no stack of trivet has the image of the serving runtime")
    mode = live.facts["deployment mode"]
    if mode.value:
        found.add("default_deployment_mode", mode.value, mode.source)
    else:
        found.unknown["default_deployment_mode"] = mode.reason
    _of_runtime(live, found, base.settings["serving"]["environment"] if base else None)
    prefixes, expressions = _uri_formats(live.storage_containers)
    if base and (prefixes or expressions):
        known = base.settings["serving"]["storage"]["controller_prefixes"]
        storage = {"prefixes": prefixes, "expressions": expressions, "controller_prefixes": known}
        place = f"supportedUriFormats of the ClusterStorageContainers; controller_prefixes: stack {base.name}"
        found.add("storage", storage, f"{place}, which has the same KServe")
    else:
        found.unknown["storage"] = live.reason("storage initializer") or no_base
    return found


def _of_stack(found: _Values, keys: Sequence[str], stack: Stack | None, same: str, otherwise: str) -> None:
    """The values of ``keys`` in a stack that has ``same`` as the platform; unknown without one."""
    for key in keys:
        if stack:
            found.add(key, stack.settings["serving"][key], f"stack {stack.name}, which has {same}")
        else:
            found.unknown[key] = otherwise


def _of_runtime(live: LivePlatform, found: _Values, release: Mapping[str, str] | None) -> None:
    """The keys of ``[serving]`` that the serving runtime states; ``release`` is the environment in KServe's release."""
    if live.runtime is None:
        reason = live.reason("serving runtime")
        keys = ("runtime", "model_format", "model_format_versions", "protocol_versions", "environment")
        found.unknown |= dict.fromkeys((*keys, *PORTS), reason)
        return
    runtime, place = live.runtime, f"ClusterServingRuntime {live.runtime.name}"
    formats = runtime.formats(MODEL_FORMAT)
    found.add("runtime", runtime.name, f"{place}, metadata.name")
    found.add("model_format", MODEL_FORMAT, f"{place}, spec.supportedModelFormats")
    versions = [str(one["version"]) for one in formats if one.get("version")]
    found.add("model_format_versions", versions, f"{place}, spec.supportedModelFormats")
    protocols = list(runtime.document["spec"].get("protocolVersions") or ())
    found.add("protocol_versions", protocols, f"{place}, spec.protocolVersions")
    environment = runtime.environment
    for key, name in PORTS.items():
        value = environment.get(name, "")
        if re.fullmatch("[1-9][0-9]{0,4}", value) and int(value) < 65536:
            found.add(key, int(value), f"{place}, env {name}")
        else:
            found.unknown[key] = f"{place} has no port in a variable {name}"
    if release is None:
        found.unknown["environment"] = "no stack of trivet has this KServe, whose webhook adds to it"
    else:
        added = {name: value for name, value in release.items() if name.startswith("MLSERVER_MODEL_")}
        found.add("environment", {**added, **environment}, f"{place}, env; MLSERVER_MODEL_*: KServe's webhook")


def _uri_formats(containers: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The prefixes and the regular expressions of URIs that the ClusterStorageContainers fetch."""
    formats = [one for each in containers for one in each["spec"].get("supportedUriFormats") or ()]
    return [one["prefix"] for one in formats if one.get("prefix")], [
        one["regex"] for one in formats if one.get("regex")
    ]


def _schemas(live: LivePlatform, shipped: Sequence[Stack]) -> tuple[str, Fact]:
    """The text of ``api_schemas.json``, and what it was made from; empty when neither the cluster nor a shipped stack has them."""
    name, kserve = "api_schemas.json", live.value("kserve")
    problem = live.reason("API schemas")
    if live.definitions and live.openapi is not None:
        source = {"kserve": kserve or "(version unknown)", "kubernetes": live.value("kubernetes")}
        try:
            text = schemas_text(source, list(map(dict, live.definitions)), dict(live.openapi))
        except (PlatformError, KeyError, TypeError) as error:
            problem = f"the cluster's CustomResourceDefinitions cannot be read: {error}"
        else:
            found = live.facts["API schemas"]
            return text, Fact(name=name, value=found.value, source=found.source)
    base = next((stack for stack in shipped if stack.components["kserve"] == kserve), None)
    if base is None:
        return "", Fact(name=name, reason=problem)
    text = base.api_schemas.read_text(encoding="utf-8")
    why = f"stack {base.name}, which has the same KServe; those of the cluster are unknown: {problem}"
    return text, Fact(name=name, value=f"those of KServe {kserve}", source=why)


def _role_fact(name: str, role: _RoleFound) -> Fact:
    if role.lock:
        return Fact(name=f"role {name}", value=f"{role.lock.count('==')} packages", source=role.source)
    return Fact(name=f"role {name}", reason=role.source)


# -- TOML ---------------------------------------------------------------------------------------------------------------


def _unknown_lines(unknown: Mapping[str, Any]) -> Iterator[str]:
    tables = {name: value for name, value in unknown.items() if value}
    if not tables:
        return
    yield "\n# What could not be read, and why. Contracts that need it are INCONCLUSIVE; to say what you know, write it into its place,"
    yield "# and delete the line here."
    plain = {name: value for name, value in tables.items() if isinstance(value, str)}
    if plain:
        yield from _table_lines("unknown", plain, {})
    for name, table in tables.items():
        if name not in plain:
            yield from _table_lines(f"unknown.{name}", table, {})


def _commented(name: str, table: Mapping[str, Any], comment: str) -> Iterator[str]:
    """A table with a comment in front of it."""
    first, *rest = _table_lines(name, table, {})
    yield f"\n# {_one_line(comment)}{first}" if comment else first
    yield from rest


def _table_lines(name: str, table: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    yield f"\n[{name}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            comment = f"  # {_one_line(comments[key])}" if comments.get(key) else ""
            yield f"{key} = {_toml(value)}{comment}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _commented(f"{name}.{key}", value, comments.get(key, ""))


def _toml(value: Any) -> str:
    """A string, an integer or a list of strings as TOML, of whose strings JSON's are a subset but for the character DEL."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        items = [_toml(one) for one in value]
        return f"[{', '.join(items)}]" if len(items) < 6 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return str(value)


def _one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
