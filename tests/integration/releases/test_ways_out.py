"""Where people are sent from a withdrawn release."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.account import contracts
from portal.audit import AuditEvent
from portal.config import current_settings
from portal.database import db, transaction
from portal.errors import Invalid
from portal.notices import rendering
from portal.notices.models import Delivery, Notice
from portal.releases import downloads, publishing, ways_out
from portal.releases.models import Channel, ReleaseState
from portal.web.ranges import Span
from tests.builds import find_contract
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, mailed, make_draft, make_published, person

pytestmark = pytest.mark.usefixtures("app_context")

TODAY = NOW.date()


def withdraw(release_id: int, safe: int | None = None) -> None:
    with transaction():
        publishing.withdraw(release_id, "It removes macros.", safe_release_id=safe, actor=None, now=NOW)


def offered(release_id: int) -> list[str]:
    return [one.version for one in ways_out.choices(get(release_id), TODAY)]


def proposed(release_id: int) -> str | None:
    found = ways_out.propose(get(release_id), ways_out.choices(get(release_id), TODAY))
    return found.version if found else None


def test_only_what_is_published_runs_and_is_open_to_them_is_offered(cast: Cast) -> None:
    beta, stable = make_published(version="15.3b2"), make_published(version="15.2", channel=Channel.STABLE)
    make_published(version="15.1", channel=Channel.STABLE)
    make_published(version="15.3b3")
    make_published(version="15.3b4", expires_on=TODAY)
    withdraw(make_published(version="15.3b5"))
    make_draft(version="15.3b6")
    make_published("form-filler", "15.3b7")
    assert offered(beta) == ["15.3b4", "15.3b3", "15.2", "15.1"]
    assert [one.version for one in ways_out.choices(get(beta), TODAY + timedelta(days=1))] == ["15.3b3", "15.2", "15.1"]
    assert offered(stable) == ["15.1"]  # everybody reads where to go from a stable release, and nobody of a beta


def test_the_newest_above_is_proposed_else_the_newest_stable_one(cast: Cast) -> None:
    first = make_published(version="15.3b1")
    assert proposed(first) is None
    second = make_published(version="15.3b2")
    assert proposed(first) == "15.3b2"
    assert proposed(second) == "15.3b1"
    make_published(version="15.2", channel=Channel.STABLE)
    assert (proposed(first), proposed(second)) == ("15.3b2", "15.2")


@pytest.mark.parametrize("bad", ["itself", "draft", "withdrawn", "another product", "beta", "none there"])
def test_a_version_nobody_can_be_sent_to_is_refused_and_nothing_is_withdrawn(cast: Cast, bad: str) -> None:
    stable = make_published(version="15.2", channel=Channel.STABLE)
    withdrawn = make_published(version="15.1", channel=Channel.STABLE)
    withdraw(withdrawn)
    safe = {
        "itself": stable, "draft": make_draft(version="15.3", channel=Channel.STABLE), "withdrawn": withdrawn,
        "another product": make_published("form-filler", "15.4", Channel.STABLE), "beta": make_published(version="15.3b1"),
        "none there": 999_999,
    }[bad]  # fmt: skip
    with pytest.raises(Invalid, match="cannot be moved to") as refusal:
        withdraw(stable, safe)
    assert refusal.value.field == "safe"
    assert get(stable).state is ReleaseState.PUBLISHED


def test_the_way_leads_on_when_the_safe_version_is_withdrawn_too(cast: Cast) -> None:
    first, second, third = (make_published(version=f"15.3b{number}") for number in (1, 2, 3))
    withdraw(first, second)
    way = ways_out.way_out(get(first), TODAY)
    assert way is not None
    assert way.version == "15.3b2"
    withdraw(second, third)
    way = ways_out.way_out(get(first), TODAY)
    assert way is not None
    assert way.version == "15.3b3"
    withdraw(third)
    assert ways_out.way_out(get(first), TODAY) is None


def test_the_mail_goes_to_exactly_those_who_downloaded_it_entitled_or_not_and_names_the_safe_version(cast: Cast) -> None:
    beta, safe = make_published(), make_published(version="15.3b3")
    with transaction():
        for address, taken in ((cast.alice, beta), (cast.dave, beta), (cast.erin, beta), (cast.carol, beta), (cast.bob, safe)):
            downloads.record(get(taken).builds[0].id, person(address).id, None, Span(0, 1), NOW)
        contracts.cancel(find_contract(cast.other_contract), actor=None, now=NOW)
        person(cast.erin).active = False
    withdraw(beta, safe)
    assert mailed("release_withdrawn") == sorted([cast.alice, cast.dave, cast.erin, cast.carol])
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release_withdrawn")).one()
    delivery = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id).limit(1)).one()
    mail = rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    for part in (mail.text, mail.html):
        assert "Move to Macro Studio 15.3 beta 3" in " ".join(part.split())
        assert "http://127.0.0.1:8000/beta/macro-studio/15.3b3/" in part
        assert "It removes macros." in part
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "release.withdrawn")).one()
    assert event.details["safe_version"] == "15.3b3"


def test_without_a_safe_version_the_mail_names_none(cast: Cast) -> None:
    beta = make_published()
    make_published(version="15.3b3")
    with transaction():
        downloads.record(get(beta).builds[0].id, person(cast.alice).id, None, Span(0, 1), NOW)
    withdraw(beta)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release_withdrawn")).one()
    delivery = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id)).one()
    mail = rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    for part in (mail.text, mail.html):
        assert "Move to" not in part
        assert "None" not in part
