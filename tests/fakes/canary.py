"""A canary in the stand-in for the API server's storage, a Prometheus that knows what both revisions answered, and a controller that moves
the traffic as KServe does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fakes.kubernetes_api import StoredObjects
from trivet.errors import PlatformError
from trivet.integration.canary_counts import ArmCounts, CanaryWindow
from trivet.integration.deployment import PreconditionFailed
from trivet.integration.known_requests import KnownAnswer
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, ConflictError
from trivet.operations.canary_run import CanaryActions

NAMESPACE, SERVICE = "ml", "rec"
STABLE, CANARY, NEWER = (f"rec-predictor-0000{number}" for number in (1, 2, 3))


def status_of(canary: str, stable: str, percent: int) -> dict[str, Any]:
    """The status of a service whose newest revision has ``percent`` of the traffic."""
    traffic = [{"revisionName": canary, "percent": percent}, {"revisionName": stable, "percent": 100 - percent}]
    predictor = {
        "latestCreatedRevision": canary,
        "latestReadyRevision": canary,
        "latestRolledoutRevision": canary if percent == 100 else stable,
        "traffic": [one for one in traffic if one["percent"]],
    }
    return {"components": {"predictor": predictor}}


def with_canary(cluster: StoredObjects, *, canary: str = CANARY, stable: str = STABLE, percent: int = 20) -> None:
    """Create the service, with a canary."""
    cluster.create(
        INFERENCE_SERVICES,
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"predictor": {"canaryTrafficPercent": percent, "model": {"storageUri": "s3://m/2/"}}},
        },
    )
    cluster.set_status(INFERENCE_SERVICES, NAMESPACE, SERVICE, status_of(canary, stable, percent))


class ScriptedMetrics:
    """Implements ``CanaryMetrics``: 120 requests a minute to the canary, 480 to the stable revision, and ``errors`` of 100 of the canary's
    fail. ``now`` reads the clock. ``before`` is called with the start of each window that is read: it may raise."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        errors: int = 0,
        rate: int = 120,
        before: Callable[[float], object] = lambda start: None,
    ) -> None:
        self._now = now
        self._errors = errors
        self._rate = rate
        self.before = before
        self.read: list[tuple[float, float]] = []

    def now(self) -> float:
        return self._now()

    def source(self, *, canary: str, stable: str) -> str:
        return "mlserver-rest"

    def window(self, source: str, *, canary: str, stable: str, start: float, end: float) -> CanaryWindow:
        self.before(start)
        assert end <= self._now(), "a window that is not over"
        self.read.append((start, end))
        requests = round(self._rate * (end - start) / 60)
        return CanaryWindow(
            start=start,
            end=end,
            canary=ArmCounts(requests=requests, errors=requests * self._errors // 100, slower={0.5: 0}),
            stable=ArmCounts(requests=4 * requests, errors=0, slower={0.5: 0}),
        )


class ScriptedKnownRequests:
    """Implements ``KnownRequests``: of ``each`` known rows a revision gets those wrong that ``wrong`` says; None: it does not answer.
    ``away`` says how often the stable revision cannot be reached yet; ``asked`` are the revisions and indices that were asked."""

    def __init__(self, wrong: Mapping[str, int | None], *, each: int = 22, away: int = 0) -> None:
        self._wrong = wrong
        self._away = away
        self.rows = [each, each]
        self.slowest = 0.1
        self.asked: list[tuple[str, int]] = []

    def verify(self, revision: str) -> float:
        if self._away:
            self._away -= 1
            raise PlatformError(f"{revision} cannot be reached")
        return self.slowest

    def ask(self, revision: str, index: int) -> KnownAnswer:
        self.asked.append((revision, index))
        wrong = self._wrong.get(revision, 0)
        if wrong is None:
            return KnownAnswer(rows=self.rows[0], seconds=10.0)
        return KnownAnswer(rows=self.rows[0], status=200, wrong=wrong, seconds=0.1)


def moving_traffic(cluster: StoredObjects, acted: Callable[[str], object] = lambda what: None) -> CanaryActions:
    """Actions that change the stored service at the resourceVersion that was read, for the newest revision only, and the status at once."""

    def move(revision: str, percent: int, what: str) -> None:
        while True:
            service = cluster.get(INFERENCE_SERVICES, NAMESPACE, SERVICE)
            assert service is not None
            predictor = service["status"]["components"]["predictor"]
            if predictor["latestCreatedRevision"] != revision:
                raise PreconditionFailed(f"the newest revision is {predictor['latestCreatedRevision']}, not {revision}")
            if service["spec"]["predictor"]["canaryTrafficPercent"] == percent:
                return
            service["spec"]["predictor"]["canaryTrafficPercent"] = percent
            try:
                cluster.replace(INFERENCE_SERVICES, service)
            except ConflictError:
                continue
            acted(what)
            cluster.set_status(
                INFERENCE_SERVICES,
                NAMESPACE,
                SERVICE,
                status_of(revision, predictor["latestRolledoutRevision"], percent),
            )
            return

    return CanaryActions(
        promote=lambda revision: move(revision, 100, "promote"),
        roll_back=lambda revision: move(revision, 0, "roll back"),
    )
