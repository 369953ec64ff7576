"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real networks and images; tests that need it skip where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SUMMIT_TEST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set SUMMIT_TEST_DATA")
    return folder
