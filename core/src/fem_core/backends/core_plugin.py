"""The core's own file formats and solvers, added by the same hooks as a plugin's; they have priority."""

from fem_core.io import abaqus, csv, hdf5, msh, npz, vtu, vtu_mesh, xlsx
from fem_core.plugins.formats import MeshFormat, ResultWriter
from fem_core.plugins.hookspecs import hookimpl
from fem_core.plugins.solver import LinearSolver
from fem_core.solvers import ConjugateGradients, Direct, Multigrid

_HDF5 = (".h5", ".hdf5")


@hookimpl
def fem_mesh_readers() -> list[MeshFormat]:
    """The formats of meshes."""
    return [
        MeshFormat(
            _HDF5, "HDF5 with x, y, quad8 and named boundaries", hdf5.read, hdf5.write_mesh, problem=hdf5.read_problem
        ),
        MeshFormat((".npz",), "NumPy: x, y, quad8 and named boundaries", npz.read, npz.write),
        MeshFormat(
            (".msh",), "gmsh 2.2 and 4.1: physical groups are boundaries", msh.read, msh.write, cells=msh.read_cells
        ),
        MeshFormat(
            (".vtu",), "VTU: for ParaView, PyVista and meshio", vtu_mesh.read, vtu_mesh.write, cells=vtu_mesh.read_cells
        ),
        MeshFormat(
            (".inp",), "Abaqus: sets and surfaces are boundaries", abaqus.read, abaqus.write, cells=abaqus.read_cells
        ),
        MeshFormat(
            (".xlsx",), "Excel: sheets coord (in mm) and conec (the extra xlsx)", xlsx.read, xlsx.write, unit=xlsx.UNIT
        ),
    ]


@hookimpl
def fem_result_writers() -> list[ResultWriter]:
    """The formats of results."""
    return [
        ResultWriter(_HDF5, "HDF5: the complete result, also for ParaView", hdf5.write_result, hdf5.read_result),
        ResultWriter((".vtu",), "VTU: grid and fields, for ParaView", vtu.write_result),
        ResultWriter((".npz",), "NumPy: arrays by name", npz.write_result),
        ResultWriter((".csv",), "CSV: one row per element", csv.write_elements),
        ResultWriter((".nodes.csv",), "CSV: one row per node", csv.write_nodes),
    ]


@hookimpl
def fem_linear_solvers() -> list[LinearSolver]:
    """The solvers that need nothing but SciPy."""
    return [ConjugateGradients(), Direct(), Multigrid()]
