"""Drafts: made, edited by two people, built up, discarded."""

from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound, PortalError
from portal.products.catalog import find_product
from portal.releases import builds, catalog, drafts
from portal.releases.models import Build, Channel, Kind, Release, ReleaseState
from portal.storage import Stored, store
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, mailed, make_draft, make_published

pytestmark = pytest.mark.usefixtures("app_context")


def create(version: str, channel: Channel = Channel.STABLE, **more: Any) -> int:
    with transaction():
        return drafts.create_release(find_product("macro-studio"), version, channel, actor=None, now=NOW, **more).id


def save(release_id: int, revision: int, *, version: str = "15.3b2", channel: Channel = Channel.BETA, notes: str = "") -> None:
    with transaction():
        drafts.edit_draft(
            release_id, revision=revision, version=version, channel=channel, kind=None, expires_on=None,
            words=drafts.Words(notes=notes), actor=None, now=NOW,
        )  # fmt: skip


def test_a_draft_keeps_the_normalised_version_and_the_proposed_kind(cast: Cast) -> None:
    release = get(create(" v15.2.1 "))
    assert (release.version, release.kind, release.state) == ("15.2.1", Kind.POINT, ReleaseState.DRAFT)


def test_the_kind_is_proposed_from_the_published_version_below(cast: Cast) -> None:
    make_published(version="15.2", channel=Channel.STABLE)
    make_published(version="16.0", channel=Channel.STABLE)
    create("15.2.5")
    assert get(create("15.3")).kind is Kind.MINOR
    assert get(create("15.4", kind=Kind.MAJOR)).kind is Kind.MAJOR


@pytest.mark.parametrize("spelling", ["15.2", "v15.2.0", " 15.2 ", "15.2.0.0"])
def test_equal_spellings_are_one_release(cast: Cast, spelling: str) -> None:
    create("15.2")
    with pytest.raises(Invalid, match="already a release") as refusal:
        create(spelling)
    assert refusal.value.field == "version"
    assert catalog.find_release("macro-studio", spelling).version == "15.2"


def test_the_database_itself_refuses_a_second_release_of_a_version(cast: Cast) -> None:
    first = get(create("15.2"))
    with pytest.raises(sa.exc.IntegrityError), transaction() as session:
        session.add(
            Release(
                product_id=first.product_id, version="15.2.0", version_key=first.version_key, channel=Channel.STABLE,
                kind=Kind.MINOR, created_at=NOW,
            )
        )  # fmt: skip


def test_another_product_may_have_the_same_version(cast: Cast) -> None:
    make_draft("macro-studio", "1.0", Channel.STABLE)
    make_draft("form-filler", "1.0", Channel.STABLE)
    assert catalog.find_release("form-filler", "1.0").product.name == "Form Filler"


@pytest.mark.parametrize(
    ("version", "more", "field"),
    [
        ("15.3b2", {}, "version"),
        ("nonsense", {}, "version"),
        ("15.3", {"notes": "x" * 100_001}, "notes"),
        ("15.3", {"known_issues": "a\x00b"}, "known_issues"),
        ("15.3", {"summary": "two\nlines"}, "summary"),
        ("15.3", {"summary": "x" * 301}, "summary"),
        ("15.3", {"expires_on": NOW.date() - timedelta(days=1)}, "expires_on"),
    ],
)
def test_bad_input_is_refused_at_its_field_and_saves_nothing(cast: Cast, version: str, more: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create(version, **more)
    assert refusal.value.field == field
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Release)) == 0


def test_only_a_beta_has_a_last_day(cast: Cast) -> None:
    assert get(create("15.3b1", Channel.BETA, expires_on=date(2027, 1, 31))).expires_on == date(2027, 1, 31)
    assert get(create("15.3", Channel.STABLE, expires_on=date(2027, 1, 31))).expires_on is None


def test_the_second_of_two_editors_is_told_and_changes_nothing(cast: Cast) -> None:
    release_id = make_draft()
    seen = get(release_id).revision
    save(release_id, seen, notes="first editor")
    with pytest.raises(Conflict, match="Somebody else saved"):
        save(release_id, seen, notes="second editor")
    assert get(release_id).notes == "first editor"


def test_a_draft_can_change_its_version_but_not_to_a_taken_one(cast: Cast) -> None:
    create("15.2")
    release_id = make_draft()
    save(release_id, get(release_id).revision, version="15.3b3")
    assert get(release_id).version == "15.3b3"
    with pytest.raises(Invalid, match="already a release"):
        save(release_id, get(release_id).revision, version="15.2.0")
    assert get(release_id).version == "15.3b3"


def test_a_published_release_is_not_edited_as_a_draft(cast: Cast) -> None:
    release_id = make_published()
    with pytest.raises(Conflict, match="published"):
        save(release_id, get(release_id).revision, version="15.3b9")
    assert get(release_id).version == "15.3b2"


def test_a_draft_is_not_corrected(cast: Cast) -> None:
    release_id = make_draft()
    with pytest.raises(Conflict, match="still a draft"), transaction():
        drafts.correct_words(release_id, revision=get(release_id).revision, words=drafts.Words(), actor=None, now=NOW)


def test_a_discarded_draft_is_gone_with_its_builds(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        drafts.discard(release_id, actor=None, now=NOW)
    with pytest.raises(NotFound):
        catalog.find_release("macro-studio", "15.3b2")
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Build)) == 0


def test_a_published_release_is_not_discarded(cast: Cast) -> None:
    release_id = make_published()
    with pytest.raises(Conflict), transaction():
        drafts.discard(release_id, actor=None, now=NOW)
    assert len(mailed()) == 3


@pytest.mark.parametrize("name", ["macro-studio-15.3b2.msi", "MACRO-STUDIO-15.3B2.MSI"])
def test_two_builds_of_one_name_are_refused(cast: Cast, name: str) -> None:
    release_id = make_draft()
    stored = store().write([b"other bytes"], 100)
    with pytest.raises(Conflict, match="already has a build"), transaction():
        builds.add_build(release_id, name, stored, actor=None, now=NOW)


def test_the_same_bytes_may_have_two_names(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        builds.add_build(release_id, "copy.msi", store().write([b"macro-studio 15.3b2"], 100), actor=None, now=NOW)
    one, other = get(release_id).builds
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(("name", "platform"), [("../x", ""), ("CON", ""), ("ok.zip", "two\nlines"), ("ok.zip", "x" * 81)])
def test_unsafe_names_and_platforms_are_refused(cast: Cast, name: str, platform: str) -> None:
    release_id = make_draft()
    with pytest.raises(Invalid), transaction():
        builds.add_build(release_id, name, store().write([b"x"], 100), platform=platform, actor=None, now=NOW)
    assert len(get(release_id).builds) == 1


def test_published_builds_never_change(cast: Cast) -> None:
    release_id = make_published()
    build_id = get(release_id).builds[0].id
    with pytest.raises(Conflict, match="cannot change"), transaction():
        builds.add_build(release_id, "more.msi", store().write([b"more"], 100), actor=None, now=NOW)
    with pytest.raises(Conflict, match="cannot change"), transaction():
        builds.remove_build(release_id, build_id, actor=None, now=NOW)


def test_a_build_of_another_release_is_not_found(cast: Cast) -> None:
    release_id, other_id = make_draft(), make_draft(version="15.3b3")
    build_id = get(other_id).builds[0].id
    with pytest.raises(NotFound), transaction():
        builds.remove_build(release_id, build_id, actor=None, now=NOW)


def test_a_build_needs_its_bytes(cast: Cast) -> None:
    release_id = make_draft()
    with pytest.raises(Conflict, match="no longer in storage"), transaction():
        builds.add_build(release_id, "gone.msi", Stored("0" * 64, 1), actor=None, now=NOW)


def test_the_sweep_keeps_what_builds_name_and_what_is_young(cast: Cast) -> None:
    release_id = make_draft()
    kept = get(release_id).builds[0].sha256
    orphan = store().write([b"orphan"], 100).sha256
    assert builds.sweep_storage(NOW) == 0
    later = NOW + timedelta(days=400)
    assert builds.sweep_storage(later) == 1
    assert [store().exists(digest) for digest in (kept, orphan)] == [True, False]


@pytest.mark.parametrize(
    ("product", "version"),
    [("macro-studio", "9.9"), ("no-such", "15.3b2"), ("macro\x00studio", "15.3b2"), ("macro-studio", "15\x00"), ("x" * 5000, "1")],
)
def test_what_does_not_exist_is_not_found(cast: Cast, product: str, version: str) -> None:
    with pytest.raises(NotFound):
        catalog.find_release(product, version)
    with pytest.raises(PortalError):
        catalog.find_visible(product, version, Channel.STABLE)
