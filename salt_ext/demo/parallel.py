"""Several small jobs at once, one CPU thread each.

Threads inside an operation would be of little use to models this small, and where another process takes one of the
cores their waiting for each other costs ten times what they gain. One thread for each job also makes the figures
independent of the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import torch

Tell = Callable[[int, int], None]
Result = TypeVar("Result")


def together(jobs: Sequence[Callable[[Tell], Result]], *, workers: int, advance: Tell) -> list[Result]:
    """Runs the jobs, `workers` at a time, and returns their results in order.

    When one fails or the caller is interrupted, the others end at their next call of what they were given.

    Args:
        jobs: each is called with a function that it tells (steps done, steps in all).
        workers: at least 1.
        advance: told the sums over all jobs.
    """
    told = [(0, 0) for _ in jobs]
    lock = threading.Lock()
    stopped = threading.Event()

    def tell(job: int, done: int, total: int) -> None:
        if stopped.is_set():
            raise CancelledError
        with lock:
            told[job] = (done, total)
            advance(sum(done for done, _ in told), sum(total for _, total in told))

    with ThreadPoolExecutor(workers, initializer=partial(torch.set_num_threads, 1)) as executor:
        futures = [executor.submit(job, partial(tell, number)) for number, job in enumerate(jobs)]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()  # raises what a job raised
        except BaseException:
            stopped.set()
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
