"""The examples in the package's docstrings run and give what they say.

Docstrings are read from the source: pytest's and doctest's own collection pass over functions that numba compiles or
that jaxtyping's import hook wraps, and would be green with nothing run.
"""

import ast
import doctest
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PARSER = doctest.DocTestParser()


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Name and text of every docstring that holds an example."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if PARSER.get_examples(text):
                yield getattr(node, "name", "module"), text


def failures(name: str, text: str, names: dict[str, Any]) -> str:
    """What doctest says against the examples of a docstring; empty if all are right."""
    said: list[str] = []
    test = PARSER.get_doctest(text, names, name, None, None)
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


SOURCES = {path: path.read_text() for path in sorted((ROOT / "summit_dask").rglob("*.py"))}
EXAMPLES = [
    pytest.param(path, name, text, id=f"{path.relative_to(ROOT).with_suffix('')}:{name}")
    for path, source in SOURCES.items()
    for name, text in docstrings(source)
]


@pytest.mark.parametrize(("path", "name", "text"), EXAMPLES)
def test_an_example_gives_what_it_says(path: Path, name: str, text: str, request: pytest.FixtureRequest) -> None:
    if path.stem == "triton" and not find_spec("triton"):
        pytest.skip("Triton is not installed")
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    names = dict(vars(module))
    if "open_store(path)" in text:
        names["path"] = request.getfixturevalue("finished").out
    assert failures(name, text, names) == ""


def test_every_example_in_the_source_is_run() -> None:
    written = sum(line.lstrip().startswith(">>> ") for source in SOURCES.values() for line in source.splitlines())
    assert sum(len(PARSER.get_examples(text)) for *_, text in (param.values for param in EXAMPLES)) == written


def test_a_wrong_example_is_seen() -> None:
    assert failures("right", ">>> 1 + 1\n2\n", {}) == ""
    assert "Expected:\n    3" in failures("wrong", ">>> 1 + 1\n3\n", {})
    assert "NameError" in failures("broken", ">>> unknown\n", {})
