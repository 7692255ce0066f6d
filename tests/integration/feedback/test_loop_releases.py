"""What releases do to the items linked to them, who is asked for a verdict, and what is taken back."""

import threading
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contacts
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import announcements, asking, followers, links, merging, verdicts, votes
from portal.feedback.loop_models import Answer, Link
from portal.feedback.models import Item, Status, StatusChange, Visibility
from portal.notices import subscriptions
from portal.notices.models import Topic
from portal.releases import drafts, scheduling
from portal.releases.models import Channel, Kind, Release
from tests.board import answer, contract, person, release, suspended, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.loop import deliver, draft, give, link, publish, send_due, skipped, standing, withdraw
from tests.together import together

pytestmark = pytest.mark.usefixtures("app_context")

HOUR = timedelta(hours=1)


@pytest.fixture
def item_id(cast: Cast) -> int:
    """An idea of carol's for which alice's contract votes."""
    written = write(cast.carol, "Pause a macro")
    vote(cast.alice, written)
    return written


def merge(item_id: int, target_id: int) -> None:
    with transaction():
        revisions = db.session.get_one(Item, item_id).revision, db.session.get_one(Item, target_id).revision
        merging.merge(item_id, target_id, revisions=revisions, actor=person("petra@vendor.example.org"), now=NOW)


def test_a_link_to_a_beta_that_is_out_moves_the_item_and_asks_all_who_asked_for_it(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    assert link(item_id, beta)
    assert not link(item_id, beta), "pressed twice"
    assert standing(item_id) == (Status.IN_BETA, "15.4b1")
    mails = deliver()
    assert {(mail.kind, mail.to) for mail in mails} == {(asking.VERDICT, one) for one in (cast.alice, cast.bob, cast.carol)}
    assert {mail.subject for mail in mails} == {"Does Macro Studio 15.4b1 solve it? Pause a macro"}
    assert "http://127.0.0.1:8000/beta/macro-studio/15.4b1/#verdict" in mails[0].text
    assert 'href="http://127.0.0.1:8000/beta/macro-studio/15.4b1/#verdict"' in mails[0].html
    assert "unsubscribe" in mails[0].text
    assert send_due(NOW + HOUR) == 0, "the status stood in that mail"


def test_a_follower_who_did_not_ask_for_it_is_told_of_the_status(cast: Cast) -> None:
    item_id = write(cast.alice)
    with transaction():
        followers.choose(viewer(cast.carol), item_id, wanted=True, now=NOW)
    link(item_id, release("15.4b1"))
    told = {mail.to: mail.subject for mail in deliver()}
    assert told[cast.carol] == "An idea you follow is in beta 15.4b1: Pause a macro"
    assert told[cast.alice] == told[cast.bob] == "Does Macro Studio 15.4b1 solve it? Pause a macro"


def test_setting_the_status_to_a_beta_links_and_asks_just_the_same(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    answer(item_id, Status.IN_BETA, release_id=beta)
    assert [one.id for one in links.of_item(db.session.get_one(Item, item_id))] == [beta]
    assert {mail.kind for mail in deliver()} == {asking.VERDICT}


def test_at_the_second_of_sending_only_those_are_asked_for_whom_it_still_makes_sense(cast: Cast) -> None:
    items = [write(cast.carol, title) for title in ("Left", "Turned away", "Answered", "Unlinked", "Withdrawn", "Expired")]
    left, away, answered, unlinked, *_ = items
    betas = [release(f"15.4b{number}") for number in range(1, 7)]
    for item, beta in zip(items, betas, strict=True):
        link(item, beta)
    with transaction():
        votes.withdraw(viewer(cast.carol), left, now=NOW)
        db.session.execute(sa.update(Item).where(Item.id == left).values(author_id=person(cast.alice).id))
        followers.choose(viewer(cast.carol), away, wanted=False, now=NOW)
        links.unlink(unlinked, betas[3], actor=person(cast.petra), now=NOW)
        db.session.get_one(Release, betas[5]).expires_on = date(2026, 11, 23)
    give(cast.carol, answered, betas[2])
    withdraw(betas[4])
    assert [mail for mail in deliver() if mail.kind == asking.VERDICT] == []
    assert skipped()[:6] == [asking.NOTHING_ASKED] * 4 + [asking.NOT_OUT, asking.EXPIRED]


def test_the_lapsed_and_those_who_left_are_not_asked(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    with suspended(cast.contract):
        link(item_id, beta)
        assert [mail.to for mail in deliver()] == [cast.carol]
    later = write(cast.alice, "Zoom")
    link(later, beta)
    with transaction():
        contacts.release_contact(contacts.live_contacts(contract(cast.contract).id)[0], actor=None, now=NOW)
    assert [mail.to for mail in deliver() if mail.kind == asking.VERDICT] == [cast.bob]
    assert skipped()[-1] == asking.NOT_ENTITLED


def test_publishing_a_stable_release_ships_what_is_linked(cast: Cast, item_id: int) -> None:
    stable = draft("15.4", Channel.STABLE)
    link(item_id, stable)
    assert standing(item_id) == (Status.UNDER_REVIEW, ""), "a draft says nothing to anybody"
    assert deliver() == []
    publish(stable)
    assert standing(item_id) == (Status.SHIPPED, "15.4")


def test_only_who_does_not_get_the_notice_is_mailed_that_it_shipped(cast: Cast, item_id: int) -> None:
    """A point release goes to the contacts, who are told in it; 15.4 to those who asked for minor releases: nobody here."""
    point, minor = draft("15.3.1", Channel.STABLE), draft("15.4", Channel.STABLE)
    other = write(cast.alice, "Zoom")
    with transaction():
        db.session.get_one(Release, point).kind = Kind.POINT
    link(item_id, point)
    link(other, minor)
    publish(point)
    mails = deliver()
    assert {(mail.kind, mail.to) for mail in mails} == {("release", one) for one in (cast.alice, cast.bob, cast.carol)}
    assert {mail.subject for mail in mails} == {"Macro Studio 15.3.1: one thing you asked for is in it"}
    publish(minor)
    assert [(mail.kind, mail.to, mail.subject) for mail in deliver()] == [
        ("feedback_update", cast.alice, "Your idea shipped in 15.4: Zoom")
    ]


def test_who_votes_between_the_publishing_and_the_mail_is_told_what_happened(cast: Cast) -> None:
    item_id, stable = write(cast.alice), draft("15.3.1", Channel.STABLE)
    link(item_id, stable)
    with transaction():
        db.session.get_one(Release, stable).kind = Kind.POINT
        followers.choose(viewer(cast.carol), item_id, wanted=True, now=NOW)
    publish(stable)
    vote(cast.carol, item_id, now=NOW + timedelta(seconds=1))
    (told,) = [mail for mail in deliver(NOW + timedelta(seconds=2)) if (mail.kind, mail.to) == (announcements.UPDATE, cast.carol)]
    assert told.subject == "An idea you follow shipped in 15.3.1: Pause a macro"


def test_publishing_a_beta_asks_in_its_notice_and_those_who_do_not_get_that_by_a_mail(cast: Cast, item_id: int) -> None:
    beta = draft("15.4b1")
    link(item_id, beta)
    with transaction():
        product_id = contract(cast.contract).product_id
        subscriptions.choose(person(cast.bob).id, product_id, Topic.BETA, wanted=False, now=NOW)
    publish(beta)
    assert standing(item_id) == (Status.IN_BETA, "15.4b1")
    mails = {mail.to: mail for mail in deliver()}
    assert {to: mail.kind for to, mail in mails.items()} == {cast.alice: "release", cast.carol: "release", cast.bob: asking.VERDICT}
    notice = mails[cast.alice]
    assert notice.subject == "Macro Studio 15.4b1: one thing you asked for is in it"
    assert "http://127.0.0.1:8000/beta/macro-studio/15.4b1/#verdict" in notice.text
    assert 'href="http://127.0.0.1:8000/beta/macro-studio/15.4b1/#verdict"' in notice.html


def test_a_release_that_publishes_itself_takes_its_items_along(cast: Cast, item_id: int) -> None:
    beta, at = draft("15.4b1"), NOW + HOUR
    link(item_id, beta)
    with transaction():
        scheduling.schedule(beta, at, actor=person(cast.paula), now=NOW)
    with transaction():
        scheduling.publish_if_due(beta, at)
    assert standing(item_id) == (Status.IN_BETA, "15.4b1")
    assert db.session.scalars(sa.select(StatusChange)).one().by_id is None


def test_what_is_declined_or_shipped_already_is_not_moved_by_a_release(cast: Cast, item_id: int) -> None:
    first, second, beta = draft("15.4", Channel.STABLE), draft("15.5", Channel.STABLE), draft("15.5b1")
    declined = write(cast.alice, "Zoom")
    for one in (first, second, beta):
        link(item_id, one)
    link(declined, first)
    answer(declined, Status.DECLINED, reason="No.")
    publish(first)
    publish(beta)
    publish(second)
    assert standing(item_id) == (Status.SHIPPED, "15.4")
    assert standing(declined) == (Status.DECLINED, "")
    with pytest.raises(Conflict):
        link(declined, second)


def test_withdrawing_a_stable_release_puts_its_items_back_into_the_beta(cast: Cast, item_id: int) -> None:
    beta, stable = release("15.4b1"), draft("15.4", Channel.STABLE)
    link(item_id, beta)
    link(item_id, stable)
    publish(stable)
    deliver()
    withdraw(stable)
    assert standing(item_id) == (Status.IN_BETA, "15.4b1")
    reasons = db.session.scalars(sa.select(StatusChange.reason).order_by(StatusChange.id)).all()
    assert reasons == ["", "", "15.4, in which it shipped, was withdrawn."]
    send_due(NOW + HOUR)
    assert {mail.subject.partition(":")[0] for mail in deliver(NOW + HOUR)} == {
        "An idea you follow is in beta 15.4b1",
        "Your idea is in beta 15.4b1",
    }


def test_withdrawing_a_beta_puts_its_items_back_to_what_was_said_before(cast: Cast, item_id: int) -> None:
    beta, other = release("15.4b1"), write(cast.alice, "Zoom")
    answer(item_id, Status.PLANNED, version="15.4", reason="Many asked.")
    link(item_id, beta)
    link(other, beta)
    deliver()
    withdraw(beta)
    assert standing(item_id) == (Status.PLANNED, "15.4")
    assert standing(other) == (Status.PLANNED, "")
    with suspended(cast.other_contract):
        send_due(NOW + HOUR)
        assert cast.carol not in {mail.to for mail in deliver(NOW + HOUR)}, "that a beta was withdrawn is about a beta"
    with pytest.raises(Invalid):
        link(item_id, beta)


def test_taking_a_link_back_takes_the_status_back_that_it_gave(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    link(item_id, beta)
    with transaction():
        links.unlink(item_id, beta, actor=person(cast.petra), now=NOW)
    assert standing(item_id) == (Status.PLANNED, "")
    assert links.of_item(db.session.get_one(Item, item_id)) == []
    deliver()
    assert link(item_id, beta)
    assert [mail for mail in deliver() if mail.kind == asking.VERDICT] == [], "nobody is asked twice"
    with transaction(), pytest.raises(NotFound):
        links.unlink(item_id, 4_000, actor=person(cast.petra), now=NOW)


def test_a_discarded_draft_leaves_no_links(cast: Cast, item_id: int) -> None:
    beta = draft("15.4b1")
    link(item_id, beta)
    with transaction():
        drafts.discard(beta, actor=person(cast.paula), now=NOW)
    assert db.session.scalars(sa.select(Link)).all() == []


def test_readers_see_what_is_out_and_the_lapsed_no_beta(cast: Cast, item_id: int) -> None:
    beta, stable, planned = release("15.4b1"), release("15.3", Channel.STABLE), draft("15.5", Channel.STABLE)
    for one in (stable, beta, planned):
        link(item_id, one)
    item = db.session.get_one(Item, item_id)
    assert [one.version for one in links.of_item(item)] == ["15.5", "15.4b1", "15.3"]
    assert [one.version for one in links.of_item(item, viewer(cast.alice))] == ["15.4b1", "15.3"]
    with suspended(cast.contract):
        assert [one.version for one in links.of_item(item, viewer(cast.alice))] == ["15.3"]
    assert planned not in [one.id for one in links.releases_to_link(item)]


def test_a_release_of_another_product_is_refused(cast: Cast, item_id: int) -> None:
    with pytest.raises(Invalid):
        link(item_id, release("8.1b1", slug=cast.other_product))
    with pytest.raises(NotFound):
        link(404, release("15.4b1"))


def test_what_is_linked_while_the_release_is_published_ships_too(app: Flask, cast: Cast) -> None:
    stable = draft("15.4", Channel.STABLE)
    items = [write(cast.carol, f"Idea {number}") for number in range(6)]
    link(items[0], stable)
    start, failures = threading.Barrier(7), []

    def press(number: int) -> None:
        with app.app_context():
            try:
                start.wait(10)
                if number:
                    link(items[number - 1], stable)
                else:
                    publish(stable)
            except Exception as error:
                failures.append(error)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=press, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert [standing(item_id) for item_id in items] == [(Status.SHIPPED, "15.4")] * 6


def test_what_is_merged_or_unlinked_while_the_release_is_published_is_whole(app: Flask, cast: Cast) -> None:
    """The item that stands afterwards has shipped; a link that was taken back in time shipped nothing."""
    stable = draft("15.4", Channel.STABLE)
    linked, target, other = write(cast.carol, "Linked"), write(cast.alice, "Target"), write(cast.alice, "Other")
    link(linked, stable)
    link(other, stable)

    def unlink() -> None:
        with transaction():
            links.unlink(other, stable, actor=person(cast.petra), now=NOW)

    def merge_patiently() -> None:
        for _ in range(20):  # publishing may have changed one of the two in between
            try:
                return merge(linked, target)
            except Conflict:
                db.session.rollback()
        raise AssertionError("never merged")

    assert together(app, [lambda: publish(stable), merge_patiently, unlink]) == []
    shipped = {item_id for item_id in (linked, target) if standing(item_id)[0] is Status.SHIPPED}
    assert len(shipped) == 1
    assert standing(other)[0] is not Status.SHIPPED


def test_a_beta_that_came_with_a_merge_takes_the_item_when_the_release_is_withdrawn(cast: Cast, item_id: int) -> None:
    beta, stable, target = release("15.4b1"), release("15.4", Channel.STABLE), write(cast.alice, "Halt a macro")
    link(item_id, beta)
    merge(item_id, target)
    link(target, stable)
    assert standing(target) == (Status.SHIPPED, "15.4")
    withdraw(stable)
    assert standing(target) == (Status.IN_BETA, "15.4b1")


def test_a_status_that_came_with_a_merge_goes_with_the_item_again(cast: Cast, item_id: int) -> None:
    stable, target = draft("15.4", Channel.STABLE), write(cast.alice, "Halt a macro")
    answer(target, Status.PLANNED, version="15.4")
    link(item_id, stable)
    merge(item_id, target)
    publish(stable)
    assert standing(target) == (Status.SHIPPED, "15.4")
    part(cast, item_id)
    assert (standing(item_id), standing(target)) == ((Status.SHIPPED, "15.4"), (Status.PLANNED, "15.4"))


def test_what_is_told_apart_while_the_release_is_withdrawn_stands_in_it_no_more(app: Flask, cast: Cast, item_id: int) -> None:
    stable, target = draft("15.4", Channel.STABLE), write(cast.alice, "Halt a macro")
    link(item_id, stable)
    merge(item_id, target)
    publish(stable)
    assert together(app, [lambda: withdraw(stable), lambda: part(cast, item_id)]) == []
    assert Status.SHIPPED not in {standing(item_id)[0], standing(target)[0]}


def test_a_status_that_both_have_links_for_stays_with_the_target(cast: Cast, item_id: int) -> None:
    beta, target = release("15.4b1"), write(cast.alice, "Halt a macro")
    link(item_id, beta)
    link(target, beta)
    merge(item_id, target)
    part(cast, item_id)
    assert standing(item_id) == standing(target) == (Status.IN_BETA, "15.4b1")


def part(cast: Cast, item_id: int) -> None:
    with transaction():
        merging.unmerge(item_id, actor=person(cast.petra), now=NOW)


# Verdicts ------------------------------------------------------------------------------------------------------------------------


def tally(item_id: int, release_id: int) -> tuple[int, int, int]:
    counts = verdicts.of_release(release_id, [item_id])[item_id].counts
    return counts[Answer.YES], counts[Answer.PARTLY], counts[Answer.NO]


def test_contracts_are_counted_once_with_their_latest_verdict_and_each_person_has_one(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    link(item_id, beta)
    give(cast.alice, item_id, beta, Answer.NO, "It crashes.")
    give(cast.carol, item_id, beta, Answer.YES)
    assert tally(item_id, beta) == (1, 0, 1)
    give(cast.bob, item_id, beta, Answer.PARTLY, now=NOW + HOUR)
    assert tally(item_id, beta) == (1, 1, 0)
    give(cast.alice, item_id, beta, Answer.YES, "It works now.", now=NOW + 2 * HOUR)
    assert tally(item_id, beta) == (2, 0, 0)
    given = verdicts.of_item(item_id, [beta])[beta].verdicts
    assert [(one.user.email, one.words) for one in given] == [(cast.alice, "It works now."), (cast.bob, ""), (cast.carol, "")]


def test_a_reader_is_shown_what_they_can_answer_with_what_their_contract_said(cast: Cast, item_id: int) -> None:
    beta = release("15.4b1")
    private = write(cast.carol, "Zoom", visibility=Visibility.PRIVATE)
    for one in (item_id, private):
        link(one, beta)
    give(cast.bob, item_id, beta, Answer.NO)
    found = db.session.get_one(Release, beta)
    (asked,) = verdicts.to_answer(viewer(cast.alice), found, NOW)
    assert (asked.item.id, asked.mine) == (item_id, None)
    assert asked.colleague is not None
    assert asked.colleague.answer is Answer.NO
    assert len(verdicts.to_answer(viewer(cast.carol), found, NOW)) == 2
    with suspended(cast.contract):
        assert verdicts.to_answer(viewer(cast.alice), found, NOW) == []
    assert verdicts.to_answer(viewer(cast.petra), found, NOW) == []


def test_no_verdict_without_link_contract_or_running_beta(cast: Cast, item_id: int) -> None:
    beta, other = release("15.4b1"), release("15.4b2")
    link(item_id, beta)
    private = write(cast.carol, "Zoom", visibility=Visibility.PRIVATE)
    link(private, beta)
    for email, item, of in ((cast.alice, item_id, other), (cast.alice, private, beta), (cast.frank, item_id, beta)):
        with pytest.raises(NotFound):
            give(email, item, of)
    with suspended(cast.contract), pytest.raises(Conflict):
        give(cast.alice, item_id, beta)
    with pytest.raises(Invalid):
        give(cast.alice, item_id, beta, words="x" * 5_000)
    withdraw(beta)
    with pytest.raises(Conflict):
        give(cast.alice, item_id, beta)


def test_links_and_verdicts_come_along_with_a_merge_and_go_with_the_item_again(cast: Cast, item_id: int) -> None:
    beta, target = release("15.4b1"), write(cast.alice, "Halt a macro")
    link(item_id, beta)
    give(cast.carol, item_id, beta, Answer.NO)
    merge(item_id, target)
    assert [one.id for one in links.of_item(db.session.get_one(Item, target))] == [beta]
    assert [row.item.id for row in links.of_release(db.session.get_one(Release, beta), NOW)] == [target]
    give(cast.alice, target, beta, Answer.YES)
    assert tally(target, beta) == (1, 0, 1)
    with transaction():
        merging.unmerge(item_id, actor=person(cast.petra), now=NOW)
    assert (tally(target, beta), tally(item_id, beta)) == ((0, 0, 0), (1, 0, 1))


def test_a_release_ships_the_item_that_stands_for_what_was_linked(cast: Cast, item_id: int) -> None:
    stable, target = draft("15.4", Channel.STABLE), write(cast.alice, "Halt a macro")
    link(item_id, stable)
    merge(item_id, target)
    publish(stable)
    assert standing(target) == (Status.SHIPPED, "15.4")
    assert standing(item_id)[0] is not Status.SHIPPED
