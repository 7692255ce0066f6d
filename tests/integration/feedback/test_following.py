"""Who follows an item, and that a merge keeps it."""

import pytest
import sqlalchemy as sa

from portal.database import db, transaction
from portal.errors import Conflict, NotFound
from portal.feedback import followers, merging
from portal.feedback.models import Item, Visibility
from portal.feedback.paging import Place
from tests.board import person, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def following(item_id: int) -> set[str]:
    ids = set(db.session.scalars(followers.of(item_id)))
    return {email for email in ("alice", "bob", "carol", "dave", "petra") if person_id(email) in ids}


def person_id(name: str) -> int:
    domains = {"alice": "logistics", "bob": "logistics", "carol": "foods", "dave": "mill", "petra": "vendor"}
    return person(f"{name}@{domains[name]}.example.org").id


def choose(email: str, item_id: int, wanted: bool) -> None:
    with transaction():
        followers.choose(viewer(email), item_id, wanted=wanted, now=NOW)


def listed(email: str) -> list[int]:
    return [row.item.id for row in followers.list_followed(viewer(email), Place()).rows]


def merge(item_id: int, target_id: int) -> None:
    with transaction():
        items = {item.id: item.revision for item in db.session.scalars(sa.select(Item))}
        merging.merge(item_id, target_id, revisions=(items[item_id], items[target_id]), actor=person("petra@vendor.example.org"), now=NOW)


def test_who_writes_or_votes_follows_and_others_may(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    assert following(item_id) == {"alice", "carol"}
    choose(cast.bob, item_id, True)
    assert following(item_id) == {"alice", "bob", "carol"}
    assert followers.count(item_id) == 3
    assert listed(cast.bob) == [item_id]


def test_a_no_stays_a_no_until_the_person_takes_it_back(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    choose(cast.carol, item_id, False)
    vote(cast.carol, item_id)
    assert (following(item_id), listed(cast.carol)) == ({"alice"}, [])
    choose(cast.carol, item_id, True)
    choose(cast.carol, item_id, True)
    assert "carol" in following(item_id)


def test_what_cannot_be_seen_cannot_be_followed_and_staff_follow_nothing(cast: Cast) -> None:
    item_id = write(cast.alice, visibility=Visibility.PRIVATE)
    with pytest.raises(NotFound):
        choose(cast.carol, item_id, True)
    with pytest.raises(Conflict):
        choose(cast.petra, item_id, True)
    assert following(item_id) == {"alice"}


def test_a_merge_takes_the_followers_along_and_gives_them_back(cast: Cast) -> None:
    target, middle, item = write(cast.alice, "Pause"), write(cast.bob, "Halt"), write(cast.carol, "Stop")
    choose(cast.bob, target, False)
    merge(item, middle)
    merge(middle, target)
    assert following(target) == {"alice", "carol"}, "what bob said of this very one comes first"
    assert listed(cast.carol) == [target]
    choose(cast.carol, target, False)
    assert following(target) == {"alice"}
    with transaction():
        merging.unmerge(middle, actor=person(cast.petra), now=NOW)
    assert (following(target), following(middle)) == ({"alice"}, {"bob", "carol"})
    assert listed(cast.carol) == [middle]
