"""What subscribers write: items and comments."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from portal.account.models import User
from portal.database import db
from portal.errors import Invalid
from portal.feedback import announcements, followers, votes
from portal.feedback.access import Viewer, find_item
from portal.feedback.groups import root_of
from portal.feedback.models import Comment, Item, ItemKind, Severity, Visibility
from portal.products.models import Product
from portal.releases.models import Build, Download, Release, ReleaseState
from portal.text import clean_line, clean_text

TITLE_LIMIT = 160
BODY_LIMIT = 20_000
COMMENT_LIMIT = 10_000


def write(
    viewer: Viewer,
    *,
    product: Product,
    kind: ItemKind,
    title: str,
    body: str,
    visibility: Visibility,
    severity: Severity | None = None,
    version: str = "",
    now: datetime,
) -> Item:
    """Add an item in the name of the viewer's contract, which votes for it from the start.

    `version` names a published release of the product, "" none. A severity is kept for problems alone, and needed there.
    Raises Conflict for those who only read; Invalid(field) for text that is missing or too long, or an unknown version.
    """
    contract_id = viewer.voting_contract(product.id)
    title = clean_line(title, "title", TITLE_LIMIT)
    body = clean_text(body, "body", BODY_LIMIT)
    if kind is ItemKind.PROBLEM and severity is None:
        raise Invalid("Say how much the problem disturbs your work.", "severity")
    item = Item(
        product_id=product.id,
        release_id=_find_version(product, version).id if version else None,
        kind=kind,
        severity=severity if kind is ItemKind.PROBLEM else None,
        visibility=visibility,
        title=title,
        body=body,
        author_id=viewer.person.id,
        contract_id=contract_id,
        organization_id=viewer.organization_id,
        created_at=now,
        changed_at=now,
    )
    db.session.add(item)
    db.session.flush()
    votes.add(item.id, contract_id, viewer.person.id, now=now)
    followers.start(item.id, viewer.person.id, now=now)
    return item


def _find_version(product: Product, version: str) -> Release:
    release = db.session.scalar(
        sa.select(Release).where(
            Release.product_id == product.id, Release.version == version[:60].replace("\0", ""), Release.state == ReleaseState.PUBLISHED
        )
    )
    if release is None:
        raise Invalid(f"{product.name} has no published version {version[:60]}. Choose one from the list, or none.", "version")
    return release


def versions_to_write_about(product_ids: Collection[int], *, limit: int = 60) -> list[Release]:
    """Return the releases of the products that were published last, newest first, at most `limit`."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(Release.product_id.in_(product_ids), Release.state == ReleaseState.PUBLISHED)
            .order_by(Release.published_at.desc(), Release.id.desc())
            .limit(limit)
        )
    )


def last_download(person: User) -> Release | None:
    """Return the release of which the person downloaded something last."""
    return db.session.scalar(
        sa.select(Release)
        .join(Build, Build.release_id == Release.id)
        .join(Download, Download.build_id == Build.id)
        .where(Download.user_id == person.id)
        .order_by(Download.last_request_at.desc(), Download.id.desc())
        .limit(1)
    )


def comment(viewer: Viewer, item_id: int, body: str, *, now: datetime) -> Comment:
    """Add a comment in the name of the viewer's organisation, tell the author, and put the item back into the inbox.

    Raises NotFound for an item the viewer cannot see, Conflict for those who only read, Invalid for the text.
    """
    item = find_item(viewer, item_id)
    viewer.voting_contract(item.product_id)
    written = Comment(
        item_id=item.id,
        author_id=viewer.person.id,
        organization_id=viewer.organization_id,
        body=clean_text(body, "body", COMMENT_LIMIT),
        created_at=now,
    )
    db.session.add(written)
    db.session.flush()
    db.session.get_one(Item, root_of(item.id)).read_at = None
    announcements.announce_comment(item, written, now=now)
    return written
