"""Telling what a target is at: stretches of work, and the steps of the image builder, as the engine's events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trivet.engine.events import Emit, PhaseEnded, PhaseStarted
from trivet.stacks.images.build import Said, StepEnded, StepStarted


@contextmanager
def phase(emit: Emit, name: str) -> Iterator[Callable[[str], None]]:
    """Tell that a phase begins and ends. The block gets a function that marks the phase as failed without raising."""
    failure = ""

    def failed(reason: str) -> None:
        nonlocal failure
        failure = reason

    started = time.monotonic()
    emit(PhaseStarted(name=name))
    try:
        yield failed
    except BaseException as error:
        failure = (str(error) or type(error).__name__).splitlines()[0]
        raise
    finally:
        emit(PhaseEnded(name=name, seconds=round(time.monotonic() - started, 3), failure=failure))


def image_steps(emit: Emit) -> Callable[[StepStarted | StepEnded | Said], None]:
    """What the image builder tells, as phases."""

    def told(said: StepStarted | StepEnded | Said) -> None:
        match said:
            case StepStarted():
                emit(PhaseStarted(name=f"image layer {said.name}"))
            case StepEnded():
                emit(PhaseEnded(name=f"image layer {said.name}", seconds=round(said.seconds, 3), failure=said.failure))

    return told
