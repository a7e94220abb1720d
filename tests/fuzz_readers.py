"""Fuzzes the readers of mesh files, guided by coverage: `python tests/fuzz_readers.py [--seconds N] [SUFFIX …]`.

For each format a process of its own starts from good files, changes them so that new lines of the reader
are reached, and ends with a mesh or a FemError each time, also when it is checked and mended: anything
else, a warning, 10 seconds or 1 GB is a fault, and what caused it is kept in the folder `fuzz-faults`. Needs atheris.
"""

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

SUFFIXES = (".h5", ".npz", ".msh", ".vtu", ".inp", ".xlsx")
#: The part of a zipped file that is fuzzed: behind a checksum nothing would get through.
PARTS = {".npz": "x.npy", ".xlsx": "xl/worksheets/sheet1.xml"}


#: What our own Abaqus files lack: nodes and elements that are made from others, parts, systems and kinds of sets.
ABAQUS = (
    b"*NODE\n1, 0, 0\n5, 2, 0\n201, 0, 1\n205, 2, 1\n900, 1, -9.5\n*NGEN, NSET=b\n1, 5\n*NGEN, LINE=C, NSET=t\n"
    b"201, 205, 1, 900\n*NFILL, NSET=n\nb, t, 2, 100\n*ELEMENT, TYPE=S8\n1, 1, 3, 203, 201, 2, 103, 202, 101\n"
    b"*ELGEN, ELSET=e\n1, 2, 2, 1\n*NCOPY, CHANGE NUMBER=1000, OLD SET=n, NEW SET=m, SHIFT\n0, 3, 0\n"
    b"0, 0, 0, 0, 0, 1, 180.\n*ELCOPY, OLD SET=e, NEW SET=f, ELEMENT SHIFT=10, SHIFT NODES=1000\n"
    b"*NSET, NSET=inlet, GENERATE\n1, 201, 100\n*NSET, NSET=x, ELSET=f, UNSORTED\n"
    b"*SURFACE, NAME=outlet\ne, S2\n1, S1\n",
    b"*PART, NAME=P\n*SYSTEM\n0, 0, 0, 0, 1, 0\n1, 1, 0\n*NODE, SYSTEM=C, NSET=n\n"
    b"1, 1, 0\n2, 2, 0\n3, 2, 40.\n4, 1, 40.\n"
    b"5, 1.5, 0\n6, 2, 20\n7, 1.5, 40, 0\n8, 1, 20., , 1\n*ELEMENT, TYPE=CPE8H, ELSET=e\n1, 1, 2, 3, 4,\n5, 6, 7, 8\n"
    b'*ELEMENT, TYPE=T3D3, ELSET=l\n7, 1, 8, 4\n*ELEMENT, TYPE=MASS, ELSET=m\n9, 1\n*NSET, NSET="a b"\nc, 5\n'
    b"*NSET, NSET=c\n1, 2\n*END PART\n*ASSEMBLY, NAME=A\n*INSTANCE, NAME=I-1, PART=P\n5, 5\n*END INSTANCE\n"
    b"*INSTANCE, NAME=J, PART=P\n1, 0, 0\n0, 0, 0, 0, 0, 1, 90\n*NSET, NSET=own\n1, 5, 2\n*END INSTANCE\n"
    b"*NSET, NSET=inlet, INSTANCE=J, INTERNAL\n1, 5, 2\n*ELSET, ELSET=s\nI-1.1, J.e\n"
    b"*SURFACE, NAME=w\ns, S3\nI-1.1, SPOS\n"
    b"*END ASSEMBLY\n*MATERIAL, NAME=s\n*ELASTIC\n1, 0.3\n*STEP\n*STATIC\n*END STEP\n",
)


def good_files(suffix: str) -> list[bytes]:
    import fem_core as fem
    import foreign

    mesh = fem.generate.duct(nx=2, ny=1)
    with tempfile.TemporaryDirectory() as folder:
        ours = fem.write_mesh(mesh, Path(folder) / f"mesh{suffix}").read_bytes()
        others = [path.read_bytes() for path in foreign.samples(Path(folder)) if path.suffix == suffix]
    data = [path.read_bytes() for path in sorted((Path(__file__).parent / "data").glob(f"*{suffix}"))]
    return [ours, *others, *data, *(ABAQUS if suffix == ".inp" else ())]


def fuzz(suffix: str, seconds: int, faults: Path) -> None:
    """Fuzz one format; leaves the interpreter."""
    import atheris

    with atheris.instrument_imports(include=["fem_core.io", "fem_core.mesh"]):
        import fem_core as fem
        import fem_core.io.files

    samples, part = good_files(suffix), PARTS.get(suffix)
    whole = {}
    if part:
        with zipfile.ZipFile(io.BytesIO(samples[0])) as archive:
            whole = {name: archive.read(name) for name in archive.namelist()}
        samples = [whole[part]]
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, path = folder / "corpus", folder / f"mesh{suffix}"
        corpus.mkdir()
        for i, sample in enumerate(samples):
            (corpus / str(i)).write_bytes(sample)

        def one(data: bytes) -> None:
            if part:
                with zipfile.ZipFile(path, "w") as archive:
                    for member, content in whole.items():
                        archive.writestr(member, data if member == part else content)
            else:
                path.write_bytes(data)
            with contextlib.suppress(fem.FemError):
                fem_core.io.files.read_mesh(path)
            with contextlib.suppress(fem.FemError):  # also of what validation refuses
                fem.check_mesh(path)
            with contextlib.suppress(fem.FemError):
                fem.repair_mesh(fem_core.io.files.read_unvalidated(path))

        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=20000"]
        quiet = ["-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={faults / suffix[1:]}-"]
        atheris.Setup([sys.argv[0], *limits, *quiet, str(corpus)], one)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suffixes", nargs="*", metavar="SUFFIX", help=f"some of {', '.join(SUFFIXES)}; by default all")
    parser.add_argument("--seconds", type=int, default=10, help="for each format (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    suffixes = arguments.suffixes or SUFFIXES
    if unknown := set(suffixes) - set(SUFFIXES):
        parser.error(f"no format {', '.join(sorted(unknown))}; formats: {', '.join(SUFFIXES)}")
    faults = Path("fuzz-faults").resolve()
    faults.mkdir(exist_ok=True)
    if arguments.alone:
        fuzz(suffixes[0], arguments.seconds, faults)
    failed = []
    for suffix in suffixes:
        command = [sys.executable, __file__, "--alone", "--seconds", str(arguments.seconds), suffix]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=arguments.seconds + 60)
        runs = [line.split()[-1] for line in ended.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{suffix}: {'FAULT' if ended.returncode else 'sound'} after {runs[-1] if runs else 'some'} files")
        if ended.returncode:
            failed.append(suffix)
            print(ended.stderr[-5000:])
    if not failed and not any(faults.iterdir()):
        faults.rmdir()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
