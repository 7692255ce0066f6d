"""Versions in the database: one release per version, sorted as PEP 440 sorts, and what asks before it is taken."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import sqlalchemy as sa
from packaging.version import Version

from portal.database import db, transaction
from portal.errors import Invalid, NotFound
from portal.products.catalog import find_product
from portal.releases import catalog, drafts
from portal.releases.models import Channel, Release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, make_draft, make_published

pytestmark = pytest.mark.usefixtures("app_context")

# From low to high.
ORDERED = [
    "0.9", "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0a2", "1.0a10", "1.0b1", "1.0rc1", "1.0rc2", "1.0", "1.0.post1.dev2", "1.0.post1",
    "1.0.1", "1.2", "1.9.9", "1.10", "2.0b9", "2.0", "10.0", "15.2", "15.2.0.1", "15.2.10", "15.10", "2026.11.24", "1!0.1",
]  # fmt: skip


def create(version: str, channel: Channel, *, ask: bool = True) -> int:
    with transaction():
        return drafts.create_release(find_product("macro-studio"), version, channel, ask_if_lower=ask, actor=None, now=NOW).id


def test_sql_sorts_versions_as_the_standard_does(cast: Cast) -> None:
    assert sorted(ORDERED, key=Version) == ORDERED
    for version in random.Random(7).sample(ORDERED, len(ORDERED)):
        create(version, Channel.BETA if Version(version).is_prerelease else Channel.STABLE, ask=False)
    in_sql = list(db.session.scalars(sa.select(Release.version).order_by(Release.version_key)))
    assert in_sql == ORDERED
    for low, high in pairwise(ORDERED):
        below = [one.version for one in catalog.everything_of(find_product("macro-studio").id, below=high)]
        assert low in below
        assert high not in below


@pytest.mark.parametrize("spelling", ["15.2", "v15.2.0", " 15.2 ", "15.2.0.0", "V15.2", "\t15.2\n", "0!15.2", "015.2"])
def test_equal_spellings_are_one_release(cast: Cast, spelling: str) -> None:
    release_id = make_draft(version="15.2", channel=Channel.STABLE)
    assert catalog.find_release("macro-studio", spelling).id == release_id
    with pytest.raises(Invalid, match=r"already a release 15\.2") as refusal:
        create(spelling, Channel.STABLE)
    assert refusal.value.field == "version"


@pytest.mark.parametrize("spelling", ["15.2.1", "15.2b0", "15.2.dev0", "15.2.post0", "1!15.2", "15.2+linux", "", " ", "15.2\0", "١٥.٢"])
def test_other_versions_are_not_found_by_it(cast: Cast, spelling: str) -> None:
    make_draft(version="15.2", channel=Channel.STABLE)
    with pytest.raises(NotFound):
        catalog.find_release("macro-studio", spelling)


@pytest.mark.parametrize("make", [make_draft, make_published])
def test_a_version_lower_than_the_newest_of_its_channel_asks_first(cast: Cast, make: Callable[..., int]) -> None:
    make(version="15.2.1", channel=Channel.STABLE)
    make(version="16.0b1")
    with pytest.raises(Invalid, match=r"15\.2 is lower than 15\.2\.1, the newest stable version") as refusal:
        create("15.2", Channel.STABLE)
    assert refusal.value.field == "lower"
    with pytest.raises(Invalid, match="the newest beta version"):
        create("15.3b1", Channel.BETA)
    create("15.3", Channel.STABLE)  # a beta of a later version is no stable one
    create("15.2", Channel.STABLE, ask=False)
    with transaction():
        drafts.create_release(find_product("form-filler"), "1.0", Channel.STABLE, ask_if_lower=True, actor=None, now=NOW)


def test_a_draft_asks_when_its_version_changes_and_not_at_every_save(cast: Cast) -> None:
    make_published(version="15.2.1", channel=Channel.STABLE)
    release_id = create("15.1.9", Channel.STABLE, ask=False)

    def save(version: str) -> None:
        with transaction():
            drafts.edit_draft(
                release_id, revision=get(release_id).revision, version=version, channel=Channel.STABLE, kind=None, expires_on=None,
                words=drafts.Words(), ask_if_lower=True, actor=None, now=NOW,
            )  # fmt: skip

    save("15.1.9.0")
    with pytest.raises(Invalid, match="lower"):
        save("15.1.8")
    assert get(release_id).version == "15.1.9.0"
    save("15.2.2")


@pytest.mark.parametrize("version", ["15.3", "16.0.1", "15.3.post1"])
def test_the_beta_channel_takes_no_version_of_a_final(cast: Cast, version: str) -> None:
    with pytest.raises(Invalid, match="Write which beta it is") as refusal:
        create(version, Channel.BETA)
    assert refusal.value.field == "version"


@pytest.mark.parametrize("version", ["15.3a1", "15.3b2", "15.3rc1", "15.3.dev4"])
def test_the_beta_channel_takes_every_version_before_a_final(cast: Cast, version: str) -> None:
    assert get(create(version, Channel.BETA)).version == version
