"""The image builder's steps as phases of a run."""

from __future__ import annotations

from collections.abc import Callable

from trivet.model.events import Emit, PhaseEnded, PhaseStarted
from trivet.provision.images.build import Said, StepEnded, StepStarted


def image_steps(emit: Emit) -> Callable[[StepStarted | StepEnded | Said], None]:
    """What the image builder tells, as phases."""

    def told(said: StepStarted | StepEnded | Said) -> None:
        match said:
            case StepStarted():
                emit(PhaseStarted(name=f"image layer {said.name}"))
            case StepEnded():
                emit(PhaseEnded(name=f"image layer {said.name}", seconds=round(said.seconds, 3), failure=said.failure))

    return told
