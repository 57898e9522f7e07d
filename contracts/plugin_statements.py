"""What KFP's MLflow plugin should hold, statement by statement, with what KFP 2.17.0 does and how that is known. Declares no contract.

``python -m trivet.contracts.plugin_statements`` prints the table of docs/pipelines.md. A statement is *measured* if the plugin's own code
of 2.17.0 was run against a real MLflow 3.17.2, and its cases stand in ``contracts/records/mlflow_plugin_2.17.0.json``; else it is *read*.
Where cases show only a part, the statement names what is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from trivet.authoring import MUST, SHOULD, Level

RELEASE = "2.17.0"
RECORD = "contracts/records/mlflow_plugin_2.17.0.json"
MEASURED, READ = "measured", "read"
HELD, PARTLY, BROKEN = "yes", "in part", "no"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement. ``held`` is whether KFP 2.17.0 holds it, ``observed`` what it does, ``cases`` are names in the record, and
    ``read`` is the part of it that they do not show.

    ``contracts`` judge it on a platform; empty where only a run on a backend with the plugin shows it. ``sources`` are below
    ``backend/src`` of kubeflow/pipelines at 2.17.0 unless they say otherwise.
    """

    number: int
    says: str
    level: Level
    held: str
    observed: str
    sources: tuple[str, ...]
    cases: tuple[str, ...] = ()
    read: str = ""
    contracts: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Whether what it says of 2.17.0 was measured or read."""
        if not self.cases:
            return READ
        return f"measured; read: {self.read}" if self.read else MEASURED


def table() -> str:
    """The statements in Markdown."""
    rows = [
        f"| {one.number} | {one.says} | {one.level} | {one.held} | {one.observed} | {one.state} | "
        f"{', '.join(f'`{name}`' for name in one.contracts) or '–'} |"
        for one in STATEMENTS
    ]
    head = [
        "| | the plugin … | level | 2.17.0 | what 2.17.0 does | | judged by `mlflow_plugin.…` |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join((*head, *rows))


STATEMENTS = (
    Statement(
        number=1,
        says="is off unless it is configured",
        level=MUST,
        held=BROKEN,
        observed="the shipped file switches it on, for Open Data Hub's MLflow",
        sources=("apiserver/config/config.json", "removed by 156bfbb1fd, in no release"),
        read="what comes of it in a cluster",
        cases=("shipped_configuration", "no_configuration"),
        contracts=("shipped_configuration_is_replaced",),
    ),
    Statement(
        number=2,
        says="lets a run be created whatever MLflow does, and says PLUGIN_FAILED with a reason",
        level=MUST,
        held=PARTLY,
        observed="the run is created; of a refused host and of missing workspaces the reason is lost",
        sources=("apiserver/plugins/mlflow/dispatcher.go, OnBeforeRunCreation", "common/plugins/mlflow/client.go, do"),
        cases=(
            "host_of_a_service",
            "workspaces_by_default_server_without",
            "connection_refused",
            "name_does_not_resolve",
            "no_answer",
            "configuration_no_endpoint",
            "configuration_endpoint_without_scheme",
            "configuration_timeout_without_unit",
            "configuration_timeout_of_zero",
            "configuration_unknown_auth",
            "configuration_bearer_without_secret",
            "configuration_secret_with_name",
            "remedies",
            "remedy_without_workspaces",
        ),
        contracts=(
            "configuration_is_accepted",
            "server_admits_the_host",
            "server_has_the_workspaces",
            "server_answers_the_plugin",
        ),
    ),
    Statement(
        number=3,
        says="holds up the creation of a run for its timeout at most",
        level=MUST,
        held=HELD,
        observed="most of it passes (20 to 28 s of 30 s), all of it if MLflow does not answer; 60 s as shipped",
        sources=("apiserver/plugins/mlflow/dispatcher.go, resolvedMLflowTimeout",),
        read="60 s",
        cases=("connection_refused_timeout_5s", "workspaces_timeout_10s", "connection_refused", "no_answer"),
        contracts=("outage_holds_up_no_run",),
    ),
    Statement(
        number=4,
        says="refuses an invalid `plugins_input.mlflow` before anything is made",
        level=MUST,
        held=HELD,
        observed="a 400 that names the schema",
        sources=("apiserver/plugins/mlflow/config.go, ResolveMLflowPluginInput",),
        cases=("input_unknown_field", "input_no_object", "input_no_json"),
    ),
    Statement(
        number=5,
        says="does nothing for a run with `disabled`",
        level=MUST,
        held=HELD,
        observed="no request, no variable, no output",
        sources=("apiserver/plugins/mlflow/dispatcher.go",),
        cases=("disabled",),
    ),
    Statement(
        number=6,
        says="takes experiment_id before experiment_name, before defaultExperimentName, before `KFP-Default`",
        level=MUST,
        held=HELD,
        observed="it does; an unknown id is PLUGIN_FAILED",
        sources=("apiserver/plugins/mlflow/config.go, SelectMLflowExperiment",),
        cases=("experiment_that_is_chosen", "experiment_that_does_not_exist"),
    ),
    Statement(
        number=7,
        says="makes one experiment of several first runs at once",
        level=MUST,
        held=HELD,
        observed="eight at once end in one experiment",
        sources=("apiserver/plugins/mlflow/run_start.go, CreateExperiment",),
        cases=("eight_first_runs_at_once",),
    ),
    Statement(
        number=8,
        says="says that an experiment is deleted",
        level=MUST,
        held=PARTLY,
        observed="it ignores the lifecycle stage; MLflow refuses each run, and the message has MLflow's reason",
        sources=("apiserver/plugins/mlflow/run_start.go, EnsureExperimentExists",),
        cases=("deleted_experiment",),
        contracts=("default_experiment_is_active",),
    ),
    Statement(
        number=9,
        says="names the parent run as KFP's run, with its run, its page, its pipeline and version as tags",
        level=MUST,
        held=HELD,
        observed="without kfpBaseURL the tag of the page is empty",
        sources=("apiserver/plugins/mlflow/run_start.go, BuildKFPTags",),
        cases=("parent_run", "parent_run_without_base_url"),
    ),
    Statement(
        number=10,
        says="makes a nested run for each task, in loops below the loop's",
        level=MUST,
        held=HELD,
        observed="each has its parent in `mlflow.parentRunId`",
        sources=("v2/driver/dag.go", "v2/driver/container.go", "v2/common/plugins/mlflow/handler.go, OnTaskStart"),
        read="which tasks get one",
        cases=("nested_runs",),
    ),
    Statement(
        number=11,
        says="lets a task run if MLflow is away as it starts",
        level=MUST,
        held=BROKEN,
        observed="with injectUserEnvVars the variables are an error, which the driver returns: the task fails",
        sources=(
            "v2/common/plugins/mlflow/handler.go, RetrieveUserContainerEnvVars",
            "v2/driver/container.go",
            "mended by 93d56b5044, in no release",
        ),
        read="that the driver fails the task",
        cases=("away_at_the_start_of_a_task", "away_without_injected_variables"),
        contracts=("outage_fails_no_task",),
    ),
    Statement(
        number=12,
        says="lets a task's result stand if MLflow is away as it ends, and closes its run later",
        level=MUST,
        held=PARTLY,
        observed="the run is closed at the end of the pipeline's; what the task should have logged is lost",
        sources=("v2/component/launcher_v2.go", "apiserver/plugins/mlflow/run_start.go, syncNestedRuns"),
        read="the launcher",
        cases=("away_at_the_end_of_a_task", "reported_again"),
        contracts=("tasks_end_with_their_parent",),
    ),
    Statement(
        number=13,
        says="records a task that the cache answers: FINISHED, with the parameters and metrics of the execution",
        level=MUST,
        held=HELD,
        observed="it does; metrics have no time (1970) and step 0",
        sources=("v2/driver/container.go, CACHED", "v2/common/plugins/mlflow/handler.go, OnTaskEnd, mapToMetrics"),
        read="the driver",
        cases=("cached_task",),
    ),
    Statement(
        number=14,
        says="makes no run for a task whose condition is false",
        level=SHOULD,
        held=BROKEN,
        observed="OnTaskStart comes before the condition: a run that is closed with the parent's status",
        sources=("v2/driver/container.go",),
    ),
    Statement(
        number=15,
        says="ends the runs of a terminated run as KILLED",
        level=MUST,
        held=PARTLY,
        observed="those below a loop or a condition that is FINISHED stay RUNNING for ever",
        sources=("apiserver/plugins/mlflow/run_start.go, syncNestedRuns", "mended by 3afa7c8c61, in no release"),
        read="that it is the loop's driver that ends the loop's run early",
        cases=("terminated_run", "terminated_run_with_an_open_task"),
        contracts=("tasks_end_with_their_parent",),
    ),
    Statement(
        number=16,
        says="opens the same runs again when a run is retried",
        level=MUST,
        held=PARTLY,
        observed="RUNNING again with the same ids and no second parent; their end stays, so that they are RUNNING and ended",
        sources=(
            "apiserver/plugins/mlflow/run_start.go, RunSyncModeRetry",
            "apiserver/resource/resource_manager.go, RetryRun",
        ),
        read="when RetryRun calls it",
        cases=("retried_run",),
        contracts=("pipeline_run_has_one_parent",),
    ),
    Statement(
        number=17,
        says="ends a failed run as FAILED, which is no failure of the plugin",
        level=MUST,
        held=HELD,
        observed="parent and open tasks are FAILED, the plugin is PLUGIN_SUCCEEDED",
        sources=("apiserver/plugins/mlflow/config.go, ToMLflowTerminalStatus",),
        cases=("failed_run",),
    ),
    Statement(
        number=18,
        says="reports the end again after an outage, and gives up where that cannot help",
        level=MUST,
        held=PARTLY,
        observed="after an outage the next report closes all; a deleted run asks for another report each time, for ever",
        sources=(
            "apiserver/plugins/mlflow/handler.go, syncMLflowRuns",
            "apiserver/resource/resource_manager.go, ReportWorkflowResource",
        ),
        read="when the report is repeated",
        cases=("away_at_the_end_of_a_run", "reported_again", "deleted_run_at_the_end"),
    ),
    Statement(
        number=19,
        says="leaves no run behind if the answer to its creation is lost",
        level=MUST,
        held=BROKEN,
        observed="it is sent once: PLUGIN_FAILED, and a run in MLflow that is RUNNING for ever",
        sources=("common/plugins/mlflow/client.go, noRetryPaths", "mended by d8e3c35dcc, in no release"),
        cases=("lost_answer_of_runs_create",),
    ),
    Statement(
        number=20,
        says="closes the parent run if the workflow cannot be made after it",
        level=MUST,
        held=HELD,
        observed="a deferred OnRunEnd, with the state that KFP's run then has",
        sources=("apiserver/resource/resource_manager.go, runPersisted",),
    ),
    Statement(
        number=21,
        says="logs the rest if MLflow refuses one parameter or metric",
        level=MUST,
        held=BROKEN,
        observed="one batch: over 100 parameters, a metric's name with brackets or NaN lose all of the task's; a long parameter is kept",
        sources=("v2/common/plugins/mlflow/handler.go, OnTaskEnd",),
        cases=(
            "100_parameters",
            "101_parameters",
            "metric_name_with_parentheses",
            "metric_that_is_no_number",
            "long_parameter",
        ),
    ),
    Statement(
        number=22,
        says="keeps KFP_MLFLOW_CONFIG from the step's code",
        level=MUST,
        held=BROKEN,
        observed="driver and launcher have it, and nothing takes it out before the launcher starts the step's code",
        sources=(
            "proposals/12862-mlflow-integration/README.md",
            "v2/component/launcher_v2.go",
            "apiserver/plugins/mlflow/config.go, InjectMLflowRuntimeEnv",
        ),
        read="that the step's code inherits it",
        cases=("variables_of_the_workflow",),
    ),
    Statement(
        number=23,
        says="hands on secrets by reference only",
        level=MUST,
        held=HELD,
        observed="a secretKeyRef on kfp-mlflow-credentials; the configuration has names of keys",
        sources=("common/plugins/mlflow/config.go, BuildCredentialEnvVars",),
        cases=("secret_of_a_token",),
        contracts=("configuration_is_accepted", "credentials_are_encrypted"),
    ),
    Statement(
        number=24,
        says="writes beside what the step's code logs",
        level=SHOULD,
        held=BROKEN,
        observed="with injectUserEnvVars both write to one run: a parameter of both with other texts loses the plugin's batch",
        sources=("v2/common/plugins/mlflow/handler.go, RetrieveUserContainerEnvVars, OnTaskEnd",),
        cases=("user_code_in_the_plugins_run",),
        contracts=("user_code_has_its_own_run",),
    ),
    Statement(
        number=25,
        says="ties model artifacts to MLflow",
        level=SHOULD,
        held=BROKEN,
        observed="a non-goal: `runs:/` and `models:/` stay what steps make of them (`pipeline_backend.passed_artifacts_are_fetchable`)",
        sources=("proposals/12862-mlflow-integration/README.md",),
    ),
    Statement(
        number=26,
        says="is trusted alike by API server, driver and launcher",
        level=SHOULD,
        held=BROKEN,
        observed="caBundlePath is not handed on: the parent run is recorded, its tasks are not",
        sources=("apiserver/plugins/mlflow/handler.go, OnBeforeRunCreation", "v2/common/plugins/mlflow/config.go"),
        read="that no other file is trusted",
        cases=("certificate_in_the_runtime_configuration",),
        contracts=("certificate_reaches_the_tasks",),
    ),
)


if __name__ == "__main__":
    print(table())
