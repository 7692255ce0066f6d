"""Flask-Mail as its documentation shows it: `mail.send(…)` per mail, one `mail.connect()` for all, and that with a row per mail.

The row is set to sent and committed after each mail, with the settings of SQLite that the portal has.
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_mail import Mail, Message
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.notices.measure import Stopwatch
from bench.notices.peer_mail import SENDER, SUBJECT, PeerMail, length_for, peer_mail


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(sa.String(20), default="queued", index=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["naive", "connect", "commit"])
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    app = Flask("peer")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=given.port, MAIL_DEFAULT_SENDER=SENDER)
    mail = Mail(app)
    with app.app_context():
        length = length_for(given.size, lambda one: len(message(one).as_bytes()))
        mails = (peer_mail(number, length) for number in range(given.count))
        if given.way == "commit":
            send_with_rows(mail, mails, given.count, given.folder / "mails.db")
            return
        mail.send(message(next(mails)))  # everything is warm when the clock starts
        with Stopwatch() as watch:
            if given.way == "naive":
                for one in mails:
                    mail.send(message(one))
            else:
                with mail.connect() as connection:
                    for one in mails:
                        connection.send(message(one))
        watch.tell(given.count, before=1)


def message(one: PeerMail) -> Message:
    return Message(SUBJECT, recipients=[one.address], body=one.text, html=one.html, extra_headers=one.headers)


def send_with_rows(mail: Mail, mails: Iterator[PeerMail], count: int, database: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    Base.metadata.create_all(engine)
    # The peer is not charged for reading each row anew after its commit.
    with Session(engine, expire_on_commit=False) as session:
        session.add_all([Row(id=number + 1) for number in range(count)])
        session.commit()
        rows = session.scalars(sa.select(Row).where(Row.state == "queued").order_by(Row.id)).all()

        def send(among: Iterable[tuple[PeerMail, Row]]) -> None:
            with mail.connect() as connection:
                for one, row in among:
                    connection.send(message(one))
                    row.state = "sent"
                    session.commit()

        waiting = zip(mails, rows, strict=True)
        send(islice(waiting, 1))  # everything is warm when the clock starts
        with Stopwatch() as watch:
            send(waiting)
        watch.tell(session.scalar(sa.select(sa.func.count()).where(Row.state == "sent")) or 0, before=1)


if __name__ == "__main__":
    main()
