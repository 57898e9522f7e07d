"""Examples of the contracts over KFP's MLflow plugin as a platform configures it, which need nothing but what a stack declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from contract_examples.registry import failing, inconclusive, passing
from contract_examples.static import contract, stack

from trivet.contracts._mlflow_plugin import SHIPPED
from trivet.engine.registry import Registry
from trivet.model.finding import Finding
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack

SOUND: Mapping[str, Any] = {
    "endpoint": "http://mlflow.mlflow.svc.cluster.local:5000",
    "timeout": "10s",
    "settings": {"authType": "none"},
}
HOST = "mlflow.mlflow.svc.cluster.local:5000"
ALLOWED = {"MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST},127.0.0.1:*,localhost:*"}


def server(environment: Mapping[str, str] | None = None, version: str = "3.17.2") -> Stack:
    """The stack ``current`` with another environment or version of MLflow's server."""
    whole = stack("current")
    role = whole.roles["tracking"]
    changed = replace(role, environment=environment or {}, pins={**role.pins, "mlflow": version})
    return replace(whole, roles={**whole.roles, "tracking": changed})


def platform(plugins: Mapping[str, Any] | None, backend: str = "2.17.0") -> PlatformConfig:
    """The platform with this release of KFP's backend and these plugins at its API server."""
    return PlatformConfig(kfp_backend=backend, kfp_plugins=plugins)


def judged(identifier: str, described: PlatformConfig, on: Stack | None = None) -> list[Finding]:
    """The findings of a contract that reads what is declared."""
    found = contract(f"mlflow_plugin.{identifier}")
    given = {"stack": on or server(ALLOWED), "platform": described}
    return list(found.check(**{name: given[name] for name in found.wants}))


def plugin(identifier: str, on: Stack | None = None, backend: str = "2.17.0", **changes: Any) -> list[Finding]:
    """The findings with a sound configuration of the plugin, changed; ``settings`` and ``tls`` replace the whole table."""
    return judged(identifier, platform({"mlflow": {**SOUND, **changes}}, backend), on)


# whether there is a plugin


DECLARED = [
    identifier.partition(".")[2]
    for identifier, one in Registry().contracts.items()
    if identifier.startswith("mlflow_plugin.") and one.declared
]


@pytest.mark.parametrize("identifier", DECLARED)
def test_a_backend_without_the_plugin_is_not_judged(identifier: str) -> None:
    for described, because in (
        (platform(None, ""), "the release of KFP's backend is not known"),
        (platform(None, "2.16.1"), "KFP 2.16.1 has no plugin for MLflow; 2.17.0 is the first that has"),
    ):
        (found,) = judged(identifier, described)
        assert found.outcome == "SKIPPED", found
        assert because in found.message


@pytest.mark.parametrize("identifier", DECLARED[1:])
def test_a_plugin_that_is_off_or_not_stated_is_judged_by_one_contract_only(identifier: str) -> None:
    for plugins, because in (({}, "the plugin is off"), (None, "shipped_configuration_is_replaced")):
        (found,) = judged(identifier, platform(plugins))
        assert found.outcome == "SKIPPED", found
        assert because in found.message


@pytest.mark.parametrize("identifier", DECLARED)
def test_a_backend_of_another_release_than_is_stated_is_not_judged(identifier: str) -> None:
    described = replace(platform({"mlflow": SOUND}, "2.0.5"), kfp_stated="2.17.0")
    (found,) = judged(identifier, described)
    assert found.outcome == "INCONCLUSIVE", found
    assert "the stack says that KFP's backend is 2.17.0, and its API server says 2.0.5" in found.message


@pytest.mark.parametrize("identifier", DECLARED[1:])
def test_settings_of_namespaces_are_not_known(identifier: str) -> None:
    (found,) = judged(identifier, replace(platform({"mlflow": SOUND}), kfp_multi_user=True))
    assert found.outcome == "INCONCLUSIVE", found


@pytest.mark.parametrize("endpoint", ["", "mlflow:5000"])
def test_a_configuration_that_is_refused_is_judged_once(endpoint: str) -> None:
    for identifier in ("server_admits_the_host", "server_has_the_workspaces", "credentials_are_encrypted"):
        (found,) = plugin(identifier, endpoint=endpoint)
        assert found.outcome == "SKIPPED", found
        assert "which mlflow_plugin.configuration_is_accepted judges" in found.message
    (found,) = judged("configuration_is_accepted", platform({"mlflow": {}}))
    assert "it has no endpoint" in found.message


# shipped_configuration_is_replaced


@failing("mlflow_plugin.shipped_configuration_is_replaced", because="has the plugin on as shipped, with the endpoint")
def test_a_plain_install() -> list[Finding]:
    return judged("shipped_configuration_is_replaced", platform(None))


@passing("mlflow_plugin.shipped_configuration_is_replaced", because="plugins.mlflow is the platform's")
def test_the_shipped_configuration_where_it_is_stated() -> list[Finding]:
    return judged("shipped_configuration_is_replaced", platform({"mlflow": SHIPPED}))


@passing("mlflow_plugin.shipped_configuration_is_replaced", because="plugins.mlflow is the platform's")
def test_a_configuration_of_the_platform() -> list[Finding]:
    return plugin("shipped_configuration_is_replaced")


@passing("mlflow_plugin.shipped_configuration_is_replaced", because="the plugin is off")
def test_a_configuration_without_the_plugin() -> list[Finding]:
    return judged("shipped_configuration_is_replaced", platform({}))


@inconclusive("mlflow_plugin.shipped_configuration_is_replaced", because="what KFP 2.18.0 ships")
def test_a_plain_install_of_a_later_release() -> list[Finding]:
    return judged("shipped_configuration_is_replaced", platform(None, "2.18.0"))


# configuration_is_accepted

BEARER = {"authType": "bearer", "credentialSecretRef": {"tokenKey": "token"}}
BASIC = {"authType": "basic-auth", "credentialSecretRef": {"usernameKey": "user", "passwordKey": "password"}}


@pytest.mark.parametrize(
    ("because", "changes"),
    [
        ("it has no endpoint", {"endpoint": ""}),
        ("the endpoint 'mlflow.mlflow.svc:5000' is no URL", {"endpoint": "mlflow.mlflow.svc:5000"}),
        ("the endpoint '//mlflow:5000' is no URL", {"endpoint": "//mlflow:5000"}),
        ("the endpoint 'http://[::1' is no URL", {"endpoint": "http://[::1"}),
        ("the endpoint 'htp://mlflow:5000' is no URL of HTTP", {"endpoint": "htp://mlflow:5000"}),
        ("the endpoint 'http://mlflow:port' is no URL", {"endpoint": "http://mlflow:port"}),
        ("the endpoint ' http://mlflow:5000' is no URL", {"endpoint": " http://mlflow:5000"}),
        ("the endpoint 'htp://mlflow' is no URL", {"endpoint": "htp://user:secret@mlflow"}),
        ("the timeout '30' is no duration of Go's", {"timeout": "30"}),
        ("the timeout '5 s' is no duration of Go's", {"timeout": "5 s"}),
        ("the timeout 0s is not above 0", {"timeout": "0s"}),
        ("the timeout -1m is not above 0", {"timeout": "-1m"}),
        ("authType 'token' is none of kubernetes, bearer, basic-auth, none", {"settings": {"authType": "token"}}),
        ("authType bearer needs credentialSecretRef.tokenKey", {"settings": {"authType": "bearer"}}),
        (
            "authType basic-auth needs credentialSecretRef.passwordKey",
            {"settings": {"authType": "basic-auth", "credentialSecretRef": {"usernameKey": "user"}}},
        ),
        (
            "credentialSecretRef.name cannot be set: the Secret is kfp-mlflow-credentials",
            {"settings": {"authType": "bearer", "credentialSecretRef": {"tokenKey": "token", "name": "own"}}},
        ),
    ],
)
def test_a_configuration_that_fails_every_run(because: str, changes: Mapping[str, Any]) -> None:
    found = plugin("configuration_is_accepted", **changes)
    assert [one.outcome for one in found] == ["FAILED"]
    assert because in found[0].message


@failing("mlflow_plugin.configuration_is_accepted", because="authType bearer needs credentialSecretRef.tokenKey")
def test_a_configuration_without_the_key_of_its_token() -> list[Finding]:
    return plugin("configuration_is_accepted", settings={"authType": "bearer"})


@passing("mlflow_plugin.configuration_is_accepted", because="a timeout of 30s and authType kubernetes")
def test_an_endpoint_alone() -> list[Finding]:
    return judged("configuration_is_accepted", platform({"mlflow": {"endpoint": "https://mlflow:5000/prefix"}}))


@pytest.mark.parametrize("settings", [BEARER, BASIC, {"authType": "none"}])
@pytest.mark.parametrize("timeout", ["1.5s", "1m30s", "500ms", "+2s", ".5s"])
def test_credentials_by_keys_of_the_secret(settings: Mapping[str, Any], timeout: str) -> None:
    (found,) = plugin("configuration_is_accepted", settings=settings, timeout=timeout)
    assert found.outcome == "PASSED", found


# server_admits_the_host


@failing(
    "mlflow_plugin.server_admits_the_host",
    because=f"the plugin of KFP 2.17.0 asks {HOST}, and MLflow 3.17.2 answers requests to its own machine and private addresses only",
)
def test_a_service_and_a_server_with_its_defaults() -> list[Finding]:
    found = plugin("server_admits_the_host", server())
    assert f"Set MLFLOW_SERVER_ALLOWED_HOSTS to {HOST},127.0.0.1:*,localhost:*" in found[0].remedy
    return found


@failing(
    "mlflow_plugin.server_admits_the_host",
    because="answers requests to mlflow.mlflow.svc.cluster.local, 127.0.0.1:* only",
)
def test_a_list_of_hosts_without_the_port() -> list[Finding]:
    environment = {"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.mlflow.svc.cluster.local, 127.0.0.1:*"}
    return plugin("server_admits_the_host", server(environment))


@failing("mlflow_plugin.server_admits_the_host", because="and MLflow 3.5.0 answers")
def test_the_first_server_that_checks_hosts() -> list[Finding]:
    return plugin("server_admits_the_host", server(version="3.5.0"))


@pytest.mark.parametrize(
    "endpoint", ["http://172.32.0.1:5000", "http://mlflow", "http://MLFLOW.mlflow.svc.cluster.local:5000"]
)
def test_other_hosts_are_refused(endpoint: str) -> None:
    (found,) = plugin("server_admits_the_host", server(ALLOWED if "MLFLOW" in endpoint else {}), endpoint=endpoint)
    assert found.outcome == "FAILED", found


@passing("mlflow_plugin.server_admits_the_host", because=f"MLflow 3.17.2 answers requests to {HOST}")
def test_a_list_with_host_and_port() -> list[Finding]:
    return plugin("server_admits_the_host")


@passing("mlflow_plugin.server_admits_the_host", because="MLflow 3.4.0 checks no hosts")
def test_a_server_before_the_check() -> list[Finding]:
    return plugin("server_admits_the_host", server(version="3.4.0"))


@pytest.mark.parametrize(
    "environment", [{"MLFLOW_SERVER_ALLOWED_HOSTS": "*"}, {"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true"}]
)
def test_a_server_that_answers_every_host(environment: Mapping[str, str]) -> None:
    (found,) = plugin("server_admits_the_host", server(environment))
    assert found.outcome == "PASSED", found


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.96.3.4:5000", "http://172.31.0.9", "http://user:secret@10.96.3.4:5000/mlflow", "http://[::1]:5000"],
)
def test_a_private_address_is_among_the_defaults(endpoint: str) -> None:
    (found,) = plugin("server_admits_the_host", server(), endpoint=endpoint)
    assert found.outcome == "PASSED", found
    assert "secret" not in found.message


# server_has_the_workspaces


@failing(
    "mlflow_plugin.server_has_the_workspaces",
    because="sends X-MLflow-Workspace, as authType kubernetes does by default, and MLflow 3.17.2 is started without workspaces",
)
def test_the_default_authentication_and_a_server_without_workspaces() -> list[Finding]:
    return plugin("server_has_the_workspaces", settings={})


@failing(
    "mlflow_plugin.server_has_the_workspaces", because="sends X-MLflow-Workspace, and MLflow 3.10.0 is started without"
)
def test_workspaces_that_were_asked_for() -> list[Finding]:
    settings = {"authType": "none", "workspacesEnabled": True}
    return plugin("server_has_the_workspaces", server(ALLOWED, "3.10.0"), settings=settings)


@passing("mlflow_plugin.server_has_the_workspaces", because="the plugin names no workspace")
def test_the_default_authentication_without_workspaces() -> list[Finding]:
    return plugin("server_has_the_workspaces", settings={"workspacesEnabled": False})


@passing("mlflow_plugin.server_has_the_workspaces", because="the plugin names no workspace")
def test_no_authentication() -> list[Finding]:
    return plugin("server_has_the_workspaces")


@passing("mlflow_plugin.server_has_the_workspaces", because="MLflow 3.17.2 has workspaces")
def test_a_server_with_workspaces() -> list[Finding]:
    return plugin("server_has_the_workspaces", server({"MLFLOW_ENABLE_WORKSPACES": "true"}), settings={})


@passing("mlflow_plugin.server_has_the_workspaces", because="MLflow 3.9.0 knows no workspaces")
def test_a_server_that_ignores_the_header() -> list[Finding]:
    return plugin("server_has_the_workspaces", server(version="3.9.0"), settings={})


# outage_fails_no_task, user_code_has_its_own_run

INJECTED = {"authType": "none", "injectUserEnvVars": True}


@failing(
    "mlflow_plugin.outage_fails_no_task", because="the driver ends with `MLflow run ID is empty`, and the task fails"
)
def test_injected_variables_and_an_outage() -> list[Finding]:
    return plugin("outage_fails_no_task", settings=INJECTED)


@passing("mlflow_plugin.outage_fails_no_task", because="injectUserEnvVars is off")
def test_no_injected_variables_and_an_outage() -> list[Finding]:
    return plugin("outage_fails_no_task")


@inconclusive(
    "mlflow_plugin.outage_fails_no_task", because="whether KFP 2.18.0 fails tasks without MLflow is not known"
)
def test_injected_variables_of_a_later_release() -> list[Finding]:
    return plugin("outage_fails_no_task", backend="2.18.0", settings=INJECTED)


@failing(
    "mlflow_plugin.user_code_has_its_own_run",
    because="MLFLOW_RUN_ID makes the step's code write to the run of the plugin",
)
def test_injected_variables_and_the_steps_own_records() -> list[Finding]:
    return plugin("user_code_has_its_own_run", settings=INJECTED)


@passing("mlflow_plugin.user_code_has_its_own_run", because="has runs of its own")
def test_the_steps_own_records() -> list[Finding]:
    return plugin("user_code_has_its_own_run")


# outage_holds_up_no_run


@failing(
    "mlflow_plugin.outage_holds_up_no_run", because="the timeout is 30s: the creation of a run takes up to 30 s longer"
)
def test_the_default_timeout() -> list[Finding]:
    return judged("outage_holds_up_no_run", platform({"mlflow": {"endpoint": "http://mlflow:5000"}}))


@passing("mlflow_plugin.outage_holds_up_no_run", because="the timeout is 10s")
def test_a_short_timeout() -> list[Finding]:
    return plugin("outage_holds_up_no_run")


@inconclusive("mlflow_plugin.outage_holds_up_no_run", because="'soon' is no duration")
def test_no_timeout() -> list[Finding]:
    return plugin("outage_holds_up_no_run", timeout="soon")


# credentials_are_encrypted, certificate_reaches_the_tasks


@failing(
    "mlflow_plugin.credentials_are_encrypted",
    because="authType kubernetes sends the tokens of service accounts to http://",
)
def test_tokens_over_http() -> list[Finding]:
    return plugin("credentials_are_encrypted", settings={})


@failing("mlflow_plugin.credentials_are_encrypted", because="authType basic-auth sends its credentials to http://")
def test_a_password_over_http() -> list[Finding]:
    return plugin("credentials_are_encrypted", settings=BASIC)


def test_no_message_has_the_password_of_the_endpoint() -> None:
    for identifier in DECLARED:
        for endpoint in ("http://user:secret@mlflow:5000", "htp://user:secret@mlflow:5000"):
            for found in plugin(identifier, server(), endpoint=endpoint, settings={}):
                assert "secret" not in f"{found.message}{found.remedy}"


@failing("mlflow_plugin.credentials_are_encrypted", because="insecureSkipVerify is on")
def test_tokens_to_whoever_answers() -> list[Finding]:
    tls = {"insecureSkipVerify": True}
    return plugin("credentials_are_encrypted", endpoint="https://mlflow:5000", settings={}, tls=tls)


@passing("mlflow_plugin.credentials_are_encrypted", because="over TLS")
def test_tokens_over_tls() -> list[Finding]:
    return plugin("credentials_are_encrypted", endpoint="https://mlflow:5000", settings={})


@passing("mlflow_plugin.credentials_are_encrypted", because="the plugin sends no credentials")
def test_no_credentials() -> list[Finding]:
    return plugin("credentials_are_encrypted")


@failing("mlflow_plugin.certificate_reaches_the_tasks", because="caBundlePath /etc/ca.crt is the API server's alone")
def test_an_authority_of_the_platforms_own() -> list[Finding]:
    return plugin("certificate_reaches_the_tasks", endpoint="https://mlflow:5000", tls={"caBundlePath": "/etc/ca.crt"})


@passing("mlflow_plugin.certificate_reaches_the_tasks", because="they verify no certificate")
def test_nobody_verifies() -> list[Finding]:
    tls = {"caBundlePath": "/etc/ca.crt", "insecureSkipVerify": True}
    return plugin("certificate_reaches_the_tasks", endpoint="https://mlflow:5000", tls=tls)


@passing("mlflow_plugin.certificate_reaches_the_tasks", because="is verified by what the images trust")
def test_a_public_authority() -> list[Finding]:
    return plugin("certificate_reaches_the_tasks", endpoint="https://mlflow:5000")


@passing("mlflow_plugin.certificate_reaches_the_tasks", because="the endpoint is not https")
def test_no_certificate() -> list[Finding]:
    return plugin("certificate_reaches_the_tasks")
