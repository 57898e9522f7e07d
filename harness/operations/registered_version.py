"""Finds a registered version by its URI, once: an alias may name another version a moment later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trivet.errors import UsageError, choices
from trivet.integration.tracking import TrackingApi, TrackingError

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


def registered_version(uri: str, tracking: TrackingApi) -> Mapping[str, Any]:
    """MLflow's record of the version that ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` names.

    Raises UsageError for a URI of another form, and when there is no such version; TrackingError.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise UsageError(
            f"{uri!r} does not name a registered version",
            remedy="pass models:/NAME/VERSION or models:/NAME@ALIAS",
        )
    name, version, alias = found["name"], found["version"], found["alias"]
    try:
        if version:
            return tracking.get_model_version(name, version)
        return tracking.get_model_version_by_alias(name, alias)
    except TrackingError as error:
        if error.code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UsageError(f"there is no {uri}: {error.message}", remedy=_instead(name, tracking)) from error


def _instead(name: str, tracking: TrackingApi) -> str:
    try:
        model = tracking.get_registered_model(name)
    except TrackingError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = [str(one["name"]) for one in tracking.all_registered_models()]
        return choices(name, names) if names else "the registry has no models: register one"
    aliases = ", ".join(f"@{one['alias']} (version {one['version']})" for one in model.get("aliases", []))
    latest = ", ".join(f"version {one['version']}" for one in model.get("latest_versions", []))
    return (
        f"{name!r} has {'; '.join(part for part in (aliases, latest and f'latest: {latest}') if part) or 'no versions'}"
    )
