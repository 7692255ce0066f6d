"""Who is mailed about feedback, with which words, and who is not after all when the mail goes out."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.account import contacts
from portal.account.models import User
from portal.config import current_settings
from portal.database import db, transaction
from portal.feedback import announcements, triage
from portal.feedback.models import Status, Visibility
from portal.notices import rendering
from portal.notices.models import Delivery, Notice, Topic
from tests.board import answer, comment, contract, person, release, suspended, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.loop import deliver

pytestmark = pytest.mark.usefixtures("app_context")


def mails() -> list[tuple[str, str]]:
    """The outbox: (subject, address), in order."""
    rows = db.session.execute(sa.select(Notice, Delivery).join(Delivery, Delivery.notice_id == Notice.id).order_by(Delivery.id))
    found = []
    for notice, delivery in rows:
        texts = rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)
        assert f"/feedback/{notice.context['item_id']}/" in texts.text
        assert f"/feedback/{notice.context['item_id']}/" in texts.html
        found.append((texts.subject, delivery.address))
    return found


def skipped() -> list[str]:
    """The reasons for which the deliveries now waiting would be skipped."""
    reasons: list[str] = []
    for notice in db.session.scalars(sa.select(Notice).where(Notice.kind.startswith("feedback")).order_by(Notice.id)):
        deliveries = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id))
        reasons += announcements.check(notice, [rendering.due_of(one) for one in deliveries], NOW).values()
    return reasons


def test_the_author_gets_one_mail_for_a_save_that_changes_status_and_response(cast: Cast) -> None:
    item_id = write(cast.alice, "Pause a macro")
    answer(item_id, Status.PLANNED, version="15.4", response="We will do it.")
    assert mails() == [("Your idea is planned for 15.4: Pause a macro", cast.alice)]
    notice = db.session.scalars(sa.select(Notice)).one()
    assert (notice.topic, notice.product_id) == (Topic.FEEDBACK, contract(cast.contract).product_id)
    later = NOW + timedelta(hours=1)
    answer(item_id, Status.PLANNED, version="15.4", response="We have begun.", now=later)
    answer(item_id, Status.PLANNED, version="15.4", response="", now=later + timedelta(hours=1))  # taken back: nothing to read
    assert mails()[1:] == [("We answered your idea: Pause a macro", cast.alice)]


@pytest.mark.parametrize(
    ("status", "extra", "subject"),
    [
        (Status.IN_BETA, {"version": "15.3b2"}, "Your idea is in beta 15.3b2: Pause a macro"),
        (Status.SHIPPED, {"version": "15.4"}, "Your idea shipped in 15.4: Pause a macro"),
        (Status.DECLINED, {"reason": "No."}, "Your idea is not planned: Pause a macro"),
        (Status.PLANNED, {}, "Your idea is planned: Pause a macro"),
    ],
)
def test_the_subject_says_what_became_of_it(cast: Cast, status: Status, extra: dict[str, str], subject: str) -> None:
    answer(write(cast.alice), status, **extra)
    assert mails() == [(subject, cast.alice)]


def test_the_author_is_mailed_about_comments_of_others_without_their_names(cast: Cast) -> None:
    item_id = write(cast.alice)
    comment(cast.alice, item_id, "One more thing")
    assert mails() == []
    comment(cast.carol, item_id, "See https://evil.example.org\r\nBcc: x@example.org")
    later = NOW + timedelta(hours=1)
    with transaction():
        triage.add_note(item_id, "Which version?", staff_only=False, actor=person(cast.petra), now=later)
        triage.add_note(item_id, "Odd people", staff_only=True, actor=person(cast.petra), now=later)
    first, second = deliver(later)
    assert first.subject == second.subject == "New comment on your idea: Pause a macro"
    assert "A contact at Example Foods wrote:" in first.text
    assert 'href="https://evil' not in first.html
    assert "The product team wrote:\n\nWhich version?" in second.text
    assert "Odd people" not in second.text


def test_the_entitled_author_gets_everything(cast: Cast) -> None:
    item_id = write(cast.alice, visibility=Visibility.PRIVATE)
    answer(item_id, Status.IN_BETA, version="15.3b2")
    comment(cast.bob, item_id, "Works")
    assert skipped() == []


def test_a_lapsed_author_gets_no_mail_about_a_beta_but_hears_what_is_stable(cast: Cast) -> None:
    release("15.3b2")
    in_beta, about_beta, shipped = write(cast.alice, "A"), write(cast.alice, "B", version="15.3b2"), write(cast.alice, "C")
    answer(in_beta, Status.IN_BETA, version="15.3b2")
    answer(about_beta, Status.PLANNED)
    answer(shipped, Status.SHIPPED, version="15.4")
    with suspended(cast.contract):
        assert skipped() == [announcements.NOT_ENTITLED, announcements.NOT_VISIBLE]


def test_an_author_who_left_the_seat_or_whose_account_is_closed_gets_nothing(cast: Cast) -> None:
    answer(write(cast.alice), Status.PLANNED)
    answer(write(cast.carol), Status.PLANNED)
    with transaction():
        db.session.execute(sa.update(User).where(User.email == cast.alice).values(active=False))
        contacts.release_contact(contacts.live_contacts(contract(cast.other_contract).id)[0], actor=None, now=NOW)
    assert skipped() == [announcements.NOT_VISIBLE] * 2
