"""`portal notices bounce`: what a mail server pipes returned mail into."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from email.message import Message
from email.utils import getaddresses
from typing import BinaryIO, NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo

from portal import clock
from portal.config import current_settings
from portal.database import end_read, transaction
from portal.errors import Busy, PortalError
from portal.notices import bounce_mails, return_path, returned
from portal.notices.returned import Became, Outcome

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and tries again
CHUNK_BYTES = 65_536
# Who a mail came to is told by these headers, put there by the mail server that delivers it; `To` is the sender's own.
RECIPIENT_HEADERS = ("X-Original-To", "Delivered-To", "Envelope-To", "To")


@click.command("bounce")
@click.option("--recipient", metavar="ADDRESS", help="Address the mail came to, as the mail server knows it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def bounce(context: click.Context, recipient: str | None, as_json: bool) -> None:
    """Take in one mail that came back, raw, from standard input.

    The address it came to must be a return path that the portal signed; it says which delivery the mail is about. Without
    --recipient (or if that is not it) it is looked for in X-Original-To, Delivered-To, Envelope-To and To. A delivery that failed
    becomes "bounced", and if its address is gone, no more mail goes there. Anything else that comes is ignored.

    Exit codes: 0 handled or ignored; 1 refused, for the address is none we signed; 2 wrong usage; 75 try again later, for
    the database, the settings or the delivery are not ready (EX_TEMPFAIL, so the mail server keeps the mail).
    """
    stdin = sys.stdin.buffer
    if stdin.isatty():
        raise click.UsageError("Give it a message: portal notices bounce < message")
    message = bounce_mails.parse(_first_bytes(stdin))
    try:
        with _app(context).app_context():
            outcome = _take(message, recipient)
    except PortalError as error:
        if not isinstance(error, Busy):
            raise
        _try_again(str(error))
    except Exception as error:  # no fault of the mail's, so it must not be lost
        _try_again(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    if outcome.became is Became.TOO_EARLY:
        _try_again(outcome.why)
    if as_json:
        click.echo(json.dumps(asdict(outcome), indent=2))
    else:
        click.echo(f"{outcome.address or f'delivery {outcome.delivery_id}'}: {outcome.became.value}, {outcome.why}")


def _app(context: click.Context) -> Flask:
    info = context.find_object(ScriptInfo)
    assert info is not None
    return info.load_app()


def _take(message: Message, recipient: str | None) -> Outcome:
    settings = current_settings()
    if not settings.mail_return_path:
        raise PortalError("MAIL_RETURN_PATH is not set, so no mail can have come back to the portal.")
    candidates = _recipients(message, recipient)
    delivery_id = next((found for address in candidates if (found := return_path.read(settings, address)) is not None), None)
    if delivery_id is None:
        raise PortalError("The mail came to no return path that this portal signed, so it is not believed.")
    addresses = returned.addresses_of(delivery_id)
    end_read()
    # Reading it may take a moment, in which nobody waits for the database.
    said = bounce_mails.read(message, addresses)
    with transaction():
        return returned.take(delivery_id, said, now=clock.now())


def _recipients(message: Message, recipient: str | None) -> Iterator[str]:
    if recipient:
        yield recipient
    for name in RECIPIENT_HEADERS:
        yield from (address for _, address in getaddresses([str(value) for value in message.get_all(name, [])]))


def _first_bytes(stdin: BinaryIO) -> bytes:
    """Read what is looked at, and take the rest off the mail server's hands, which may mind a pipe that closes early."""
    first = stdin.read(bounce_mails.MOST_BYTES)
    while stdin.read(CHUNK_BYTES):
        pass
    return first


def _try_again(why: str) -> NoReturn:
    click.echo(f"Try again later: {why}", err=True)
    sys.exit(TRY_AGAIN)
