"""A build in a bucket, as staff and customers meet it: real gunicorn, a real S3-compatible store, curl and Chromium."""

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import BrowserContext

from portal import clock
from portal.account import access_tokens
from portal.app import create_app
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases import drafts, publishing
from portal.releases.models import Channel, Download
from tests.builds import find_seat, find_user, publish_release
from tests.cast import Cast, assemble
from tests.conftest import csrf_token, make_settings
from tests.e2e.downloads.conftest import CONTENT, DIGEST, FILENAME, SIZE, gunicorn
from tests.seaweedfs import CREDENTIALS, SeaweedFS
from tests.unreliable import Relay, relay_to

PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/studio%20x64%20%E2%80%9Cneu%E2%80%9D.msi"
STAFF_PAGE = "/staff/releases/macro-studio/15.3b2/"
LINK_SECONDS = 3
WAIT_SECONDS = 20


@dataclass(frozen=True)
class Portal:
    """A running portal whose builds lie in a bucket."""

    base: str
    app: Flask
    cast: Cast

    def curl(self, path: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", *arguments, self.base + path]
        return subprocess.run(command, cwd=cwd, capture_output=True, timeout=120)

    def cookie(self, person: str) -> str:
        """Sign somebody in, by a client in this process: the session lies in the database, which the server shares."""
        client = self.app.test_client()
        page = client.get("/sign-in").get_data(as_text=True)
        client.post("/sign-in", data={"email": person, "password": "correct horse battery staple", "csrf_token": csrf_token(page)})
        client.get("/account/")  # signing in forgets the token of forms; a page with one makes the next
        found = client.get_cookie("portal")
        assert found is not None
        return f"portal={found.value}"

    def token(self, person: str) -> str:
        """Make a personal token, as a header."""
        with self.app.app_context(), transaction():
            token = access_tokens.create(find_seat(person).id, "curl", actor=find_user(person), now=clock.now())
        return f"Authorization: Bearer {token}"

    def entries(self) -> list[Download]:
        with self.app.app_context():
            return list(db.session.scalars(sa.select(Download)))

    def wait_until_complete(self) -> Download:
        """The only entry of the ledger, once the server has noted that all of it was sent."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            (entry,) = self.entries()
            if entry.completed_at is not None:
                return entry
            time.sleep(0.1)
        raise AssertionError(f"not complete: {entry.sent}")


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[Relay]:
    with relay_to(seaweedfs.port) as relay:
        yield relay


@pytest.fixture
def start(tmp_path: Path, sqlite_template: Path, seaweedfs: SeaweedFS, relay: Relay) -> Iterator[Callable[[int], Portal]]:
    """Return a function that starts a portal on the bucket, which it reaches over the relay; its argument says for how many
    seconds links live."""
    storage_url = seaweedfs.storage_url(port=relay.port)
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    app = create_app(make_settings(tmp_path, storage_url=storage_url))
    with app.app_context():
        cast = assemble(clock.now())
        db.session.remove()
    with ExitStack() as stack:

        def begin(link_seconds: int) -> Portal:
            port = stack.enter_context(gunicorn(tmp_path, STORAGE_URL=storage_url, STORAGE_PRESIGNED=str(link_seconds), **CREDENTIALS))
            return Portal(f"http://127.0.0.1:{port}", app, cast)

        yield begin


@pytest.fixture
def streaming(start: Callable[[int], Portal]) -> Portal:
    """The portal passes the bytes through."""
    return start(0)


@pytest.fixture
def linking(start: Callable[[int], Portal]) -> Portal:
    """Browsers are redirected to links into the bucket. One beta is published."""
    portal = start(LINK_SECONDS)
    publish_beta(portal)
    return portal


def publish_beta(portal: Portal) -> None:
    with portal.app.app_context():
        publish_release("15.3b2", Channel.BETA, clock.now(), files={FILENAME: CONTENT})
        db.session.remove()


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_build_goes_up_by_the_form_and_down_whole_and_in_ranges(streaming: Portal, tmp_path: Path) -> None:
    with streaming.app.app_context():
        with transaction():
            product = find_product("macro-studio")
            draft = drafts.create_release(product, "15.3b2", Channel.BETA, notes="Faster.", actor=None, now=clock.now()).id
        db.session.remove()
    source = tmp_path / "studio.bin"
    source.write_bytes(CONTENT)
    cookie = streaming.cookie(streaming.cast.paula)
    page = streaming.curl(STAFF_PAGE, "-b", cookie).stdout.decode()
    sent = streaming.curl(
        f"{STAFF_PAGE}builds", "-b", cookie, "-H", "Accept: application/json",
        "-F", f"csrf_token={csrf_token(page)}", "-F", "platform=Windows 64-bit", "-F", f"file=@{source}",
    )  # fmt: skip
    assert DIGEST.encode() in sent.stdout
    with streaming.app.app_context():
        with transaction():
            publishing.publish_release(draft, actor=None, now=clock.now())
        db.session.remove()

    token = streaming.token(streaming.cast.alice)
    path = f"{PAGE}download/studio.bin"
    assert streaming.curl(path, "-H", token, "-r", "5000000-5000009").stdout == CONTENT[5_000_000:5_000_010]
    assert streaming.curl(path, "-H", token, "--fail", "-o", str(tmp_path / "got")).returncode == 0
    assert digest_of(tmp_path / "got") == DIGEST
    assert streaming.wait_until_complete().sent == [[0, SIZE - 1]]


def test_a_broken_download_is_resumed_and_the_ledger_knows_when_all_of_it_was_sent(streaming: Portal, tmp_path: Path) -> None:
    publish_beta(streaming)
    token, file = streaming.token(streaming.cast.alice), tmp_path / "got"
    command = ["curl", "--silent", "--noproxy", "*", "-H", token, streaming.base + FILE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        file.write_bytes(process.stdout.read(5_000_000))
        process.stdout.close()
    assert streaming.curl(FILE, "-H", token, "--fail", "-C", "-", "-o", str(file)).returncode == 0
    assert digest_of(file) == DIGEST
    assert streaming.wait_until_complete().ranges == [[0, SIZE - 1]]


def test_a_bucket_that_goes_away_breaks_the_download_visibly_and_it_can_be_resumed(streaming: Portal, relay: Relay, tmp_path: Path) -> None:
    publish_beta(streaming)
    token, file = streaming.token(streaming.cast.alice), tmp_path / "got"
    command = ["curl", "--silent", "--noproxy", "*", "--limit-rate", "8M", "-o", str(file), "-H", token, streaming.base + FILE]
    with subprocess.Popen(command) as process:
        wait_for_bytes(file, 1_000_000)
        relay.break_next(1_000, after=None)
        assert process.wait(timeout=60) == 18, "curl says that part of the file is missing"
    assert 0 < file.stat().st_size < SIZE
    away = streaming.curl(FILE, "-H", token, "-i")
    assert away.stdout.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 30" in away.stdout
    relay.break_next(0, after=None)
    assert streaming.curl(FILE, "-H", token, "--fail", "-C", "-", "-o", str(file)).returncode == 0
    assert digest_of(file) == DIGEST


def wait_for_bytes(file: Path, size: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not file.exists() or file.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_link_is_followed_to_the_file_under_its_name(linking: Portal, tmp_path: Path) -> None:
    folder = tmp_path / "got"
    folder.mkdir()
    assert linking.curl(FILE, "-b", linking.cookie(linking.cast.alice), "-L", "--fail", "-O", "-J", cwd=folder).returncode == 0
    (file,) = folder.iterdir()
    assert (file.name, digest_of(file)) == ("studio x64 neu.msi", DIGEST)
    (entry,) = linking.entries()
    assert (entry.ranges, entry.completed_at) == ([[0, SIZE - 1]], None)


def test_a_broken_download_over_a_link_is_resumed_by_the_portals_address(linking: Portal, tmp_path: Path) -> None:
    cookie, file = linking.cookie(linking.cast.alice), tmp_path / "got"
    file.write_bytes(CONTENT[:5_000_000])
    answer = linking.curl(FILE, "-b", cookie, "-L", "--fail", "-C", "-", "-o", str(file), "-w", "%{num_redirects} %{size_download}")
    assert answer.stdout.decode() == f"1 {SIZE - 5_000_000}"
    assert digest_of(file) == DIGEST


def test_a_link_dies_within_its_seconds_and_the_portal_gives_a_new_one(linking: Portal) -> None:
    cookie = linking.cookie(linking.cast.alice)
    head = linking.curl(FILE, "-b", cookie, "-D", "-", "-o", "/dev/null").stdout.decode()
    assert "cache-control: private, no-store" in head.lower()
    found = re.search(r"^Location: (\S+)\r$", head, re.MULTILINE)
    assert found is not None

    def status() -> bytes:
        command = ["curl", "--silent", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", found[1]]
        return subprocess.run(command, capture_output=True, timeout=60).stdout

    assert status() == b"200"
    time.sleep(LINK_SECONDS + 1.1)
    assert status() == b"403"
    assert linking.curl(FILE, "-b", cookie, "-L", "-r", "0-9").stdout == CONTENT[:10]


def test_a_browser_saves_the_file_under_its_exact_name(linking: Portal, context: BrowserContext, tmp_path: Path) -> None:
    name, _, value = linking.cookie(linking.cast.alice).partition("=")
    context.add_cookies([{"name": name, "value": value, "url": linking.base}])
    page = context.new_page()
    page.goto(linking.base + PAGE)
    with page.expect_download() as started:
        page.locator(f'a[href="{FILE}"]').first.click()
    assert started.value.suggested_filename == FILENAME
    started.value.save_as(tmp_path / "saved")
    assert digest_of(tmp_path / "saved") == DIGEST


@pytest.mark.parametrize(
    "program",
    [
        ["wget", "--no-config", "--no-proxy", "--quiet", "--continue", "--output-document=build"],
        [
            "aria2c",
            "--no-conf",
            "-x10",
            "-s10",
            "-k1M",
            "--file-allocation=none",
            "--quiet",
            "--max-overall-download-limit=10M",
            "--out=build",
        ],
    ],
    ids=["wget", "aria2c"],
)
def test_programs_with_a_token_are_served_by_the_portal_also_where_browsers_get_links(
    linking: Portal, tmp_path: Path, program: list[str]
) -> None:
    """They would send the token on to the store, which then refuses them."""
    folder = tmp_path / "got"
    folder.mkdir()
    command = [*program, f"--header={linking.token(linking.cast.alice)}", linking.base + FILE]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    assert digest_of(folder / "build") == DIGEST
    assert linking.wait_until_complete().sent == [[0, SIZE - 1]]
