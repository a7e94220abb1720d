"""What is installed, whatever its state: each fault is isolated, named, and harms nobody else."""

import inspect
import json
import logging
import sys
from dataclasses import replace
from textwrap import dedent

import fakes
import fem_core as fem
import numpy as np
import pytest
from fakes import loopback
from fakes.distributions import GOOD, INFO, Shelf
from fem_core.backends.default import DefaultBackend
from fem_core.plugins.registry import REGISTRY, State


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path / "site")
    shelf.folder.mkdir()
    shelf.use(monkeypatch)
    yield shelf
    monkeypatch.undo()
    shelf.leave()


@pytest.fixture
def mesh():
    return fakes.mesh(3, 2)


def listing(shelf, name):
    """The listing of `name`, once it is clear that everything else still works."""
    shelf.refresh()
    found = {one.name: one for one in fem.list_backends()}
    assert found["numpy"].state is found["baseline"].state is State.READY
    assert fem.solve(fakes.mesh(3, 2), backend="numpy").report.converged
    return found[name]


def refuses(shelf, mesh, name, error=fem.BackendError, **options):
    """The error of a run on `name`, which must name it; the next run in this process works."""
    shelf.refresh()
    recorder = fakes.Recorder()
    with pytest.raises(error) as caught:
        fem.solve(mesh, backend=name, observers=[recorder], **options)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert recorder.ends() in ([], ["fem_error"])  # [] where it could not even be opened
    assert fem.solve(mesh, backend="numpy").report.converged
    return str(caught.value)


def test_good(shelf, mesh):
    shelf.backend("good")
    shelf.backend("zz", distribution="fake-aa")
    one = listing(shelf, "good")
    assert (one.state, one.reason, one.distribution) == (State.READY, "", "fake-good 1.0")
    report = fem.solve(mesh, backend="good").report
    assert report.providers["assemble_system"] == "good"
    assert report.providers["compute_derived"] == "core"
    assert report.versions["fake-good"] == "1.0"
    names = [one.name for one in fem.list_backends()]
    assert {"baseline", "numpy", "good", "zz"} <= set(names)
    assert names[:2] == ["baseline", "numpy"] or loopback.active
    assert names[2:] == sorted(names[2:])


# by its state before it is opened


@pytest.mark.parametrize(
    ("info", "state", "reason"),
    [
        ("import no_such_module_anywhere", State.FAILED, "ModuleNotFoundError: No module named 'no_such_module"),
        ("def f(:", State.FAILED, "SyntaxError"),
        ("INFORMATION = 1", State.FAILED, "AttributeError"),
        ("raise SystemExit(1)", State.FAILED, "SystemExit: 1"),
        ("import sys; sys.exit('no licence')", State.FAILED, "SystemExit: no licence"),
        ("INFO = 'numpy'", State.FAILED, "a str, not a BackendInfo"),
        ("import fem_core; INFO = fem_core.plugins.BackendInfo", State.FAILED, "not a BackendInfo"),
        (INFO.replace('"{name}"', '"other"'), State.FAILED, "is 'bad' but it calls itself 'other'"),
        (INFO.replace('"{name}"', '"core"'), State.FAILED, "'core' is not a valid name"),
        (INFO.replace('"{name}"', '"a,b"'), State.FAILED, "'a,b' is not a valid name"),
        (INFO.replace("assemble_system", "assemble"), State.FAILED, "unknown stages ['assemble']"),
        (INFO.replace("assemble_system", "load_mesh"), State.FAILED, "unknown stages ['load_mesh']"),
        (INFO.replace("assemble_system", "solve_system"), State.FAILED, "must list solver_methods"),
        (INFO.replace(",))", ",), api_version=99)"), State.INCOMPATIBLE, "version 99 of the backend API"),
        (INFO.replace(",))", ",), available=lambda: 'no GPU here')"), State.UNAVAILABLE, "no GPU here"),
        (INFO.replace(",))", ",), available=lambda: True)"), State.UNAVAILABLE, "True"),
        (INFO.replace(",))", ",), available=lambda: 1 / 0)"), State.FAILED, "available() raised ZeroDivisionError"),
        (INFO.replace(",))", ",), available=lambda: exit(2))"), State.FAILED, "available() raised SystemExit: 2"),
    ],
)
def test_not_ready(shelf, mesh, info, state, reason):
    shelf.backend("bad", info=info)
    shelf.backend("good")
    one = listing(shelf, "bad")
    assert one.state is state
    assert reason in one.reason
    assert one.distribution == "fake-bad 1.0"
    assert listing(shelf, "good").state is State.READY
    text = refuses(shelf, mesh, "bad", fem.BackendUnavailable)
    assert f"is {state}: " in text
    assert reason in text
    assert fem.solve(mesh, backend="good").report.converged
    assert not any("bad" in warning for warning in fem.solve(mesh, backend="good").report.warnings)


def test_what_cannot_be_loaded_is_refused_with_its_reason_not_for_its_options(shelf):
    shelf.backend("bad", info='raise RuntimeError("can\'t start new thread")')
    with pytest.raises(fem.BackendUnavailable, match="is failed: RuntimeError: can't start new thread"):
        fem.open_backend("bad", workers=2)


def test_no_option_is_called_as_one_of_open_backend():
    parameters = inspect.signature(fem.open_backend).parameters.values()
    own = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    assert own
    for name in own:
        with pytest.raises(
            fem.BackendError, match=f"'bad' can't have an option '{name}': this is a parameter of open_backend"
        ):
            fem.plugins.BackendInfo("bad", "", "", ("assemble_system",), options=(fem.plugins.Option(name),))


def test_two_of_one_name(shelf, mesh):
    shelf.backend("twin", distribution="fake-castor")
    shelf.backend("twin", distribution="fake-pollux")
    one = listing(shelf, "twin")
    assert one.state is State.CONFLICT
    assert "fake-castor 1.0 and fake-pollux 1.0" in one.reason
    assert "fake-castor 1.0 and fake-pollux 1.0" in refuses(shelf, mesh, "twin", fem.BackendUnavailable)
    assert [one.name for one in fem.list_backends()].count("twin") == 1


def test_disabled(shelf, mesh, monkeypatch):
    package = shelf.backend("good")
    shelf.backend("better")
    monkeypatch.setenv("FEM_DISABLE", "nothing, good")
    one = listing(shelf, "good")
    assert (one.state, one.reason) == (State.DISABLED, "switched off by FEM_DISABLE")
    assert one.info is None
    assert listing(shelf, "better").state is State.READY
    assert "FEM_DISABLE" in refuses(shelf, mesh, "good", fem.BackendUnavailable)
    assert f"{package}.info" not in sys.modules


def test_disabled_though_there_are_two(shelf, monkeypatch):
    for distribution in ("fake-castor", "fake-pollux"):
        shelf.backend("twin", distribution=distribution)
    monkeypatch.setenv("FEM_DISABLE", "twin")
    assert listing(shelf, "twin").state is State.DISABLED


def test_no_such_backend(shelf):
    shelf.backend("good")
    shelf.refresh()
    named = r"no backend 'nunpy' \(did you mean numpy\?\); installed: .*good, .*numpy"
    with pytest.raises(fem.BackendUnavailable, match=named):
        fem.open_backend("nunpy")
    for name in ("", "numpy,", "numpy,,baseline"):
        with pytest.raises(fem.BackendUnavailable, match="no backend ''"):
            fem.open_backend(name)
    for name in ("auto,numpy", "numpy, auto"):
        with pytest.raises(fem.OptionError, match="give auto alone"):
            fem.open_backend(name)


def test_registered_in_this_process(shelf, mesh):
    package = shelf.backend("good")
    shelf.refresh()
    info = fem.plugins.BackendInfo("mine", "", f"{package}.backend:Fake", stages=("assemble_system",))
    fem.plugins.register_backend(info)
    assert listing(shelf, "mine").state is State.READY
    report = fem.solve(mesh, backend="mine").report
    assert report.providers["assemble_system"] == "mine"
    assert set(report.versions) == {"python", "fem-core", "numpy", "scipy"}


# on opening


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ("import no_such_module_anywhere", "failed to load: ModuleNotFoundError"),
        ("raise SystemExit(4)", "failed to load: SystemExit: 4"),
        ("class Other: pass", "failed to load: AttributeError"),
        (GOOD + "\n        def __init__(self): raise OSError('no pool')", "failed to load: OSError: no pool"),
        (GOOD + "\n        def __init__(self): raise SystemExit(5)", "failed to load: SystemExit: 5"),
        (GOOD + "\n        def __init__(self, workers): pass", "failed to load: TypeError"),
        (GOOD + "\n        def open(self): raise OSError('no device')", "can't be opened: OSError: no device"),
        (GOOD + "\n        def open(self): raise SystemExit(6)", "can't be opened: SystemExit: 6"),
        (GOOD + "\n        def compile(self): raise OSError('no compiler')", "can't compile: OSError: no compiler"),
        (GOOD.replace("(fem.plugins.Backend)", ""), "doesn't return a fem_core.plugins.Backend"),
        (GOOD.replace("fem_assemble", "fem_asemble"), "fem_asemble is not a hook; did you mean fem_assemble?"),
        (GOOD.replace("fem_assemble", "fem_xyz"), "fem_xyz is not a hook; hooks: fem_sparsity, fem_assemble"),
        (GOOD.replace("fem_assemble", "assemble"), "assemble is marked with @fem_core.plugins.hookimpl but has no"),
        (GOOD.replace("@fem.plugins.hookimpl", ""), "fem_assemble is not marked; decorate it with @fem_core.plugins"),
        (GOOD.replace(" progress)", " progress=None)"), "parameter 'progress=None'; accepted are mesh, problem"),
        (GOOD.replace(" progress)", " *args)"), "parameter '*args'"),
        (GOOD.replace(" progress)", " **kw)"), "parameter '**kw'"),
        (GOOD.replace(" progress)", " *, progress)"), "parameter 'progress'; accepted are"),
        (GOOD.replace(" progress)", " callback)"), "parameter 'callback'; accepted are mesh, problem, sparsity, progr"),
        (GOOD.replace("hookimpl", "hookimpl(wrapper=True)"), "it must have a `yield`"),
        (
            GOOD.replace("hookimpl", "hookimpl(wrapper=True)").replace("return ", "yield "),
            "fem_assemble can't be a wrapper here",
        ),
        (GOOD.replace("hookimpl", "hookimpl(hookwrapper=True)"), "an old-style wrapper"),
        (GOOD.replace("hookimpl", "hookimpl(specname='fem_sparsity')"), "with the name of its hook"),
        (GOOD.replace("fem_assemble", "fem_stage_start").replace(
            "mesh, problem, sparsity, progress", "stage"), "fem_stage_start can't be implemented by a backend"),
        (GOOD.replace("fem_assemble", "fem_linear_solvers").replace(
            ", mesh, problem, sparsity, progress", ""), "fem_linear_solvers can't be implemented by a backend"),
        (GOOD.replace("fem_assemble", "fem_sparsity").replace(" problem, sparsity,", ""),
            "lists the stages ['assemble_system'] but has no hook for them"),
        (GOOD + "\n        fem_sparsity = fem.plugins.hookimpl(lambda self, mesh: None)",
            "has hooks for the stages ['compute_sparsity'] but doesn't list them"),
        ("import fem_core as fem\nclass Fake(fem.plugins.Backend): pass",
            "lists the stages ['assemble_system'] but has no hook for them"),
    ],
)  # fmt: skip
def test_refused_when_opened(shelf, mesh, backend, text):
    """Each looks well until then: the factory isn't imported to list it."""
    shelf.backend("bad", backend=backend)
    assert listing(shelf, "bad").state is State.READY
    assert text in refuses(shelf, mesh, "bad")


def test_unmarked_override(shelf, mesh):
    """pluggy would see no hook in the subclass, and the core would do the stage without a word."""
    package = shelf.backend("good")
    override = f"""
        from {package}.backend import Fake as Parent

        class Fake(Parent):
            def fem_assemble(self, mesh, problem, sparsity, progress):
                return None
    """
    shelf.backend("bad", backend=override)
    assert listing(shelf, "bad").state is State.READY
    assert "fem_assemble is not marked" in refuses(shelf, mesh, "bad")
    assert fem.solve(mesh, backend="good").report.providers["assemble_system"] == "good"


# in a run

ASSEMBLE = 'return fem.assemble_system(mesh, problem, sparsity, backend="baseline")'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "fem.assemble_system(mesh, problem, sparsity)",
            "returned None from assemble_system; check for a missing `return`",
        ),
        ("return 7", "wrong result from assemble_system: a int instead of a LinearSystem"),
        ("return sparsity", "a Sparsity instead of a LinearSystem"),
        ("return fem.assemble_system(mesh, problem, sparsity).matrix", "a csr_array instead of a LinearSystem"),
        ("S.matrix.data = S.matrix.data.astype('f4')", "matrix values must be float64 (N,), not float32 (N,)"),
        ("S = replace(S, matrix=S.matrix.tocsc())", "matrix must be CSR of shape"),
        ("S = replace(S, matrix=S.matrix.toarray())", "matrix must be CSR of shape"),
        ("S = replace(S, matrix=S.matrix[:-1])", "matrix must be CSR of shape"),
        ("S = replace(S, matrix=None)", "matrix must be CSR of shape"),
        ("S = replace(S, rhs=S.rhs[:-1])", "rhs must be float64"),
        ("S = replace(S, rhs=S.rhs.astype('f4'))", "rhs must be float64"),
        ("S = replace(S, rhs=list(S.rhs))", "rhs must be float64 (N,), not list"),
        ("S = replace(S, rhs=None)", "rhs must be float64 (N,), not NoneType"),
        ("S.matrix.data[3] = float('nan')", "matrix values holds NaN"),
        ("S.rhs[0] = float('inf')", "rhs holds NaN or infinite"),
        ("raise ValueError('batch 3')", "failed in assemble_system: ValueError: batch 3"),
        ("raise SystemExit(9)", "failed in assemble_system: SystemExit: 9"),
        ("assert not 'so'", "failed in assemble_system: AssertionError"),
    ],
)
def test_wrong_in_a_run(shelf, mesh, body, text):
    if "S" in body and "System" not in body:
        body = f"S = fem.assemble_system(mesh, problem, sparsity)\n            {body}\n            return S"
    source = GOOD.replace(ASSEMBLE, body) + "\n    from dataclasses import replace\n"
    shelf.backend("bad", backend=source)
    found = refuses(shelf, mesh, "bad")
    system = fem.assemble_system(mesh)
    for size in (len(system.matrix.data), mesh.n_nodes):
        found = found.replace(f"({size},)", "(N,)")
    assert text in found


EVERY = {
    "compute_sparsity": ("fem_sparsity", "mesh, progress"),
    "assemble_system": ("fem_assemble", "mesh, problem, sparsity, progress"),
    "apply_bc": ("fem_apply_bc", "system, mesh, problem, progress"),
    "solve_system": ("fem_solve", "system, mesh, problem, options, progress"),
    "compute_derived": ("fem_compute_derived", "mesh, problem, result, progress"),
}


@pytest.mark.parametrize("body", ["pass", "return 'text'", "raise RuntimeError('inside')", "return mesh"])
@pytest.mark.parametrize("stage", EVERY)
def test_wrong_in_any_stage(mesh, stage, body):
    hook, arguments = EVERY[stage]
    space = {"fem": fem}
    exec(
        f"class Bad(fem.plugins.Backend):\n  @fem.plugins.hookimpl\n  def {hook}(self, {arguments}):\n    {body}", space
    )
    info = fem.plugins.BackendInfo(
        "bad", "", "", stages=(stage,), solver_methods=("cg",) if stage == "solve_system" else ()
    )
    recorder = fakes.Recorder()
    with fem.Session([(info, space["Bad"]())]) as session:
        with pytest.raises(fem.BackendError, match=f"'bad' .*{stage}"):
            session.solve(mesh, observers=[recorder], solver="cg")
    assert recorder.ends() == ["fem_error"]
    assert recorder.heard[-1][1]["stage"] == stage


@pytest.mark.parametrize(
    ("stage", "spoil", "text"),
    [
        ("compute_sparsity", "v = replace(v, indptr=v.indptr + np.int32(1))", "don't fit the"),
        ("compute_sparsity", "v = replace(v, slots=v.slots - np.int32(9999))", "don't fit the"),
        ("compute_sparsity", "v = replace(v, slots=v.slots + np.int32(9999))", "don't fit the"),
        ("compute_sparsity", "v = replace(v, slots=v.slots[:-1])", "slots must be int32"),
        ("compute_sparsity", "v = replace(v, indices=v.indices.astype('i8'))", "indices must be int32"),
        ("apply_bc", "v = replace(v, lift=None)", "lift must be float64"),
        ("apply_bc", "v.lift[0] = float('nan')", "lift holds NaN"),
        ("solve_system", "v = replace(v, u=v.u[:3])", "u must be float64"),
        ("solve_system", "v.u[2] = float('nan')", "u holds NaN"),
        ("compute_derived", "v = replace(v, velocity=v.velocity.T.copy())", "velocity must be float64"),
        ("compute_derived", "v = replace(v, speed=v.speed.astype('f4'))", "speed must be float64"),
        ("compute_derived", "v.pressure[-1] = float('inf')", "pressure holds NaN or infinite"),
    ],
)
def test_wrong_value_of_any_stage(mesh, stage, spoil, text):
    hook, arguments = EVERY[stage]
    space = {"fem": fem, "core": DefaultBackend(), "replace": replace, "np": np}
    source = f"class Bad(fem.plugins.Backend):\n  @fem.plugins.hookimpl\n  def {hook}(self, {arguments}):\n    "
    exec(source + f"v = core.{hook}({arguments})\n    {spoil}\n    return v", space)
    info = fem.plugins.BackendInfo(
        "bad", "", "", stages=(stage,), solver_methods=("cg",) if stage == "solve_system" else ()
    )
    with fem.Session([(info, space["Bad"]())]) as session:
        with pytest.raises(fem.BackendError, match=rf"'bad' returned a wrong result from {stage}: .*{text}"):
            session.solve(mesh, solver="cg")


def test_nothing_wrong_is_kept(mesh):
    """A refused pattern isn't served to the next run."""

    class Once(fem.plugins.Backend):
        calls = 0

        @fem.plugins.hookimpl
        def fem_sparsity(self, mesh):
            self.calls += 1
            return None if self.calls == 1 else fem.compute_sparsity(mesh)

    info = fem.plugins.BackendInfo("once", "", "", stages=("compute_sparsity",))
    with fem.Session([(info, Once())]) as session:
        with pytest.raises(fem.BackendError, match="returned None"):
            session.solve(mesh, solver="cg")
        assert session.solve(mesh, solver="cg").report.converged


@pytest.mark.parametrize("mark", [{"trylast": True}, {"tryfirst": True}, {}])
def test_marks_of_order_mean_nothing_for_a_provider(mesh, mark):
    called = []

    def make(name, mark):
        class Provider(fem.plugins.Backend):
            @fem.plugins.hookimpl(**mark)
            def fem_assemble(self, mesh, problem, sparsity):
                called.append(name)
                return fem.assemble_system(mesh, problem, sparsity)

        return fem.plugins.BackendInfo(name, "", "", stages=("assemble_system",)), Provider()

    with fem.Session([make("one", mark), make("two", {"tryfirst": True})]) as session:
        assert session.solve(mesh, solver="cg").report.providers["assemble_system"] == "one"
    assert called == ["one"]


# options


def test_options(shelf, mesh):
    info = INFO.replace(
        "stages=",
        "options=(Option('workers', int, None, '', ()), Option('mode', str, 'a', '', ('a', 'b')), "
        "Option('fast', bool, False)), stages=",
    ).replace("import BackendInfo", "import BackendInfo, Option")
    backend = (
        GOOD + "\n        def __init__(self, workers=None, mode='a', fast=False): self.given = workers, mode, fast"
    )
    shelf.backend("good", info=info, backend=backend)
    shelf.refresh()

    def given(**options):
        with fem.open_backend("good", **options) as session:
            return session.backends[0][1].given

    assert given() == (None, "a", False)
    assert given(workers="4", mode="b", fast="true") == (4, "b", True)
    assert given(workers=2, fast=True) == (2, "a", True)
    assert given(workers=None) == (None, "a", False)
    for options, text in (
        ({"wokers": 3}, "no option 'wokers' in good; options: fast, mode, workers"),
        ({"workers": "many"}, "option workers takes int, not 'many'"),
        ({"mode": "c"}, "option mode takes a or b, not 'c'"),
        ({"fast": "maybe"}, "option fast takes bool, not 'maybe'"),
    ):
        with pytest.raises(fem.OptionError) as caught:
            given(**options)
        assert text in str(caught.value)
    with pytest.raises(fem.OptionError, match="no option 'workers' in numpy; options: batch_size, kernel"):
        fem.open_backend("numpy", workers=2)
    with fem.open_backend("good,numpy", workers=2, kernel="loop") as session:  # each to the one that knows it
        assert session.backends[0][1].given == (2, "a", False)


def test_option_refused_by_the_factory(shelf, mesh):
    body = "\n        def __init__(self): raise fem.OptionError('batch must be positive')"
    shelf.backend("bad", backend=GOOD + body)
    shelf.refresh()
    with pytest.raises(fem.OptionError, match="batch must be positive"):
        fem.open_backend("bad")


def test_option_without_defaults():
    assert fem.plugins.Option("n", int, 3).parse("5") == 5
    with pytest.raises(fem.OptionError, match="option n takes int, not None"):
        fem.plugins.Option("n", int, 3).parse(None)


# always-on plugins

PLUGIN = """
    import fem_core as fem, numpy as np
    from fem_core.results import SolveResult, StopReason

    heard = []

    class Dense:
        name, summary = "dense", "for small meshes"

        def prepare(self, system, mesh, problem, options):
            self.matrix = system.matrix.toarray()
            return self

        def solve(self, rhs, options, progress):
            return SolveResult(np.linalg.solve(self.matrix, rhs), "dense", 0, StopReason.CONVERGED, 0.0, 0.0)

    @fem.plugins.hookimpl
    def fem_linear_solvers():
        return [Dense()]

    @fem.plugins.hookimpl
    def fem_mesh_readers():
        read = lambda path: fem.generate.duct(nx=int(path.read_text()), ny=1)
        return [fem.plugins.MeshFormat((".duct",), "a duct", read)]

    @fem.plugins.hookimpl
    def fem_result_writers():
        write = lambda solution, path: path.write_text(f"{solution.u.max():.6f}")
        return [fem.plugins.ResultWriter((".max",), "u max", write)]

    @fem.plugins.hookimpl(wrapper=True)
    def fem_solve(options):
        heard.append(options.method)
        return (yield)

    @fem.plugins.hookimpl
    def fem_solve_complete(report):
        heard.append(report.converged)
"""


def plugin(shelf, name, source, target=None):
    shelf.add(f"fake-{name}", {f"fake_{name}.py": source}, {name: target or f"fake_{name}"}, "fem.plugins")
    shelf.refresh()


def test_good_plugin(shelf, tmp_path):
    plugin(shelf, "plus", PLUGIN)
    (tmp_path / "five.duct").write_text("5")
    solution = fem.solve(tmp_path / "five.duct", solver="dense", outputs=[tmp_path / "out.max"])
    assert solution.mesh.n_elements == 5
    assert solution.report.solver["method"] == "dense"
    assert solution.report.providers["solve_system"] != "plus"
    assert (tmp_path / "out.max").read_text() == "7.500000"
    assert solution.write(tmp_path / "more.max").read_text() == "7.500000"
    import fake_plus

    assert fake_plus.heard == ["dense", True]
    assert not REGISTRY.plugin_failures


def test_plugin_and_backend_of_one_name(shelf, mesh):
    """One distribution may well offer both under its own name."""
    plugin(shelf, "numpy", PLUGIN)
    assert fem.solve(mesh, backend="numpy", solver="dense").report.converged


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        (PLUGIN.replace("fem_mesh_readers", "fem_mesh_reader"), "fem_mesh_reader is not a hook; did you mean"),
        (PLUGIN.replace("@fem.plugins.hookimpl\n    def fem_mesh", "def fem_mesh"), "fem_mesh_readers is not marked"),
        (PLUGIN.replace("wrapper=True", ""), "a plugin may only wrap it"),
        (PLUGIN.replace("wrapper=True", "hookwrapper=True"), "an old-style wrapper"),
        (PLUGIN.replace("return (yield)", "return None"), "must have a `yield`"),
        (PLUGIN.replace("fem_solve_complete(report)", "fem_solve_complete(rapport)"), "the parameter 'rapport'"),
        (
            PLUGIN.replace("def fem_mesh_readers", "def readers"),
            "readers is marked with @fem_core.plugins.hookimpl but",
        ),
    ],
)
def test_broken_plugin(shelf, mesh, source, text, caplog):
    plugin(shelf, "broken", source)
    plugin(shelf, "plus", PLUGIN)
    with caplog.at_level(logging.WARNING):
        assert fem.solve(mesh, solver="dense").report.converged  # by the sound one
    assert list(REGISTRY.plugin_failures) == ["broken"]
    assert text in REGISTRY.plugin_failures["broken"]
    assert "fake-broken 1.0" in REGISTRY.plugin_failures["broken"]
    assert "fake-broken 1.0" in caplog.text
    assert listing(shelf, "numpy").state is State.READY


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return None", "TypeError"),
        ("return 'dense'", "a str without name and prepare"),
        ("return [Dense]; x", None),
        ("return [object()]", "a object without name and prepare"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_plugin_whose_extension_is_broken(shelf, mesh, body, text):
    plugin(shelf, "broken", PLUGIN.replace("return [Dense()]", body))
    assert fem.solve(mesh, backend="numpy").report.converged
    if text:
        assert text in REGISTRY.plugin_failures["broken"]
        with pytest.raises(fem.OptionError, match="no solver 'dense'; solvers: cg, direct"):
            fem.solve(mesh, backend="numpy", solver="dense")


@pytest.mark.parametrize("hook", ["fem_mesh_readers", "fem_result_writers"])
def test_plugin_whose_formats_are_broken(shelf, mesh, tmp_path, hook):
    plugin(shelf, "broken", f"import fem_core as fem\n@fem.plugins.hookimpl\ndef {hook}():\n    return [1]\n")
    plugin(shelf, "plus", PLUGIN)
    (tmp_path / "five.duct").write_text("5")
    assert fem.solve(tmp_path / "five.duct").write(tmp_path / "out.max").exists()
    assert "a int without suffixes" in REGISTRY.plugin_failures["broken"]
    with pytest.raises(fem.MeshError, match="unknown ending"):
        fem.read_mesh(tmp_path / "mesh.xyz")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (("int(path.read_text())", "int('five')"), fem.MeshError, "five.duct: can't be read: ValueError"),
        (("lambda path: fem", "lambda path: (1, 2) or fem"), fem.MeshError, "for .duct returned a tuple, not a Mesh"),
        (("path.write_text(", "path.write("), fem.FemError, "out.max: can't be written: AttributeError"),
    ],
)
def test_plugin_whose_format_fails(shelf, tmp_path, change, error, text):
    plugin(shelf, "broken", PLUGIN.replace(*change))
    (tmp_path / "five.duct").write_text("5")
    recorder = fakes.Recorder()
    with pytest.raises(error, match=text):
        fem.solve(tmp_path / "five.duct", outputs=[tmp_path / "out.max"], observers=[recorder])
    assert recorder.ends() == ["fem_error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["five.duct", "site"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("return SolveResult(", "return (SolveResult, "), "solver 'dense' failed: AttributeError"),
        (("return SolveResult(", "raise ValueError("), "solver 'dense' failed: ValueError"),
        (("return self\n", "pass\n"), "solver 'dense' failed: AttributeError"),
    ],
)
def test_plugin_whose_solver_is_broken(shelf, mesh, change, text):
    plugin(shelf, "broken", PLUGIN.replace(*change))
    with pytest.raises(fem.SolveError, match=text):
        fem.solve(mesh, backend="baseline", solver="dense")
    assert fem.solve(mesh, backend="baseline").report.converged


def test_plugin_whose_event_or_wrapper_is_broken(shelf, mesh):
    plugin(shelf, "broken", PLUGIN.replace("heard.append(options.method)", "raise OSError('full')"))
    report = fem.solve(mesh).report
    assert sum("plugin broken failed in fem_solve and was switched off" in w for w in report.warnings) == 1


def test_plugins_in_this_process(shelf, mesh):
    class Counter:
        runs = 0

        @fem.plugins.hookimpl
        def fem_solve_complete(self):
            self.runs += 1

    counter = Counter()
    fem.plugins.register_plugin(counter)
    fem.solve(mesh)
    fem.plugins.unregister_plugin(counter)
    fem.solve(mesh)
    assert counter.runs == 1
    with pytest.raises(fem.FemError, match="may only wrap it"):
        fem.plugins.register_plugin(type("Bad", (), {"fem_solve": fem.plugins.hookimpl(lambda self, mesh: None)})())


# in a process of its own

LIST = """
import json, sys, fem_core as fem
states = {one.name: [one.state, one.reason] for one in fem.list_backends()}
mesh = fem.generate.duct(nx=3, ny=2)
report = fem.solve(mesh, backend=sys.argv[1] if len(sys.argv) > 1 else "numpy").report
print(json.dumps([states, report.converged, sorted(m for m in sys.modules if m.startswith("fake_"))]))
"""


def test_everything_broken_at_once(shelf):
    """Also the first thing a process does; nothing but the information is imported to list it."""
    shelf.backend("good")
    shelf.backend("fails", info="import no_such_module_anywhere")
    shelf.backend("exits", info="raise SystemExit(3)")
    shelf.backend("old", info=INFO.replace(",))", ",), api_version=0)"))
    shelf.backend("absent", info=INFO.replace(",))", ",), available=lambda: 'no driver')"))
    shelf.backend("twin", distribution="fake-castor")
    shelf.backend("twin", distribution="fake-pollux")
    shelf.backend("off")
    shelf.backend("bomb", backend="raise SystemExit(7)")
    shelf.backend("heavy", init="import fake_heavy.library", backend=GOOD)
    (shelf.folder / "fake_heavy" / "library.py").write_text("")
    plugin(shelf, "plus", dedent(PLUGIN))
    plugin(shelf, "leaves", "raise SystemExit(8)")
    (shelf.folder / "script.py").write_text(LIST)
    done = shelf.run(str(shelf.folder / "script.py"), FEM_DISABLE="off")
    assert done.returncode == 0, done.stderr
    states, converged, modules = json.loads(done.stdout)
    assert converged
    assert {name: state for name, (state, _) in states.items()}.items() >= {
        "baseline": "ready", "numpy": "ready", "good": "ready", "bomb": "ready", "heavy": "ready",
        "fails": "failed", "exits": "failed", "old": "incompatible", "absent": "unavailable",
        "twin": "conflict", "off": "disabled",
    }.items()  # fmt: skip
    assert states["exits"][1] == "SystemExit: 3"
    assert states["absent"][1] == "no driver"
    assert "fake_heavy.library" in modules  # the kit's light-import check refuses this one
    assert "fake_good.info" in modules
    assert not {m for m in modules if m.endswith(".backend") or m.startswith("fake_off")}

    refused = shelf.run(str(shelf.folder / "script.py"), "bomb")
    assert refused.returncode == 1
    assert "BackendUnavailable: backend 'bomb' failed to load: SystemExit: 7" in refused.stderr


@pytest.mark.parametrize("mark", [{}, {"tryfirst": True}, {"trylast": True}])
def test_a_plugin_takes_no_place_of_the_core(tmp_path, mark):
    """What is built in comes by the same hooks, and wins over a plugin of the same ending or name."""

    class Usurper:
        name, summary, prepare = "direct", "another's", None

        @fem.plugins.hookimpl(**mark)
        def fem_mesh_readers(self):
            return [fem.plugins.MeshFormat((".npz", ".own"), "another's", lambda path: fem.generate.duct(nx=1, ny=1))]

        @fem.plugins.hookimpl(**mark)
        def fem_result_writers(self):
            return [
                fem.plugins.ResultWriter((".npz",), "another's", lambda solution, path: path.write_text("another's"))
            ]

        @fem.plugins.hookimpl(**mark)
        def fem_linear_solvers(self):
            return [self]

    mesh = fem.generate.duct(nx=3, ny=2)
    plugin = Usurper()
    fem.plugins.register_plugin(plugin)
    try:
        solution = fem.solve(mesh, solver="direct")
        assert fem.read_mesh(fem.write_mesh(mesh, tmp_path / "mesh.npz")).n_elements == 6
        assert fem.read_mesh(solution.write(tmp_path / "u.npz")).n_elements == 6
        (tmp_path / "mesh.own").write_text("its own ending is its own")
        assert fem.read_mesh(tmp_path / "mesh.own").n_elements == 1
    finally:
        fem.plugins.unregister_plugin(plugin)
    assert solution.report.converged
