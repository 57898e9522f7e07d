"""Rules of admission: to its limits, which places of an object each rule refuses, and that it refuses no others.

``contract_examples/test_static_validation.py`` shows what the contracts then say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.static import stack
from contract_examples.test_static_validation import TABLE, merged
from differential.mutations import manifests, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.contracts.rules.effects import EFFECTS, fields_of_alpha_features
from trivet.contracts.rules.pods import requests_within_limits
from trivet.contracts.rules.rule import Companion, Container, Rule, Service
from trivet.contracts.validation import SERVICE_RULES
from trivet.contracts.values import path
from trivet.model.platform_config import PlatformConfig, indexed
from trivet.model.subjects import Manifest, Resource

PLACES: Mapping[str, list[dict[str, Any]]] = yaml.load(
    Path(__file__).with_name("rule_places.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)
OF_AN_OBJECT = {"metadata", "spec", "data", "stringData", "binaryData", "type"}
"""Fields of an object; a change of others is one of ``spec.predictor``."""


def _groups() -> Iterator[Any]:
    for name, groups in PLACES.items():
        for number, group in enumerate(groups):
            yield pytest.param(name, group, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "group"), list(_groups()))
def test_a_rule_refuses_these_places_and_no_others(name: str, group: Mapping[str, Any]) -> None:
    for change, *places in group["cases"]:
        assert sorted(_refused(name, change, group)) == sorted(_whole(place) for place in places), change


def _whole(place: str) -> str:
    return f"spec.predictor{place}" if place.startswith(".") else place


def _refused(name: str, change: Mapping[str, Any], group: Mapping[str, Any]) -> Iterator[str]:
    """The places that a rule refuses of a sound object with a change laid over it; with a question mark where the platform decides."""
    module, _, function = name.partition(".")
    rule: Rule = getattr(import_module(f"trivet.contracts.rules.{module}"), function)
    under = stack(group.get("stack", "2024.11"))
    assert rule.applies(under), f"no rule of {under.name}"
    document = yaml.load(TABLE["bases"][group.get("base", "service")], yaml.CSafeLoader)
    mode = group.get("mode", "Serverless")
    if document["kind"] == "InferenceService":
        document["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": mode}
    for each in (group.get("with", {}), change):
        document = merged(document, each if not each or OF_AN_OBJECT & {*each} else {"spec": {"predictor": each}})
    beside = [_resource(each) for each in group.get("beside", ())]
    platform = PlatformConfig(
        default_deployment_mode=mode, resources=indexed(beside), ingress_domain=group.get("domain", "")
    )
    for violation in rule.find(_subject(document, under, platform)):
        yield path(violation.keys) + ("?" if violation.setting else "")


def _subject(document: Any, under: Any, platform: PlatformConfig) -> Service | Companion:
    if document["kind"] == "InferenceService":
        manifest = Manifest(file="shop/service.yaml", document=document, line=lambda keys: 1)
        return Service(manifest=manifest, stack=under, platform=platform)
    return Companion(resource=_resource(document), stack=under, platform=platform)


def _resource(document: Any) -> Resource:
    return Resource(file=document.get("file", "shop/beside.yaml"), document=document, line=lambda keys: 1)


@pytest.mark.parametrize("name", ["2024.11-fixed", "current"])
def test_a_rule_that_is_not_asked_about_a_manifest_finds_nothing_in_it(name: str) -> None:
    under = stack(name)

    @given(manifests(under), st.sampled_from(("", "Serverless", "RawDeployment")))
    @settings(max_examples=150, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def agrees(made: Any, mode: str) -> None:
        try:
            document = yaml.load(text(made), yaml.CSafeLoader)
        except yaml.YAMLError:  # such as a block scalar for a key
            return
        manifest = Manifest(file="a.yaml", document=document, line=len)
        service = Service(manifest=manifest, stack=under, platform=PlatformConfig(default_deployment_mode=mode))
        for rules in (*SERVICE_RULES, EFFECTS):
            asked = rules.concerning(service)
            for rule in rules.rules:
                if rule not in asked and rule.applies(under) and not (rule.modes and service.mode not in rule.modes):
                    assert not list(rule.find(service)), rule.id

    agrees()


def _in_standard_mode(predictor: Mapping[str, Any], under: str) -> Service:
    document = yaml.load(TABLE["bases"]["service"], yaml.CSafeLoader)
    document["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "Standard"}
    subject = _subject(merged(document, {"spec": {"predictor": predictor}}), stack(under), PlatformConfig())
    assert isinstance(subject, Service)
    return subject


def test_the_first_of_several_huge_pages_in_the_manifest_is_named_whatever_the_hashes_of_texts_are() -> None:
    pages = {f"hugepages-{size}": size for size in ("32Mi", "2Mi", "1Gi", "64Ki", "512Mi", "16Gi", "128Mi", "8Gi")}
    container = {"name": "b", "image": "bb", "resources": {"requests": pages, "limits": pages}}
    service = _in_standard_mode({"containers": [{"name": "kserve-container", "image": "ab"}, container]}, "2024.11")
    (violation,) = requests_within_limits.find(service)
    assert "has hugepages-32Mi, which needs cpu or memory" in violation.message


def test_a_restart_policy_is_judged_by_the_place_of_its_container_which_is_compared_with_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    containers = [{"name": f"i{number}", "image": "ab", "restartPolicy": "Always"} for number in range(100)]
    service = _in_standard_mode(
        {"initContainers": [*containers, {**containers[0], "restartPolicy": "Never"}]}, "current"
    )
    compared = []

    def equal(one: Container, other: object) -> bool:
        compared.append(one)
        return tuple.__eq__(one, other)

    monkeypatch.setattr(Container, "__eq__", equal)
    (violation,) = fields_of_alpha_features.find(service)
    assert path(violation.keys) == "spec.predictor.initContainers[100].restartPolicy"
    assert not compared
