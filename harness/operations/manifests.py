"""Manifests that run the judge of a service's canaries: a CronJob, a Job, an Argo WorkflowTemplate. It applies nothing.

Exit code 1 is a rollback and 3 wrong usage: neither is tried again. A killed pod and exit code 2 are; the next judge goes on where the last
one was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivet.errors import UsageError
from trivet.operations.pods import SCRATCH, container
from trivet.operations.rbac import account_name

SCHEDULE = "*/5 * * * *"
FINAL_EXIT_CODES = (1, 3)
LONGEST_CRONJOB = 52
"""Characters of a CronJob's name, to which Kubernetes appends 11 for each Job (kubernetes.io/docs/concepts/workloads/controllers/
cron-jobs)."""
RETRIES = 20
"""Pods that may be killed or give up while one canary is judged."""

CONTAINER = "judge"
REPORT, DECISION = "/tmp/report.json", "/tmp/decision"
"""The report, and the decision alone, in the container, whose file system is read-only elsewhere."""
KNOWN_FOLDER, KNOWN_FILE = "/etc/trivet/known", "known.json"
"""Where the known requests are in the container, and the key of a ConfigMap that has them."""


def judge_cronjob(
    service: str,
    namespace: str,
    *,
    image: str,
    arguments: Sequence[str],
    known_config_map: str = "",
    schedule: str = SCHEDULE,
) -> dict[str, Any]:
    """A CronJob that judges each canary of the service, whoever deploys it: it looks whenever ``schedule`` says, and a run ends with the
    decision. ``arguments`` are those of ``trivet canary judge`` after the name of the service; the ConfigMap ``known_config_map``, where
    there is one, has the known requests in KNOWN_FILE.

    Raises UsageError for a service whose CronJob would have a name that Kubernetes refuses.
    """
    if len(account_name(service)) > LONGEST_CRONJOB:
        raise UsageError(
            f"the CronJob {account_name(service)} has a name of {len(account_name(service))} characters, and Kubernetes accepts "
            f"{LONGEST_CRONJOB}",
            remedy=f"use --as job after each deployment, or a service of at most {LONGEST_CRONJOB - len(account_name(''))} characters",
        )
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(service, namespace),
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": _job(service, namespace, image, arguments, known_config_map)},
        },
    }


def judge_job(
    service: str, namespace: str, *, image: str, arguments: Sequence[str], known_config_map: str = ""
) -> dict[str, Any]:
    """A Job that judges the canary that the service has now; arguments as for :func:`judge_cronjob`."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{account_name(service)}-", "namespace": namespace},
        "spec": _job(service, namespace, image, arguments, known_config_map),
    }


def judge_argo_template(
    service: str, namespace: str, *, image: str, arguments: Sequence[str], known_config_map: str = ""
) -> dict[str, Any]:
    """An Argo WorkflowTemplate whose template ``judge-canary`` is a step for workflows; its output parameters are ``decision``
    and ``report``, the JSON of the whole report. The ServiceAccount is the template's: a step of another workflow does not run with that of
    the WorkflowTemplate. Sources: argo-workflows docs/retries.md (``lastRetry.exitCode`` is a text, -1 without one), docs/fields.md
    (WorkflowTemplate, Template, ValueFrom) and docs/workflow-rbac.md."""
    written = ("--output", REPORT, "--decision-file", DECISION)
    judge, volumes = _container(service, namespace, image, [*arguments, *written], known_config_map)
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": _metadata(service, namespace),
        "spec": {
            "templates": [
                {
                    "name": "judge-canary",
                    "serviceAccountName": account_name(service),
                    "retryStrategy": {
                        "limit": str(RETRIES),
                        "retryPolicy": "Always",
                        "expression": " && ".join(f"asInt(lastRetry.exitCode) != {code}" for code in FINAL_EXIT_CODES),
                    },
                    "container": {key: value for key, value in judge.items() if key != "name"},
                    "volumes": volumes,
                    "outputs": {
                        "parameters": [
                            {"name": name, "valueFrom": {"path": path, "default": ""}}
                            for name, path in (("decision", DECISION), ("report", REPORT))
                        ]
                    },
                }
            ],
        },
    }


RENDERERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "cronjob": judge_cronjob,
    "job": judge_job,
    "argo": judge_argo_template,
}
"""What ``trivet canary render --as`` can write."""


def _metadata(service: str, namespace: str) -> dict[str, Any]:
    return {"name": account_name(service), "namespace": namespace}


def _job(service: str, namespace: str, image: str, arguments: Sequence[str], known_config_map: str) -> dict[str, Any]:
    judge, volumes = _container(service, namespace, image, arguments, known_config_map)
    return {
        "backoffLimit": RETRIES,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_EXIT_CODES)},
                },
            ]
        },
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": account_name(service),
                "containers": [judge],
                "volumes": volumes,
            }
        },
    }


def _container(
    service: str, namespace: str, image: str, arguments: Sequence[str], known_config_map: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The judge's container, and the volumes of its pod."""
    known = ["--known", f"{KNOWN_FOLDER}/{KNOWN_FILE}"] if known_config_map else []
    judge = container(CONTAINER, image, ["canary", "judge", service, "--namespace", namespace, *known, *arguments])
    volumes: list[dict[str, Any]] = [SCRATCH]
    if known_config_map:
        judge["volumeMounts"].append({"name": "known", "mountPath": KNOWN_FOLDER, "readOnly": True})
        volumes.append({"name": "known", "configMap": {"name": known_config_map}})
    return judge, volumes
