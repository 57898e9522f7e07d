"""What is known of KServe's API: generated from the KServe SDK of a stack, and looked up by type.

The file is ``{"source": {package: version}, "types": {type: {JSON field: type of its value}}}`` with every type that
``V1beta1InferenceService`` leads to, Kubernetes' own included. Types of values read ``str``, ``V1Probe``, ``list[V1EnvVar]``,
``dict(str, str)``; a name that is not in ``types`` stands for a value of which no fields are known. For KServe 0.14.1 and
0.20.0 the fields cover every one of ``config/crd/full/serving.kserve.io_inferenceservices.yaml`` (``v1beta1``).
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
_DEADLINE = 120.0


@dataclass(frozen=True, kw_only=True)
class KserveApi:
    """The fields of KServe's v1beta1 API in one version of it. ``source`` names the packages and versions that they come from."""

    source: Mapping[str, str]
    types: Mapping[str, Mapping[str, str]]

    def fields(self, type_name: str) -> Mapping[str, str] | None:
        """JSON field name → type of its value, or None where the fields of ``type_name`` are not known."""
        return self.types.get(type_name)


def load_api(path: Path) -> KserveApi:
    """The API in a ``kserve_api.json``. Raises UsageError when the file is not one."""
    try:
        content = json.loads(path.read_bytes())
        api = KserveApi(source=content["source"], types=content["types"])
        if ROOT not in api.types:
            raise KeyError(ROOT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not hold the fields of KServe's API: {type(error).__name__}: {error}",
            remedy=f"it is generated: trivet stack lock {path.parent}",
        ) from error
    return api


def generate_api(sdk: Role, *, progress: Callable[[str], None] = lambda _: None) -> str:
    """The text of ``kserve_api.json`` from the role that holds the KServe SDK, whose environment is built if need be."""
    from trivet.stacks.environments import build_environment

    python = build_environment(sdk, progress=progress).python
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "api.json"
        try:
            subprocess.run(
                [python, "-I", sdk_fields.__file__, output],
                capture_output=True,
                text=True,
                timeout=_DEADLINE,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            words = f"\n{error.stderr.strip()}" if isinstance(error.stderr, str) else ""
            raise PlatformError(
                f"the KServe SDK of stack {sdk.lock.parent.name} did not tell its fields: {error}{words}",
                remedy=f"see that {sdk.lock.name} holds the packages kserve and kubernetes",
            ) from error
        return _text(json.loads(output.read_text(encoding="utf-8")))


def _text(api: Mapping[str, Mapping[str, object]]) -> str:
    """One line per type, so that a new version of the SDK shows as a short difference."""
    types = ",\n".join(f"    {json.dumps(name)}: {json.dumps(fields)}" for name, fields in api["types"].items())
    return f'{{\n  "source": {json.dumps(api["source"])},\n  "types": {{\n{types}\n  }}\n}}\n'
