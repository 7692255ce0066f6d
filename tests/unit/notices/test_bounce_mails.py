"""What mails that came back say, in the styles of several mail servers."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.notices import bounce_mails
from portal.notices.bounce_mails import Bounce, Saying
from tests import returned_mail
from tests.returned_mail import ADDRESS


def read(raw: bytes, *addresses: str) -> Bounce:
    return bounce_mails.read(bounce_mails.parse(raw), addresses or (ADDRESS,))


def test_a_report_of_an_unknown_user_is_hard() -> None:
    said = read(returned_mail.report())
    assert (said.saying, said.status, said.hard, said.elsewhere) == (Saying.FAILED, "5.1.1", True, False)
    assert said.words == "550 5.1.1 <alice@logistics.example.org>: Recipient address rejected: User unknown"


@pytest.mark.parametrize("raw", [returned_mail.exim(), returned_mail.qmail(), returned_mail.exchange()])
def test_other_servers_say_it_in_their_own_ways(raw: bytes) -> None:
    said = read(raw)
    assert (said.saying, said.hard, said.elsewhere) == (Saying.FAILED, True, False)
    assert said.words


def test_the_words_are_those_about_the_address() -> None:
    assert read(returned_mail.exim()).words == f"{ADDRESS} Unrouteable address"
    assert read(returned_mail.qmail()).words == f"<{ADDRESS}>: Sorry, no mailbox here by that name. (#5.1.1)"
    assert read(returned_mail.exchange()).words == (
        f"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {ADDRESS} not found by SMTP address lookup"
    )


@pytest.mark.parametrize(
    ("status", "diagnostic"),
    [
        ("5.2.2", "smtp; 552 5.2.2 Mailbox full"),
        ("5.2.3", "smtp; 552 5.2.3 too big"),
        ("5.7.1", "smtp; 550 5.7.1 refused as spam"),
        ("5.0.0", "smtp; 550 5.7.1 refused as spam"),
        ("5.0.0", "smtp; 550 blocked"),
        ("5.0.0", None),
        ("4.4.7", "smtp; 450 4.2.1 try later"),
        ("4.4.1", "smtp; 550 5.1.1 what an old try was answered"),
    ],
)
def test_a_failure_that_says_nothing_lasting_is_not_hard(status: str, diagnostic: str | None) -> None:
    said = read(returned_mail.report(status=status, diagnostic=diagnostic))
    assert (said.saying, said.hard) == (Saying.FAILED, False)


@pytest.mark.parametrize("said_by", [returned_mail.exim, returned_mail.qmail])
def test_a_full_mailbox_is_not_hard_in_any_style(said_by: Callable[..., bytes]) -> None:
    said = read(said_by(said="552 5.2.2 mailbox full"))
    assert (said.saying, said.status, said.hard) == (Saying.FAILED, "5.2.2", False)


def test_a_code_without_detail_counts_only_before_the_text_was_sent() -> None:
    answer = "smtp; 550 not here"
    assert read(returned_mail.report(status="5.0.0", diagnostic=answer, text="said: 550 not here (in reply to RCPT TO command)")).hard
    assert not read(returned_mail.report(status="5.0.0", diagnostic=answer, text="said: 550 no (in reply to end of DATA command)")).hard


def test_a_delay_is_no_failure() -> None:
    said = read(returned_mail.report(action="delayed", status="4.4.1", diagnostic="X-Postfix; connect to mx: Connection timed out"))
    assert (said.saying, said.status, said.hard) == (Saying.DELAYED, "4.4.1", False)
    assert said.words == "connect to mx: Connection timed out"


@pytest.mark.parametrize(("action", "status"), [("delivered", "2.0.0"), ("relayed", "2.1.5"), ("expanded", "2.0.0"), ("failed", "2.0.0")])
def test_a_receipt_is_no_failure(action: str, status: str) -> None:
    said = read(returned_mail.report(action=action, status=status, diagnostic=None))
    assert (said.saying, said.hard) == (Saying.DELIVERED, False)


def test_an_automatic_reply_is_no_failure_whatever_it_says() -> None:
    assert read(returned_mail.out_of_office()) == Bounce(Saying.AUTOMATIC)


def test_an_address_it_was_forwarded_to_says_nothing_about_ours() -> None:
    said = read(returned_mail.report(address="alice@home.example.net"))
    assert (said.saying, said.hard, said.elsewhere) == (Saying.FAILED, False, True)
    assert read(returned_mail.report(address="alice@mailbox7.example.net", original=ADDRESS)).hard
    assert not read(returned_mail.exim(address="alice@home.example.net")).hard


def test_of_several_recipients_ours_counts() -> None:
    other = "\r\n\r\nFinal-Recipient: rfc822; bob@logistics.example.org\r\nAction: failed\r\nStatus: 5.1.1"
    raw = returned_mail.report(status="5.2.2", diagnostic=f"smtp; 552 5.2.2 full{other}")
    assert (read(raw).status, read(raw).hard) == ("5.2.2", False)
    assert (read(raw, "bob@logistics.example.org").status, read(raw, "bob@logistics.example.org").hard) == ("5.1.1", True)


def test_the_case_of_addresses_does_not_matter() -> None:
    assert read(returned_mail.report(address=ADDRESS.upper())).hard


def test_a_report_about_a_non_ascii_address_is_read() -> None:
    raw = returned_mail.report(address="zoë@logistics.example.org").replace(b"message/delivery-status", b"message/global-delivery-status")
    raw = raw.replace("rfc822; zoë".encode(), "utf-8; zoë".encode())
    said = read(raw, "zoë@logistics.example.org")
    assert (said.saying, said.status, said.hard, said.elsewhere) == (Saying.FAILED, "5.1.1", True, False)


def test_a_report_that_lies_inside_the_returned_mail_is_not_read() -> None:
    inner = returned_mail.report(status="5.1.1").replace(b"4F1B2A0C", b"inner")
    raw = returned_mail.report(action="delayed", status="4.4.1", diagnostic=None)
    start = raw.index(b"Return-Path: <bounces")
    said = read(raw[:start] + inner + raw[start:])
    assert (said.saying, said.status) == (Saying.DELAYED, "4.4.1")


def test_a_report_cut_off_in_the_middle_still_says_what_it_said() -> None:
    raw = returned_mail.report()
    assert read(raw[: raw.index(b"Remote-MTA")]).hard
    assert read(raw[: raw.index(b"Final-Recipient")]).saying is Saying.UNCLEAR


def test_a_huge_mail_is_read_as_far_as_its_report() -> None:
    raw = returned_mail.report().replace(b"A new point release.", b"A new point release." + b"\xff" * 12_000_000)
    assert read(raw).hard


def test_hostile_mails_are_read_in_a_moment_and_say_nothing() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    line = b"a" * 499 + b"\n"
    tags = b"Unable to deliver message to\nYour message\nHere is your list of failed recipients\nDelivery has failed\n"
    for raw in (deep, b"Content-Type: message/rfc822\n\n" * 5000, b"From: a@example.org\n\n" + tags + line * 600, b"a" * 5_000_000):
        assert not read(raw).hard


@given(raw=st.binary(max_size=400))
def test_garbage_is_never_an_error_and_never_hard(raw: bytes) -> None:
    assert not read(raw).hard


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_a_damaged_report_is_never_an_error(seed: int, count: int) -> None:
    chance = random.Random(seed)
    raw = bytearray(returned_mail.report())
    for _ in range(count):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    said = read(bytes(raw))
    assert said.words.isprintable()
