"""The fields of KServe's API, generated from the KServe SDK of a stack and looked up by type.

The file is ``{"source": {package: version}, "types": {type: {JSON field: type of its value}}}`` with every type that
``V1beta1InferenceService`` refers to, including those of Kubernetes. Types of values are ``str``, ``V1Probe``, ``list[V1EnvVar]``,
``dict(str, str)``; the fields of a type that is not in ``types`` are unknown. For KServe 0.14.1 and 0.20.0 the file has every field of
``config/crd/full/serving.kserve.io_inferenceservices.yaml`` (``v1beta1``).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trivet.errors import PlatformError, UsageError
from trivet.model.stack import Role
from trivet.stacks import sdk_fields

ROOT = sdk_fields.ROOT
_TIMEOUT = 120.0


@dataclass(frozen=True, kw_only=True)
class KserveApi:
    """The fields of one version of KServe's v1beta1 API. ``source`` has the packages and versions that it was generated from."""

    source: Mapping[str, str]
    types: Mapping[str, Mapping[str, str]]

    def fields(self, type_name: str) -> Mapping[str, str] | None:
        """JSON field name → type of its value; None when the fields of ``type_name`` are unknown."""
        return self.types.get(type_name)


def load_api(path: Path) -> KserveApi:
    """The API in a ``kserve_api.json``. Raises UsageError for an invalid file."""
    try:
        content = json.loads(path.read_bytes())
        api = KserveApi(source=content["source"], types=content["types"])
        if ROOT not in api.types:
            raise KeyError(ROOT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not have the fields of KServe's API: {type(error).__name__}: {error}",
            remedy=f"generate it again: trivet stack lock {path.parent}",
        ) from error
    return api


def generate_api(sdk: Role, *, progress: Callable[[str], None] = lambda _: None) -> str:
    """The text of ``kserve_api.json``, generated in the environment of the role with the KServe SDK, which is built when missing.

    Raises PlatformError when the generation fails.
    """
    from trivet.stacks.environments import build_environment

    python = build_environment(sdk, progress=progress).python
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "api.json"
        try:
            subprocess.run(
                [python, "-I", sdk_fields.__file__, output],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            output_text = f"\n{error.stderr.strip()}" if isinstance(error.stderr, str) else ""
            raise PlatformError(
                f"cannot read the fields of the KServe SDK of stack {sdk.lock.parent.name}: {error}{output_text}",
                remedy=f"check that {sdk.lock.name} has the packages kserve and kubernetes",
            ) from error
        return _text(json.loads(output.read_text(encoding="utf-8")))


def _text(api: Mapping[str, Mapping[str, object]]) -> str:
    """One line per type, so that a new version of the SDK gives a short diff."""
    types = ",\n".join(f"    {json.dumps(name)}: {json.dumps(fields)}" for name, fields in api["types"].items())
    return f'{{\n  "source": {json.dumps(api["source"])},\n  "types": {{\n{types}\n  }}\n}}\n'
