"""What is imported when a backend is listed."""

import subprocess
import sys

from fem_core.support.launch import python


def assert_light(entry_point: str, factory: str) -> None:
    """Load `entry_point` ("module:attribute") in a new interpreter, and check the modules that were imported."""
    program = (
        "import sys, fem_core; before = set(sys.modules)\n"
        f"from importlib.metadata import EntryPoint; EntryPoint('', {entry_point!r}, '').load()\n"
        "print(*(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(python("-c", program), capture_output=True, text=True, check=True, timeout=120)
    loaded = done.stdout.split()
    package = entry_point.split(":")[0].split(".")[0]
    heavy = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {package, "fem_core"}
    assert not heavy, f"loading {entry_point} imports {', '.join(sorted(heavy))}"
    module = factory.split(":")[0]
    assert package == "fem_core" or module not in loaded, f"loading {entry_point} imports the implementation, {module}"
