"""Which mails a server can take, and what never reaches the wire: an address that is more than one address."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp_channel import NO_8BITMIME, NO_ADDRESS, NO_RETURN_PATH, NO_SMTPUTF8, fits_envelope
from portal.notices.smtp_replies import Result
from tests.smtp_script import MESSAGE, RETURN_PATH, Conversation, ScriptedServer, sender_to

SENT, DEFERRED, FAILED = DeliveryState.SENT, DeliveryState.DEFERRED, DeliveryState.FAILED
BREAKING_OUT = [
    "x@example.org>\r\nRCPT TO:<y@example.org",
    "x@example.org\rRCPT TO:<y@example.org>",
    "x@example.org\nDATA",
    "x\x00@example.org",
    "x@example.org\x00",
    "x y@example.org",
    '"x y"@example.org',
    "x\u00a0y@example.org",
    "x@exam\u2028ple.org",
    "x@exam\u0085ple.org",
    "<x@example.org>",
    "x@example.org> SIZE=1",
    '"x>"@example.org',
    "x@example.org,y@example.org",
    "x@example.org;y@example.org",
    "x@y@example.org",
    "@relay.example:x@example.org",
    "Ann <x@example.org>",
    "x(comment)@example.org",
    "x\\@example.org",
    "x\ud800@example.org",
    "x",
    "@",
    "@example.org",
    "x@",
    "",
]


def send(extensions: list[str], *mails: tuple[str, str, bytes]) -> tuple[dict[int, Result], list[str], bytes]:
    """Send mails (address, return path, message); return how each ended, each command the server heard, and all it heard."""
    commands: list[str] = []

    def script(talk: Conversation) -> None:
        talk.greet(*extensions)
        while (command := talk.hear()) != "QUIT":
            commands.append(command)
            if command == "DATA":
                talk.say("354 go on")
                talk.hear_body()
            talk.say("250 ok")
        talk.say("221 bye")

    letters = [Letter(number, *mail) for number, mail in enumerate(mails, 1)]
    with ScriptedServer(script) as server, sender_to(server) as sender:
        results = [one for answered in sender.deliver(letters) for one in answered]
    assert sorted(one.delivery_id for one in results) == [letter.delivery_id for letter in letters]
    return {one.delivery_id: one for one in results}, commands, server.heard[0]


def test_a_plain_mail_asks_the_server_for_nothing() -> None:
    for extensions in ([], ["PIPELINING"], ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000"]):
        results, commands, _ = send(extensions, ("ann@example.org", RETURN_PATH, MESSAGE))
        assert results[1].state is SENT
        assert commands == [f"MAIL FROM:<{RETURN_PATH}>", "RCPT TO:<ann@example.org>", "DATA"]


def test_an_international_address_is_asked_for_where_the_server_knows_them() -> None:
    mail = "Subject: x\r\nTo: jörg@example.org\r\n\r\nhello\r\n".encode()
    results, commands, heard = send(["PIPELINING", "8BITMIME", "SMTPUTF8"], ("jörg@example.org", RETURN_PATH, mail))
    assert results[1].state is SENT
    assert commands == [f"MAIL FROM:<{RETURN_PATH}> BODY=8BITMIME SMTPUTF8", "RCPT TO:<jörg@example.org>", "DATA"]
    assert mail in heard


def test_an_international_address_fails_where_the_server_does_not_and_spoils_no_other() -> None:
    people = [
        ("ann@example.org", RETURN_PATH, MESSAGE),
        ("jörg@example.org", RETURN_PATH, MESSAGE),
        ("bob@example.org", RETURN_PATH, MESSAGE),
    ]
    results, _, heard = send(["PIPELINING"], *people)
    assert results[2] == Result(2, FAILED, None, NO_SMTPUTF8)
    assert [results[1].state, results[3].state] == [SENT, SENT]
    assert "jörg".encode() not in heard


def test_an_8_bit_mail_is_announced_or_not_sent() -> None:
    mail = "Subject: x\r\n\r\nGrüße\r\n".encode()
    results, commands, _ = send(["PIPELINING", "8BITMIME"], ("ann@example.org", RETURN_PATH, mail))
    assert results[1].state is SENT
    assert commands[0] == f"MAIL FROM:<{RETURN_PATH}> BODY=8BITMIME"

    results, commands, heard = send(["PIPELINING"], ("ann@example.org", RETURN_PATH, mail), ("bob@example.org", RETURN_PATH, MESSAGE))
    assert results[1] == Result(1, FAILED, None, NO_8BITMIME)
    assert results[2].state is SENT
    assert mail not in heard


def test_a_return_path_of_ours_that_will_not_do_is_never_the_recipients_fault() -> None:
    mails = [
        ("ann@example.org", "news@example.net>\r\nRCPT TO:<eve@example.org", MESSAGE),
        ("ann@example.org", "grüße@example.net", MESSAGE),
    ]
    results, commands, _ = send(["PIPELINING"], *mails)
    assert results[1] == Result(1, DEFERRED, None, NO_RETURN_PATH)
    assert results[2] == Result(2, DEFERRED, None, NO_SMTPUTF8)
    assert commands == []


def test_an_empty_return_path_is_one() -> None:
    results, commands, _ = send(["PIPELINING"], ("ann@example.org", "", MESSAGE))
    assert results[1].state is SENT
    assert commands[0] == "MAIL FROM:<>"


def test_what_would_break_out_of_its_line_never_reaches_the_wire() -> None:
    mails = [(address, RETURN_PATH, MESSAGE) for address in (*BREAKING_OUT, "ann@example.org")]
    results, commands, _ = send(["PIPELINING", "SMTPUTF8", "8BITMIME"], *mails)
    for number, address in enumerate(BREAKING_OUT, 1):
        assert results[number] == Result(number, FAILED, None, NO_ADDRESS), address
    assert commands == [f"MAIL FROM:<{RETURN_PATH}>", "RCPT TO:<ann@example.org>", "DATA"]


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.org", "ann.lee+news@mail.example.org", "o'neil@example.org", "a!b#c$d%e&f*g/h=i?j^k_l`m{n|o}p~q@example.org",
        "a..b.@example.org", '"ann..lee"@example.org', '"ann@home"@example.org', '"a\\"b"@example.org', "ann@[192.0.2.1]",
        "ann@[IPv6:2001:db8::1]", "jörg@example.org", "用户@例子.example", "ann@localhost",
    ],
)  # fmt: skip
def test_unusual_addresses_are_left_to_the_server(address: str) -> None:
    assert fits_envelope(address)


@settings(max_examples=500)
@given(address=st.text(st.sampled_from('a@.,;:"\\<>()[] \t\r\n\x00\x7f\u0085\u2028é'), max_size=20) | st.text(max_size=20))
def test_no_address_holds_what_ends_it(address: str) -> None:
    if fits_envelope(address):
        assert address.isprintable()
        assert not set(address) & set("<> \r\n\x00")
        assert address.rpartition("@")[0] != ""
        assert len(f"RCPT TO:<{address}>\r\n".encode().splitlines()) == 1
