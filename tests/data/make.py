"""Made the files beside it, with gmsh and VTK: `python make.py`. A channel with a cylinder, of 8-node elements."""

import itertools
import os
from math import cos, pi, sin
from pathlib import Path

import gmsh
import vtk

os.chdir(Path(__file__).parent)  # gmsh writes names as they are given

gmsh.initialize()
gmsh.option.setNumber("General.Terminal", 0)
geo = gmsh.model.geo
points = [geo.addPoint(x, y, 0) for x, y in ((0, 0), (3, 0), (3, 1), (0, 1))]
sides = [geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4)]
centre = geo.addPoint(1, 0.5, 0)
ring = [geo.addPoint(1 + 0.2 * cos(i * pi / 2), 0.5 + 0.2 * sin(i * pi / 2), 0) for i in range(4)]
arcs = [geo.addCircleArc(ring[i], centre, ring[(i + 1) % 4]) for i in range(4)]
surface = geo.addPlaneSurface([geo.addCurveLoop(sides), geo.addCurveLoop(arcs)])
geo.synchronize()
for number, (name, curves) in enumerate(
    {
        "inlet": [sides[3]],
        "outlet": [sides[1]],
        "walls": [sides[0], sides[2]],
        "the cylinder": arcs,
        "no slip": [sides[0], sides[2], *arcs],  # two groups share their lines
    }.items(),
    start=1,
):
    gmsh.model.addPhysicalGroup(1, curves, number, name)
gmsh.model.addPhysicalGroup(1, [sides[0]], 7)  # without a name
gmsh.model.addPhysicalGroup(0, [ring[0]], 8, "behind")
gmsh.model.addPhysicalGroup(2, [surface], 9, "fluid")
for option, value in {
    "ElementOrder": 2,
    "SecondOrderIncomplete": 1,
    "RecombineAll": 1,
    "MeshSizeMax": 0.5,
    "MeshSizeMin": 0.5,
    "Algorithm": 8,
    "RecombinationAlgorithm": 1,
}.items():
    gmsh.option.setNumber(f"Mesh.{option}", value)
gmsh.model.mesh.generate(2)
for version, binary in itertools.product((2.2, 4.1), (0, 1)):
    gmsh.option.setNumber("Mesh.MshFileVersion", version)
    gmsh.option.setNumber("Mesh.Binary", binary)
    gmsh.write(f"channel-{version}-{'binary' if binary else 'text'}.msh")
gmsh.option.setNumber("Mesh.SaveAll", 1)  # also what is in no group, such as the centre of the arcs
gmsh.write("channel-4.1-all.msh")
gmsh.option.setNumber("Mesh.MshFileVersion", 2.2)
gmsh.write("channel-2.2-all.msh")
gmsh.option.setNumber("Mesh.SaveAll", 0)
gmsh.write("channel.inp")

grid = vtk.vtkUnstructuredGrid()
corners = vtk.vtkPoints()
corners.SetDataTypeToDouble()
for x, y in (
    (0, 0),
    (1, 0),
    (2, 0),
    (0, 1),
    (1, 1),
    (2, 1),
    (0.5, 0),
    (1.5, 0),
    (0, 0.5),
    (1, 0.5),
    (2, 0.5),
    (0.5, 1),
    (1.5, 1.1),
):
    corners.InsertNextPoint(x, y, 0)
grid.SetPoints(corners)
for nodes in ((0, 1, 4, 3, 6, 9, 11, 8), (1, 2, 5, 4, 7, 10, 12, 9)):
    grid.InsertNextCell(vtk.VTK_QUADRATIC_QUAD, len(nodes), nodes)
for mode, compressor, encode in itertools.product((0, 1, 2), (0, 2, 3), (0, 1)):
    names = {0: "text", 1: "inline", 2: "appended"}[mode], {0: "plain", 2: "zlib", 3: "lzma"}[compressor]
    if (mode == 0 and (compressor, encode) != (0, 0)) or (mode == 1 and encode):
        continue
    writer = vtk.vtkXMLUnstructuredGridWriter()
    writer.SetInputData(grid)
    writer.SetDataMode(mode)
    writer.SetCompressor({0: lambda: None, 2: vtk.vtkZLibDataCompressor, 3: vtk.vtkLZMADataCompressor}[compressor]())
    writer.SetEncodeAppendedData(encode)
    writer.SetHeaderType(writer.UInt64 if mode == 2 else writer.UInt32)
    writer.SetFileName(f"two-{names[0]}-{names[1]}-{'base64' if encode else 'raw'}.vtu")
    writer.Write()
