"""The peer of the home page: a bare Flask app with a signed-in person and one Jinja page of the same size.

It reads its person from a SQLite file by primary key on each request, as Flask-Login asks, and nothing else.
"""

import os
import sqlite3

from flask import Flask, render_template_string
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from werkzeug import Response

PAGE = """<!doctype html><html lang="en"><head><title>{{ name }}</title></head><body><h1>{{ name }}</h1>
{% for row in rows %}<p class="row">{{ row.label }} <span>{{ row.text }}</span></p>
{% endfor %}</body></html>"""


class Person(UserMixin):  # type: ignore[misc]
    def __init__(self, number: int, name: str) -> None:
        self.id = number
        self.name = name


def create_app() -> Flask:
    """Build the app; BENCH_BYTES says how large its page is, BENCH_DATABASE where its person lies."""
    app = Flask("bare")
    app.secret_key = os.environ["SECRET_KEY"]
    wanted = int(os.environ["BENCH_BYTES"])
    path = os.environ["BENCH_DATABASE"]
    manager = LoginManager(app)

    @manager.user_loader
    def load(number: str) -> Person | None:
        connection = sqlite3.connect(path)
        try:
            row = connection.execute("SELECT id, name FROM people WHERE id = ?", (number,)).fetchone()
        finally:
            connection.close()
        return Person(*row) if row else None

    line = len('<p class="row">Label 000 <span>some text of the page</span></p>\n')
    rows = [{"label": f"Label {number:03d}", "text": "some text of the page"} for number in range(max(1, (wanted - 150) // line))]

    @app.get("/sign-in")
    def sign_in() -> str:
        person = load("1")
        assert person is not None
        login_user(person)
        return "signed in"

    @app.get("/")
    @login_required
    def home() -> str | Response:
        return render_template_string(PAGE, name=current_user.name, rows=rows)

    return app
