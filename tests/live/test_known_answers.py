"""Known requests asked of real MLServers: right and wrong values, errors, and no answer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from mlserver_processes import mlserver

from trivet.errors import PlatformError
from trivet.host.processes import free_ports
from trivet.integration import KnownRequest, v2_request
from trivet.operations.known_answers import HttpKnownAnswers
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

MODEL = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Model(MLModel):
    async def predict(self, request):
        (column,) = (NumpyCodec.decode_input(one) for one in request.inputs)
        if column[0] == 13:
            raise RuntimeError("13")
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predict", column > BOUND)])
"""
KNOWN = [
    KnownRequest(request=v2_request(None, [{"x": one} for one in (-2, -1, 1, 2)]), answers=[False, False, True, True]),
    KnownRequest(request=v2_request(None, [{"x": one} for one in (13, 14)]), answers=[True, True]),
]


def test_what_a_revision_does_not_answer_right_is_counted(tmp_path: Path) -> None:
    stack = load_stack("current")
    with ExitStack() as running:
        ports = []
        for name, bound in (("stable", 0), ("canary", 1)):
            source = MODEL.replace("BOUND", str(bound))
            url, _ = running.enter_context(mlserver(stack, tmp_path / name, source))
            ports.append(url.rpartition(":")[2])
        (nobody,) = free_ports(1)
        known = HttpKnownAnswers(service="rec", namespace="ml", known=KNOWN, url="http://127.0.0.1:{revision}")
        stable, canary = ports

        known.check(stable)
        assert [known.ask(stable, turn) for turn in range(3)] == [(4, 0), (2, 2), (4, 0)]
        assert [known.ask(canary, turn) for turn in range(2)] == [(4, 1), (2, 2)]
        assert known.ask(str(nobody), 0) == (4, 4)
        with pytest.raises(
            PlatformError, match=f"{nobody} cannot be asked the known requests at http://127.0.0.1"
        ) as caught:
            known.check(str(nobody))
        assert "--revision-url" in caught.value.remedy
        other = HttpKnownAnswers(service="other", namespace="ml", known=KNOWN, url=known.url)
        with pytest.raises(PlatformError, match="answers the first known request with HTTP 404"):
            other.check(stable)
