"""The rules of the house, asserted over the source and the URL map."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal.web.guards import find_guard
from tests.conftest import make_settings

ROOT = Path(__file__).resolve().parents[2]
PORTAL = ROOT / "portal"
EDGES = {"views", "staff", "cli", "forms", "session_cookie", "sending", "uploads"}
EDGE_ENDINGS = ("_views", "_staff", "_cli", "_forms")
UNSAFE_METHODS = {"POST", "PUT", "PATCH", "DELETE"}
# A mail program's one-click unsubscribe (RFC 8058) can carry no token, and the links of mails are an authority of their own, with
# no cookie behind them for another site to ride on. An upload's body must not be read before the guard has
# let its sender in, so the token in it is checked afterwards (tests/web/releases/test_uploads.py).
WITHOUT_CSRF = {"notices.unsubscribe", "notices.preferences_by_link", "notices.confirm", "releases_staff.upload_build"}


def sources() -> Iterator[Path]:
    return PORTAL.rglob("*.py")


def is_edge(path: Path) -> bool:
    return path.stem in EDGES or path.stem.endswith(EDGE_ENDINGS) or path.parent.name in {"web", "demo"} or path.parent == PORTAL


@pytest.fixture(scope="module")
def plain_app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The app, as the URL map needs it; no database behind it."""
    from portal.app import create_app

    return create_app(make_settings(tmp_path_factory.mktemp("plain")))


def test_only_the_database_module_commits() -> None:
    committing = [str(path.relative_to(ROOT)) for path in sources() if re.search(r"\.commit\(", path.read_text())]
    assert committing == ["portal/database.py"]


def test_only_edges_open_a_transaction() -> None:
    """`notices/delivery.py` is an edge of its own: the worker's loop claims and settles in transactions."""
    opening = {
        str(path.relative_to(ROOT)) for path in sources() if not is_edge(path) and re.search(r"with .*\btransaction\(\)", path.read_text())
    }
    assert opening <= {"portal/notices/delivery.py", "portal/account/signing_in.py"}


def test_no_web_words_below_the_views() -> None:
    banned = re.compile(r"\b(current_user|flash\(|abort\(|request\.|session\[)")
    found = {str(path.relative_to(ROOT)) for path in sources() if not is_edge(path) and banned.search(path.read_text())}
    assert found <= {"portal/account/signing_in.py"}


def test_no_sql_in_the_views() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources()
        if path.stem in {"views", "staff"} or path.stem.endswith(("_views", "_staff"))
        for module in imported_modules(path)
        if module.partition(".")[0] in {"sqlalchemy", "flask_sqlalchemy"}
    ]
    assert found == []


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_view_has_a_guard(plain_app: Flask) -> None:
    assert [endpoint for endpoint in plain_app.view_functions if find_guard(plain_app, endpoint) is None] == []


def test_every_unsafe_method_refuses_a_missing_csrf_token(plain_app: Flask) -> None:
    """The check runs before the view and before any query, so the URL's values need not exist."""
    checked = 0
    client = plain_app.test_client()
    for rule in plain_app.url_map.iter_rules():
        methods = (rule.methods or set()) & UNSAFE_METHODS
        if not methods or rule.endpoint in WITHOUT_CSRF:
            continue
        path = re.sub(r"<any\(([a-z]+)[^>]*>", r"\1", rule.rule)
        path = re.sub(r"<[^>]+>", "1", path)
        for method in methods:
            answer = client.open(path, method=method)
            if hasattr(find_guard(plain_app, rule.endpoint), "scope"):  # for programs, which have a token of their own and no cookie
                assert answer.status_code == 401, f"{method} {rule.rule} lets in who has no staff token"
                continue
            assert answer.status_code == 400, f"{method} {rule.rule} was not refused"
            assert b"no longer valid" in answer.data, f"{method} {rule.rule} was refused for another reason"
            checked += 1
    assert checked >= 20


def test_sign_out_does_not_answer_get(plain_app: Flask) -> None:
    assert plain_app.test_client().get("/sign-out").status_code == 405


def test_security_headers_are_on_every_answer(plain_app: Flask) -> None:
    for path in ("/healthz", "/sign-in", "/no-such-page", "/static/css/portal.css"):
        headers = plain_app.test_client().get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"]


def test_no_template_carries_inline_style_or_script() -> None:
    """The policy would block it. Mails are the exception: their programs know no stylesheet."""
    inline = re.compile(r"\sstyle=\"|<script>|\son[a-z]+=\"")
    templates = (PORTAL / "templates").rglob("*.html")
    found = [
        str(path.relative_to(ROOT))
        for path in templates
        if path.parts[-3] != "notices" and path.parent.name != "notices" and inline.search(path.read_text())
    ]
    assert found == []


def test_no_unfinished_marks_and_no_machine_paths() -> None:
    marks = re.compile(rf"\b(TODO|FIXME|XXX)\b|/(?:work|root)/|{re.escape(str(ROOT))}/|{re.escape(str(Path.home()))}/")
    texts = [
        path
        for folder in ("portal", "tests", "docs", "migrations", "bench", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    found = [
        str(path.relative_to(ROOT))
        for path in texts
        if path.suffix in {".py", ".md", ".html", ".txt", ".conf", ".js", ".css"}
        and path != Path(__file__)
        and marks.search(path.read_text())
    ]
    assert found == []
