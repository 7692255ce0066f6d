"""The commands of accounts, run as `portal` runs them, on both databases."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from click.testing import CliRunner, Result
from flask import Flask

from portal.account.models import Contract, User
from portal.cli import main
from portal.database import db
from portal.notices.models import Delivery, Notice
from tests.cast import Cast
from tests.conftest import NOW, SECRET

Run = Callable[..., Result]
HEADER = "number,organization,product,starts_on,ends_on,time_zone,contact1_name,contact1_email,contact2_name,contact2_email\n"
ROWS = (
    "NW-7001,Example Garden,macro-studio,2026-11-01,,Europe/Berlin,Gwen,gwen@garden.example.org,Gus,gus@garden.example.org\n"
    "NW-7002,Example Garden,form-filler,2026-01-01,2028-06-30,,,,,\n"
)


@pytest.fixture
def run(app: Flask, cast: Cast, tmp_path: Path, database_url: str) -> Run:
    """Run `portal` with these arguments, as another process would: with settings from the environment alone."""
    environment = {"DATA_DIR": str(tmp_path), "DATABASE_URL": database_url, "SECRET_KEY": SECRET, "WEB_THREADS": "4"}

    def do(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), input=stdin, env=environment)

    return do


def mails(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        rows = db.session.execute(sa.select(Notice.kind, Delivery.address).join(Delivery).order_by(Delivery.id)).all()
        db.session.remove()
    return [(kind, address) for kind, address in rows]


def listed(run: Run) -> dict[str, dict[str, object]]:
    return {contract["number"]: contract for contract in json.loads(run("contract", "list", "--json").stdout)}


def test_the_first_admin_is_made_and_mailed_a_link(app: Flask, run: Run) -> None:
    result = run("staff", "add", "Boss@vendor.example.org", "--role", "admin", "--role", "accounts", "--name", "Boss")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "boss@vendor.example.org is staff: accounts, admin.")
    assert mails(app) == [("staff_invitation", "boss@vendor.example.org")]


def test_a_password_of_staff_can_come_from_standard_input(app: Flask, run: Run) -> None:
    refused = run("staff", "add", "boss@vendor.example.org", "--role", "admin", "--password-stdin", stdin="short\n")
    assert (refused.exit_code, "12 characters" in refused.stderr) == (1, True)
    assert (
        run("staff", "add", "boss@vendor.example.org", "--role", "admin", "--password-stdin", stdin="a long enough password\n").exit_code
        == 0
    )
    assert mails(app) == []
    client = app.test_client()
    page = client.get("/sign-in").get_data(as_text=True)
    token = page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    data = {"csrf_token": token, "email": "boss@vendor.example.org", "password": "a long enough password"}
    assert client.post("/sign-in", data=data).status_code == 302


def test_a_contract_lives_by_commands(app: Flask, run: Run) -> None:
    made = run(
        "contract", "create", "NW-6000", "--organization", "Example Garden", "--product", "macro-studio", "--starts-on", "2026-11-01"
    )
    assert (made.exit_code, made.stdout) == (0, "Contract NW-6000 is made: 2026-11-01 to 2027-10-31.\n")
    for name in ("gwen", "gus"):
        assert run("contract", "name-contact", "NW-6000", "--name", name, "--email", f"{name}@garden.example.org").exit_code == 0
    third = run("contract", "name-contact", "NW-6000", "--name", "gil", "--email", "gil@garden.example.org")
    assert (third.exit_code, "Both seats" in third.stderr) == (1, True)
    assert run("contract", "correct-address", "NW-6000", "gus@garden.example.org", "gustav@garden.example.org").exit_code == 0
    for act in ("renew", "suspend", "resume"):
        assert run("contract", act, "NW-6000").exit_code == 0
    assert run("contract", "resume", "NW-6000").exit_code == 1
    contract = listed(run)["NW-6000"]
    assert contract["state"] == "active"
    assert contract["terms"] == [
        {"starts_on": "2026-11-01", "ends_on": "2027-10-31"},
        {"starts_on": "2027-11-01", "ends_on": "2028-10-31"},
    ]
    who = json.loads(run("contract", "who", "NW-6000", "--json").stdout)
    assert [contact["email"] for contact in who] == ["gwen@garden.example.org", "gustav@garden.example.org"]
    assert "Nobody holds a seat" in run("contract", "who", "NW-6000", "--on", "2020-01-01").stdout
    assert run("contract", "cancel", "NW-6000").exit_code == 0
    assert listed(run)["NW-6000"]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["contract", "renew", "NW-0000"], 1, "no contract NW-0000"),
        (["contract", "create", "NW-6000", "--organization", "O", "--product", "nothing", "--starts-on", "2026-11-01"], 1, "no product"),
        (["contract", "create", "NW-6000", "--organization", "O", "--product", "macro-studio", "--starts-on", "soon"], 2, "soon"),
        (["contract", "create", "NW-2041", "--organization", "O", "--product", "macro-studio", "--starts-on", "2026-11-01"], 1, "already"),
        (["contract", "name-contact", "NW-2042", "--name", "x", "--email", "a@b\nc"], 1, "line breaks"),
        (["staff", "add", "x@example.org", "--role", "king"], 2, "king"),
        (["staff", "add", "alice@logistics.example.org", "--role", "admin"], 1, "customer's seat"),
        (["customer", "add", "erin@press.example.org", "--organization", "Example Press"], 1, "known already"),
        (["contract", "import", "/nowhere.csv"], 2, "nowhere.csv"),
    ],
)
def test_a_refusal_is_exit_code_1_with_the_reason_and_wrong_usage_2(run: Run, arguments: list[str], code: int, text: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, text in result.stderr) == (code, True)
    assert "Traceback" not in result.output


def test_an_import_adds_contracts_once_and_invites(app: Flask, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "contracts.csv"
    file.write_text("\ufeff" + HEADER + ROWS + "\n", encoding="utf-8")
    assert "2 contracts added, 0 known already." in run("contract", "import", str(file)).stdout
    assert "0 contracts added, 2 known already." in run("contract", "import", str(file)).stdout
    contracts = listed(run)
    assert contracts["NW-7001"]["terms"] == [{"starts_on": "2026-11-01", "ends_on": "2027-10-31"}]
    assert contracts["NW-7002"]["terms"] == [{"starts_on": "2026-01-01", "ends_on": "2028-06-30"}]
    assert mails(app) == [("invitation", "gwen@garden.example.org"), ("invitation", "gus@garden.example.org")]


def test_an_import_can_be_tried_and_can_stay_silent(app: Flask, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "contracts.csv"
    file.write_text(HEADER + ROWS)
    assert "Dry run: nothing was kept." in run("contract", "import", str(file), "--dry-run").stdout
    assert "NW-7001" not in listed(run)
    assert run("contract", "import", str(file), "--no-invitations").exit_code == 0
    assert mails(app) == []


def test_an_import_names_each_error_by_row_and_column_and_keeps_nothing(app: Flask, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "contracts.csv"
    file.write_text(
        HEADER
        + ROWS
        + "NW-7003,Example Garden,nothing,2026-11-01,,,,,,\n"
        + "NW-7004,Example Garden,macro-studio,soon,,,,,,\n"
        + "NW-7005,Example Garden,macro-studio,2026-11-01,2026-10-01,,,,,\n"
        + "NW-7006,Example Garden,macro-studio,2026-11-01,,Europe/Atlantis,,,,\n"
        + "NW-7007,Example Garden,macro-studio,2026-11-01,,,Gil,gil at garden,,\n"
        + "NW-7008,Example Garden,macro-studio,2026-11-01,,,,,A,alice@logistics.example.org\n"
        + "NW-7001,Example Garden,macro-studio,2026-11-01,,,,,,\n"
        + "NW-2041,Example Garden,macro-studio,2026-11-01,,,,,,\n"
        + "NW-7009,,macro-studio,2026-11-01,,,,,,\n"
    )
    result = run("contract", "import", str(file))
    assert result.exit_code == 1
    for place in (
        "Row 4, product", "Row 5, starts_on", "Row 6, ends_on", "Row 7, time_zone", "Row 8, contact1_email", "Row 9, contact2_email",
        "Row 10, number", "Row 11: Contract NW-2041 exists for another", "Row 12, organization",
    ):  # fmt: skip
        assert place in result.stderr
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Contract).where(Contract.number.like("NW-7%"))) == 0
        db.session.remove()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"email,name\na@example.org,A\n", "must name the columns"),
        (b"email,name,organization\na@example.org,A\n", "2 fields"),
        (b"email,name,organization\n\xff,A,B\n", "not UTF-8"),
        (b'email,name,organization\n"a,b,c\n', "cannot be read as CSV"),
        (b"", "must name the columns"),
        (b"email,name,organization\na at b,A,B\n", "Row 2, email"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(run: Run, tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(content)
    result = run("customer", "import", str(file))
    assert (result.exit_code, text in result.stderr) == (1, True)


def test_customers_are_imported_once(app: Flask, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("email,name,organization\nPia@press.example.org,Pia,Example Press\nquin@quarry.example.org,Quin,Example Quarry\n")
    assert "2 people added, 0 known already." in run("customer", "import", str(file)).stdout
    assert "0 people added, 2 known already." in run("customer", "import", str(file)).stdout
    with app.app_context():
        pia = db.session.scalars(sa.select(User).where(User.email == "pia@press.example.org")).one()
        assert (pia.organization and pia.organization.name, pia.password) == ("Example Press", None)
        db.session.remove()


@pytest.mark.parametrize(
    "command",
    [
        "staff add",
        "contract create",
        "contract who",
        "contract import",
        "contract export",
        "contract replace-contact",
        "customer import",
        "customer add",
    ],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert (result.exit_code, "Usage:" in result.stdout) == (0, True)


def test_who_answers_for_a_day_gone_by_and_says_on_the_side_why_others_were_not(run: Run) -> None:
    with time_machine.travel(NOW - timedelta(days=2), tick=True):
        run("contract", "create", "NW-6000", "--organization", "Example Garden", "--product", "macro-studio", "--starts-on", "2026-11-01")
        run("contract", "name-contact", "NW-6000", "--name", "Gwen", "--email", "gwen@garden.example.org")
    replaced = run(
        "contract", "replace-contact", "NW-6000", "gwen@garden.example.org", "--name", "Gus", "--email", "gus@garden.example.org"
    )
    assert (replaced.exit_code, replaced.stdout) == (0, "gus@garden.example.org holds seat 1 of contract NW-6000, and is invited.\n")

    def on(day: str) -> tuple[list[str], str]:
        result = run("contract", "who", "NW-6000", "--on", day, "--json")
        assert result.exit_code == 0
        return [holder["email"] for holder in json.loads(result.stdout)], result.stderr.strip()

    assert on("2026-11-21") == ([], "")
    assert on("2026-11-22") == (["gwen@garden.example.org"], "")
    assert on("2026-11-24") == (["gus@garden.example.org"], "gwen@garden.example.org entitled until 10:00")
    assert on("2027-10-31") == (["gus@garden.example.org"], "")
    assert on("2027-11-01") == ([], "gus@garden.example.org not entitled: the contract had ended")
    assert run("contract", "who", "NW-6000", "--on", "2027-11-01").stdout == "Nobody is entitled by contract NW-6000 on 2027-11-01.\n"
    run("contract", "suspend", "NW-6000")
    assert "not entitled: the contract was suspended" in run("contract", "who", "NW-6000", "--on", "2026-11-25").stderr
    (now,) = json.loads(run("contract", "who", "NW-6000", "--json").stdout)
    assert (now["email"], now["entitled"]) == ("gus@garden.example.org", True)  # for a part of today
    assert run("contract", "who", "NW-6000", "--on", "9999-12-31").exit_code == 1


def test_seats_are_released_and_invited_anew_by_command(app: Flask, run: Run, cast: Cast) -> None:
    assert run("contract", "name-contact", "NW-2042", "--name", "Nina", "--email", "nina@foods.example.org").exit_code == 0
    assert run("contract", "invite", "NW-2042", "NINA@foods.example.org").exit_code == 0
    assert run("contract", "release-contact", "NW-2042", "nina@foods.example.org").exit_code == 0
    again = run("contract", "release-contact", "NW-2042", "nina@foods.example.org")
    assert (again.exit_code, "holds no seat" in again.stderr) == (1, True)
    accepted = run("contract", "invite", "NW-2042", cast.carol)
    assert (accepted.exit_code, "has an account already" in accepted.stderr) == (1, True)
    assert mails(app)[-3:] == [("seats_changed", cast.anton), ("contact_released", "nina@foods.example.org"), ("contact_left", cast.carol)]


def test_orders_and_regions_are_given_by_command(run: Run) -> None:
    made = run(
        "contract", "create", "NW-6000", "--organization", "Example Garden", "--product", "macro-studio", "--starts-on", "2026-11-01",
        "--region", "Americas", "--time-zone", "America/New_York", "--price", "1237.5", "--currency", "eur", "--order-reference", "PO-1",
    )  # fmt: skip
    assert made.exit_code == 0
    assert run("contract", "renew", "NW-6000", "--order-reference", "PO-2").stdout == (
        "Contract NW-6000 is renewed from 2027-11-01. It runs until 2028-10-31.\n"
    )
    contract = listed(run)["NW-6000"]
    assert contract["region"] == "Americas"
    assert contract["orders"] == [
        {"price": "1237.50", "currency": "EUR", "order_reference": reference} for reference in ("PO-1", "PO-2")
    ]  # fmt: skip
    for option, value in (("--price", "much"), ("--currency", "€"), ("--order-reference", "x" * 81)):
        assert run("contract", "renew", "NW-6000", option, value).exit_code == 1
    start = ("contract", "create", "NW-6001", "--organization", "O", "--product", "macro-studio", "--starts-on", "2026-11-01")
    refused = run(*start, "--region", "Atlantis")
    assert (refused.exit_code, "Europe, Americas, Asia Pacific" in refused.stderr) == (1, True)


def test_what_is_exported_is_imported_by_command(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "contracts.csv"
    assert run("contract", "export", "--output", str(file)).stdout == f"4 rows written to {file}.\n"
    assert run("contract", "export").stdout_bytes == file.read_bytes()
    assert "0 contracts added, 4 known already." in run("contract", "import", str(file)).stdout
    assert run("contract", "export", "--state", "expired").stdout.count("NW-") == 1
    assert run("contract", "list", "--ending", "30").stdout == ""
    unwritable = run("contract", "export", "--output", "/nowhere/contracts.csv")
    assert (unwritable.exit_code, "cannot be written" in unwritable.stderr) == (1, True)
