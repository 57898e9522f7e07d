"""One registered model of a tracking server, in memory: its versions with tags, and its aliases."""

from __future__ import annotations

from typing import Any

from trivet.integration.tracking import TrackingApi


class RegisteredVersions(TrackingApi):
    """The versions 1 to ``count`` of any model, each of the run ``run<version>``."""

    def __init__(self, count: int) -> None:
        super().__init__("http://127.0.0.1:9")
        self.aliases: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {str(number): {} for number in range(1, count + 1)}

    def get_registered_model(self, name: str) -> dict[str, Any]:
        return {"aliases": [{"alias": alias, "version": version} for alias, version in self.aliases.items()]}

    def search_model_versions(self, filter_string: str) -> list[Any]:
        return [self.get_model_version("", version) for version in self.tags]

    def get_model_version(self, name: str, version: str) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self.tags[version].items()]
        return {"version": version, "run_id": f"run{version}", "tags": tags}

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[version][key] = value

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        del self.tags[version][key]

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        del self.aliases[alias]
