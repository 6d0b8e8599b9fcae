"""House rules for what is fetched: pinned, compared with a hash, without install scripts, from no named index."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = ["requirements.txt", "layers/common/requirements.txt"]
REQUIREMENTS += [f"tests/{folder}/requirements.txt" for folder in ("audit", "contract")]
LOCKS = [
    "tests/audit",
    "tests/chromium",
    "tests/web",
    *(f"layers/common/pyodide/{version}" for version in ("3.11", "3.12", "3.13")),
]
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;]+)(?P<rest>.*)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
SYSTEMS = {"linux": "Linux", "darwin": "Darwin"}


def pins(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in filter(str.strip, text.splitlines()):
        pin = PIN.fullmatch(line.strip())
        assert pin, line  # not an option, such as the address of an index
        rest = pin["rest"].split()
        assert all(HASH.fullmatch(part) for part in rest), line
        found[canonicalize_name(pin["name"])] = (pin["version"], rest)
    return found


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_package_is_pinned_with_its_hashes_and_no_index_is_named(root: Path, name: str) -> None:
    found = pins(root / name)
    assert found
    assert [package for package, (_, hashes) in found.items() if not hashes] == []


def test_the_tests_run_with_the_layers_pinned_files(root: Path) -> None:
    everything = pins(root / "requirements.txt")
    for package, (version, hashes) in pins(root / "layers/common/requirements.txt").items():
        assert everything[package] == (version, hashes)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_is_pinned_for_other_pythons_and_systems_too(root: Path, python: str, system: str) -> None:
    """The pins are made on one machine. With hashes, pip refuses to install anything that is not among them."""
    pinned = set(pins(root / "requirements.txt"))
    there = {
        **default_environment(),
        **{"python_version": python, "python_full_version": f"{python}.0", "implementation_version": f"{python}.0"},
        **{"sys_platform": system, "platform_system": SYSTEMS[system], "os_name": "posix", "extra": ""},
    }
    missing = set()
    for installed in distributions():
        if canonicalize_name(installed.name) not in pinned:
            continue
        for text in installed.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(there):
                missing |= {canonicalize_name(needed.name)} - pinned
    assert missing == set()


def test_what_installs_packages_insists_on_hashes(root: Path) -> None:
    for name in ("Makefile", "layers/common/Makefile"):
        text = (root / name).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if "pip install" in line and re.search(r"(-r|--requirement) \S*requirements.txt", line):
                assert "--require-hashes" in line, line
            if re.search(r"\bnpm (ci|install)\b", line):
                assert re.search(r"npm ci --silent --ignore-scripts", line), line


@pytest.mark.parametrize("folder", LOCKS)
def test_every_npm_package_is_pinned_with_its_hash(root: Path, folder: str) -> None:
    lock = json.loads((root / folder / "package-lock.json").read_text())
    wanted = json.loads((root / folder / "package.json").read_text())["dependencies"]
    itself = lock["packages"].pop("")
    assert itself["dependencies"] == wanted
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for name, package in lock["packages"].items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name  # would name an index
        assert "hasInstallScript" not in package, name


def test_every_runtime_has_a_pinned_pyodide(root: Path, template: dict[str, Any]) -> None:
    runtimes = [name.removeprefix("python") for name in template["Parameters"]["Runtime"]["AllowedValues"]]
    assert runtimes == sorted(path.name for path in (root / "layers/common/pyodide").iterdir())


def test_a_changed_pyodide_compiles_nothing(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "node_modules/pyodide"
    package.mkdir(parents=True)
    (package / "pyodide.mjs").write_text("console.log('it ran'); process.exit(0)")
    node = shutil.which("node", path=Path(sys.executable).parent)
    assert node is not None

    def compile_with(digest: str) -> subprocess.CompletedProcess[str]:
        command = [node, str(root / "layers/common/compile.mjs"), str(tmp_path), "3.13", digest]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603

    refused = compile_with((root / "layers/common/pyodide/3.13/tree.sha256").read_text().strip())
    assert refused.returncode == 1
    assert refused.stdout == ""
    (digest,) = re.findall(r"its digest is ([0-9a-f]{64}), not", refused.stderr)
    assert compile_with(digest).stdout == "it ran\n"
    (package / "notes.txt").write_text("")
    assert compile_with(digest).returncode == 1  # a new file changes it too
