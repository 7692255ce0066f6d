"""Seats, invitations and codes under fire: two web processes on one database, each with another idea of the local time, and many clients.

The processes are real gunicorns with the real clock; each race runs REPEATS times, on contracts of its own.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from threading import Barrier
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_security.utils import hash_password, verify_password

from portal import clock, tokens
from portal.account import contacts, contracts, factors_totp, invitations, people
from portal.account.models import Authenticator, Contact, Contract, Invitation, Role, User, UserSession
from portal.app import create_app
from portal.audit import AuditEvent
from portal.config import Settings
from portal.database import db, transaction
from portal.products.models import Product
from tests.authenticators import code_at
from tests.conftest import SECRET, csrf_token, make_settings, postgres_copy

REPEATS = 20
CLIENTS = 40
PASSWORD = "correct horse battery staple"
MANAGER = "anton@vendor.example.org"
START_SECONDS = 60
# Far apart, so that their civil dates differ for most of each day.
ZONES = ("Pacific/Kiritimati", "Pacific/Pago_Pago")


@dataclass
class Browser:
    """A client of one process that keeps its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, **form: str) -> tuple[int, str]:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "Connection": "close"}
        if method == "POST":
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, urlencode(form) if form else None, headers)
        answer = connection.getresponse()
        page = answer.read().decode()
        self._remember(answer)
        return answer.status, page

    def _remember(self, answer: HTTPResponse) -> None:
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value

    def sign_in(self, email: str) -> "Browser":
        token = csrf_token(self.ask("GET", "/sign-in")[1])
        status, page = self.ask("POST", "/sign-in", email=email, password=PASSWORD, csrf_token=token)
        assert status == 302, page
        return self

    def twin(self, port: int) -> "Browser":
        """The same person in the same session, at another process."""
        return Browser(port, dict(self.cookies))


@dataclass(frozen=True)
class Stage:
    """A database with an account manager and a product, and where the two web processes on it listen."""

    app: Flask
    ports: list[int]
    manager: Browser


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two web processes, in zones a day apart, on a database that is in a third one."""
    data_dir = tmp_path_factory.mktemp("races")
    with ExitStack() as cleanup:
        if request.param == "sqlite":
            shutil.copyfile(request.getfixturevalue("sqlite_template"), data_dir / "portal.db")
            address = f"sqlite:///{data_dir / 'portal.db'}"
        else:
            address = cleanup.enter_context(postgres_copy(request.getfixturevalue("postgres"), f"races_{os.getpid()}"))
        settings = make_settings(data_dir, address)
        app = create_app(settings)
        _prepare(app, settings)
        ports = [_free_port() for _ in ZONES]
        processes = [_start(settings, port, zone) for port, zone in zip(ports, ZONES, strict=True)]
        cleanup.callback(_stop, processes)
        for port, process in zip(ports, processes, strict=True):
            _wait_for(port, process)
        yield Stage(app, ports, Browser(ports[0]).sign_in(MANAGER))


def _prepare(app: Flask, settings: Settings) -> None:
    now = clock.now()
    with app.app_context():
        if not settings.uses_sqlite:
            with db.engine.connect() as connection:
                name = connection.scalar(sa.text("SELECT current_database()"))
                connection.execute(sa.text(f"ALTER DATABASE \"{name}\" SET timezone TO 'Asia/Kolkata'"))
                connection.commit()
        with transaction() as session:
            session.add(Product(slug="macro-studio", name="Macro Studio", created_at=now))
            anton = people.find_or_add_person(MANAGER, "Anton", None, now=now)
            anton.roles.append(Role(name="accounts"))
            anton.password = hash_password(PASSWORD)
        db.session.remove()
        db.engine.dispose()


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGQUIT)  # gunicorn: at once
    for process in processes:
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(settings: Settings, port: int, zone: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET,
        "PUBLIC_URL": f"http://127.0.0.1:{port}", "WEB_PORT": str(port), "WEB_THREADS": "24", "SIGN_IN_LIMIT": "10000 per minute",
        "SMTP_URL": "smtp://127.0.0.1:1", "TZ": zone,
    }  # fmt: skip
    log = (settings.data_dir / f"web-{port}.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "portal", "serve"], env=environment, stdout=log, stderr=log)
    log.close()
    return process


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the web process does not answer, exit code {process.poll()}")


def sell(app: Flask, prefix: str) -> list[str]:
    """Make contracts without contacts, one for each repeat, and return their numbers."""
    now, numbers = clock.now(), [f"{prefix}-{number:04}" for number in range(REPEATS)]
    with app.app_context():
        with transaction() as session:
            product = session.scalars(sa.select(Product)).one()
            for number in numbers:
                buyer = contracts.create_organization(f"Example {number}", actor=None, now=now)
                contracts.create_contract(number, buyer, product, now.date(), time_zone="UTC", actor=None, now=now)
        db.session.remove()
    return numbers


def all_at_once(acts: Sequence[Callable[[], tuple[int, str]]]) -> list[tuple[int, str]]:
    """Run the acts in a thread each, let go at the same moment; return status and page of each."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], tuple[int, str]]) -> tuple[int, str]:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def events(number: str, action: str) -> int:
    """Count what the audit log says of a contract."""
    contract = contracts.find_contract(number)
    wanted = sa.select(sa.func.count()).where(
        AuditEvent.subject_type == "contract", AuditEvent.subject_id == contract.id, AuditEvent.action == action
    )
    return db.session.scalar(wanted) or 0


def seats(number: str) -> list[int]:
    return [contact.seat for contact in contacts.live_contacts(contracts.find_contract(number).id)]


def test_forty_namings_at_once_fill_exactly_two_seats(stage: Stage) -> None:
    app, ports, manager, sold = stage.app, stage.ports, stage.manager, sell(stage.app, "N")
    token = csrf_token(manager.ask("GET", f"/staff/contracts/{sold[0]}/contacts/new")[1])
    clients = [manager.twin(ports[one % 2]) for one in range(CLIENTS)]
    for number in sold:

        def name(one: int, number: str = number) -> tuple[int, str]:
            form = {"csrf_token": token, "name": f"Person {one}", "email": f"p{one}@{number.lower()}.example.org", "other_domain": "y"}
            return clients[one].ask("POST", f"/staff/contracts/{number}/contacts/new", **form)

        answers = all_at_once([lambda one=one: name(one) for one in range(CLIENTS)])  # type: ignore[misc]
        assert Counter(status for status, _ in answers) == {302: 2, 200: CLIENTS - 2}
        assert sum("Both seats" in page for _, page in answers) == CLIENTS - 2
        with app.app_context():
            assert seats(number) == [1, 2]
            assert events(number, "contact.named") == 2
            db.session.remove()


def invite(app: Flask, number: str) -> tuple[str, str]:
    """Name somebody to a contract; return the address and the path of the invitation's link."""
    email = f"nina@{number.lower()}.example.org"
    with app.app_context():
        with transaction():
            contacts.name_contact(contracts.find_contract(number), name="Nina", email=email, actor=None, now=clock.now())
        nonce = db.session.scalars(sa.select(Invitation.nonce).order_by(Invitation.id.desc())).first()
        db.session.remove()
    assert nonce is not None
    return email, f"/account/invitations/{tokens.derive_token(SECRET, invitations.PURPOSE, nonce)}"


def test_an_invitation_accepted_twenty_times_makes_one_account_with_the_first_password(stage: Stage) -> None:
    app, ports, sold = stage.app, stage.ports, sell(stage.app, "I")
    for number in sold:
        email, path = invite(app, number)
        first = Browser(ports[0])
        token = csrf_token(first.ask("GET", path)[1])
        clients = [first.twin(ports[one % 2]) for one in range(20)]

        def accept(one: int, clients: list[Browser] = clients, path: str = path, token: str = token) -> tuple[int, str]:
            return clients[one].ask("POST", path, csrf_token=token, name="Nina", password=f"quiet lamp over the river {one:02}")

        statuses = [status for status, _ in all_at_once([lambda one=one: accept(one) for one in range(20)])]  # type: ignore[misc]
        assert statuses.count(302) == 1, Counter(statuses)
        assert set(statuses) <= {302, 410, 200}
        with app.app_context():
            person = db.session.scalars(sa.select(User).where(User.email == email)).one()
            assert person.password is not None
            assert verify_password(f"quiet lamp over the river {statuses.index(302):02}", person.password)
            assert db.session.scalar(sa.select(sa.func.count()).where(UserSession.user_id == person.id)) == 1
            assert events(number, "contact.accepted") == 1
            db.session.remove()


def test_a_seat_given_to_two_at_once_goes_to_one_in_the_log_too(stage: Stage) -> None:
    app, manager, sold = stage.app, stage.manager, sell(stage.app, "R")
    with app.app_context():
        with transaction():
            for number in sold:
                email = f"a@{number.lower()}.example.org"
                contacts.name_contact(contracts.find_contract(number), name="A", email=email, actor=None, now=clock.now(), invite=False)
        ids = dict(db.session.execute(sa.select(Contract.number, Contact.id).join(Contact, Contact.contract_id == Contract.id)).all())
        db.session.remove()
    token = csrf_token(manager.ask("GET", f"/staff/contracts/{sold[0]}/contacts/{ids[sold[0]]}/replace")[1])
    clients = [manager.twin(port) for port in stage.ports]
    for number in sold:

        def replace(one: int, number: str = number) -> tuple[int, str]:
            form = {"csrf_token": token, "name": f"N{one}", "email": f"n{one}@{number.lower()}.example.org"}
            return clients[one].ask("POST", f"/staff/contracts/{number}/contacts/{ids[number]}/replace", **form)

        statuses = [status for status, _ in all_at_once([lambda one=one: replace(one) for one in (0, 1)])]  # type: ignore[misc]
        assert sorted(statuses) in ([200, 302], [302, 404]), statuses
        with app.app_context():
            held = contacts.live_contacts(contracts.find_contract(number).id)
            assert [contact.user.label for contact in held] == [f"N{statuses.index(302)}"]
            assert events(number, "contact.released") == 1
            assert events(number, "contact.named") == 2  # the first holder and the winner
            assert people.find_person(f"n{1 - statuses.index(302)}@{number.lower()}.example.org") is None
            db.session.remove()


def test_of_two_contacts_who_replace_each_other_at_once_one_does(stage: Stage) -> None:
    """Whoever comes second has no seat any more, and so no say."""
    app, sold = stage.app, sell(stage.app, "X")[:5]  # each takes two people to sign in
    pairs: list[list[tuple[Browser, str, int]]] = []
    with app.app_context():
        with transaction():
            password = hash_password(PASSWORD)
            for number in sold:
                for name in ("a", "b"):
                    email = f"{name}@{number.lower()}.example.org"
                    contact = contacts.name_contact(
                        contracts.find_contract(number), name=name, email=email, actor=None, now=clock.now(), invite=False
                    )
                    contact.user.password = password
        for number in sold:
            first, second = contacts.live_contacts(contracts.find_contract(number).id)
            pairs.append(
                [
                    (Browser(port), mine.user.email, other.id)
                    for port, mine, other in zip(stage.ports, (first, second), (second, first), strict=True)
                ]
            )
        db.session.remove()
    for number, pair in zip(sold, pairs, strict=True):
        acts = []
        for browser, email, other in pair:
            url = f"/account/contracts/{number}/contacts/{other}/replace"
            token = csrf_token(browser.sign_in(email).ask("GET", url)[1])
            form = {"csrf_token": token, "name": "N", "email": f"of-{email}"}
            acts.append(lambda browser=browser, url=url, form=form: browser.ask("POST", url, **form))
        statuses = [status for status, _ in all_at_once(acts)]
        assert sum(status == 302 for status in statuses) >= 1  # the second may be led to sign in
        with app.app_context():
            assert events(number, "contact.released") == 1
            assert seats(number) == [1, 2]
            db.session.remove()


def test_one_code_sent_to_both_processes_at_once_signs_in_once(stage: Stage) -> None:
    """Each repeat takes the code of another time step; the clock is real, so the app's counter is what goes back."""
    app, email = stage.app, "tess@totp.example.org"
    now, secret = clock.now(), factors_totp.make_secret()
    with app.app_context():
        with transaction() as session:
            tess = people.find_or_add_person(email, "Tess", None, now=now)
            tess.password = hash_password(PASSWORD)
            session.flush()
            user_id, sealed = tess.id, factors_totp.seal(secret, tess.id, SECRET, now=now)
            session.add(Authenticator(user_id=user_id, secret=sealed, last_counter=0, created_at=now))
        db.session.remove()
    for _ in range(REPEATS):
        with app.app_context():
            with transaction() as session:
                session.execute(sa.update(Authenticator).values(last_counter=0))
                session.execute(sa.update(User).where(User.id == user_id).values(failed_codes=0, codes_locked_until=None))
            db.session.remove()
        clients = [Browser(port).sign_in(email) for port in stage.ports]
        tokens = [csrf_token(client.ask("GET", "/sign-in/second-step")[1]) for client in clients]
        code = code_at(secret, clock.now())
        acts = [
            lambda client=client, token=token, code=code: client.ask("POST", "/sign-in/second-step", code=code, csrf_token=token)
            for client, token in zip(clients, tokens, strict=True)
        ]
        assert sorted(status for status, _ in all_at_once(acts)) == [200, 302]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).where(UserSession.user_id == user_id)) == REPEATS
        db.session.remove()


def test_both_processes_see_a_contract_begin_and_end_at_the_same_instant(stage: Stage) -> None:
    """One contract per zone and day around today: what each process says of it follows from the contract's zone alone."""
    app, now = stage.app, clock.now()
    with app.app_context():
        with transaction() as session:
            organization = contracts.create_organization("Example Zones", actor=None, now=now)
            product = session.scalars(sa.select(Product)).one()
            for zone in (*ZONES, "UTC", "Asia/Kolkata"):
                today = clock.civil_date(now, zone)
                for ends_on in (today, clock.civil_date(now, "Pacific/Kiritimati"), clock.civil_date(now, "Pacific/Pago_Pago")):
                    number = f"Z-{zone.replace('/', '.')}-{ends_on}"
                    if db.session.scalar(sa.select(Contract.id).where(Contract.number == number)) is None:
                        contracts.create_contract(
                            number, organization, product, ends_on, ends_on=ends_on, time_zone=zone, actor=None, now=now
                        )
        expected = {
            contract.number: contracts.standing(contract, now).state.value
            for contract in db.session.scalars(sa.select(Contract).where(Contract.number.like("Z-%")))
        }
        db.session.remove()
    assert set(expected.values()) > {"active"}
    for port in stage.ports:
        client = stage.manager.twin(port)
        found: dict[str, str] = {}
        for state in ("active", "upcoming", "expired"):
            page = client.ask("GET", f"/staff/contracts/?q=Z-&state={state}")[1]
            found |= dict.fromkeys(re.findall(r'href="/staff/contracts/(Z-[^/"]+)/"', page), state)
        assert found == expected
