"""The manifests in which a cluster runs the judge, and the permissions that it has there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import call, refused

from trivet.operations.manifests import FINAL_EXIT_CODES, RENDERERS
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.operations.monitor.scrape import service_monitor
from trivet.operations.rbac import canary_rbac

URL = "http://prometheus.monitoring:9090"


def rendered(*arguments: str) -> dict[str, Any]:
    result = call(
        *("canary", "render", "rec", "-n", "ml", "--image", "registry.example/trivet:1", "--prometheus", URL),
        *arguments,
    )
    assert result.code == 0, result
    found: dict[str, Any] = yaml.safe_load(result.out)
    return found


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    found: dict[str, Any] = spec.get("jobTemplate", document)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("kind", ["cronjob", "job"])
def test_a_job_runs_the_judge_and_tries_again_only_what_may_come_out_otherwise(kind: str) -> None:
    document = rendered("--as", kind, "--mlflow", "http://mlflow:5000", "--limit", "max_error_rate=0.03")
    job = document["spec"]["jobTemplate"]["spec"] if kind == "cronjob" else document["spec"]
    (container,) = pod_of(document)["containers"]

    assert [*container["command"], *container["args"]][:6] == ["trivet", "canary", "judge", "rec", "--namespace", "ml"]
    assert container["args"][-2:] == ["--limit", "max_error_rate=0.03"]
    assert "--mlflow" in container["args"]
    assert job["podFailurePolicy"]["rules"][1] == {
        "action": "FailJob",
        "onExitCodes": {"containerName": container["name"], "operator": "In", "values": [1, 3]},
    }
    # What a Job needs for a policy of failures (kubernetes.io/docs/concepts/workloads/controllers/job, Pod failure policy).
    assert pod_of(document)["restartPolicy"] == "Never"
    assert pod_of(document)["serviceAccountName"] == "trivet-canary-rec"


def test_a_cronjob_never_runs_twice_at_once_and_looks_every_five_minutes() -> None:
    document = rendered("--as", "cronjob")
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
    assert document["spec"]["schedule"] == "*/5 * * * *"
    assert rendered("--as", "cronjob", "--schedule", "0 * * * *")["spec"]["schedule"] == "0 * * * *"


def test_an_argo_template_hands_decision_and_report_to_the_next_step() -> None:
    (template,) = rendered("--as", "argo")["spec"]["templates"]
    paths = {one["name"]: one["valueFrom"]["path"] for one in template["outputs"]["parameters"]}
    arguments = template["container"]["args"]
    assert arguments[arguments.index("--decision-file") + 1] == paths["decision"]
    assert arguments[arguments.index("--output") + 1] == paths["report"]
    # As a step by templateRef, a workflow runs with its own ServiceAccount but for what the template itself names.
    assert template["serviceAccountName"] == "trivet-canary-rec"
    for code in FINAL_EXIT_CODES:
        assert f"asInt(lastRetry.exitCode) != {code}" in template["retryStrategy"]["expression"]


@pytest.mark.parametrize("kind", RENDERERS)
def test_what_a_manifest_calls_is_a_command_line_that_trivet_has(kind: str) -> None:
    document = rendered(
        *("--as", kind, "--decide-only", "--stages", "--source", "istio", "--limit", "max_error_rate=0.03"),
        *("--prometheus-token-file", "/var/run/secrets/kubernetes.io/serviceaccount/token", "--mlflow", "http://m"),
    )
    container = document["spec"]["templates"][0]["container"] if kind == "argo" else pod_of(document)["containers"][0]
    result = call(*container["args"], "--help")
    assert result.code == 0, result
    assert "unknown option" in call(*container["args"], "--nonsense", "--help").err


@pytest.mark.parametrize("kind", RENDERERS)
def test_a_container_may_write_nowhere_but_below_tmp_and_is_not_root(kind: str) -> None:
    document = rendered("--as", kind)
    container = document["spec"]["templates"][0]["container"] if kind == "argo" else pod_of(document)["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["runAsNonRoot"] is True
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--as cron", "unknown manifest 'cron'\n  remedy: did you mean 'cronjob'? choose one of: argo, cronjob, job"),
        ("--as job --schedule *", "a schedule is of a CronJob"),
        ("--as job --limit max_error=1", "unknown limit 'max_error'\n  remedy: did you mean 'max_error_rate'?"),
        ("--as job --limit max_error_rate", "'max_error_rate' has no value\n  remedy: write max_error_rate=NUMBER"),
        ("--as job --limit max_error_rate=7", "the limit max_error_rate is 7"),
        ("--as job --interval 0", "interval is 0.0"),
    ],
)
def test_what_the_judge_would_refuse_is_refused_when_it_is_rendered(arguments: str, words: str) -> None:
    base = ("canary", "render", "rec", "--image", "i", "--prometheus", URL)
    assert words in refused(*base, *arguments.split())


def test_a_cronjob_whose_name_is_too_long_is_refused_when_it_is_rendered() -> None:
    base = ("canary", "render", "--image", "i", "--prometheus", URL)
    assert "has a name of 53 characters, and Kubernetes accepts 52" in refused(*base, "r" * 39, "--as", "cronjob")
    assert call(*base, "r" * 38, "--as", "cronjob").code == 0
    assert call(*base, "r" * 39, "--as", "job").code == 0


def test_permissions_are_of_one_service_wherever_rbac_can_name_it() -> None:
    account, role, binding = canary_rbac("rec", "ml")
    assert account["metadata"] == {"name": "trivet-canary-rec", "namespace": "ml"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    for rule in role["rules"]:
        if rule["resources"][0] in ("inferenceservices", "leases") and rule["verbs"] != ["create"]:
            assert len(rule["resourceNames"]) == 1
    assert "*" not in str(role)


def test_a_judge_may_not_create_services_and_a_deployment_may() -> None:
    def creates(deploying: bool) -> list[str]:
        _, role, _ = canary_rbac("rec", "ml", deploying=deploying)
        return [resource for rule in role["rules"] if "create" in rule["verbs"] for resource in rule["resources"]]

    assert creates(False) == ["leases"]
    assert creates(True) == ["inferenceservices", "leases"]


def test_the_command_prints_what_kubectl_can_apply() -> None:
    result = call("canary", "rbac", "rec", "-n", "ml", "--deploy")
    documents = list(yaml.safe_load_all(result.out))
    assert [document["kind"] for document in documents] == ["ServiceAccount", "Role", "RoleBinding"]
    assert documents == canary_rbac("rec", "ml", deploying=True)


EXPORT = ("monitor", "export", "--mlflow", "http://mlflow:5000", "--manifest", "trivet:1")


def exporter(*options: str) -> dict[str, Any]:
    """The documents of the exporter's manifest, by kind."""
    result = call(*EXPORT, *options)
    assert result.code == 0, result
    return {document["kind"]: document for document in yaml.safe_load_all(result.out)}


def test_the_exporter_is_the_service_that_the_rendered_monitoring_scrapes() -> None:
    documents = exporter()
    host, _, port = MonitoredPlatform(stack="s", metrics_port=1, metrics_path="/").exporter.partition(":")
    assert documents["Service"]["metadata"]["name"] == host.partition(".")[0]
    (served,) = documents["Service"]["spec"]["ports"]
    assert str(served["port"]) == port
    selected = service_monitor()["spec"]
    assert selected["selector"]["matchLabels"].items() <= documents["Service"]["metadata"]["labels"].items()
    assert [one["port"] for one in selected["endpoints"]] == [served["name"]]
    pod = documents["Deployment"]["spec"]["template"]
    assert documents["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert [f"{one['containerPort']}" for one in container["ports"]] == [port]


def test_the_exporter_is_called_as_it_was_tried() -> None:
    options = ("--kfp", "http://kfp", "--kfp-namespace", "a", "--kfp-namespace", "b", "--interval", "5", "--model", "m")
    (container,) = exporter(*options)["Deployment"]["spec"]["template"]["spec"]["containers"]
    arguments = container["args"]
    for option, values in (("--kfp-namespace", ["a", "b"]), ("--model", ["m"]), ("--mlflow", ["http://mlflow:5000"])):
        assert [value for name, value in pairwise(arguments) if name == option] == values
    assert "--manifest" not in arguments
    assert call(*arguments, "--help").code == 0


@pytest.mark.parametrize(("options", "mounted"), [((), False), (("--kfp", "http://kfp"), True)])
def test_only_an_exporter_that_reads_kfp_has_a_token(options: tuple[str, ...], mounted: bool) -> None:
    pod = exporter(*options)["Deployment"]["spec"]["template"]["spec"]
    tokens = [source for volume in pod["volumes"] for source in (volume.get("projected") or {}).get("sources", ())]
    assert [one["serviceAccountToken"]["audience"] for one in tokens] == ["pipelines.kubeflow.org"] * mounted
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("option", [("--once",), ("--listen", "0.0.0.0:1")])
def test_a_manifest_of_an_exporter_that_does_not_serve_is_refused(option: tuple[str, ...]) -> None:
    result = call(*EXPORT, *option)
    assert result.code == 3
    assert "omit --once and --listen" in result.err


def test_an_address_with_a_password_is_not_written_into_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hidden@mlflow:5000")
    result = call("monitor", "export", "--manifest", "trivet:1")
    assert result.code == 3
    assert "the address of --mlflow has a password" in result.err
    assert "hidden" not in result.err + result.out


@pytest.mark.parametrize("kind", RENDERERS)
def test_known_requests_are_mounted_from_a_config_map(kind: str) -> None:
    url = "http://{revision}.ml.svc.example"
    document = rendered("--as", kind, "--known-config-map", "rec-known", "--revision-url", url)
    pod = document["spec"]["templates"][0] if kind == "argo" else pod_of(document)
    container = pod["container"] if kind == "argo" else pod["containers"][0]
    file = Path(container["args"][container["args"].index("--known") + 1])
    (mount,) = (one for one in container["volumeMounts"] if one["mountPath"] == str(file.parent))
    (volume,) = (one for one in pod["volumes"] if one["name"] == mount["name"])
    assert (volume["configMap"], file.name, mount["readOnly"]) == ({"name": "rec-known"}, "known.json", True)
    assert container["args"][container["args"].index("--revision-url") + 1] == url
    assert call(*container["args"], "--help").code == 0


def test_an_address_of_revisions_without_known_requests_is_refused() -> None:
    arguments = ("canary", "render", "rec", "--image", "i", "--prometheus", URL, "--as", "job")
    error = refused(*arguments, "--revision-url", "http://{revision}")
    assert "there are none" in error
    assert "add --known-config-map NAME" in error
