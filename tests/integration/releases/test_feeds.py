"""What stands in a feed, whatever it is written as."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.config import current_settings
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases import drafts, feeds, publishing
from portal.releases.catalog import VISIBLE
from portal.releases.drafts import Words
from portal.releases.feed_formats import Entry, Feed
from portal.releases.models import Channel, Release, ReleaseState
from tests.builds import find_seat, publish_release
from tests.cast import Cast
from tests.conftest import NOW, make_settings

pytestmark = pytest.mark.usefixtures("app_context")
URL = "http://127.0.0.1:8000/releases/macro-studio/feed.atom"
LATER = NOW + timedelta(days=3)


def public() -> Feed:
    return feeds.public_feed(find_product("macro-studio"), URL, current_settings())


def private(cast: Cast, who: str | None = None, now: datetime = NOW) -> Feed:
    found = feeds.private_feed(find_product(cast.product), find_seat(who or cast.alice), current_settings(), now)
    assert found is not None
    return found


def titles(feed: Feed) -> list[str]:
    return [entry.title.replace("\u00a0", " ") for entry in feed.entries]


def only(feed: Feed) -> Entry:
    (entry,) = feed.entries
    return entry


def test_the_public_feed_has_stable_releases_newest_first(cast: Cast) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    publish_release("15.3b1", Channel.BETA, NOW + timedelta(hours=1))
    publish_release("15.2.1", Channel.STABLE, LATER)
    with transaction():
        drafts.create_release(find_product(cast.product), "15.4", Channel.STABLE, actor=None, now=LATER)
    assert titles(public()) == ["Macro Studio 15.2.1", "Macro Studio 15.2"]
    assert public().updated == LATER
    assert titles(private(cast, now=LATER)) == ["Macro Studio 15.2.1", "Macro Studio 15.3 beta 1", "Macro Studio 15.2"]


def test_an_entry_says_what_the_page_says(cast: Cast) -> None:
    publish_release("15.3b2", Channel.BETA, NOW, expires_on=date(2027, 1, 31))
    with transaction():
        words = Words("Faster.", "See [the board](/feedback/) and [us](//example.org/), <b>bold</b>.\n\n# Speed", "", "Pause a macro.")
        drafts.correct_words(db.session.scalars(sa.select(Release.id)).one(), revision=3, words=words, actor=None, now=LATER)
    entry = only(private(cast))
    assert entry.url == "http://127.0.0.1:8000/beta/macro-studio/15.3b2/"
    assert entry.summary == "Faster."
    assert (entry.published, entry.updated) == (NOW, LATER)
    assert "<p>This beta runs until 31 January 2027.</p>" in entry.html
    assert "<h2>What to test</h2>" in entry.html
    assert "<h3>Speed</h3>" in entry.html
    assert "&lt;b&gt;bold&lt;/b&gt;" in entry.html
    assert 'href="http://127.0.0.1:8000/feedback/"' in entry.html
    assert 'href="//example.org/"' in entry.html
    assert entry.attachments == ()


def test_ids_stay_whatever_becomes_of_the_release_and_of_the_address(cast: Cast, app: Flask) -> None:
    release_id = publish_release("15.2", Channel.STABLE, NOW)
    before = only(public())
    assert before.id == "tag:127.0.0.1,2026-11-24:macro-studio/15.2"
    with transaction():
        publishing.withdraw(release_id, "It loses macros.", actor=None, now=LATER)
    assert only(public()).id == only(private(cast)).id == before.id
    for address in ("https://127.0.0.1", "https://127.0.0.1:8443/portal"):
        settings = make_settings(current_settings().data_dir, public_url=address)
        moved = feeds.public_feed(find_product(cast.product), URL, settings)
        assert only(moved).id == before.id
        assert only(moved).url == f"{address}/releases/macro-studio/15.2/"


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        ("https://portal.example.org", "portal.example.org"),
        ("https://bücher.example.org", "xn--bcher-kva.example.org"),
        ("http://[::1]:80", "localhost"),
    ],
)
def test_ids_are_tag_uris(cast: Cast, address: str, authority: str) -> None:
    settings = make_settings(current_settings().data_dir, public_url=address)
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert feeds.tag(settings, late, "macro studio/1!15.3+ü") == f"tag:{authority},2026-11-24:macro%20studio/1!15.3+%C3%BC"


def test_a_withdrawn_release_says_why_and_where_to_go(cast: Cast) -> None:
    safe = publish_release("15.1", Channel.STABLE, NOW)
    release_id = publish_release("15.2", Channel.STABLE, NOW + timedelta(hours=1))
    open_builds(cast)
    with transaction():
        publishing.withdraw(release_id, "It loses **macros**.", safe_release_id=safe, actor=None, now=LATER)
    entry = public().entries[0]
    assert entry.title == "Withdrawn: Macro Studio 15.2"
    assert "It loses <strong>macros</strong>." in entry.html
    assert 'Move to <a href="http://127.0.0.1:8000/releases/macro-studio/15.1/">Macro Studio 15.1</a>' in entry.html
    assert "forty percent" not in entry.html
    assert entry.attachments == ()
    assert (entry.published, entry.updated) == (NOW + timedelta(hours=1), LATER)
    assert public().updated == LATER


def test_what_is_withdrawn_comes_up_again_however_old(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "NEWEST", 3)
    oldest = publish_release("15.1", Channel.STABLE, NOW)
    for minute in range(1, 5):
        publish_release(f"15.1.{minute}", Channel.STABLE, NOW + timedelta(minutes=minute))
    assert titles(public()) == ["Macro Studio 15.1.4", "Macro Studio 15.1.3", "Macro Studio 15.1.2"]
    with transaction():
        publishing.withdraw(oldest, "It loses macros.", actor=None, now=LATER)
    assert titles(public()) == ["Withdrawn: Macro Studio 15.1", "Macro Studio 15.1.4", "Macro Studio 15.1.3"]


def test_from_a_withdrawn_beta_one_moves_to_what_was_chosen_while_it_runs(cast: Cast) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    first, second = (publish_release(version, Channel.BETA, NOW) for version in ("15.3b1", "15.3b2"))
    third = publish_release("15.3b3", Channel.BETA, NOW, expires_on=LATER.date())
    for withdrawn, safe in ((first, second), (second, third)):
        with transaction():
            publishing.withdraw(withdrawn, "It loses macros.", safe_release_id=safe, actor=None, now=LATER)

    def ways(now: datetime) -> list[bool]:
        withdrawn = [entry.html for entry in private(cast, now=now).entries if entry.title.startswith("Withdrawn")]
        return ["/beta/macro-studio/15.3b3/" in html for html in withdrawn]

    assert ways(LATER) == [True, True]
    assert ways(LATER + timedelta(days=1)) == [False, False]


def test_without_a_version_to_move_to_the_entry_says_to_go_back(cast: Cast) -> None:
    release_id = publish_release("15.2", Channel.STABLE, NOW)
    with transaction():
        publishing.withdraw(release_id, "It loses macros.", actor=None, now=LATER)
    assert "go back to the version you had before" in only(public()).html


def test_a_beta_leaves_when_its_last_day_is_over_where_the_contract_is(cast: Cast) -> None:
    publish_release("15.3b1", Channel.BETA, NOW, expires_on=date(2026, 12, 31))
    last_minute = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)  # 23:59 in Berlin
    assert titles(private(cast, now=last_minute)) == ["Macro Studio 15.3 beta 1"]
    over = last_minute + timedelta(minutes=1)
    assert titles(private(cast, now=over)) == []
    assert private(cast, now=over).updated == over


def open_builds(cast: Cast, access: StableAccess = StableAccess.PUBLIC) -> None:
    with transaction():
        find_product(cast.product).stable_access = access


def test_files_are_attached_to_stable_releases_that_are_open_to_everybody(cast: Cast) -> None:
    publish_release("15.2", Channel.STABLE, NOW, files={"Größe “neu” #1.zip": b"12345"})
    publish_release("15.3b1", Channel.BETA, NOW)
    assert only(public()).attachments == ()
    open_builds(cast)
    (file,) = only(public()).attachments
    assert file.url == (
        "http://127.0.0.1:8000/releases/macro-studio/15.2/download/Gr%C3%B6%C3%9Fe%20%E2%80%9Cneu%E2%80%9D%20%231.zip"
    )  # fmt: skip
    assert file.size == 5
    assert [len(entry.attachments) for entry in private(cast).entries] == [0, 1]


def test_a_lapsed_seat_reads_as_anybody_and_is_told_why(cast: Cast) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    publish_release("15.3b1", Channel.BETA, NOW)
    feed = private(cast, cast.dave)
    assert titles(feed) == ["No betas of Macro Studio at present", "Macro Studio 15.2"]
    note = feed.entries[0]
    assert "The contract has ended. Renew it" in note.html
    assert note.url == "http://127.0.0.1:8000/account/contracts/NW-1999/"
    assert note.updated < NOW
    assert note.id == private(cast, cast.dave, LATER).entries[0].id


def test_an_empty_feed_is_as_old_as_the_product(cast: Cast) -> None:
    product = find_product(cast.product)
    assert public().entries == ()
    assert public().updated == product.created_at
    assert private(cast).updated == product.created_at


def test_each_state_of_a_release_is_in_or_out_on_purpose() -> None:
    """A state that is added (say, scheduled) stays out until somebody lets it in."""
    assert set(VISIBLE) == {ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN}
