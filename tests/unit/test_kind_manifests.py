"""Upstream manifests are split, selected and patched from data; whatever does not match is an error that names it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivet.errors import UsageError
from trivet.provision.kind.certificates import cached_certificate, make_certificate, with_certificate
from trivet.provision.kind.manifests import (
    KubernetesObject,
    Patch,
    apply_patches,
    join_stream,
    parse,
    rename_images,
    render,
    resolve_images,
    select,
    split_stream,
)

DEPLOYMENT = """\
# Copyright
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    name: not-this-one
  name: activator  # the name
  namespace: knative-serving
spec:
  template:
    spec:
      containers:
      - name: activator
        image: ko://knative.dev/serving/cmd/activator
        args: [--a]
      - name: proxy
        image: quay.io/proxy:v1
"""
CONFIG = """\
kind: ConfigMap
apiVersion: v1
metadata:
    name: "settings"
data:
    ingress: '{"a": 1, "b": 2}'
"""


def one(text: str) -> KubernetesObject:
    (document,) = split_stream(text)
    return document


def changed(text: str, **change: Any) -> dict[str, Any]:
    document = one(text)
    (found,) = apply_patches([document], [Patch(on=[document.id], **change)])
    return parse(found)


def test_a_stream_is_split_into_its_objects_with_kind_name_and_namespace() -> None:
    found = split_stream(f"---\n# only a comment\n---\n{DEPLOYMENT}---\n{CONFIG}\n---\n")
    assert [(document.id, document.namespace) for document in found] == [
        ("Deployment/activator", "knative-serving"),
        ("ConfigMap/settings", ""),
    ]


def test_an_object_with_an_unusual_layout_is_parsed_for_its_name() -> None:
    assert one('{"kind": "Service", "metadata": {"name": "odd", "namespace": "n"}}').id == "Service/odd"


def test_an_object_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="without kind or name"):
        split_stream("kind: Deployment\nspec: {}\n")


def test_objects_are_selected_by_patterns_of_kind_and_name() -> None:
    found = split_stream(f"{DEPLOYMENT}---\n{CONFIG}")
    assert [document.id for document in select(found, only=["Deployment/*"])] == ["Deployment/activator"]
    assert [document.id for document in select(found, drop=["*/activ*"])] == ["ConfigMap/settings"]


def test_import_paths_become_image_names_and_nothing_else_changes() -> None:
    named = resolve_images(one(DEPLOYMENT), "gcr.io/releases/{path}:v1.2.3")
    assert "image: gcr.io/releases/knative.dev/serving/cmd/activator:v1.2.3" in named.text
    assert named.text.replace("gcr.io/releases/", "ko://").replace(":v1.2.3", "") == DEPLOYMENT


def test_objects_without_a_patch_keep_upstream_s_text() -> None:
    found = split_stream(f"{DEPLOYMENT}---\n{CONFIG}")
    changed = apply_patches(found, [Patch(on=["ConfigMap/*"], set={"/data/x": "y"})])
    assert changed[0] is found[0]
    assert parse(changed[1])["data"]["x"] == "y"


def test_set_replaces_and_creates_missing_parents() -> None:
    found = changed(DEPLOYMENT, set={"/spec/replicas": 1, "/metadata/annotations/a~1b": "c"})
    assert found["spec"]["replicas"] == 1
    assert found["metadata"]["annotations"] == {"a/b": "c"}


def test_items_of_a_list_are_named_by_index_name_or_all_of_them() -> None:
    place = "/spec/template/spec/containers"
    found = changed(DEPLOYMENT, set={f"{place}/0/a": 1, f"{place}/proxy/b": 2, f"{place}/*/c": 3})
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [(item.get("a"), item.get("b"), item["c"]) for item in containers] == [(1, None, 3), (None, 2, 3)]


def test_json_inside_a_text_is_merged() -> None:
    found = changed(CONFIG, json={"/data/ingress": {"b": 3, "c": True}})
    assert json.loads(found["data"]["ingress"]) == {"a": 1, "b": 3, "c": True}


def test_append_adds_missing_items() -> None:
    found = changed(DEPLOYMENT, append={"/spec/template/spec/containers/activator/args": ["--a", "--b"]})
    assert found["spec"]["template"]["spec"]["containers"][0]["args"] == ["--a", "--b"]


def test_remove_deletes_a_field() -> None:
    found = changed(DEPLOYMENT, remove=["/spec/template/spec/containers/proxy"])
    assert [item["name"] for item in found["spec"]["template"]["spec"]["containers"]] == ["activator"]


@pytest.mark.parametrize(
    "change",
    [
        {"remove": ["/spec/nothing"]},
        {"set": {"/spec/template/spec/containers/nobody/image": "x"}},
        {"set": {"no/pointer": 1}},
        {"json": {"/metadata/name": {"a": 1}}},
    ],
)
def test_a_patch_that_cannot_be_applied_names_the_object(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot apply a patch to Deployment/activator"):
        changed(DEPLOYMENT, **change)


@pytest.mark.parametrize(
    ("pointer", "near"),
    [("/spec/templat", "template"), ("/spec/template/spec/containers/activater/image", "activator")],
)
def test_a_patch_of_an_unknown_field_has_the_nearest_name(pointer: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"there is no '.*'; did you mean '{near}'"):
        changed(DEPLOYMENT, remove=[pointer])


def test_a_patch_without_a_matching_object_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no object matches the pattern 'DaemonSet/\*' of a patch"):
        apply_patches([one(DEPLOYMENT)], [Patch(on=["DaemonSet/*"])])
    with pytest.raises(UsageError, match="did you mean 'Deployment/activator'"):
        apply_patches([one(DEPLOYMENT)], [Patch(on=["Deployment/activater"])])


def test_a_stream_of_objects_can_be_split_again() -> None:
    found = split_stream(f"{DEPLOYMENT}---\n{CONFIG}")
    assert [document.id for document in split_stream(join_stream(found))] == [document.id for document in found]


def test_webhook_configurations_trust_the_certificate_and_a_secret_holds_it() -> None:
    webhook = render(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "w"},
            "webhooks": [{"name": "a", "clientConfig": {"service": {"name": "s"}}}, {"name": "b", "clientConfig": {}}],
        }
    )
    certificate = make_certificate("s", "n")
    found = with_certificate([webhook, one(CONFIG)], certificate, secret="cert", namespace="n")
    assert [document.id for document in found] == [webhook.id, "ConfigMap/settings", "Secret/cert"]
    bundles = [hook["clientConfig"]["caBundle"] for hook in parse(found[0])["webhooks"]]
    assert bundles == [certificate.bundle] * 2
    assert parse(found[2])["data"]["tls.crt"] == certificate.bundle


def test_a_custom_resource_that_a_webhook_converts_trusts_the_certificate() -> None:
    def definition(name: str, **spec: Any) -> KubernetesObject:
        return render({"kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": spec})

    # As in KServe 0.12.1: a bundle that is no PEM, with which the API server answers no request for the resource.
    client = {"caBundle": "Cg==", "service": {"name": "s", "namespace": "n", "path": "/convert"}}
    converted = definition("a", conversion={"strategy": "Webhook", "webhook": {"clientConfig": client}})
    others = [definition("b", conversion={"strategy": "None"}), definition("c")]
    certificate = make_certificate("s", "n")
    found = with_certificate([converted, *others], certificate, secret="cert", namespace="n")
    assert parse(found[0])["spec"]["conversion"]["webhook"]["clientConfig"] == {
        **client,
        "caBundle": certificate.bundle,
    }
    assert found[1:3] == others


def test_a_certificate_names_its_service_and_signs_itself() -> None:
    from cryptography import x509

    read = x509.load_pem_x509_certificate(make_certificate("webhook", "kserve").certificate.encode())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "webhook.kserve.svc" in names.get_values_for_type(x509.DNSName)
    read.verify_directly_issued_by(read)


def test_a_certificate_is_created_once(tmp_path: Any) -> None:
    assert cached_certificate(tmp_path / "c", "s", "n") == cached_certificate(tmp_path / "c", "s", "n")
    assert (tmp_path / "c/s.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("image: kserve/storage-initializer:v0.14.1", "image: docker.io/kserve/storage-initializer:v0.20.0"),
        ("image: docker.io/kserve/storage-initializer:v0.14.1", "image: docker.io/kserve/storage-initializer:v0.20.0"),
        (
            '"image" : "kserve/storage-initializer:v0.14.1",',
            '"image" : "docker.io/kserve/storage-initializer:v0.20.0",',
        ),
        (
            "image: kserve/storage-initializer:v0.14.1@sha256:00ff",
            "image: docker.io/kserve/storage-initializer:v0.20.0",
        ),
        ("image: kserve/storage-initializer:v0.14.10", "image: kserve/storage-initializer:v0.14.10"),
        ("image: kserve/storage-initializer:v0.14.1-gpu", "image: kserve/storage-initializer:v0.14.1-gpu"),
        (
            "image: mirror.example/kserve/storage-initializer:v0.14.1",
            "image: mirror.example/kserve/storage-initializer:v0.14.1",
        ),
    ],
)
def test_an_image_is_replaced_by_its_whole_name(written: str, shown: str) -> None:
    names = {"docker.io/kserve/storage-initializer:v0.14.1": "docker.io/kserve/storage-initializer:v0.20.0"}
    manifest = KubernetesObject(kind="ConfigMap", name="c", namespace="", text=f"data: |\n  {written}\n")
    assert rename_images(manifest, names).text == f"data: |\n  {shown}\n"
