"""The one import for authors of contracts, scenarios, faults and targets: ``import trivet.authoring as trivet``, or the names.

What is for what, in the order of ``__all__``:

* **a contract**: ``@contract`` in front of a generator function that yields ``passed``, ``failed``, ``inconclusive`` or ``not_applicable``;
* **a scenario**: ``@scenario`` in front of a generator function that yields one ``Case``, with a ``Fault`` and a symptom that reads a
  ``Watch``;
* **faults**: functions that return a ``Fault``, named by what happens: ``stopped``, ``patched``, ``network_cut`` …;
* **registering**: a module named under ``plugins`` in ``[tool.trivet]``, by an entry point of the group ``trivet``, or a ``conftest.py``
  offers every contract and scenario that is made in it; ``hookimpl`` marks the hooks of whoever offers more (``trivet.hookspecs``);
* **errors** to raise, and those that clients raise;
* **clients**, the protocols of what a check or a scenario receives by the name of its parameter; a target implements them;
* **data** that these hand over, and names of features;
* **a target**: an object with ``name``, ``clients``, ``plan`` and ``start``, which yields a ``Session``; ``declare_client`` and
  ``declare_feature`` add names that are not trivet's own;
* **the toolkit**: waiting, readiness, probes, deployed services, models, traffic, comparison, roll-outs, statistics, drawn inputs.

Importing this package imports ``trivet.model``, the decorators and the marks for signals. The toolkit and what needs ``requests`` are
imported when a name of theirs is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell, DeclarationError, NotOffered, PlatformError, TrivetError, UsageError
from trivet.hookspecs import hookimpl
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.clients import (
    Background,
    ClusterClient,
    DownloadFailed,
    ExternalTrainerClient,
    FaultClient,
    FaultInjector,
    Lease,
    MetricsClient,
    PipelineBackendClient,
    PipelineClient,
    PredictorClient,
    Refused,
    RevertibleInjector,
    RuntimeClient,
    ServingClient,
    StoreClient,
    TrafficClient,
    TrainerClient,
    declare_client,
)
from trivet.model.contract import Contract
from trivet.model.detection import ABSENT, Fact
from trivet.model.events import Emit, PhaseEnded, PhaseStarted, phase
from trivet.model.fault import BACKEND, PIPELINES, PLATFORM, SERVING, AffectedObject, Fault, Verb
from trivet.model.feature import (
    CANARY_TRAFFIC,
    CONDITIONAL_PIPELINE,
    CPU_AUTOSCALING,
    KNATIVE,
    NETWORK_POLICY_ENFORCED,
    PIPELINE_BACKEND,
    PROMETHEUS,
    SCALE_TO_ZERO,
    declare_feature,
)
from trivet.model.finding import (
    Evidence,
    Finding,
    Location,
    Replacement,
    evidence,
    failed,
    inconclusive,
    not_applicable,
    passed,
)
from trivet.model.handover import (
    Download,
    Handover,
    HttpExchange,
    LoggedModel,
    PipelineRun,
    RegisteredVersion,
    ServableModel,
)
from trivet.model.network import NetworkPath
from trivet.model.outcome import Level, Outcome
from trivet.model.pipeline_runs import BackendRun, BackendTask
from trivet.model.platform_config import PlatformConfig
from trivet.model.probe import NotYet, Probed, last_seen
from trivet.model.redaction import redact
from trivet.model.results import ResultInputs
from trivet.model.rollout import Rollout, RolloutChange, RolloutStep
from trivet.model.scenario import Budgets, Case, Claim, Observation, Scenario, Variant, Verdict, Workload
from trivet.model.settings import Settings
from trivet.model.stack import Role, Stack
from trivet.model.subjects import CompiledPipeline, Keys, Manifest, ModelDirectory, Resource
from trivet.model.target import Session, Target
from trivet.model.text_lines import text_lines
from trivet.model.traffic import Answer, Stream

if TYPE_CHECKING:
    from trivet.authoring.gates import refusal
    from trivet.integration import TrackingApi, TrackingError
    from trivet.toolkit.client_traffic import Outage, answered_by, is_lost
    from trivet.toolkit.comparison import same_values
    from trivet.toolkit.drawing import counter_example, directory_names_and_endings, rows_of
    from trivet.toolkit.fault_proxy import failing, fault_proxy_objects, http_get, slowed, unanswered
    from trivet.toolkit.faults import (
        CUT,
        DNS,
        applied,
        crashed,
        environment_changed,
        in_turn,
        network_cut,
        patched,
        restarted,
        secret_changed,
        stopped,
    )
    from trivet.toolkit.logs import first_exception
    from trivet.toolkit.models import DEFAULT_ROWS, ModelMaker
    from trivet.toolkit.pickles import PickleContent, read_pickle
    from trivet.toolkit.readiness import (
        SERVICE_LABEL,
        conditions,
        describe_conditions,
        is_ready,
        is_terminating,
        ready_pods,
        selector_of,
        service_pods,
    )
    from trivet.toolkit.remembered import remembered
    from trivet.toolkit.rollout import SPLIT, drive
    from trivet.toolkit.services import MINIMAL_RESOURCES, deployed, minimal_service, wait_for_service
    from trivet.toolkit.statistics import ShareTest, plan_share
    from trivet.toolkit.subjects import read_model_directory
    from trivet.toolkit.tcp_probe import Connection, probe_tcp
    from trivet.toolkit.waiting import eventually, last_answer
    from trivet.toolkit.watch import FAULT, INJECTED, RECOVERED, REVERT, Watch

__all__ = [  # noqa: RUF022 - grouped by what the names are for
    # a contract
    "contract",
    "MUST",
    "SHOULD",
    "passed",
    "failed",
    "inconclusive",
    "not_applicable",
    "evidence",
    "Contract",
    "Evidence",
    "Finding",
    "Level",
    "Location",
    "Outcome",
    "Replacement",
    # a scenario
    "scenario",
    "unprotected",
    "remedied",
    "symptom_observed",
    "symptom_not_observed",
    "AffectedObject",
    "Budgets",
    "Case",
    "Claim",
    "Fault",
    "NotYet",
    "Observation",
    "Probed",
    "Scenario",
    "Variant",
    "Verb",
    "Verdict",
    "Watch",
    "Workload",
    "BACKEND",
    "PIPELINES",
    "PLATFORM",
    "SERVING",
    "FAULT",
    "INJECTED",
    "REVERT",
    "RECOVERED",
    # faults
    "CUT",
    "DNS",
    "applied",
    "crashed",
    "environment_changed",
    "failing",
    "fault_proxy_objects",
    "http_get",
    "in_turn",
    "network_cut",
    "patched",
    "restarted",
    "secret_changed",
    "slowed",
    "stopped",
    "unanswered",
    # registering
    "hookimpl",
    # errors
    "CannotTell",
    "DeclarationError",
    "DownloadFailed",
    "NotOffered",
    "PlatformError",
    "Refused",
    "TrackingError",
    "TrivetError",
    "UsageError",
    # clients
    "Background",
    "ClusterClient",
    "ExternalTrainerClient",
    "FaultClient",
    "FaultInjector",
    "Lease",
    "MetricsClient",
    "PipelineClient",
    "PipelineBackendClient",
    "PredictorClient",
    "RevertibleInjector",
    "RuntimeClient",
    "ServingClient",
    "StoreClient",
    "TrackingApi",
    "TrafficClient",
    "TrainerClient",
    # data
    "ABSENT",
    "Answer",
    "CompiledPipeline",
    "Download",
    "Fact",
    "Handover",
    "HttpExchange",
    "Keys",
    "LoggedModel",
    "RegisteredVersion",
    "Manifest",
    "ModelDirectory",
    "NetworkPath",
    "PipelineRun",
    "BackendRun",
    "BackendTask",
    "PlatformConfig",
    "Resource",
    "Role",
    "Rollout",
    "RolloutChange",
    "RolloutStep",
    "ServableModel",
    "Stack",
    "Stream",
    # features
    "CANARY_TRAFFIC",
    "CONDITIONAL_PIPELINE",
    "CPU_AUTOSCALING",
    "KNATIVE",
    "NETWORK_POLICY_ENFORCED",
    "PIPELINE_BACKEND",
    "PROMETHEUS",
    "SCALE_TO_ZERO",
    # a target
    "Emit",
    "PhaseEnded",
    "PhaseStarted",
    "ResultInputs",
    "Session",
    "Settings",
    "Target",
    "declare_client",
    "declare_feature",
    "interruptible",
    "phase",
    "uninterruptible",
    # the toolkit: waiting and readiness
    "eventually",
    "last_answer",
    "last_seen",
    "wait_for_service",
    "SERVICE_LABEL",
    "conditions",
    "describe_conditions",
    "is_ready",
    "is_terminating",
    "ready_pods",
    "selector_of",
    "service_pods",
    # the toolkit: probes, services, models, traffic
    "Connection",
    "probe_tcp",
    "MINIMAL_RESOURCES",
    "minimal_service",
    "deployed",
    "DEFAULT_ROWS",
    "ModelMaker",
    "read_model_directory",
    "PickleContent",
    "read_pickle",
    "redact",
    "text_lines",
    "remembered",
    "refusal",
    "first_exception",
    "Outage",
    "answered_by",
    "is_lost",
    "same_values",
    # the toolkit: roll-outs, statistics, drawn inputs
    "SPLIT",
    "drive",
    "ShareTest",
    "plan_share",
    "counter_example",
    "directory_names_and_endings",
    "rows_of",
]

_LATER = {
    "trivet.authoring.gates": ("refusal",),
    "trivet.integration": ("TrackingApi", "TrackingError"),
    "trivet.toolkit.client_traffic": ("Outage", "answered_by", "is_lost"),
    "trivet.toolkit.comparison": ("same_values",),
    "trivet.toolkit.drawing": ("counter_example", "directory_names_and_endings", "rows_of"),
    "trivet.toolkit.fault_proxy": ("failing", "fault_proxy_objects", "http_get", "slowed", "unanswered"),
    "trivet.toolkit.faults": (
        "CUT",
        "DNS",
        "applied",
        "crashed",
        "environment_changed",
        "in_turn",
        "network_cut",
        "patched",
        "restarted",
        "secret_changed",
        "stopped",
    ),
    "trivet.toolkit.logs": ("first_exception",),
    "trivet.toolkit.models": ("DEFAULT_ROWS", "ModelMaker"),
    "trivet.toolkit.pickles": ("PickleContent", "read_pickle"),
    "trivet.toolkit.readiness": (
        "SERVICE_LABEL",
        "conditions",
        "describe_conditions",
        "is_ready",
        "is_terminating",
        "ready_pods",
        "selector_of",
        "service_pods",
    ),
    "trivet.toolkit.remembered": ("remembered",),
    "trivet.toolkit.rollout": ("SPLIT", "drive"),
    "trivet.toolkit.services": ("MINIMAL_RESOURCES", "deployed", "minimal_service", "wait_for_service"),
    "trivet.toolkit.statistics": ("ShareTest", "plan_share"),
    "trivet.toolkit.subjects": ("read_model_directory",),
    "trivet.toolkit.tcp_probe": ("Connection", "probe_tcp"),
    "trivet.toolkit.waiting": ("eventually", "last_answer"),
    "trivet.toolkit.watch": ("FAULT", "INJECTED", "RECOVERED", "REVERT", "Watch"),
}
"""What is imported when it is first used, by its module: the same names as under ``TYPE_CHECKING``."""

_HOMES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
