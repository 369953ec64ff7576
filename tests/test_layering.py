"""Who may import whom (DESIGN section 7), read from the import statements, those inside functions included."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: The folders of the package; a band may import itself and those before it. What lies beside them is the command line.
ORDER = ("facts", "arrays", "effects", "cli")

#: What a band must not know of the outside world.
FOREIGN = {
    "facts": {"torch", "torchvision", "zarr", "xarray", "dask", "distributed", "streamlit", "click", "PIL"},
    "arrays": {"zarr", "xarray", "distributed", "streamlit", "click", "torchvision", "pathlib", "os", "shutil"},
    "effects": {"streamlit", "click"},
    "cli": {"streamlit"},
}
NOT_FOR_THE_DASHBOARD = {"torch", "torchvision", "zoo", "trace", "extract", "worker", "pipeline"}

PACKAGES = {"summit_dask", "dashboard", *(f"summit_dask.{band}" for band in ORDER)}
MODULES = {path.stem: path for path in (ROOT / "summit_dask").rglob("*.py") if path.stem != "__init__"}
BAND_OF = {name: path.parent.name if path.parent.name in ORDER else "cli" for name, path in MODULES.items()}
DASHBOARD = sorted((ROOT / "dashboard").rglob("*.py"))
DASHBOARD = [path for path in DASHBOARD if "node_modules" not in path.parts]


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide who imports whom"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from names if node.module in PACKAGES else [str(node.module)]


@cache
def imports(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Own modules and foreign packages that a file imports anywhere."""
    found = [name.split(".") for node in ast.walk(ast.parse(path.read_text())) for name in _imported(node)]
    own = {name for parts in found if parts[0] == "summit_dask" for name in parts[1:3] if name in MODULES}
    return frozenset(own), frozenset(parts[0] for parts in found if parts[0] not in ("summit_dask", "dashboard"))


def reached(path: Path) -> set[str]:
    """Own modules and foreign packages that a file can make Python load, through any number of our modules."""
    names: set[str] = set()
    waiting = [path]
    while waiting:
        own, foreign = imports(waiting.pop())
        waiting += [MODULES[name] for name in own - names]
        names |= own | foreign
    return names


def test_no_two_modules_share_a_name() -> None:
    assert len(MODULES) == sum(path.stem != "__init__" for path in (ROOT / "summit_dask").rglob("*.py"))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_its_band_and_those_before_it(name: str) -> None:
    own, foreign = imports(MODULES[name])
    band = BAND_OF[name]
    later = {other for other in own if ORDER.index(BAND_OF[other]) > ORDER.index(band)}
    assert not later, f"{name} ({band}) imports {later}"
    assert not foreign & FOREIGN[band]


def test_no_module_imports_itself_round_a_circle() -> None:
    for name, path in MODULES.items():
        others = {other for own in imports(path)[0] for other in (own, *reached(MODULES[own]))}
        assert name not in others


@pytest.mark.parametrize("path", DASHBOARD, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_dashboard_needs_the_store_alone(path: Path) -> None:
    assert not reached(path) & NOT_FOR_THE_DASHBOARD


def test_nothing_of_ours_imports_the_dashboard() -> None:
    using = [name for name, path in MODULES.items() if "import dashboard" in path.read_text()]
    assert using == []


def loaded_after(statement: str) -> set[str]:
    """Packages that are loaded after a statement in a fresh interpreter."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_every_page_of_the_dashboard_loads_without_torch() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in DASHBOARD if path.stem != "__init__"]
    assert not loaded_after(f"import {', '.join(names)}") & {"torch", "torchvision", "distributed", "umap"}


def test_the_commands_help_loads_nothing_slow() -> None:
    slow = {"torch", "torchvision", "distributed", "umap", "streamlit", "zarr", "xarray", "numba"}
    assert not loaded_after("import summit_dask.cli") & slow


def test_every_public_name_is_documented_and_needs_no_other_import() -> None:
    import summit_dask

    assert sorted(summit_dask._HOME) == sorted(summit_dask.__all__)
    assert all(getattr(summit_dask, name).__doc__ for name in summit_dask.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne_store'"):
        _ = summit_dask.opne_store
