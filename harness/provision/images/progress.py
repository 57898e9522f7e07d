"""Reports the steps of an image build as phases of a run."""

from __future__ import annotations

from trivet.model.events import Emit, PhaseEnded, PhaseStarted
from trivet.provision.images.build import OnStep, StepEnded, StepEvent, StepStarted


def steps_as_phases(emit: Emit) -> OnStep:
    """A listener for an image build that emits its steps as phases."""

    def on_step(event: StepEvent) -> None:
        match event:
            case StepStarted():
                emit(PhaseStarted(name=f"image layer {event.name}"))
            case StepEnded():
                name, seconds = f"image layer {event.name}", round(event.seconds, 3)
                emit(PhaseEnded(name=name, seconds=seconds, failure=event.failure))

    return on_step
