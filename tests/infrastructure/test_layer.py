"""The artefacts for Lambda, built on this host by the layer's makefile: architecture, Python, bytecode, size."""

import _imp
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore
import pytest
from elftools.elf.elffile import ELFFile

UNZIPPED_LIMIT = 20 * 1024 * 1024
SERVICES = {"dynamodb", "dynamodbstreams", "events", "s3", "secretsmanager", "sns", "sqs", "stepfunctions"}
DESCRIBE = """
import json, os, sys
sys.path[:0] = sys.argv[1:]
from botocore.session import Session
from seedance.aws import clients as aws
session, found = Session(), {}
regions = ("us-east-1", "eu-central-1", "eu-south-1", "il-central-1", "us-gov-west-1", "cn-north-1")
session.set_credentials("a", "b")
for service in ("dynamodb", "dynamodbstreams", "events", "s3", "secretsmanager", "sns", "sqs", "stepfunctions"):
    client = session.create_client(service, region_name="eu-central-1")
    model = client.meta.service_model
    shapes = {name: model.operation_model(name) for name in model.operation_names}
    found[service] = {
        "urls": [session.create_client(service, region_name=region).meta.endpoint_url for region in regions],
        "operations": {
            name: [sorted(shape.members) if shape else [] for shape in (one.input_shape, one.output_shape)]
            for name, one in shapes.items()
        },
        "pages": [name for name in client._PY_TO_OP_NAME if client.can_paginate(name)],
    }
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
for region in regions:
    os.environ["AWS_DEFAULT_REGION"] = region
    aws._session.cache_clear()
    aws._client.cache_clear()
    link = aws.s3().generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k"})
    found.setdefault("links", {})[region] = link.partition("?")[0]
    found.setdefault("forms", {})[region] = aws.s3().generate_presigned_post("bucket", "k")["url"] + "k"
print(json.dumps(found))
"""
LINKS = {
    region: f"https://bucket.s3.{region}.{suffix}/k"
    for region, suffix in {
        **dict.fromkeys(("us-east-1", "eu-central-1", "eu-south-1", "il-central-1", "us-gov-west-1"), "amazonaws.com"),
        "cn-north-1": "amazonaws.com.cn",
    }.items()
}
IAM_NAMES = {"stepfunctions": "states:"}
PYTHON_3_13 = 3571
"""What 3.13's bytecode begins with (CPython, Include/internal/pycore_magic_number.h)."""


def make(root: Path, target: str, folder: Path, layer_target: str = "lambda") -> None:
    """Build one artefact as `sam build` does. Needs pip for the layer, and node if there is no Python 3.13."""
    command = shutil.which("make")
    assert command is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    built = subprocess.run(  # noqa: S603 - our own makefile
        [
            *(command, "-C", str(root / "layers/common"), target),
            *(f"ARTIFACTS_DIR={folder}", f"PYTHON={sys.executable}", f"LAYER_TARGET={layer_target}"),
        ],
        env={**os.environ, "PATH": path},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="module")
def layer_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer for Lambda. Takes about half a minute to build."""
    folder = tmp_path_factory.mktemp("layer")
    make(root, "build-CommonLayer", folder)
    return folder


@pytest.fixture(scope="module")
def function_folders(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two of the functions for Lambda, by the name of their source folder. Only two: each starts node once."""
    folders = {}
    for name in ("submit", "api"):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        make(root, f"build-{name.capitalize()}Function", folder)
    return folders


def of_kind(folder: Path, ending: str) -> list[Path]:
    found = sorted(folder.rglob(f"*{ending}"))
    assert found
    return found


def test_the_layer_has_the_package_and_its_libraries_in_the_python_folder(layer_folder: Path) -> None:
    assert [path.name for path in layer_folder.iterdir()] == ["python"]
    for package in ("seedance", "aws_lambda_powertools", "botocore", "httpx", "pydantic"):
        assert (layer_folder / "python" / package / "__init__.py").is_file()


def test_the_package_is_the_one_in_the_repository(root: Path, layer_folder: Path) -> None:
    def files(package: Path) -> dict[Path, bytes]:
        return {path.relative_to(package): path.read_bytes() for path in package.rglob("*.py")}

    assert files(layer_folder / "python/seedance") == files(root / "layers/common/seedance")


def test_compiled_libraries_are_for_the_functions_architecture_and_python(layer_folder: Path) -> None:
    for path in of_kind(layer_folder, ".so"):
        with path.open("rb") as file:
            assert ELFFile(file).header["e_machine"] == "EM_AARCH64", path.name
        assert ".cpython-313-aarch64-linux-gnu." in path.name or ".abi3." in path.name, path.name


def check_bytecode(folder: Path) -> None:
    """Each module has bytecode for the functions' Python version, which is used without checking the source."""
    for path in of_kind(folder, ".py"):
        compiled = Path(
            importlib.util.cache_from_source(str(path)).replace(sys.implementation.cache_tag, "cpython-313")
        )
        assert compiled.is_file(), path
        magic, mark, flags = struct.unpack("<H2sI", compiled.read_bytes()[:8])
        assert (magic, mark) == (PYTHON_3_13, b"\r\n"), path
        assert flags == 0b01, (
            path
        )  # identified by the source's hash, which is not checked: timestamps mean nothing on Lambda


def test_every_module_has_bytecode_for_the_functions_python(layer_folder: Path) -> None:
    check_bytecode(layer_folder)


def test_a_function_is_its_source_and_its_bytecode(root: Path, function_folders: dict[str, Path]) -> None:
    for name, folder in function_folders.items():
        source = {path.name: path.read_bytes() for path in (root / "functions" / name).glob("*.py")}
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == source
        check_bytecode(folder)
        compiled = sorted(path.name for path in of_kind(folder, ".pyc"))
        assert compiled == [f"{path.removesuffix('.py')}.cpython-313.pyc" for path in sorted(source)]
        for path in of_kind(folder, ".pyc"):
            assert str(folder).encode() not in path.read_bytes()


def test_bytecode_matches_the_source_beside_it(layer_folder: Path) -> None:
    package = layer_folder / "python/seedance"
    for path in of_kind(package, ".py"):
        compiled = (path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc").read_bytes()
        # As importlib.util.source_hash, with the magic number of 3.13 instead of this Python's.
        magic = int.from_bytes(compiled[:4], "little")
        assert compiled[8:16] == _imp.source_hash(magic, path.read_bytes()), path
        assert str(Path("seedance") / path.relative_to(package)).encode() in compiled, path
        assert str(layer_folder).encode() not in compiled, path


def test_there_is_no_bytecode_for_another_python(layer_folder: Path) -> None:
    assert {path.name.split(".")[-2] for path in of_kind(layer_folder, ".pyc")} == {"cpython-313"}


def test_the_layer_is_small(layer_folder: Path) -> None:
    size = sum(path.stat().st_size for path in layer_folder.rglob("*") if path.is_file())
    assert size <= UNZIPPED_LIMIT


def test_unused_packages_are_left_out(layer_folder: Path) -> None:
    names = {path.name.lower() for path in (layer_folder / "python").iterdir()}
    assert not names & {"boto3", "s3transfer", "anyio", "bin", "pytest", "moto"}


def test_botocore_has_only_the_services_that_are_called(root: Path, layer_folder: Path) -> None:
    data = layer_folder / "python/botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    partition = json.loads((data / "endpoints.json").read_text())["partitions"][0]
    other_names = {"stepfunctions": "states", "dynamodbstreams": "streams.dynamodb"}
    assert set(partition["services"]) == {other_names.get(service, service) for service in SERVICES}
    called = set(re.findall(r'_later\("(\w+)"\)', (root / "layers/common/seedance/aws/clients.py").read_text()))
    assert called == SERVICES


def test_the_trimmed_botocore_behaves_like_the_complete_one(
    root: Path, tmp_path: Path, template: dict[str, Any]
) -> None:
    """Compare each client of a built layer, in a process without other packages: endpoint, operations, fields.

    Every operation that a function's policy allows is included.
    """
    functions = [each for each in template["Resources"].values() if each["Type"] == "AWS::Serverless::Function"]
    actions = set(re.findall(r"\w+:[A-Z]\w+", str([each["Properties"]["Policies"] for each in functions])))
    make(root, "build-CommonLayer", tmp_path, "host")
    command = [sys.executable, "-I", "-S", "-c", DESCRIBE]
    said = subprocess.run([*command, str(tmp_path / "python")], capture_output=True, text=True, check=False, env={})  # noqa: S603
    assert said.returncode == 0, said.stderr
    sites = [str(root / "layers/common"), str(Path(botocore.__file__).parent.parent)]
    whole = subprocess.run([*command, *sites], capture_output=True, text=True, check=True, env={})  # noqa: S603
    left, all_of_it = json.loads(said.stdout), json.loads(whole.stdout)
    assert set(left) == {*SERVICES, "links", "forms"}
    assert left["forms"] == all_of_it["forms"] == LINKS
    assert left["links"] == all_of_it["links"] == LINKS
    for service in SERVICES:
        here, there = left[service], all_of_it[service]
        assert here["urls"] == there["urls"]
        assert here["operations"] == {name: there["operations"][name] for name in here["operations"]}
        assert here["pages"] == [name for name in there["pages"] if name in here["pages"]]
        allowed = {action.partition(":")[2] for action in actions if IAM_NAMES.get(service, service) in action}
        assert allowed & set(there["operations"]) <= set(here["operations"])
