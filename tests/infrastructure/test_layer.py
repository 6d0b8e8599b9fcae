"""The layer as Lambda gets it, built from this host by its own makefile: right processor, right Python, small."""

import importlib.util
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

UNZIPPED_LIMIT = 20 * 1024 * 1024
PYTHON_3_13 = 3571
"""What 3.13's bytecode begins with (CPython, Include/internal/pycore_magic_number.h)."""


@pytest.fixture(scope="module")
def layer_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built layer. Takes pip, and node where there is no Python 3.13; about half a minute."""
    folder = tmp_path_factory.mktemp("layer")
    make = shutil.which("make")
    assert make is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    built = subprocess.run(  # noqa: S603 - our own makefile
        [
            *(make, "-C", str(root / "layers/common"), "build-CommonLayer"),
            *(f"ARTIFACTS_DIR={folder}", f"PYTHON={sys.executable}", "LAYER_TARGET=lambda"),
        ],
        env={**os.environ, "PATH": path},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def of_kind(folder: Path, ending: str) -> list[Path]:
    found = sorted(folder.rglob(f"*{ending}"))
    assert found
    return found


def test_the_layer_has_the_package_and_its_libraries_under_python(layer_folder: Path) -> None:
    assert [path.name for path in layer_folder.iterdir()] == ["python"]
    for package in ("seedance", "aws_lambda_powertools", "httpx", "pydantic"):
        assert (layer_folder / "python" / package / "__init__.py").is_file()


def test_the_package_is_the_one_in_the_repository(root: Path, layer_folder: Path) -> None:
    source = {path.name: path.read_bytes() for path in (root / "layers/common/seedance").glob("*.py")}
    assert {path.name: path.read_bytes() for path in (layer_folder / "python/seedance").glob("*.py")} == source


def test_compiled_libraries_are_for_the_functions_processor_and_python(layer_folder: Path) -> None:
    for path in of_kind(layer_folder, ".so"):
        with path.open("rb") as file:
            assert ELFFile(file).header["e_machine"] == "EM_AARCH64", path.name
        assert ".cpython-313-aarch64-linux-gnu." in path.name or ".abi3." in path.name, path.name


def test_every_module_has_bytecode_of_the_functions_python(layer_folder: Path) -> None:
    for path in of_kind(layer_folder, ".py"):
        compiled = Path(
            importlib.util.cache_from_source(str(path)).replace(sys.implementation.cache_tag, "cpython-313")
        )
        assert compiled.is_file(), path
        magic, mark, flags = struct.unpack("<H2sI", compiled.read_bytes()[:8])
        assert (magic, mark) == (PYTHON_3_13, b"\r\n"), path
        assert flags == 0b01, path  # by the source's digest, which is not checked: dates mean nothing on Lambda


def test_bytecode_belongs_to_the_source_beside_it(layer_folder: Path) -> None:
    for path in of_kind(layer_folder / "python/seedance", ".py"):
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc"
        # The digest depends on 3.13's magic number, so this Python can't repeat it; two files differ in theirs.
        assert str(Path("seedance") / path.name).encode() in compiled.read_bytes(), path
        assert str(layer_folder).encode() not in compiled.read_bytes(), path


def test_there_is_no_bytecode_of_another_python(layer_folder: Path) -> None:
    assert {path.name.split(".")[-2] for path in of_kind(layer_folder, ".pyc")} == {"cpython-313"}


def test_the_layer_is_small(layer_folder: Path) -> None:
    size = sum(path.stat().st_size for path in layer_folder.rglob("*") if path.is_file())
    assert size <= UNZIPPED_LIMIT


def test_what_the_runtime_brings_and_what_nobody_runs_stays_out(layer_folder: Path) -> None:
    names = {path.name.lower() for path in (layer_folder / "python").iterdir()}
    assert not names & {"boto3", "botocore", "bin", "pytest", "moto"}
