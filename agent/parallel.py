"""Work on several things at once, without ever being held up by one that hangs.

The executors of the standard library wait for their threads, at the end of the block and again at
the end of the process: with a store that does not answer, a signal would end nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

from agent import clock

GRACE_SECONDS = 1.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Task(Generic[Item, Result]):
    def __init__(self, function: Callable[[Item], Result], item: Item) -> None:
        self._function = function
        self._item = item
        self._done = threading.Event()
        self._results: list[Result] = []
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._results.append(self._function(self._item))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is wanted
            self._failure = error
        finally:
            self._done.set()

    def result(self) -> Result:
        self._done.wait()
        if self._failure is not None:
            raise self._failure
        return self._results.pop()


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """Yield what `function` returns for each item, in order, working ahead on `workers` + 1.

    The first failure in order is raised. When the iteration ends early, by it or by whoever
    iterates, nothing further begins, and what is under way is left to itself after a second.
    """
    tasks: SimpleQueue[_Task[Item, Result] | None] = SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        while (task := tasks.get()) is not None and not stopped.is_set():
            task.run()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    waiting: deque[_Task[Item, Result]] = deque()
    try:
        for number, item in enumerate(items):
            if number < workers:
                threads[number].start()
            task = _Task(function, item)
            waiting.append(task)
            tasks.put(task)
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stopped.set()
        end = clock.monotonic() + GRACE_SECONDS
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - clock.monotonic()))


def ahead(items: Generator[Item, None, None], *, depth: int) -> Generator[Item, None, None]:
    """Yield the same items, made by a thread that is at most `depth` of them ahead.

    What the thread raises is raised in its place. When the iteration ends early, `items` is closed
    in that thread, which is left to itself after a second.
    """
    ready: SimpleQueue[Item | None] = SimpleQueue()
    slots = threading.Semaphore(depth)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for item in items:
                slots.acquire()
                if stopped.is_set():
                    break
                ready.put(item)
        except BaseException as error:  # noqa: BLE001 - raised again where the item is wanted
            failures.append(error)
        finally:
            items.close()
            ready.put(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            slots.release()
            yield item
        if failures:
            raise failures[0]
    finally:
        stopped.set()
        slots.release()
        thread.join(GRACE_SECONDS)
