"""The inbox: what waits for whom, and the facts it is sorted by."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from portal.account import contracts
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import cases, inbox, tags, triage
from portal.feedback.inbox import InboxFilter, Sort, View
from portal.feedback.models import Item, ItemKind, Severity, Status, Visibility
from portal.feedback.paging import Place
from tests.board import answer, comment, contract, events, person, release, suspended, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def titles(**filters: object) -> list[str]:
    return [row.item.title for row in inbox.inbox(InboxFilter(**filters), Place(), now=NOW).rows]  # type: ignore[arg-type]


def read(item_id: int) -> None:
    with transaction():
        triage.mark_read(item_id, read=True, now=NOW)


def assign(item_id: int, to: int | None, seen: int | None = None) -> None:
    with transaction():
        triage.assign(item_id, to, seen=seen, actor=person("petra@vendor.example.org"), now=NOW)


def test_the_unread_are_a_list_and_a_comment_brings_an_item_back(cast: Cast) -> None:
    first, second = write(cast.alice, "First"), write(cast.alice, "Second", visibility=Visibility.PRIVATE)
    assert (titles(view=View.UNREAD), inbox.count(InboxFilter())[View.UNREAD]) == (["Second", "First"], 2)
    read(second)
    read(first)
    assert (titles(view=View.UNREAD), inbox.count(InboxFilter())[View.UNREAD]) == ([], 0)
    comment(cast.carol, first, "We need it too")
    assert titles(view=View.UNREAD) == ["First"]
    assert titles() == ["Second", "First"]


def test_each_fact_is_a_column_to_sort_by_and_none_is_mixed_with_another(cast: Cast) -> None:
    with transaction():
        contract(cast.other_contract).terms[0].price_cents = 80_000
        contract(cast.contract).terms[0].ends_on = NOW.date() + timedelta(days=90)
    many = write(cast.alice, "Many contracts")
    vote(cast.carol, many)
    write(cast.carol, "Worth more", kind=ItemKind.PROBLEM, severity=Severity.LOW, now=NOW - timedelta(days=1))
    write(cast.alice, "Ends soon", kind=ItemKind.PROBLEM, severity=Severity.HIGH, now=NOW - timedelta(days=2))
    rows = {row.item.title: row for row in inbox.inbox(InboxFilter(), Place(), now=NOW).rows}
    assert {title: (row.votes, row.ending) for title, row in rows.items()} == {
        "Many contracts": (2, 1), "Worth more": (1, 0), "Ends soon": (1, 1),
    }  # fmt: skip
    # 151 days, from 60 days ago to 90 days ahead, are five months: 49500 * 12 / 5 a year.
    assert (rows["Worth more"].cents, rows["Ends soon"].cents) == (80_000, 118_800)
    assert {sort: titles(sort=sort) for sort in Sort if sort is not Sort.CHANGED} == {
        Sort.NEWEST: ["Many contracts", "Worth more", "Ends soon"],
        Sort.CONTRACTS: ["Many contracts", "Ends soon", "Worth more"],
        Sort.VALUE: ["Many contracts", "Ends soon", "Worth more"],
        Sort.ENDING: ["Ends soon", "Many contracts", "Worth more"],
        Sort.SEVERITY: ["Ends soon", "Worth more", "Many contracts"],
    }
    with suspended(cast.contract):
        assert titles(sort=Sort.VALUE)[-1] == "Ends soon"
        assert [row.ending for row in inbox.inbox(InboxFilter(), Place(), now=NOW).rows] == [0, 0, 0]


def test_a_contract_that_is_renewed_already_does_not_end_soon(cast: Cast) -> None:
    item_id = write(cast.alice)
    with transaction():
        contract(cast.contract).terms[0].ends_on = NOW.date() + timedelta(days=30)
    assert (cases.open_case(item_id, now=NOW).ending, cases.open_case(item_id, now=NOW).voters[0].ends_soon) == (1, True)
    with transaction():
        contracts.renew(contract(cast.contract), actor=None, now=NOW)
    assert (cases.open_case(item_id, now=NOW).ending, cases.open_case(item_id, now=NOW).voters[0].ends_soon) == (0, False)


def test_value_is_shown_by_currency_and_lapsed_contracts_have_none(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    with transaction():
        contract(cast.other_contract).terms[0].price_cents = 80_000
        contract(cast.other_contract).terms[0].currency = "EUR"
    assert cases.value_of(item_id, NOW) == {"EUR": 80_000, "USD": 49_500}
    with suspended(cast.other_contract):
        case = cases.open_case(item_id, now=NOW)
        assert (case.votes, case.value) == (1, {"USD": 49_500})
        assert [voter.contract.number for voter in case.voters] == [cast.contract]


def test_filters_narrow_the_list_together(cast: Cast) -> None:
    beta = release("15.3b2")
    about = write(cast.alice, "About the beta", version="15.3b2", kind=ItemKind.PROBLEM, severity=Severity.LOW)
    planned = write(cast.carol, "Brought by the beta")
    write(cast.frank, "Of another product", slug=cast.other_product)
    answer(planned, Status.IN_BETA, release_id=beta)
    with transaction():
        tag = tags.add_tag(about, "Scheduler", actor=person(cast.petra), now=NOW).id
    assert titles(release_id=beta) == ["Brought by the beta", "About the beta"]
    assert titles(release_id=beta, kind=ItemKind.PROBLEM) == ["About the beta"]
    assert titles(tag_id=tag) == ["About the beta"]
    assert titles(tag_id=tag, status=Status.IN_BETA) == []
    assert titles(search="product") == ["Of another product"]
    assert titles(search="beta", product_id=db.session.get_one(Item, about).product_id) == ["Brought by the beta", "About the beta"]


def test_somebody_looks_after_an_item_and_finds_it_among_theirs(cast: Cast) -> None:
    mine, other = write(cast.alice, "Mine"), write(cast.alice, "Another one's")
    petra, ada = person(cast.petra).id, person(cast.ada).id
    assign(mine, petra)
    assign(other, ada)
    assert titles(view=View.MINE, person_id=petra) == ["Mine"]
    assert inbox.count(InboxFilter(person_id=petra))[View.MINE] == 1
    assert titles(view=View.UNASSIGNED) == []
    assign(mine, None, seen=petra)
    assert titles(view=View.UNASSIGNED) == ["Mine"]
    assert [(event.subject_id, event.details) for event in events("feedback.assigned")] == [
        (mine, {"before": None, "after": petra}), (other, {"before": None, "after": ada}), (mine, {"before": petra, "after": None}),
    ]  # fmt: skip


def test_the_second_who_assigns_is_told_and_overwrites_nothing(cast: Cast) -> None:
    item_id = write(cast.alice)
    petra, ada = person(cast.petra).id, person(cast.ada).id
    assign(item_id, petra)
    with pytest.raises(Conflict, match="Petra Example"):
        assign(item_id, ada)
    assign(item_id, petra)  # the same wish twice is no conflict
    assert db.session.get_one(Item, item_id).assignee_id == petra


def test_only_the_product_team_looks_after_items(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert [member.email for member in triage.product_staff()] == [cast.ada, cast.petra]
    for email in (cast.alice, cast.anton):
        with pytest.raises(Invalid) as refused:
            assign(item_id, person(email).id)
        assert refused.value.field == "assignee"
    with transaction():
        person(cast.ada).active = False
    with pytest.raises(Invalid):
        assign(item_id, person(cast.ada).id)
    with pytest.raises(NotFound):
        assign(999, person(cast.petra).id)


def test_what_waits_for_a_first_decision_is_counted_from_the_oldest(cast: Cast) -> None:
    assert inbox.waiting() == inbox.Waiting(0, None)
    write(cast.alice, now=NOW - timedelta(days=6))
    answered = write(cast.alice, now=NOW - timedelta(days=9))
    answer(answered, Status.PLANNED)
    assert inbox.waiting() == inbox.Waiting(1, NOW - timedelta(days=6))


def test_pages_follow_each_other_whatever_the_list_is_sorted_by(app: Flask, cast: Cast) -> None:
    for number in range(5):
        write(cast.alice, f"Item {number}", kind=ItemKind.PROBLEM, severity=list(Severity)[number % 3])

    def walk(go: Callable[[str], Place], place: Place, sort: Sort) -> list[str]:
        page = inbox.inbox(InboxFilter(sort=sort), place, now=NOW, size=2)
        rest = walk(go, go(page.older), sort) if page.older else []
        return [row.item.title for row in page.rows] + rest

    for sort in Sort:
        assert sorted(walk(lambda key: Place(after=key), Place(), sort)) == [f"Item {number}" for number in range(5)], sort
