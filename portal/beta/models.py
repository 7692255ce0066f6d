"""The terms of the beta programme, and who accepted which."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.database import Base


class BetaTerms(Base):
    """One version of a product's beta terms. Published text never changes; a new text is a new version."""

    __tablename__ = "beta_terms"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"))
    version: Mapped[int]
    text: Mapped[str] = mapped_column(sa.Text)
    published_at: Mapped[datetime]

    __table_args__ = (sa.UniqueConstraint("product_id", "version"),)


class TermsAcceptance(Base):
    """Who accepted which text, for which contract, when."""

    __tablename__ = "terms_acceptances"

    id: Mapped[int] = mapped_column(primary_key=True)
    beta_terms_id: Mapped[int] = mapped_column(sa.ForeignKey("beta_terms.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    accepted_at: Mapped[datetime]

    terms: Mapped[BetaTerms] = relationship()

    __table_args__ = (sa.UniqueConstraint("beta_terms_id", "user_id"),)
