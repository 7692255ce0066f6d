"""Connections that are closed, break, hang or crawl: which mail is hurt by it, and that no other is."""

import time

import pytest

from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp import Unavailable
from portal.notices.smtp_channel import CLOSED
from portal.notices.smtp_replies import IS_CLOSING, MAY_HAVE_ARRIVED, NOT_BEGUN, SILENCE, Result
from tests.smtp_script import MESSAGE, RETURN_PATH, Conversation, Script, ScriptedServer, deliver, letters, sender_to

SENT, DEFERRED = DeliveryState.SENT, DeliveryState.DEFERRED
ANN, BOB, CAROL = "ann@example.org", "bob@example.org", "carol@example.org"
SHORT = 0.5
BIG = b"Subject: big\r\n\r\n" + (b"." * 70 + b"\r\n") * 100_000


def accept(*addresses: str) -> Script:
    """A script that accepts mails to these addresses, one group after another."""

    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        for place, address in enumerate(addresses):
            talk.expect("MAIL", f"RCPT TO:<{address}>", "DATA")
            talk.say(*["250 accepted"][: place > 0], "250 ok", "250 ok", "354 go on")
            assert talk.hear_body() == MESSAGE
        talk.say("250 accepted")
        talk.goodbye()

    return script


def hang(talk: Conversation) -> None:
    talk.hear_hang_up()


def test_a_server_that_closes_after_so_many_mails_costs_none_of_them() -> None:
    def one_only(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("250 accepted", "421 4.7.0 too many mails on this connection")

    with ScriptedServer(one_only, accept(BOB, CAROL)) as server:
        results = deliver(server, ANN, BOB, CAROL)
    assert [one.state for one in results.values()] == [SENT, SENT, SENT]


def test_421_in_mid_group_defers_that_mail_and_the_next_go_over_a_new_connection() -> None:
    def closing(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("250 accepted", "250 ok", "421 4.3.2 shutting down")

    with ScriptedServer(closing, accept(CAROL)) as server:
        results = deliver(server, ANN, BOB, CAROL)
    assert results[ANN].state is SENT
    assert results[BOB] == Result(2, DEFERRED, "421 4.3.2 shutting down", IS_CLOSING, to_recipient=True)
    assert results[CAROL].state is SENT


def test_421_after_the_dot_defers_that_mail_and_the_one_behind_it_goes_over_a_new_connection() -> None:
    def closing(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("421 4.3.2 shutting down")

    with ScriptedServer(closing, accept(BOB)) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, DEFERRED, "421 4.3.2 shutting down", IS_CLOSING)
    assert results[BOB].state is SENT


def test_nothing_more_is_said_after_421_even_where_the_server_forgets_to_close() -> None:
    def closing(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, data="421 4.3.2 shutting down")
        assert talk.hear_hang_up() == b""

    with ScriptedServer(closing, accept(BOB)) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, DEFERRED, "421 4.3.2 shutting down", IS_CLOSING)
    assert results[BOB].state is SENT


def test_a_recipient_refused_for_good_stays_refused_when_the_connection_drops_at_once() -> None:
    def refuse(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        talk.say("250 ok", "550 5.1.1 no such user")

    with ScriptedServer(refuse) as server:
        assert deliver(server, ANN)[ANN] == Result(1, DeliveryState.BOUNCED, "550 5.1.1 no such user", to_recipient=True)


@pytest.mark.parametrize("broken_off", [False, True])
def test_a_connection_lost_after_the_dot_defers_a_mail_that_may_have_arrived(broken_off: bool) -> None:
    def lose(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_body() == MESSAGE
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        if broken_off:
            talk.drop()

    with ScriptedServer(lose, accept(BOB)) as server:
        results = deliver(server, ANN, BOB)
    assert (results[ANN].state, results[ANN].reason) == (DEFERRED, MAY_HAVE_ARRIVED)
    assert results[ANN].reply == ("Connection reset by peer" if broken_off else CLOSED)
    assert results[BOB].state is SENT


def test_a_connection_lost_before_the_body_is_replaced_at_once_and_the_mail_sent() -> None:
    def lose(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", f"RCPT TO:<{ANN}>", "DATA")

    with ScriptedServer(lose, accept(ANN)) as server:
        assert deliver(server, ANN)[ANN].state is SENT


def test_a_connection_lost_before_the_body_twice_defers_the_mail_and_the_next_is_tried() -> None:
    def lose(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", f"RCPT TO:<{ANN}>", "DATA")

    with ScriptedServer(lose, lose, accept(BOB)) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, DEFERRED, CLOSED, NOT_BEGUN)
    assert results[BOB].state is SENT


def test_idle_connections_that_the_server_has_closed_are_replaced_by_as_many_as_are_needed() -> None:
    def lose_interest(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        talk.say("250 ok", "250 ok", "354 go on")
        talk.hear_body()
        talk.say("250 accepted")

    with (
        ScriptedServer(lose_interest, lose_interest, accept(CAROL)) as server,
        sender_to(server, connections=2) as sender,
    ):
        assert [one.state for results in sender.deliver(letters(ANN, BOB)) for one in results] == [SENT, SENT]
        server.wait_for_hang_ups(2)
        assert [one.state for results in sender.deliver(letters(CAROL)) for one in results] == [SENT]


def test_a_group_in_pieces_is_understood_and_a_mail_is_read_as_slowly_as_the_server_likes() -> None:
    def slow(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        for piece in (b"250-o", b"k\r\n250 ok\r", b"\n250 ok\r\n35", b"4-go\r\n354 on", b"\r\n"):
            talk.send(piece)
            time.sleep(0.02)
        for _ in range(20):
            time.sleep(0.02)
            talk.hear_some(1_000)
        assert talk.hear_body().replace(b"\r\n..", b"\r\n.") == mail
        talk.send(b"25")
        time.sleep(0.02)
        talk.send(b"0 accepted\r\n")
        talk.goodbye()

    mail = BIG[:800_000] + b"\r\n"
    with ScriptedServer(slow, receive_buffer=4_096) as server, sender_to(server) as sender:
        assert [one.state for results in sender.deliver(letters(ANN, message=mail)) for one in results] == [SENT]


def test_a_server_that_stops_reading_is_left_and_the_mail_behind_goes_over_a_new_connection() -> None:
    def stop_reading(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        time.sleep(SHORT * 3)

    with (
        ScriptedServer(stop_reading, accept(BOB), receive_buffer=4_096) as server,
        sender_to(server, timeout=SHORT) as sender,
    ):
        big, small = Letter(1, ANN, RETURN_PATH, BIG), Letter(2, BOB, RETURN_PATH, MESSAGE)
        results = [one for answered in sender.deliver([big, small]) for one in answered]
    assert results[0] == Result(1, DEFERRED, SILENCE, MAY_HAVE_ARRIVED)
    assert results[1].state is SENT


def test_a_byte_now_and_then_is_enough_if_each_reply_is_whole_in_time() -> None:
    """Each reply takes half a second, and four in a row more than the time that each may take."""

    def crawl(talk: Conversation) -> None:
        say("220 hi", talk)
        talk.expect("ehlo")
        talk.say("250-x", "250 PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        for reply in ("250 ok", "250 ok", "354 ok"):
            say(reply, talk)
        talk.hear_body()
        talk.expect("MAIL", "RCPT", "DATA")
        for reply in ("250 ok", "250 ok", "250 ok", "354 ok"):
            say(reply, talk)
        talk.hear_body()
        say("250 ok", talk)
        talk.goodbye()

    def say(reply: str, talk: Conversation) -> None:
        talk.say_slowly(reply, 0.06)

    with ScriptedServer(crawl) as server:
        results = deliver(server, ANN, BOB, timeout=1.5)
    assert [results[ANN].state, results[BOB].state] == [SENT, SENT]


def test_a_byte_now_and_then_does_not_hold_us_for_ever() -> None:
    def crawl(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", "RCPT", "DATA")
        talk.say_slowly("250 " + "x" * 10_000, 0.05)

    with ScriptedServer(crawl, accept(BOB)) as server:
        results = deliver(server, ANN, BOB, timeout=SHORT)
    assert results[ANN] == Result(1, DEFERRED, SILENCE, MAY_HAVE_ARRIVED)
    assert results[BOB].state is SENT


@pytest.mark.parametrize("answered", range(3))
def test_a_server_that_hangs_in_the_envelope_defers_that_mail_and_no_other(answered: int) -> None:
    def hang_there(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", f"RCPT TO:<{ANN}>", "DATA")
        talk.say(*["250 ok"] * answered)
        assert talk.hear_hang_up() == b""

    with ScriptedServer(hang_there, accept(BOB, CAROL)) as server:
        results = deliver(server, ANN, BOB, CAROL, connections=2, timeout=SHORT)
    assert results[ANN] == Result(1, DEFERRED, SILENCE, NOT_BEGUN)
    assert [results[BOB].state, results[CAROL].state] == [SENT, SENT]


def test_giving_up_on_one_connection_leaves_a_slower_one_its_time() -> None:
    def hang_there(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", f"RCPT TO:<{ANN}>", "DATA")
        talk.hear_hang_up()

    def slow(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        for reply in ("250 ok", "250 ok", "354 go on"):
            time.sleep(0.5)
            talk.say(reply)
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(hang_there, slow) as server:
        results = deliver(server, ANN, BOB, connections=2, timeout=1)
    assert results[ANN] == Result(1, DEFERRED, SILENCE, NOT_BEGUN)
    assert results[BOB].state is SENT


def test_a_server_that_hangs_at_the_dot_defers_that_mail_and_no_other() -> None:
    def hang_there(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_body() == MESSAGE
        talk.expect("MAIL", f"RCPT TO:<{CAROL}>", "DATA")
        assert talk.hear_hang_up() == b""

    with ScriptedServer(hang_there, accept(BOB), accept(CAROL)) as server:
        results = deliver(server, ANN, BOB, CAROL, connections=2, timeout=SHORT)
    assert results[ANN] == Result(1, DEFERRED, SILENCE, MAY_HAVE_ARRIVED)
    assert [results[BOB].state, results[CAROL].state] == [SENT, SENT]


def test_a_server_that_talks_nonsense_is_left() -> None:
    def nonsense(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        talk.say("HTTP/1.1 400 Bad Request")
        talk.hear_hang_up()

    with ScriptedServer(nonsense, nonsense) as server:
        result = deliver(server, ANN)[ANN]
    assert (result.state, result.reason) == (DEFERRED, NOT_BEGUN)
    assert "HTTP/1.1 400 Bad Request" in str(result.reply)


def too_many(talk: Conversation) -> None:
    talk.say("421 4.7.0 too many connections")


@pytest.mark.parametrize("refuse", [too_many, Conversation.drop])
def test_a_server_that_takes_fewer_connections_gets_all_mails_over_those(refuse: Script) -> None:
    with ScriptedServer(accept(ANN, BOB, CAROL), refuse, refuse) as server:
        results = deliver(server, ANN, BOB, CAROL, connections=3)
    assert [one.state for one in results.values()] == [SENT, SENT, SENT]


def test_a_server_that_leaves_further_connections_waiting_gets_all_mails_over_the_first() -> None:
    with ScriptedServer(accept(ANN, BOB, CAROL), hang, hang) as server:
        results = deliver(server, ANN, BOB, CAROL, connections=3, timeout=SHORT)
    assert [one.state for one in results.values()] == [SENT, SENT, SENT]


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (too_many, "421 4.7.0 too many connections"),
        (lambda talk: talk.say("554 5.7.1 go away"), "554 5.7.1 go away"),
        (hang, SILENCE),
        (lambda talk: talk.say_slowly("220 " + "x" * 1000, 0.05), SILENCE),
        (lambda talk: talk.say("SSH-2.0-OpenSSH"), "SSH-2.0-OpenSSH"),
    ],
)
def test_a_server_that_lets_nobody_in_is_unavailable(greeting: Script, said: str) -> None:
    with ScriptedServer(greeting) as server, sender_to(server, connections=3, timeout=SHORT) as sender:
        with pytest.raises(Unavailable) as error:
            list(sender.deliver(letters(ANN, BOB)))
        assert said in str(error.value)


def test_a_server_that_goes_away_for_good_is_unavailable_after_what_it_answered() -> None:
    def go_away(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("250 accepted", "421 4.3.2 shutting down")

    with ScriptedServer(go_away, too_many) as server, sender_to(server) as sender:
        run = sender.deliver(letters(ANN, BOB))
        assert [one.state for one in next(run)] == [SENT]
        with pytest.raises(Unavailable):
            next(run)


def test_where_nobody_listens_the_server_is_unavailable() -> None:
    with ScriptedServer() as server:
        pass
    with sender_to(server) as sender, pytest.raises(Unavailable, match="refused"):
        list(sender.deliver(letters(ANN)))
