"""A small soak test, run with the same command as the large one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]


def test_no_video_is_bought_twice_or_lost_under_crashes_and_faults(root: Path, tmp_path: Path) -> None:
    if not (Path(sys.executable).parent / "ministack").exists():
        pytest.skip("no emulator is installed; `pip install -e .` brings it")
    table = tmp_path / "soak.md"
    command = [sys.executable, "-m", "tests.soak.run", "--uploads", "15", "--seconds", "300", "--output", str(table)]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = table.read_text()
    assert "| restarts of the whole stack | 1 |" in said
    assert "in 2 rounds |" in said
    for count in ("duplicates", "orphans", "unreconciled", "violations of any kind"):
        assert f"| **{count}** | 0 |" in said
