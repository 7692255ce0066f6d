"""One text for a notice, rendered once: slots per person, kept as JSON, read back by anybody later."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import ChoiceLoader, DictLoader
from sqlalchemy.exc import OperationalError

from portal.account.models import User
from portal.config import current_settings
from portal.database import db, transaction
from portal.notices import kinds, links, mime, rendering
from portal.notices.kinds import Due
from portal.notices.mail_templates import Unrenderable
from portal.notices.mime import Letter
from portal.notices.models import Notice, Topic
from portal.notices.rendering import Renderer, Unrendered
from tests import raw_mail
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to
from tests.raw_mail import RawMail

BLOCKS = "blocks"
TEMPLATES = {
    "notices/blocks/subject.txt": "{{ title }}{{ slot('asked', ': out') }}",
    "notices/blocks/body.txt": (
        '{% extends "notices/layout.txt" %}{% block content -%}\n{{ greeting }}{{ slot("asked") }}{{ text|mail_plain }}{% endblock %}'
    ),
    "notices/blocks/body.html": (
        '{% extends "notices/layout.html" %}{% block content %}{{ greeting }}{{ slot("asked") }}{{ text|mail_html }}{% endblock %}'
    ),
    "notices/blocks/asked.subject.txt": ": {{ asked|length }} for you",
    "notices/blocks/asked.txt": "FOR YOU\n{% for one in asked %}* {{ one.title }}\n{% endfor %}",
    "notices/blocks/asked.html": "<ul>{% for one in asked %}<li>{{ one.title }}</li>{% endfor %}</ul>",
}
Blocks = dict[int, dict[str, Any]]


@pytest.fixture(autouse=True)
def templates(app: Flask, app_context: None) -> dict[str, str]:
    """The templates of these tests, which a test may change before it renders."""
    templates = dict(TEMPLATES)
    environment = app.extensions["portal.mail_environment"]
    environment.loader = ChoiceLoader([DictLoader(templates), environment.loader])
    register({})
    return templates


def register(blocks: Blocks, **changes: Any) -> None:
    def slots(notice: Notice, people: Sequence[Due], now: datetime) -> Mapping[int, Mapping[str, Any]]:
        return {person.id: blocks[person.id] for person in people if person.id in blocks}

    kinds.register(kinds.Kind(BLOCKS, **{"slots": slots, **changes}))


def notice(product_id: int | None = None, kind: str = BLOCKS, **context: Any) -> Notice:
    topic = Topic.POINT if product_id else None
    values = {"title": "News", "text": "Hear this.", **context}
    return Notice(id=7, kind=kind, topic=topic, product_id=product_id, context=values, created_at=NOW)


def due(number: int = 1, name: str = "Ann Example", address: str = "", at: datetime = NOW) -> Due:
    return Due(number, number + 100, address or f"person{number}@example.org", name, at)


def letters(renderer: Renderer, *people: Due) -> list[Letter]:
    made = list(renderer.letters(people, NOW))
    assert all(isinstance(one, Letter) for one in made), made
    return [one for one in made if isinstance(one, Letter)]


def read(renderer: Renderer, person: Due) -> RawMail:
    return raw_mail.read(letters(renderer, person)[0].message)


def kept(renderer: Renderer) -> Any:
    """What the database gives back of a compiled text."""
    return json.loads(json.dumps(renderer.compiled))


def test_each_mail_bears_its_own_headers_and_links_and_nobody_elses(product_id: int) -> None:
    config = current_settings()
    renderer = Renderer(notice(product_id), config)
    people = [due(number, f"Person {number}") for number in range(1, 6)]
    for person, letter in zip(people, letters(renderer, *people), strict=True):
        mail = raw_mail.read(letter.message)
        assert (letter.delivery_id, letter.address, letter.return_path) == (person.id, person.address, "releases@example.org")
        assert mail.names == [
            "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Feedback-ID", "List-Id", "List-Unsubscribe",
            "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
        ]  # fmt: skip
        unsubscribe = links.unsubscribe_url(config, person.user_id, product_id, Topic.POINT)
        assert mail["To"] == f'"{person.name}" <{person.address}>'
        assert mail["Message-ID"] == f"<d{person.id}.n7@127.0.0.1>"
        assert mail["List-Unsubscribe"] == f"<{unsubscribe}>"
        for part in (mail.text, mail.html):
            assert f"Hello {person.name}," in part
            assert unsubscribe in part
            assert links.preferences_url(config, person.user_id, product_id) in part
        for other in people:
            if other != person:
                assert other.address.encode() not in letter.message
                assert links.unsubscribe_url(config, other.user_id, product_id, Topic.POINT) not in mail.text + mail.html


def test_links_stand_on_the_public_address_whatever_host_was_asked_for(app: Flask, product_id: int) -> None:
    with app.test_request_context("/", base_url="https://evil.example.com", headers={"X-Forwarded-Host": "evil.example.com"}):
        message = letters(Renderer(notice(product_id), current_settings()), due())[0].message
    assert b"evil" not in message
    assert b"http://127.0.0.1:8000/notices/" in message


def test_the_date_is_that_of_the_attempt_and_all_else_stays_the_same(product_id: int) -> None:
    renderer = Renderer(notice(product_id), current_settings())
    first, again = letters(renderer, due(at=NOW)) + letters(renderer, due(at=NOW + timedelta(hours=3)))
    assert b"\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n" in first.message
    assert first.message.replace(b" 09:00:00 ", b" 12:00:00 ") == again.message


def test_somebody_without_a_name_is_not_greeted_by_an_empty_one(product_id: int) -> None:
    renderer = Renderer(notice(product_id), current_settings())
    mail = read(renderer, due(name=" \r\n"))
    assert mail["To"] == "person1@example.org"
    assert mail.text.startswith("Hear this.")
    assert "Hello" not in mail.html
    assert read(renderer, due(name="Ann")).text.startswith("Hello Ann,\n\nHear this.")


def test_a_kept_text_gives_the_same_bytes_without_templates_and_whatever_became_of_the_release(
    templates: dict[str, str], product_id: int
) -> None:
    register({1: {"asked": [{"title": "A"}]}}, shared=lambda notice: {"title": "First"})
    original = Renderer(notice(product_id), current_settings())
    people = [due(1), due(2, "Jörg Müßig"), due(3, "")]
    sent = letters(original, *people)
    later = notice(product_id)
    later.compiled = kept(original)
    register({1: {"asked": [{"title": "A"}]}}, shared=lambda notice: pytest.fail("asked again"))
    for name in ("subject.txt", "body.txt", "body.html"):
        templates[f"notices/blocks/{name}"] = "{{ 1 / 0 }}"
    again = Renderer(later, current_settings())
    assert letters(again, *people) == sent
    assert again.compiled == original.compiled


def test_a_block_stands_in_the_mails_of_those_it_is_for_alone(product_id: int) -> None:
    register({1: {"asked": [{"title": "<b>Pause & resume</b>"}, {"title": "Zoom"}]}, 3: {"asked": []}})
    renderer = Renderer(notice(product_id), current_settings())
    asked, nothing, empty = (read(renderer, due(number)) for number in (1, 2, 3))
    assert asked["Subject"] == "News: 2 for you"
    assert "<title>News: 2 for you</title>" in asked.html
    assert "Hello Ann Example,\n\nFOR YOU\n* <b>Pause & resume</b>\n* Zoom\n\nHear this." in asked.text
    assert "<li>&lt;b&gt;Pause &amp; resume&lt;/b&gt;</li>" in asked.html
    for mail in (nothing, empty):
        assert mail["Subject"] == "News: out"
        assert "Hello Ann Example,\n\nHear this." in mail.text
        assert "<ul>" not in mail.html


def test_a_block_is_rendered_once_for_all_who_share_it(templates: dict[str, str], app: Flask) -> None:
    rendered: list[str] = []

    def note(text: str) -> str:
        rendered.append(text)
        return text

    app.extensions["portal.mail_environment"].globals["note"] = note
    templates["notices/blocks/asked.txt"] = "{{ note(asked[0].title) }} for you"
    register({number: {"asked": [{"title": "A" if number % 2 else "B"}]} for number in range(1, 21)})
    renderer = Renderer(notice(), current_settings())
    letters(renderer, *(due(number) for number in range(1, 21)))
    assert rendered == ["A", "B"]


def test_one_person_whose_block_fails_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    register({1: {"asked": [{"no": "title"}]}, 2: {"asked": [{"title": "A"}]}})
    with caplog.at_level(logging.CRITICAL):
        failed, made = Renderer(notice(), current_settings()).letters([due(1), due(2)], NOW)
    assert failed == Unrendered(1, rendering.FAILED_FOR_ONE, final=False)
    assert isinstance(made, Letter)


@pytest.mark.parametrize(
    "address",
    ["ann,bob@example.org", '"ann"@example.org', '"bob@example.org"@example.com', "ann@example.org\r\nBcc: bob@example.org", "ann", "",
     "ann@[127.0.0.1]", "Ann <ann@example.org>", "\u202eann@example.org", "ann@exam\x00ple.org"],
)  # fmt: skip
def test_an_address_that_is_not_plainly_one_gets_no_mail_and_spoils_no_other(address: str) -> None:
    failed, made = Renderer(notice(), current_settings()).letters([due()._replace(address=address), due(2)], NOW)
    assert failed == Unrendered(1, rendering.NO_ADDRESS, final=True)
    assert isinstance(made, Letter)
    assert len(rendering.NO_ADDRESS) <= 60
    assert len(rendering.FAILED_FOR_ONE) <= 60


def test_international_addresses_are_written_as_the_envelope_has_them() -> None:
    domain, local = letters(
        Renderer(notice(), current_settings()), due(1, address="ann@müller.example.org"), due(2, address="jörg@example.org")
    )
    assert domain.address == "ann@xn--mller-kva.example.org"
    assert raw_mail.read(domain.message)["To"] == '"Ann Example" <ann@xn--mller-kva.example.org>'
    assert local.address == "jörg@example.org"
    assert raw_mail.read(local.message)["To"] == '"Ann Example" <jörg@example.org>'


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    name=st.one_of(
        st.text(max_size=120), st.sampled_from(["Eve\r\nBcc: all@example.org", "\x00", "=?utf-8?b?Qm9zcw==?=", "{{ 7*7 }}", "slot0z"])
    ),
    item=st.text(max_size=200),
)
def test_whatever_stands_in_a_name_or_block_the_mail_stays_a_mail(product_id: int, name: str, item: str) -> None:
    register({1: {"asked": [{"title": item}]}})
    letter = letters(Renderer(notice(product_id), current_settings()), due(name=name))[0]
    mail = raw_mail.read(letter.message)
    assert len(mail.names) == 13
    shown = mime.one_line(name).encode("utf-8", "replace").decode()
    assert (f"Hello {shown}," in mail.text) == bool(shown)
    assert mime.line_feeds(item).strip() in mail.text
    assert letter.message.count(b"@example.org>") + letter.message.count(b" person1@example.org\r\n") >= 1


def test_text_of_staff_is_markdown_and_never_a_template() -> None:
    text = "{{ 7*7 }} {% raw %} {{ recipient_name }} **bold** <script>alert(1)</script>"
    mail = read(Renderer(notice(title="{{ 7*7 }}: {% x %}", text=text), current_settings()), due())
    assert mail["Subject"] == "{{ 7*7 }}: {% x %}: out"
    for part in (mail.text, mail.html):
        assert "{{ 7*7 }} {% raw %} {{ recipient_name }}" in part
    assert "<strong>bold</strong>" in mail.html
    assert "<script" not in mail.html


@pytest.mark.parametrize("title", ["Größe\r\nBcc: all@example.org", "a\x00b", "x" * 300, "ä" * 300, "=?utf-8?q?Boss?=", "😀" * 60])
def test_a_subject_is_one_header_whatever_it_holds(title: str) -> None:
    mail = read(Renderer(notice(title=title), current_settings()), due())
    assert raw_mail.plain_words(mail["Subject"]) == mime.one_line(title) + ": out"
    assert "Bcc" not in mail.names


@pytest.mark.parametrize(
    ("template", "text", "message"),
    [
        ("subject.txt", None, "The template notices/blocks/subject.txt is missing."),
        ("body.html", None, "The template notices/blocks/body.html is missing."),
        ("asked.html", None, "The template notices/blocks/asked.html is missing."),
        ("body.txt", "{{ 1 / 0 }}", "The template notices/blocks/body.txt fails: ZeroDivisionError: division by zero"),
        ("body.txt", "{% else %}", "The template notices/blocks/body.txt cannot be read: Encountered unknown tag 'else'. (line 1)"),
        ("body.txt", "{{ nothing }}", "The template notices/blocks/body.txt fails: UndefinedError: 'nothing' is undefined"),
        ("body.txt", "{{ recipient_name|upper }}", "The template notices/blocks/body.txt changes something that differs per person."),
        ("body.txt", "{{ 1 if greeting }}", "The template notices/blocks/body.txt asks for something that differs per person."),
        ("body.txt", '{% extends "nowhere.txt" %}', "The template nowhere.txt is missing."),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_rendered_says_so_to_staff(templates: dict[str, str], template: str, text: str | None, message: str) -> None:
    if text is None:
        del templates[f"notices/blocks/{template}"]
    else:
        templates[f"notices/blocks/{template}"] = text
    with pytest.raises(Unrenderable) as raised:
        Renderer(notice(), current_settings())
    assert str(raised.value) == message


def test_what_a_notice_is_about_may_be_gone() -> None:
    def shared(notice: Notice) -> dict[str, Any]:
        raise LookupError("the release of notice 7 is gone\n" + "x" * 400)

    register({}, shared=shared)
    with pytest.raises(
        Unrenderable, match=r"^What this mail is about cannot be read: LookupError: the release of notice 7 is gone x+…$"
    ) as raised:
        Renderer(notice(), current_settings())
    assert len(str(raised.value)) == 300


def test_a_kind_that_is_no_longer_there_and_slots_that_fail_stop_the_notice() -> None:
    with pytest.raises(Unrenderable, match="No part of the portal sends mail of the kind “gone” any more"):
        Renderer(notice(kind="gone"), current_settings())
    register({}, slots=lambda notice, people, now: {"": 0}["0"])
    with pytest.raises(Unrenderable, match="What differs per person cannot be read: KeyError: '0'"):
        Renderer(notice(), current_settings()).letters([due()], NOW)


@pytest.mark.parametrize("asked", ["shared", "slots"])
def test_a_database_that_does_not_answer_is_no_fault_of_the_text(asked: str) -> None:
    def busy(*_: object) -> Any:
        raise OperationalError("SELECT 1", {}, Exception("database is locked"))

    register({}, **{asked: busy})
    with pytest.raises(OperationalError):
        Renderer(notice(), current_settings()).letters([due()], NOW)


def test_what_fails_for_one_person_of_a_personal_kind_is_that_persons_trouble(caplog: pytest.LogCaptureFixture) -> None:
    def personal(notice: Notice, person: Due, now: datetime) -> dict[str, Any]:
        if person.id == 1:
            raise LookupError("gone")
        return {"text": "yours", "asked": []}

    register({}, personal=personal, slots=kinds.no_slots)
    renderer = Renderer(notice(), current_settings())
    with caplog.at_level(logging.CRITICAL):
        failed, made = renderer.letters([due(1), due(2)], NOW)
    assert failed == Unrendered(1, rendering.FAILED_FOR_ONE, final=False)
    assert isinstance(made, Letter)
    assert renderer.compiled is None


def test_staff_see_the_exact_mail_that_went_out(cast: Cast, enqueue: Enqueue, product_id: int) -> None:
    notice_id = enqueue(cast.alice, cast.bob, kind=BLOCKS, topic=Topic.POINT, product_id=product_id)
    delivery = delivery_to(notice_id, cast.alice)
    register({delivery.id: {"asked": [{"title": "A"}]}})
    at = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
    renderer = Renderer(delivery.notice, current_settings())
    sent = letters(renderer, Due(delivery.id, delivery.user_id, delivery.address, delivery.name, at))[0].message
    with transaction():
        delivery.attempted_at = at
        delivery.notice.compiled = renderer.compiled
        delivery.notice.context = {**delivery.notice.context, "text": "Corrected since."}
    shown, got = (raw_mail.read(raw) for raw in (rendering.as_sent(delivery_to(notice_id, cast.alice)), sent))
    of_the_person = re.compile(r"https?://\S+/notices/(?:unsubscribe|preferences)/[\w.-]+")
    assert shown.text == of_the_person.sub(rendering.REMOVED, got.text)
    assert shown.html == of_the_person.sub(rendering.INERT, got.html)
    assert shown["Message-ID"] == got["Message-ID"]


def test_staff_do_not_see_links_that_sign_somebody_in(cast: Cast, enqueue: Enqueue) -> None:
    register({}, personal=lambda notice, person, now: {"text": "https://portal.example.org/secret-token", "title": "Yours"})
    notice_id = enqueue(cast.alice, kind=BLOCKS)
    raw = rendering.as_sent(delivery_to(notice_id, cast.alice))
    mail = raw_mail.read(raw)
    assert mail["Subject"] == "Yours: out"
    assert rendering.REMOVED in mail.text
    assert rendering.REMOVED in mail.html
    assert b"secret-token" not in raw


def test_a_delivery_with_an_address_that_takes_no_mail_has_no_mail_to_show(cast: Cast, enqueue: Enqueue) -> None:
    notice_id = enqueue(cast.alice, kind=BLOCKS)
    with transaction():
        delivery_to(notice_id, cast.alice).address = "a,b@example.org"
    with pytest.raises(Unrenderable, match="There is no mail: not an address that mail can go to"):
        rendering.as_sent(delivery_to(notice_id, "a,b@example.org"))


def test_a_renderer_needs_no_connection_once_it_is_made(cast: Cast, enqueue: Enqueue, product_id: int) -> None:
    notice_id = enqueue(cast.alice, kind=BLOCKS, topic=Topic.POINT, product_id=product_id)
    user_id = db.session.scalars(sa.select(User.id).where(User.email == cast.alice)).one()
    renderer = Renderer(db.session.get_one(Notice, notice_id), current_settings())
    db.session.remove()
    register({5: {"asked": [{"title": "A"}]}})
    assert raw_mail.read(letters(renderer, Due(5, user_id, cast.alice, "", NOW))[0].message)["Subject"] == "News: out"
    assert not db.session().in_transaction()
