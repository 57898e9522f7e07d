"""The manifests of every platform name the images of its roles, so that a composed stack can have others there."""

from __future__ import annotations

import pytest

from trivet.provision.images.recipes import load_images
from trivet.provision.kind.certificates import make_certificate
from trivet.provision.kind.steps import ReplacedImages, TemplateValues, objects_of, read_steps
from trivet.provision.kind.up import renamed_images
from trivet.stacks.composed import compose
from trivet.stacks.platform import load_platform
from trivet.stacks.read import load_stack, shipped_stacks

pytestmark = pytest.mark.processes

NEWER, OLDER = "current", "2024.05"


@pytest.mark.parametrize("source", ["build", "pull"])
@pytest.mark.parametrize("name", [name for name in shipped_stacks() if name.endswith("-fixed")] + [NEWER])
def test_a_role_from_elsewhere_is_in_the_manifests_in_place_of_the_platform_s_own(name: str, source: str) -> None:
    other = OLDER if name == NEWER else NEWER
    stack = compose(load_stack(name), {"initializer": other, "runtime": other})
    platform, renamed = load_platform(stack), dict(renamed_images(load_images(stack), source))
    # Its name is a value of the template, whatever the platform's is.
    del renamed[next(old for old in renamed if "/mlflow/" in old)]
    replaced, texts = ReplacedImages(platform, renamed), []
    for step in read_steps(platform, source):
        if step.go.startswith("kserve"):
            certificates = {step.certificate.service: make_certificate("s", "n")} if step.certificate else {}
            objects = replaced.checked(
                objects_of(step, platform, TemplateValues(certificates=certificates, images=renamed))
            )
            texts += [one.text for one in objects]
    replaced.check_all()
    for old in renamed:
        assert not any(old.removeprefix("docker.io/") in text for text in texts)
