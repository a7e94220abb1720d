"""`fem doctor`: what it finds, that nothing broken breaks it, and what it advises."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import fem_core as fem
import pytest
from commands import run
from fakes.distributions import Shelf, python
from fem_core.cli import fem as group
from fem_core.tools import backend_check
from fem_core.tools.doctor import advice, installation, machine

SECTIONS = {
    "python", "versions", "missing_extras", "strangers", "cores", "memory", "shared_memory", "threading", "gpus",
    "backends", "plugin_failures", "caches", "advice",
}  # fmt: skip


def found(*arguments: object, status: int = 0) -> dict:
    result = run("doctor", "--json", *arguments)
    assert (result.exit_code, result.stderr) == (status, "")
    return json.loads(result.stdout, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def plain() -> dict:
    return found("--no-probe")


# what it finds


def test_json_has_every_section(plain):
    assert set(plain) == SECTIONS
    assert plain["versions"]["fem-core"] == fem.__version__
    assert plain["versions"]["numpy"]
    assert plain["python"]["executable"] == sys.executable
    assert plain["cores"]["usable"] == fem.execution.available_cores() <= plain["cores"]["machine"]
    assert 0 < plain["memory"]["available"] <= plain["memory"]["total"]
    assert all("openblas" in blas or blas for blas in plain["threading"]["blas"].values())
    assert {"baseline", "numpy"} <= {one["name"] for one in plain["backends"]}
    assert plain["caches"][0]["owner"] == "fem-core"
    assert plain["advice"]


def test_text_has_every_section_and_fits():
    result = run("doctor", "--no-probe")
    assert (result.exit_code, result.stderr) == (0, "")
    headings = [line for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert headings == ["Python", "Packages", "Machine", "Threads", "GPUs", "Backends", "Caches", "Advice"]
    facts = result.stdout.split("Advice")[0]
    assert max(map(len, facts.splitlines())) <= 80
    assert "auto tries" in result.stdout.split("Advice")[1]  # what works only a probe can say


def test_each_backend_solves_a_small_duct():
    backends = {one["name"]: one for one in found()["backends"]}
    for name in ("numpy", "baseline"):
        assert backends[name]["works"] is True
        assert backends[name]["seconds"] > 0


def test_the_probe_is_large_enough_to_start_workers(monkeypatch):
    # `min_size` of the backends with workers is 1000 elements; with fewer the probe would be of NumPy.
    sizes = []
    duct = fem.generate.duct

    def counted(**given):
        sizes.append(duct(**given).n_elements)
        return duct(**given)

    monkeypatch.setattr(fem.generate, "duct", counted)
    assert backend_check.check("numpy") is None
    assert sizes[0] > 1000


def test_cores_by_affinity(plain):
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores to take one away")
    code = (
        "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from fem_core.cli import fem\nfem.main(['doctor', '--no-probe', '--json'])"
    )
    report = json.loads(python("-c", code).stdout)
    assert report["cores"]["affinity"] == report["cores"]["usable"] == 1
    assert any(line.startswith("this process may use only 1 of ") and "affinity" in line for line in report["advice"])


def test_shared_memory_that_is_missing_or_small(tmp_path):
    assert machine.shared_memory(tmp_path / "no")["reason"].startswith("there is no")
    here = machine.shared_memory(tmp_path)
    assert here["free"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_largest_meshes_fit_and_no_larger():
    sizes = machine.largest_meshes(1e9)
    assert sizes["cg"] > sizes["direct"] > 100_000
    assert machine.largest_meshes(2e9)["direct"] > sizes["direct"]
    assert machine.largest_meshes(1e3) == dict.fromkeys(sizes, 1)


# backends and plugins that are broken, and what they keep

CACHING = """
    from pathlib import Path
    from fem_core.plugins import BackendInfo

    INFO = BackendInfo("{name}", "a fake", "{package}.backend:Fake", stages=("assemble_system",),
                       caches=lambda: CACHES)
"""


def doctor(shelf: Shelf, *arguments: str, status: int = 0) -> dict:
    result = shelf.run("-m", "fem_core", "doctor", "--json", *arguments)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout)


def test_broken_backends_are_told_with_their_reason(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.backend("ill", info="raise ImportError('no such library')")
    shelf.backend("crashes", backend="import os\nclass Fake:\n    def __init__(self):\n        os.abort()\n")
    shelf.add("fem-broken", {"fem_broken.py": "raise SystemExit(3)"}, {"broken": "fem_broken"}, group="fem.plugins")
    report = doctor(shelf)
    backends = {one["name"]: one for one in report["backends"]}
    assert backends["ill"]["state"] == "failed"
    assert backends["crashes"]["works"] is False
    assert backends["numpy"]["works"] is True
    for said in (
        "ill is failed: ImportError: no such library",
        "crashes can't be used: its probe ended with signal SIGABRT",
    ):
        assert any(said in line for line in report["advice"]), report["advice"]
    assert any(line.startswith("the plugin broken is ignored") for line in report["advice"])
    assert report["versions"]["fem-broken"] == "1.0"


def test_caches_of_backends_are_measured(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.nbi").write_bytes(bytes(1000))
    (kept / "b.nbc").write_bytes(bytes(500))
    shelf = Shelf(tmp_path / "shelf")
    shelf.backend("keeps", info=CACHING.replace("CACHES", f"Path({str(kept)!r}).glob('*.nb?')"))
    shelf.backend("folder", info=CACHING.replace("CACHES", f"[Path({str(kept)!r})]"))
    shelf.backend("nothing", info=CACHING.replace("CACHES", "[]"))
    shelf.backend("raises", info=CACHING.replace("CACHES", "1 / 0"))
    caches = {one["owner"]: one for one in doctor(shelf, "--no-probe")["caches"]}
    for name in ("keeps", "folder"):
        assert (caches[name]["files"], caches[name]["bytes"], caches[name]["path"]) == (2, 1500, str(kept))
    assert "nothing" not in caches
    assert "ZeroDivisionError" in caches["raises"]["what"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owner and mode are POSIX's")
def test_a_cache_that_is_not_used_is_told_with_the_way_out(tmp_path):
    for name in ("sparsity-2", "tuned-1"):
        (tmp_path / "fem-core" / name).mkdir(parents=True)
    tuned = tmp_path / "fem-core" / "tuned-1"
    tuned.chmod(0o777)
    os.mkfifo(tuned / "walker-0123456789abcdef.json")
    result = python("-m", "fem_core", "doctor", "--json", "--no-probe", XDG_CACHE_HOME=str(tmp_path))
    found = json.loads(result.stdout)
    if found["caches"][1]["path"] != str(tuned):
        pytest.skip("the cache is elsewhere on this system")
    (fault,) = [one["fault"] for one in found["caches"] if one["fault"]]
    assert f"run `chmod go-w {tuned}`" in fault
    assert fault in found["advice"]
    assert (found["caches"][1]["owner"], found["caches"][1]["files"]) == ("fem tune", 0)


def test_without_a_working_backend_the_status_is_3(tmp_path):
    result = python(
        "-m",
        "fem_core",
        "doctor",
        "--json",
        "--no-probe",
        FEM_DISABLE="numpy,baseline,threads,mp,mp-shm,numba,cuda,cupy",
    )
    assert result.returncode == 3
    assert any(line.startswith("no backend works") for line in json.loads(result.stdout)["advice"])


@pytest.mark.parametrize("command", ["doctor", "backends"])
@pytest.mark.parametrize("seconds", ["nan", "0", "-1", "inf"])
def test_a_time_limit_is_a_finite_number_above_0(command, seconds):
    result = run(command, "--timeout", seconds)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"'--timeout': {seconds} is not a finite number above 0" in result.stderr


# the stranger's fem_core


def stranger(folder: Path) -> None:
    """What `pip install fem-core` by name leaves in a folder."""
    info = folder / "fem_core-0.1.7.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fem-core\nVersion: 0.1.7\n")
    (folder / "fem_core").mkdir()
    (folder / "fem_core" / "__init__.py").write_text("")


def test_the_stranger_is_recognised(tmp_path):
    stranger(tmp_path)
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "from fem_core.cli import fem\nfem.main(['doctor', '--no-probe', '--json'])"
    )
    report = json.loads(python("-c", code).stdout)
    assert len(report["strangers"]) == 2
    assert report["strangers"][0].startswith(f"the distribution fem-core 0.1.7 in {tmp_path}")
    assert str(tmp_path / "fem_core") in report["strangers"][1]
    assert report["versions"]["fem-core"] == fem.__version__
    first = report["advice"][0]
    assert "uninstall it, then install this project by path: " in first
    assert " -m pip install " in first
    assert "pip install fem-core" not in first


def test_there_is_no_stranger_here():
    assert installation.strangers() == []


def test_commands_install_by_path():
    command = installation.install_command("core", "plugins/fem-numba")
    root = installation.checkout()
    if root is None:
        assert command.endswith("./core ./plugins/fem-numba (in the checkout)")
    else:
        assert (root / "core" / "pyproject.toml").is_file()
        assert command.endswith(f"{root}/core {root}/plugins/fem-numba")


# GPUs

DRIVER = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDriverGetVersion(int *v) { *v = 12080; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "Small" : "Large", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)(device ? 8 : 140) << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return 0; }
"""


def fake_driver(folder: Path, status: int) -> None:
    """A libcuda with two devices, and an nvidia-smi."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux to make a driver")
    source = folder / "driver.c"
    source.write_text(DRIVER.replace("STATUS", str(status)))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", source], check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 570.86.10\n")
    smi.chmod(smi.stat().st_mode | stat.S_IXUSR)


def gpus(folder: Path) -> dict:
    env = {"LD_LIBRARY_PATH": str(folder), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return json.loads(python("-m", "fem_core", "doctor", "--no-probe", "--json", **env).stdout)


def test_gpus_are_asked_of_the_driver(tmp_path):
    fake_driver(tmp_path, 0)
    report = gpus(tmp_path)
    assert report["gpus"] == {
        "driver": "570.86.10", "cuda": "12.8", "reason": "",
        "devices": [
            {"name": "Large", "memory": 140 << 30, "compute_capability": "9.0"},
            {"name": "Small", "memory": 8 << 30, "compute_capability": "9.0"},
        ],
    }  # fmt: skip


def test_a_driver_that_cannot_be_used_gives_the_reason(tmp_path):
    fake_driver(tmp_path, 100)
    assert gpus(tmp_path)["gpus"]["reason"] == "the NVIDIA driver can't be used (cuInit: error 100)"


def test_a_driver_that_crashes_does_not_take_the_doctor_along(tmp_path, monkeypatch):
    from fem_core.support import gpus as module

    monkeypatch.setattr(module, "ask", lambda *given: None)
    assert module.find_gpus()["reason"] == "the driver doesn't answer"
    monkeypatch.undo()
    assert module.ask([sys.executable, "-c", "import os; os.abort()"], json.loads) is None
    assert module.ask([sys.executable, "-c", "print('no JSON')"], json.loads) is None
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    assert module.ask([sys.executable, "-c", "import time; time.sleep(60)"], json.loads) is None


# advice

HEALTHY = {
    "strangers": [], "plugin_failures": {}, "missing_extras": {},
    "backends": [
        {
            "name": "numpy", "state": "ready", "works": True, "reason": "", "rank": 10,
            "device": "cpu", "pending": None, "prepared": None,
        },
    ],
    "cores": {"machine": 8, "affinity": 8, "cgroup_quota": None, "usable": 8},
    "memory": {"largest_mesh": {}},
    "shared_memory": {"path": "/dev/shm", "free": 1 << 34, "writable": True, "reason": ""},
    "threading": {"libraries": None}, "gpus": {"devices": []},
    "caches": [{"limit": 0.0, "bytes": 0, "path": "/nowhere", "fault": None}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"backends": [HEALTHY["backends"][0] | {"works": None}]},
            "auto tries numpy first; `fem doctor` without --no-probe",
        ),  # not probed
        ({"missing_extras": {"cholmod": ["scikit-sparse<0.5"]}}, "-m pip install 'scikit-sparse<0.5'"),
        (
            {"shared_memory": {"path": None, "reason": "there is no /dev/shm"}},
            "there is no /dev/shm: mp-shm uses shared files",
        ),
        ({"shared_memory": HEALTHY["shared_memory"] | {"free": 64 << 20}}, "/dev/shm has 67 MB left"),
        (
            {"cores": HEALTHY["cores"] | {"cgroup_quota": 2.0, "usable": 2}},
            "2 of 8 cores, because of the quota of its cgroup",
        ),
        ({"threading": {"libraries": [{"internal_api": "openblas", "num_threads": 64}]}}, "set OMP_NUM_THREADS=8"),
        ({"memory": {"largest_mesh": {"cg": 2_300_000}}}, "about 2.3 million nodes with cg"),
        ({"caches": [{"limit": 0.0, "bytes": 0, "path": "/x", "fault": "/x isn't used"}]}, "/x isn't used"),
        ({"caches": [{"limit": 0.0, "bytes": 10, "path": "/x", "fault": None}]}, "so /x isn't used; you may delete it"),
        ({"backends": []}, "no backend works"),
    ],
)
def test_advice(change, said):
    assert not any(said in line for line in advice.advise(HEALTHY))
    assert any(said in line for line in advice.advise(HEALTHY | change))


READY = HEALTHY["backends"][0]
BEST = READY | {"name": "best", "rank": 50}
NEXT = READY | {"name": "next", "rank": 40}
ILL = {"works": False, "reason": "it hangs"}


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ([READY, NEXT, BEST], "use --backend best; auto chooses it on this machine"),
        (
            [READY, NEXT, BEST | {"pending": "compile, some 20 s"}],
            "use --backend next; auto chooses it on this machine",
        ),
        (
            [READY, NEXT, BEST | {"pending": "compile, some 20 s"}],
            "best has to compile, some 20 s, and until then auto uses others; `fem doctor` does it",
        ),
        ([READY, BEST | {"prepared": "compile, some 20 s"}], "best had to compile, some 20 s; this is done now"),
        (
            [READY, NEXT, BEST | ILL],
            "auto tries best first, whose probe failed: give --backend next, or set FEM_DISABLE=best",
        ),
        (
            [READY, NEXT | ILL, BEST | ILL],
            "auto tries best and next first, whose probe failed: give --backend numpy, or set FEM_DISABLE=best,next",
        ),
        ([READY, NEXT, BEST | ILL | {"device": "cuda"}], "use --backend next; auto chooses it on this machine"),
        ([READY, BEST | ILL | {"pending": "compile"}], "use --backend numpy; auto chooses it on this machine"),
    ],
)
def test_the_backend_that_is_advised_is_the_one_that_auto_takes(backends, said):
    lines = list(advice.advise(HEALTHY | {"backends": backends}))
    assert said in lines
    assert sum("use --backend" in line or "give --backend" in line for line in lines) == 1


PENDING = """
    import os
    from pathlib import Path
    from fem_core.plugins import BackendInfo

    INFO = BackendInfo("{name}", "a fake", "{package}.backend:Fake", stages=("assemble_system",), rank=99,
                       pending=lambda: None if Path(os.environ["MARK"]).exists() else "compile, some 20 s")
"""


def test_the_probe_gets_done_what_a_backend_has_to_do_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    shelf = Shelf(tmp_path / "shelf")
    backend = "import os\nclass Fake:\n    def __init__(self):\n        open(os.environ['MARK'], 'w').close()\n"
    shelf.backend("slow", info=PENDING, backend=backend)
    before = doctor(shelf, "--no-probe")
    assert {one["name"]: one["pending"] for one in before["backends"]}["slow"] == "compile, some 20 s"
    assert not any("use --backend slow" in line for line in before["advice"])
    assert "slow had to compile, some 20 s; this is done now" in doctor(shelf)["advice"]


def test_plugins_are_advised_where_they_help(monkeypatch):
    monkeypatch.setattr(advice, "checkout", lambda: None)
    monkeypatch.setattr(advice, "version", lambda name: None)
    said = "\n".join(advice.advise(HEALTHY))
    assert "fem-numba compiles every stage and isn't installed" in said
    assert "fem-cupy" not in said
    assert "fem-cupy" in "\n".join(advice.advise(HEALTHY | {"gpus": {"devices": [{"name": "one"}]}}))


def test_help_names_both_commands():
    text = run("--help").stdout
    assert "\n  doctor " in text
    assert "\n  check " in text
    assert {"doctor", "check"} <= set(group.commands)
