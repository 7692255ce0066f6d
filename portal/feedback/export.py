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
from portal.feedback.models import Item, Vote
from portal.text import defuse

BATCH = 500
COLUMNS = (
    "id", "product", "kind", "severity", "visibility", "title", "body", "author", "organization", "contract", "about_version",
    "created_at", "status", "status_version", "response", "votes", "voting_contracts",
)  # fmt: skip


def count() -> int:
    """Return how many items there are."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(Item)) or 0


def rows(now: datetime) -> Iterator[dict[str, Any]]:
    """Yield every item by id, private ones too, with the numbers of the contracts whose vote counts at `now`."""
    last = 0
    while batch := _batch(last):
        contracts = _voting_contracts([item.id for item, _ in batch], now)
        for item, number in batch:
            yield _row(item, number, contracts[item.id])
        last = batch[-1][0].id
        db.session.expunge_all()


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


def _row(item: Item, contract: str, voting: list[str]) -> dict[str, Any]:
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
    }


def write_csv(items: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write items as CSV, the contracts of the votes in one cell, separated by spaces."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for item in items:
        item["voting_contracts"] = " ".join(item["voting_contracts"])
        writer.writerow([defuse(str(item[column])) for column in COLUMNS])


def write_json(items: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write items as an array of objects, one a line, without holding them all."""
    file.write("[")
    for number, item in enumerate(items):
        file.write(("," if number else "") + "\n" + json.dumps(item, ensure_ascii=False))
    file.write("\n]\n")
