"""A third party's target in one module: a feature store in this process, and a contract over it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trivet.authoring as trivet

trivet.declare_client("feature_store", "the features of Acme's customers")


class FeatureStore:
    """The client: a contract with a parameter ``feature_store`` receives it."""

    def __init__(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        self._rows = dict(rows)

    def get(self, customer: str) -> Mapping[str, float]:
        """The features of a customer. Raises CannotTell when the store does not know the customer."""
        if customer not in self._rows:
            raise trivet.CannotTell(f"the feature store has no customer {customer!r}")
        return self._rows[customer]

    def close(self) -> None:
        self._rows.clear()


class MemorySession:
    """What runs: it returns clients by name, and describes itself for the report."""

    def __init__(self, stack: trivet.Stack, feature_store: FeatureStore) -> None:
        self._clients = {"stack": stack, "feature_store": feature_store}

    def client(self, name: str) -> Any:
        if name not in self._clients:
            raise trivet.NotOffered(f"the memory target has no client {name!r}; it has: {', '.join(self._clients)}")
        return self._clients[name]

    def subjects(self, kind: str) -> Sequence[Any]:
        raise trivet.NotOffered(f"the memory target deploys nothing, so that it has no {kind}")

    def features(self) -> Mapping[str, str]:
        return {}

    def describe(self) -> Mapping[str, str]:
        return {"feature store": "in memory"}

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        return {}


class MemoryTarget:
    """Where it runs: it plans, and starts and stops what a session needs."""

    name = "memory"
    clients = ("stack", "feature_store")

    def plan(self, stack: trivet.Stack) -> Sequence[str]:
        return ["create a feature store in this process"]

    @contextmanager
    @trivet.uninterruptible
    def start(self, stack: trivet.Stack, emit: trivet.Emit) -> Iterator[MemorySession]:
        with trivet.phase(emit, "feature store"):
            feature_store = FeatureStore({"c-1": {"age": 34.5, "visits": 8.0}})
        try:
            yield MemorySession(stack, feature_store)
        finally:
            feature_store.close()


@trivet.hookimpl
def trivet_targets() -> Mapping[str, trivet.Target]:
    return {"memory": MemoryTarget()}


@trivet.contract(
    title="The feature store must have the age of every customer",
    level=trivet.MUST,
    seam=("kfp", "mlflow"),
    rationale="A missing age becomes 0 in training.",
    remedy="Backfill the feature.",
)
def every_customer_has_an_age(feature_store: FeatureStore) -> Iterator[trivet.Finding]:
    features = feature_store.get("c-1")
    yield trivet.passed(f"age {features['age']:g}") if "age" in features else trivet.failed("c-1 has no age")
