"""The rules of the house: who may import whom, how long a file may be, how things are named."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TASKS = ("pretrain", "detection", "reid", "semi_supervised")
PACKAGES = ("keepcore", "networks", *TASKS, "tools")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SUITE = {"keepcore", "networks", "tools", "tests", "benchmarks", *TASKS}


def imports(path):
    """Every module imported anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def names(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports(path):
    package, *rest = path.relative_to(ROOT).parts
    found = {module: module.split(".")[0] for module in imports(path)}
    tops = set(found.values())
    assert not tops & {"tests", "tools", "benchmarks"}
    if package != "detection":
        assert "detectron2" not in tops
    if package in TASKS:
        assert not tops & (set(TASKS) - {package})
    if package == "networks":
        assert not tops & (SUITE - {"networks"})
    if package == "keepcore" and rest[0] != "run":
        assert tops - set(sys.stdlib_module_names) <= {"torch", "keepcore"}
        assert not any(module.startswith("keepcore.run") for module in found)
    if package == "keepcore" and rest[0] == "run":
        assert tops & SUITE <= {"keepcore"}
        assert all(m.startswith("keepcore.run") for m in found if found[m] == "keepcore")


def test_saliency_and_regions_meet_only_in_keep():
    core = ROOT / "keepcore"
    assert "keepcore.regions" not in set(imports(core / "saliency.py"))
    assert "keepcore.saliency" not in set(imports(core / "regions.py"))
    both = {p.name for p in core.glob("*.py") if {"keepcore.regions", "keepcore.saliency"} <= set(imports(p))}
    assert both <= {"keep.py", "build.py", "__init__.py"}


@pytest.mark.parametrize("path", FILES, ids=names)
def test_sizes_and_names(path):
    """At most 300 lines of code a file and 50 a function, docstrings aside; no catch-all modules."""
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")
    assert len(path.relative_to(ROOT).parts) <= 4
    tree = ast.parse(path.read_text())
    assert code_lines(tree) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node) <= 50, node.name


def code_lines(tree):
    spans = set()
    documented = (ast.FunctionDef, ast.ClassDef, ast.Module)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node):
            docstrings.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        if hasattr(node, "lineno"):
            spans.update((node.lineno, node.end_lineno))
    return len(spans - docstrings)


@pytest.mark.parametrize("path", FILES, ids=names)
def test_public_functions_say_where_they_come_from(path):
    if path.name in ("__main__.py",) or path.parent.name == "tools":
        return
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
            assert "Source:" in (ast.get_docstring(node) or ""), node.name


def test_no_device_is_hard_coded():
    for path in FILES:
        assert ".cuda(" not in path.read_text(), path
