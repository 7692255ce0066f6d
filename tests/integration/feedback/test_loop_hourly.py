"""One mail per item and hour: the first news at once, the rest together when the hour is over, and to each what is for them."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account.models import User
from portal.database import db, transaction
from portal.feedback import announcements, followers
from portal.feedback.models import Status, Visibility
from portal.notices import checking, subscriptions
from portal.notices.models import Notice, Topic
from tests.board import answer, comment, contract, person, release, suspended, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.loop import deliver, send_due, skipped

pytestmark = pytest.mark.usefixtures("app_context")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_later_news_of_the_hour_comes_together_in_one_mail_and_nothing_is_lost(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED, version="15.4", reason="Many asked.", response="We will do it.")
    answer(item_id, Status.PLANNED, version="15.4", reason="Many asked.", response="We have begun.", now=NOW + 10 * MINUTE)
    comment(cast.carol, item_id, "At last", now=NOW + 20 * MINUTE)
    answer(item_id, Status.DECLINED, reason="It cannot be done.", response="We were wrong.", now=NOW + 30 * MINUTE)
    first, talk = deliver(NOW + 40 * MINUTE)
    assert (first.to, first.subject) == (cast.alice, "Your idea is planned for 15.4: Pause a macro")
    assert "We will do it." in first.text
    assert talk.subject == "New comment on your idea: Pause a macro"
    comment(cast.carol, item_id, "Why, then?", now=NOW + 45 * MINUTE)

    assert send_due(NOW + 59 * MINUTE) == 0, "the hour is not over"
    assert send_due(NOW + HOUR) == 1
    assert send_due(NOW + HOUR) == 0
    (second,) = deliver(NOW + HOUR)
    assert second.subject == "Your idea is not planned: Pause a macro"
    for text in (second.text, second.html):
        for words in ("Not planned", "It cannot be done.", "We were wrong.", "A contact at Example Foods wrote", "Why, then?", "10:30"):
            assert words in text
        assert "At last" not in text, "that went out before"
        assert "We have begun." not in text, "a response that was replaced is read on the page"
    assert send_due(NOW + 5 * HOUR) == 0
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 3


def test_a_talk_delays_no_news_and_is_mailed_once_an_hour_itself(cast: Cast) -> None:
    item_id = write(cast.alice)
    comment(cast.bob, item_id, "First")
    comment(cast.carol, item_id, "Second", now=NOW + MINUTE)
    comment(cast.bob, item_id, "Third", now=NOW + 2 * MINUTE)
    assert [mail.subject for mail in deliver(NOW + 2 * MINUTE)] == ["New comment on your idea: Pause a macro"]
    answer(item_id, Status.PLANNED, now=NOW + 3 * MINUTE)
    (news,) = deliver(NOW + 3 * MINUTE)
    assert news.subject == "Your idea is planned: Pause a macro"
    for words in ("Second", "Third"):
        assert words in news.text, "what waited came along"
    assert send_due(NOW + HOUR) == 0
    comment(cast.bob, item_id, "Fourth", now=NOW + HOUR)
    assert send_due(NOW + HOUR) == 0
    assert send_due(NOW + HOUR + 3 * MINUTE) == 1
    assert "Fourth" in deliver(NOW + HOUR + 3 * MINUTE)[0].text


def test_news_after_a_quiet_hour_goes_out_at_once(cast: Cast) -> None:
    item_id, other = write(cast.alice), write(cast.alice, "Zoom")
    answer(item_id, Status.PLANNED)
    answer(other, Status.PLANNED, now=NOW + MINUTE)
    answer(item_id, Status.SHIPPED, version="15.4", now=NOW + HOUR)
    assert [mail.subject for mail in deliver(NOW + HOUR)] == [
        "Your idea is planned: Pause a macro", "Your idea is planned: Zoom", "Your idea shipped in 15.4: Pause a macro",
    ]  # fmt: skip


def test_followers_hear_of_status_and_response_and_the_author_of_comments_too(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    answer(item_id, Status.PLANNED, response="Yes.")
    mine, theirs = deliver()
    assert (mine.to, theirs.to) == (cast.alice, cast.carol)
    assert theirs.subject == "An idea you follow is planned: Pause a macro"
    assert "OPEN THE IDEA" in theirs.text
    comment(cast.bob, item_id, "We too", now=NOW + HOUR)
    assert [mail.to for mail in deliver(NOW + HOUR)] == [cast.alice]


def test_who_unfollows_or_switches_the_topic_off_hears_no_more(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    with transaction():
        subscriptions.choose(person(cast.carol).id, contract(cast.contract).product_id, Topic.FEEDBACK, wanted=False, now=NOW)
    answer(item_id, Status.PLANNED)
    with transaction():
        followers.choose(viewer(cast.alice), item_id, wanted=False, now=NOW)
    assert deliver() == []
    assert skipped() == [announcements.NOT_FOLLOWING, checking.SWITCHED_OFF]
    answer(item_id, Status.SHIPPED, version="15.4", now=NOW + HOUR)
    assert [mail.to for mail in deliver(NOW + HOUR)] == []
    assert skipped()[2:] == [checking.SWITCHED_OFF], "alice was not even asked about"


def test_with_nobody_to_tell_there_is_no_mail_and_no_hour_to_wait(cast: Cast) -> None:
    item_id = write(cast.alice)
    with transaction():
        followers.choose(viewer(cast.alice), item_id, wanted=False, now=NOW)
    answer(item_id, Status.PLANNED)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 0
    with transaction():
        followers.choose(viewer(cast.alice), item_id, wanted=True, now=NOW)
    answer(item_id, Status.SHIPPED, version="15.4", now=NOW + MINUTE)
    (mail,) = deliver(NOW + MINUTE)
    assert mail.subject == "Your idea shipped in 15.4: Pause a macro"
    assert "Planned" not in mail.text


def test_of_a_mail_about_two_things_a_lapsed_reader_gets_the_part_they_may_see(cast: Cast) -> None:
    release("15.4b1")
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED)
    answer(item_id, Status.IN_BETA, version="15.4b1", response="Try beta 1.", now=NOW + MINUTE)
    answer(item_id, Status.PLANNED, version="16", response="Later, in 16.", now=NOW + 2 * MINUTE)
    deliver(NOW + 3 * MINUTE)
    send_due(NOW + HOUR)
    with suspended(cast.contract):
        (mail,) = deliver(NOW + HOUR)
    assert mail.subject == "Your idea is planned for 16: Pause a macro"
    assert "Later, in 16." in mail.text
    assert "15.4" not in mail.text + mail.html
    assert "beta" not in (mail.text + mail.html).lower()


def test_a_lapsed_reader_gets_no_mail_at_all_where_all_of_it_is_about_a_beta(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer(item_id, Status.IN_BETA, version="15.4b1", response="Try it.")
    with suspended(cast.contract):
        assert deliver() == []
    assert skipped() == [announcements.NOT_ENTITLED]


def test_a_follower_who_may_no_longer_read_it_gets_nothing(cast: Cast) -> None:
    item_id = write(cast.alice, visibility=Visibility.PRIVATE)
    with transaction():
        followers.start(item_id, person(cast.carol).id, now=NOW)
    answer(item_id, Status.PLANNED)
    assert [mail.to for mail in deliver()] == [cast.alice]
    assert skipped() == [announcements.NOT_VISIBLE]


def test_nobody_is_mailed_about_what_they_did_themselves(cast: Cast) -> None:
    item_id = write(cast.alice)
    comment(cast.alice, item_id, "One more thing")
    with transaction():
        db.session.execute(sa.update(User).where(User.email == cast.carol).values(active=False))
        followers.start(item_id, person(cast.petra).id, now=NOW)
    answer(item_id, Status.PLANNED)
    assert [mail.to for mail in deliver()] == [cast.alice]


def test_many_who_tell_of_one_item_at_the_same_moment_make_one_mail(app: Flask, cast: Cast) -> None:
    """Workers whose hour is over, and people who comment, all at once: the row they lock decides who mails."""
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED)
    deliver()
    answer(item_id, Status.PLANNED, version="15.4", now=NOW + MINUTE)
    later, start, failures = NOW + HOUR, threading.Barrier(8), []

    def press(number: int) -> None:
        with app.app_context():
            try:
                start.wait(10)
                if number % 2:
                    comment(cast.carol, item_id, f"Comment {number}", now=later)
                else:
                    send_due(later)
            except Exception as error:
                failures.append(error)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=press, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    db.session.rollback()
    made = db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) or 0
    assert made - 1 in (1, 2), "one of news, which took a comment along or was followed by one of comments"
    send_due(later + HOUR)
    texts = "".join(mail.text for mail in deliver(later + HOUR))
    # Alone in its mail, the status stands in the headline: "Your idea is planned for 15.4".
    said = ("lanned for 15.4", *(f"Comment {number}" for number in (1, 3, 5, 7)))
    assert [words for words in said if words.lower() not in texts.lower()] == []
