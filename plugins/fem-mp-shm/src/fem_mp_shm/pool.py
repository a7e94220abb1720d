"""Worker processes, each with its own pipe.

With one queue for all workers, a run can hang: `multiprocessing.Pool` waits for ever for the result of a
killed worker, and so does `concurrent.futures.ProcessPoolExecutor` if the worker is killed while it writes a
result, because the others keep the shared pipe open. Here the pipe of a worker closes when the worker ends,
and the pool notices it at once.
"""

import atexit
import multiprocessing.process
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from fem_core.errors import BackendError, BackendUnavailable, WorkerLost
from fem_core.support import threads

from fem_mp_shm import fork_server, limits
from fem_mp_shm.names import is_stopped, sweep
from fem_mp_shm.patience import Patience
from fem_mp_shm.starting import Start, context
from fem_mp_shm.worker import HEADER, main

#: Seconds that a worker has to start, to finish its task after the run has failed, and to leave.
START, DRAIN, LEAVE = 120.0, 10.0, 2.0

#: Seconds between two looks at the clock while nothing happens.
STEP = 0.5

#: Bytes from which a transfer may wait for the other end.
LARGE = 1 << 16

#: The exit code that `multiprocessing` reports if the fork server ended before the worker did.
LOST = 255


@dataclass(eq=False)
class Worker:
    """A process and our end of its pipe; `task` is the number of its task, None if it has none, `doing` its name."""

    process: BaseProcess
    connection: Connection
    task: int | None = None
    doing: str = ""


@dataclass
class Traffic:
    """What has been sent through the pipes, and the seconds that it took."""

    tasks: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"pickling": 0.0, "computing": 0.0, "merging": 0.0})


class RemoteTraceback(Exception):
    """The worker's traceback, as the cause of the exception here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Pool:
    """Processes that start when they are needed, and are used until `close`.

    Parameters
    ----------
    start_method : str
        `default`, `spawn`, `forkserver` or `fork`.
    """

    def __init__(self, start_method: str = "default") -> None:
        self.start_method = start_method
        self.traffic = Traffic()
        self.startup_seconds = 0.0
        self._workers: list[Worker] = []
        _pools.add(self)

    @property
    def pids(self) -> list[int]:
        """The workers' process numbers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def ensure(self, workers: int) -> str | None:
        """Have at least that many workers. Returns what happened to the earlier ones, if they had ended.

        Raises BackendUnavailable if they can't start, and WorkerLost if one is killed while it starts.
        """
        dead = [worker for worker in self._workers if not worker.process.is_alive()]
        news = f"a worker ended between two tasks ({_ending(dead[0])}); all workers were replaced" if dead else None
        if dead:
            self.kill()
        begun = time.perf_counter()
        if missing := range(workers - len(self._workers)):
            sweep()
            started = context(self.start_method)
            start = Start([partial(self._start, started) for _ in missing], started.get_start_method())
            patience = Patience(self._starting)
            try:
                self._await(start, time.monotonic() + START, patience)
            except BaseException as error:
                start.give_up(LEAVE)
                self.kill()
                if isinstance(error, EOFError | ConnectionError):
                    fork_server.end()
                    what = f"the fork server ended while a worker started{limits.few_files()}"
                    raise WorkerLost(f"{what}; its output, if any, is above; the next run starts a new one") from None
                if isinstance(error, OSError | MemoryError):
                    why = limits.told(error, "use backend numpy or threads")
                    raise BackendUnavailable(f"worker processes can't start: {why}") from error
                raise
            self.startup_seconds = time.perf_counter() - begun
        return news

    def run(
        self,
        function: Callable[..., Any],
        arguments: Iterable[tuple[Any, ...]],
        describe: Callable[[int], str],
        workers: int,
    ) -> Generator[Any, None, None]:
        """function(*arguments) for each of the arguments, in their order, on at most so many workers.

        `describe` names the task of a number. Raises the function's exception, with the worker's traceback as
        its cause, or WorkerLost. When the generator is closed, no worker stays busy.
        """
        tasks = ((number, describe(number), given) for number, given in enumerate(arguments))
        answers: dict[int, Any] = {}
        turn = 0
        more = True
        crew = self._workers[:workers]
        patience = Patience(lambda: _busy(crew))
        process = os.getpid()
        try:
            while True:
                if os.getpid() != process:
                    raise BackendError("this process was forked during a run, whose workers belong to its parent")
                for worker in crew:
                    if more and worker.task is None:
                        more = self._hand_out(worker, function, tasks, patience)
                while turn in answers:
                    yield answers.pop(turn)
                    turn += 1
                if not (busy := {worker.connection: worker for worker in crew if worker.task is not None}):
                    return
                for ready in wait(list(busy), STEP):
                    worker = busy[cast("Connection", ready)]
                    number = cast("int", worker.task)
                    answers[number] = self._receive(worker, patience)
                    patience.renew()
                patience.tell()
        except (KeyboardInterrupt, SystemExit, WorkerLost):
            self.kill()
            raise
        finally:
            patience.close()
            self._drain()

    def kill(self) -> None:
        """End all workers at once."""
        workers = self._leave()
        _kill_all(workers)
        _reap(workers)

    def close(self) -> None:
        """Let all workers leave; may be called again."""
        workers = self._leave()
        for worker in workers:
            with suppress(OSError):
                worker.connection.send_bytes(b"")
        deadline = time.monotonic() + LEAVE
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            _kill(worker)
        _reap(workers)

    def abandon(self) -> None:
        """In a process that the application forked: forget the workers, which are its parent's."""
        for worker in self._workers:
            worker.connection.close()
            children: set[BaseProcess] = getattr(multiprocessing.process, "_children", set())
            children.discard(worker.process)  # this process would end them when it ends itself
        self._workers = []

    def _leave(self) -> list[Worker]:
        """The workers that were started, which are no longer the pool's."""
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.process.pid is None:
                worker.connection.close()
        return [worker for worker in workers if worker.process.pid is not None]

    def _start(self, started: Any) -> None:
        ours, theirs = started.Pipe()
        process = started.Process(target=main, args=(theirs,), name="fem-worker", daemon=True)
        self._workers.append(Worker(process, ours))
        try:
            process.start()
        finally:
            theirs.close()

    def _await(self, start: Start, deadline: float, patience: Patience) -> None:
        """Wait until all workers are ready."""

        def wait_for(done: Callable[[float], bool]) -> bool:
            while not done(STEP):  # in steps, because some systems don't hear Ctrl-C while they wait
                if time.monotonic() > deadline:
                    return False
                patience.tell()
            patience.renew()
            return True

        ready = start.run(wait_for)
        for worker in self._workers if ready else ():
            try:
                if worker.process.pid and (ready := ready and wait_for(worker.connection.poll)):
                    worker.connection.recv_bytes()
            except (EOFError, OSError):
                how = _ending(worker)
                if how.startswith("ended"):
                    raise BackendUnavailable(
                        f"a worker process did not start ({how}); its output is above. Put the statements of the "
                        'script under `if __name__ == "__main__":`, because each worker imports the script'
                    ) from None
                what = f"process {worker.process.pid} {how} while it started"
                raise WorkerLost(f"{what}; the next run starts new workers") from None
        if not ready:
            raise BackendUnavailable(f"the workers weren't ready within {START:.0f} s: {self._starting()}")

    def _hand_out(
        self, worker: Worker, function: Callable[..., Any], tasks: Iterator[tuple[int, str, Any]], patience: Patience
    ) -> bool:
        """Send the next task; False if there is none."""
        begun = time.perf_counter()
        number, doing, arguments = next(tasks, (None, "", ()))
        if number is None:
            return False
        message = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
        self.traffic.seconds["pickling"] += time.perf_counter() - begun
        self.traffic.tasks += 1
        self.traffic.bytes_sent += len(message)
        worker.task, worker.doing = number, doing
        if len(message) > LARGE:
            patience.watch()
        try:
            worker.connection.send_bytes(message)
        except OSError as error:
            raise self._lost(worker, error) from None
        return True

    def _receive(self, worker: Worker, patience: Patience) -> Any:
        try:
            good, size, *seconds = HEADER.unpack(worker.connection.recv_bytes())
            if size > LARGE or not worker.connection.poll(0.01):
                patience.watch()
            payload = worker.connection.recv_bytes()
        except (EOFError, OSError) as broken:
            raise self._lost(worker, broken) from None
        worker.task = None
        begun = time.perf_counter()
        answer = pickle.loads(payload)
        self.traffic.bytes_received += HEADER.size + len(payload)
        self.traffic.seconds["pickling"] += seconds[0] + seconds[2] + time.perf_counter() - begun
        self.traffic.seconds["computing"] += seconds[1]
        if good:
            return answer
        pickled, text, trace = answer
        error = pickle.loads(pickled) if pickled else BackendError(f"{text} (in a worker, {worker.doing})")
        raise error from RemoteTraceback(trace)

    def _lost(self, worker: Worker, error: Exception) -> WorkerLost:
        what = f"process {worker.process.pid} {_ending(worker, error)} in {worker.doing}"
        return WorkerLost(f"{what}; the next run starts new workers")

    def _drain(self) -> None:
        """Wait for the running tasks, and drop their results. A worker that takes too long is killed."""
        if not (busy := [worker for worker in self._workers if worker.task is not None]):
            return
        done = threading.Event()

        def limit() -> None:
            if not done.wait(DRAIN):
                _kill_all(busy)

        watch = threads.start(limit, "fem-drain")
        try:
            for worker in busy:
                worker.connection.recv_bytes()
                worker.connection.recv_bytes()
                worker.task = None
        except (EOFError, OSError):
            self.kill()
        except BaseException:
            self.kill()
            raise
        finally:
            done.set()
            if watch:
                watch.join()

    def _starting(self) -> str:
        """What the start of the workers waits for."""
        if (number := fork_server.pid()) and is_stopped(number):
            return f"the fork server, {_process(number)}"
        return ", ".join(_process(number) for number in self.pids if number) or "worker processes to start"


def _busy(crew: list[Worker]) -> str:
    """The tasks that the run waits for."""
    doing = [f"{_process(worker.process.pid or 0)} in {worker.doing}" for worker in crew if worker.task is not None]
    return ", ".join(doing)


def _process(number: int) -> str:
    return f"process {number}" + (f" (stopped; `kill -CONT {number}` continues it)" if is_stopped(number) else "")


def _ending(worker: Worker, error: Exception | None = None) -> str:
    """How a worker's process ended; `error` is that of its pipe."""
    worker.process.join(1.0)
    code = worker.process.exitcode
    if code is None:
        reason = error.errno and os.strerror(error.errno) if isinstance(error, OSError) else None
        return f"can't be reached through its pipe ({reason})" if reason else "closed its pipe"
    if code == LOST:
        return "lost its fork server"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _kill(worker: Worker) -> None:
    with suppress(OSError):
        worker.process.kill()
        if sys.platform != "win32" and worker.process.exitcode == LOST and not _hung_up(worker):
            os.kill(cast("int", worker.process.pid), signal.SIGKILL)  # it may be stopped, and has no parent


def _kill_all(workers: list[Worker]) -> None:
    for worker in workers:
        _kill(worker)


def _hung_up(worker: Worker) -> bool:
    """Whether the worker has ended, as its pipe tells. A fork server that is stopped doesn't tell."""
    try:
        while worker.connection.poll(0):
            worker.connection.recv_bytes()
    except (EOFError, OSError):
        return True
    return False


def _reap(workers: list[Worker]) -> None:
    """Wait until killed workers have ended."""
    deadline = time.monotonic() + LEAVE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    if any(worker.process.exitcode is None and _hung_up(worker) for worker in workers) and fork_server.end():
        for worker in workers:
            worker.process.join(LEAVE)
    for worker in workers:
        worker.connection.close()
        with suppress(ValueError):  # it is still running
            worker.process.close()


def _close_all() -> None:
    """At the end of the program, before `multiprocessing` waits for all children, also for those that are stopped."""
    for pool in list(_pools):
        pool.close()
    if (number := fork_server.pid()) and is_stopped(number):
        fork_server.end()


def _forked() -> None:
    for pool in list(_pools):
        pool.abandon()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
