"""Threads that compute for nobody are broken off, and those that can end by themselves are left to it."""

import contextlib
import threading
from collections.abc import Callable

import pytest
import torch

from longlive_env.viewer import breakable
from longlive_env.viewer.breakable import Breakable


def started(work: Callable[[], None]) -> Breakable:
    thread = Breakable(work, "test")
    thread.start()
    return thread


def test_what_a_thread_computes_is_broken_off() -> None:
    begun, undone = threading.Event(), threading.Event()

    def compute() -> None:
        square = torch.rand(64, 64)
        try:
            while True:
                with contextlib.suppress(Exception):  # as agents do that go on whatever happens
                    square = torch.tanh(square @ square)
                    begun.set()
        finally:
            undone.set()

    thread = started(compute)
    assert begun.wait(60)
    thread.break_off()
    assert not thread.is_alive() and undone.is_set()


def test_a_thread_that_ends_by_itself_is_not_disturbed() -> None:
    told, done = threading.Event(), threading.Event()

    def finish() -> None:
        told.wait(60)
        done.set()

    thread = started(finish)
    told.set()
    thread.break_off()
    assert not thread.is_alive() and done.is_set()
    thread.break_off()  # which is harmless


def test_a_thread_that_hears_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, heard = threading.Lock(), threading.Event()
    answer.acquire()

    def wait_for_a_network() -> None:
        with answer:
            heard.set()

    monkeypatch.setattr(breakable, "PATIENCE_S", 0.2)
    thread = started(wait_for_a_network)
    thread.break_off()
    assert thread.is_alive()
    answer.release()  # so that it is told at last
    thread.join(60)
    assert not thread.is_alive() and not heard.is_set()
