"""A thread that can't start is an answer: no error, and no wait for ever."""

import threading

import pytest
from fem_core.support import threads

#: What starts a thread inside `threading`, before and from Python 3.13.
STARTER = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"


def test_the_work_is_done_in_a_thread_of_that_name():
    found = []
    thread = threads.start(lambda: found.append(threading.current_thread().name), "fem-test")
    thread.join()
    assert found == ["fem-test"]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_no_more_threads(monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(threading, STARTER, refuse)
    assert threads.start(lambda: None, "fem-test") is None


def test_a_thread_that_never_begins_does_not_do_its_work_later(monkeypatch):
    held = []
    monkeypatch.setattr(threading, STARTER, lambda run, *rest, **options: held.append(run))
    monkeypatch.setattr(threads, "PATIENCE", 0.05)
    done = []
    assert threads.start(lambda: done.append(1), "fem-test") is None
    thread = held[0].__self__
    thread._target()  # it begins after all
    assert done == []
    with threading._active_limbo_lock:
        threading._limbo.pop(thread, None)


def test_a_pool_without_threads_does_the_work_in_the_caller(monkeypatch):
    monkeypatch.setattr(threads, "start", lambda work, name: None)
    with threads.Pool("fem-test") as pool:
        assert pool.ensure(2) == 0
        assert pool.submit(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
