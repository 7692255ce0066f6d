"""`portal release`: drafts, builds, publishing."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup

from portal import clock, signatures
from portal.config import current_settings
from portal.database import end_read, transaction
from portal.errors import Invalid
from portal.products.catalog import find_product
from portal.releases import announcements, audience, builds, catalog, drafts, integrity, publishing, scheduling, ways_out
from portal.releases.data import release_data
from portal.releases.file_types import Inspection
from portal.releases.filenames import check_filename
from portal.releases.models import BuildKind, Channel, Kind, Release, ReleaseState
from portal.storage import CHUNK_BYTES, store

release = AppGroup("release", help="Releases and their builds.")

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TEXT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@release.command("create")
@click.argument("product")
@click.argument("version")
@click.option("--channel", type=click.Choice([channel.value for channel in Channel]), required=True)
@click.option("--notes", type=TEXT, required=True, help="Release notes, a file in Markdown and UTF-8; - for standard input.")
@click.option("--what-to-test", type=TEXT, help="What testers of a beta are asked to do; a file like the notes.")
@click.option("--known-issues", type=TEXT, help="A file like the notes.")
@click.option("--summary", default="", help="One sentence, for lists and the mail.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Left out: as the version says.")
@click.option("--expires-on", type=click.DateTime(["%Y-%m-%d"]), help="Last day a beta runs, like 2027-01-31.")
@click.option("--lower", is_flag=True, help="A version lower than the newest of its channel is meant.")
def create(
    product: str,
    version: str,
    channel: str,
    notes: Path,
    what_to_test: Path | None,
    known_issues: Path | None,
    summary: str,
    kind: str | None,
    expires_on: datetime | None,
    lower: bool,
) -> None:
    """Make a draft of VERSION of PRODUCT (its slug)."""
    texts = {"notes": _read(notes), "what_to_test": _read(what_to_test), "known_issues": _read(known_issues)}
    try:
        with transaction():
            made = drafts.create_release(
                find_product(product),
                version,
                Channel(channel),
                summary=summary,
                kind=Kind(kind) if kind else None,
                expires_on=expires_on.date() if expires_on else None,
                ask_if_lower=not lower,
                **texts,
                actor=None,
                now=clock.now(),
            )
            name = _name(made)
    except Invalid as error:
        raise Invalid(f"{error} (--lower says so.)", "lower") if error.field == "lower" else error from None
    click.echo(f"{name} is a draft. Add a build, then publish it.")


@release.command("add-build")
@click.argument("product")
@click.argument("version")
@click.argument("file", type=FILE)
@click.option("--kind", type=click.Choice([kind.value for kind in BuildKind]), default=BuildKind.INSTALLER.value, show_default=True)
@click.option("--platform", default="", help="What it runs on, such as Windows.")
@click.option("--architecture", default="", help="Such as x64 or ARM64.")
@click.option("--signature", "signature_file", type=FILE, help="Its minisign signature, FILE.minisig.")
@click.option("--sign", "make_signature", is_flag=True, help="Sign it here, with the key that MINISIGN_SECRET_KEY_FILE names.")
def add_build(
    product: str,
    version: str,
    file: Path,
    kind: str,
    platform: str,
    architecture: str,
    signature_file: Path | None,
    make_signature: bool,
) -> None:
    """Store FILE as a build of a draft, under its own name."""
    if signature_file and make_signature:
        raise click.UsageError("Give --signature or --sign, not both.")
    found = catalog.find_release(product, version)
    offered, release_id, name = found.product, found.id, _name(found)
    builds.refuse_unless_open(check_filename(file.name), found.state is ReleaseState.DRAFT, {build.filename for build in found.builds})
    end_read()
    signature = _signature(signature_file)
    if make_signature:
        with file.open("rb") as source:
            signature = _sign(source, file.name)
    inspection, checked = Inspection(file.name), None

    def inspected(chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the chunks on. What is wrong with the file or its signature is found before it is stored."""
        nonlocal checked
        for chunk in chunks:
            inspection.see(chunk)
            yield chunk
        blake2b = inspection.finish()
        checked = builds.check_signature(offered, file.name, signature, blake2b) if signature is not None else None

    with file.open("rb") as source:
        chunks = iter(lambda: source.read(CHUNK_BYTES), b"")
        with _bar("Storing", file.stat().st_size) as advance:
            stored = store().write(inspected(_counted(chunks, advance)), current_settings().max_build_bytes)
    with transaction():
        builds.add_build(
            release_id, file.name, stored, kind=BuildKind(kind), platform=platform, architecture=architecture,
            blake2b=inspection.finish(), signature=checked, actor=None, now=clock.now(),
        )  # fmt: skip
    click.echo(f"{file.name} is a build of {name}{', and signed' if checked else ''}. SHA-256 {stored.sha256}")


@release.command("sign")
@click.argument("product")
@click.argument("version")
@click.argument("filename", required=False)
@click.option("--signature", "signature_file", type=FILE, help="The signature of FILENAME, made elsewhere.")
def sign(product: str, version: str, filename: str | None, signature_file: Path | None) -> None:
    """Sign the builds of a draft that are not signed yet, or FILENAME alone, also if it is.

    The key is the one that MINISIGN_SECRET_KEY_FILE names. Without it, give a signature that was made elsewhere.
    """
    if signature_file and filename is None:
        raise click.UsageError("Name the file that the signature belongs to.")
    found = catalog.find_release(product, version)
    release_id, name, offered = found.id, _name(found), found.product
    if filename is not None:
        wanted = [builds.find_build(found, filename)]
    else:
        wanted = [build for build in found.builds if not builds.is_signed(build, offered)]
    targets = [(build.id, build.filename, build.sha256, build.size) for build in wanted]
    end_read()
    for build_id, build_name, sha256, size in targets:
        signature = _signature(signature_file)
        if signature is None:
            with _bar(f"Signing {build_name}", size) as advance:
                signature = _sign(_Source(_counted(store().read(sha256), advance)), build_name)
        with transaction():
            builds.sign_build(release_id, build_id, signature, actor=None, now=clock.now())
        click.echo(f"{build_name} of {name} is signed.")
    if not targets:
        click.echo(f"Every build of {name} is signed already.")


@release.command("verify")
@click.argument("product", required=False)
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_context
def verify(context: click.Context, product: str | None, version: str | None, as_json: bool) -> None:
    """Read every stored byte again: of all builds, of those of PRODUCT, or of one release.

    A build whose bytes are damaged or missing is not handed out any more, and staff are told; one that is whole again is handed
    out as before. Exit code 1 if any is damaged.
    """
    releases = integrity.subjects(product, version)
    end_read()
    found = []
    with _bar("Reading", sum(subject.size for subjects in releases for subject in subjects)) as advance:
        for subjects in releases:
            examinations = [integrity.examine(subject, advance) for subject in subjects]
            with transaction():
                integrity.settle(examinations, now=clock.now())
            found += examinations
    bad = [examination for examination in found if examination.state is not integrity.State.WHOLE]
    if as_json:
        click.echo(json.dumps([_verified(examination) for examination in found], indent=2, ensure_ascii=False))
    else:
        for examination in bad:
            subject = examination.subject
            click.echo(f"{subject.product} {subject.version}  {subject.filename}: {examination.state.value}")
        click.echo(f"Builds read: {len(found)}. Damaged or missing: {len(bad)}.")
    if bad:
        click.echo("Damaged builds are not handed out. Put their files back or upload them again, then verify again.", err=True)
        context.exit(1)


@release.command("publish")
@click.argument("product")
@click.argument("version")
def publish(product: str, version: str) -> None:
    """Publish a draft and mail its audience."""
    with transaction():
        found = catalog.find_release(product, version)
        now = clock.now()
        people = audience.reach(found, now).reached
        name = _name(publishing.publish_release(found.id, actor=None, now=now))
    click.echo(f"{name} is published. Mails waiting to be sent: {people}.")


@release.command("schedule")
@click.argument("product")
@click.argument("version")
@click.argument("time")
def schedule(product: str, version: str, time: str) -> None:
    """Let a draft publish itself at TIME, like 2027-01-31T09:00; on the portal's clocks unless it says where (+01:00, Z)."""
    at = scheduling.read_time(time, current_settings().default_time_zone)
    with transaction():
        name = _name(scheduling.schedule(catalog.find_release(product, version).id, at, actor=None, now=clock.now()))
    click.echo(f"{name} is scheduled. It publishes itself at {at.isoformat()}.")


@release.command("unschedule")
@click.argument("product")
@click.argument("version")
def unschedule(product: str, version: str) -> None:
    """Make a scheduled release a draft again."""
    with transaction():
        name = _name(scheduling.unschedule(catalog.find_release(product, version).id, actor=None, now=clock.now()))
    click.echo(f"{name} is a draft again.")


@release.command("withdraw")
@click.argument("product")
@click.argument("version")
@click.option("--reason", required=True, help="What is wrong, and what to do. Everybody who opens its page reads it.")
@click.option("--safe", metavar="VERSION", help="The version to move to; none for none. Left out: the newest that is published and runs.")
@click.option("--mail/--no-mail", default=True, help="Mail reason and safe version to everybody who downloaded it. Default: yes.")
def withdraw(product: str, version: str, reason: str, safe: str | None, mail: bool) -> None:
    """Stop the downloads of a published release for good."""
    now = clock.now()
    with transaction():
        found = catalog.find_release(product, version)
        way = _way_out(found, safe, clock.civil_date(now, current_settings().default_time_zone))
        publishing.withdraw(
            found.id, reason, safe_release_id=way.id if way else None, tell_downloaders=mail, actor=None, now=now
        )  # fmt: skip
        name, goal = _name(found), _name(way) if way else None
        told = announcements.count_downloaders(found.id) if mail else 0
    click.echo(f"{name} is withdrawn. Nobody can download it any more.")
    click.echo(f"Version to move to: {goal or 'none'}. Mails waiting to be sent: {told}.")


def _way_out(found: Release, safe: str | None, today: date) -> Release | None:
    if safe is None:
        return ways_out.propose(found, ways_out.choices(found, today))
    return None if safe == "none" else catalog.find_release(found.product.slug, safe)


@release.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_releases(as_json: bool) -> None:
    """List all releases, by product, the newest version first."""
    releases = [release_data(found) for found in catalog.everything()]
    if as_json:
        click.echo(json.dumps(releases, indent=2, ensure_ascii=False))
        return
    for one in releases:
        click.echo(f"{one['product']} {one['version']}  {one['channel']}, {one['state']}, builds: {len(one['builds'])}")


@release.command("sweep")
def sweep() -> None:
    """Remove stored bytes that no build and no feedback names and that are older than a day."""
    click.echo(f"Files removed: {builds.sweep_storage(clock.now())}.")


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with click.open_file(str(path), encoding="utf-8") as source:
            return str(source.read())
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8. Save it as UTF-8 and try again.") from None


def _signature(path: Path | None) -> bytes | None:
    if path is None:
        return None
    with path.open("rb") as source:
        return source.read(signatures.LONGEST_BYTES + 1)


def _sign(source: signatures.Readable, filename: str) -> bytes:
    settings = current_settings()
    return signatures.sign(
        source, filename, key_file=settings.minisign_secret_key_file, password_file=settings.minisign_password_file, now=clock.now()
    ).encode()


class _Source:
    """Chunks, as something to be read to its end; however little is asked for, a chunk comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int = -1, /) -> bytes:
        return next(self._chunks, b"")


@contextmanager
def _bar(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a bar where a person watches. Yields what to call with how many bytes more are done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield bar.update


def _counted(chunks: Iterator[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        advance(len(chunk))


def _verified(examination: integrity.Examination) -> dict[str, Any]:
    subject = examination.subject
    return {
        "product": subject.product,
        "version": subject.version,
        "filename": subject.filename,
        "sha256": subject.sha256,
        "size": subject.size,
        "state": examination.state.value,
    }


def _name(found: Release) -> str:
    return f"{found.product.name} {found.version}"
