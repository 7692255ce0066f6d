"""The portal on a bucket: uploads and downloads through its views, and what it says when the bucket is away."""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import access_tokens, contacts, contracts
from portal.app import create_app
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.releases import catalog, publishing
from portal.releases.models import Build, Channel, Download
from portal.storage import key, store
from tests.builds import find_contract, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import SECRET, csrf_token, make_settings
from tests.integration.releases.helpers import make_draft
from tests.integration.releases.test_upload_memory import HEAD, MEGABYTE, SIZE, TAIL, Body, resident_bytes
from tests.seaweedfs import SeaweedFS, free_ports
from tests.unreliable import Relay, relay_to

SignIn = Callable[[str], FlaskClient]
CONTENT = os.urandom(1 << 20) * 20
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILENAME = "studio “neu”.bin"
PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/studio%20%E2%80%9Cneu%E2%80%9D.bin"
DRAFT = "/staff/releases/macro-studio/15.3b2/"


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[Relay]:
    with relay_to(seaweedfs.port) as relay:
        yield relay


@pytest.fixture(params=[0])
def settings(request: pytest.FixtureRequest, tmp_path: Path, database_url: str, seaweedfs: SeaweedFS, relay: Relay) -> Settings:
    """Builds lie in the bucket, reached over a relay; as parameter, for how long links live."""
    return make_settings(tmp_path, database_url, storage_url=seaweedfs.storage_url(port=relay.port), storage_presigned=request.param)


linking = pytest.mark.parametrize("settings", [60], indirect=True)


@pytest.fixture
def beta(app: Flask, cast: Cast) -> int:
    with app.app_context():
        return publish_release("15.3b2", Channel.BETA, clock.now(), files={FILENAME: CONTENT})


def entries(app: Flask) -> list[Download]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Download)))


def token_of(app: Flask, person: str) -> dict[str, str]:
    """A header with a new personal token."""
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(person).id, "curl", actor=find_user(person), now=clock.now())
    return {"Authorization": f"Bearer {token}"}


def run(settings: Settings, *arguments: str) -> Result:
    """Run a command on this portal."""
    environment = {
        "DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url,
        "SECRET_KEY": SECRET, "STORAGE_URL": settings.storage_url,
    }  # fmt: skip
    return CliRunner().invoke(main, arguments, env=environment)


def send(client: FlaskClient, body: Body, accept: str = "application/json") -> tuple[int, dict[str, str], str]:
    token = csrf_token(client.get("/staff/releases/new").get_data(as_text=True))
    answer = client.post(
        f"{DRAFT}builds",
        input_stream=body,
        environ_overrides={"CONTENT_LENGTH": str(len(HEAD) + SIZE + len(TAIL))},
        content_type="multipart/form-data; boundary=x",
        headers={"X-CSRFToken": token, "Accept": accept},
    )
    return answer.status_code, dict(answer.headers), answer.get_data(as_text=True)


def test_200_megabytes_go_up_and_down_in_less_than_50_megabytes_of_memory(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        release_id = make_draft()
    paula, alice = sign_in(cast.paula), sign_in(cast.alice)
    with app.app_context():
        store().check()  # the client costs memory once
    body, before = Body(), resident_bytes()
    status, _, text = send(paula, body)
    assert status == 201, text
    assert body.peak - before < 50 * MEGABYTE
    with app.app_context():
        with transaction():
            publishing.publish_release(release_id, actor=None, now=clock.now())
        build = next(build for build in catalog.find_release("macro-studio", "15.3b2").builds if build.filename == "big.bin")
        sha256 = build.sha256
    digest, size, peak, before = hashlib.sha256(), 0, 0, resident_bytes()
    answer = alice.get(f"{PAGE}download/big.bin")
    for block in answer.iter_encoded():
        digest.update(block)
        size += len(block)
        peak = max(peak, resident_bytes())
    answer.close()
    assert (digest.hexdigest(), size) == (sha256, SIZE)
    assert peak - before < 50 * MEGABYTE
    (entry,) = entries(app)
    assert entry.completed_at is not None


def test_no_connection_to_the_database_is_held_while_the_bucket_is_read(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    answer = sign_in(cast.alice).get(FILE)
    blocks = answer.iter_encoded()
    received = [next(blocks)]
    with app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    received += blocks
    answer.close()
    assert b"".join(received) == CONTENT


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [("bytes=0-0", 206, 0, 0), ("bytes=5000000-", 206, 5_000_000, len(CONTENT) - 1), ("bytes=-5", 206, len(CONTENT) - 5, len(CONTENT) - 1)],
)
def test_ranges_are_the_buckets_bytes(
    app: Flask, cast: Cast, beta: int, sign_in: SignIn, asked: str, status: int, first: int, last: int
) -> None:
    answer = sign_in(cast.alice).get(FILE, headers={"Range": asked})
    assert answer.status_code == status
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.data == CONTENT[first : last + 1]
    assert answer.headers["ETag"] == f'"{DIGEST}"'
    answer.close()
    (entry,) = entries(app)
    assert entry.ranges == entry.sent == [[first, last]]


def test_a_client_that_goes_away_leaves_the_download_incomplete(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    answer = sign_in(cast.alice).get(FILE)
    blocks = answer.iter_encoded()
    size = sum(len(next(blocks)) for _ in range(8))
    answer.close()
    (entry,) = entries(app)
    assert entry.completed_at is None
    assert entry.sent[0][1] < size


def test_a_bucket_that_cuts_the_download_off_is_not_noticed(app: Flask, cast: Cast, beta: int, sign_in: SignIn, relay: Relay) -> None:
    alice = sign_in(cast.alice)
    relay.break_next(2, after=5_000_000)
    answer = alice.get(FILE)
    assert answer.data == CONTENT
    answer.close()
    assert entries(app)[0].completed_at is not None


def test_head_and_conditions_read_no_bytes(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert alice.head(FILE).headers["Content-Length"] == str(len(CONTENT))
    assert alice.get(FILE, headers={"If-None-Match": f'"{DIGEST}"'}).status_code == 304
    assert alice.get(FILE, headers={"Range": "bytes=99999999-"}).status_code == 416
    assert entries(app) == []


def test_damage_in_the_bucket_is_found_and_healed_by_the_same_bytes(
    app: Flask, cast: Cast, beta: int, sign_in: SignIn, settings: Settings, seaweedfs: SeaweedFS
) -> None:
    alice, bucket = sign_in(cast.alice), settings.bucket
    assert bucket is not None
    for bytes_there, code, status in ((CONTENT[:-1] + b"?", 1, 503), (CONTENT[:-1], 1, 503), (None, 1, 503), (CONTENT, 0, 200)):
        place = {"Bucket": bucket.name, "Key": bucket.prefix + key(DIGEST)}
        if bytes_there is None:
            seaweedfs.client().delete_object(**place)
        else:
            seaweedfs.client().put_object(**place, Body=bytes_there)
        assert run(settings, "release", "verify").exit_code == code
        answer = alice.get(FILE)
        assert answer.status_code == status
        answer.close()


# Away --------------------------------------------------------------------------------------------------------------------------


def test_a_download_says_that_the_bucket_is_away_and_when_to_come_back(
    app: Flask, cast: Cast, beta: int, sign_in: SignIn, relay: Relay
) -> None:
    alice, token = sign_in(cast.alice), token_of(app, cast.bob)
    relay.break_next(1_000, after=None)
    for request in ("get", "head"):
        page = getattr(alice, request)(FILE)
        words = getattr(app.test_client(), request)(FILE, headers=token)
        assert (page.status_code, words.status_code) == (503, 503)
        assert int(page.headers["Retry-After"]) == int(words.headers["Retry-After"]) == 30
        if request == "get":
            assert "The builds are out of reach" in page.get_data(as_text=True)
            assert "Sign out" in page.get_data(as_text=True)
            assert words.content_type.startswith("text/plain")
            assert "does not answer" in words.get_data(as_text=True)
    assert entries(app) == []
    relay.break_next(0, after=None)
    assert alice.get(FILE).data == CONTENT


def test_an_upload_to_a_bucket_that_is_away_is_refused_unread(app: Flask, cast: Cast, sign_in: SignIn, relay: Relay) -> None:
    with app.app_context():
        make_draft()
    paula = sign_in(cast.paula)
    relay.break_next(1_000, after=None)
    for accept in ("application/json", "text/html"):
        body = Body()
        status, fields, text = send(paula, body, accept)
        assert (status, fields["Retry-After"]) == (503, "30")
        assert "does not answer, so nothing was done" in text
        assert body.left == SIZE
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Build)) == 1


def test_an_upload_whose_bucket_goes_away_on_the_way_is_read_to_its_end_and_says_so(
    app: Flask, cast: Cast, sign_in: SignIn, relay: Relay
) -> None:
    class Leaving(Body):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.left <= SIZE - 20 * MEGABYTE and not relay.bad:
                relay.break_next(1_000, after=None)
            return super().read(size)

    with app.app_context():
        make_draft()
    body = Leaving()
    status, fields, text = send(sign_in(cast.paula), body)
    assert (status, fields["Retry-After"]) == (503, "30")
    assert "does not answer, so nothing was done" in text
    assert body.left == 0
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Build)) == 1


def test_commands_say_that_the_bucket_is_away(app: Flask, cast: Cast, beta: int, settings: Settings, relay: Relay, tmp_path: Path) -> None:
    with app.app_context():
        make_draft(version="15.3b3")
    (tmp_path / "notes.txt").write_text("Read me.")
    relay.break_next(1_000, after=None)
    for command in (["verify"], ["sweep"], ["add-build", "macro-studio", "15.3b3", str(tmp_path / "notes.txt"), "--kind", "document"]):
        result = run(settings, "release", *command)
        assert (result.exit_code, "does not answer" in result.stderr) == (1, True), result.output
    relay.break_next(0, after=None)
    assert run(settings, "release", "verify").exit_code == 0


def test_readyz_tells_whether_the_bucket_answers(seaweedfs: SeaweedFS, tmp_path: Path, database_url: str) -> None:
    for port, well in ((seaweedfs.port, True), (free_ports(1)[0], False)):
        app = create_app(make_settings(tmp_path, database_url, storage_url=seaweedfs.storage_url(port=port)))
        assert app.test_client().get("/readyz").get_json()["checks"]["storage"]["ok"] is well
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


# Links -------------------------------------------------------------------------------------------------------------------------


@linking
def test_a_browser_is_sent_to_a_link_that_nobody_may_keep(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    answer = sign_in(cast.alice).get(FILE, headers={"Range": "bytes=5-9"})
    assert answer.status_code == 302
    assert answer.data == b""
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in answer.headers
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert asked["X-Amz-Expires"] == ["60"]
    assert asked["response-content-disposition"][0].endswith("filename*=UTF-8''studio%20%E2%80%9Cneu%E2%80%9D.bin")
    (entry,) = entries(app)
    assert entry.ranges == [[0, len(CONTENT) - 1]]
    assert (entry.sent, entry.completed_at) == ([], None)


@linking
def test_the_gate_is_asked_before_each_link(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert alice.get(FILE).status_code == 302
    with app.app_context(), transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=clock.now())
    refused = alice.get(FILE, headers={"Range": "bytes=5-9"})
    assert refused.status_code == 403
    assert "Location" not in refused.headers
    assert sign_in(cast.erin).get(FILE).status_code == 403
    assert app.test_client().get(FILE).headers["Location"].startswith("/sign-in")


@linking
@pytest.mark.parametrize("act", ["lapse", "release"])
def test_no_link_is_handed_out_once_the_right_has_ended(app: Flask, cast: Cast, beta: int, sign_in: SignIn, act: str) -> None:
    """A link that was handed out before is dead after its seconds, at most sixty (`test_a_link_is_dead_after_its_seconds`)."""
    alice = sign_in(cast.alice)
    assert "X-Amz-Expires=60" in alice.get(FILE).headers["Location"]
    with app.app_context(), transaction():
        if act == "lapse":
            find_contract(cast.contract).terms[-1].ends_on = clock.now().date() - timedelta(days=1)
        else:
            contacts.release_contact(find_seat(cast.alice), actor=None, now=clock.now())
    for headers in ({}, {"Range": "bytes=5-9"}):
        answer = alice.get(FILE, headers=headers)
        assert answer.status_code == (403 if act == "lapse" else 302)
        assert answer.headers.get("Location", "/sign-in").startswith("/sign-in")


@linking
def test_a_program_with_a_token_is_not_redirected_for_it_might_send_the_token_on(app: Flask, cast: Cast, beta: int) -> None:
    answer = app.test_client().get(FILE, headers={**token_of(app, cast.alice), "Range": "bytes=5-9"})
    assert (answer.status_code, answer.data) == (206, CONTENT[5:10])
    answer.close()


@linking
def test_a_head_is_answered_by_the_portal(cast: Cast, beta: int, sign_in: SignIn) -> None:
    answer = sign_in(cast.alice).head(FILE)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))


@linking
def test_nobody_is_sent_to_what_is_not_there(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with app.app_context():
        store().remove_orphans(set(), clock.now() + timedelta(days=1))
    answer = alice.get(FILE)
    assert answer.status_code == 503
    assert "Location" not in answer.headers
    assert entries(app) == []
