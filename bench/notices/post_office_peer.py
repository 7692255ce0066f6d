"""django-post_office as it comes: `send_queued_mail_until_done`, one process of five threads, batches of 100, SQLite.

It notes a batch after the whole batch is out, so what it promises for a crash is less than what we promise.
"""

import argparse
import logging
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

from bench.notices.measure import Stopwatch
from bench.notices.peer_mail import SENDER, SUBJECT, PeerMail, length_for, peer_mail


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    settings.configure(
        SECRET_KEY="for a benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        # The settings of SQLite that the portal has.
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": given.folder / "mails.db",
                "OPTIONS": {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", "transaction_mode": "IMMEDIATE"},
            }
        },
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=given.port,
        LOGGING_CONFIG=None,
    )
    # It prints each batch, unless somebody has configured its logger before: only trouble is worth a line.
    log = logging.getLogger("post_office")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.WARNING)
    django.setup()
    call_command("migrate", verbosity=0)

    # Only now that Django is set up.
    from django.core.mail import EmailMultiAlternatives
    from post_office.mail import send_many, send_queued_mail_until_done
    from post_office.models import STATUS, Email

    def bytes_of(one: PeerMail) -> int:
        message = EmailMultiAlternatives(SUBJECT, one.text, SENDER, [one.address], headers=one.headers)
        message.attach_alternative(one.html, "text/html")
        return len(message.message().as_bytes())

    length = length_for(given.size, bytes_of)

    def queue(numbers: range) -> None:
        mails = [peer_mail(number, length) for number in numbers]
        shared = {"sender": SENDER, "subject": SUBJECT}
        send_many([
            {**shared, "recipients": [one.address], "message": one.text, "html_message": one.html, "headers": one.headers} for one in mails
        ])  # fmt: skip

    def send_all() -> None:
        send_queued_mail_until_done(lockfile=str(given.folder / "lock"))

    queue(range(1))
    send_all()  # everything is warm when the clock starts
    for start in range(1, given.count, 500):
        queue(range(start, min(start + 500, given.count)))
    with Stopwatch() as watch:
        send_all()
    watch.tell(Email.objects.filter(status=STATUS.sent).count(), before=1)


if __name__ == "__main__":
    main()
