"""Files that come with an item or a comment. Their bytes lie in storage like those of builds; here is who may have them.

The own organisation and staff may, and nobody else, even where all subscribers read the item.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.account.models import User
from portal.config import ANY_TYPE, Settings
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import reading
from portal.feedback.access import LARGEST_ID, Viewer, find_item
from portal.feedback.writing_models import Attachment
from portal.releases.filenames import check_filename
from portal.storage import Stored, store

TEXT = "text"
HEAD_BYTES = 64
# Control characters that text does not hold. Escape (0x1B) is not among them: logs are coloured with it.
_NOT_TEXT = bytes([*range(0x07), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What the files of a type begin with.
_BEGINNINGS: dict[str, Callable[[bytes], bool]] = {
    "png": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    "jpg": lambda head: head.startswith(b"\xff\xd8\xff"),
    "gif": lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    "webp": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "pdf": lambda head: head.startswith(b"%PDF-"),
    "zip": lambda head: head.startswith((b"PK\x03\x04", b"PK\x05\x06")),
    "gz": lambda head: head.startswith(b"\x1f\x8b\x08"),
    "7z": lambda head: head.startswith(b"7z\xbc\xaf\x27\x1c"),
    "mp4": lambda head: head[4:8] == b"ftyp",
    "webm": lambda head: head.startswith(b"\x1a\x45\xdf\xa3"),
}
# Endings that promise a type of the table above.
_PROMISES = {"jpeg": "jpg", "docx": "zip", "xlsx": "zip", "pptx": "zip", "tgz": "gz"} | {name: name for name in _BEGINNINGS}


@dataclass(frozen=True)
class Limits:
    """How many files go with one text, of how many bytes each, and of which types; none: of any."""

    number: int
    bytes_each: int
    types: frozenset[str] | None

    @property
    def in_words(self) -> str:
        """The types, as people call them."""
        if self.types is None:
            return "any type"
        names = sorted(name.upper() if name != TEXT else "plain text" for name in self.types)
        return ", ".join(names)


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings name."""
    named = settings.feedback_attachment_types.split()
    types = None if named == [ANY_TYPE] else frozenset(named)
    return Limits(settings.feedback_attachments, settings.feedback_attachment_bytes, types)


class Inspection:
    """Looks at a file as it passes: whether it is of a type that is taken, and of the one that its name promises."""

    def __init__(self, filename: str, limits: Limits) -> None:
        self._filename = filename
        self._limits = limits
        self._head = b""
        self._is_text = True

    def see(self, data: bytes) -> None:
        """Take in the next bytes."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        if self._is_text and not self._head.startswith(_UTF_16):
            self._is_text = len(data.translate(None, _NOT_TEXT)) == len(data)

    def finish(self) -> None:
        """Raise Invalid if the file is not taken, and say why."""
        promised = _PROMISES.get(self._filename.lower().rpartition(".")[2])
        found = {name for name, begins in _BEGINNINGS.items() if begins(self._head)} | ({TEXT} if self._is_text else set())
        if promised is not None and promised not in found:
            raise Invalid(
                f"{self._filename} does not begin like what its name says it is. Check that you chose the file you meant.", "files"
            )
        if self._limits.types is not None and not found & self._limits.types:
            raise Invalid(f"We do not take {self._filename} as it is. We take {self._limits.in_words}. Zip it and send the zip.", "files")


@dataclass(frozen=True)
class Arrived:
    """A file that is in storage, and not yet in a row."""

    filename: str
    stored: Stored


def check_name(filename: str) -> str:
    """Return the name of a file that somebody attaches. Raises Invalid for one that is not safe everywhere."""
    return check_filename(filename)


def add(
    arrived: Sequence[Arrived],
    person: User,
    *,
    item_id: int | None = None,
    comment_id: int | None = None,
    draft_id: int | None = None,
    now: datetime,
) -> None:
    """Put files in storage into rows: of an item, of a comment on it, or of a draft.

    Raises Conflict if the bytes were swept away in between, or the person belongs to no organisation.
    """
    if not arrived:
        return
    if person.organization_id is None:
        raise Conflict("Files are attached by people of a customer's organisation.")
    for one in arrived:
        db.session.add(
            Attachment(
                item_id=item_id, comment_id=comment_id, draft_id=draft_id, organization_id=person.organization_id, user_id=person.id,
                filename=check_filename(one.filename), size=one.stored.size, sha256=one.stored.sha256, created_at=now,
            )
        )  # fmt: skip
        if not store().exists(one.stored.sha256):
            raise Conflict(f"{one.filename} is no longer in storage. Attach it again.")
    db.session.flush()


def waiting_in(draft_id: int) -> list[Attachment]:
    """Return the files that wait in a draft, in order."""
    return list(db.session.scalars(sa.select(Attachment).where(Attachment.draft_id == draft_id).order_by(Attachment.id)))


def take_out(
    draft_id: int, ids: Collection[int], *, item_id: int | None = None, comment_id: int | None = None, to_draft: int | None = None
) -> None:
    """Take files out of a draft, to the item or comment it has become, or to another draft."""
    db.session.execute(
        sa.update(Attachment)
        .where(Attachment.draft_id == draft_id, Attachment.id.in_(ids))
        .values(draft_id=to_draft, item_id=item_id, comment_id=comment_id)
        .execution_options(synchronize_session=False)
    )


def shown_to(viewer: Viewer, item_ids: Collection[int]) -> dict[tuple[int | None, int | None], list[Attachment]]:
    """Return the attachments of items that the viewer may have, by item and comment; the comment is None for those of the item itself.

    Whether the items, and which of their comments, are shown is the caller's to ask.
    """
    statement = sa.select(Attachment).where(Attachment.item_id.in_(item_ids), _of(viewer)).options(joinedload(Attachment.organization))
    found: dict[tuple[int | None, int | None], list[Attachment]] = defaultdict(list)
    for attachment in db.session.scalars(statement.order_by(Attachment.id)):
        found[attachment.item_id, attachment.comment_id].append(attachment)
    return found


def find(viewer: Viewer, item_id: int, attachment_id: int) -> Attachment:
    """Return an attachment that the viewer may have. Raises NotFound otherwise, whatever the reason."""
    item = find_item(viewer, item_id)
    found = None
    if 0 < attachment_id <= LARGEST_ID:
        found = db.session.scalar(sa.select(Attachment).where(Attachment.id == attachment_id, Attachment.item_id == item.id, _of(viewer)))
    if found is None or (found.comment_id is not None and not reading.shows_comment(viewer, item, found.comment_id)):
        raise NotFound("There is no such file.")
    return found


def _of(viewer: Viewer) -> sa.ColumnElement[bool]:
    return sa.true() if viewer.staff else Attachment.organization_id == viewer.organization_id


def named() -> Collection[str]:
    """Return the digests of all attachments, which the clean-up of storage keeps."""
    return set(db.session.scalars(sa.select(Attachment.sha256)))
