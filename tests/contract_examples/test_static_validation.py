"""Examples of the contracts over the rules of admission: for each rule a manifest that breaks it and one that keeps it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import findings, place, stack

from trivet.contracts.rules.companions import COMPANIONS
from trivet.contracts.rules.credentials import CREDENTIALS as CREDENTIAL_RULES
from trivet.contracts.rules.effects import EFFECTS
from trivet.contracts.rules.knative import DROPPED, REVISION
from trivet.contracts.rules.kserve import KSERVE
from trivet.contracts.rules.llm import LLM
from trivet.contracts.rules.pods import PODS
from trivet.contracts.rules.podspec import POD_FIELDS
from trivet.contracts.rules.rule import Rules
from trivet.model.finding import Finding
from trivet.model.platform_config import PlatformConfig


class Row(NamedTuple):
    """A rule, what is laid over a sound object to break it, what the message says then, and what is laid over it to keep the rule."""

    rule: str
    broken: Mapping[str, Any]
    because: str
    kept: Mapping[str, Any]
    mode: str = "Serverless"
    stack: str = "2024.11"
    base: str = "service"
    undecided: bool = False

    def laid(self, change: Any) -> str:
        """The row's base in its mode, with a change laid over it."""
        return laid(change, self.mode, self.base)


TABLE = yaml.load(Path(__file__).with_name("validation_rules.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
RULES: Mapping[str, tuple[Rules, ...]] = {
    "validation.kserve_admits_the_service": (KSERVE,),
    "validation.knative_admits_the_revision": (REVISION,),
    "validation.knative_keeps_the_fields": (DROPPED,),
    "validation.settings_have_effect": (EFFECTS,),
    "validation.kubernetes_admits_the_pods": (PODS, POD_FIELDS),
    "validation.companion_is_admitted": (COMPANIONS, LLM),
}


OF_OTHER_OBJECTS = {"keys_of_references", "runtime_keys"}
"""Rules about an object beside the judged one, whose examples stand below."""

UNDECIDED = "validation.platform_is_known"


def laid(change: Any, mode: str = "Serverless", base: str = "service") -> str:
    """A sound object in a deployment mode with a change laid over it; null removes a field."""
    document = yaml.load(TABLE["bases"][base].replace("MODE", mode), yaml.CSafeLoader)
    return str(yaml.dump(merged(document, change), Dumper=yaml.CSafeDumper, sort_keys=False))


def merged(base: Any, change: Any) -> Any:
    """A document with a change laid over it; null removes a field."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    whole = dict(base)
    for key, value in change.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = merged(whole.get(key), value)
    return whole


def broken(contract: str, row: Row) -> Callable[..., None]:
    """The failing example of a row, or the inconclusive one of the contract that says what depends on the platform."""
    judging = UNDECIDED if row.undecided else contract
    expects = inconclusive if row.undecided else failing
    return expects(judging, because=row.because)(lambda: findings(judging, row.laid(row.broken), row.stack))


def kept(contract: str, row: Row) -> Callable[..., None]:
    """The passing example of a row."""
    judging = UNDECIDED if row.undecided else contract
    return passing(judging)(lambda: findings(judging, row.laid(row.kept), row.stack))


ROWS = [
    (contract, Row(**fields), f"{contract.partition('.')[2]}-{fields['rule']}-{number}")
    for contract, rows in TABLE["rules"].items()
    for number, fields in enumerate(rows)
]
BROKEN = [pytest.param(contract, row, broken(contract, row), id=name) for contract, row, name in ROWS]
KEPT = [pytest.param(kept(contract, row), id=name) for contract, row, name in ROWS]


@pytest.mark.parametrize("older", ["2024.05", "2024.08"])
def test_what_kserve_0_14_refuses_older_versions_refuse_too(older: str) -> None:
    """Except by rules whose versions leave them out, such as those of deploymentStrategy (validateScalingKPACompExtension and
    createRawDeployment of 0.13).

    Of the functions that these rules were read from createKnativeService (0.13: responseStartTimeoutSeconds),
    GetContainerSpecForStorageUri (0.14: workloadType) and mountSecretCredential (0.14: HF_TOKEN) differ too, in what these rows do not say.
    """
    of_kserve = {
        rule.id: contract
        for contract, groups in RULES.items()
        for rules in groups
        for rule in rules.rules
        if rules.component == "kserve" and rule.applies(stack(older))
    }
    for contract, row, _ in ROWS:
        if of_kserve.get(row.rule) == contract and row.stack == "2024.11":
            broken(contract, row._replace(stack=older))()
            kept(contract, row._replace(stack=older))()


@pytest.mark.parametrize(("contract", "row", "example"), BROKEN)
def test_a_rule_that_is_broken(
    contract: str, row: Row, example: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    example()
    if row.undecided:
        return
    for rules in RULES[contract]:
        monkeypatch.setattr(rules, "rules", [rule for rule in rules.rules if rule.id != row.rule])
        monkeypatch.setattr(rules, "_chosen", {})
    found = findings(contract, row.laid(row.broken), row.stack)
    assert not any(row.because in finding.message for finding in found), f"another rule than {row.rule} says it"


@pytest.mark.parametrize("example", KEPT)
def test_a_rule_that_is_kept(example: Callable[..., None]) -> None:
    example()


ODD: tuple[Any, ...] = (None, 5, True, "x", [], {}, [5], [{}], {"a": None}, [{"name": ["x"]}], {5: "a"})


def places_in(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a document stand."""
    if keys:
        yield keys
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_in(item, (*keys, key))


@pytest.mark.parametrize("contract", RULES)
def test_values_of_other_types_stop_no_rule(contract: str) -> None:
    """They are the schema's to refuse; the rules run all the same."""
    odd = itertools.cycle(ODD)
    documents: list[Any] = []
    for fields in TABLE["rules"][contract]:
        row = Row(**fields)
        whole = yaml.load(row.laid(row.broken), yaml.CSafeLoader)
        for keys in places_in(row.broken):
            changed = copy.deepcopy(whole)
            holder = changed
            try:
                for key in keys[:-1]:
                    holder = holder[key]
                holder[keys[-1]] = next(odd)
            except (KeyError, TypeError):
                continue  # the row removes it
            documents.append(changed)
    kind = "InferenceService" if contract != "validation.companion_is_admitted" else ""
    text = yaml.dump_all(
        [one for one in documents if not kind or one.get("kind") == kind], Dumper=yaml.CSafeDumper, sort_keys=False
    )
    assert len(findings(contract, text)) > len(TABLE["rules"][contract])


@pytest.mark.parametrize("contract", RULES)
def test_every_rule_has_an_example(contract: str) -> None:
    ids = {rule.id for rules in RULES[contract] for rule in rules.rules}
    assert {row["rule"] for row in TABLE["rules"][contract]} == ids - OF_OTHER_OBJECTS


@pytest.mark.parametrize("contract", RULES)
def test_the_rules_of_a_contract_have_different_names(contract: str) -> None:
    names = [rule.id for rules in RULES[contract] for rule in rules.rules]
    assert len(names) == len(set(names))


@not_applicable(
    "validation.kserve_admits_the_service", because="ModelMesh deploys it by rules of its own", at="apiVersion: "
)
def test_the_service_of_modelmesh() -> list[Finding]:
    return findings("validation.kserve_admits_the_service", laid({}, "ModelMesh"))


@pytest.mark.parametrize(
    ("mode", "platform", "because"),
    [
        ("RawDeployment", None, "in Standard mode Knative is not used"),
        ("", PlatformConfig(), "the deployment mode is not known"),
    ],
)
@pytest.mark.parametrize("judging", ["validation.knative_admits_the_revision", "validation.knative_keeps_the_fields"])
def test_a_service_that_knative_does_not_deploy(
    judging: str, mode: str, platform: PlatformConfig | None, because: str
) -> None:
    @not_applicable(judging, because=because, at="apiVersion: ")
    def example() -> list[Finding]:
        return findings(judging, laid({}, mode), "2024.11", platform)

    example()


@not_applicable("validation.companion_is_admitted", because="the InferenceService itself")
def test_the_service_is_no_companion() -> list[Finding]:
    return findings("validation.companion_is_admitted", laid({}))


# platform_is_known

HTTP = {"spec": {"predictor": {"model": {"ports": [{"containerPort": 8080, "name": "http"}]}}}}
SELECTED = {"spec": {"predictor": {"nodeSelector": {"disk": "ssd"}}}}
FEATURES = """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-features, namespace: knative-serving}
data: {kubernetes.podspec-nodeselector: FLAG}
"""


@inconclusive(
    "validation.platform_is_known", because="in Knative mode the port name 'http' is rejected", at="name: http"
)
def test_a_port_where_the_mode_is_not_known() -> list[Finding]:
    return findings("validation.platform_is_known", laid(HTTP, ""), "2024.11", PlatformConfig())


@passing("validation.platform_is_known")
def test_a_security_context_that_secure_defaults_admit() -> list[Finding]:
    context = laid({"spec": {"predictor": {"securityContext": {"runAsNonRoot": True}}}})
    flags = FEATURES.replace("kubernetes.podspec-nodeselector: FLAG", "secure-pod-defaults: enabled")
    return findings("validation.platform_is_known", context + flags)


@passing("validation.kubernetes_admits_the_pods")
def test_a_prefix_that_kubernetes_admits_since_1_32() -> list[Finding]:
    changed = laid(model(envFrom=[{"prefix": "1-", "secretRef": {"name": "s"}}]))
    return findings("validation.kubernetes_admits_the_pods", changed, "current")


@inconclusive("validation.platform_is_known", because="the feature kubernetes.podspec-nodeselector", at="nodeSelector:")
def test_a_field_that_a_feature_admits() -> list[Finding]:
    return findings("validation.platform_is_known", laid(SELECTED))


@failing(
    "validation.platform_is_known",
    because="'kserve-mlservr' is neither of KServe 0.14.1 nor among the paths; did you mean",
)
def test_a_runtime_whose_name_is_nearly_that_of_another() -> list[Finding]:
    return findings("validation.platform_is_known", laid(model(runtime="kserve-mlservr")))


@inconclusive(
    "validation.platform_is_known", because="'own' is neither of KServe 0.14.1 nor among the paths", at="runtime: own"
)
def test_a_runtime_of_which_nothing_is_known() -> list[Finding]:
    return findings("validation.platform_is_known", laid(model(runtime="own")))


@failing(
    "validation.knative_admits_the_revision",
    because="without the feature kubernetes.podspec-nodeselector",
    at="nodeSelector:",
)
def test_a_field_of_a_feature_that_is_disabled() -> list[Finding]:
    text = laid(SELECTED) + FEATURES.replace("FLAG", "disabled")
    return findings("validation.knative_admits_the_revision", text)


@pytest.mark.parametrize("contract", ["knative_admits_the_revision", "platform_is_known"])
def test_a_field_of_a_feature_that_is_enabled(contract: str) -> None:
    @passing(f"validation.{contract}")
    def example() -> list[Finding]:
        return findings(f"validation.{contract}", laid(SELECTED) + FEATURES.replace("FLAG", "Enabled"))

    example()


@passing("validation.platform_is_known", because="nothing in it depends on what is not known", at="apiVersion: ")
def test_nothing_that_depends_on_the_platform() -> list[Finding]:
    return findings("validation.platform_is_known", laid({}, ""), "2024.11", PlatformConfig())


@passing("validation.platform_is_known")
def test_a_runtime_that_the_platform_has_by_name() -> list[Finding]:
    text = laid({"spec": {"predictor": {"model": {"runtime": "my-runtime"}}}})
    platform = PlatformConfig(default_deployment_mode="Serverless", runtimes=("my-runtime",))
    return findings("validation.platform_is_known", text, "2024.11", platform)


# canary_gets_traffic

CANARY = {"spec": {"canary": [{"predictor": {"name": "next"}, "trafficPercent": 10}]}}


@failing(
    "validation.canary_gets_traffic", because="KServe 0.20.0 deploys spec.canary and routes no traffic", at="canary:"
)
def test_a_canary_without_traffic() -> list[Finding]:
    return findings("validation.canary_gets_traffic", laid(CANARY, "Standard"), "current")


@not_applicable("validation.canary_gets_traffic", because="KServe rejects spec.canary in Knative mode", at="canary:")
def test_a_canary_that_is_rejected() -> list[Finding]:
    return findings("validation.canary_gets_traffic", laid(CANARY, "Knative"), "current")


@passing("validation.canary_gets_traffic", because="there is no spec.canary")
def test_no_canary() -> list[Finding]:
    return findings("validation.canary_gets_traffic", laid({}, "Standard"), "current")


# runtime_serves_the_model


@failing(
    "validation.runtime_serves_the_model", because="the platform has no runtime 'my-runtim'; did you mean my-runtime?"
)
def test_a_runtime_that_the_platform_does_not_have() -> list[Finding]:
    platform = PlatformConfig(default_deployment_mode="Serverless", runtimes=("my-runtime",))
    return findings("validation.runtime_serves_the_model", laid(model(runtime="my-runtim")), "2024.11", platform)


CLUSTER = PlatformConfig(default_deployment_mode="Serverless", runtimes_are_known=True)
"""A cluster that was asked, and has no runtimes."""


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({}, "no runtime declares the model format 'sklearn': the platform has no runtimes"),
        ({"runtime": "kserve-sklearnserver"}, "the platform has no runtime 'kserve-sklearnserver'"),
    ],
)
def test_a_cluster_without_the_runtimes_of_the_release(fields: dict[str, Any], because: str) -> None:
    @failing("validation.runtime_serves_the_model", because=because)
    def example() -> list[Finding]:
        return findings("validation.runtime_serves_the_model", laid(model(**fields)), "2024.11", CLUSTER)

    example()


def model(**fields: Any) -> dict[str, Any]:
    return {"spec": {"predictor": {"model": fields}}}


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"modelFormat": {"name": "sklern"}}, "no runtime declares the model format 'sklern'; did you mean sklearn?"),
        ({"modelFormat": None}, "has no modelFormat with a name, and no runtime serves a model without"),
        ({"modelFormat": {"name": "orange"}}, "declared are huggingface, lightgbm, mlflow"),
        (
            {"modelFormat": {"name": "sklearn", "version": "7"}},
            "no runtime declares sklearn 7; declared are the versions 0, 1",
        ),
        ({"protocolVersion": "grpc-v2"}, "no runtime for sklearn serves protocol grpc-v2"),
        (
            {"runtime": "kserve-xgbserver"},
            "the runtime kserve-xgbserver does not declare sklearn; it declares xgboost 1",
        ),
        (
            {"runtime": "kserve-sklearnserver", "protocolVersion": "grpc-v2"},
            "does not serve protocol grpc-v2, only v1, v2",
        ),
        ({"runtime": ""}, "spec.predictor.model.runtime is empty, and KServe looks for a runtime with that name"),
    ],
)
def test_a_model_without_a_runtime(fields: dict[str, Any], because: str) -> None:
    @failing("validation.runtime_serves_the_model", because=because)
    def example() -> list[Finding]:
        return findings("validation.runtime_serves_the_model", laid(model(**fields)))

    example()


@passing("validation.runtime_serves_the_model", because="kserve-tritonserver declares onnx")
def test_an_empty_protocol_which_every_runtime_serves() -> list[Finding]:
    asked = laid(model(modelFormat={"name": "onnx"}, protocolVersion=""))
    return findings("validation.runtime_serves_the_model", asked)


@failing("validation.runtime_serves_the_model", because="no runtime for onnx serves protocol v1; kserve-tritonserver")
def test_no_protocol_which_is_v1() -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(model(modelFormat={"name": "onnx"})))


XGBOOST_2: Mapping[str, Any] = {"modelFormat": {"name": "xgboost", "version": "2"}, "protocolVersion": "v2"}


@failing("validation.runtime_serves_the_model", because="no runtime declares xgboost 2; declared is the version 1")
def test_a_version_that_the_runtimes_of_kserve_0_13_do_not_declare() -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(model(**XGBOOST_2)), "2024.08")


@passing("validation.runtime_serves_the_model", because="kserve-mlserver declares xgboost 2 for v2")
def test_a_version_that_the_runtime_of_a_newer_kserve_declares_beside_an_older_one() -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(model(**XGBOOST_2)), "2024.08-fixed")


@pytest.mark.parametrize(
    "fields",
    [
        {"modelFormat": "{{ .Values.format }}"},
        {"modelFormat": {"name": "${FORMAT}"}},
        {"modelFormat": {"name": "sklearn", "version": "{{ version }}"}},
        {"protocolVersion": "$PROTOCOL"},
        {"runtime": "{{ .Values.runtime }}"},
    ],
)
@inconclusive("validation.runtime_serves_the_model", because="it has a placeholder, whose value is not in the file")
def test_a_model_of_which_something_is_filled_later(fields: dict[str, Any]) -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(model(**fields)))


SEVERAL_NODES = """\
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: own, namespace: shop}
spec:
  supportedModelFormats: [{name: catboost, autoSelect: true}]
  protocolVersions: [grpc-v2]
  containers: [{name: kserve-container, image: a}]
  workerSpec: {containers: [{name: worker-container, image: a}]}
"""


@failing(
    "validation.runtime_serves_the_model",
    because="own declares catboost only for several nodes, and the service has no workerSpec",
)
def test_a_runtime_for_several_nodes_and_a_service_of_one() -> list[Finding]:
    text = laid(model(modelFormat={"name": "catboost"})) + SEVERAL_NODES
    return findings("validation.runtime_serves_the_model", text, "current")


@failing(
    "validation.runtime_serves_the_model",
    because="own declares catboost only for a single node, and the service has workerSpec",
)
def test_a_runtime_for_one_node_and_a_service_of_several() -> list[Finding]:
    several = {"spec": {"predictor": {"workerSpec": {}, "model": {"modelFormat": {"name": "catboost"}}}}}
    return findings("validation.runtime_serves_the_model", laid(several, "Standard") + OWN, "current")


@passing("validation.runtime_serves_the_model", because="own declares catboost")
def test_kserve_0_14_takes_a_runtime_for_one_node_though_the_service_has_workers() -> list[Finding]:
    several = {"spec": {"predictor": {"workerSpec": {}, "model": {"modelFormat": {"name": "catboost"}}}}}
    return findings("validation.runtime_serves_the_model", laid(several, "RawDeployment") + OWN, "2024.11")


@failing("validation.runtime_serves_the_model", because="kserve-huggingfaceserver serves v1, v2")
def test_only_the_runtimes_for_the_service_s_nodes_are_offered() -> list[Finding]:
    asked = model(modelFormat={"name": "huggingface"}, protocolVersion="grpc-v2")
    found = findings("validation.runtime_serves_the_model", laid(asked), "current")
    assert "multinode" not in found[0].message
    return found


OWN = """\
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: own, namespace: shop}
spec:
  supportedModelFormats: [{name: catboost, autoSelect: true}]
  containers: [{name: kserve-container, image: a, resources: {limits: {memory: 1Gi}}}]
"""


@passing("validation.runtime_serves_the_model", because="own declares catboost")
def test_a_runtime_that_a_cluster_has() -> list[Finding]:
    asked = laid(model(modelFormat={"name": "catboost"})) + OWN
    return findings("validation.runtime_serves_the_model", asked, "2024.11", CLUSTER)


@passing("validation.runtime_serves_the_model", because="own declares catboost")
def test_a_format_of_a_runtime_among_the_paths() -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(model(modelFormat={"name": "catboost"})) + OWN)


@failing(
    "validation.runtime_serves_the_model", because="own declares catboost, and is disabled or serves several models"
)
def test_a_format_of_a_runtime_that_is_disabled() -> list[Finding]:
    text = laid(model(modelFormat={"name": "catboost"})) + OWN + "  disabled: true\n"
    return findings("validation.runtime_serves_the_model", text)


@failing("validation.runtime_serves_the_model", because="the runtime own is disabled", at="runtime: own")
def test_a_runtime_that_is_disabled() -> list[Finding]:
    text = laid(model(modelFormat={"name": "catboost"}, runtime="own")) + OWN + "  disabled: true\n"
    return findings("validation.runtime_serves_the_model", text)


@failing("validation.runtime_serves_the_model", because="own has it where the service names the runtime")
def test_a_format_that_is_not_selected_automatically() -> list[Finding]:
    text = laid(model(modelFormat={"name": "catboost"})) + OWN.replace(", autoSelect: true", "")
    return findings("validation.runtime_serves_the_model", text)


@failing("validation.kubernetes_admits_the_pods", because="over the limit of 1Gi of the runtime own")
def test_a_request_over_the_limit_of_a_runtime_among_the_paths() -> list[Finding]:
    fields = model(modelFormat={"name": "catboost"}, resources={"requests": {"memory": "2Gi"}})
    return findings("validation.kubernetes_admits_the_pods", laid(fields) + OWN)


@pytest.mark.parametrize(
    "change",
    [{}, {"spec": {"predictor": {"model": None, "onnx": {"storageUri": "s3://a/"}}}}, model(runtime="kserve-mlserver")],
)
@passing("validation.runtime_serves_the_model")
def test_a_model_with_a_runtime(change: Any) -> list[Finding]:
    return findings("validation.runtime_serves_the_model", laid(change))


@pytest.mark.parametrize(
    ("mode", "change"),
    [
        ("ModelMesh", {}),
        ("Serverless", {"spec": {"predictor": {"model": None, "containers": [{"name": "a", "image": "a"}]}}}),
        ("Serverless", model(modelFormat={"name": "mlflow"})),
        ("Serverless", model(runtime="of-ones-own")),
    ],
)
def test_a_model_whose_runtime_is_judged_elsewhere_or_unknown(mode: str, change: Any) -> None:
    @not_applicable("validation.runtime_serves_the_model", because="")
    def example() -> list[Finding]:
        return findings("validation.runtime_serves_the_model", laid(change, mode))

    example()


@not_applicable(
    "validation.runtime_serves_the_model", because="nothing is known of the runtime kserve-sklearnserver but its name"
)
def test_a_runtime_of_the_platform_s_own_that_has_the_name_of_one_of_kserve_s() -> list[Finding]:
    platform = PlatformConfig(default_deployment_mode="Serverless", runtimes=("kserve-sklearnserver",))
    changed = laid(model(runtime="kserve-sklearnserver", modelFormat={"name": "catboost"}))
    return findings("validation.runtime_serves_the_model", changed, "2024.11", platform)


@passing("validation.kubernetes_admits_the_pods")
def test_what_a_runtime_of_the_platform_s_own_states_is_not_what_kserve_s_of_its_name_does() -> list[Finding]:
    platform = PlatformConfig(default_deployment_mode="Serverless", runtimes=("kserve-sklearnserver",))
    changed = laid(model(runtime="kserve-sklearnserver", securityContext={"runAsUser": 0}))
    return findings("validation.kubernetes_admits_the_pods", changed, "2024.11", platform)


@not_applicable("validation.runtime_serves_the_model", because="a runtime of the platform's own may serve it")
def test_a_format_that_a_runtime_of_the_platform_may_serve() -> list[Finding]:
    platform = PlatformConfig(default_deployment_mode="Serverless", runtimes=("my-runtime",))
    return findings(
        "validation.runtime_serves_the_model", laid(model(modelFormat={"name": "catboost"})), "2024.11", platform
    )


# credentials_reach_the_initializer

ACCOUNT = """\
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: s3-reader, namespace: shop}
secrets: [{name: s3}]
"""
S3 = """\
---
apiVersion: v1
kind: Secret
metadata: {name: s3, namespace: shop, annotations: {serving.kserve.io/s3-endpoint: minio:9000}}
stringData: {AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b}
"""
STORAGE = """\
---
apiVersion: v1
kind: Secret
metadata: {name: storage-config, namespace: shop}
stringData: {minio: '{"type": "s3", "bucket": "models"}'}
"""
CREDENTIALS = "validation.credentials_reach_the_initializer"
NAMED = {"spec": {"predictor": {"serviceAccountName": "s3-reader"}}}


def by_key(key: str = "minio", **parameters: str) -> str:
    storage = {"key": key, "path": "iris", "parameters": parameters or None}
    return laid({"spec": {"predictor": {"model": {"storageUri": None, "storage": storage}}}})


NO_SECRETS = ACCOUNT.replace("secrets: [{name: s3}]", "")
OF_ANOTHER = ACCOUNT.replace("name: s3}]", "name: hf}]")
HF = S3.replace("name: s3,", "name: hf,").replace("AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY", "HF_TOKEN")
HALF = S3.replace("AWS_ACCESS_KEY_ID: a, ", "")
UNKNOWN = S3.replace("AWS_", "MINIO_")
NO_JSON = STORAGE.replace('{"type": "s3", "bucket": "models"}', "s3")
CREDENTIAL_ROWS = [
    ("secrets_of_the_service_account", laid(NAMED) + ACCOUNT + UNKNOWN, "which the ServiceAccount s3-reader lists, has none of the keys"),
    ("secrets_of_the_service_account", laid(NAMED) + NO_SECRETS + S3, "s3-reader lists no secrets, and not s3"),
    ("secrets_of_the_service_account", laid(NAMED) + OF_ANOTHER + S3 + HF, "s3-reader lists hf, and not s3"),
    ("secrets_of_the_service_account", laid(NAMED) + ACCOUNT + HALF, "has a secret key and no AWS_ACCESS_KEY_ID"),
    ("storage_key", by_key("mino") + STORAGE, "the Secret storage-config has no key 'mino'; it has minio"),
    ("storage_key", by_key() + NO_JSON, "minio of the Secret storage-config is no JSON object"),
    ("storage_key", by_key() + STORAGE.replace('"type": "s3", ', ""), "has no type, so that KServe cannot determine the storage type"),
    ("storage_key", by_key() + STORAGE.replace('"s3"', '"gcs"'), "is of type 'gcs'; KServe supports s3, hdfs, webhdfs"),
    ("storage_key", by_key() + STORAGE.replace(', "bucket": "models"', ""), "is of type s3 and names no bucket"),
]  # fmt: skip


def test_every_rule_of_credentials_has_an_example() -> None:
    undecided = {"service_account_is_named", "names_of_s3_keys"}  # each has an inconclusive example below
    assert {rule for rule, _, _ in CREDENTIAL_ROWS} | undecided == {rule.id for rule in CREDENTIAL_RULES.rules}


@pytest.mark.parametrize(("rule", "text", "because"), CREDENTIAL_ROWS)
def test_credentials_that_do_not_reach_the_initializer(
    rule: str, text: str, because: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @failing(CREDENTIALS, because=because)
    def example() -> list[Finding]:
        return findings(CREDENTIALS, text)

    example()
    monkeypatch.setattr(CREDENTIAL_RULES, "rules", [one for one in CREDENTIAL_RULES.rules if one.id != rule])
    monkeypatch.setattr(CREDENTIAL_RULES, "_chosen", {})
    assert not any(because in finding.message for finding in findings(CREDENTIALS, text)), (
        f"another rule than {rule} says it"
    )


@failing(CREDENTIALS, because="has none of the keys that KServe reads", at="serviceAccountName: s3-reader")
def test_a_secret_that_kserve_does_not_recognise() -> list[Finding]:
    return findings(CREDENTIALS, laid(NAMED) + ACCOUNT + S3.replace("AWS_", "MINIO_"))


@passing(CREDENTIALS, because="nothing among the paths shows that credentials are missing")
def test_credentials_of_which_nothing_is_known() -> list[Finding]:
    return findings(CREDENTIALS, laid(NAMED))


NAMING = "validation.companions_name_applied_objects"
GRAPH = """\
apiVersion: serving.kserve.io/v1alpha1
kind: InferenceGraph
metadata: {name: graph, namespace: shop}
spec: {nodes: {root: {routerType: Sequence, steps: [{serviceName: iris}]}}}
---
"""
TRAINED = """\
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata: {name: m, namespace: shop}
spec: {inferenceService: iris, model: {framework: sklearn, storageUri: "s3://a/", memory: 1Gi}}
---
"""


@failing(NAMING, because="no Secret 's3-secrt' is among the paths; did you mean s3-secret?", at="s3-secrt")
def test_an_account_that_lists_a_secret_of_nearly_the_name() -> list[Finding]:
    text = (ACCOUNT + S3.replace("name: s3,", "name: s3-secret,")).removeprefix("---\n")
    return findings(NAMING, text.replace("{name: s3}", "{name: s3-secrt}"))


@pytest.mark.parametrize(("applied", "listed"), [("s3creds-dev", "s3creds-prod"), ("dev-s3creds", "test-s3creds")])
@passing(NAMING)
def test_a_secret_of_another_stage_is_no_typing_error(applied: str, listed: str) -> list[Finding]:
    text = (ACCOUNT + S3.replace("name: s3,", f"name: {applied},")).removeprefix("---\n")
    return findings(NAMING, text.replace("{name: s3}", f"{{name: {listed}}}"))


@failing(NAMING, because="no Secret 's3creds-prd' is among the paths; did you mean s3creds-prod?")
def test_a_stage_that_is_misspelt() -> list[Finding]:
    text = (ACCOUNT + S3.replace("name: s3,", "name: s3creds-prod,")).removeprefix("---\n")
    return findings(NAMING, text.replace("{name: s3}", "{name: s3creds-prd}"))


@failing(NAMING, because="the InferenceService iris is applied in the namespace shop, and the InferenceGraph in other")
def test_a_graph_of_a_service_in_another_namespace() -> list[Finding]:
    return findings(NAMING, GRAPH.replace("namespace: shop", "namespace: other") + laid({}))


@pytest.mark.parametrize(
    "text", [GRAPH.replace("serviceName: iris", "serviceName: irs"), TRAINED.replace(": iris", ": irs")]
)
@failing(NAMING, because="no InferenceService 'irs' is among the paths; did you mean iris?", at="irs")
def test_a_service_of_nearly_the_name(text: str) -> list[Finding]:
    return findings(NAMING, text + laid({}))


@pytest.mark.parametrize(
    "text",
    [
        *(GRAPH, TRAINED, GRAPH.replace("serviceName: iris", "serviceName: fraud")),
        *(GRAPH.replace("serviceName: iris", "serviceName: iris-b"), TRAINED.replace(": iris", ": iris-2")),
        GRAPH.replace("[{serviceName: iris}]", "[{serviceName: iris}, {serviceName: iriss}]"),
    ],
)
@passing(NAMING)
def test_a_service_that_is_applied_or_of_which_nothing_is_known(text: str) -> list[Finding]:
    return findings(NAMING, text + laid({}))[:1]


@not_applicable(NAMING, because="another contract judges it")
def test_the_service_itself_names_by_another_contract() -> list[Finding]:
    return findings(NAMING, laid({}))


@pytest.mark.parametrize(
    "text",
    [
        laid(NAMED) + ACCOUNT + S3,
        laid(NAMED) + ACCOUNT,
        laid(NAMED) + ACCOUNT.replace("secrets: [{name: s3}]", "") ,
        laid(NAMED) + NO_SECRETS.replace("shop}", "shop, annotations: {eks.amazonaws.com/role-arn: a}}") + S3,
        by_key() + STORAGE,
        by_key(bucket="models") + STORAGE.replace(', "bucket": "models"', ""),
        by_key(type="s3", bucket="models") + STORAGE.replace(', "bucket": "models"', ""),
        laid(model(storage={"key": "minio"})) + STORAGE.replace(', "bucket": "models"', ""),
        by_key(),
    ],
)  # fmt: skip
@passing(CREDENTIALS)
def test_credentials_that_reach_the_initializer(text: str) -> list[Finding]:
    return findings(CREDENTIALS, text)


@not_applicable(CREDENTIALS, because="ModelMesh pulls models itself")
def test_credentials_in_modelmesh() -> list[Finding]:
    return findings(CREDENTIALS, laid(NAMED, "ModelMesh"))


@inconclusive(
    "validation.platform_is_known",
    because="so the ServiceAccount s3-reader with the credentials for s3://models/iris/ is not used",
)
def test_a_service_account_that_is_applied_and_not_named() -> list[Finding]:
    return findings("validation.platform_is_known", laid({}) + ACCOUNT + S3)


@inconclusive(
    "validation.platform_is_known",
    because="KServe's release reads AWS_SECRET_ACCESS_KEY: this depends on s3SecretAccessKeyName",
)
def test_a_secret_with_the_built_in_names() -> list[Finding]:
    names = S3.replace("AWS_ACCESS_KEY_ID", "awsAccessKeyID").replace("AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey")
    return findings("validation.platform_is_known", laid(NAMED) + ACCOUNT + names)


@passing(CREDENTIALS)
def test_secrets_of_one_name_decide_nothing() -> list[Finding]:
    return findings(CREDENTIALS, laid(NAMED) + ACCOUNT + UNKNOWN + S3)


# named_objects_are_applied

OBJECTS = "validation.named_objects_are_applied"
CLAIM = """\
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: model-claim, namespace: shop}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
"""
ENV = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "a"}}}]}


@failing(
    OBJECTS,
    because="no ServiceAccount 's3-readr' is among the paths; did you mean s3-reader?",
    at="serviceAccountName: s3-readr",
)
def test_an_account_of_nearly_the_name() -> list[Finding]:
    return findings(OBJECTS, laid({"spec": {"predictor": {"serviceAccountName": "s3-readr"}}}) + ACCOUNT)


@failing(OBJECTS, because="no PersistentVolumeClaim 'models-claim' is among the paths; did you mean model-claim?")
def test_a_claim_of_nearly_the_name() -> list[Finding]:
    return findings(OBJECTS, laid(model(storageUri="pvc://models-claim/iris")) + CLAIM)


@failing(OBJECTS, because="is applied in the namespace other, and the service in")
def test_an_account_of_another_namespace() -> list[Finding]:
    return findings(OBJECTS, laid(NAMED) + ACCOUNT.replace("namespace: shop", "namespace: other"))


@failing(OBJECTS, because="no Secret 'storage-confg' is among the paths", at="name: storage-confg")
def test_a_secret_of_nearly_the_name() -> list[Finding]:
    fields = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "storage-confg", "key": "a"}}}]}
    return findings(OBJECTS, laid(model(**fields)) + STORAGE)


PLACES = """\
spec:
  predictor:
    serviceAccountName: s3-readr
    volumes:
    - {name: a, secret: {secretName: s33}}
    - {name: b, configMap: {name: confg}}
    - {name: c, persistentVolumeClaim: {claimName: modl-claim}}
    model:
      storageUri: pvc://model-clam/iris
      env:
      - {name: A, valueFrom: {secretKeyRef: {name: s3s, key: a}}}
      - {name: B, valueFrom: {configMapKeyRef: {name: conig, key: a}}}
    initContainers:
    - {name: i, image: a, env: [{name: A, valueFrom: {secretKeyRef: {name: ss3, key: a}}}]}
"""


def test_every_place_that_names_an_object_is_looked_at() -> None:
    text = laid(yaml.load(PLACES, yaml.CSafeLoader)) + ACCOUNT + S3 + CLAIM
    text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: shop}\n"
    found = findings(OBJECTS, text)
    assert [finding.message.partition(" is among")[0] for finding in found] == [
        "no ServiceAccount 's3-readr'",
        "no Secret 's33'",
        "no ConfigMap 'confg'",
        "no PersistentVolumeClaim 'modl-claim'",
        "no PersistentVolumeClaim 'model-clam'",
        "no Secret 's3s'",
        "no ConfigMap 'conig'",
        "no Secret 'ss3'",
    ]
    assert [place(finding.location).partition(": ")[2] for finding in found] == [
        "serviceAccountName: s3-readr",
        "secretName: s33",
        "name: confg",
        "claimName: modl-claim",
        "storageUri: pvc://model-clam/iris",
        "name: s3s",
        "name: conig",
        "name: ss3",
    ]


@pytest.mark.parametrize(
    "text",
    [
        laid(NAMED) + ACCOUNT,
        laid(NAMED),
        laid(model(storageUri="pvc://model-claim/iris")) + CLAIM,
        laid(model(**ENV)) + STORAGE,
    ],
)
@passing(OBJECTS)
def test_objects_that_are_applied_or_of_which_nothing_is_known(text: str) -> list[Finding]:
    return findings(OBJECTS, text)


# scaling where the mode is not known

SCALING = "manifests.autoscaler_fits_deployment_mode"


@inconclusive(
    "validation.platform_is_known", because="in Serverless mode use concurrency or rps", at="scaleMetric: cpu"
)
def test_a_metric_where_the_mode_is_not_known() -> list[Finding]:
    return findings(
        "validation.platform_is_known",
        laid({"spec": {"predictor": {"scaleMetric": "cpu"}}}, ""),
        "2024.11",
        PlatformConfig(),
    )


@not_applicable(SCALING, because="it depends on the deployment mode, which is not known")
def test_a_metric_that_the_mode_decides() -> list[Finding]:
    return findings(SCALING, laid({"spec": {"predictor": {"scaleMetric": "cpu"}}}, ""), "2024.11", PlatformConfig())


@failing(SCALING, because="scaleMetric 'qps' does not work", at="scaleMetric: qps")
def test_a_metric_of_no_mode() -> list[Finding]:
    return findings(SCALING, laid({"spec": {"predictor": {"scaleMetric": "qps"}}}, ""), "2024.11", PlatformConfig())


@passing(SCALING, because="have an effect in every mode")
def test_no_scaling_where_the_mode_is_not_known() -> list[Finding]:
    return findings(SCALING, laid({}, ""), "2024.11", PlatformConfig())


@inconclusive(
    "manifests.no_canary_on_first_deployment",
    because="in Knative (Serverless) mode only, and the mode is not known",
    at="canaryTrafficPercent",
)
def test_a_canary_percentage_where_the_mode_is_not_known() -> list[Finding]:
    text = laid({"spec": {"predictor": {"canaryTrafficPercent": 20}}}, "")
    return findings("manifests.no_canary_on_first_deployment", text, "2024.11", PlatformConfig())


# what a runtime brings into the pod


def with_runtime(ports: str, model: str = "", env: str = "") -> str:
    """A service in Knative mode, with a runtime whose container has ``ports`` and ``env``, both as YAML of one line."""
    runtime = yaml.load(TABLE["bases"]["runtime"], yaml.CSafeLoader)
    runtime["spec"]["containers"][0] |= {"ports": yaml.load(ports, yaml.CSafeLoader)}
    runtime["spec"]["containers"][0] |= {"env": yaml.load(env or "[]", yaml.CSafeLoader)}
    fields = {"modelFormat": {"name": "iris"}, "protocolVersion": "v2", **yaml.load(model or "{}", yaml.CSafeLoader)}
    own = str(yaml.dump(runtime, Dumper=yaml.CSafeDumper))
    return f"{laid({'spec': {'predictor': {'model': fields}}})}---\n{own}"


@pytest.mark.parametrize(
    ("ports", "model", "because"),
    [
        (
            "[{containerPort: 8080}, {containerPort: 9000}]",
            "",
            "with the runtime my-runtime spec.predictor has 2 container ports, and Knative admits one in a pod",
        ),
        ("[{containerPort: 8080}]", "{ports: [{containerPort: 9000}]}", "spec.predictor has 2 container ports"),
        ("[{containerPort: 8080, name: http}]", "", "of the runtime my-runtime: the port name 'http' is rejected"),
        (
            "[{containerPort: 8080, name: h2c}]",
            "{livenessProbe: {tcpSocket: {port: web}}}",
            "port 'web' is not the container's port, which is named h2c",
        ),
    ],
)
def test_ports_of_a_runtime_that_knative_rejects(ports: str, model: str, because: str) -> None:
    @failing("validation.knative_admits_the_revision", because=because)
    def example() -> list[Finding]:
        return findings("validation.knative_admits_the_revision", with_runtime(ports, model))

    example()


@pytest.mark.parametrize(
    ("ports", "model"),
    [
        ("[{containerPort: 8080, name: h2c}]", "{livenessProbe: {tcpSocket: {port: h2c}}}"),
        ("[{containerPort: 8080, name: http}]", "{ports: [{containerPort: 8080, name: http1}]}"),
        ("[]", "{livenessProbe: {tcpSocket: {port: http}}}"),
    ],
)
def test_ports_of_a_runtime_that_knative_admits(ports: str, model: str) -> None:
    @passing("validation.knative_admits_the_revision")
    def example() -> list[Finding]:
        return findings("validation.knative_admits_the_revision", with_runtime(ports, model))

    example()


@failing(
    "validation.knative_admits_the_revision", because="port 'web' is not the container's port, which is named http"
)
def test_a_probe_of_a_runtime_of_kserve_s_release_which_has_no_ports() -> list[Finding]:
    probe = {"livenessProbe": {"tcpSocket": {"port": "web"}}}
    return findings("validation.knative_admits_the_revision", laid({"spec": {"predictor": {"model": probe}}}))


MOUNTING = """\
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mounting, namespace: NAMESPACE}
spec:
  supportedModelFormats: [{name: iris, autoSelect: true}]
  protocolVersions: [v2]
  containers: [{name: kserve-container, image: ab, volumeMounts: [{name: shm, mountPath: /dev/shm}]}]
"""


def mounting(namespace: str = "shop", volumes: str = "[]") -> str:
    """A service of a runtime that mounts a volume and has none, with volumes of its own."""
    fields = {"modelFormat": {"name": "iris"}, "protocolVersion": "v2", "runtime": "mounting"}
    predictor = {"volumes": yaml.load(volumes, yaml.CSafeLoader), "model": fields}
    return laid({"spec": {"predictor": predictor}}) + MOUNTING.replace("NAMESPACE", namespace)


@failing(
    "validation.kubernetes_admits_the_pods",
    because="the runtime mounting mounts 'shm', and neither it nor spec.predictor has",
)
def test_a_volume_that_a_runtime_mounts_and_nothing_has() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", mounting())


@passing("validation.kubernetes_admits_the_pods")
def test_a_volume_that_a_runtime_mounts_and_the_service_has() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", mounting(volumes="[{name: shm, emptyDir: {}}]"))


@failing(
    "validation.platform_is_known",
    because="the ServingRuntime mounting is applied in the namespace runtimes, and the service in shop",
    at="runtime: mounting",
)
def test_a_runtime_of_another_namespace() -> list[Finding]:
    return findings("validation.platform_is_known", mounting("runtimes"))


@passing("validation.platform_is_known")
def test_a_service_of_several_models_that_are_applied_with_it() -> list[Finding]:
    several = str(TABLE["bases"]["trained model"])
    return findings(
        "validation.platform_is_known",
        laid({"spec": {"predictor": {"model": {"storageUri": None}}}}) + f"---\n{several}",
    )


# keys of Secrets and ConfigMaps

CREDENTIALS_OF_A_HUB = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hub}\nstringData: {HF_TOKEN: a}\n"
SETTINGS_OF_A_HUB = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: hub}\ndata: {url: a}\n"


def taking(kind: str, key: str, **more: Any) -> str:
    """A service with a variable from the key of a Secret or ConfigMap named hub, which stand beside it."""
    reference = {"secretKeyRef" if kind == "Secret" else "configMapKeyRef": {"name": "hub", "key": key, **more}}
    model = {"env": [{"name": "TOKEN", "valueFrom": reference}]}
    return laid({"spec": {"predictor": {"model": model}}}) + CREDENTIALS_OF_A_HUB + SETTINGS_OF_A_HUB


@failing(
    "validation.kubernetes_admits_the_pods", because="the Secret hub has no key 'hf-token'; it has HF_TOKEN", at="hf-t"
)
def test_a_key_that_the_secret_does_not_have() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", taking("Secret", "hf-token"))


@failing(
    "validation.kubernetes_admits_the_pods", because="the ConfigMap hub has no key 'URL'; it has url", at="key: URL"
)
def test_a_key_that_the_config_map_does_not_have() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", taking("ConfigMap", "URL"))


@failing("validation.kubernetes_admits_the_pods", because="the Secret hub has no key 'token'", at="key: token")
def test_a_key_of_a_volume_that_the_secret_does_not_have() -> list[Finding]:
    volume = {"name": "v", "secret": {"secretName": "hub", "items": [{"key": "token", "path": "token"}]}}
    text = laid({"spec": {"predictor": {"volumes": [volume]}}}) + CREDENTIALS_OF_A_HUB
    return findings("validation.kubernetes_admits_the_pods", text)


@passing("validation.kubernetes_admits_the_pods")
def test_a_key_that_the_secret_has() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", taking("Secret", "HF_TOKEN"))


@passing("validation.kubernetes_admits_the_pods")
def test_a_key_that_need_not_be_there() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", taking("Secret", "hf-token", optional=True))


@failing("validation.companion_is_admitted", because="the Secret hub has no key 'hf-token'; it has HF_TOKEN")
def test_a_key_in_a_runtime_that_the_secret_does_not_have() -> list[Finding]:
    env = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: hub, key: hf-token}}}]"
    return findings("validation.companion_is_admitted", with_runtime("[]", env=env) + CREDENTIALS_OF_A_HUB)


@passing("validation.companion_is_admitted")
def test_a_key_in_a_runtime_that_the_secret_has() -> list[Finding]:
    env = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: hub, key: HF_TOKEN}}}]"
    own = with_runtime("[]", env=env).partition("---\n")[2]
    return findings("validation.companion_is_admitted", own + CREDENTIALS_OF_A_HUB)


@passing("validation.companion_is_admitted")
def test_the_name_of_an_object_without_a_kind_is_not_missed() -> list[Finding]:
    """``manifests.api_version_is_served`` says that it has no kind."""
    return findings(
        "validation.companion_is_admitted", "apiVersion: serving.kserve.io/v1beta1\nspec: {predictor: {}}\n"
    )


@inconclusive(
    "validation.platform_is_known", because="livenessProbe.httpGet has no port: this depends on the deployment mode"
)
def test_a_probe_without_a_port_where_the_mode_is_unknown() -> list[Finding]:
    text = laid(model(livenessProbe={"httpGet": {"path": "/v1/models/iris"}}), mode="")
    return findings("validation.platform_is_known", text, platform=PlatformConfig())


PLACEHOLDERS = ("${TEAM}", "{{ team }}", "{{ .Values.team }}", "$team")


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@inconclusive("validation.kubernetes_admits_the_pods", because="it has a placeholder, whose value is not in the file")
def test_a_namespace_that_is_filled_later(placeholder: str) -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", laid({"metadata": {"namespace": placeholder}}))


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@inconclusive("validation.kubernetes_admits_the_pods", because="it has a placeholder, whose value is not in the file")
def test_a_label_key_that_is_filled_later(placeholder: str) -> list[Finding]:
    constraint = {"matchLabelKeys": [placeholder], "labelSelector": {}, "whenUnsatisfiable": "DoNotSchedule"}
    text = laid({"spec": {"predictor": {"topologySpreadConstraints": [constraint]}}})
    return findings("validation.kubernetes_admits_the_pods", text)


FROM_A_FILE = {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "a", "key": "b"}}}]}


@failing("validation.kubernetes_admits_the_pods", because="valueFrom must have one of fieldRef")
def test_a_variable_from_a_file_that_kubernetes_drops() -> list[Finding]:
    return findings("validation.kubernetes_admits_the_pods", laid(model(**FROM_A_FILE)), "current")


@passing("validation.kubernetes_admits_the_pods")
def test_a_variable_from_a_file_of_a_kubernetes_that_may_keep_it() -> list[Finding]:
    later = stack("current")
    later = replace(later, components={**later.components, "kubernetes": "1.35"})
    return findings("validation.kubernetes_admits_the_pods", laid(model(**FROM_A_FILE)), later)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@inconclusive("validation.kubernetes_admits_the_pods", because="it has a placeholder, whose value is not in the file")
def test_a_key_that_is_filled_later(placeholder: str) -> list[Finding]:
    text = laid({"spec": {"predictor": {"nodeSelector": {placeholder: "v"}}}})
    return findings("validation.kubernetes_admits_the_pods", text)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@inconclusive("validation.companion_is_admitted", because="it has a placeholder, whose value is not in the file")
def test_a_namespace_of_a_secret_that_is_filled_later(placeholder: str) -> list[Finding]:
    return findings("validation.companion_is_admitted", S3.replace("shop", f"'{placeholder}'"))


@failing("validation.companion_is_admitted", because="the namespace '<team>' is not valid")
def test_a_blank_that_a_reader_fills() -> list[Finding]:
    return findings("validation.companion_is_admitted", S3.replace("shop", "<team>"))


@pytest.mark.parametrize("stated", ["hdfs://", "s3://models", "s3://models/"])
def test_a_storage_path_that_is_a_uri_without_a_path_gets_no_empty_advice(stated: str) -> None:
    text = laid(model(storageUri=None, storage={"key": "minio", "path": stated}))
    (found,) = [one for one in findings("validation.kserve_admits_the_service", text) if repr(stated) in one.message]
    assert found.message.endswith("KServe puts the type and bucket of the storage key before it")


@pytest.mark.parametrize(("name", "is_url"), [("Iris", False), ("http://iris", True), ("iris:8080", True)])
def test_a_name_that_is_no_url_gets_no_advice_about_urls(name: str, is_url: bool) -> None:
    text = GRAPH.replace("serviceName: iris", f"serviceName: '{name}'")
    (found,) = [one for one in findings("validation.companion_is_admitted", text) if repr(name) in one.message]
    assert found.message.endswith("; a URL stands in serviceUrl") is is_url


STRATEGY = {"spec": {"predictor": {"deploymentStrategy": {"type": "Recreate"}}}}


@inconclusive("validation.platform_is_known", because="deploymentStrategy is rejected", at="deploymentStrategy")
def test_a_setting_of_one_mode_where_the_mode_is_filled_later() -> list[Finding]:
    serverless = PlatformConfig(default_deployment_mode="Serverless")
    text = laid(STRATEGY, mode="'${MODE}'")
    judged = findings("validation.kserve_admits_the_service", text, platform=serverless)
    assert [str(one.outcome) for one in judged] == ["PASSED"]
    return findings("validation.platform_is_known", text, platform=serverless)
