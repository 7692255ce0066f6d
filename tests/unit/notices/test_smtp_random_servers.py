"""Servers that refuse, close and drop at random: however they behave, each mail ends once, and as the server knows it."""

import random
import threading
from collections import Counter

import pytest

from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp import Sender
from portal.notices.smtp_replies import MAY_HAVE_ARRIVED, Result
from tests.smtp_script import RETURN_PATH, Conversation, HungUp, ScriptedServer, mail_settings

SENT, DEFERRED, BOUNCED = DeliveryState.SENT, DeliveryState.DEFERRED, DeliveryState.BOUNCED
MAILS = 150
CONNECTIONS_AT_MOST = 1_000


class Fate:
    """What a server will do, and has done, over all its connections. `trouble` is the share of answers that are not a yes."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.taken: Counter[int] = Counter()
        self.answered: set[int] = set()
        self.refused_for_good: set[int] = set()
        self._trouble = trouble
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def draw(self) -> str:
        with self._lock:
            if self._random.random() >= self._trouble:
                return "yes"
            return self._random.choice(["later", "never", "close", "drop"])

    def toss(self) -> bool:
        with self._lock:
            return self._random.random() < 0.5


class Visit:
    """One connection to such a server."""

    def __init__(self, talk: Conversation, fate: Fate, extensions: tuple[str, ...]) -> None:
        self.talk = talk
        self.fate = fate
        self.has_sender = False
        self.recipient: int | None = None
        self.is_over = False
        try:
            talk.greet(*extensions)
            while not self.is_over:
                self.hear_command()
        except (HungUp, ConnectionError):
            pass  # a client may leave whenever it likes

    def hear_command(self) -> None:
        command = self.talk.hear()
        if command == "QUIT":
            self.talk.say("221 bye")
            self.is_over = True
        elif command == "RSET":
            self.has_sender, self.recipient = False, None
            self.talk.say("250 ok")
        elif command.startswith("MAIL FROM:"):
            assert not self.has_sender, "MAIL within a mail"
            self.has_sender = self.answer("250 ok", "451 later", "550 not you")
        elif command.startswith("RCPT TO:"):
            self.hear_recipient(int(command.partition("<")[2].partition("@")[0]))
        else:
            assert command == "DATA"
            self.hear_data()

    def hear_recipient(self, number: int) -> None:
        if not self.has_sender:
            self.talk.say("503 need MAIL")
            return
        assert self.recipient is None, "a second recipient"
        if self.answer("250 ok", "450 busy", "550 no such user", number):
            self.recipient = number

    def hear_data(self) -> None:
        number = self.recipient
        if number is not None:
            if self.answer("354 go on", "451 later", "554 no", number):
                assert self.talk.hear_body() == message(number)
                self.end_mail(number)
        elif self.fate.toss():
            self.talk.say("503 need RCPT")
        else:
            self.talk.say("354 go on")
            assert self.talk.hear_body() == b"", "a body for nobody"
            self.talk.say("554 no valid recipients")
            self.has_sender = False

    def end_mail(self, number: int) -> None:
        self.has_sender, self.recipient = False, None
        choice = self.fate.draw()
        if choice == "drop" and self.fate.toss():
            self.fate.taken[number] += 1  # and nobody hears of it
        if self.answer("250 ok", "452 full", "554 spam", number, choice):
            self.fate.taken[number] += 1
            self.fate.answered.add(number)

    def answer(self, yes: str, later: str, never: str, number: int | None = None, choice: str | None = None) -> bool:
        """Answer about the mail of that number, if the answer is about one; or end the connection. True for yes."""
        choice = choice or self.fate.draw()
        if choice == "never" and number is not None:
            self.fate.refused_for_good.add(number)
        if choice == "drop":
            self.talk.drop()
        else:
            self.talk.say({"yes": yes, "later": later, "never": never, "close": "421 closing"}[choice])
        self.is_over = choice in {"drop", "close"}
        return choice == "yes"


def message(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * (number * 37 % 5_000))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("trouble", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("connections", [1, 5])
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
def test_each_mail_ends_once_and_as_the_server_knows_it(extensions: tuple[str, ...], connections: int, trouble: float, seed: int) -> None:
    fate = Fate(seed, trouble)
    results: dict[int, Result] = {}
    with ScriptedServer(*[lambda talk: Visit(talk, fate, extensions)] * CONNECTIONS_AT_MOST, play_all=False) as server:
        letters = [Letter(number, f"{number}@example.org", RETURN_PATH, message(number)) for number in range(MAILS)]
        with Sender(mail_settings(f"smtp://127.0.0.1:{server.port}"), timeout=20, connections=connections) as sender:
            for answered in sender.deliver(letters):
                assert answered
                assert sum(one.state is SENT for one in answered) <= connections
                for one in answered:
                    assert results.setdefault(one.delivery_id, one) is one, "settled twice"
    assert sorted(results) == list(range(MAILS))
    assert {number for number, one in results.items() if one.state is SENT} == fate.answered
    assert {number for number, one in results.items() if one.state is BOUNCED} == fate.refused_for_good
    assert set(fate.taken.values()) <= {1}, "sent twice"
    for number in fate.taken.keys() - fate.answered:
        assert (results[number].state, results[number].reason) == (DEFERRED, MAY_HAVE_ARRIVED)
