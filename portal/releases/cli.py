"""`portal release`: drafts, builds, publishing."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click
from flask.cli import AppGroup

from portal import clock
from portal.config import current_settings
from portal.database import end_read, transaction
from portal.errors import Invalid
from portal.products.catalog import find_product
from portal.releases import audience, builds, catalog, drafts, publishing
from portal.releases.filenames import check_filename
from portal.releases.models import Channel, Kind, Release, ReleaseState
from portal.storage import CHUNK_BYTES, store

release = AppGroup("release", help="Releases and their builds.")

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
) -> None:
    """Make a draft of VERSION of PRODUCT (its slug)."""
    texts = {"notes": _read(notes), "what_to_test": _read(what_to_test), "known_issues": _read(known_issues)}
    with transaction():
        made = drafts.create_release(
            find_product(product),
            version,
            Channel(channel),
            summary=summary,
            kind=Kind(kind) if kind else None,
            expires_on=expires_on.date() if expires_on else None,
            **texts,
            actor=None,
            now=clock.now(),
        )
        name = _name(made)
    click.echo(f"{name} is a draft. Add a build, then publish it.")


@release.command("add-build")
@click.argument("product")
@click.argument("version")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--platform", default="", help="What it runs on, such as 'Windows 64-bit'.")
def add_build(product: str, version: str, file: Path, platform: str) -> None:
    """Store FILE as a build of a draft, under its own name."""
    found = catalog.find_release(product, version)
    release_id, name = found.id, _name(found)
    builds.refuse_unless_open(check_filename(file.name), found.state is ReleaseState.DRAFT, {build.filename for build in found.builds})
    end_read()
    with file.open("rb") as source:
        stored = store().write(_chunks(source, file.stat().st_size), current_settings().max_build_bytes)
    with transaction():
        builds.add_build(release_id, file.name, stored, platform=platform, actor=None, now=clock.now())
    click.echo(f"{file.name} is a build of {name}. SHA-256 {stored.sha256}")


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


@release.command("withdraw")
@click.argument("product")
@click.argument("version")
@click.option("--reason", required=True, help="What is wrong, and what to do. Everybody who opens its page reads it.")
@click.option("--tell/--no-tell", default=True, help="Mail the reason to everybody who downloaded it. Default: yes.")
def withdraw(product: str, version: str, reason: str, tell: bool) -> None:
    """Stop the downloads of a published release for good."""
    with transaction():
        found = catalog.find_release(product, version)
        name = _name(publishing.withdraw(found.id, reason, tell_downloaders=tell, actor=None, now=clock.now()))
    click.echo(f"{name} is withdrawn. Nobody can download it any more.")


@release.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_releases(as_json: bool) -> None:
    """List all releases, by product, the newest version first."""
    releases = [_as_dict(found) for found in catalog.everything()]
    if as_json:
        click.echo(json.dumps(releases, indent=2, ensure_ascii=False))
        return
    for one in releases:
        click.echo(f"{one['product']} {one['version']}  {one['channel']}, {one['state']}, builds: {len(one['builds'])}")


@release.command("sweep")
def sweep() -> None:
    """Remove stored bytes that no build names and that are older than a day."""
    click.echo(f"Files removed: {builds.sweep_storage(clock.now())}.")


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with click.open_file(str(path), encoding="utf-8") as source:
            return str(source.read())
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8. Save it as UTF-8 and try again.") from None


def _chunks(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the file in chunks, with a bar where a person watches."""
    if not sys.stderr.isatty():
        yield from iter(lambda: source.read(CHUNK_BYTES), b"")
        return
    with click.progressbar(length=size, label="Storing", file=sys.stderr) as bar:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
            bar.update(len(chunk))


def _name(found: Release) -> str:
    return f"{found.product.name} {found.version}"


def _as_dict(found: Release) -> dict[str, Any]:
    return {
        "product": found.product.slug,
        "version": found.version,
        "channel": found.channel.value,
        "kind": found.kind.value,
        "state": found.state.value,
        "published_at": found.published_at.isoformat() if found.published_at else None,
        "builds": [{"filename": one.filename, "platform": one.platform, "size": one.size, "sha256": one.sha256} for one in found.builds],
    }
