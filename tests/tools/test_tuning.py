"""Options found for a machine: nothing wrong is timed, nothing slower is taken, nothing kept is trusted blindly."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import fem_core as fem
import pytest
from commands import run
from fem_core.backends.default import DefaultBackend
from fem_core.cli.errors import Status
from fem_core.plugins.backend import halves
from fem_core.plugins.registry import REGISTRY, State
from fem_core.run import runner, tuned_options
from fem_core.testing.target import Target
from fem_core.tools import bench, tuning
from hypothesis import given
from hypothesis import strategies as st

#: Seconds on the clock below that an assembly takes, by gait, on meshes of under and over 100 elements.
PACE = {"walk": (10, 100), "run": (5, 99), "amble": (9.5, 95), "dash": (5, 150), "jog": (5, 99), "stroll": (20, 10)}
CLOCK = SimpleNamespace(now=0.0)


class Walker(fem.plugins.Backend):
    """Takes the time that its gait says, and remembers with what it was made."""

    made: ClassVar[list] = []
    awake: ClassVar[set] = set()
    most = 0

    def __init__(self, **options):
        self.core = DefaultBackend()
        self.made.append(options)
        self.gait, self.cadence = options.get("gait", "walk"), options.get("cadence", 1)

    def open(self):
        if self.gait == "fly":
            raise fem.BackendUnavailable("no wings")
        if self.gait == "swim":
            raise fem.OptionError("no water")
        self.awake.add(self)
        Walker.most = max(Walker.most, len(self.awake))

    def close(self):
        self.awake.discard(self)

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity, progress):
        CLOCK.now += PACE.get(self.gait, (0, 0))[mesh.n_elements > 100] / self.cadence
        system = self.core.fem_assemble(mesh, problem, sparsity, progress)
        if self.gait == "fall":
            raise fem.BackendError("it fell")
        return replace(system, matrix=1.001 * system.matrix) if self.gait == "cheat" else system

    @fem.plugins.hookimpl
    def fem_compute_derived(self, mesh, problem, result, progress):
        fields = self.core.fem_compute_derived(mesh, problem, result, progress)
        return replace(fields, speed=1.001 * fields.speed) if self.gait == "limp" else fields


def info(*candidates, **more):
    options = (
        fem.plugins.Option("gait", str, "walk", candidates=candidates),
        fem.plugins.Option("cadence", int, 1, candidates=more.pop("cadences", ())),
        fem.plugins.Option("colour", str, "red"),
    )
    given = {"stages": ("assemble_system", "compute_derived"), "options": options, **more}
    return fem.plugins.BackendInfo("walker", "walks", f"{__name__}:Walker", **given)


@pytest.fixture(autouse=True)
def walker(monkeypatch, tmp_path):
    """Registers a walker with these candidates; the clock is what it says, the folder a new one."""
    monkeypatch.setattr(tuned_options, "folder", lambda: tmp_path / "tuned")
    monkeypatch.delenv("FEM_TUNE")
    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter=lambda: CLOCK.now))
    monkeypatch.setattr(Walker, "made", [])
    monkeypatch.setattr(Walker, "most", 0)

    def register(*candidates, **more):
        monkeypatch.setitem(REGISTRY._registered, "walker", info(*candidates, **more))
        return REGISTRY.find("walker")

    return register


SMALL, LARGE = fem.generate.duct(nx=6, ny=3), fem.generate.duct(nx=20, ny=10)


def tune(listing, *meshes):
    found = tuning.tune(listing, meshes or (SMALL, LARGE), repeats=3)
    return found.options, {f"{one.option}={one.value}": one for one in found.trials}


def last_made():
    return Walker.made[-1]


# what is taken


def test_what_is_quicker_somewhere_and_slower_nowhere_is_taken(walker):
    options, trials = tune(walker("run"))
    assert options == {"gait": "run"}
    assert trials["gait=run"].ratios == [0.5, 0.5, 0.99, 0.99]
    assert trials["gait=run"].default == [10, 10, 100, 100]


@pytest.mark.parametrize("gait", ["amble", "dash", "stroll"])
def test_what_is_hardly_quicker_or_slower_somewhere_is_not(walker, gait):
    assert tune(walker(gait))[0] == {}


def test_what_is_slower_on_a_small_mesh_is_not_tried_on_a_large_one(walker):
    _, trials = tune(walker("stroll", "run"))
    assert (len(trials["gait=stroll"].ratios), len(trials["gait=run"].ratios)) == (1, 4)


def test_of_equals_the_one_listed_first_is_taken(walker):
    assert tune(walker("jog", "run"))[0] == {"gait": "jog"}
    assert tune(walker("run", "jog"))[0] == {"gait": "run"}


def test_three_are_open_at_a_time_however_many_values_there_are(walker):
    told = []
    tuning.tune(walker("run", "jog", "dash", "amble"), [SMALL], repeats=3, on_round=lambda *round_: told.append(round_))
    assert (Walker.most, Walker.awake) == (3, set())
    assert told[0] == ("gait=run", SMALL, 0)
    assert [round_ for gait, _, round_ in told if gait == "gait=jog"] == [0, 1, 2, 3, -2, -1, 0, 1, 2, 3]


def test_options_are_tried_with_those_taken_before(walker):
    options, trials = tune(walker("run", cadences=(2, 3)))
    assert options == {"gait": "run", "cadence": 3}
    assert trials["cadence=2"].default == [5, 5, 99, 99]
    assert {"gait": "run", "cadence": 2} in Walker.made


def test_candidates_may_depend_on_the_cores(walker, monkeypatch):
    monkeypatch.setattr(tuning, "available_cores", lambda: 8)
    assert tune(walker(cadences=halves))[0] == {"cadence": 4}
    assert {made["cadence"] for made in Walker.made if "cadence" in made} == {4, 2}  # 1 is the default


@given(st.integers(1, 1000))
def test_halves(cores):
    values = halves(cores)
    assert list(values) == sorted(set(values), reverse=True)
    assert all(1 <= value < cores for value in values)
    assert bool(values) == (cores > 1)


# what is refused


@pytest.mark.parametrize(
    ("gait", "why"),
    [
        ("cheat", "builds a different matrix"),
        ("limp", "computes another speed"),
        ("fly", "no wings"),
        ("fall", "it fell"),
    ],
)
def test_what_gives_another_result_is_not_timed(walker, gait, why):
    options, trials = tune(walker(gait, "run"))
    assert options == {"gait": "run"}
    assert why in trials[f"gait={gait}"].refused
    assert trials[f"gait={gait}"].ratios == []


def _raise(error):
    raise error


def test_what_needs_more_memory_than_there_is_is_refused(walker, monkeypatch):
    monkeypatch.setattr(tuning, "_difference", lambda *results: _raise(MemoryError()))
    _, trials = tune(walker("run"))
    assert trials["gait=run"].refused == "not enough memory"


@pytest.mark.parametrize("name", ["threads", "numba"])
def test_nothing_that_a_backend_of_ours_suggests_is_refused(name):
    if name not in {one.name for one in REGISTRY.listings() if one.state is State.READY}:
        pytest.skip(f"{name} isn't ready here")
    _, trials = tune(REGISTRY.find(name), fem.generate.duct(nx=60, ny=20))
    assert bool(trials) == (fem.execution.available_cores() > 1) or name == "threads"
    assert [one.refused for one in trials.values()] == [""] * len(trials)


# what is noise

times = st.lists(st.floats(0.5, 2), min_size=5, max_size=5)
rows = st.lists(st.tuples(times, times, times), min_size=1, max_size=4)


@given(st.lists(rows, min_size=1, max_size=4).filter(lambda trials: len({len(one) for one in trials}) == 1))
def test_the_one_chosen_is_quicker_somewhere_and_slower_nowhere(trials):
    tried = []
    for situations in trials:
        tried.append(tuning.Trial("gait", len(tried)))
        for row in situations:
            tried[-1].add(*row)
    best = tuning.choose(tried)
    sound = [one for one in tried if min(one.ratios) < 1 - tuning.MARGIN]
    sound = [one for one in sound if all(r <= 1 + limit for r, limit in zip(one.ratios, one.limits, strict=True))]
    if best is None:
        assert not any(one.better() for one in tried)
    else:
        assert best in sound
        assert not any(one.better(best) for one in tried[tried.index(best) + 1 :] if not one.slower())


@pytest.mark.parametrize(("twin", "taken"), [([10, 10, 10], True), ([10, 13, 10], True), ([7, 13, 14], False)])
def test_a_gain_must_be_more_than_two_equal_ones_differ_by(twin, taken):
    trial = tuning.Trial("gait", "run")
    trial.add([8, 8, 8], [10, 10, 10], twin)
    assert trial.better() is taken


# what is kept


def test_what_was_found_is_used_and_the_report_says_so(walker):
    path = tuned_options.store(walker("run"), {"gait": "run"}, [51])
    solution = fem.solve(SMALL, backend="walker")
    assert last_made() == {"gait": "run"}
    day = json.loads(path.read_text())["day"]
    assert f"walker: gait=run, as tuned on {day} for this machine" in solution.report.notes
    assert (solution.u == fem.solve(SMALL, backend="numpy").u).all()


def test_auto_and_a_chain_use_it_too(walker):
    tuned_options.store(walker("run", rank=1000), {"gait": "run"}, [51])
    assert fem.solve(SMALL).report.backend == "walker"
    assert last_made() == {"gait": "run"}
    fem.solve(SMALL, backend="numpy,walker")
    assert last_made() == {"gait": "run"}


def test_an_option_that_is_given_wins(walker):
    tuned_options.store(walker("run", cadences=(2,)), {"gait": "run", "cadence": 2}, [51])
    solution = fem.solve(SMALL, backend="walker", backend_options={"gait": "walk"})
    assert last_made() == {"gait": "walk"}
    assert not any("tuned" in note for note in solution.report.notes)
    fem.open_backend("walker", colour="blue").close()  # what was found was found with the defaults of all others
    assert last_made() == {"colour": "blue"}


def test_it_can_be_switched_off(walker, monkeypatch):
    tuned_options.store(walker("run"), {"gait": "run"}, [51])
    fem.open_backend("walker", tuned=False).close()
    monkeypatch.setenv("FEM_TUNE", "off")
    fem.open_backend("walker").close()
    assert Walker.made == [{}, {}]


def test_comparisons_go_by_the_defaults(walker):
    tuned_options.store(walker("run"), {"gait": "run"}, [51])
    bench.compare_backends(["walker"], SMALL, repeats=1, iterations=1)
    with Target("walker") as target, target.open():
        target.unopened()
    tune(walker("run"))
    assert {"gait": "run"} in Walker.made  # by `tune` alone
    assert Walker.made[:3] == [{}, {}, {}]


def test_where_the_defaults_are_best_nothing_is_said(walker):
    tuned_options.store(walker("run"), {}, [51])
    assert not any("tuned" in note for note in fem.solve(SMALL, backend="walker").report.notes)


# the signature


def test_the_signature_is_the_same_in_another_process():
    program = (
        "import json, fem_core as fem; from fem_core.run import tuned_options\n"
        "print(json.dumps(tuned_options.signature(fem.plugins.REGISTRY.find('numpy'))))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == tuned_options.signature(REGISTRY.find("numpy"))


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(tuned_options, "cpu_name", lambda: "Z80"),
        lambda patch: patch.setattr(tuned_options, "cpu_features", lambda: ["mmx"]),
        lambda patch: patch.setattr(tuned_options, "available_cores", lambda: 77),
        lambda patch: patch.setattr(tuned_options, "total_memory", lambda: 2**44),
        lambda patch: patch.setattr(tuned_options, "total_memory", lambda: None),
        lambda patch: patch.setattr(tuned_options, "versions", lambda: {"fem-core": "9.9"}),
        lambda patch: patch.setattr(sys, "version_info", SimpleNamespace(major=4, minor=0)),
        lambda patch: patch.setenv("NUMBA_NUM_THREADS", "77"),
    ],
)
def test_what_was_found_elsewhere_is_not_used(walker, monkeypatch, caplog, change):
    listing = walker("run")
    tuned_options.store(listing, {"gait": "run"}, [51])
    with monkeypatch.context() as patch:
        change(patch)
        assert tuned_options.load(listing) is None
    assert tuned_options.load(replace(listing, distribution="walker 9.9")) is None
    assert tuned_options.load(listing).options == {"gait": "run"}
    assert caplog.text == ""


def test_memory_counts_by_its_class(walker, monkeypatch):
    sizes = []
    for memory in (31.2, 32.9, 64.0):
        monkeypatch.setattr(tuned_options, "total_memory", lambda memory=memory: int(memory * 2**30))
        sizes.append(tuned_options.signature(walker("run"))["memory"])
    assert sizes == ["32 GB", "32 GB", "64 GB"]


def test_devices_count_for_backends_that_have_one(walker, monkeypatch):
    asked = []
    monkeypatch.setattr(tuned_options, "find_gpus", lambda: asked.append(1) or {"devices": [{"name": "GPU"}]})
    assert tuned_options.signature(walker("run"))["devices"] == []
    assert asked == []
    assert tuned_options.signature(walker("run", device="cuda"))["devices"] == [{"name": "GPU"}]


# damage


def _changed(**facts):
    return lambda text: json.dumps({**json.loads(text), **facts})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: "\0" + text,
        _changed(signature={}),
        _changed(options={"gait": "cheat"}),
        _changed(options={"colour": "blue"}),
        _changed(options={"wings": 2}),
        _changed(options=["gait"]),
        _changed(options={"gait": ["run"]}),
        _changed(options={"cadence": False}),
        _changed(options={"cadence": 2.0}),
        _changed(day="\x1b[2J"),
        _changed(day=5),
    ],
)
def test_a_file_that_cannot_be_used_is_left_aside_with_a_warning(walker, caplog, damage):
    path = tuned_options.store(walker("run", cadences=(0, 2)), {"gait": "run"}, [51])
    path.write_text(damage(path.read_text()))
    assert fem.solve(SMALL, backend="walker").report.converged
    assert last_made() == {}
    assert "the tuned options of walker can't be used" in caplog.text


def test_a_cache_whose_name_is_impossible(walker, monkeypatch, tmp_path, caplog):
    walker("run")
    monkeypatch.setattr(tuned_options, "folder", lambda: tmp_path / ("x" * 300))
    fem.open_backend("walker").close()
    assert last_made() == {}
    assert os.strerror(errno.ENAMETOOLONG) in caplog.text


@pytest.mark.parametrize(("gait", "why"), [("fly", "no wings"), ("swim", "no water")])
@pytest.mark.parametrize("name", ["walker", "auto", "numpy,walker"])
def test_what_is_refused_at_opening_gives_way_to_the_defaults(walker, name, gait, why):
    tuned_options.store(walker(gait, rank=1000), {"gait": gait}, [51])
    report = fem.solve(SMALL, backend=name).report
    assert Walker.made == [{"gait": gait}, {}]
    assert report.providers["compute_derived"] != "core"
    (said,) = [text for text in report.warnings if "tuned" in text]
    assert why in said
    assert "`fem tune`" in said
    assert not any("tuned" in note for note in report.notes)
    with pytest.raises(fem.FemError, match=why):  # asked for, it is refused as ever
        fem.open_backend("walker", gait=gait)


def test_what_cannot_be_opened_at_all_says_why(walker, monkeypatch):
    tuned_options.store(walker("fly"), {"gait": "fly"}, [51])
    monkeypatch.setattr(Walker, "open", lambda self: (_ for _ in ()).throw(fem.BackendUnavailable("asleep")))
    with pytest.raises(fem.BackendUnavailable, match="asleep"):
        fem.open_backend("walker")


def test_a_plugin_whose_candidates_fail_can_still_be_opened(walker, caplog):
    tuned_options.store(walker("run"), {"gait": "run"}, [51])
    walker("run", cadences=lambda cores: 1 / 0)
    fem.open_backend("walker").close()
    assert "ZeroDivisionError" in caplog.text


# the command


def fem_tune(*arguments):
    return run("tune", "--nodes", "120", "--nodes", "900", "--repeats", "3", *arguments)


def test_fem_tune(walker):
    walker("run", "cheat", "stroll")
    shown = fem_tune("--backend", "walker")
    assert shown.exit_code == 0
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "gait=run 2.00 2.00 1.01 1.01 taken" in lines
    assert "gait=cheat refused" in lines
    assert any(line.startswith("gait=cheat is refused: it builds a different matrix") for line in lines)
    assert "gait=stroll 0.50 slower" in lines
    assert "walker: saved --option gait=run" in lines
    fem.open_backend("walker").close()
    assert last_made() == {"gait": "run"}
    for question in ("backends", "doctor"):
        asked = run(question, *(["--no-probe"] if question == "doctor" else []))
        assert "gait=run, as tuned on" in " ".join(asked.stdout.split())
    (one,) = [one for one in json.loads(run("backends", "--json").stdout) if one["name"] == "walker"]
    assert one["tuned"]["options"] == {"gait": "run"}


def test_where_there_is_one_core_there_may_be_nothing_to_try(walker, monkeypatch):
    walker(cadences=halves)
    monkeypatch.setattr(tuning, "available_cores", lambda: 1)
    shown = fem_tune("--backend", "walker")
    assert (shown.exit_code, shown.stdout.splitlines()[-2]) == (0, "walker: the defaults are best")


def test_fem_tune_prints_json(walker):
    walker("amble", "cheat")
    found = json.loads(fem_tune("--backend", "walker", "--json").stdout)
    walked = found["backends"]["walker"]
    assert walked["options"] == {}
    assert [trial["verdict"] for trial in walked["trials"]] == ["no gain", "refused"]
    assert walked["trials"][0]["default_seconds"] == [10, 10, 100, 100]
    assert os.path.exists(walked["file"])
    assert found["machine"]["hardware"]["cores"] >= 1


def test_fem_tune_forgets(walker):
    listing = walker("run")
    tuned_options.store(listing, {"gait": "run"}, [51])
    other = tuned_options.store(replace(listing, name="walker-2"), {"gait": "run"}, [51])
    assert "removed" in fem_tune("--forget", "--backend", "walker").stdout
    assert tuned_options.load(listing) is None
    assert other.exists()
    assert json.loads(fem_tune("--forget", "--json").stdout) == {"removed": [str(other)]}
    assert fem_tune("--forget").stdout == "no options were saved\n"


def test_without_names_a_backend_that_cannot_be_opened_is_left_out(walker, monkeypatch):
    walker("run")
    monkeypatch.setenv("FEM_DISABLE", "mp,mp-shm,numba,threads")
    monkeypatch.setattr(Walker, "open", lambda self: (_ for _ in ()).throw(fem.BackendUnavailable("asleep")))
    shown = fem_tune()
    assert (shown.exit_code, shown.stdout.splitlines()[-2]) == (0, "left out walker: asleep")
    assert fem_tune("--backend", "walker").exit_code == Status.BACKEND


def test_one_broken_plugin_keeps_no_other_from_being_tuned(walker, monkeypatch):
    walker("run")
    broken = replace(info(cadences=lambda cores: 1 / 0), name="broken")
    monkeypatch.setitem(REGISTRY._registered, "broken", broken)
    monkeypatch.setenv("FEM_DISABLE", "mp,mp-shm,numba,threads")
    shown = fem_tune()
    assert shown.exit_code == 0
    assert "left out broken: backend 'broken' failed in candidates of 'cadence': ZeroDivisionError" in shown.stdout
    assert "walker: saved --option gait=run" in shown.stdout


def test_a_backend_that_is_not_ready_is_refused_with_the_reason(walker):
    walker("run", available=lambda: "no legs")
    shown = fem_tune("--backend", "walker")
    assert (shown.exit_code, shown.stderr) == (Status.BACKEND, "fem: error: backend 'walker' is unavailable: no legs\n")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--backend", "wlaker"], Status.BACKEND, "no backend 'wlaker'"),
        (["--backend", "numpy"], Status.USAGE, "no option to tune; backends that have one: "),
        (["--nodes", "5"], Status.USAGE, "--nodes"),
        (["--repeats", "2"], Status.USAGE, "--repeats"),
        (["nowhere.h5", "--backend", "walker"], Status.USAGE, "nowhere.h5"),
    ],
)
def test_bad_input(walker, arguments, status, text):
    walker("run")
    shown = run("tune", *arguments)
    assert shown.exit_code == status
    assert text in shown.stderr
    assert shown.stderr.count("\n") == 1


def _no_room(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_what_cannot_be_kept_is_shown_and_is_an_error(walker, monkeypatch, tmp_path):
    walker("run")
    monkeypatch.setattr(tuned_options.caches, "writing", _no_room)
    shown = fem_tune("--backend", "walker")
    assert shown.exit_code == Status.USAGE
    assert "gait=run" in shown.stdout
    assert "saved" not in shown.stdout
    assert str(tmp_path / "tuned") in shown.stderr
    as_json = fem_tune("--backend", "walker", "--json")
    assert as_json.exit_code == Status.USAGE
    walked = json.loads(as_json.stdout)["backends"]["walker"]
    assert walked["options"] == {"gait": "run"}
    assert walked["failed"].endswith(os.strerror(errno.ENOSPC))
    assert "file" not in walked
    fem.open_backend("walker").close()
    assert last_made() == {}


def test_where_nothing_can_be_kept_nothing_is_measured(walker, tmp_path):
    walker("run")
    (tmp_path / "tuned").write_text("a file where the folder should be")
    shown = fem_tune("--backend", "walker")
    assert (shown.exit_code, shown.stdout) == (Status.USAGE, "")
    assert str(tmp_path / "tuned") in shown.stderr
    assert Walker.made == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (fem.SolveError("it sank"), Status.USAGE),
        (MemoryError("it sank"), Status.USAGE),
        (fem.plugins.WorkerLost("it sank"), Status.BACKEND),
    ],
)
def test_one_that_fails_takes_nothing_from_the_others(walker, monkeypatch, error, status):
    walker("run")
    monkeypatch.setitem(REGISTRY._registered, "sinker", replace(info("run"), name="sinker"))
    real = tuning._results
    monkeypatch.setattr(
        tuning,
        "_results",
        lambda session, *more: _raise(error) if session.name == "sinker" else real(session, *more),
    )
    arguments = ["--backend", "sinker", "--backend", "walker"]
    shown = fem_tune(*arguments)
    assert shown.exit_code == status
    assert "sinker failed: " in shown.stdout
    assert "walker: saved --option gait=run" in shown.stdout
    assert "it sank" in shown.stderr
    as_json = fem_tune(*arguments, "--json")
    assert as_json.exit_code == status
    found = json.loads(as_json.stdout)["backends"]
    assert "it sank" in found["sinker"]["failed"]
    assert found["walker"]["options"] == {"gait": "run"}


def test_ctrl_c_ends_it(walker, monkeypatch):
    walker("run")
    monkeypatch.setattr(tuning, "_results", lambda *more: _raise(fem.Cancelled("interrupted")))
    assert fem_tune("--backend", "walker").exit_code == Status.CANCELLED
