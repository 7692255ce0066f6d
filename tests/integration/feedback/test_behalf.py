"""Votes that staff note for a caller: of a contract in force, counted once, told to the organisation, and withdrawn by either."""

from datetime import timedelta

import pytest

from portal.account import contracts
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import behalf, cases, reading, votes
from portal.feedback.models import CallChannel, Visibility, Vote
from tests.board import contract, events, merge, person, product, suspended, unmerge, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")
PETRA = "petra@vendor.example.org"


def note(item_id: int, number: str, words: str = "Carol called.", channel: CallChannel = CallChannel.PHONE) -> int:
    with transaction():
        return behalf.note_vote(item_id, number, channel=channel, words=words, actor=person(PETRA), now=NOW).id


def take_back(item_id: int, vote_id: int) -> None:
    with transaction():
        behalf.withdraw_vote(item_id, vote_id, actor=person(PETRA), now=NOW)


def counted(item_id: int) -> int:
    return cases.open_case(item_id, now=NOW).votes


def test_a_noted_vote_counts_and_says_where_it_came_from(cast: Cast) -> None:
    item_id = write(cast.alice)
    note(item_id, cast.other_contract, "Carol called about the night shift.")
    voter = cases.open_case(item_id, now=NOW).voters[0]
    assert (voter.contract.number, voter.vote.channel, voter.vote.words) == (
        cast.other_contract, CallChannel.PHONE, "Carol called about the night shift.",
    )  # fmt: skip
    told = reading.read(viewer(cast.carol), item_id, now=NOW)
    assert (told.votes, told.ours, [given.channel for given in told.our_votes]) == (2, True, [CallChannel.PHONE])
    assert reading.read(viewer(cast.bob), item_id, now=NOW).our_votes[0].channel is None
    assert events("feedback.vote_noted")[0].details == {"contract": cast.other_contract, "channel": "phone"}


def test_a_contract_that_votes_already_has_nothing_to_note(cast: Cast) -> None:
    item_id = write(cast.alice)
    note(item_id, cast.other_contract)
    for number in (cast.contract, cast.other_contract):
        with pytest.raises(Conflict, match="votes for it already"):
            note(item_id, number)
    vote(cast.carol, item_id)
    assert counted(item_id) == 2


def test_the_contract_must_be_in_force_and_of_the_product(cast: Cast) -> None:
    item_id = write(cast.alice)
    for number, why in (
        (cast.lapsed_contract, "not in force"), ("NW-3001", "not for Macro Studio"), ("NW-0000", "There is no contract"), ("", "Enter"),
        ("Example Mill", "not in force"), ("Example Press", "There is no contract"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=why) as refused:
            note(item_id, number)
        assert refused.value.field == "contract"
    with suspended(cast.other_contract), pytest.raises(Invalid, match="not in force"):
        note(item_id, cast.other_contract)
    assert counted(item_id) == 1


def test_an_organisation_s_name_will_do_where_it_has_one_contract(cast: Cast) -> None:
    item_id = write(cast.alice)
    note(item_id, "example foods")
    assert counted(item_id) == 2
    with transaction():
        foods = contract(cast.other_contract).organization
        contracts.create_contract(
            "NW-2043", foods, product(), NOW.date() - timedelta(days=1), time_zone="Europe/Berlin", actor=None, now=NOW
        )  # fmt: skip
    with pytest.raises(Invalid, match="NW-2042, NW-2043"):
        note(write(cast.alice), "Example Foods")


def test_a_private_item_takes_votes_of_its_own_organisation_alone(cast: Cast) -> None:
    item_id = write(cast.alice, visibility=Visibility.PRIVATE)
    with pytest.raises(Invalid, match="private to Example Logistics"):
        note(item_id, cast.other_contract)
    with transaction():
        votes.withdraw(viewer(cast.bob), item_id, now=NOW)
    note(item_id, cast.contract)
    assert counted(item_id) == 1


def test_the_words_are_needed_and_bounded(cast: Cast) -> None:
    item_id = write(cast.alice)
    for words in ("", "x" * 501, "two\nlines"):
        with pytest.raises(Invalid) as refused:
            note(item_id, cast.other_contract, words)
        assert refused.value.field == "words"


def test_staff_withdraw_what_they_noted_and_nothing_else(cast: Cast) -> None:
    item_id = write(cast.alice)
    noted = note(item_id, cast.other_contract)
    own = next(voter.vote.id for voter in cases.open_case(item_id, now=NOW).voters if voter.contract.number == cast.contract)
    for unknown in (0, 999, 2**40):
        with pytest.raises(NotFound):
            note(unknown, cast.other_contract)
    for other_item, other_vote in ((item_id, own), (write(cast.alice), noted), (item_id, 999), (999, noted), (0, noted), (2**40, 2**40)):
        with pytest.raises(NotFound):
            take_back(other_item, other_vote)
    for _ in range(2):
        take_back(item_id, noted)
    assert counted(item_id) == 1
    assert len(events("feedback.noted_vote_withdrawn")) == 1
    assert note(item_id, cast.other_contract) != noted


def test_the_organisation_withdraws_a_noted_vote_like_its_own(cast: Cast) -> None:
    item_id = write(cast.alice)
    noted = note(item_id, cast.other_contract)
    with transaction():
        votes.withdraw(viewer(cast.carol), item_id, now=NOW)
    assert counted(item_id) == 1
    assert db.session.get_one(Vote, noted).withdrawn_at == NOW
    vote(cast.carol, item_id)
    assert reading.read(viewer(cast.carol), item_id, now=NOW).our_votes[0].channel is None


def test_a_noted_vote_follows_a_merge_with_where_it_came_from(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.alice, "New")
    note(item_id, cast.other_contract, "Said at the fair.", CallChannel.MEETING)
    merge(item_id, target)
    copied = next(voter.vote for voter in cases.open_case(target, now=NOW).voters if voter.vote.channel)
    assert (copied.channel, copied.words) == (CallChannel.MEETING, "Said at the fair.")
    take_back(target, copied.id)
    unmerge(item_id)
    assert (counted(item_id), counted(target)) == (1, 1)


def test_a_vote_noted_on_a_merged_item_is_noted_on_its_target(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.alice, "New")
    merge(item_id, target)
    note(item_id, cast.other_contract)
    assert counted(target) == 2


def test_contracts_that_can_be_noted_are_proposed(cast: Cast) -> None:
    item_id = write(cast.alice)
    cases_item = cases.open_case(item_id, now=NOW).item
    assert behalf.contracts_to_choose(cases_item, NOW) == {cast.other_contract: "Example Foods"}
    with suspended(cast.other_contract):
        assert behalf.contracts_to_choose(cases_item, NOW) == {}
