"""Images on the command line: the list of images, the progress of a build, the result of a prune."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.provision.images.build import ImageState, StepEnded, StepEvent, StepNote, StepStarted
from trivet.provision.images.prune import Garbage


def images_table(states: Sequence[ImageState]) -> str:
    """One line per image: built or missing, size of its layers, name; its note on the next line."""
    lines = []
    for state in states:
        size = f"{state.size / 1e6:.0f} MB" if state.present else ""
        lines.append(f"{'built' if state.present else 'missing':<8} {size:>8}  {state.image.reference}")
        if state.image.note:
            lines.append(f"{'':<19}{state.image.note}")
    missing = sum(not state.present for state in states)
    lines.append(
        f"{len(states)} images, {missing} of them missing" if missing else f"{len(states)} images, all of them built"
    )
    return "\n".join(lines)


def step_line(event: StepEvent) -> str:
    """A line for an event of a build."""
    match event:
        case StepStarted():
            return f"{'':<18} …  {event.name}"
        case StepEnded() if event.failure:
            return f"{event.seconds:>7.1f} s    FAILED  {event.name}: {event.failure}"
        case StepEnded():
            return f"{event.seconds:>7.1f} s {event.size / 1e6:>7.1f} MB  {event.name}"
        case StepNote():
            return f"{'':<21}{event.text}"


def pruned(garbage: Garbage, *, dry_run: bool) -> str:
    """A line for each thing that was removed, or would be, with its size where it has one; and the total."""
    lines = [f"{_megabytes(size) if size else '':>12}  {what}" for size, what in _parts(garbage)]
    if lines:
        total = "would be freed; nothing was removed" if dry_run else "freed"
        lines.append(f"{_megabytes(garbage.size):>12}  {total}")
    else:
        lines.append("nothing to remove")
    if garbage.run_in_progress:
        lines.append("environments and programs were kept: a run is in progress")
    return "\n".join(lines)


def _parts(garbage: Garbage) -> Iterator[tuple[int, str]]:
    for key in garbage.sets:
        yield 0, f"image set {key}"
    if garbage.blobs or garbage.links:
        yield sum(garbage.blobs.values()), f"{len(garbage.blobs)} blobs (layers, configs, manifests) of no image set"
    if garbage.records:
        yield 0, f"{len(garbage.records)} records of layers"
    if garbage.uploads or garbage.work:
        sizes = (*garbage.uploads.values(), *garbage.work.values())
        yield sum(sizes), f"{len(sizes)} unfinished files of interrupted builds"
    for program, size in garbage.programs.items():
        yield size, f"program {program}"
    for image, size in garbage.images.items():
        yield size, f"Docker image {image}"
    for folder, size in garbage.environments.items():
        yield size, f"environment {folder}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
