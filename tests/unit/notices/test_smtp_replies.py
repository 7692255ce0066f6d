"""Replies of a mail server, whole, in pieces, malformed, without end."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.notices.models import DeliveryState
from portal.notices.smtp_replies import LONGEST_REPLY, Malformed, Replies, Reply, Result, accepted, refused

GROUP = (
    b"250-mail.example.org says hello\r\n250-PIPELINING\r\n250 8BITMIME\r\n250\r\n"
    b"550-5.1.1 no such user\r\n550 5.1.1 see help\r\n354 go on\n"
)
LINES = ["250 mail.example.org says hello PIPELINING 8BITMIME", "250", "550 5.1.1 no such user 5.1.1 see help", "354 go on"]


def all_of(replies: Replies) -> list[Reply]:
    return list(iter(replies.next, None))


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(GROUP)), max_size=20))
def test_replies_are_the_same_in_whatever_pieces_they_arrive(cuts: list[int]) -> None:
    replies = Replies()
    found = []
    at = 0
    for cut in [*sorted(cuts), len(GROUP)]:
        replies.feed(GROUP[at:cut])
        found += all_of(replies)
        at = cut
    assert [reply.code for reply in found] == [250, 250, 550, 354]
    assert [reply.line for reply in found] == LINES
    assert not replies.has_more


@given(data=st.binary(max_size=60))
def test_no_bytes_at_all_do_harm(data: bytes) -> None:
    replies = Replies()
    replies.feed(data)
    with contextlib.suppress(Malformed):
        for reply in all_of(replies):
            assert 200 <= reply.code <= 599
            assert reply.line.isprintable()


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request", b"", b"25", b"2500 ok", b"150 wait", b"999 what", b"25x ok", b"250_ok"])
def test_what_is_no_reply_is_said_to_be_none(line: bytes) -> None:
    replies = Replies()
    replies.feed(line + b"\r\n")
    with pytest.raises(Malformed):
        replies.next()


@pytest.mark.parametrize("piece", [b"250" + b"x" * 997, b"250-" + b"x" * 994 + b"\r\n"])
def test_a_reply_without_end_is_not_kept_for_ever(piece: bytes) -> None:
    replies = Replies()

    def listen() -> None:
        for _ in range(LONGEST_REPLY // len(piece) + 2):
            replies.feed(piece)
            assert replies.next() is None

    with pytest.raises(Malformed):
        listen()


def test_a_reply_is_kept_as_one_printable_line_of_500_characters() -> None:
    line = Reply(550, b"550 5.7.1 \x00no\x1b[31m\xff\x85" + "ü\u2028".encode() + b" " * 9 + b"x" * 900 + b"\r\n").line
    assert line.startswith("550 5.7.1 no [31m\ufffd\ufffdü xxx")
    assert line.isprintable()
    assert len(line) == 500


def state_of(line: str) -> tuple[DeliveryState, bool]:
    result = refused(1, Reply(int(line[:3]), f"{line}\r\n".encode()))
    assert result.reply == line
    return result.state, result.reason is None


def test_what_a_refusal_means() -> None:
    assert state_of("451 4.7.1 greylisted") == (DeliveryState.DEFERRED, True)
    assert state_of("550 5.1.1 no such user") == (DeliveryState.BOUNCED, True)
    assert state_of("501 5.1.3 bad address") == (DeliveryState.BOUNCED, True)
    # These are said to us, and not about the recipient.
    assert state_of("421 4.3.2 shutting down") == (DeliveryState.DEFERRED, False)
    assert state_of("503 bad sequence of commands") == (DeliveryState.DEFERRED, False)
    assert state_of("530 5.7.0 authenticate first") == (DeliveryState.DEFERRED, False)


def test_a_mail_that_was_accepted_is_sent_with_the_servers_words() -> None:
    assert accepted(7, Reply(250, b"250 2.0.0 queued as 4F2\r\n")) == Result(7, DeliveryState.SENT, "250 2.0.0 queued as 4F2")
