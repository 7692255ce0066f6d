"""Betas and the finals they become."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.config import current_settings
from portal.database import db, transaction
from portal.notices import rendering
from portal.notices.kinds import Due
from portal.notices.models import Delivery, Notice
from portal.releases import announcements, downloads, lineage, publishing
from portal.releases.models import Channel, Kind
from portal.web.ranges import Span
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, make_draft, make_published, person
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

HEADLINE = "The final of the beta you run is out"
LATER = NOW + timedelta(days=1)


def take(release_id: int, *people: str) -> None:
    with transaction():
        for address in people:
            downloads.record(get(release_id).builds[0].id, person(address).id, None, Span(0, 1), NOW)


def mail_to(address: str) -> rendering.Preview:
    delivery = db.session.scalars(
        sa.select(Delivery).join(Notice).where(Delivery.address == address, Notice.kind == "release").order_by(Delivery.id.desc()).limit(1)
    ).one()
    return rendering.Renderer(delivery.notice, current_settings()).texts(rendering.due_of(delivery), LATER)


def test_a_beta_belongs_to_the_final_its_version_names(cast: Cast) -> None:
    betas = {version: make_published(version=version) for version in ("15.3a1", "15.3b2", "15.3rc1", "15.4b1", "15.3.1b1")}
    make_draft(version="15.3b9")
    make_published("form-filler", "15.3b2")
    make_published(version="15.2.9", channel=Channel.STABLE)
    assert lineage.final_of(get(betas["15.3b2"])) is None
    final = make_published(version="15.3.0", channel=Channel.STABLE)
    assert [beta.version for beta in lineage.betas_of(get(final))] == ["15.3rc1", "15.3b2", "15.3a1"]
    became = {version: lineage.final_of(get(beta)) for version, beta in betas.items()}
    assert {version: found.version if found else None for version, found in became.items()} == {
        "15.3a1": "15.3.0", "15.3b2": "15.3.0", "15.3rc1": "15.3.0", "15.4b1": None, "15.3.1b1": None,
    }  # fmt: skip


def test_a_withdrawn_or_draft_final_is_none(cast: Cast) -> None:
    beta, final = make_published(), make_draft(version="15.3", channel=Channel.STABLE)
    assert lineage.final_of(get(beta)) is None
    with transaction():
        publishing.publish_release(final, actor=None, now=NOW)
    with transaction():
        publishing.withdraw(final, "Bad.", actor=None, now=NOW)
    assert lineage.final_of(get(beta)) is None


def test_who_downloaded_a_beta_reads_that_its_final_is_out(cast: Cast) -> None:
    first, second = make_published(version="15.3b1"), make_published(version="15.3b2")
    other = make_published(version="15.2b9")
    take(first, cast.alice)
    take(second, cast.alice)
    take(other, cast.bob)
    with transaction():
        publishing.withdraw(second, "Bad.", actor=None, now=NOW)
    final = make_draft(version="15.3.0", channel=Channel.STABLE)
    with transaction():
        get(final).kind = Kind.POINT  # which goes to contacts, without asking anybody first
    with transaction():
        publishing.publish_release(final, actor=None, now=NOW)
    alice, bob = mail_to(cast.alice), mail_to(cast.bob)
    assert HEADLINE.upper() in alice.text
    assert HEADLINE in alice.html
    for part in (alice.text, alice.html):
        words = " ".join(part.split())
        assert "You downloaded 15.3 beta 2" in words
        assert "15.3 beta 1" not in words
    for part in (bob.text, bob.html):
        assert HEADLINE.lower() not in part.lower()
    assert "\n\n\n\n" not in alice.text


def test_a_download_after_the_mail_was_made_is_not_in_it(cast: Cast) -> None:
    beta = make_published()
    take(beta, cast.alice)
    final = get(make_published(version="15.3", channel=Channel.STABLE))
    alice = person(cast.alice).id
    assert lineage.betas_run(final, [alice], NOW) == {alice: "15.3b2"}
    assert lineage.betas_run(final, [alice], NOW - timedelta(seconds=1)) == {}
    assert lineage.betas_run(get(beta), [alice], NOW) == {}


def test_a_batch_of_mail_costs_the_same_however_many_people_ran_a_beta(app: Flask, cast: Cast) -> None:
    beta = make_published()
    final = make_published(version="15.3.1b1")
    take(beta, cast.alice)
    release_id = make_draft(version="15.3", channel=Channel.STABLE)
    notice = Notice(id=0, kind="release", context={"release_id": release_id, "title": ""}, product_id=1, created_at=NOW)

    def cost(*people: str) -> int:
        due = [Due(number, person(one).id, one, "", NOW) for number, one in enumerate(people, 1)]
        with statements(app) as seen:
            blocks = announcements.for_one_reader(notice, due, LATER)
        assert all("beta_you_run" in blocks[number] for number in range(1, len(people) + 1))
        return len(seen)

    one = cost(cast.alice)
    take(beta, cast.bob, cast.carol)
    take(final, cast.bob)
    assert cost(cast.alice, cast.bob, cast.carol) == one
