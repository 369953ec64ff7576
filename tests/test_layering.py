"""Who may import whom (DESIGN section 7), read from the import statements, those inside functions included."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: A folder of the package may import itself and folders of a lower rank; what lies beside the folders is the top.
RANK = {
    "facts": 0,
    "arrays": 1,
    "network": 2,
    "images": 2,
    "store": 3,
    "measure": 4,
    "stages": 5,
    "questions": 6,
    "formats": 7,
}
TOP = 8

#: What a folder must not know of the outside world.
FOREIGN = {
    "facts": {"torch", "torchvision", "zarr", "xarray", "dask", "distributed", "streamlit", "click", "PIL"},
    "arrays": {"zarr", "xarray", "distributed", "streamlit", "click", "torchvision", "pathlib", "os", "shutil"},
}
EVERYWHERE_FOREIGN = {"streamlit"}
NOT_FOR_THE_DASHBOARD = {"torch", "torchvision", "summit_dask.network", "summit_dask.measure", "summit_dask.stages"}


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources() -> Iterator[Path]:
    for package in ("summit_dask", "dashboard"):
        yield from (path for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts)


MODULES = {dotted(path): path for path in sorted(_sources())}
OURS = [name for name in MODULES if name.startswith("summit_dask.")]
DASHBOARD = [name for name in MODULES if name.startswith("dashboard")]


def folder_of(name: str) -> str:
    """The folder of the package that a module lies in; empty for what lies beside the folders."""
    folder = name.split(".")[1]
    return folder if folder in RANK else ""


def rank_of(name: str) -> int:
    """What a module may import has a lower rank, or lies in its own folder."""
    return RANK.get(folder_of(name), TOP)


def _imported(node: ast.AST) -> Iterator[str]:
    """Dotted names that an import statement speaks of; ``from a.b import c`` speaks of a.b.c where that is a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide who imports whom"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else str(node.module)


@cache
def imports(name: str) -> frozenset[str]:
    """What a module of ours imports anywhere: our modules by dotted name, others by the name of their package."""
    nodes = ast.walk(ast.parse(MODULES[name].read_text()))
    found = {imported for node in nodes for imported in _imported(node)}
    return frozenset(n if n in MODULES else n.partition(".")[0] for n in found)


def reached(name: str) -> set[str]:
    """All that a module can make Python load, through any number of our modules."""
    names: set[str] = set()
    waiting = [name]
    while waiting:
        new = imports(waiting.pop()) - names
        names |= new
        waiting += [other for other in new if other in MODULES]
    return names


def test_the_test_finds_imports_of_every_form() -> None:
    statements = (
        "import dashboard\nfrom dashboard import app\nfrom summit_dask.facts import schema\ndef f():\n  import os.path"
    )
    found = [name for node in ast.walk(ast.parse(statements)) for name in _imported(node)]
    assert found == ["dashboard", "dashboard.app", "summit_dask.facts.schema", "os.path"]


@pytest.mark.parametrize("name", OURS)
def test_a_module_imports_its_own_folder_and_lower_ones(name: str) -> None:
    own = {other for other in imports(name) if other in MODULES and other != "summit_dask"}
    others = {o for o in own if folder_of(o) != folder_of(name) and rank_of(o) >= rank_of(name)}
    assert not others, f"{name} imports {others}"
    foreign = FOREIGN.get(folder_of(name), set()) | EVERYWHERE_FOREIGN
    assert not imports(name) & foreign


@pytest.mark.parametrize("name", [name for name in OURS if folder_of(name) == "arrays"])
def test_arrays_know_no_torch_modules(name: str) -> None:
    nodes = [node for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, ast.ImportFrom)]
    taken = {alias.name for node in nodes if node.module == "torch" for alias in node.names}
    assert not taken & {"fx", "nn"}


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_itself_round_a_circle(name: str) -> None:
    assert name not in reached(name)


@pytest.mark.parametrize("name", DASHBOARD)
def test_the_dashboard_needs_the_store_alone(name: str) -> None:
    packages = {".".join(other.split(".")[:2]) for other in reached(name)}
    assert not packages & NOT_FOR_THE_DASHBOARD


@pytest.mark.parametrize("name", OURS)
def test_nothing_of_ours_imports_the_dashboard(name: str) -> None:
    assert not {other for other in imports(name) if other.partition(".")[0] == "dashboard"}


def loaded_after(statement: str) -> set[str]:
    """Packages that are loaded after a statement in a fresh interpreter."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_every_page_of_the_dashboard_loads_without_torch() -> None:
    assert not loaded_after(f"import {', '.join(DASHBOARD)}") & {"torch", "torchvision", "distributed", "umap"}


def test_the_commands_help_loads_nothing_slow() -> None:
    slow = {"torch", "torchvision", "distributed", "umap", "streamlit", "zarr", "xarray", "numba"}
    assert not loaded_after("import summit_dask.cli") & slow


def test_every_public_name_is_documented_and_needs_no_other_import() -> None:
    import summit_dask

    assert sorted(summit_dask._HOME) == sorted(summit_dask.__all__)
    assert all(getattr(summit_dask, name).__doc__ for name in summit_dask.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne_store'"):
        _ = summit_dask.opne_store
