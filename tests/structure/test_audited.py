"""Every act of staff leaves an event: each view that takes a form from staff calls, at some depth, `audit.record`.

Calls are followed by name through the source: `module.function(…)` by the imports of the file, plain names within it, methods not
at all. A view that writes nothing is named here, with the reason.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from flask import Flask

from portal.app import create_app
from tests.conftest import make_settings

PORTAL = Path(__file__).resolve().parents[2] / "portal"
# Views behind a form that change nothing anybody could ask about later.
CHANGE_NOTHING = {
    "releases_staff.preview": "shows what was typed",
    "announcements_staff.preview": "shows what was typed",
}
Name = tuple[str, str]  # module and function


@cache
def calls_of(module: str) -> dict[str, set[Name]]:
    """What each function and method of a module may call, by its name: a class is what any of its methods calls."""
    path = PORTAL.parent / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = PORTAL.parent / module.replace(".", "/") / "__init__.py"
    tree = ast.parse(path.read_text())
    imported = dict(imports_of(tree))
    found: dict[str, set[Name]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(node.name, set()).update(called_in(node, module, imported))
    for node in tree.body:
        if isinstance(node, ast.Assign):  # a table of acts, such as ACTS
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).update(called_in(node.value, module, imported))
    return found


def imports_of(tree: ast.Module) -> Iterator[tuple[str, Name]]:
    """The names a file imports from the portal: (module, "") for a module, (module, name) for a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("portal"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                path = PORTAL.parent / inner.replace(".", "/")
                is_module = path.with_suffix(".py").exists() or (path / "__init__.py").exists()
                yield alias.asname or alias.name, (inner, "") if is_module else (node.module, alias.name)


def called_in(node: ast.AST, module: str, imported: dict[str, Name]) -> Iterator[Name]:
    """Every function a piece of code mentions: what is handed on as a value may be called too."""
    own = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in own:
            continue  # a variable of its own
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imported:
            home, name = imported[part.value.id]
            yield (home, part.attr) if not name else (home, name)
        elif isinstance(part, ast.Name):
            yield imported.get(part.id, (module, part.id)) if part.id not in imported or imported[part.id][1] else (module, part.id)


def reaches_the_log(start: Name) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or not module.startswith("portal"):
            continue
        seen.add((module, name))
        if (module, name) == ("portal.audit", "record"):
            return True
        waiting.extend(calls_of(module).get(name, ()))
    return False


@pytest.fixture(scope="module")
def plain_app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(make_settings(tmp_path_factory.mktemp("plain")))


def staff_writes(app: Flask) -> dict[str, Name]:
    """The views that take forms or files from staff, as they stand in the source."""
    return {
        rule.endpoint: (app.view_functions[rule.endpoint].__module__, app.view_functions[rule.endpoint].__name__)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/staff/") and "POST" in (rule.methods or set())
    }


def test_every_act_of_staff_leaves_an_event(plain_app: Flask) -> None:
    views = staff_writes(plain_app)
    assert len(views) > 40
    silent = {endpoint for endpoint, view in views.items() if not reaches_the_log(view)}
    assert silent - CHANGE_NOTHING.keys() == set(), "record an event in the transaction of the act"
    assert CHANGE_NOTHING.keys() - silent == set(), "these write by now"


def test_following_calls_finds_a_view_that_is_silent() -> None:
    assert not reaches_the_log(("portal.web.health", "alive"))
    assert reaches_the_log(("portal.products.staff", "new"))
