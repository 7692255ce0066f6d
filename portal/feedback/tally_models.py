"""What the tallies of items rest on: the contracts they count, and from when to when that is right."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base


class CountedContract(Base):
    """A contract whose votes the tallies of items count, and with what: its price for a year, and whether it soon ends.

    `yearly_cents` are hundredths of the currency that tallies are kept in; 0 for contracts in another one.
    """

    __tablename__ = "feedback_counted_contracts"

    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), primary_key=True, autoincrement=False)
    yearly_cents: Mapped[int] = mapped_column(sa.BigInteger)
    ending: Mapped[bool]


class TallyState(Base):
    """The stretch of time for which the counted contracts are those in force, as one row.

    `until` is None as soon as a contract has changed. `currency` is what value is tallied in.
    """

    __tablename__ = "feedback_tally_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    since: Mapped[datetime | None]
    until: Mapped[datetime | None]
    currency: Mapped[str] = mapped_column(sa.String(3), default="")

    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)
