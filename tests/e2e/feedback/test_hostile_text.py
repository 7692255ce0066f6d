"""A corpus of stored attempts to run something, in every field of feedback, in Chromium: nothing runs, and the policy has nothing to stop.

That the policy stops nothing matters: what it would have to stop has left its place already.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import clock
from portal.account.models import Organization, User
from portal.database import db, transaction
from portal.feedback import attachments, behalf, edits, links, tags, triage, verdicts, writing
from portal.feedback.access import viewer_of
from portal.feedback.loop_models import Answer
from portal.feedback.models import CallChannel, Item, ItemKind, Status, Visibility
from portal.feedback.writing_models import Attachment
from portal.storage import store
from tests.board import person, product
from tests.e2e.feedback.conftest import Site, Watched
from tests.hostile import CORPUS

Watch = Callable[[str], Watched]


def line(text: str) -> str:
    """The attempt on one line, as titles and names are."""
    return " ".join(text.replace("\u202e", "").split())


def plant(site: Site, number: int, hostile: str) -> int:
    """Write an item with the attempt in every field that somebody types into; return its id."""
    cast, now = site.cast, clock.now()
    alice, petra = person(cast.alice), person(cast.petra)
    with transaction():
        viewer = viewer_of(alice, now)
        item = writing.write(
            viewer, product=product(), kind=ItemKind.IDEA, title=line(hostile), body=hostile,
            visibility=Visibility.SUBSCRIBERS, version="15.3b2", now=now,
        )  # fmt: skip
        stored = store().write([hostile.encode()], 10_000)
        attachments.add([attachments.Arrived("log.txt", stored)], alice, item_id=item.id, now=now)
        # No such name is taken (tests/web/feedback/test_attachments.py); should one ever get in, it must not run either.
        db.session.execute(sa.update(Attachment).where(Attachment.item_id == item.id).values(filename=line(hostile)[:190]))
        writing.comment(viewer_of(person(cast.carol), now), item.id, hostile, now=now)
        edits.edit(viewer, item.id, title=f"{line(hostile)} 2", body=f"{hostile}\n\nMore", number=1, now=now)
        triage.add_note(item.id, hostile, staff_only=True, actor=petra, now=now)
        tags.add_tag(item.id, line(hostile)[:38] + str(number % 10), actor=petra, now=now)
        links.link(item.id, site.beta, actor=petra, now=now)
        verdicts.give(viewer, item.id, site.beta, answer=Answer.PARTLY, words=hostile, now=now)
        if number == 0:
            behalf.note_vote(item.id, cast.other_contract, channel=CallChannel.PHONE, words=line(hostile), actor=petra, now=now)
        revision = db.session.get_one(Item, item.id).revision
        triage.answer(
            item.id, revision=revision, status=Status.DECLINED if number % 2 else Status.PLANNED, version=line(hostile)[:60],
            reason=hostile, response=hostile, actor=petra, now=now + timedelta(seconds=1),
        )  # fmt: skip
        return item.id


@pytest.fixture(scope="module")
def planted(site: Site) -> list[int]:
    with site.app.app_context():
        # Names are typed too: by account managers, and by people themselves.
        with transaction():
            db.session.execute(sa.update(User).where(User.email == site.cast.alice).values(name=CORPUS[2]))
            db.session.execute(sa.update(Organization).where(Organization.name == "Example Logistics").values(name=CORPUS[8]))
        ids = [plant(site, number, hostile) for number, hostile in enumerate(CORPUS) if "\u202e" not in hostile]
        db.session.remove()
    return ids


def test_the_watch_sees_what_would_run(site: Site, watch: Watch) -> None:
    window = watch(site.cast.carol)
    window.page.evaluate("document.body.innerHTML = '<img src=//evil.example.org/x onerror=alert(1)><p style=color:red>'")
    window.page.wait_for_timeout(200)
    window.look()
    assert any("violated script-src" in what for what in window.found), window.found
    assert any("violated img-src" in what for what in window.found), window.found
    assert any("violated style-src" in what for what in window.found), window.found


def test_nothing_runs_for_those_who_read(site: Site, planted: list[int], watch: Watch) -> None:
    window = watch(site.cast.carol)
    for path in (
        "/feedback/", "/feedback/?sort=newest", "/feedback/?sort=answered", f"/feedback/?q={CORPUS[2]}", "/feedback/roadmap/",
        "/feedback/following/", "/beta/macro-studio/15.3b2/", "/feedback/verdicts/macro-studio/15.3b2/", "/",
        f"/feedback/new?title={CORPUS[0]}", *(f"/feedback/{item_id}/" for item_id in planted), f"/feedback/{planted[0]}/history",
    ):  # fmt: skip
        window.open(f"{site.url}{path}")
    assert window.found == []
    assert window.page.locator('a[href^="javascript" i], a[href^="data" i]').count() == 0


def test_nothing_runs_for_those_who_wrote_it(site: Site, planted: list[int], watch: Watch) -> None:
    window = watch(site.cast.alice)
    for item_id in planted:
        window.open(f"{site.url}/feedback/{item_id}/history")
    for item_id in planted[:6]:
        window.open(f"{site.url}/feedback/{item_id}/")
        window.open(f"{site.url}/feedback/{item_id}/edit")
    assert window.found == []


def test_nothing_runs_for_the_product_team(site: Site, planted: list[int], watch: Watch) -> None:
    window = watch(site.cast.petra)
    for path in (
        "/staff/", "/staff/feedback/", "/staff/feedback/tags/", "/staff/feedback/reports/",
        f"/staff/feedback/{planted[0]}/merge/{planted[1]}", *(f"/staff/feedback/{item_id}/" for item_id in planted),
    ):  # fmt: skip
        window.open(f"{site.url}{path}")
    assert window.found == []


def test_nothing_runs_while_it_is_typed(site: Site, planted: list[int], watch: Watch) -> None:
    """The preview and what is similar are put into the page by scripts, where the parser of a page no longer watches."""
    window = watch(site.cast.carol)
    window.open(f"{site.url}/feedback/new")
    for hostile in CORPUS:
        window.page.get_by_label("Title", exact=True).fill(line(hostile))
        with window.page.expect_response("**/feedback/preview"):
            window.page.get_by_label("Description", exact=True).fill(hostile)
    window.page.wait_for_timeout(200)
    window.look()
    assert window.found == []
