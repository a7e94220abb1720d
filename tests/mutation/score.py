"""The session: mutants of the modules, their trials, the score of the kit and what is not as listed."""

import argparse
import os
import platform
import time
from collections import Counter

import fem_core
import fem_core.backends.default
import fem_core.testing  # before the first fork, so that no child has to
import fem_threads.backend  # noqa: F401
import numpy as np

from mutation.copies import source
from mutation.operators import mutants
from mutation.survivors import SURVIVORS, Survivors
from mutation.trials import VARIANTS, Trial, prepare, try_all


def main() -> int:
    options = _options()
    begun = time.monotonic()
    prepare()
    survivors = Survivors.read(SURVIVORS)
    names = [name for name in VARIANTS if any(part in name for part in options.module or [""])]
    made = {name: mutants(name, source(name), survivors.left_out(name)) for name in names}
    faults = [fault for name in names for fault in survivors.unknown(name, made[name])]
    chosen = [mutant for name in names for mutant in made[name]]
    seconds = {}
    if options.only:
        chosen = [mutant for mutant in chosen if any(text in mutant.key for text in options.only)]
    else:
        for trial in try_all([(name, None) for name in names], {}, options.jobs):
            if not trial.survived:
                raise SystemExit(f"{trial.module}, as it is, fails at {trial.caught_by}: {trial.detail}")
            seconds[trial.module] = trial.seconds
        print(f"{sum(map(len, made.values()))} mutants", flush=True)

    def tell(trial: Trial) -> None:
        if options.verbose:
            caught = f"{trial.caught_by}: {trial.detail.splitlines()[0][:100] if trial.detail else ''}"
            print(f"{trial.mutant}  {'SURVIVED' if trial.survived else caught}", flush=True)

    trials = try_all([(mutant.module, mutant) for mutant in chosen], seconds, options.jobs, tell)
    print(f"{'module':28} mutants equivalent caught   score")
    total: Counter[str] = Counter()
    for name in names:
        counts, more = survivors.compared(name, [trial for trial in trials if trial.module == name])
        _line(name, counts)
        faults += more
        total += counts
    _line("all", total)
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes, {options.jobs} mutants at a time")
    print(f"fem-core {fem_core.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(*faults, sep="\n")
    return 1 if faults else 0


def _line(name: str, counts: Counter[str]) -> None:
    wrong = counts["mutants"] - counts["equivalent"]
    score = f"{counts['caught'] / wrong:7.1%}" if wrong else "      -"
    print(f"{name:28} {counts['mutants']:7} {counts['equivalent']:10} {counts['caught']:6} {score}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s mutation --", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--module", action="append", help="part of a module's name; may be repeated")
    parser.add_argument("--only", action="append", help="mutants with this text in their line; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="a line for each mutant")
    return parser.parse_args()
