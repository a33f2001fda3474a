"""Jobs side by side: order, sums, one thread each, and an end to all when one fails."""

from __future__ import annotations

import threading

import pytest
import torch

from salt_ext.demo.parallel import Tell, together


def test_results_in_order_sums_told_and_one_thread_for_each() -> None:
    told: list[tuple[int, int]] = []
    met = threading.Barrier(2, timeout=20)
    usual = torch.get_num_threads()

    def job(number: int) -> object:
        def work(tell: Tell) -> tuple[int, int]:
            met.wait()  # passes only if two run at the same time
            tell(number, 10)
            return number, torch.get_num_threads()

        return work

    try:
        results = together([job(3), job(4)], workers=2, advance=lambda *sums: told.append(sums))  # type: ignore[list-item]
    finally:
        torch.set_num_threads(usual)
    assert results == [(3, 1), (4, 1)]
    assert told[-1] == (7, 20)


def test_one_that_fails_ends_the_others() -> None:
    failed = threading.Event()
    usual = torch.get_num_threads()

    def fail(tell: Tell) -> None:
        failed.set()
        raise ValueError("broken")

    def endless(tell: Tell) -> None:
        failed.wait(timeout=20)
        while True:
            tell(0, 1)

    try:
        with pytest.raises(ValueError, match="broken"):
            together([endless, fail], workers=2, advance=lambda done, total: None)
    finally:
        torch.set_num_threads(usual)
