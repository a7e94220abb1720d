"""Seconds until a pool's workers are ready, by start method and number, in new interpreters."""

import multiprocessing
import statistics
import subprocess
import sys

_PROGRAM = """
import sys
from fem_mp_shm.pool import Pool
if __name__ == "__main__":
    method, workers = sys.argv[1], int(sys.argv[2])
    for _ in range(2):
        pool = Pool(method)
        pool.ensure(workers)
        print(pool.startup_seconds)
        pool.close()
"""


def run(repeats: int) -> dict[str, object]:
    results: dict[str, object] = {}
    print(f"{'':12} workers    first pool   second pool (ms)")
    for method in multiprocessing.get_all_start_methods():
        for workers in (1, 2, 4):
            rows = []
            for _ in range(max(3, repeats)):
                command = [sys.executable, "-c", _PROGRAM, method, str(workers)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows.append([float(line) for line in done.stdout.split()])
            first, second = (statistics.median(column) for column in zip(*rows, strict=True))
            results[f"{method}, {workers}"] = {"first": first, "second": second}
            print(f"{method:12} {workers:7} {1e3 * first:13.0f} {1e3 * second:13.0f}")
    return results
