"""Where data about people lies: one register of every column that names a person, what they get of it, and what erasing does.

`docs/privacy.md` tells it to people; tests hold the two equal, and hold that no column that points to a person is forgotten.
Tables are named by text, as foreign keys are, since most of them lie on higher floors.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from portal.account import email_changes
from portal.account.models import ERASED
from portal.database import Base, db
from portal.notices.outbox import run_update


class Erase(enum.StrEnum):
    """What becomes of the rows when the person is erased."""

    DELETE = "deleted"
    KEEP = "kept without name"
    BLANK = "blanked"


@dataclass(frozen=True)
class Kept:
    """Rows of a table that belong to a person by `column`.

    `show` are the columns the person gets in their export; `blank` are those that erasing empties. `hide` names what of it tells of
    somebody else, by what the export calls it.
    """

    table: str
    column: str
    erase: Erase
    show: tuple[str, ...] = ()
    blank: Mapping[str, Any] = field(default_factory=dict)
    hide: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.table}.{self.column}"


# The person's own things.
OWN = (
    Kept("contacts", "user_id", Erase.KEEP, ("contract_id", "seat", "named_at", "released_at")),
    Kept("renewal_requests", "asked_by_id", Erase.KEEP, ("contract_id", "term_ends_on", "asked_at")),
    Kept("user_sessions", "user_id", Erase.DELETE, ("created_at", "last_seen_at", "ended_at", "device")),
    Kept("known_devices", "user_id", Erase.DELETE, ("name", "created_at", "last_seen_at")),
    Kept("authenticators", "user_id", Erase.DELETE, ("created_at", "last_used_at")),
    Kept("passkeys", "user_id", Erase.DELETE, ("label", "created_at", "last_used_at")),
    Kept("recovery_codes", "user_id", Erase.DELETE, ("created_at", "used_at")),
    Kept("email_changes", "user_id", Erase.DELETE, ("old_email", "new_email", "created_at", "closed_at")),
    Kept("roles_users", "user_id", Erase.DELETE, ("role_id",)),
    Kept("staff_tokens", "user_id", Erase.DELETE, ("label", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")),
    Kept("subscriptions", "user_id", Erase.DELETE, ("product_id", "topic", "wanted", "changed_at")),
    Kept("subscription_requests", "user_id", Erase.DELETE, ("product_id", "topics", "created_at", "confirmed_at")),
    Kept(
        "deliveries", "user_id", Erase.BLANK,
        ("notice_id", "address", "name", "state", "reason", "reply", "created_at", "settled_at"),
        {"address": "", "name": "", "domain": "", "reply": None},
        # Whether a link went to a new address says whether somebody has an account under it; which one it was, stands in email_changes.
        hide={"notice": email_changes.NEW},
    ),
    Kept("terms_acceptances", "user_id", Erase.KEEP, ("beta_terms_id", "contract_id", "accepted_at")),
    Kept(
        "downloads", "user_id", Erase.BLANK,
        ("build_id", "contract_id", "started_at", "last_request_at", "completed_at", "address"),
        {"address": None},
    ),
    Kept("feedback_items", "author_id", Erase.KEEP, ("id", "kind", "title", "body", "created_at", "status", "response")),
    Kept("feedback_editions", "by_id", Erase.KEEP, ("item_id", "number", "title", "body", "at")),
    Kept("feedback_comments", "author_id", Erase.KEEP, ("item_id", "body", "created_at")),
    Kept("feedback_updates", "by_id", Erase.BLANK, ("item_id", "kind", "text", "at"), {"who": ERASED}),
    Kept("feedback_votes", "user_id", Erase.KEEP, ("item_id", "contract_id", "created_at", "withdrawn_at")),
    Kept("feedback_verdicts", "user_id", Erase.KEEP, ("item_id", "release_id", "answer", "words", "created_at")),
    Kept("feedback_follows", "user_id", Erase.DELETE, ("item_id", "wanted", "changed_at")),
    Kept("feedback_digest_choices", "user_id", Erase.DELETE, ("wanted", "changed_at")),
    Kept("feedback_attachments", "user_id", Erase.KEEP, ("item_id", "filename", "size", "sha256", "created_at")),
    Kept("feedback_drafts", "user_id", Erase.DELETE, ("purpose", "item_id", "fields", "created_at")),
    Kept("audit_events", "actor_id", Erase.KEEP, ("at", "action", "subject_type", "subject_id", "source", "address", "details")),
)  # fmt: skip

# What somebody did as a member of staff: it stays, and says "Erased person" once they are erased.
STAFF_ACTS = frozenset({
    "notices.created_by_id", "announcements.created_by_id", "releases.created_by_id", "releases.published_by_id",
    "builds.created_by_id", "nudges.sent_by_id", "feedback_items.responded_by_id", "feedback_items.assignee_id",
    "feedback_links.created_by_id", "feedback_merges.merged_by_id", "feedback_merges.unmerged_by_id",
    "feedback_not_alike.said_by_id", "feedback_status_changes.by_id",
})  # fmt: skip


# What a number stands for, so that people can read their export.
_NAMES = {
    "contract_id": ("contract", "contracts", "number"),
    "product_id": ("product", "products", "slug"),
    "release_id": ("release", "releases", "version"),
    "build_id": ("file", "builds", "filename"),
    "notice_id": ("notice", "notices", "kind"),
    "role_id": ("role", "roles", "name"),
    "beta_terms_id": ("terms_version", "beta_terms", "version"),
}


def rows_of(kept: Kept, person_id: int) -> Iterator[dict[str, Any]]:
    """Yield what the person gets of these rows, as JSON."""
    table = Base.metadata.tables[kept.table]
    wanted = sa.select(*(_shown(table, name) for name in kept.show)).where(table.c[kept.column] == person_id)
    for row in db.session.execute(wanted.order_by(*table.primary_key.columns)).mappings():
        if not any(row[name] == hidden for name, hidden in kept.hide.items()):
            yield {name: plain(value) for name, value in row.items()}


def _shown(table: sa.Table, name: str) -> sa.ColumnElement[Any]:
    """A column as people get it: the name of a thing instead of its number, where it has one."""
    if name not in _NAMES:
        return table.c[name]
    called, other, label = _NAMES[name]
    named = Base.metadata.tables[other]
    return sa.select(named.c[label]).where(named.c.id == table.c[name]).scalar_subquery().label(called)


def plain(value: Any) -> Any:
    """Return a column's value as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.value if isinstance(value, enum.Enum) else value


def erase_rows(kept: Kept, person_id: int) -> int:
    """Do what erasing a person means for these rows; return how many were deleted or blanked."""
    table = Base.metadata.tables[kept.table]
    mine = table.c[kept.column] == person_id
    if kept.erase is Erase.DELETE:
        return run_update(sa.delete(table).where(mine))
    if kept.erase is Erase.BLANK:
        return run_update(sa.update(table).where(mine).values(dict(kept.blank)))
    return 0
