"""Which words of a mail server mean that an address is gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.notices import bounces


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 No such user",
        "550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 Learn more",
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found",
        "556 5.1.10 Recipient address has null MX",
        "550 5.1.2 bad destination system",
        "550 5.2.1 The email account that you tried to reach is disabled",
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
        "550 5.4.4 Host or domain name not found",
        "550 #5.1.0 Address rejected.",
        "550 5.1.1 <spam@full.example.org>: no such user",
        "550 Requested action not taken: mailbox unavailable",
        "550 No such user here",
        "550 User unknown in relay recipient table",
        "551 User not local",
        "553 sorry, that domain isn't in my list",
        "550 sorry, no mailbox here by that name (#5.1.1)",
        "550 <full@example.org>",
        "550",
        "554 delivery error: This user doesn't have an account here",
    ],
)
def test_an_address_that_is_gone_is_hard(reply: str) -> None:
    assert bounces.is_hard(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "250 2.1.5 OK",
        "450 4.2.1 receiving mail too quickly",
        "451 4.7.1 greylisted",
        "450 4.1.1 unknown user, for the moment",
        "450 5.1.1 a code that contradicts its reply",
        "552 5.2.2 Mailbox full",
        "550 5.2.2 over quota",
        "552 5.2.3 Message too large",
        "552 5.3.4 Message size exceeds fixed limit",
        "550 5.7.1 Message refused as spam",
        "550 5.7.1 Recipient address rejected: Access denied",
        "554 5.7.1 Service unavailable; client host blocked",
        "550 5.1.8 Sender address rejected: Domain not found",
        "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
        "550 5.4.1 no answer from host",
        "550 5.6.0 content not supported",
        "550 Your host 192.5.1.1 is on our block list",
        "550 relay not permitted",
        "550 Mailbox is full",
        "550 Message rejected by policy",
        "552 mailbox exceeds its storage",
        "554 Transaction failed",
        "554",
        "503 bad sequence of commands",
        "",
        "connection lost",
        "5.1.1.1",
    ],
)
def test_anything_else_is_not(reply: str) -> None:
    assert not bounces.is_hard(reply)


@given(reply=st.text(max_size=200))
def test_no_words_raise(reply: str) -> None:
    assert bounces.is_hard(reply) in {True, False}


@given(code=st.integers(400, 499), rest=st.text(max_size=60))
def test_a_temporary_reply_is_never_hard(code: int, rest: str) -> None:
    assert not bounces.is_hard(f"{code} {rest}")


def test_codes_are_found_but_not_in_addresses_of_machines() -> None:
    assert bounces.find_status("host mx[5.1.1.1] said: 550 (#5.2.2)") == "5.2.2"
    assert bounces.find_status("10.5.1.1") is None
    assert bounces.find_code("host mx.example.org[192.0.2.7] said: 550 no") == "550"
    assert bounces.find_code("5501 no") is None


def test_staff_read_what_came_back() -> None:
    assert bounces.in_words("5.1.1", hard=True) == "came back: no such address"
    assert bounces.in_words("5.2.2", hard=False) == "came back: mailbox full"
    assert bounces.in_words("5.7.26", hard=False) == "came back: refused by a mail server"
    assert bounces.in_words("4.4.7", hard=False) == "came back: given up by a mail server"
    assert bounces.in_words(None, hard=False) == "came back"
