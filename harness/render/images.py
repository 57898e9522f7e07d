"""Images on the command line: what there is, and what is being made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.provision.images.build import ImageState, Said, StepEnded, StepStarted
from trivet.provision.images.prune import Garbage


def image_states(found: Sequence[ImageState]) -> str:
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


def pruned(gone: Garbage, *, dry_run: bool) -> str:
    """A line for each thing that went, or that would go, with its size where it has one of its own; and the sum."""
    lines = [f"{_megabytes(size) if size else '':>12}  {what}" for size, what in _parts(gone)]
    if lines:
        said = "would be free; nothing was removed" if dry_run else "are free again"
        lines.append(f"{_megabytes(gone.size):>12}  {said}")
    else:
        lines.append("there is nothing that is not needed")
    if gone.run_under_way:
        lines.append("environments and programs were left alone: a run is under way")
    return "\n".join(lines)


def _parts(gone: Garbage) -> Iterator[tuple[int, str]]:
    for key in gone.sets:
        yield 0, f"image set {key}"
    if gone.blobs or gone.links:
        yield sum(gone.blobs.values()), f"{len(gone.blobs)} layers, configurations and manifests that no image set has"
    if gone.records:
        yield 0, f"{len(gone.records)} records of layers"
    if gone.uploads or gone.work:
        sizes = (*gone.uploads.values(), *gone.work.values())
        yield sum(sizes), f"{len(sizes)} pieces of work that interrupted builders left"
    for program, size in gone.programs.items():
        yield size, f"program {program}"
    for image, size in gone.images.items():
        yield size, f"Docker image {image}"
    for folder, size in gone.environments.items():
        yield size, f"environment {folder}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
