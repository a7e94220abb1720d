"""The decorator of shapes: checks and documents the parameters as the function declares them."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, get_type_hints

from fem_core.generate.parameters import Parameter
from fem_core.mesh.mesh import Mesh

P = ParamSpec("P")

_SECTIONS = """\
Parameters
----------
{}

Raises
------
MeshError
    For a parameter that isn't accepted."""


def shape(make: Callable[P, Mesh]) -> Callable[P, Mesh]:
    """Decorates a shape's function, whose parameters are keywords and `Annotated` with what they are.

    To readers and tools the result has plain types in its signature, and the sections Parameters and Raises.
    """
    name = make.__name__.replace("_", "-")
    known = parameters_of(make)
    signature, types = inspect.signature(make), get_type_hints(make)
    defaults = {parameter.name: parameter.default for parameter in signature.parameters.values()}

    @wraps(make)
    def checked(*args: P.args, **given: P.kwargs) -> Mesh:
        values = {**defaults, **given}
        for key, declared in known.items():
            declared.check(name, key, values)
        return make(*args, **given)

    plain = [parameter.replace(annotation=types[key]) for key, parameter in signature.parameters.items()]
    checked.__signature__ = signature.replace(parameters=plain)  # type: ignore[attr-defined]
    checked.__annotations__ = types
    explained = "\n".join(f"{key} : {declared.type}\n    {declared.help}" for key, declared in known.items())
    checked.__doc__ = f"{inspect.getdoc(make)}\n\n{_SECTIONS.format(explained)}"
    return checked


def parameters_of(make: Callable[..., Any]) -> Mapping[str, Parameter]:
    """What the parameters of a shape's function are, by name and in order."""
    hints = get_type_hints(inspect.unwrap(make), include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if name != "return"}
