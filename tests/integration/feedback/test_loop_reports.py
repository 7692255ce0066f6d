"""The product team's numbers, and its weekly digest."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account.models import User
from portal.database import db, transaction
from portal.feedback import digest, reports
from portal.feedback.loop_models import Answer
from portal.feedback.models import ItemKind, Severity, Status
from portal.notices.models import Notice
from portal.releases.models import Channel
from tests.board import answer, comment, contract, merge, person, product, release, suspended, unmerge, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.loop import deliver, give, link, skipped
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

ZONE = "Europe/Berlin"
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
# NOW is a Tuesday. The Monday after it, 08:00 in Berlin:
MONDAY = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)


def test_weeks_begin_on_monday_in_the_zone(cast: Cast) -> None:
    sunday_night = datetime(2026, 11, 22, 22, 59, tzinfo=UTC)
    write(cast.alice, now=sunday_night)
    write(cast.alice, kind=ItemKind.PROBLEM, severity=Severity.LOW, now=sunday_night + timedelta(minutes=1))
    write(cast.frank, slug=cast.other_product, now=NOW)
    weekly = reports.by_week(None, NOW, ZONE)
    assert len(weekly.rows) == reports.WEEKS
    assert weekly.rows[-2:] == [("2026-11-16", 1, 0, 0), ("2026-11-23", 1, 1, 0)]
    assert reports.by_week(product(), NOW, ZONE).rows[-1] == ("2026-11-23", 0, 1, 0)


def test_items_are_counted_by_the_release_they_are_about_and_the_one_that_brings_them(cast: Cast) -> None:
    beta = release("15.4b1")
    release("15.4b2")
    about = write(cast.alice, kind=ItemKind.PROBLEM, severity=Severity.HIGH, version="15.4b1")
    write(cast.alice, version="15.4b1")
    link(about, beta)
    assert reports.by_release(None).rows == [("Macro Studio", "15.4b1", 2, 1, 1)]


def test_the_first_answer_is_the_earliest_of_status_response_and_a_comment_of_staff(cast: Cast) -> None:
    first, second, third = (write(cast.alice, title, now=NOW) for title in ("A", "B", "C"))
    comment(cast.carol, first, "Me too", now=NOW + timedelta(hours=1))
    answer(first, Status.PLANNED, now=NOW + timedelta(hours=10))
    answer(second, response="Yes.", now=NOW + timedelta(hours=4))
    found = reports.first_answers(None, NOW + DAY, ZONE)
    assert (found.asked, found.answered, found.median_hours, found.most_hours) == (3, 2, 7, 9)
    assert found.table.rows[-1] == ("2026-11-23", 3, 2, 7)
    assert found.table.rows[0][-1] == "", "a week without answers has no median"
    answer(third, Status.DECLINED, reason="No.", now=NOW + timedelta(hours=1))
    assert reports.first_answers(None, NOW + DAY, ZONE).median_hours == 4


def test_what_is_open_is_counted_by_age_and_status(cast: Cast) -> None:
    ages = [write(cast.alice, now=NOW - timedelta(days=days)) for days in (1, 10, 50)]
    answer(ages[1], Status.PLANNED)
    answer(ages[2], Status.SHIPPED, version="15.4")
    rows = reports.open_by_age(product(), NOW).rows
    assert rows[:3] == [("under a week", 1, 0, 0, 1), ("1 to 4 weeks", 0, 1, 0, 1), ("1 to 3 months", 0, 0, 0, 0)]


def test_the_top_is_by_the_price_of_contracts_in_force(cast: Cast) -> None:
    small, big = write(cast.carol, "Small"), write(cast.alice, "Big")
    vote(cast.carol, big)
    rows = reports.top_by_value(None, NOW).rows
    assert [(row[0], row[3], row[4]) for row in rows] == [(big, 2, 990), (small, 1, 495)]
    with suspended(cast.other_contract):
        assert [(row[0], row[3]) for row in reports.top_by_value(None, NOW).rows] == [(big, 1)]


def test_verdicts_are_counted_by_contract_and_beta(cast: Cast) -> None:
    beta = release("15.4b1")
    release("15.4", Channel.STABLE)
    first, second = write(cast.alice, "A"), write(cast.carol, "B")
    for item_id in (first, second):
        link(item_id, beta)
        give(cast.carol, item_id, beta, Answer.PARTLY)
    give(cast.alice, first, beta, Answer.NO)
    give(cast.bob, first, beta, Answer.YES, now=NOW + DAY)
    assert reports.verdicts_by_beta(None).rows == [("Macro Studio", "15.4b1", 2, 1, 2, 0)]
    merge(first, second)
    assert reports.verdicts_by_beta(None).rows == [("Macro Studio", "15.4b1", 1, 1, 1, 0)], "one item now, and one verdict of a contract"
    unmerge(first)
    assert reports.verdicts_by_beta(None).rows == [("Macro Studio", "15.4b1", 2, 1, 2, 0)]


def test_the_number_of_statements_does_not_grow_with_the_items(app: Flask, cast: Cast) -> None:
    def count() -> int:
        with statements(app) as seen:
            reports.by_week(None, NOW, ZONE)
            reports.by_release(None)
            reports.first_answers(None, NOW, ZONE)
            reports.open_by_age(None, NOW)
            reports.top_by_value(None, NOW)
            reports.verdicts_by_beta(None)
        return len(seen)

    beta = release("15.4b1")
    link(write(cast.alice), beta)
    few = count()
    for number in range(5):
        item_id = write(cast.carol, f"Idea {number}")
        link(item_id, beta)
        give(cast.carol, item_id, beta)
    assert count() == few


# The digest ------------------------------------------------------------------------------------------------------------------------


def send(now: datetime) -> int:
    with transaction():
        return digest.send_due(now)


def test_the_digest_goes_out_on_monday_morning_once_to_the_product_team(cast: Cast) -> None:
    beta = release("15.4b1")
    item_id = write(cast.alice, "Pause <a> macro")
    vote(cast.carol, item_id)
    link(item_id, beta)
    give(cast.carol, item_id, beta, Answer.PARTLY)
    deliver()
    assert send(NOW) == 0, "a Tuesday"
    assert send(MONDAY - timedelta(minutes=1)) == 0, "too early"
    assert send(MONDAY) == 1
    assert send(MONDAY + timedelta(hours=1)) == 0
    (mail,) = deliver(MONDAY)
    assert (mail.kind, mail.to) == (digest.DIGEST, cast.petra)
    assert mail.subject == "Feedback, 23 November 2026 to 29 November 2026: 1 new idea, 2 votes, 1 verdict, 1 status changed"
    for words in ("Pause <a> macro (Idea 1, 2 contracts)", "15.4 beta 1: 1 partly", "/staff/feedback/1/", "reports/#digest"):
        assert words in " ".join(mail.text.split()), words
    assert "Pause &lt;a&gt; macro" in mail.html
    assert "is unread in the inbox" in mail.text


def test_a_week_in_which_nothing_happened_sends_none(cast: Cast) -> None:
    write(cast.alice, now=NOW - 2 * WEEK)
    assert send(MONDAY) == 0
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 0


def test_a_worker_that_was_away_makes_up_for_it_within_a_day(cast: Cast) -> None:
    write(cast.alice)
    assert send(MONDAY + timedelta(hours=25)) == 0
    assert send(MONDAY + timedelta(hours=23)) == 1


def test_who_switched_it_off_or_left_the_team_gets_none(cast: Cast) -> None:
    write(cast.alice)
    with transaction():
        digest.choose(person(cast.petra).id, wanted=False, now=NOW)
    assert not digest.is_wanted(person(cast.petra).id)
    assert send(MONDAY) == 0, "nobody is left to read it"
    with transaction():
        digest.choose(person(cast.petra).id, wanted=True, now=NOW)
    assert send(MONDAY) == 1
    with transaction():
        digest.choose(person(cast.petra).id, wanted=False, now=NOW)
    assert deliver(MONDAY) == []
    assert skipped() == [digest.SWITCHED_OFF]


def test_admins_stand_in_where_nobody_is_on_the_product_team(cast: Cast) -> None:
    write(cast.alice)
    with transaction():
        db.session.execute(sa.update(User).where(User.email == cast.petra).values(active=False))
    send(MONDAY)
    assert [mail.to for mail in deliver(MONDAY)] == [cast.ada]


def test_the_week_is_the_one_of_the_configured_zone(cast: Cast) -> None:
    """In Berlin, 23 November begins on 22 November at 23:00 UTC."""
    write(cast.alice, now=datetime(2026, 11, 22, 22, 59, tzinfo=UTC))
    assert send(MONDAY) == 0
    write(cast.alice, now=datetime(2026, 11, 22, 23, 0, tzinfo=UTC))
    assert send(MONDAY) == 1
    assert contract(cast.contract).time_zone == ZONE
