"""What is kept to look after signing in: the devices a person has used, and changes of address that wait for confirmation."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.account.models import User
from portal.database import Base


class KnownDevice(Base):
    """A browser that a person has signed in with. A cookie of its own names it by a token, of which the hash is kept.

    `fingerprint` is a keyed hash of what the browser called itself and of the network it came from: a browser that throws its
    cookies away is known by it, and neither of the two can be read back. `name` is what to call the device.
    """

    __tablename__ = "known_devices"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    token_hash: Mapped[str] = mapped_column(sa.String(64))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (sa.UniqueConstraint("user_id", "token_hash"),)


class EmailChange(Base):
    """A person asked for another address. It is theirs once both the old and the new one have confirmed it, by a link each.

    The links are derived from `nonce` and the secret key when the mails are sent (`tokens.derive_token`), as invitations' are.
    `closed_at` says when it was done, cancelled or replaced by another one, `outcome` which of these. A person has at most one
    that is not closed; after `expires_at` it counts no more.
    """

    __tablename__ = "email_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    old_email: Mapped[str] = mapped_column(sa.String(254))
    new_email: Mapped[str] = mapped_column(sa.String(254))
    nonce: Mapped[str] = mapped_column(sa.String(64))
    old_token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    new_token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    old_confirmed_at: Mapped[datetime | None]
    new_confirmed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(sa.String(20))

    user: Mapped[User] = relationship()

    __table_args__ = (
        sa.Index(
            "uq_email_changes_open",
            "user_id",
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
    )
