"""Who sees which item: by list, search, count and id."""

import pytest

from portal.database import transaction
from portal.errors import NotFound
from portal.feedback import board, reading
from portal.feedback.access import ReadOnly, viewer_of
from portal.feedback.board import Filter, Scope
from portal.feedback.models import Status, Visibility
from portal.feedback.paging import Place
from portal.releases.models import Channel
from tests.board import answer, comment, person, release, suspended, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def titles(email: str, **filters: object) -> set[str]:
    page = board.list_items(viewer(email), Filter(**filters), Place(), now=NOW)  # type: ignore[arg-type]
    return {row.item.title for row in page.rows}


def total(email: str, **filters: object) -> int:
    return board.read(viewer(email), Filter(**filters), Place(), now=NOW)[1].total  # type: ignore[arg-type]


def test_an_item_for_all_is_seen_by_every_subscriber_of_the_product_and_by_no_one_else(cast: Cast) -> None:
    item_id = write(cast.alice, "Pause a macro")
    for email in (cast.alice, cast.bob, cast.carol, cast.dave, cast.petra):
        assert titles(email) == {"Pause a macro"}
    for email in (cast.erin, cast.frank):
        assert titles(email) == set()
        assert total(email) == 0
        with pytest.raises(NotFound):
            reading.read(viewer(email), item_id, now=NOW)


def test_a_private_item_shows_to_the_own_organisation_and_staff_alone(cast: Cast) -> None:
    item_id = write(cast.alice, "Zebra report", visibility=Visibility.PRIVATE)
    for email in (cast.alice, cast.bob, cast.petra):
        assert titles(email, search="zebra") == {"Zebra report"}
        assert reading.read(viewer(email), item_id, now=NOW).item.title == "Zebra report"
    for email in (cast.carol, cast.dave, cast.erin, cast.frank):
        assert titles(email) == titles(email, search="zebra") == titles(email, scope=Scope.ORGANIZATION) == set()
        assert total(email) == total(email, search="zebra") == 0
        with pytest.raises(NotFound):
            reading.read(viewer(email), item_id, now=NOW)


def test_nobody_votes_or_comments_on_what_they_cannot_see(cast: Cast) -> None:
    item_id = write(cast.alice, visibility=Visibility.PRIVATE)
    for email in (cast.carol, cast.frank, cast.erin):
        with pytest.raises(NotFound):
            vote(email, item_id)
        with pytest.raises(NotFound):
            comment(email, item_id, "Me too")


def test_the_lapsed_read_but_do_not_write_vote_or_comment(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert reading.read(viewer(cast.dave), item_id, now=NOW).may_write is False
    for act in (lambda: vote(cast.dave, item_id), lambda: comment(cast.dave, item_id, "Me too"), lambda: write(cast.dave)):
        with pytest.raises(ReadOnly):
            act()


def test_items_about_a_beta_are_hidden_from_the_lapsed(cast: Cast) -> None:
    release("15.3b2")
    release("15.2", Channel.STABLE)
    beta_item = write(cast.alice, "Crash in the beta", version="15.3b2")
    write(cast.alice, "Crash in the stable release", version="15.2")
    assert titles(cast.dave) == {"Crash in the stable release"}
    assert titles(cast.dave, search="beta") == set()
    assert total(cast.dave) == 1
    with pytest.raises(NotFound):
        reading.read(viewer(cast.dave), beta_item, now=NOW)
    assert titles(cast.carol) == {"Crash in the beta", "Crash in the stable release"}


def test_an_item_in_a_beta_reads_planned_to_the_lapsed_whichever_way_they_ask(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED, version="15.3")
    answer(item_id, Status.IN_BETA, release_id=release("15.3b2"), response="Please test beta 2.")
    comment(cast.carol, item_id, "Beta 2 works here.")
    told = reading.read(viewer(cast.dave), item_id, now=NOW)
    assert (told.status, told.version, told.response, told.comments) == (Status.PLANNED, "", "", [])
    assert [(step.status, step.version) for step in told.steps] == [(Status.PLANNED, "15.3")]
    assert titles(cast.dave, status=Status.IN_BETA) == set()
    assert titles(cast.dave, status=Status.PLANNED) == {"Pause a macro"}
    assert board.read(viewer(cast.dave), Filter(), Place(), now=NOW)[1].by_status == {Status.PLANNED: 1}
    assert reading.read(viewer(cast.carol), item_id, now=NOW).version == "15.3b2"


def test_a_lapse_closes_the_door_and_a_renewal_opens_it_again(cast: Cast) -> None:
    release("15.3b2")
    write(cast.alice, "Crash in the beta", version="15.3b2")
    with suspended(cast.other_contract):
        assert titles(cast.carol) == set()
        assert viewer(cast.carol).lapsed
    assert titles(cast.carol) == {"Crash in the beta"}


def test_a_closed_account_and_a_released_seat_see_nothing(cast: Cast) -> None:
    from portal.account import contacts
    from tests.board import contract

    write(cast.alice)
    with transaction():
        contacts.release_contact(contacts.live_contacts(contract(cast.other_contract).id)[0], actor=None, now=NOW)
        person(cast.bob).active = False
    assert titles(cast.carol) == titles(cast.bob) == set()
    assert not viewer_of(person(cast.carol), NOW).may_read


def test_a_search_takes_wildcards_for_letters(cast: Cast) -> None:
    write(cast.alice, "Show 100% of the log")
    write(cast.alice, "Show 1000 lines of the log")
    assert titles(cast.alice, search="100%") == {"Show 100% of the log"}
    assert titles(cast.alice, search="log lock") == {"Show 100% of the log", "Show 1000 lines of the log"}
    assert titles(cast.alice, search="l_g") == titles(cast.alice, search="l%") == set()
    assert titles(cast.alice, search="\0") == titles(cast.alice, search="%") == set()


def test_mine_our_organisation_s_and_voted_narrow_the_list(cast: Cast) -> None:
    write(cast.alice, "Alice's")
    write(cast.bob, "Bob's")
    carols = write(cast.carol, "Carol's")
    vote(cast.alice, carols)
    assert titles(cast.bob, scope=Scope.MINE) == {"Bob's"}
    assert titles(cast.bob, scope=Scope.ORGANIZATION) == {"Alice's", "Bob's"}
    assert titles(cast.bob, scope=Scope.VOTED) == {"Alice's", "Bob's", "Carol's"}
    assert titles(cast.carol, scope=Scope.VOTED) == {"Carol's"}
