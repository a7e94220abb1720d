"""Makes the drawings of gmsh in this folder: `python drawings.py`. Some triangles are left after recombination."""

import os
from math import pi
from pathlib import Path

import gmsh
import numpy as np

os.chdir(Path(__file__).parent)  # gmsh writes names as they are given


def closed(curves):
    return gmsh.model.geo.addCurveLoop(curves)


def points(places):
    return [gmsh.model.geo.addPoint(x, y, 0) for x, y in places]


def polygon(corners):
    """The lines between points."""
    return [gmsh.model.geo.addLine(a, b) for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)]


def circle(x, y, radius):
    """Four arcs."""
    centre = gmsh.model.geo.addPoint(x, y, 0)
    ring = points((x + radius * np.cos(i * pi / 2), y + radius * np.sin(i * pi / 2)) for i in range(4))
    return [gmsh.model.geo.addCircleArc(ring[i], centre, ring[(i + 1) % 4]) for i in range(4)]


def nozzle():
    """A nozzle whose walls are splines, with an island in it."""
    lower = points((x, -1 + 0.5 / (1 + np.exp(-4 * (x - 2)))) for x in np.linspace(0, 4, 9))
    upper = points((x, 1 - 0.5 / (1 + np.exp(-4 * (x - 2)))) for x in np.linspace(4, 0, 9))
    walls = [gmsh.model.geo.addSpline(lower), gmsh.model.geo.addSpline(upper)]
    outlet, inlet = gmsh.model.geo.addLine(lower[-1], upper[0]), gmsh.model.geo.addLine(upper[-1], lower[0])
    island = circle(1.2, 0.1, 0.3)
    surface = gmsh.model.geo.addPlaneSurface([closed([walls[0], outlet, walls[1], inlet]), closed(island)])
    return surface, {"inlet": [inlet], "outlet": [outlet], "walls": walls, "island": island}, 0.22


def manifold():
    """Two pipes come in from the left, three go out to the right."""
    places = [(0, 0), (1, 0), (1, -0.5), (3, -0.5), (3, 0), (4, 0), (4, 0.4), (3, 0.4), (3, 0.8), (4, 0.8), (4, 1.2)]
    places += [(3, 1.2), (3, 1.6), (4, 1.6), (4, 2), (3, 2), (3, 2.5), (1, 2.5), (1, 2), (0, 2), (0, 1.5), (1, 1.5)]
    places += [(1, 0.5), (0, 0.5)]
    lines = polygon(points(places))
    ends = {"inlet below": 23, "inlet above": 19, "outlet 1": 5, "outlet 2": 9, "outlet 3": 13}
    named = {name: [lines[number]] for name, number in ends.items()}
    surface = gmsh.model.geo.addPlaneSurface([closed(lines)])
    return surface, named | {"walls": [line for i, line in enumerate(lines) if i not in ends.values()]}, 0.2


def airfoil():
    """A symmetric airfoil of four digits, NACA 0012, at 6 degrees in a channel."""
    s = 0.5 * (1 - np.cos(np.linspace(0, pi, 25)))
    half = 0.6 * (0.2969 * np.sqrt(s) - 0.126 * s - 0.3516 * s**2 + 0.2843 * s**3 - 0.1036 * s**4)
    turned = np.exp(-1j * np.deg2rad(6))
    upper, lower = ((1 + (s + sign * 1j * half) * turned) for sign in (1, -1))
    nose, tail = points([(upper[0].real, upper[0].imag), (upper[-1].real, upper[-1].imag)])
    sides = []
    for side in (upper, lower):
        inner = points(zip(side.real[1:-1], side.imag[1:-1], strict=True))
        sides.append(gmsh.model.geo.addSpline([nose, *inner, tail]))
    box = polygon(points([(-1, -1), (4, -1), (4, 1), (-1, 1)]))
    surface = gmsh.model.geo.addPlaneSurface([closed(box), closed([sides[0], -sides[1]])])
    return surface, {"inlet": [box[3]], "outlet": [box[1]], "walls": [box[0], box[2]], "airfoil": sides}, 0.25


for drawing in (nozzle, manifold, airfoil):
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    surface, groups, size = drawing()
    gmsh.model.geo.synchronize()
    for name, curves in groups.items():
        gmsh.model.addPhysicalGroup(1, curves, name=name)
    gmsh.model.addPhysicalGroup(2, [surface], name="fluid")
    settings = {"ElementOrder": 2, "SecondOrderIncomplete": 1, "RecombineAll": 1, "RecombinationAlgorithm": 0}
    for option, value in (settings | {"MeshSizeMax": size, "MeshSizeMin": size / 4, "Binary": 1}).items():
        gmsh.option.setNumber(f"Mesh.{option}", value)
    gmsh.model.mesh.generate(2)
    gmsh.write(f"{drawing.__name__}.msh")
    kinds, tags, _ = gmsh.model.mesh.getElements(2)
    print(drawing.__name__, {int(kind): len(of_kind) for kind, of_kind in zip(kinds, tags, strict=True)})
    gmsh.finalize()
