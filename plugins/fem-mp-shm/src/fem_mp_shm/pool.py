"""Worker processes, each with its own pipe.

With one queue for all workers, a run can hang: `multiprocessing.Pool` waits for ever for the result of a
killed worker, and so does `concurrent.futures.ProcessPoolExecutor` if the worker is killed while it writes a
result, because the others keep the shared pipe open. Here the pipe of a worker closes when the worker ends,
and the pool notices it at once.
"""

import os
import pickle
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from fem_core.errors import BackendError, BackendUnavailable, WorkerLost

from fem_mp_shm.segments import sweep
from fem_mp_shm.starting import context, quiet_start
from fem_mp_shm.worker import HEADER, main

#: Seconds that a worker has to start, to finish its task after the run has failed, and to leave.
START, DRAIN, LEAVE = 120.0, 10.0, 2.0


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

    @property
    def pids(self) -> list[int]:
        """The workers' process numbers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def ensure(self, workers: int) -> str | None:
        """Have at least that many workers. Returns what happened to the earlier ones, if they had ended.

        Raises BackendUnavailable if they can't start.
        """
        dead = [worker for worker in self._workers if not worker.process.is_alive()]
        news = f"a worker ended between two tasks ({_ending(dead[0])}); all workers were replaced" if dead else None
        if dead:
            self.kill()
        begun = time.perf_counter()
        if missing := range(workers - len(self._workers)):
            sweep()
            started = context(self.start_method)
            try:
                with quiet_start():
                    fresh = [self._start(started) for _ in missing]
                for worker in fresh:
                    self._await(worker, begun + START)
            except (OSError, EOFError, MemoryError) as error:
                self.kill()
                raise BackendUnavailable(
                    f"worker processes can't start ({_trouble(error)}); any output of theirs is above. "
                    "Use backend numpy, or fewer workers"
                ) from error
            except BaseException:
                self.kill()
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
        try:
            while True:
                for worker in crew:
                    if more and worker.task is None:
                        more = self._hand_out(worker, function, tasks)
                while turn in answers:
                    yield answers.pop(turn)
                    turn += 1
                if not (busy := {worker.connection: worker for worker in crew if worker.task is not None}):
                    return
                for ready in wait(list(busy)):
                    worker = busy[cast("Connection", ready)]
                    number = cast("int", worker.task)
                    answers[number] = self._receive(worker)
        except (KeyboardInterrupt, SystemExit, WorkerLost):
            self.kill()
            raise
        finally:
            self._drain()

    def kill(self) -> None:
        """End all workers at once."""
        workers, self._workers = self._workers, []
        for worker in workers:
            with suppress(OSError):
                worker.process.kill()
        for worker in workers:
            _reap(worker)

    def close(self) -> None:
        """Let all workers leave; may be called again."""
        workers, self._workers = self._workers, []
        for worker in workers:
            with suppress(OSError):
                worker.connection.send_bytes(b"")
        deadline = time.monotonic() + LEAVE
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            with suppress(OSError):
                worker.process.kill()
            _reap(worker)

    def _start(self, started: Any) -> Worker:
        ours, theirs = started.Pipe()
        process = started.Process(target=main, args=(theirs,), name="fem-worker", daemon=True)
        try:
            process.start()
        finally:
            theirs.close()
        worker = Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _await(self, worker: Worker, deadline: float) -> None:
        """Wait until the worker is ready."""
        try:
            if worker.connection.poll(max(0.0, deadline - time.perf_counter())):
                worker.connection.recv_bytes()
                return
            reason = f"not ready within {START:.0f} s"
        except (EOFError, OSError) as error:
            reason = _ending(worker, error)
        raise BackendUnavailable(
            f"a worker process did not start ({reason}); its output is above. Put the statements of the script "
            'under `if __name__ == "__main__":`, because each worker imports the script'
        )

    def _hand_out(self, worker: Worker, function: Callable[..., Any], tasks: Iterator[tuple[int, str, Any]]) -> bool:
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
        try:
            worker.connection.send_bytes(message)
        except OSError as error:
            raise self._lost(worker, error) from None
        return True

    def _receive(self, worker: Worker) -> Any:
        try:
            good, *seconds = HEADER.unpack(worker.connection.recv_bytes())
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
        """Wait for the running tasks, and drop their results."""
        deadline = time.monotonic() + DRAIN
        while busy := {worker.connection: worker for worker in self._workers if worker.task is not None}:
            ready = wait(list(busy), max(0.0, deadline - time.monotonic()))
            try:
                for connection in ready:
                    worker = busy[cast("Connection", connection)]
                    worker.connection.recv_bytes()
                    worker.connection.recv_bytes()
                    worker.task = None
            except (EOFError, OSError):
                ready = []
            if not ready:
                self.kill()


def _trouble(error: Exception) -> str:
    """Why a process can't start."""
    if isinstance(error, EOFError):
        return "the fork server ended"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def _ending(worker: Worker, error: Exception | None = None) -> str:
    """How a worker's process ended; `error` is that of its pipe."""
    worker.process.join(1.0)
    code = worker.process.exitcode
    if code is None:
        reason = error.errno and os.strerror(error.errno) if isinstance(error, OSError) else None
        return f"can't be reached through its pipe ({reason})" if reason else "closed its pipe"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _reap(worker: Worker) -> None:
    worker.process.join(LEAVE)
    worker.connection.close()
    with suppress(ValueError):  # it is still running
        worker.process.close()
