"""What this process may use: memory by machine and cgroup, where the system tells."""

from fem_core.execution import available_memory
from fem_core.support.hardware import _cgroup_memory


def write(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)


def test_available_memory_is_a_sensible_number():
    found = available_memory()
    assert found is None or 2**20 < found < 2**50


def test_cgroups_of_version_2_count_at_every_level(tmp_path):
    # A parent's limit holds for all its children together; file pages that can be dropped are free.
    write(tmp_path / "cgroup", **{"memory.max": "max\n", "memory.current": "0", "memory.stat": ""})
    group = {"memory.max": "1000\n", "memory.current": "700", "memory.stat": "anon 5\ninactive_file 100\n"}
    write(tmp_path / "cgroup" / "a", **group)
    write(tmp_path / "cgroup" / "a" / "b", **{**group, "memory.max": "5000"})
    (tmp_path / "own").write_text("0::/a/b\n")
    assert list(_cgroup_memory(tmp_path / "cgroup", tmp_path / "own")) == [4400, 400]


def test_cgroups_of_version_1(tmp_path):
    group = {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "300", "memory.stat": "total_inactive_file 50\n"}
    write(tmp_path / "cgroup" / "memory" / "a", **group)
    (tmp_path / "own").write_text("3:cpu,cpuacct:/x\n2:memory:/a\n")
    assert list(_cgroup_memory(tmp_path / "cgroup", tmp_path / "own")) == [650]


def test_no_cgroups(tmp_path):
    assert list(_cgroup_memory(tmp_path, tmp_path / "absent")) == []
