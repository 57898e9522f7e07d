"""The manifests of ``sound.yaml``, which KServe 0.14.1 admits and generated manifests are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SOUND: tuple[dict[str, Any], ...] = tuple(
    yaml.safe_load_all((Path(__file__).parent / "sound.yaml").read_text(encoding="utf-8"))
)
SERVICES = tuple(one for one in SOUND if one["kind"] == "InferenceService")
OTHERS = tuple(one for one in SOUND if one["kind"] != "InferenceService")
