"""Products: what releases, contracts and feedback belong to."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, text_enum


class StableAccess(enum.StrEnum):
    """Who may download the stable builds of a product."""

    PUBLIC = "public"
    CUSTOMERS = "customers"
    PRIORITY = "priority"


class Product(Base):
    """A product. `slug` names it in URLs and commands and never changes.

    `signing_key` is the minisign public key its builds are signed with; without one, builds are not signed.
    """

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(sa.String(60), unique=True)
    name: Mapped[str] = mapped_column(sa.String(120), unique=True)
    summary: Mapped[str] = mapped_column(sa.Text, default="")
    stable_access: Mapped[StableAccess] = mapped_column(text_enum(StableAccess), default=StableAccess.CUSTOMERS)
    signing_key: Mapped[str | None] = mapped_column(sa.String(120))
    created_at: Mapped[datetime]
