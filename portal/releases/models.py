"""Releases, builds and the ledger of downloads."""

import enum
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.database import Base, text_enum
from portal.products.models import Product


class Channel(enum.StrEnum):
    STABLE = "stable"
    BETA = "beta"


class Kind(enum.StrEnum):
    """How far a release moves: 16.0 is major, 15.3 minor, 15.2.1 a point release."""

    MAJOR = "major"
    MINOR = "minor"
    POINT = "point"


class ReleaseState(enum.StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


class BuildKind(enum.StrEnum):
    """What a file of a release is."""

    INSTALLER = "installer"
    PORTABLE = "portable"
    SYMBOLS = "symbols"
    DOCUMENT = "document"


PROGRAMS = (BuildKind.INSTALLER, BuildKind.PORTABLE)
_KINDS_IN_ORDER = list(BuildKind)


class Release(Base):
    """A version of a product.

    `version` is the normalised spelling of PEP 440 (`15.3b2`), as in URLs; `version_key` is equal for equal versions
    (15.2 and 15.2.0) and sorts as text the way versions sort, so the database orders and holds "one release per version".
    `scheduled_for` is when a scheduled release publishes itself. `safe_release_id` names the version to move to from one that
    was withdrawn.
    """

    __tablename__ = "releases"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"))
    version: Mapped[str] = mapped_column(sa.String(60))
    version_key: Mapped[str] = mapped_column(sa.String(200))
    channel: Mapped[Channel] = mapped_column(text_enum(Channel))
    kind: Mapped[Kind] = mapped_column(text_enum(Kind))
    state: Mapped[ReleaseState] = mapped_column(text_enum(ReleaseState), default=ReleaseState.DRAFT)
    summary: Mapped[str] = mapped_column(sa.String(300), default="")
    notes: Mapped[str] = mapped_column(sa.Text, default="")
    known_issues: Mapped[str] = mapped_column(sa.Text, default="")
    what_to_test: Mapped[str] = mapped_column(sa.Text, default="")
    expires_on: Mapped[date | None]
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    edited_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(default=1)
    scheduled_for: Mapped[datetime | None] = mapped_column(index=True)
    published_at: Mapped[datetime | None] = mapped_column(index=True)
    published_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    notes_corrected_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_reason: Mapped[str | None] = mapped_column(sa.Text)
    safe_release_id: Mapped[int | None] = mapped_column(sa.ForeignKey("releases.id"))

    product: Mapped[Product] = relationship(lazy="joined")
    builds: Mapped[list["Build"]] = relationship(order_by="Build.id")

    @property
    def path(self) -> str:
        """Where readers find it, below the portal's own address."""
        return f"/{'beta' if self.channel is Channel.BETA else 'releases'}/{self.product.slug}/{self.version}/"

    @property
    def programs(self) -> list["Build"]:
        """What people install or unpack: installers first."""
        return [build for build in self._by_kind() if build.kind in PROGRAMS]

    @property
    def companions(self) -> list["Build"]:
        """What goes with the programs: symbols, then documents."""
        return [build for build in self._by_kind() if build.kind not in PROGRAMS]

    @property
    def handed_out(self) -> list["Build"]:
        """What people can have: programs, then what goes with them, without what is damaged."""
        return [build for build in self._by_kind() if build.damaged_at is None]

    def _by_kind(self) -> list["Build"]:
        return sorted(self.builds, key=lambda build: (_KINDS_IN_ORDER.index(build.kind), build.id))

    __table_args__ = (
        sa.UniqueConstraint("product_id", "version_key"),
        sa.Index("ix_releases_product_state", "product_id", "state", "channel"),
    )


class Build(Base):
    """A file of a release. Its bytes lie in storage under `sha256`; the name is only what people see.

    `signature` is the text of its minisign signature, which is over `blake2b`, the BLAKE2b-512 of the bytes in hexadecimal; that
    one is unknown for builds stored before there were signatures. Since `damaged_at`, its stored bytes are known not to be those
    that were uploaded, and it is not served.
    """

    __tablename__ = "builds"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(sa.ForeignKey("releases.id"))
    filename: Mapped[str] = mapped_column(sa.String(200))
    kind: Mapped[BuildKind] = mapped_column(text_enum(BuildKind), default=BuildKind.INSTALLER)
    platform: Mapped[str] = mapped_column(sa.String(80), default="")
    architecture: Mapped[str] = mapped_column(sa.String(40), default="")
    size: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    blake2b: Mapped[str | None] = mapped_column(sa.String(128))
    signature: Mapped[str | None] = mapped_column(sa.Text)
    damaged_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    release: Mapped[Release] = relationship(overlaps="builds")

    @property
    def runs_on(self) -> str:
        """Platform and architecture, as "Windows, ARM64"; empty if neither is known."""
        return ", ".join(filter(None, (self.platform, self.architecture)))

    @property
    def about(self) -> str:
        """In a few words, what the file is: its kind, where it is no installer, and what it runs on."""
        return ", ".join(filter(None, ("" if self.kind is BuildKind.INSTALLER else self.kind.value, self.runs_on)))

    __table_args__ = (sa.UniqueConstraint("release_id", "filename"),)


class Download(Base):
    """One person taking one build, however often it was resumed.

    `contract_id` is the contract it was taken under, None for staff and for stable builds taken without one. `ranges` are the
    byte ranges granted, as [[first, last], …], merged. `sent` are those the portal itself has sent, and `completed_at` is when
    they became the whole; both are unknown where nginx sends. `open_key` is unique while the download is open, so parallel
    requests meet in one row. `address` is the network address it was first asked for from, forgotten after
    DOWNLOAD_ADDRESS_DAYS.
    """

    __tablename__ = "downloads"

    id: Mapped[int] = mapped_column(primary_key=True)
    build_id: Mapped[int] = mapped_column(sa.ForeignKey("builds.id"), index=True)
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    contract_id: Mapped[int | None] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    started_at: Mapped[datetime]
    last_request_at: Mapped[datetime]
    ranges: Mapped[list[Any]] = mapped_column(sa.JSON, default=list)
    sent: Mapped[list[Any]] = mapped_column(sa.JSON, default=list)
    completed_at: Mapped[datetime | None]
    open_key: Mapped[str | None] = mapped_column(sa.String(80), unique=True)
    address: Mapped[str | None] = mapped_column(sa.String(45))

    build: Mapped[Build] = relationship()


class Nudge(Base):
    """An organisation that had not tried a beta was reminded of it."""

    __tablename__ = "nudges"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(sa.ForeignKey("releases.id"), index=True)
    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    notice_id: Mapped[int] = mapped_column(sa.ForeignKey("notices.id"))
    sent_at: Mapped[datetime]
    sent_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
