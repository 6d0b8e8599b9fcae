"""Mutation testing: every small change to a module that handles money or videos should make a unit test fail.

``python -m tests.mutants`` runs all six modules, ``python -m tests.mutants pacer poll`` only these two. mutmut must be
on the PATH (`make mutants` installs it into a separate environment). Each module is mutated in a temporary folder, and
only the unit tests for it are run. The results are kept in docs/mutants.json, from which docs/mutants.md is generated;
``--page`` only generates the page. ``--again`` only runs the functions with survivors that nobody has judged, after
tests were written for them. People write the judgements into the JSON file; later runs keep them for the same change in
the same function.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOUND = ROOT / "docs/mutants.json"
PAGE = ROOT / "docs/mutants.md"
WORKERS = 2
LEAST_SECONDS = 60.0
"""With less time left, no further module is started."""

# Only the tests with poisoned items that concern the module. Running all of them for each mutant would take hours.
POISON = "test_poison_stores.py::test_"
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "budget": (
        "jobs/budget.py",
        (
            "test_store_money.py",
            f"{POISON}a_poisoned_budget_is_no_leave_to_spend",
            f"{POISON}a_poisoned_budget_keeps_no_paid_video_from_its_end",
            f"{POISON}a_day_that_has_lost_its_sum_is_no_leave_to_spend",
        ),
    ),
    "download": ("provider/download.py", ("test_download.py", "test_download_resume.py", "test_download_time.py")),
    "pacer": (
        "pacing/pacer.py",
        (
            "test_feed.py",
            "test_pacer.py",
            "test_pacer_table.py",
            "test_pacer_waits.py",
            f"{POISON}a_poisoned_calendar_keeps_nobody_waiting",
            f"{POISON}a_poisoned_count_holds_no_video_and_is_counted_anew",
        ),
    ),
    "poll": ("poll.py", ("test_poll.py", "test_poll_deadline.py", "test_poll_results.py", "test_poll_trouble.py")),
    "reconcile": (
        "reconcile.py",
        (
            "test_lost.py",
            "test_reconcile.py",
            "test_reconcile_history.py",
            "test_reconcile_lease.py",
            "test_reconcile_records.py",
            "test_reconcile_restarts.py",
            "test_reconcile_rounds.py",
            "test_reconcile_reports.py",
            f"{POISON}a_poisoned_place_begins_the_round_anew",
        ),
    ),
    "store": (
        "jobs/store.py",
        (
            "test_bills.py",
            "test_store.py",
            "test_store_money.py",
            "test_store_parts.py",
            "test_submit_durations.py",
            f"{POISON}a_poisoned_budget_keeps_no_paid_video_from_its_end",
            "test_writes.py",
            f"{POISON}a_poisoned_count_holds_no_video_and_is_counted_anew",
            f"{POISON}a_poisoned_place_begins_the_round_anew",
            f"{POISON}a_place_of_the_future_hides_nobody",
            f"{POISON}a_switch_with_an_odd_reason_stops_submits_all_the_same",
            f"{POISON}a_switch_without_a_reason_stops_submits",
            f"{POISON}an_item_of_another_kind_is_no_job",
            f"{POISON}an_unknown_state_is_named",
            f"{POISON}what_is_dropped_or_skipped_is_logged",
        ),
    ),
}
"""The module's file in the layer, and the unit tests for it."""

LOG_STATEMENTS = r"^\s*(logger\(\)\.\w+|log)\("
"""Log statements are not mutated, because no test checks their text."""

SETTINGS = """\
[tool.mutmut]
source_paths = ["seedance"]
only_mutate = ["seedance/{file}"]
do_not_mutate_patterns = ['{logs}']
also_copy = ["template.yaml", "warm.py", "cli", "events", "local", "statemachine"]
pytest_add_cli_args = ["-p", "warm", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:unraisableexception"]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 5.0
timeout_constant = 5.0

[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "--strict-markers"
markers = {markers}
"""

# Each mutant's tests run in a fork of a process that has already read these files, most of a short test's time.
WARM = """\
import functools, botocore.loaders, botocore.session, yaml
botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)
_load, _loaded = yaml.load, {}
def load(text, Loader):
    if text not in _loaded:
        _loaded[text] = _load(text, Loader=Loader)
    return _loaded[text]
yaml.load = load
"""

# Run by mutmut's own Python in its folder. Prints every mutant's status, and each survivor's diff.
LOOK = """\
import json, sys
from pathlib import Path
from mutmut.mutation.diff_apply import find_mutant, get_diff_for_mutant
from mutmut.stats import status_by_exit_code
codes = json.loads(Path(f"mutants/seedance/{sys.argv[1]}.meta").read_text())["exit_code_by_key"]
found = {name: status_by_exit_code[code] for name, code in codes.items()}
alive = [name for name, status in found.items() if status not in ("killed", "timeout", "not checked")]
diffs = {name: get_diff_for_mutant(name, path=find_mutant(name).path) for name in alive}
print(json.dumps([found, diffs]))
"""

HEAD = """\
# Mutation testing

A mutation run makes one small change to a module (a number, a comparison, an argument, a word) and runs the unit tests
for it. A change for which no test fails is a survivor. Each survivor below has a judgement: either it makes no visible
difference, or it is a gap in the tests. Generated by `make mutants` (`make mutants ARGS="pacer poll"` for some of the
modules), which takes 100 minutes. A timeout counts as killed. The judgements are in docs/mutants.json.

Not mutated: log statements, constants of a module, and functions with a decorator (`@cache`, `@property`,
`@contextmanager`), which mutmut skips.

| module | file | run on | minutes | mutants | killed | survived | not judged | not run |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
NOT_JUDGED = "not judged"


def scratch(folder: Path, file: str, tests: tuple[str, ...]) -> None:
    """Create the folder for mutmut: the layer's package at the root, and the unit tests beside it."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "layers/common/seedance", folder / "seedance", ignore=skip)
    for name in ("cli", "events", "local", "statemachine"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "template.yaml", folder)
    (folder / "warm.py").write_text(WARM)
    (folder / "tests/unit").mkdir(parents=True)
    for path in (ROOT / "tests").glob("*.py"):
        if path.name != Path(__file__).name:
            shutil.copy(path, folder / "tests")
    for path in (ROOT / "tests/unit").glob("*.py"):
        if not path.name.startswith("test_") or any(test.startswith(path.name) for test in tests):
            shutil.copy(path, folder / "tests/unit")
    chosen = [f"tests/unit/{name}" for name in tests]
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    words = {"file": file, "logs": LOG_STATEMENTS, "tests": json.dumps(chosen), "markers": json.dumps(markers)}
    settings = SETTINGS.format(**words)
    (folder / "pyproject.toml").write_text(settings)


def run(module: str, seconds: float, functions: Collection[str] = ()) -> dict[str, Any]:
    """Mutate a module, or some of its functions. Returns the numbers, and each survivor with its change."""
    file, tests = MODULES[module]
    mutmut = shutil.which("mutmut")
    if mutmut is None:
        raise SystemExit("mutmut is not on the PATH; use `make mutants`")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        scratch(folder, file, tests)
        command = [mutmut, "run", "--max-children", str(WORKERS)]
        _run_for(seconds, [*command, *(mutants_of(file, function) for function in functions)], folder)
        return {
            "run": datetime.now(UTC).date().isoformat(),
            "minutes": round((time.monotonic() - began) / 60, 1),
            **look(folder, file, Path(mutmut).with_name("python")),
        }


def _run_for(seconds: float, command: list[str], folder: Path) -> None:
    """Run mutmut in its folder, and stop it and its workers when time is up. The results until then are saved."""
    log = folder / "log"
    with log.open("w") as output:
        # Without PYTHONPATH, so that the mutated package is the one that is imported.
        child = subprocess.Popen(  # noqa: S603 - fixed arguments
            ["env", "-u", "PYTHONPATH", *command],  # noqa: S607
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if child.wait(max(0.0, seconds)):
                raise SystemExit(f"mutmut failed:\n{log.read_text()[-4000:]}")
        except subprocess.TimeoutExpired:
            sys.stdout.write("time is up\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def look(folder: Path, file: str, python: Path) -> dict[str, Any]:
    """Read mutmut's results from its folder."""
    command = ["env", "-u", "PYTHONPATH", str(python), "-c", LOOK, file]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout  # noqa: S603
    found, diffs = json.loads(said.splitlines()[-1])
    unchecked = Counter(function_of(name) for name, status in found.items() if status == "not checked")
    return {
        "mutants": len(found),
        "killed": len(found) - unchecked.total() - len(diffs),
        "not run": dict(unchecked),
        "survivors": [
            {"function": function_of(name), "change": shortened(diff), "status": found[name]}
            for name, diff in diffs.items()
        ],
    }


def function_of(mutant: str) -> str:
    """The function of a mutant: ``Poll._ask`` for ``seedance.poll.xǁPollǁ_ask__mutmut_3``."""
    name = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return name[2:].replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")


def mutants_of(file: str, function: str) -> str:
    """The reverse: a pattern for the names of a function's mutants."""
    inside, _, name = function.rpartition(".")
    mangled = f"xǁ{inside}ǁ{name}" if inside else f"x_{name}"
    return f"seedance.{file.removesuffix('.py').replace('/', '.')}.{mangled}__mutmut_*"


def run_again(module: str, seconds: float, before: dict[str, Any], *, rest: bool) -> dict[str, Any]:
    """Run some functions again, and update the earlier results with theirs.

    ``rest``: those with mutants that have not been run. Otherwise those with survivors that nobody has judged.
    """
    functions = {one["function"] for one in before["survivors"] if one["judgement"] == NOT_JUDGED}
    functions = set(before["not run"]) if rest else functions - set(before["not run"])
    if not functions:
        return before
    found = run(module, seconds, functions)
    done = functions - set(found["not run"])
    survivors = [one for one in before["survivors"] if one["function"] not in done]
    survivors += [one for one in found["survivors"] if one["function"] in done]
    not_run = {name: number for name, number in before["not run"].items() if name not in done}
    killed = before["mutants"] - sum(not_run.values()) - len(survivors)
    return {**before, "run": found["run"], "killed": killed, "survivors": survivors, "not run": not_run}


def shortened(diff: str) -> str:
    """A diff in one line: the original line, and the words that changed."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    old, new = (" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    words, others = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (old, new))
    steps = SequenceMatcher(None, words, others, autojunk=False).get_opcodes()
    changed = [step for step in steps if step[0] != "equal"]
    if not changed:
        return old
    (_, start, _, other_start, _), (_, _, end, _, other_end) = changed[0], changed[-1]
    before, after = "".join(words[start:end]).strip(), "".join(others[other_start:other_end]).strip()
    return f"{old}  ⟶  {before or 'nothing'} becomes {after or 'nothing'}"


def so_far() -> dict[str, Any]:
    """The results of earlier runs, by module."""
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def with_judgements(found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Add people's earlier judgements of the same changes to the results."""
    said = {(one["function"], one["change"]): one["judgement"] for one in before.get("survivors", [])}
    for one in found["survivors"]:
        one["judgement"] = said.get((one["function"], one["change"]), NOT_JUDGED)
    return found


def page(kept: dict[str, Any]) -> str:
    """The text of docs/mutants.md."""
    text = HEAD
    for module, (file, _) in MODULES.items():
        if module not in kept:
            text += f"| {module} | `{file}` | never | | | | | | all |\n"
            continue
        one = kept[module]
        survivors = one["survivors"]
        open_ones = sum(survivor["judgement"] == NOT_JUDGED for survivor in survivors)
        cells = (
            module,
            f"`{file}`",
            one["run"],
            one["minutes"],
            one["mutants"],
            one["killed"],
            len(survivors),
            open_ones,
            sum(one["not run"].values()),
        )
        text += "| " + " | ".join(str(cell) for cell in cells) + " |\n"
    for module in MODULES:
        if survivors := kept.get(module, {}).get("survivors"):
            text += f"\n## {module}\n\n| function | change | judgement |\n| --- | --- | --- |\n"
            rows = Counter(
                (one["function"], one["change"], one["judgement"], one["status"] == "no tests") for one in survivors
            )
            for (function, change, judgement, untested), times in rows.items():
                old, _, new = change.partition("  ⟶  ")
                cell = f"{_code(old)}: {new}" if new else _code(old)
                cell = cell + (f" ({times} times)" if times > 1 else "") + (" (no test runs it)" if untested else "")
                text += f"| `{function}` | {cell} | {judgement} |\n"
    return text


def _code(line: str) -> str:
    return "`` " + line.replace("|", "\\|") + " ``" if "`" in line else "`" + line.replace("|", "\\|") + "`"


def main() -> None:
    """Run the requested modules, and save the results after each of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--page", action="store_true", help="only generate docs/mutants.md from docs/mutants.json")
    parser.add_argument("--again", action="store_true", help="only run functions with survivors that are not judged")
    parser.add_argument("--rest", action="store_true", help="only run functions with mutants that have not been run")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this many minutes (60)")
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    for module in () if asked.page else (asked.modules or MODULES):
        left = until - time.monotonic()
        if left < LEAST_SECONDS:
            sys.stdout.write(f"no time left for {module}\n")
            continue
        if asked.again or asked.rest:
            found = run_again(module, left, so_far()[module], rest=asked.rest)
        else:
            found = run(module, left)
        kept = so_far()  # read here, because judgements may have been added during the run
        kept[module] = with_judgements(found, kept.get(module, {}))
        in_order = {name: kept[name] for name in MODULES if name in kept}
        FOUND.write_text(json.dumps(in_order, indent=1, ensure_ascii=False) + "\n")
        counts = f"{found['mutants']} mutants, {found['killed']} killed, {found['minutes']} min"
        sys.stdout.write(f"{module}: {counts}\n")
    PAGE.write_text(page(so_far()))


if __name__ == "__main__":
    main()
