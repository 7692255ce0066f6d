"""The peer of the home page: a bare Flask app with a signed-in person and one Jinja page of the same size.

It is what the documentation of Flask-Login and Flask-SQLAlchemy makes: the person is read by primary key on each request,
and nothing else. Its template is compiled once, as a template in a file is.
"""

import os

import sqlalchemy as sa
from flask import Flask, render_template
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PAGE = """<!doctype html><html lang="en"><head><title>{{ name }}</title></head><body><h1>{{ name }}</h1>
{% for row in rows %}<p class="row">{{ row.label }} <span>{{ row.text }}</span></p>
{% endfor %}</body></html>"""


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Person(UserMixin, db.Model):  # type: ignore[misc,name-defined]
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(80))


def create_app() -> Flask:
    """Build the app; BENCH_BYTES says how large its page is, BENCH_DATABASE where its person lies."""
    app = Flask("bare")
    app.secret_key = os.environ["SECRET_KEY"]
    app.jinja_loader = DictLoader({"home.html": PAGE})
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.environ['BENCH_DATABASE']}"
    wanted = int(os.environ["BENCH_BYTES"])
    db.init_app(app)
    manager = LoginManager(app)

    @manager.user_loader
    def load(number: str) -> Person | None:
        return db.session.get(Person, int(number))

    with app.app_context():
        db.create_all()
        db.session.merge(Person(id=1, name="Automation lead"))
        db.session.commit()

    line = len('<p class="row">Label 000 <span>some text of the page</span></p>\n')
    rows = [{"label": f"Label {number:03d}", "text": "some text of the page"} for number in range(max(1, (wanted - 150) // line))]

    @app.get("/sign-in")
    def sign_in() -> str:
        login_user(load("1"))
        return "signed in"

    @app.get("/")
    @login_required
    def home() -> str:
        return render_template("home.html", name=current_user.name, rows=rows)

    return app
