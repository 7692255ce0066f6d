"""Signed products: nothing goes out that is unsigned or wrongly signed, and minisign says the same of what does."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.errors import Conflict, Invalid
from portal.products import catalog as products
from portal.products.models import StableAccess
from portal.releases import builds, catalog, drafts, publishing
from portal.releases.models import Build, BuildKind, Channel, Release, ReleaseState
from portal.storage import store
from tests.cast import Cast
from tests.conftest import NOW, SECRET
from tests.signing import Signer, new_signer

MSI = bytes.fromhex("D0CF11E0A1B11AE1") + b"the bytes"
Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("app_context")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return new_signer(tmp_path)


def set_key(key: str) -> None:
    with transaction():
        products.edit_product(
            "macro-studio", name="Macro Studio", summary="", stable_access=StableAccess.CUSTOMERS, signing_key=key, actor=None, now=NOW
        )  # fmt: skip


@pytest.fixture
def draft(cast: Cast, signer: Signer) -> int:
    """A draft without a build, of a product with a key."""
    set_key(signer.key)
    with transaction():
        return drafts.create_release(products.find_product("macro-studio"), "15.3b2", Channel.BETA, notes="New", actor=None, now=NOW).id


def add(draft: int, name: str, content: bytes = MSI, signature: Path | None = None) -> int:
    with transaction():
        stored = store().write([content], 1000)
        text = signature.read_text() if signature else None
        digest = hashlib.blake2b(content).hexdigest()
        return builds.add_build(draft, name, stored, blake2b=digest, signature=text, actor=None, now=NOW).id


def signed(signer: Signer, tmp_path: Path, name: str, content: bytes = MSI) -> Path:
    (tmp_path / name).write_bytes(content)
    return signer.sign(tmp_path / name)


def release(release_id: int) -> Release:
    return db.session.scalars(sa.select(Release).where(Release.id == release_id)).one()


def publish(draft: int) -> None:
    with transaction():
        publishing.publish_release(draft, actor=None, now=NOW)


def test_a_release_is_not_published_while_a_build_is_unsigned_and_they_are_named(draft: int, signer: Signer, tmp_path: Path) -> None:
    add(draft, "signed.msi", signature=signed(signer, tmp_path, "signed.msi"))
    first, second = add(draft, "first.msi"), add(draft, "second.msi")
    with pytest.raises(Conflict, match=r"must be signed\. Without a signature: first\.msi, second\.msi\.$"):
        publish(draft)
    assert release(draft).state is ReleaseState.DRAFT
    for build_id, name in ((first, "first.msi"), (second, "second.msi")):
        with transaction():
            builds.sign_build(draft, build_id, signed(signer, tmp_path, name).read_bytes(), actor=None, now=NOW)
    publish(draft)
    assert release(draft).state is ReleaseState.PUBLISHED


def test_with_another_key_all_must_be_signed_anew(draft: int, signer: Signer, tmp_path: Path) -> None:
    add(draft, "studio.msi", signature=signed(signer, tmp_path, "studio.msi"))
    set_key(new_signer(tmp_path, "next").key)
    with pytest.raises(Conflict, match=r"not right by the product's key: studio\.msi"):
        publish(draft)
    set_key("")
    publish(draft)


def test_a_wrong_signature_is_refused_and_changes_nothing(draft: int, signer: Signer, tmp_path: Path) -> None:
    other = signed(new_signer(tmp_path, "other"), tmp_path, "studio.msi").read_bytes()
    build_id = add(draft, "studio.msi")
    with pytest.raises(Invalid, match="made with another key"), transaction():
        builds.sign_build(draft, build_id, other, actor=None, now=NOW)
    changed = signed(signer, tmp_path, "studio.msi", MSI + b"x").read_bytes()
    with pytest.raises(Invalid, match=r"does not belong to these bytes of studio\.msi"), transaction():
        builds.sign_build(draft, build_id, changed, actor=None, now=NOW)
    reworded = signed(signer, tmp_path, "studio.msi").read_bytes().replace(b"file:studio.msi", b"file:evil.msi")
    with pytest.raises(Invalid, match="trusted comment"), transaction():
        builds.sign_build(draft, build_id, reworded, actor=None, now=NOW)
    (tmp_path / "other.minisig").write_bytes(other)
    with pytest.raises(Invalid, match="made with another key"):
        add(draft, "b.msi", signature=tmp_path / "other.minisig")
    assert [build.signature for build in release(draft).builds] == [None]


def test_without_a_key_no_signature_is_taken(draft: int, signer: Signer, tmp_path: Path) -> None:
    set_key("")
    with pytest.raises(Invalid, match="has no signing key"):
        add(draft, "studio.msi", signature=signed(signer, tmp_path, "studio.msi"))


def test_signing_is_remembered_and_ends_with_publishing(draft: int, signer: Signer, tmp_path: Path) -> None:
    signature = signed(signer, tmp_path, "studio.msi")
    build_id, revision = add(draft, "studio.msi"), release(draft).revision
    with transaction():
        builds.sign_build(draft, build_id, signature.read_bytes(), actor=None, now=NOW)
    assert release(draft).revision == revision + 1
    assert db.session.scalar(sa.select(sa.func.count()).where(AuditEvent.action == "build.signed")) == 1
    publish(draft)
    with pytest.raises(Conflict, match="published"), transaction():
        builds.sign_build(draft, build_id, signature.read_bytes(), actor=None, now=NOW)


def test_a_damaged_build_is_not_published(draft: int, signer: Signer, tmp_path: Path) -> None:
    build_id = add(draft, "studio.msi", signature=signed(signer, tmp_path, "studio.msi"))
    with transaction():
        db.session.get_one(Build, build_id).damaged_at = NOW
    with pytest.raises(Conflict, match=r"Damaged in storage: studio\.msi"):
        publish(draft)


# From the command line ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}

    def do(*arguments: str | Path, **more: str) -> Result:
        db.session.rollback()
        words = [str(argument) for argument in arguments]
        with ThreadPoolExecutor(1) as outside:  # of the test's own app, whose settings are others
            return outside.submit(CliRunner().invoke, main, words, env={**environment, **more}).result()

    return do


def add_build(run: Run, file: Path, *options: str | Path, **more: str) -> Result:
    return run("release", "add-build", "macro-studio", "15.3b2", file, *options, **more)


def test_a_build_server_adds_what_it_has_signed(run: Run, draft: int, signer: Signer, tmp_path: Path) -> None:
    signature, file = signed(signer, tmp_path, "studio.zip", b"PK\x03\x04"), tmp_path / "studio.zip"
    result = add_build(
        run, file, "--signature", signature, "--kind", "portable", "--platform", "Windows", "--architecture", "ARM64"
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "and signed" in result.stdout
    (build,) = catalog.find_release("macro-studio", "15.3b2").builds
    assert (build.kind, build.platform, build.architecture) == (BuildKind.PORTABLE, "Windows", "ARM64")
    (listed,) = json.loads(run("release", "list", "--json").stdout)[0]["builds"]
    assert (listed["kind"], listed["architecture"], listed["signed"], listed["damaged"]) == ("portable", "ARM64", True, False)
    signature.write_text(build.signature or "")
    assert signer.accepts(file)


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_a_build_is_signed_as_it_is_added(run: Run, draft: int, tmp_path: Path, password: str) -> None:
    signer = new_signer(tmp_path, "server", password)
    set_key(signer.key)
    file = tmp_path / "studio.msi"
    file.write_bytes(MSI)
    (tmp_path / "password").write_text(password)
    key = {"MINISIGN_SECRET_KEY_FILE": str(signer.secret), "MINISIGN_PASSWORD_FILE": str(tmp_path / "password") if password else ""}
    assert add_build(run, file, "--sign", **key).exit_code == 0
    (tmp_path / "studio.msi.minisig").write_text(catalog.find_release("macro-studio", "15.3b2").builds[0].signature or "")
    assert signer.accepts(file)


def test_what_was_uploaded_by_browser_is_signed_where_the_key_is(run: Run, draft: int, signer: Signer, tmp_path: Path) -> None:
    add(draft, "studio.msi")
    add(draft, "Größe.zip", b"PK\x03\x04" * 200)
    key = {"MINISIGN_SECRET_KEY_FILE": str(signer.secret)}
    result = run("release", "sign", "macro-studio", "15.3b2", **key)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "studio.msi of Macro Studio 15.3b2 is signed.\nGröße.zip of Macro Studio 15.3b2 is signed.\n"
    assert "signed already" in run("release", "sign", "macro-studio", "15.3b2", **key).stdout
    for build in catalog.find_release("macro-studio", "15.3b2").builds:
        (tmp_path / build.filename).write_bytes(b"".join(store().read(build.sha256)))
        (tmp_path / f"{build.filename}.minisig").write_text(build.signature or "")
        assert signer.accepts(tmp_path / build.filename)
    assert run("release", "publish", "macro-studio", "15.3b2").exit_code == 0


def test_a_signature_made_elsewhere_follows_later(run: Run, draft: int, signer: Signer, tmp_path: Path) -> None:
    add(draft, "studio.msi")
    signature = signed(signer, tmp_path, "studio.msi")
    assert run("release", "sign", "macro-studio", "15.3b2", "--signature", signature).exit_code == 2
    assert run("release", "sign", "macro-studio", "15.3b2", "studio.msi", "--signature", signature).exit_code == 0
    assert catalog.find_release("macro-studio", "15.3b2").builds[0].signature == signature.read_text()


def test_refusals_leave_no_build_and_no_file(run: Run, draft: int, signer: Signer, tmp_path: Path, settings: Settings) -> None:
    file, signature = tmp_path / "studio.msi", signed(new_signer(tmp_path, "other"), tmp_path, "studio.msi")
    (tmp_path / "page.exe").write_bytes(b"<!doctype html>")
    (tmp_path / "noise").write_bytes(b"noise")
    refusals = {
        "made with another key": add_build(run, file, "--signature", signature),
        "no signature of minisign": add_build(run, file, "--signature", tmp_path / "noise"),
        "page.exe is no exe file": add_build(run, tmp_path / "page.exe"),
        "MINISIGN_SECRET_KEY_FILE": add_build(run, file, "--sign"),
        "are for signatures": add_build(run, signature),
    }
    for reason, result in refusals.items():
        assert (result.exit_code, result.stdout) == (1, ""), reason
        assert reason in result.stderr
    assert add_build(run, file, "--sign", "--signature", signature).exit_code == 2
    assert catalog.find_release("macro-studio", "15.3b2").builds == []
    assert [path for path in settings.builds_dir.rglob("*") if path.is_file()] == []


def test_the_key_of_a_product_is_set_from_the_command_line(run: Run, cast: Cast, signer: Signer) -> None:
    assert run("product", "edit", "macro-studio", "--signing-key", signer.public).stdout == "Macro Studio is saved.\n"
    assert products.find_product("macro-studio").signing_key == signer.key
    assert run("product", "edit", "macro-studio", "--summary", "Macros").exit_code == 0
    db.session.rollback()
    assert products.find_product("macro-studio").signing_key == signer.key
    assert "secret key" in run("product", "edit", "macro-studio", "--signing-key", signer.secret).stderr
    assert run("product", "edit", "macro-studio", "--signing-key", "nonsense").exit_code == 1
    assert run("product", "create", "signed", "--name", "Signed", "--signing-key", signer.key).exit_code == 0
    assert run("product", "edit", "macro-studio", "--signing-key", "").exit_code == 0
    keys = {one["slug"]: one["signing_key"] for one in json.loads(run("product", "list", "--json").stdout)}
    assert (keys["signed"], keys["macro-studio"]) == (signer.key, None)
