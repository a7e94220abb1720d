"""What is installed: this project's distributions, what they can use, and other projects of the same name."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import fem_core
from fem_core.plugins.registry import BACKENDS, PLUGINS
from fem_core.support.wording import pip_install


def _own() -> metadata.Distribution | None:
    """The distribution of this module, not another project's of the same name."""
    return next((one for one in _named_fem_core() if one.version == fem_core.__version__), None)


def _named_fem_core() -> list[metadata.Distribution]:
    names = ((one, one.metadata["Name"]) for one in metadata.distributions())
    return [one for one, name in names if name and re.sub(r"[-_.]+", "-", name).lower() == "fem-core"]


def _requirements() -> Iterator[tuple[str, str, str]]:
    """What fem-core requires: the name, the same with its versions, and the extra it is for or an empty text."""
    own = _own()
    for line in (own.requires if own else None) or ():
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name:
            yield name[0], line.partition(";")[0].strip(), extra[1] if extra else ""


def version(name: str) -> str | None:
    """The version of a distribution; None if it isn't installed."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def versions() -> dict[str, str | None]:
    """The versions of fem-core, of the distributions with backends and plugins, and of all that fem-core can use."""
    plugins = {
        point.dist.name for group in (BACKENDS, PLUGINS) for point in metadata.entry_points(group=group) if point.dist
    }
    names = [*sorted(plugins - {"fem-core"}), *dict.fromkeys(name for name, _, _ in _requirements())]
    return {"fem-core": fem_core.__version__, **{name: version(name) for name in names}}


def missing_extras() -> dict[str, list[str]]:
    """The requirements that aren't installed, with their versions, by extra."""
    missing: dict[str, list[str]] = {}
    for name, requirement, extra in _requirements():
        if extra and version(name) is None:
            missing.setdefault(extra, []).append(requirement)
    return missing


def strangers() -> list[str]:
    """Signs of the other project called fem-core on PyPI (its versions are 0.1.x, its module is fem_core, too)."""
    found = []
    for one in _named_fem_core():
        if one.version != fem_core.__version__ or one.version.startswith("0."):
            found.append(f"the distribution fem-core {one.version} in {one.locate_file('')} is not this project's")
    own = Path(fem_core.__file__).resolve().parent
    for folder in dict.fromkeys(Path(entry or ".").resolve() for entry in sys.path):
        other = folder / "fem_core"
        if (other / "__init__.py").is_file() and other.resolve() != own:
            found.append(f"another fem_core is in {other}, and Python may import it instead")
    return found


def checkout() -> Path | None:
    """The root of the checkout that fem-core is installed from, if it still is there."""
    own = _own()
    text = own.read_text("direct_url.json") if own else None
    with suppress(ValueError, KeyError, TypeError):
        root = Path(url2pathname(urlsplit(json.loads(text or "")["url"]).path)).parent
        return root if (root / "core" / "pyproject.toml").is_file() else None
    return None


def install_command(*parts: str) -> str:
    """The command that installs parts of the checkout together; never by name, which is another project's on PyPI."""
    root = checkout()
    command = pip_install(*(str(root / part) if root else f"./{part}" for part in parts))
    return command if root else f"{command} (in the checkout)"
