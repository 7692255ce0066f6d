"""A mail catcher: takes every mail on loopback, keeps it raw in a directory, and shows it in the browser.

It delivers nothing to anybody. Its pages are for looking at mails while trying the portal out.
"""

import email
import email.policy
import itertools
import signal
import threading
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask, Response, abort, render_template
from flask_bootstrap import Bootstrap5
from markupsafe import Markup
from werkzeug.serving import make_server

from portal.web.headers import CONTENT_SECURITY_POLICY, MAIL_PREVIEW_POLICY

SHOWN = 200


class Catcher:
    """Writes each accepted mail to `directory` before it answers 250, so an accepted mail is never lost.

    It is the last stop of a mail, so it puts the envelope sender on top (RFC 5321, 4.4): bounces go there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        name = f"{time.time_ns():020d}-{next(self._numbers):06d}"
        content = f"Return-Path: <{envelope.mail_from or ''}>\r\n".encode() + (envelope.original_content or b"")
        partial = self.directory / f"{name}.tmp"
        partial.write_bytes(content)
        partial.rename(self.directory / f"{name}.eml")
        return "250 2.0.0 Caught"


@dataclass(frozen=True)
class Mail:
    """A caught mail, as the list shows it."""

    name: str
    to: str
    subject: str
    date: str


def read_message(path: Path) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)


def latest_mails(directory: Path) -> list[Mail]:
    """The newest mails first, at most SHOWN of them."""
    paths = sorted(directory.glob("*.eml"), reverse=True)[:SHOWN]
    messages = ((path.stem, read_message(path)) for path in paths)
    return [Mail(name, str(message["To"]), str(message["Subject"]), str(message["Date"])) for name, message in messages]


def create_mailbox(directory: Path) -> Flask:
    """Build the mailbox's own small web app."""
    app = Flask("portal")
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)

    def find(name: str) -> EmailMessage:
        path = directory / f"{name}.eml"
        if not name.replace("-", "").isdigit() or not path.is_file():
            abort(404)
        return read_message(path)

    def part(message: EmailMessage, kind: str) -> str:
        body = message.get_body((kind,))
        return str(body.get_content()) if body is not None else ""

    @app.get("/")
    def index() -> str:
        return render_template("demo/mailbox.html", mails=latest_mails(directory))

    @app.get("/<name>")
    def show(name: str) -> str:
        message = find(name)
        return render_template("demo/mail.html", name=name, message=message, text=part(message, "plain"))

    @app.get("/<name>/html")
    def html(name: str) -> tuple[str, dict[str, str]]:
        policy = f"{MAIL_PREVIEW_POLICY} allow-popups allow-popups-to-escape-sandbox"
        shown = part(find(name), "html") + '<base target="_blank">'  # the portal refuses to be shown inside another page
        return Markup(shown), {"Content-Security-Policy": policy}  # nosec B704 # noqa: S704 - sandboxed, scripts off

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def run(directory: Path, smtp_port: int, http_port: int) -> None:
    """Catch mails until SIGTERM or SIGINT."""
    directory.mkdir(parents=True, exist_ok=True)
    controller = Controller(Catcher(directory), hostname="127.0.0.1", port=smtp_port, enable_SMTPUTF8=True)
    controller.start()
    server = make_server("127.0.0.1", http_port, create_mailbox(directory), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
    controller.stop()
