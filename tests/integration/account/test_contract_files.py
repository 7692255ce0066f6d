"""Contracts that go out as a file and come back the same; and files that are refused by row and column."""

import io
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from portal.account import contacts, contract_files, contracts, directory
from portal.account.contracts import ContractState
from portal.account.imports import Outcome
from portal.account.models import Contact, Contract, Invitation, Organization, Suspension, Term, User, roles_users
from portal.account.orders import Order
from portal.database import db, transaction
from portal.errors import Invalid
from portal.notices.models import Delivery, Notice, Subscription
from portal.products.models import Product
from tests.builds import find_contract
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")
HEADER = ",".join(contract_files.COLUMNS)
WIDE = ",".join([*contract_files.COLUMNS, "price", "currency", "order_reference", "region"])


def export() -> str:
    file = io.StringIO()
    contract_files.write(directory.all_contracts(NOW), file)
    return file.getvalue()


def bring_in(text: str, *, invite: bool = False) -> Outcome:
    with transaction():
        rows = contract_files.read(text.encode())
        return contract_files.import_contracts(rows, default_zone="Europe/Berlin", invite=invite, actor=None, now=NOW)


def refused(*lines: str, header: str = HEADER) -> list[str]:
    """Import a file that is wrong; return what is said of it, and see that nothing was kept."""
    before = db.session.scalar(sa.select(sa.func.count()).select_from(Contract))
    with pytest.raises(Invalid) as refusal:
        bring_in("\n".join([header, *lines, ""]))
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Contract)) == before
    return str(refusal.value).splitlines()[1:]


def forget_everything() -> None:
    """Leave the products and the staff: an empty portal of the same vendor."""
    with transaction() as session:
        staff = sa.select(roles_users.c.user_id)
        for model in (Subscription, Delivery, Invitation, Notice, Contact, Term, Suspension, Contract):
            session.execute(sa.delete(model))
        session.execute(sa.delete(User).where(User.id.not_in(staff)))
        session.execute(sa.delete(Organization))


def test_what_goes_out_comes_back_the_same(cast: Cast) -> None:
    """Several terms with a gap, prices, orders, a region, both seats or the second one alone, and what was stopped."""
    with transaction():
        contract = find_contract(cast.contract)
        contracts.change_place(contract, region="Americas", time_zone="America/New_York", actor=None, now=NOW)
        contracts.renew(contract, order=Order(123_750, "EUR", '=HYPERLINK("x")'), actor=None, now=NOW)
        lapsed = find_contract(cast.lapsed_contract)
        contracts.renew(lapsed, order=Order(0, "USD", "- 7"), actor=None, now=NOW)
        contracts.suspend(find_contract("NW-3001"), actor=None, now=NOW)
        carol = contacts.live_contacts(find_contract(cast.other_contract).id)[0]
        contacts.name_contact(find_contract(cast.other_contract), name="@Nina, “N”", email="nina@foods.example.org", actor=None, now=NOW)
        contacts.release_contact(carol, actor=None, now=NOW)
        contracts.cancel(find_contract(cast.other_contract), actor=None, now=NOW)
    before = export()
    assert before.count("\r\n") == 7  # the names of the columns, four contracts, two further terms
    assert not [cell for cell in before.replace('"', "").split(",") if cell.startswith(("=", "+", "@", "-"))]
    assert bring_in(before) == Outcome(added=0, unchanged=4)
    forget_everything()
    assert bring_in(before) == Outcome(added=4)
    assert export() == before
    states = {row.contract.number: row.standing.state for row in directory.all_contracts(NOW)}
    assert states[cast.other_contract] is ContractState.CANCELLED
    assert states["NW-3001"] is ContractState.SUSPENDED


def test_the_new_columns_may_be_there_in_any_order(cast: Cast) -> None:
    bring_in(
        "region,price," + HEADER + ",currency,order_reference\n"
        'Europe,"1,237.50",NW-7001,Example Garden,macro-studio,2026-11-01,,,Gwen,gwen@garden.example.org,,,eur,PO-77\n'
    )
    contract = find_contract("NW-7001")
    assert (contract.region, contracts.order_of(contract.terms[0])) == ("Europe", Order(123_750, "EUR", "PO-77"))


def test_a_term_without_a_price_costs_the_usual(cast: Cast) -> None:
    bring_in(f"{HEADER}\nNW-7001,Example Garden,macro-studio,2026-11-01,,,,,,\n")
    assert contracts.order_of(find_contract("NW-7001").terms[0]) == Order(49_500, "USD")


def test_further_rows_add_terms_and_may_leave_out_what_was_said(cast: Cast) -> None:
    outcome = bring_in(
        f"{HEADER}\nNW-7001,Example Garden,macro-studio,2024-11-01,,,Gwen,gwen@garden.example.org,,\n"
        "NW-7001,,,2025-11-01,,,,,,\nNW-7001,Example Garden,macro-studio,2026-11-01,2028-01-31,,,,,\n"
    )
    assert outcome == Outcome(added=1)
    assert [(term.starts_on, term.ends_on) for term in find_contract("NW-7001").terms] == [
        (date(2024, 11, 1), date(2025, 10, 31)), (date(2025, 11, 1), date(2026, 10, 31)), (date(2026, 11, 1), date(2028, 1, 31)),
    ]  # fmt: skip


def test_a_file_imported_again_changes_nothing_and_invites_nobody(cast: Cast) -> None:
    text = f"{HEADER}\nNW-7001,Example Garden,macro-studio,2026-11-01,,,Gwen,gwen@garden.example.org,,\n"
    assert bring_in(text, invite=True) == Outcome(added=1)
    again = text.replace("NW-7001", "nw-7001").replace("Gwen", "Gus").replace("gwen", "gus").replace("2026", "2027")
    assert bring_in(again, invite=True) == Outcome(unchanged=1)
    assert db.session.scalars(sa.select(Delivery.address)).all() == ["gwen@garden.example.org"]
    assert len(find_contract("NW-7001").terms) == 1


def test_nobody_is_invited_to_a_contract_that_is_over_for_good(cast: Cast) -> None:
    bring_in(f"{HEADER},state\nNW-7001,Example Garden,macro-studio,2026-11-01,,,Gwen,gwen@garden.example.org,,,cancelled\n", invite=True)
    assert db.session.scalars(sa.select(Delivery.address)).all() == []


def test_each_error_is_named_by_row_and_column(cast: Cast) -> None:
    said = refused(
        "NW-7001,Example Garden,macro-studio,2026-11-01,,,,,,,x,,,",
        "NW-7002,Example Garden,macro-studio,2026-11-01,,,,,,,,dollars,,",
        "NW-7003,Example Garden,macro-studio,2026-11-01,,,,,,,,,,Atlantis",
        f"NW-7004,Example Garden,macro-studio,2026-11-01,,,,,,,,,{'x' * 81},",
        "NW-7005,Example Garden,macro-studio,2026-11-01,,,,,,,,,,",
        "NW-7005,Example Meadow,macro-studio,2027-11-01,,,,,,,,,,",
        "NW-7005,Example Garden,macro-studio,2027-06-01,,,,,,,,,,",
        "import,Example Garden,macro-studio,2026-11-01,,,,,,,,,,",
        "NW-7006,Example Garden,macro-studio,0001-01-01,,,,,,,,,,",
        header=WIDE,
    )
    assert [line.partition(":")[0] for line in said] == [
        "Row 2, price", "Row 3, currency", "Row 4, region", "Row 5, order_reference", "Row 7, organization", "Row 8, number",
        "Row 9, number", "Row 10, starts_on",
    ]  # fmt: skip


def test_all_that_is_wrong_with_a_row_is_told_at_once_by_column(cast: Cast) -> None:
    said = refused(
        f"a/b,,nothing,soon,0001-01-01,Mars,{'x' * 121},nobody,Anton,{cast.anton},x,dollars,{'x' * 81},Atlantis,on",
        f"NW-7001,Example Garden,macro-studio,2026-11-01,2026-10-01,,Gwen,{cast.alice},,,x,,,Atlantis,",
        "NW-7002,Example Garden,macro-studio,2026-11-01,,,Gwen,gwen@garden.example.org,Gus,gwen@garden.example.org,,,,,",
        "NW-7003,Example Garden,macro-studio,2026-11-01,,,,,,,,,,,",
        "NW-7003,Example Meadow,form-filler,2027-11-01,,,,,,,x,,,,",
        f"{cast.contract},Example Garden,macro-studio,soon,,,,,,,x,,,,",
        header=f"{WIDE},state",
    )
    assert [line.partition(":")[0].removeprefix("Row ") for line in said] == [
        "2, product", "2, starts_on", "2, ends_on", "2, price", "2, currency", "2, order_reference", "2, state", "2, number",
        "2, organization", "2, time_zone", "2, region", "2, contact1_name", "2, contact1_email", "2, contact2_email",
        "3, ends_on", "3, price", "3, region", "3, contact1_email",
        "4, contact2_email",
        "6, price", "6, organization", "6, product",
        "7, starts_on", "7, price", "7",
    ]  # fmt: skip


@pytest.mark.parametrize("header", [f"{HEADER},number", f"{HEADER},discount", HEADER.replace("number,", "")])
def test_a_file_with_other_columns_is_refused(cast: Cast, header: str) -> None:
    with pytest.raises(Invalid, match="must name the columns"):
        contract_files.read(f"{header}\n".encode())


def test_the_list_is_narrowed_by_state_end_and_order(cast: Cast) -> None:
    """Each state's list holds those of which `standing` says so."""
    with transaction():
        organization, product = find_contract(cast.contract).organization, db.session.scalars(sa.select(Product)).first()
        assert product is not None
        for days in (0, 1, 29, 30, 31, 60, 90, 91):
            contracts.create_contract(
                f"E-{days}", organization, product, NOW.date() - timedelta(days=300), ends_on=NOW.date() + timedelta(days=days),
                time_zone="UTC", order=Order(1, "USD", f"PO-{days}"), actor=None, now=NOW,
            )  # fmt: skip
        contracts.create_contract("U-1", organization, product, NOW.date() + timedelta(days=1), time_zone="UTC", actor=None, now=NOW)
        contracts.renew(find_contract("E-29"), actor=None, now=NOW)
        contracts.suspend(find_contract("E-1"), actor=None, now=NOW)
        contracts.cancel(find_contract("E-31"), actor=None, now=NOW)

    def numbers(wanted: directory.Wanted) -> list[str]:
        return [row.contract.number for row in directory.all_contracts(NOW, wanted)]

    everything = list(directory.all_contracts(NOW))
    for state in ContractState:
        listed = numbers(directory.Wanted(state=state))
        assert listed == [row.contract.number for row in everything if row.standing.state is state]
        assert listed, state
    assert numbers(directory.Wanted(ending_in=30)) == ["E-0", "E-30"]
    assert numbers(directory.Wanted(ending_in=90)) == ["E-0", "E-30", "E-60", "E-90"]
    assert numbers(directory.Wanted(query="po-9", ending_in=90)) == ["E-90"]
    assert numbers(directory.Wanted(query="PO-91")) == ["E-91"]


def test_contracts_that_end_soon_are_paged_without_gap_or_repeat(cast: Cast) -> None:
    with transaction():
        organization, product = find_contract(cast.contract).organization, find_contract(cast.contract).product
        for number in range(7):
            contracts.create_contract(
                f"E-{number}", organization, product, NOW.date() - timedelta(days=9), ends_on=NOW.date() + timedelta(days=5 - number // 3),
                time_zone="UTC", actor=None, now=NOW,
            )  # fmt: skip
    wanted, found, after = directory.Wanted(ending_in=30), [], None
    while True:
        page = directory.contracts_page(wanted, after, NOW, size=2)
        found += [row.contract.number for row in page.rows]
        if page.next_key is None:
            break
        after = page.next_key
    assert found == ["E-6", "E-3", "E-4", "E-5", "E-0", "E-1", "E-2"]
    for nonsense in ("", "soon", "2026-13-01/E-1", "\ud800"):
        assert len(directory.contracts_page(wanted, nonsense, NOW).rows) == 7
