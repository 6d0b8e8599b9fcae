"""House rules for the source: allowed imports, access to the environment, objects built at import, forbidden names."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import seedance
from seedance.observability import ALARMING

USE_CASES = frozenset(
    {
        "announce",
        "api",
        "collect",
        "console",
        "deliver",
        "enqueue",
        "fail",
        "finalize",
        "generate",
        "intake",
        "plan",
        "poll",
        "reconcile",
        "redriving",
        "repair",
        "submit",
        "watch",
    }
)
MAY_IMPORT = {
    "bounds": frozenset[str](),
    "masking": frozenset[str](),
    "errors": frozenset({"bounds", "masking"}),
    "config": frozenset({"errors"}),
    "observability": frozenset[str](),
    "clock": frozenset[str](),
    "aws": frozenset({"bounds", "clock", "config", "errors", "observability"}),
    "pacing": frozenset({"aws", "config", "errors", "observability"}),
    "jobs": frozenset({"aws", "bounds", "config", "errors", "observability", "pacing"}),
    "media": frozenset({"aws", "config", "errors", "jobs"}),
    "provider": frozenset({"aws", "clock", "config", "errors", "jobs", "masking", "pacing"}),
    "batches": frozenset({"aws", "bounds", "config", "errors", "jobs", "media", "observability"}),
    "notices": frozenset({"aws", "bounds", "clock", "config", "errors", "jobs", "media", "observability"}),
    "events": frozenset({"aws", "bounds", "clock", "config", "errors", "jobs", "masking", "observability", "provider"}),
    "rest": frozenset({"aws", "batches", "bounds", "clock", "config", "errors", "jobs", "media", "notices", "pacing"}),
    "upkeep": frozenset(
        {
            "aws",
            "bounds",
            "clock",
            "config",
            "errors",
            "jobs",
            "media",
            "notices",
            "observability",
            "pacing",
            "provider",
        }
    ),
}
"""Which folder, or module at the top, may import which. What is not here is a use case, or shared by some of them."""

OUTSIDE = {"boto3", "botocore", "httpx", "aws_lambda_powertools", "os"}
NOT_SHIPPED = {"local", "cli", "tests", "benchmarks", "conftest", "moto", "pytest"}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "shared", "misc"}
CLIENTS = {"client", "resource", "Client", "AsyncClient", "Session", "Logger", "Metrics", "Tracer"}
LONGEST_MODULE = 450
# Hosts of package indexes. Written in pieces, since this file is checked too.
INDEX_HOSTS = [
    ".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"))
]
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(?:home|Users|root|work|mnt|private)/[\w.-]+")


def imported(tree: ast.AST) -> set[str]:
    """The imported modules, except those imported only for type checking."""
    names: set[str] = set()
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tops(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imported(tree)}


def python_files(root: Path, *folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]


def room(module: str) -> str:
    """The folder of a module, or the module itself at the top."""
    return module.partition(".")[0]


def ours(tree: ast.AST, layer: dict[str, ast.Module]) -> set[str]:
    """The modules of the layer that a module imports."""
    return {name.removeprefix("seedance.") for name in imported(tree)} & set(layer)


def test_a_folder_imports_only_what_is_allowed(layer: dict[str, ast.Module]) -> None:
    assert {room(name) for name in layer if "." in name} <= set(MAY_IMPORT)
    for name, tree in layer.items():
        if (allowed := MAY_IMPORT.get(room(name))) is not None:
            foreign = {room(module) for module in ours(tree, layer)} - {room(name)}
            assert foreign <= allowed, name


def test_every_allowed_import_is_used_and_there_are_no_cycles(layer: dict[str, ast.Module]) -> None:
    used: dict[str, set[str]] = {name: set() for name in MAY_IMPORT}
    for name, tree in layer.items():
        if room(name) in used:
            used[room(name)] |= {room(module) for module in ours(tree, layer)} - {room(name)}
    assert used == {name: set(allowed) for name, allowed in MAY_IMPORT.items()}
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        free = [name for name in MAY_IMPORT if name not in order and MAY_IMPORT[name] <= set(order)]
        assert free, set(MAY_IMPORT) - set(order)
        order += free


def test_a_module_described_as_pure_imports_nothing_impure(layer: dict[str, ast.Module]) -> None:
    pure = {name for name, tree in layer.items() if "Pure." in (ast.get_docstring(tree) or "")}
    for name in pure:
        assert not tops(layer[name]) & OUTSIDE, name
        impure = ours(layer[name], layer) - pure - {"errors", "masking"}
        assert not impure, name
    assert {"jobs.job", "jobs.catalogue", "pacing.calendar", "provider.payloads", "notices.job_message"} <= pure


def test_only_config_reads_the_environment(layer: dict[str, ast.Module], root: Path) -> None:
    readers = {name for name, tree in layer.items() if "os" in tops(tree)}
    assert readers == {"config"}
    for path in python_files(root, "functions"):
        assert "os" not in tops(ast.parse(path.read_text())), path


def test_only_the_clock_reads_the_time_and_sleeps(layer: dict[str, ast.Module]) -> None:
    def told(tree: ast.Module) -> set[str]:
        reads = {"time", "sleep", "time_ns", "now", "utcnow", "today"}
        return {
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in reads
            and ast.unparse(node.value) in {"time", "datetime", "date"}
        }

    assert {name for name, tree in layer.items() if told(tree)} == {"clock"}
    assert {name for name, tree in layer.items() if "random" in tops(tree)} <= {"clock", "pacing.pacer"}


def test_the_layer_imports_no_unshipped_package(layer: dict[str, ast.Module], root: Path) -> None:
    for name, tree in layer.items():
        assert not tops(tree) & NOT_SHIPPED, name
    for path in python_files(root, "functions"):
        assert not tops(ast.parse(path.read_text())) & NOT_SHIPPED, path


def test_the_layer_imports_only_what_it_ships(layer: dict[str, ast.Module], root: Path) -> None:
    shipped = (root / "layers/common/requirements.in").read_text().splitlines()
    packages = {line.strip().replace("-", "_") for line in shipped if line.strip() and not line.startswith("#")}
    for name, tree in layer.items():
        foreign = {top for top in tops(tree) if top != "seedance" and top not in sys.stdlib_module_names}
        assert foreign <= packages, name


def test_the_stand_in_shares_no_code_with_the_layer(root: Path) -> None:
    files = python_files(root, "local/sandbox")
    assert files
    for path in files:
        assert "seedance" not in tops(ast.parse(path.read_text())), path


def test_adapters_do_not_import_use_cases(layer: dict[str, ast.Module]) -> None:
    for name in set(layer) - USE_CASES:
        assert not ours(layer[name], layer) & USE_CASES, name


def test_nothing_is_built_at_import(layer: dict[str, ast.Module]) -> None:
    for name, tree in layer.items():
        for statement in tree.body:
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                continue
            for node in ast.walk(statement):
                if isinstance(node, ast.Call):
                    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    assert called not in CLIENTS, f"{name}: line {node.lineno}"


@pytest.mark.parametrize(
    ("module", "libraries"),
    [
        *((module, {"pydantic", "httpx"}) for module in ("poll", "finalize", "fail", "announce", "deliver")),
        ("watch", {"pydantic", "httpx", "seedance.media.images", "seedance.jobs.store"}),
        ("announce", {"seedance.events.endpoint", "seedance.provider.http"}),
        ("api", {"pydantic", "httpx", "seedance.provider.client", "seedance.pacing.pacer", "seedance.rest.listing"}),
    ],
)
def test_a_function_that_starts_often_loads_only_what_it_needs(root: Path, module: str, libraries: set[str]) -> None:
    """Pydantic alone took 0.06 s of a poll's cold start of 0.27 s (2026-11-29, benchmarks/cold_start.py)."""
    code = f"import sys, seedance.{module}; print(sorted(set({sorted(libraries)}) & sys.modules.keys()))"
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "layers/common")},
    )
    assert said.stdout.strip() == "[]"


def test_handlers_contain_no_logic(root: Path) -> None:
    for path in python_files(root, "functions"):
        if path.name == "app.py" and path.parent.name != "api":
            assert len(path.read_text().splitlines()) <= 25, path


def test_no_abstract_classes_for_one_implementation(layer: dict[str, ast.Module]) -> None:
    for name, tree in layer.items():
        assert "abc" not in tops(tree), name


def test_no_module_has_a_catch_all_name(tracked: list[Path], root: Path) -> None:
    for path in tracked:
        if path.suffix == ".py":
            assert path.stem not in BANNED_NAMES, path
    assert (root / "layers/common").is_dir()  # the folder that SAM calls a layer, not a module


def test_no_module_is_too_long(tracked: list[Path]) -> None:
    long = {
        str(path): count
        for path in tracked
        if path.suffix == ".py" and (count := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_a_broad_except_in_the_layer_raises_an_alarm(layer: dict[str, ast.Module]) -> None:
    for name, tree in layer.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                rings = any(f"count('{metric}')" in ast.unparse(node) for metric in ALARMING)
                assert caught not in ("everything", "Exception") or rings, f"{name}: line {node.lineno}"


def test_no_file_names_a_package_index_or_a_local_path(tracked: list[Path], root: Path) -> None:
    found = []
    for path in tracked:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        named = [host for host in INDEX_HOSTS if host in text]
        named += MACHINE_PATH.findall(text)
        found += [f"{path.relative_to(root)}: {name}" for name in named]
    assert found == []


def test_no_file_contains_a_plausible_key(tracked: list[Path]) -> None:
    for path in tracked:
        try:
            keys = re.findall(r"SG_([0-9a-f]{16})", path.read_text())
        except UnicodeDecodeError:
            continue
        # One digit sixteen times, or all sixteen in order, is not a real key.
        real = [key for key in keys if len(set(key)) > 1 and key not in ("0123456789abcdef", "fedcba9876543210")]
        assert real == [], path


def test_the_version_is_the_same_everywhere(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert released[0] == version == seedance.__version__
    assert released == sorted(released, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
