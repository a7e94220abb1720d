"""The heavy part: an executor on joblib. The inputs of a batch and its results are pickled."""

from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

from fem_core.backends import BatchedBackend
from fem_core.execution import Batching, PlannedExecutor, new_results, require_importable, restrict
from fem_core.plugins import WorkerLost
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError


def compute(kernel, start, stop, inputs, outputs):
    """In the worker: the results of one batch."""
    results = new_results(stop - start, outputs)
    kernel(start, stop, inputs, results)
    return results


class JoblibExecutor(PlannedExecutor):
    """Batches in order from joblib's generator; each result is stored as it arrives."""

    folder = None  # joblib's temporary folder

    def run_tasks(self, kernel, plan, n, inputs, outputs, progress):
        require_importable(kernel)
        batches = [batch for task in plan.tasks for batch in task]
        jobs = (delayed(compute)(kernel, *restrict(*batch, inputs), dict(outputs)) for batch in batches)
        results = new_results(n, outputs)
        answers = self.parallel(plan.workers, return_as="generator")(jobs)
        try:
            for (start, stop), parts in zip(batches, answers, strict=True):
                for name, part in parts.items():
                    results[name][start:stop] = part
                progress(stop, n)
        except TerminatedWorkerError as error:
            raise WorkerLost(f"a process ended among {len(batches)} batches") from error
        finally:
            with catch_warnings():
                simplefilter("ignore", UserWarning)  # a cancelled run leaves tasks undone, as intended
                answers.close()
        return results, 0  # joblib doesn't give the time of the computation

    def run_items(self, function, items, workers):
        require_importable(function)
        return self.parallel(workers)(delayed(function)(item) for item in items)

    def parallel(self, workers, **options):
        self.folder = self.folder or TemporaryDirectory(prefix="fem-joblib-", ignore_cleanup_errors=True)
        return Parallel(workers, max_nbytes=None, temp_folder=self.folder.name, **options)

    def close(self):
        if self.folder is not None:
            get_reusable_executor().shutdown(wait=True, kill_workers=True)
            self.folder.cleanup()
            self.folder = None


class JoblibBackend(BatchedBackend):
    """`joblib`: the core's backend on a `JoblibExecutor`."""

    def __init__(self, workers=None, batch_size="auto", min_size=1000):
        super().__init__(JoblibExecutor(Batching(workers, batch_size, min_size=min_size)))
