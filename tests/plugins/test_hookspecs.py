"""The documentation of the hooks is true: examples run, and every page has the arguments that the code has."""

import doctest
import importlib
import inspect
import pkgutil
import re

import fem_core as fem
import pytest
from fakes import loopback
from fem_core.plugins import events, hookspecs
from fem_core.plugins.stages import STAGES
from places import DOCS

HOOKS = {name: getattr(spec, name) for spec in hookspecs.SPECS for name in hookspecs.names(spec)}


def arguments(hook):
    return [name for name in inspect.signature(HOOKS[hook]).parameters if name != "self"]


def test_there_are_these_hooks():
    assert {name: arguments(name) for name in HOOKS} == {
        "fem_sparsity": ["mesh", "progress"],
        "fem_assemble": ["mesh", "problem", "sparsity", "progress"],
        "fem_apply_bc": ["system", "mesh", "problem", "progress"],
        "fem_solve": ["system", "mesh", "problem", "options", "progress"],
        "fem_compute_derived": ["mesh", "problem", "result", "progress"],
        "fem_stage_start": ["stage", "provider"],
        "fem_stage_complete": ["stage", "provider", "duration"],
        "fem_mesh_loaded": ["mesh"],
        "fem_assembly_progress": ["current", "total"],
        "fem_solve_progress": ["iteration", "residual", "etr"],
        "fem_derived_progress": ["current", "total"],
        "fem_solve_complete": ["report"],
        "fem_error": ["stage", "error"],
        "fem_mesh_readers": [],
        "fem_result_writers": [],
        "fem_linear_solvers": [],
        "fem_cli_commands": [],
    }
    assert [stage.hook for stage in STAGES.values()] == list(hookspecs.names(hookspecs.ComputeHooks))


@pytest.mark.parametrize("hook", HOOKS)
def test_each_has_an_example(hook):
    """One that implements this hook, and shows what comes of it."""
    text = inspect.getdoc(HOOKS[hook])
    examples = doctest.DocTestParser().get_examples(text)
    assert re.search(rf"def {hook}\(", "".join(example.source for example in examples))
    assert any(example.want for example in examples)


@pytest.mark.parametrize("hook", HOOKS)
def test_argument_names_in_the_docs(hook):
    page = DOCS / "hooks.md"
    if not page.exists() or "fem_" not in page.read_text():
        pytest.skip("docs/hooks.md does not list the hooks")
    found = {tuple(a for a in re.split(r",\s*", m) if a) for m in re.findall(rf"`{hook}\(([^)]*)\)", page.read_text())}
    assert found == {tuple(arguments(hook))}


def test_no_other_hooks_in_the_docs():
    for page in DOCS.rglob("*.md"):
        named = set(re.findall(r"`(fem_[a-z_]+)\(", page.read_text()))
        assert named <= set(HOOKS), page.name


@pytest.mark.parametrize("hook", hookspecs.names(hookspecs.EventHooks))
def test_names_on_the_wire(hook):
    """Each event's documentation says what a line of `--events` holds, and that is what it holds."""
    first = inspect.getdoc(HOOKS[hook]).splitlines()[0]
    name, keys = re.search(r"`(fem:\w+) \{(.*)\}`", first).groups()
    heard = []
    if hook == "fem_error":
        with pytest.raises(fem.MeshError):
            fem.solve("none.h5", on_event=heard.append)
    else:
        fem.solve(fem.generate.duct(nx=20, ny=5), on_event=heard.append, solver="cg", monitor=25)
    found = [event for event in heard if event.name == name]
    assert found
    assert all(list(event.data) == keys.split(", ") for event in found)
    assert hasattr(events.Listener, hook)


def modules():
    """All of the package; not what needs an extra that isn't here, nor what runs on import."""
    found = ["fem_core"]
    for module in pkgutil.walk_packages(fem.__path__, "fem_core.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            found.append(module.name)
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    if name == "fem_core.plugins.hookspecs" and loopback.active:
        pytest.skip("an example names the providers of a run on numpy")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fem_core"):
            raise
        pytest.skip(f"{name} needs {error.name}")
    failed, _ = doctest.testmod(module, verbose=False)
    assert failed == 0
