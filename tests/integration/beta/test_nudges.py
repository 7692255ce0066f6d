"""Reminding organisations that never tried a beta."""

import threading
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contracts
from portal.beta import nudges
from portal.beta.adoption import adoption_of
from portal.config import current_settings
from portal.database import db, transaction
from portal.errors import Conflict
from portal.notices import rendering, subscriptions
from portal.notices.models import Delivery, DeliveryState, Notice, Topic
from portal.products.catalog import find_product
from portal.releases import downloads, publishing
from portal.releases.models import Channel, Nudge, Release
from portal.web.ranges import Span
from tests.builds import find_contract, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")

LATER = NOW + timedelta(days=7)


@pytest.fixture
def beta(cast: Cast) -> int:
    """A beta of which both live organisations were told."""
    return publish_told("15.3b2")


def publish_told(version: str) -> int:
    release_id = publish_release(version, Channel.BETA, NOW, files={"studio.msi": version.encode()})
    with transaction() as session:
        session.execute(sa.update(Delivery).values(state=DeliveryState.SENT, settled_at=NOW, next_attempt_at=None))
    return release_id


def organization(address: str) -> int:
    found = find_user(address).organization_id
    assert found is not None
    return found


def take(release_id: int, address: str) -> None:
    with transaction() as session:
        downloads.record(session.get_one(Release, release_id).builds[0].id, find_user(address).id, None, Span(0, 1), NOW)


def nudge(release_id: int, *addresses: str, now: datetime = NOW) -> int:
    ids = {organization(address) for address in addresses}
    with transaction():
        return nudges.nudge(release_id, ids, actor=find_user("paula@vendor.example.org"), now=now)


def nudged() -> list[str]:
    rows = sa.select(Delivery.address).join(Notice).where(Notice.kind == "beta_nudge").order_by(Delivery.id)
    return sorted(db.session.scalars(rows))


def test_only_organisations_that_were_told_and_never_tried_are_offered(cast: Cast, beta: int) -> None:
    def offered() -> list[str]:
        return [group.name for group in nudges.untried(adoption_of(db.session.get_one(Release, beta)))]

    assert offered() == ["Example Foods", "Example Logistics"]
    take(beta, cast.bob)  # one of the two contacts is enough
    assert offered() == ["Example Foods"]
    with transaction() as session:
        session.execute(sa.update(Delivery).values(state=DeliveryState.BOUNCED))
    assert offered() == []


def test_both_contacts_of_the_chosen_organisations_are_mailed_and_it_is_remembered(cast: Cast, beta: int) -> None:
    assert nudge(beta, cast.alice) == 1
    assert nudged() == [cast.alice, cast.bob]
    row = db.session.scalars(sa.select(Nudge)).one()
    assert (row.release_id, row.organization_id, row.sent_at) == (beta, organization(cast.alice), NOW)


def test_one_mail_a_week_at_most_whatever_the_beta(cast: Cast, beta: int) -> None:
    nudge(beta, cast.alice)
    other = publish_told("15.4b1")
    for release_id in (beta, other):
        with pytest.raises(Conflict, match="Nobody is left"):
            nudge(release_id, cast.alice, now=LATER - timedelta(seconds=1))
    assert nudge(other, cast.alice, cast.carol, now=LATER - timedelta(seconds=1)) == 1
    assert nudge(other, cast.alice, cast.carol, now=LATER) == 1
    assert nudged() == sorted([cast.alice, cast.bob, cast.carol, cast.alice, cast.bob])


def test_presses_at_the_same_moment_make_one_mail(app: Flask, cast: Cast, beta: int) -> None:
    ids = {organization(cast.alice), organization(cast.carol)}
    db.session.remove()
    together, outcomes = threading.Barrier(6), []

    def press() -> None:
        with app.app_context():
            together.wait()
            try:
                with transaction():
                    outcomes.append(nudges.nudge(beta, ids, actor=None, now=NOW))
            except Conflict:
                outcomes.append(0)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0, 0, 0, 0, 0, 2]
    assert nudged() == [cast.alice, cast.bob, cast.carol]


def test_whoever_switched_betas_off_or_is_not_entitled_is_not_mailed(cast: Cast, beta: int) -> None:
    with transaction():
        subscriptions.choose(find_user(cast.alice).id, find_product(cast.product).id, Topic.BETA, wanted=False, now=NOW)
        contracts.suspend(find_contract(cast.other_contract), actor=None, now=NOW)
    groups = nudges.untried(adoption_of(db.session.get_one(Release, beta)))
    preview = {person.email: person.excluded for person in nudges.people(db.session.get_one(Release, beta), groups, NOW)}
    assert preview == {cast.alice: "switched these notices off", cast.bob: None, cast.carol: "contract suspended"}
    assert nudge(beta, cast.alice, cast.carol) == 1
    assert nudged() == [cast.bob]
    with pytest.raises(Conflict):
        nudge(beta, cast.carol)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Nudge)) == 1  # nobody was mailed, so nothing is remembered


def test_what_does_not_run_is_not_nudged_about(cast: Cast, beta: int) -> None:
    stable = publish_release("15.2", Channel.STABLE, NOW)
    ended = publish_release("15.3b1", Channel.BETA, NOW, expires_on=NOW.date(), files={"a.msi": b"a"})
    with transaction():
        publishing.withdraw(beta, "Bad.", actor=None, now=NOW)
    for release_id, reason in ((stable, "Only betas"), (beta, "not out"), (ended, "expired")):
        with pytest.raises(Conflict, match=reason):
            nudge(release_id, cast.alice, now=NOW + timedelta(days=2))


def test_whose_final_is_out_is_not_nudged_about_and_what_waits_is_not_sent(cast: Cast, beta: int) -> None:
    nudge(beta, cast.alice)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == nudges.NUDGE)).one()
    publish_release("15.3", Channel.STABLE, NOW)
    with pytest.raises(Conflict, match=r"15\.3 is out"):
        nudge(beta, cast.carol)
    due = [rendering.due_of(one) for one in db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id))]
    assert set(nudges.check(notice, due, NOW).values()) == {nudges.NOT_OFFERED}


def test_at_the_second_of_sending_it_is_asked_again(cast: Cast, beta: int) -> None:
    nudge(beta, cast.alice, cast.carol)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "beta_nudge")).one()
    due = [rendering.due_of(one) for one in db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id))]
    assert nudges.check(notice, due, NOW) == {}
    take(beta, cast.bob)
    with transaction():
        contracts.cancel(find_contract(cast.other_contract), actor=None, now=NOW)
    reasons = nudges.check(notice, due, NOW)
    assert {one.address: reasons.get(one.id) for one in due} == {
        cast.alice: nudges.TRIED_SINCE, cast.bob: nudges.TRIED_SINCE, cast.carol: nudges.NOT_ENTITLED,
    }  # fmt: skip
    with transaction():
        publishing.withdraw(beta, "Bad.", actor=None, now=NOW)
    assert set(nudges.check(notice, due, NOW).values()) == {nudges.NOT_OFFERED}


def test_the_mail_can_be_switched_off_and_says_what_to_test(cast: Cast, beta: int) -> None:
    nudge(beta, cast.carol)
    delivery = db.session.scalars(sa.select(Delivery).join(Notice).where(Notice.kind == "beta_nudge")).one()
    mail = rendering.Renderer(delivery.notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    assert mail.subject == "Macro Studio 15.3b2: nobody at your organisation has tried it yet"
    for part in (mail.text, mail.html):
        assert "Pause a macro." in part
        assert "http://127.0.0.1:8000/beta/macro-studio/15.3b2/" in part
        assert "/notices/unsubscribe/" in part
        assert "None" not in part
