"""Feedback as rows for other programs: JSON, or CSV that a spreadsheet opens without running anything."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TextIO

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.account.models import Contract
from portal.database import db
from portal.feedback import votes
from portal.feedback.loop_models import Link
from portal.feedback.models import Item, Vote
from portal.releases.models import Release
from portal.text import defuse

BATCH = 500
COLUMNS = (
    "id", "product", "kind", "severity", "visibility", "title", "body", "author", "organization", "contract", "about_version",
    "created_at", "status", "status_version", "response", "votes", "voting_contracts", "linked_releases", "merged_into",
)  # fmt: skip


def count() -> int:
    """Return how many items there are."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(Item)) or 0


def rows(now: datetime) -> Iterator[dict[str, Any]]:
    """Yield every item by id, private ones too, with the numbers of the contracts whose vote counts at `now`."""
    last = 0
    while batch := _batch(last):
        ids = [item.id for item, _ in batch]
        contracts, releases = _voting_contracts(ids, now), _linked_releases(ids)
        for item, number in batch:
            yield _row(item, number, contracts[item.id], releases[item.id])
        last = batch[-1][0].id  # the session holds on to none of them


def _batch(after: int) -> Sequence[sa.Row[Item, str]]:
    return db.session.execute(
        sa.select(Item, Contract.number)
        .join(Contract, Contract.id == Item.contract_id)
        .where(Item.id > after)
        .options(joinedload(Item.author), joinedload(Item.organization), joinedload(Item.release))
        .order_by(Item.id)
        .limit(BATCH)
    ).all()


def _voting_contracts(item_ids: list[int], now: datetime) -> dict[int, list[str]]:
    numbers: dict[int, list[str]] = defaultdict(list)
    voting = sa.select(Vote.item_id, Vote.contract_id).where(Vote.item_id.in_(item_ids), votes.counting(now)).subquery()
    for item_id, number in db.session.execute(
        sa.select(voting.c.item_id, Contract.number).join(Contract, Contract.id == voting.c.contract_id).order_by(Contract.number)
    ):
        numbers[item_id].append(number)
    return numbers


def _linked_releases(item_ids: list[int]) -> dict[int, list[str]]:
    versions: dict[int, list[str]] = defaultdict(list)
    for item_id, version in db.session.execute(
        sa.select(Link.item_id, Release.version)
        .join(Release, Release.id == Link.release_id)
        .where(Link.item_id.in_(item_ids), Link.removed_at.is_(None))
        .order_by(Release.version_key)
    ):
        versions[item_id].append(version)
    return versions


def _row(item: Item, contract: str, voting: list[str], releases: list[str]) -> dict[str, Any]:
    return {
        "id": item.id,
        "product": item.product.slug,
        "kind": item.kind.value,
        "severity": item.severity.value if item.severity else "",
        "visibility": item.visibility.value,
        "title": item.title,
        "body": item.body,
        "author": item.author.email,
        "organization": item.organization.name,
        "contract": contract,
        "about_version": item.release.version if item.release else "",
        "created_at": item.created_at.isoformat(),
        "status": item.status.value,
        "status_version": item.status_version,
        "response": item.response,
        "votes": len(voting),
        "voting_contracts": voting,
        "linked_releases": releases,
        "merged_into": item.merged_into_id,
    }


def write_csv(items: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write items as CSV; the contracts of the votes, and the releases, each in one cell, separated by spaces."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for item in items:
        cells = (item[column] for column in COLUMNS)
        texts = (" ".join(cell) if isinstance(cell, list) else "" if cell is None else str(cell) for cell in cells)
        writer.writerow([defuse(text) for text in texts])


def write_json(items: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write items as an array of objects, one a line, without holding them all."""
    file.write("[")
    for number, item in enumerate(items):
        file.write(("," if number else "") + "\n" + json.dumps(item, ensure_ascii=False))
    file.write("\n]\n")
