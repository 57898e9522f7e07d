"""kfp → mlflow: the plugin by which KFP's API server, driver and launcher write to MLflow by themselves, from KFP 2.17.0 on.

``contracts/plugin_statements.py`` has everything that the plugin should hold, and which of these contracts judges it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.authoring import (
    MUST,
    SHOULD,
    Finding,
    PlatformConfig,
    Stack,
    TrackingApi,
    TrackingError,
    contract,
    evidence,
    failed,
    inconclusive,
    not_applicable,
    passed,
)
from trivet.contracts._mlflow_plugin import (
    AUTH_TYPES,
    HOSTS_CHECKED_SINCE,
    KEYS,
    SECRET,
    SHIPPED,
    SINCE,
    WORKSPACE_HEADER,
    WORKSPACES_SINCE,
    Plugin,
    allowed_hosts,
    asking,
    configured,
    has_plugin,
    has_workspaces,
    host_is_allowed,
    host_of,
    redacted,
    release,
    seconds,
    server_version,
)
from trivet.contracts.values import mapping

SEAM = ("kfp", "mlflow")
KFP = "kubeflow/pipelines 2.17.0 backend/src/"
RECORD = "measured with the plugin of KFP 2.17.0 against MLflow 3.17.2: contracts/records/mlflow_plugin_2.17.0.json"

LOCAL = "127.0.0.1:*,localhost:*"
"""What a list of allowed hosts needs for whoever asks the server on its own machine or through a forwarded port."""

RETRIED = 60.0
"""Seconds after which the plugin does not try again (kubeflow/pipelines 2.17.0 backend/src/common/plugins/mlflow/client.go)."""

CLOSED = 120.0
"""Seconds after the end of a pipeline's run in which the plugin may still be closing what is below it."""

LONGEST_WAIT = 10.0
"""Seconds that the creation of a run may take longer while MLflow does not answer. People and schedulers wait for it."""


@contract(
    title="The plugin must be configured for this platform's MLflow, or be off",
    level=MUST,
    seam=SEAM,
    rationale=(
        "KFP 2.17.0 ships a configuration in which the plugin is on, with the address of Open Data Hub's MLflow. Elsewhere every run says "
        "PLUGIN_FAILED, and nothing is in MLflow."
    ),
    remedy=(
        "Mount a config.json of your own at the API server, with the address of your MLflow under plugins.mlflow, or without the key; "
        "state it in stack.toml as [pipelines.plugins.mlflow], or as an empty [pipelines.plugins]."
    ),
    sources=(
        f"{KFP}apiserver/config/config.json; apiserver/plugins/mlflow/config.go, IsEnabled; removed by 156bfbb1fd, in no release",
        "the same, manifests/kustomize/base/pipeline/ml-pipeline-apiserver-deployment.yaml: its certificate is of an optional ConfigMap",
    ),
)
def shipped_configuration_is_replaced(platform: PlatformConfig) -> Iterator[Finding]:
    if reason := has_plugin(platform):
        yield reason
    elif platform.kfp_plugins is not None:
        on = "mlflow" in platform.kfp_plugins
        yield passed("plugins.mlflow is the platform's" if on else "the plugin is off")
    elif release(platform) == SINCE:
        yield failed(
            f"the API server of KFP {platform.kfp_backend} has the plugin on as shipped, with the endpoint {SHIPPED['endpoint']}, and the "
            "stack states no plugins of its own"
        )
    else:
        yield inconclusive(
            f"what KFP {platform.kfp_backend} ships as plugins.mlflow is not known",
            remedy="State [pipelines.plugins] in stack.toml.",
        )


@contract(
    title="The API server must accept the plugin's configuration",
    level=MUST,
    seam=SEAM,
    rationale=(
        "The configuration is first read when a run is created. What is wrong in it is an error of each run's plugin, which no one looks "
        "at: runs succeed, and are not in MLflow."
    ),
    remedy="Correct plugins.mlflow in the API server's config.json.",
    sources=(
        f"{KFP}common/plugins/mlflow/config.go, BuildMLflowRequestContext and BuildCredentialEnvVars",
        f"{KFP}apiserver/plugins/mlflow/config.go, resolveConfiguredCredentials",
        RECORD,
    ),
)
def configuration_is_accepted(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = configured(platform)
    if isinstance(plugin, Finding):
        yield plugin
        return
    problems = list(_problems(plugin))
    for problem in problems:
        yield failed(f"plugins.mlflow: {problem}")
    if not problems:
        yield passed(f"plugins.mlflow has an endpoint, a timeout of {plugin.timeout} and authType {plugin.auth}")


def _problems(plugin: Plugin) -> Iterator[str]:
    if not plugin.endpoint:
        yield "it has no endpoint"
    elif not plugin.host:
        yield f"the endpoint {plugin.address!r} is no URL of HTTP with a host"
    allowed = seconds(plugin.timeout)
    if allowed is None:
        yield f"the timeout {plugin.timeout!r} is no duration of Go's, such as 30s"
    elif allowed <= 0:
        yield f"the timeout {plugin.timeout} is not above 0"
    if plugin.auth not in AUTH_TYPES:
        yield f"authType {plugin.auth!r} is none of {', '.join(AUTH_TYPES)}"
    for key in KEYS.get(plugin.auth, ()):
        if not plugin.secret.get(key):
            yield f"authType {plugin.auth} needs credentialSecretRef.{key}"
    if plugin.secret.get("name"):
        yield f"credentialSecretRef.name cannot be set: the Secret is {SECRET} in the namespace of the runs"


@contract(
    title="MLflow's server must answer requests to the host in the plugin's endpoint",
    level=MUST,
    seam=SEAM,
    rationale=(
        "MLflow 3.5 and later answers 403 to hosts that it was not started for, and names of Kubernetes Services are not among the "
        "defaults. /health answers 200 all the same, so that probes are green. KFP's run says `MLflow API error (HTTP 403, ): `, without "
        "the reason, and is not in MLflow."
    ),
    remedy=(
        "Start MLflow with --allowed-hosts, or MLFLOW_SERVER_ALLOWED_HOSTS, that has the endpoint's host with its port; the list replaces "
        f"the defaults, so add {LOCAL} for probes of API paths, forwarded ports and trivet."
    ),
    sources=(
        "mlflow 3.5.0 and 3.17.2 mlflow/server/security_utils.py: get_default_allowed_hosts, is_allowed_host_header, HEALTH_ENDPOINTS",
        f"{KFP}common/plugins/mlflow/client.go, do: the body of a 403 is not JSON, so that its text is lost",
        RECORD,
    ),
)
def server_admits_the_host(stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        yield plugin
        return
    version, allowed = server_version(stack), allowed_hosts(stack)
    if allowed is None:
        reason = "checks no hosts" if version < HOSTS_CHECKED_SINCE else "is started to answer every host"
        yield passed(f"MLflow {version} {reason}")
    elif host_is_allowed(plugin.host, allowed):
        yield passed(f"MLflow {version} answers requests to {plugin.host}")
    else:
        stated = "MLFLOW_SERVER_ALLOWED_HOSTS" in stack.roles["tracking"].environment
        hosts = f"to {', '.join(allowed)}" if stated else "to its own machine and private addresses"
        yield failed(
            f"the plugin of KFP {plugin.release} asks {plugin.host}, and MLflow {version} answers requests {hosts} only: 403 to each, "
            "and no run is in MLflow",
            remedy=f"Set MLFLOW_SERVER_ALLOWED_HOSTS to {plugin.host},{LOCAL} (it replaces the defaults), and state it under "
            "[roles.tracking.environment].",
        )


@contract(
    title="MLflow's server must have workspaces if the plugin sends their header",
    level=MUST,
    seam=SEAM,
    rationale=(
        "With authType kubernetes, the default, the plugin names a workspace unless workspacesEnabled says otherwise. A server without "
        "workspaces answers 500, which the plugin takes for an outage: it tries until its timeout, so that the creation of every run takes "
        "up to that much longer (measured: 21 to 25 s of 30 s), and is not in MLflow. The message is `server returned 500`, without "
        "the reason."
    ),
    remedy=(
        "Set settings.workspacesEnabled to false in plugins.mlflow, or start MLflow with --enable-workspaces and a workspace for each "
        "namespace of runs."
    ),
    sources=(
        f"{KFP}apiserver/plugins/mlflow/config.go, ApplySettingsDefaults; common/plugins/mlflow/client.go, retryRoundTripper",
        "mlflow 3.10.0 and 3.17.2 mlflow/server/workspace_helpers.py, resolve_workspace_for_request_if_enabled",
        RECORD,
    ),
)
def server_has_the_workspaces(stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        yield plugin
        return
    version, workspaces = server_version(stack), has_workspaces(stack)
    if not plugin.workspaces:
        yield passed("the plugin names no workspace")
    elif workspaces:
        yield passed(f"MLflow {version} has workspaces, and the plugin names one")
    elif workspaces is None:
        yield passed(
            f"MLflow {version} knows no workspaces, which {WORKSPACES_SINCE} is the first to have, and ignores their header"
        )
    else:
        default = "" if "workspacesEnabled" in _settings(platform) else ", as authType kubernetes does by default"
        yield failed(
            f"the plugin of KFP {plugin.release} sends {WORKSPACE_HEADER}{default}, and MLflow {version} is started without workspaces: it "
            f"answers 500, the plugin tries again for up to {_patience(plugin)}, and no run is in MLflow"
        )


@contract(
    title="MLflow's server must answer what the plugin asks first",
    level=MUST,
    seam=SEAM,
    rationale=(
        "The plugin's first request decides whether a run is recorded. Probes, browsers and MLflow's own clients send other hosts and "
        "headers, so that they show nothing of it."
    ),
    remedy=(
        f"Start MLflow with --allowed-hosts that has the endpoint's host, port and {LOCAL}; set workspacesEnabled to whether the server "
        "has workspaces, and authType to how it authenticates."
    ),
    sources=(
        f"{KFP}common/plugins/mlflow/client.go, GetExperimentByName, applyHeaders; apiserver/plugins/mlflow/run_start.go, "
        "EnsureExperimentExists",
        RECORD,
    ),
)
def server_answers_the_plugin(platform: PlatformConfig, tracking: TrackingApi) -> Iterator[Finding]:
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        yield plugin
        return
    if platform.tracking_uri and host_of(platform.tracking_uri) != plugin.host:
        yield inconclusive(
            f"the plugin's MLflow is {plugin.address}, and the one that is judged is {redacted(platform.tracking_uri)}: whether they are "
            "one is not known",
            remedy="Name the same address under [pipelines.plugins.mlflow] and [tool.trivet.existing].",
        )
        return
    headers = {"Content-Type": "application/json"}
    if plugin.workspaces:
        headers[WORKSPACE_HEADER] = platform.kfp_namespace
    status, text = tracking.answer_to(
        "experiments/get-by-name", host=plugin.host, headers=headers, experiment_name=plugin.experiment
    )
    code = str(_json(text).get("error_code", ""))
    asked = f"asked as the plugin of KFP {plugin.release} asks ({_named({'Host': plugin.host, **headers})})"
    found = f"{status}{f' {code}' if code else ''}"
    answer = (evidence("the answer", "log", text[:2000]),)
    lacking = plugin.workspaces and code == "RESOURCE_DOES_NOT_EXIST" and _lacks_workspace(platform, tracking)
    if lacking and platform.is_users:
        yield failed(
            f"{asked}, MLflow answers {found}: it has no workspace {platform.kfp_namespace}",
            remedy=f"Make a workspace {platform.kfp_namespace} in MLflow, or set settings.workspacesEnabled to false.",
            evidence=answer,
        )
    elif lacking:
        yield not_applicable(
            f"trivet has started MLflow, and there is no workspace {platform.kfp_namespace} of the platform's"
        )
    elif status == 200 or (status == 404 and code == "RESOURCE_DOES_NOT_EXIST"):
        yield passed(f"{asked}, MLflow answers {found}")
    elif status == 403 and "Invalid Host header" in text:
        yield failed(
            f"{asked}, MLflow answers {found} {text.strip()[:80]!r}: KFP's run says no reason, and is not in MLflow",
            remedy=f"Start MLflow with --allowed-hosts {plugin.host},{LOCAL}.",
            evidence=answer,
        )
    elif code == "FEATURE_DISABLED":
        yield failed(
            f"{asked}, MLflow answers {found}: the plugin tries again for up to {_patience(plugin)}",
            remedy="Set settings.workspacesEnabled to false, or start MLflow with --enable-workspaces.",
            evidence=answer,
        )
    elif status in (401, 403) and plugin.auth != "none":
        yield inconclusive(f"{asked} and without the plugin's credentials, MLflow answers {found}", evidence=answer)
    else:
        yield failed(f"{asked}, MLflow answers {found}", evidence=answer)


@contract(
    title="The experiment of the plugin's runs must not be deleted",
    level=MUST,
    seam=SEAM,
    rationale=(
        "The plugin finds a deleted experiment by its name, does not look at its lifecycle stage, and its runs are refused with 400: "
        "after somebody has deleted the default experiment, no run of any pipeline is in MLflow until it is restored."
    ),
    remedy="Restore the experiment, or set settings.defaultExperimentName to another one.",
    sources=(
        f"{KFP}apiserver/plugins/mlflow/run_start.go, EnsureExperimentExists",
        "mlflow 3.17.2 mlflow/store/tracking/sqlalchemy_store.py, _check_experiment_is_active",
        RECORD,
    ),
)
def default_experiment_is_active(platform: PlatformConfig, tracking: TrackingApi) -> Iterator[Finding]:
    asked = _in_its_workspace(platform, tracking)
    if isinstance(asked, Finding):
        yield asked
        return
    plugin, there = asked
    try:
        experiment = there.get_experiment_by_name(plugin.experiment)
    except TrackingError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        yield passed(f"MLflow has no experiment {plugin.experiment!r}: the plugin creates it")
        return
    stage = str(experiment.get("lifecycle_stage", ""))
    if stage == "active":
        yield passed(f"MLflow's experiment {plugin.experiment!r} is active")
    else:
        yield failed(
            f"MLflow's experiment {plugin.experiment!r}, {experiment.get('experiment_id')}, is {stage}: it refuses the plugin's runs"
        )


@contract(
    title="A task's MLflow run must end with its parent",
    level=MUST,
    seam=SEAM,
    rationale=(
        "At the end of a pipeline's run the plugin of KFP 2.17.0 closes what is open below the parent, and does not look below what has "
        "ended: a task in a loop or a condition of a terminated run stays RUNNING for ever, and is counted as a running training."
    ),
    remedy="End these runs in MLflow by hand; wait for a release of KFP with 3afa7c8c61.",
    sources=(
        f"{KFP}apiserver/plugins/mlflow/run_start.go, syncNestedRuns, shouldSyncNestedRun",
        "kubeflow/pipelines 3afa7c8c61, in no release up to 2.17.0",
        RECORD,
    ),
)
def tasks_end_with_their_parent(platform: PlatformConfig, tracking: TrackingApi) -> Iterator[Finding]:
    asked = _in_its_workspace(platform, tracking)
    if isinstance(asked, Finding):
        yield asked
        return
    plugin, there = asked
    runs = _recorded(plugin, there)
    roots = [run for run in runs.values() if run.pipeline_run]
    late = [
        (run, root) for run in runs.values() if run.status == "RUNNING" and (root := _root(run, runs)) and root.ended
    ]
    if not roots:
        yield not_applicable(f"MLflow's experiment {plugin.experiment!r} has no run of the plugin's")
    for run, root in late:
        yield failed(
            f"the MLflow run {run.id} of the task {run.name} is RUNNING, and that of its pipeline, {root.id}, is {root.status}"
        )
    if roots and not late:
        yield passed(f"of {len(roots)} runs of pipelines none has ended before its tasks")


@contract(
    title="A pipeline's run must have one MLflow run",
    level=MUST,
    seam=SEAM,
    rationale=(
        "A run of a recurring run has an id that follows from its name: when two controllers or two requests create it at once, each makes "
        "an MLflow run, and one of them is refused by the database only after that. Whoever compares trainings counts one twice."
    ),
    remedy="Delete the run that has no tasks.",
    sources=(
        f"{KFP}apiserver/resource/resource_manager.go, CreateRun: NewDeterministicUUID, and the plugin before the database",
        f"{KFP}apiserver/plugins/mlflow/run_start.go, BuildKFPTags",
    ),
)
def pipeline_run_has_one_parent(platform: PlatformConfig, tracking: TrackingApi) -> Iterator[Finding]:
    asked = _in_its_workspace(platform, tracking)
    if isinstance(asked, Finding):
        yield asked
        return
    plugin, there = asked
    roots: dict[str, list[str]] = {}
    for run in _recorded(plugin, there).values():
        if run.pipeline_run:
            roots.setdefault(run.pipeline_run, []).append(run.id)
    several = {one: sorted(found) for one, found in roots.items() if len(found) > 1}
    if not roots:
        yield not_applicable(f"MLflow's experiment {plugin.experiment!r} has no run of the plugin's")
    for one, found in several.items():
        yield failed(f"KFP's run {one} has {len(found)} MLflow runs: {', '.join(found)}")
    if roots and not several:
        yield passed(f"each of {len(roots)} runs of pipelines has one MLflow run")


@contract(
    title="MLflow's absence must not fail tasks",
    level=MUST,
    seam=SEAM,
    rationale=(
        "With injectUserEnvVars the driver of KFP 2.17.0 fails a task for which no MLflow run could be made, before its code runs: an "
        "outage of MLflow of some seconds, between the creation of the run and the start of a task, is then one of the pipelines."
    ),
    remedy="Leave injectUserEnvVars off, and give MLFLOW_TRACKING_URI to the steps that record by themselves.",
    sources=(
        f"{KFP}v2/common/plugins/mlflow/handler.go, RetrieveUserContainerEnvVars; v2/driver/container.go, which returns its error",
        "kubeflow/pipelines 93d56b5044, in no release up to 2.17.0",
        RECORD,
    ),
)
def outage_fails_no_task(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = configured(platform)
    if isinstance(plugin, Finding):
        yield plugin
    elif not plugin.injects:
        yield passed("injectUserEnvVars is off: a task without an MLflow run runs")
    elif release(platform) == SINCE:
        yield failed(
            "injectUserEnvVars is on: where MLflow does not answer at the start of a task, the driver ends with `MLflow run ID is empty`, "
            "and the task fails"
        )
    else:
        yield inconclusive(
            f"injectUserEnvVars is on, and whether KFP {plugin.release} fails tasks without MLflow is not known"
        )


@contract(
    title="A step's code and the plugin should not write to one MLflow run",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "With injectUserEnvVars the step's own mlflow.log_param goes to the run to which the plugin logs the inputs of the task, as JSON, "
        "in one batch. A parameter of both with different texts is refused, and with it all parameters and metrics of the batch."
    ),
    remedy="Leave injectUserEnvVars off.",
    sources=(
        f"{KFP}v2/common/plugins/mlflow/handler.go, OnTaskEnd, mapToParams, RetrieveUserContainerEnvVars",
        RECORD,
    ),
)
def user_code_has_its_own_run(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = configured(platform)
    if isinstance(plugin, Finding):
        yield plugin
    elif plugin.injects:
        yield failed("injectUserEnvVars is on: MLFLOW_RUN_ID makes the step's code write to the run of the plugin")
    else:
        yield passed("injectUserEnvVars is off: the step's code has runs of its own")


@contract(
    title="An outage of MLflow should not hold up the creation of runs",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "While MLflow cannot be reached, the plugin tries again until its timeout, and whoever creates a run waits for that long "
        "(measured: 26 to 28 s of 30 s for a refused connection and for a name that does not resolve). The shipped timeout is 60 s, and "
        "KFP's own Go clients give up after 35 s, without knowing that the run was created."
    ),
    remedy=f"Set plugins.mlflow.timeout to at most {LONGEST_WAIT:.0f}s.",
    sources=(
        f"{KFP}apiserver/plugins/mlflow/dispatcher.go, OnBeforeRunCreation, resolvedMLflowTimeout",
        f"{KFP}common/client/api_server/util.go, APIServerDefaultTimeout",
        RECORD,
    ),
)
def outage_holds_up_no_run(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = configured(platform)
    if isinstance(plugin, Finding):
        yield plugin
        return
    wait = seconds(plugin.timeout)
    if wait is None:
        yield inconclusive(f"the timeout {plugin.timeout!r} is no duration")
    elif wait > LONGEST_WAIT:
        yield failed(
            f"the timeout is {plugin.timeout}: the creation of a run takes up to {wait:g} s longer while MLflow is away"
        )
    else:
        yield passed(f"the timeout is {plugin.timeout}")


@contract(
    title="The plugin should send credentials over TLS only",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "By default the plugin sends the token of the API server's service account with each request, and drivers and launchers send "
        "theirs. Over http, or without verification, whoever is on the way can act as them in the cluster."
    ),
    remedy="Use an https endpoint with a certificate that is verified; without authentication at MLflow, set authType to none.",
    sources=(
        f"{KFP}common/plugins/mlflow/config.go, ResolveMLflowCredentials, BuildHTTPClient; client.go, applyHeaders",
    ),
)
def credentials_are_encrypted(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        yield plugin
    elif plugin.auth == "none":
        yield passed("the plugin sends no credentials")
    elif not plugin.encrypted:
        what = "the tokens of service accounts" if plugin.auth == "kubernetes" else "its credentials"
        yield failed(f"authType {plugin.auth} sends {what} to {plugin.address}, which is not encrypted")
    elif plugin.insecure:
        yield failed(
            f"authType {plugin.auth} sends credentials to {plugin.address} whoever answers there: insecureSkipVerify is on"
        )
    else:
        yield passed(f"authType {plugin.auth} sends credentials to {plugin.address} over TLS")


@contract(
    title="A certificate that the API server trusts should be trusted by drivers and launchers too",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "caBundlePath is a file of the API server's, and is not handed to drivers and launchers: the parent run is in MLflow, and its "
        "tasks are not. Only a log line of each driver says so."
    ),
    remedy="Mount the certificate into the drivers and launchers as well, or use one of an authority that their images trust.",
    sources=(
        f"{KFP}apiserver/plugins/mlflow/handler.go, OnBeforeRunCreation: TLS.CABundlePath is intentionally omitted",
        f"{KFP}v2/common/plugins/mlflow/config.go, ParseKfpMLflowRuntimeConfig",
    ),
)
def certificate_reaches_the_tasks(platform: PlatformConfig) -> Iterator[Finding]:
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        yield plugin
    elif not plugin.encrypted:
        yield passed("the endpoint is not https")
    elif plugin.insecure:
        yield passed("insecureSkipVerify is handed to drivers and launchers: they verify no certificate")
    elif plugin.authority:
        yield failed(
            f"caBundlePath {plugin.authority} is the API server's alone: drivers and launchers do not trust it by that"
        )
    else:
        yield passed("the endpoint's certificate is verified by what the images trust")


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run of MLflow's. ``parent`` is the run above it, ``pipeline_run`` the run of KFP's that it is for; each is empty for none.

    ``end`` is a point in Unix time, 0 for none.
    """

    id: str
    name: str
    status: str
    end: float
    parent: str
    pipeline_run: str

    @property
    def ended(self) -> bool:
        """Whether it ended so long ago that what is below it has had time to end."""
        return self.status in ("FINISHED", "FAILED", "KILLED") and time.time() - self.end > CLOSED


def _lacks_workspace(platform: PlatformConfig, tracking: TrackingApi) -> bool:
    """Whether MLflow has workspaces, and none of the runs' namespace."""
    return tracking.has_workspace("default") and not tracking.has_workspace(platform.kfp_namespace)


def _in_its_workspace(platform: PlatformConfig, tracking: TrackingApi) -> tuple[Plugin, TrackingApi] | Finding:
    """The plugin, and MLflow in the workspace of its runs; or why there is nothing to ask."""
    plugin = asking(platform)
    if isinstance(plugin, Finding):
        return plugin
    if not plugin.workspaces or not tracking.has_workspace("default"):
        return plugin, tracking
    if not tracking.has_workspace(platform.kfp_namespace):
        return not_applicable(
            f"MLflow has no workspace {platform.kfp_namespace}, which server_answers_the_plugin judges"
        )
    return plugin, tracking.in_workspace(platform.kfp_namespace)


def _recorded(plugin: Plugin, tracking: TrackingApi) -> Mapping[str, _Run]:
    """The newest 1,000 runs of the plugin's default experiment; empty if there is no such experiment."""
    try:
        experiment = tracking.get_experiment_by_name(plugin.experiment)
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    found = {}
    for run in tracking.search_runs(str(experiment["experiment_id"])):
        info = run["info"]
        tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
        found[info["run_id"]] = _Run(
            id=info["run_id"],
            name=str(info.get("run_name", "")),
            status=str(info["status"]),
            end=float(info.get("end_time") or 0) / 1000,
            parent=tags.get("mlflow.parentRunId", ""),
            pipeline_run=tags.get("kfp.pipeline_run_id", ""),
        )
    return found


def _root(run: _Run, runs: Mapping[str, _Run]) -> _Run | None:
    """The run of the pipeline above a run; None where there is none among ``runs``. Loops and conditions end before their tasks."""
    seen = {run.id}
    while run.parent in runs and run.parent not in seen:
        seen.add(run.parent)
        run = runs[run.parent]
        if run.pipeline_run:
            return run
    return None


def _patience(plugin: Plugin) -> str:
    """For how long the plugin tries a request again (DefaultRetryElapsed beside its timeout)."""
    wait = seconds(plugin.timeout)
    return plugin.timeout if wait is not None and wait <= RETRIED else f"{RETRIED:.0f} s"


def _settings(platform: PlatformConfig) -> Mapping[str, Any]:
    return mapping(mapping(mapping(platform.kfp_plugins).get("mlflow")).get("settings"))


def _json(text: str) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(text))
    except ValueError:
        return {}


def _named(headers: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in headers.items() if name != "Content-Type")
