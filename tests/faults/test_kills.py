"""Kills in every stage, by a process without threads: it forks those that it kills."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_killed_processes_leave_no_trace_in_the_bytes(tmp_path: Path) -> None:
    """A worker, the scheduler, the client, all of them; and the signals that a command answers."""
    command = [sys.executable, "-m", "tests.faults", "--kills=5", "--seed=7", f"--folder={tmp_path}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "0 problems" in made.stdout
