"""Fake services: an InferenceService whose status follows its storage URI at once, and clients that its model answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fakes.scenario_session import FakeFaultClient, FakeTraffic, bad, good
from trivet.model.fault import SERVING
from trivet.model.handover import LoggedModel
from trivet.model.traffic import Answer

SERVICES = "inferenceservice"


class Objects(dict[tuple[str, str, str], Mapping[str, Any]]):
    """Objects of which InferenceServices have a status. A revision is made for each storage URI that a service gets; ``loads`` says which
    of them get ready, and only those get traffic."""

    def __init__(self, loads: Callable[[str], bool]) -> None:
        super().__init__()
        self._loads = loads
        self._revisions: dict[str, list[str]] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        return self.with_status(found) if found and key[0] == SERVICES else found

    def with_status(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        name, uri = found["metadata"]["name"], found["spec"]["predictor"]["model"]["storageUri"]
        made = self._revisions.setdefault(name, [])
        if not made or made[-1] != uri:
            made.append(uri)
        ready = [number for number, one in enumerate(made) if self._loads(one)]
        last = f"{name}-{ready[-1]}" if ready else ""
        predictor = {
            "latestCreatedRevision": f"{name}-{len(made) - 1}",
            "latestReadyRevision": last,
            "traffic": [{"revisionName": last, "percent": 100}] if ready else [],
        }
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        return {
            **copy.deepcopy(dict(found)),
            "status": {"conditions": [condition], "components": {"predictor": predictor}},
        }

    def serves(self, name: str) -> str:
        """The storage URI that answers for a service; empty when none does."""
        if (SERVICES, SERVING, name) not in self:
            return ""
        self.get((SERVICES, SERVING, name))
        return next((uri for uri in reversed(self._revisions[name]) if self._loads(uri)), "")


class FakeCluster:
    """A cluster client over the objects that injectors change too. ``log`` is that of a container that ended, once a model did not load."""

    namespace = SERVING

    def __init__(self, faults: FakeFaultClient, *, log: str = "") -> None:
        self._faults = faults
        self._log = log

    def apply(self, document: Mapping[str, Any]) -> None:
        self._faults.objects[SERVICES, SERVING, document["metadata"]["name"]] = document

    def get(self, kind: str, name: str = "", *, selector: str = "", **_: Any) -> Any:
        if name:
            return self._faults.objects.get((kind, SERVING, name))
        ended = {"name": "kserve-container", "state": {"terminated": {"exitCode": 0}}}
        pod = {"metadata": {"name": "pod"}, "status": {"containerStatuses": [ended] if self._log else []}}
        return {"items": [pod]}

    def delete(self, kind: str, name: str) -> None:
        self._faults.objects.pop((kind, SERVING, name), None)

    def log(self, pod: str, container: str, *, previous: bool = False) -> str:
        return self._log


class FakeClients(FakeTraffic):
    """Clients of services; ``answers`` is what the model at a storage URI answers, None for an error."""

    def __init__(self, objects: Objects, service: str, answers: Callable[[str], int | None]) -> None:
        super().__init__(self._one)
        self._objects, self._service, self._answers = objects, service, answers

    def _one(self, at: float) -> Answer:
        uri = self._objects.serves(self._service)
        value = self._answers(uri) if uri else None
        return bad(at) if value is None else good(at, value)


class FakeTrainer:
    """Logs versions, whose answer is their label's offset, and moves aliases."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.aliases: dict[str, str] = {}

    def log_model(self, **variation: Any) -> LoggedModel:
        self.logged.append(variation)
        version = str(len(self.logged))
        return LoggedModel(
            run_id=f"run{version}", artifact_path="model", registered_name=variation["register_as"], version=version
        )

    def predict(self, model_uri: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [self.logged[int(model_uri.rpartition("/")[2]) - 1].get("label_offset", 0)]

    def artifacts(self, uri: str) -> Mapping[str, str]:
        return {}

    def call(self, operation: str, **arguments: Any) -> None:
        """``set_registered_model_alias``, whatever the operation."""
        self.aliases[arguments["arguments"]["alias"]] = arguments["arguments"]["version"]
