"""Mails over a connection, group by group: what is said when, what each answer means, and that no mail spoils another."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp_replies import SENDER_REFUSED, Result
from tests.smtp_script import MESSAGE, Conversation, HungUp, ScriptedServer, deliver, letters, sender_to

SENT, DEFERRED, BOUNCED, FAILED = DeliveryState.SENT, DeliveryState.DEFERRED, DeliveryState.BOUNCED, DeliveryState.FAILED
ANN, BOB, CAROL = "ann@example.org", "bob@example.org", "carol@example.org"


def test_the_body_of_one_mail_and_the_envelope_of_the_next_are_one_group() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_body() == MESSAGE
        talk.expect("MAIL FROM:<news@example.net>", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("250 2.0.0 first", "250 ok", "250 ok", "354 go on")
        assert talk.hear_body() == MESSAGE
        talk.say("250 2.0.0 second")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, SENT, "250 2.0.0 first")
    assert results[BOB] == Result(2, SENT, "250 2.0.0 second")


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("8BITMIME")
        for address in (ANN, BOB):
            for command in ("MAIL FROM:<news@example.net>", f"RCPT TO:<{address}>"):
                talk.expect(command)
                assert talk.is_silent()
                talk.say("250 ok")
            talk.expect("DATA")
            assert talk.is_silent()
            talk.say("354 go on")
            assert talk.hear_body() == MESSAGE
            assert talk.is_silent()
            talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
    assert [results[ANN].state, results[BOB].state] == [SENT, SENT]


def test_without_pipelining_a_refused_recipient_is_asked_no_further() -> None:
    def script(talk: Conversation) -> None:
        talk.greet()
        talk.expect("MAIL FROM")
        talk.say("250 ok")
        talk.expect(f"RCPT TO:<{ANN}>")
        talk.say("550 5.1.1 no such user")
        talk.expect("RSET")
        talk.say("250 ok")
        talk.expect("MAIL FROM")
        talk.say("451 4.3.0 not now")
        talk.expect("RSET")
        talk.say("250 ok")
        for command, answer in (("MAIL FROM", "250 ok"), (f"RCPT TO:<{CAROL}>", "250 ok"), ("DATA", "354 go on")):
            talk.expect(command)
            talk.say(answer)
        assert talk.hear_body() == MESSAGE
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB, CAROL)
    assert results[ANN] == Result(1, BOUNCED, "550 5.1.1 no such user", to_recipient=True)
    assert results[BOB] == Result(2, DEFERRED, "451 4.3.0 not now", SENDER_REFUSED)
    assert results[CAROL].state is SENT


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
def test_nothing_is_sent_while_what_was_answered_is_written_down(extensions: tuple[str, ...]) -> None:
    """Never more mails accepted and not written down than there are connections."""

    def script(talk: Conversation) -> None:
        accept_all(talk, *extensions)

    addresses = [f"person{number}@example.org" for number in range(7)]
    with ScriptedServer(script, script, script) as server, sender_to(server, connections=3) as sender:
        written = 0
        for results in sender.deliver(letters(*addresses)):
            written += len(results)
            assert len(results) <= 3
            time.sleep(0.02)  # for anything said too early to arrive
            assert b"".join(server.heard).count(b"\r\n.\r\n") == written
    assert written == len(addresses)


def accept_all(talk: Conversation, *extensions: str) -> None:
    """A server that says yes to everything."""
    talk.greet(*extensions)
    while (command := talk.hear()) != "QUIT":
        if command == "DATA":
            talk.say("354 go on")
            talk.hear_body()
        talk.say("250 ok")
    talk.say("221 bye")


@pytest.mark.parametrize(
    ("extensions", "begun_with_each_result"), [(["PIPELINING"], [[1, 2], [1, 2, 3], [1, 2, 3]]), ([], [[1], [1, 2], [1, 2, 3]])]
)
def test_letters_are_begun_one_by_one_as_the_connection_is_free_for_them_and_one_is_ready(
    extensions: list[str], begun_with_each_result: list[list[int]]
) -> None:
    taken: list[int] = []
    begun: list[int] = []

    def watched() -> Iterator[Letter]:
        for letter in letters(ANN, BOB, CAROL):
            taken.append(letter.delivery_id)
            yield letter

    def begin(letter: Letter) -> bool:
        begun.append(letter.delivery_id)
        return True

    with ScriptedServer(lambda talk: accept_all(talk, *extensions)) as server, sender_to(server) as sender:
        run = sender.deliver(watched(), begin)
        assert taken == []
        for number, begun_by_then in enumerate(begun_with_each_result, 1):
            assert [one.delivery_id for one in next(run)] == [number]
            assert begun == begun_by_then
            assert taken == [1, 2, 3][: len(begun) + 1]
        assert next(run, None) is None


@pytest.mark.parametrize("extensions", [["PIPELINING"], []])
def test_a_letter_that_is_not_to_be_begun_any_more_is_passed_over(extensions: list[str]) -> None:
    with ScriptedServer(lambda talk: accept_all(talk, *extensions)) as server, sender_to(server) as sender:
        results = [one for some in sender.deliver(letters(ANN, BOB, CAROL), lambda letter: letter.delivery_id != 2) for one in some]
    assert [(one.delivery_id, one.state) for one in results] == [(1, SENT), (3, SENT)]


def test_when_the_next_letter_cannot_be_made_those_before_it_are_answered_first() -> None:
    class Trouble(Exception):
        pass

    def troubled() -> Iterator[Letter]:
        yield from letters(ANN, BOB)
        raise Trouble

    def script(talk: Conversation) -> None:
        with contextlib.suppress(HungUp):
            accept_all(talk, "PIPELINING")

    with ScriptedServer(script) as server, sender_to(server) as sender:
        run = sender.deliver(troubled())
        assert [one.delivery_id for one in next(run)] == [1]
        with pytest.raises(Trouble):
            next(run)


def test_no_more_connections_are_opened_than_there_are_letters() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT", "DATA")
        talk.say("250 ok", "250 ok", "354 go on")
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer() as server, sender_to(server, connections=9) as sender:
        assert list(sender.deliver([])) == []
    with ScriptedServer(script, script) as server:
        deliver(server, ANN, BOB, connections=9)


def test_the_mails_of_a_second_run_go_over_the_connection_of_the_first() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        for address in (ANN, BOB):
            talk.envelope(address)
            talk.hear_body()
            talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server, sender_to(server) as sender:
        for address in (ANN, BOB):
            assert [one.state for results in sender.deliver(letters(address)) for one in results] == [SENT]


def test_a_recipient_refused_within_a_group_gets_a_lone_dot_after_354_and_never_the_body() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, rcpt="550-5.1.1 no such user\r\n550 5.1.1 see help")
        assert talk.hear_body() == b""
        talk.expect("RSET", "MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say("554 5.5.1 no valid recipients", "250 ok", "250 ok", "451 4.7.1 greylisted", "354 go on")
        assert talk.hear_body() == b""
        talk.say("250 strange, but accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
        assert MESSAGE not in server.heard[0]
    assert results[ANN] == Result(1, BOUNCED, "550 5.1.1 no such user 5.1.1 see help", to_recipient=True)
    assert results[BOB] == Result(2, DEFERRED, "451 4.7.1 greylisted", to_recipient=True)


def test_a_recipient_refused_within_a_group_and_data_refused_too_costs_no_connection() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, rcpt="450 4.2.1 mailbox busy", data="554 5.5.1 no valid recipients")
        talk.expect("RSET")
        talk.say("250 ok")
        talk.envelope(BOB)
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, DEFERRED, "450 4.2.1 mailbox busy", to_recipient=True)
    assert results[BOB].state is SENT


@pytest.mark.parametrize("answer", ["550 5.7.1 sender not allowed", "451 4.7.1 try later", "530 5.7.0 authenticate first"])
def test_a_refused_sender_says_nothing_about_the_recipient(answer: str) -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, mail=answer, rcpt="503 5.5.1 need MAIL", data="503 5.5.1 need RCPT")
        talk.expect("RSET")
        talk.say("250 ok")
        talk.envelope(BOB)
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, DEFERRED, answer, SENDER_REFUSED)
    assert results[BOB].state is SENT


@pytest.mark.parametrize(
    ("answer", "state"), [("552 5.3.4 too big", BOUNCED), ("554 5.7.1 looks like spam", BOUNCED), ("452 4.3.1 disk full", DEFERRED)]
)
def test_the_answer_after_the_dot_is_about_that_mail_alone(answer: str, state: DeliveryState) -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.expect("MAIL", f"RCPT TO:<{BOB}>", "DATA")
        talk.say(answer, "250 ok", "250 ok", "354 go on")
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server:
        results = deliver(server, ANN, BOB)
    assert results[ANN] == Result(1, state, answer)
    assert results[BOB].state is SENT


@pytest.mark.parametrize(("answer", "state"), [("554 5.7.1 no", BOUNCED), ("451 4.3.0 local error", DEFERRED)])
def test_data_refused_is_the_answer_for_that_mail(answer: str, state: DeliveryState) -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, data=answer)
        talk.goodbye()

    with ScriptedServer(script) as server:
        assert deliver(server, ANN)[ANN] == Result(1, state, answer)


@pytest.mark.parametrize(
    ("mail", "rcpt", "data", "state"),
    [
        ("550 no", "250 ok", "354 go on", DEFERRED),  # a dot now would send an empty mail
        ("250 ok", "250 ok", "250 ok", DEFERRED),
        ("250 ok", "550 no", "250 ok", BOUNCED),
    ],
)
def test_a_server_that_contradicts_itself_is_left_and_no_mail_counts_as_sent(mail: str, rcpt: str, data: str, state: DeliveryState) -> None:
    def contradict(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, mail, rcpt, data)
        assert talk.hear_hang_up() == b""

    with ScriptedServer(contradict) as server:
        assert deliver(server, ANN)[ANN].state is state


def test_an_answer_to_nothing_ends_the_connection_before_a_mail_is_put_at_risk() -> None:
    def out_of_step(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN, data="354 go on\r\n250 one too many")
        assert talk.hear_hang_up() == b""

    def in_step(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(out_of_step, in_step) as server:
        assert deliver(server, ANN)[ANN].state is SENT


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"Subject: x\r\n\r\nhello\r\n", b"Subject: x\r\n\r\nhello\r\n"),
        (b"Subject: x\r\n\r\nno line end", b"Subject: x\r\n\r\nno line end\r\n"),
        (b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n", b"Subject: x\r\n\r\n..\r\n...\r\n..a\r\nb.\r\n"),
        (b".Subject: x\r\n\r\n.", b"..Subject: x\r\n\r\n..\r\n"),
        (b"Subject: x\r\n\r\na\n.\r\nMAIL FROM:<x>\r\n", b"Subject: x\r\n\r\na\n..\r\nMAIL FROM:<x>\r\n"),
    ],
)
def test_no_line_of_a_mail_can_end_it(message: bytes, wire: bytes) -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_body() == wire
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(script) as server, sender_to(server) as sender:
        assert [one.state for results in sender.deliver(letters(ANN, message=message)) for one in results] == [SENT]


def test_closing_early_sends_no_mail_that_is_only_begun() -> None:
    def begun(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_body() == MESSAGE
        talk.expect("MAIL", f"RCPT TO:<{CAROL}>", "DATA")
        talk.say("250 accepted", "250 ok", "250 ok", "354 go on")
        assert talk.hear_hang_up() == b""

    def idle(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(BOB)
        talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(begun, idle) as server, sender_to(server, connections=2) as sender:
        run = sender.deliver(letters(ANN, BOB, CAROL))
        assert [result.state for result in next(run)] == [SENT, SENT]
        run.close()


def test_an_iterator_that_fails_sends_no_mail_that_is_only_begun() -> None:
    def script(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope(ANN)
        assert talk.hear_hang_up() == b""

    def failing() -> Iterator[Letter]:
        yield from letters(ANN)
        raise RuntimeError("the database is gone")

    with ScriptedServer(script) as server, sender_to(server) as sender, pytest.raises(RuntimeError):
        list(sender.deliver(failing()))
