"""What the mails about releases say."""

from typing import Any

import pytest
import sqlalchemy as sa

from portal.config import current_settings
from portal.database import db, transaction
from portal.notices import rendering
from portal.notices.models import Delivery, Notice
from portal.products.models import StableAccess
from portal.releases import announcements, downloads, drafts, publishing
from portal.releases.models import Channel, Kind
from portal.web.ranges import Span
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, mailed, make_draft, make_published, person, publish

pytestmark = pytest.mark.usefixtures("app_context")

WORDS: dict[str, Any] = {
    "summary": "Pause macros that hold a connection",
    "notes": "## New\n\n* Compare two versions. See [the guide](/help/compare).\n* <script>alert(1)</script>",
    "known_issues": "* Comments are dropped.",
    "what_to_test": "1. Pause and resume a macro.",
}


def rendered(cast: Cast, release_id: int) -> rendering.Preview:
    return announcements.preview(get(release_id), recipient=person(cast.alice), now=NOW)


def test_a_beta_mail_names_the_version_and_what_to_test_and_links_to_the_gate(cast: Cast) -> None:
    mail = rendered(cast, make_draft(**WORDS))
    assert mail.subject == "Macro Studio 15.3b2: beta ready to test"
    for part in (mail.text, mail.html):
        assert "Pause and resume a macro." in part
        assert "http://127.0.0.1:8000/beta/macro-studio/15.3b2/" in part
        assert "macro-studio-15.3b2.msi" in part
        assert "Compare two versions" not in part
        assert "None" not in part


def test_a_stable_mail_has_the_notes_and_links_to_the_release(cast: Cast) -> None:
    release_id = make_draft(version="15.2.1", channel=Channel.STABLE, **WORDS)
    mail = rendered(cast, release_id)
    assert mail.subject == "Macro Studio 15.2.1: point release is out"
    for part in (mail.text, mail.html):
        assert "Compare two versions" in part
        assert "Comments are dropped." in part
        assert "http://127.0.0.1:8000/releases/macro-studio/15.2.1/" in part
        assert "http://127.0.0.1:8000/help/compare" in part
        assert "Pause and resume" not in part
    assert "<script>" not in mail.html


def test_a_stable_mail_names_what_it_replaces_and_asks_to_sign_in_only_where_one_must(cast: Cast) -> None:
    make_published(version="15.2.0", channel=Channel.STABLE)
    release_id = make_draft(version="15.2.1", channel=Channel.STABLE)
    mail = rendered(cast, release_id)
    for part in (mail.text, mail.html):
        assert "It replaces 15.2.0." in part
        assert "You sign in first." in part
    with transaction():
        get(release_id).product.stable_access = StableAccess.PUBLIC
    open_mail = rendered(cast, release_id)
    for part in (open_mail.text, open_mail.html):
        assert "You sign in first." not in part


def test_a_release_with_nothing_written_still_makes_a_proper_mail(cast: Cast) -> None:
    mail = rendered(cast, make_draft(version="16.0", channel=Channel.STABLE, kind=Kind.MAJOR))
    assert mail.subject == "Macro Studio 16.0: major release is out"
    assert "\n\n\n\n" not in mail.text
    assert "MACRO STUDIO 16.0 IS OUT" in mail.text


def test_lines_of_the_plain_text_are_short(cast: Cast) -> None:
    mail = rendered(cast, make_draft(**WORDS))
    assert [line for line in mail.text.splitlines() if len(line) > 78 and "http" not in line] == []


def test_what_is_corrected_before_the_mail_is_sent_stands_in_it(cast: Cast) -> None:
    release_id = make_published(version="15.2.1", channel=Channel.STABLE, notes="Frist")
    with transaction():
        drafts.correct_words(release_id, revision=get(release_id).revision, words=drafts.Words(notes="First"), actor=None, now=NOW)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release")).one()
    assert announcements.describe(notice)["notes"] == "First"


def test_a_test_goes_to_the_asker_alone_and_says_so(cast: Cast) -> None:
    release_id = make_draft(**WORDS)
    with transaction():
        announcements.send_test(get(release_id), actor=person(cast.paula), now=NOW)
    assert mailed() == [cast.paula]
    notice = db.session.scalars(sa.select(Notice)).one()
    delivery = db.session.scalars(sa.select(Delivery)).one()
    assert announcements.check_release(notice, [rendering.due_of(delivery)], NOW) == {}
    letter = rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    assert letter.subject == "[Test] Macro Studio 15.3b2: beta ready to test"


def test_a_test_of_a_draft_discarded_since_is_not_sent(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        announcements.send_test(get(release_id), actor=person(cast.paula), now=NOW)
    with transaction():
        drafts.discard(release_id, actor=None, now=NOW)
    notice, delivery = db.session.scalars(sa.select(Notice)).one(), db.session.scalars(sa.select(Delivery)).one()
    assert list(announcements.check_release(notice, [rendering.due_of(delivery)], NOW)) == [delivery.id]


def test_a_test_does_not_stand_in_the_way_of_publishing(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        announcements.send_test(get(release_id), actor=person(cast.paula), now=NOW)
    publish(release_id)
    assert mailed() == [cast.alice, cast.bob, cast.carol, cast.paula]


def test_a_withdrawal_tells_exactly_those_who_downloaded_it(cast: Cast) -> None:
    release_id, other_id = make_published(), make_published(version="15.3b3")
    with transaction():
        for address, release in ((cast.bob, release_id), (cast.bob, release_id), (cast.carol, other_id)):
            downloads.record(get(release).builds[0].id, person(address).id, None, Span(0, 1), NOW)
    assert announcements.count_downloaders(release_id) == 1
    with transaction():
        publishing.withdraw(release_id, "The installer removes macros.\n\nUse 15.3b3.", actor=None, now=NOW)
    assert mailed("release_withdrawn") == [cast.bob]
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release_withdrawn")).one()
    delivery = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id)).one()
    mail = rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    assert mail.subject == "Macro Studio 15.3b2 is withdrawn: stop using it"
    for part in (mail.text, mail.html):
        assert "The installer removes macros." in part
        assert "Use 15.3b3." in part


def test_a_withdrawal_can_be_quiet(cast: Cast) -> None:
    release_id = make_published()
    with transaction():
        downloads.record(get(release_id).builds[0].id, person(cast.bob).id, None, Span(0, 1), NOW)
    with transaction():
        publishing.withdraw(release_id, "Bad.", tell_downloaders=False, actor=None, now=NOW)
    assert mailed("release_withdrawn") == []
