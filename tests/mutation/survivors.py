"""The mutants that the kit need not or does not catch, each with a reason: `survivors.toml`."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.operators import Mutant
from mutation.trials import Trial

SURVIVORS = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Survivors:
    """What is listed: `equivalent` mutants compute the same, `missed` are wrong, `functions` aren't mutated."""

    equivalent: dict[str, set[str]]
    missed: dict[str, set[str]]
    functions: dict[str, set[str]]

    @classmethod
    def read(cls, path: Path) -> "Survivors":
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(*(_by_module(listed.get(name, [])) for name in ("equivalent", "missed", "left_out")))

    def left_out(self, module: str) -> frozenset[str]:
        return frozenset(self.functions.get(module, ()))

    def unknown(self, module: str, mutants: Iterable[Mutant]) -> list[str]:
        """Listed mutants that aren't made any more."""
        keys = {mutant.key for mutant in mutants}
        listed = self.equivalent.get(module, set()) | self.missed.get(module, set())
        return [f"{module}: take it off survivors.toml, it isn't made any more: {key}" for key in sorted(listed - keys)]

    def compared(self, module: str, trials: Sequence[Trial]) -> tuple[Counter[str], list[str]]:
        """The counts of a module, and what is not as listed."""
        equivalent, missed = self.equivalent.get(module, set()), self.missed.get(module, set())
        counts: Counter[str] = Counter(mutants=len(trials))
        faults = []
        for trial in trials:
            assert trial.mutant is not None
            key = trial.mutant.key
            counts["caught"] += not trial.survived
            counts["equivalent"] += trial.survived and key in equivalent
            if trial.survived and key not in equivalent | missed:
                faults.append(f"{trial.mutant}\n    survived: the kit needs a check, or survivors.toml a reason")
            if not trial.survived and key in equivalent | missed:
                faults.append(f"{trial.mutant}\n    take it off survivors.toml: {trial.caught_by} caught it")
        return counts, faults


def _by_module(groups: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group in groups:
        assert group["reason"], f"a reason is missing in {SURVIVORS.name}"
        found.setdefault(group["module"], set()).update(group["what"])
    return found
