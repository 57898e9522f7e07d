"""Calls of one function side by side, in threads that wait for processes: how many at a time, and which wait for one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL = 0.5
"""Seconds between two looks whether a call has ended."""


def side_by_side(
    items: Sequence[Item],
    call: Callable[[Item], Result],
    ended: Callable[[int, Future[Result]], None],
    *,
    jobs: int,
    needs: Callable[[Item], frozenset[str]] = lambda item: frozenset(),
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Call ``call`` for each of ``items``, at most ``jobs`` at a time, and ``ended`` in this thread with each one's index as it ends.

    An item waits while one is called that has one of its ``needs``, which are asked for again whenever it could begin. After an exception
    in this thread, such as a signal, ``stop`` must end what ``call`` waits for; it is passed on when all calls have ended.
    """
    waiting = dict(enumerate(items))
    running: dict[Future[Result], tuple[int, frozenset[str]]] = {}

    def start_what_can_run() -> None:
        for number, item in list(waiting.items()):
            if len(running) >= jobs:
                return
            asked = needs(item)
            if not any(asked & others for _, others in running.values()):
                running[pool.submit(call, item)] = (number, asked)
                del waiting[number]

    with ThreadPoolExecutor(jobs, thread_name_prefix="trivet-side-by-side") as pool:
        try:
            start_what_can_run()
            while running:
                # Not for ever: a signal that comes just before a wait begins is seen at its end.
                finished = wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done
                for future in finished:
                    number, _ = running.pop(future)
                    ended(number, future)
                if finished:
                    start_what_can_run()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
