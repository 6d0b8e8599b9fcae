"""Builds what each contender would have on Lambda: the built layer, or the libraries that are installed here.

Libraries are copied from this environment by their distributions' file lists, so a contender has only what it requires.
Otherwise boto3 would import optional libraries that happen to be installed (awscrt, pyOpenSSL).
"""

import compileall
import importlib.metadata
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def build_layer(folder: Path, root: Path = ROOT) -> Path:
    """Build a checkout's layer for this machine's Python with its own makefile. Returns the folder of its packages."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}", "LAYER_TARGET": "host"}
    command = ["make", "-s", "-C", str(root / "layers/common"), "build-CommonLayer", f"ARTIFACTS_DIR={folder}"]
    built = subprocess.run(
        [*command, f"PYTHON={Path(sys.executable).name}"], env=env, capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise SystemExit(f"the layer could not be built:\n{built.stderr}")
    return folder / "python"


def install(folder: Path, *packages: str, without: Path | None = None, bytecode: bool = True) -> Path:
    """Copy packages and everything that they require, except files that ``without`` already has."""
    folder.mkdir(parents=True)
    for distribution in _closure(packages):
        for file in distribution.files or []:
            if file.parts[0] == ".." or "__pycache__" in file.parts or (without and (without / file).exists()):
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(str(distribution.locate_file(file))), folder / file)
    if bytecode:
        compile_all(folder)
    return folder


def compile_all(folder: Path) -> None:
    """Compile to bytecode as in the layer: never checked against the source."""
    compileall.compile_dir(folder, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def trust(folder: Path, certificate: Path) -> None:
    """Add a certificate to the authorities that an artifact's libraries trust."""
    for bundle in (folder / "certifi/cacert.pem", folder / "botocore/cacert.pem"):
        if bundle.exists():
            bundle.write_text(f"{bundle.read_text()}\n{certificate.read_text()}")


def make_certificate(work: Path) -> tuple[Path, Path]:
    """Create a certificate and its key for this machine and this run."""
    certificate, key = work / "certificate.pem", work / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", "/CN=benchmark", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-out", str(certificate), "-keyout", str(key)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def _closure(packages: tuple[str, ...]) -> list[importlib.metadata.Distribution]:
    wanted, found = [Requirement(name) for name in packages], dict[str, importlib.metadata.Distribution]()
    while wanted:
        requirement = wanted.pop()
        name = requirement.name.lower().replace("_", "-")
        distribution = found.setdefault(name, importlib.metadata.distribution(name))
        for text in distribution.requires or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            known = needed.name.lower().replace("_", "-") in found
            if not known and (needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras)):
                wanted.append(needed)
    return list(found.values())
