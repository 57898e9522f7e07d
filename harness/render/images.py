"""Images on the command line: what there is, and what is being made."""

from __future__ import annotations

from collections.abc import Sequence

from trivet.stacks.images.build import Said, State, StepEnded, StepStarted


def image_states(found: Sequence[State]) -> str:
    """One line per image: there or missing, size of its layers, name; what is worth knowing of it below."""
    lines = []
    for state in found:
        size = f"{state.size / 1e6:.0f} MB" if state.present else ""
        lines.append(f"{'built' if state.present else 'missing':<8} {size:>8}  {state.image.reference}")
        if state.image.note:
            lines.append(f"{'':<19}{state.image.note}")
    missing = sum(not state.present for state in found)
    lines.append(
        f"{len(found)} images, {missing} of them to be built" if missing else f"{len(found)} images, all of them built"
    )
    return "\n".join(lines)


def step_line(said: StepStarted | StepEnded | Said) -> str:
    """A line for what a builder tells."""
    match said:
        case StepStarted():
            return f"{'':<18} …  {said.name}"
        case StepEnded() if said.failure:
            return f"{said.seconds:>7.1f} s    FAILED  {said.name}: {said.failure}"
        case StepEnded():
            return f"{said.seconds:>7.1f} s {said.size / 1e6:>7.1f} MB  {said.name}"
        case Said():
            return f"{'':<21}{said.text}"
