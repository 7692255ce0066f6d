"""People, organisations, contracts with their terms, and the two seats of a contract."""

import enum
from datetime import date, datetime

import sqlalchemy as sa
from flask_security import RoleMixin, UserMixin
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.database import Base, text_enum
from portal.products.models import Product

SEATS = (1, 2)
ERASED = "Erased person"

roles_users = sa.Table(
    "roles_users",
    Base.metadata,
    sa.Column("user_id", sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("role_id", sa.ForeignKey("roles.id"), primary_key=True),
)


class Role(Base, RoleMixin):
    """A staff role: publisher, product, accounts, support or admin. Subscribers and customers have none."""

    __tablename__ = "roles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)


class Organization(Base):
    """A customer of the vendor: one company, with any number of people and contracts."""

    __tablename__ = "organizations"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), unique=True)
    created_at: Mapped[datetime]


class User(Base, UserMixin):
    """A person, known by an address. Everybody who is mailed is a row here, with or without a password.

    `email` is stored normalised and in lower case. `fs_uniquifier` names the person in session cookies and signed links;
    a new one makes all of them worthless. `provisional` marks an address that was typed into a public form, and that nobody has
    confirmed: it gets no mail but the one that asks, and is forgotten when that has expired. Since `erased_at`, nobody can tell who
    it was: name and address are gone, and what the organisation did through them stays.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(254), unique=True)
    name: Mapped[str] = mapped_column(sa.String(120), default="")
    password: Mapped[str | None] = mapped_column(sa.String(255))
    active: Mapped[bool] = mapped_column(default=True)
    provisional: Mapped[bool] = mapped_column(default=False)
    fs_uniquifier: Mapped[str] = mapped_column(sa.String(64), unique=True)
    organization_id: Mapped[int | None] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    time_zone: Mapped[str | None] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    failed_sign_ins: Mapped[int] = mapped_column(default=0)
    sign_in_locked_until: Mapped[datetime | None]
    failed_codes: Mapped[int] = mapped_column(default=0)
    codes_locked_until: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]

    organization: Mapped[Organization | None] = relationship(lazy="joined")
    roles: Mapped[list[Role]] = relationship(secondary=roles_users)  # type: ignore[assignment]

    @property
    def label(self) -> str:
        """What to call the person on pages and in mails."""
        return self.name or (ERASED if self.erased_at else self.email)

    @property
    def role_names(self) -> frozenset[str]:
        return frozenset(role.name for role in self.roles)

    @property
    def is_staff(self) -> bool:
        return bool(self.roles)


class UserSession(Base):
    """One sign-in on one device. The session cookie names it by a token; the row decides whether it still counts.

    `confirmed_at` is when the person last proved on it who they are: by signing in, or once more before a risky act.
    """

    __tablename__ = "user_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    confirmed_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    device: Mapped[str] = mapped_column(sa.String(200), default="")


class Authenticator(Base):
    """An authenticator app that makes a person's codes (TOTP, RFC 6238). The secret is encrypted, see `factors_totp`.

    `last_counter` is the time step of the last code that was taken: no code of that step or an earlier one is taken again.
    """

    __tablename__ = "authenticators"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), unique=True)
    secret: Mapped[str] = mapped_column(sa.String(255))
    last_counter: Mapped[int]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class Passkey(Base):
    """A passkey or security key of a person (WebAuthn): the public half, and how often the key says that it was used."""

    __tablename__ = "passkeys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    credential_id: Mapped[str] = mapped_column(sa.String(1400), unique=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(sa.BigInteger)
    transports: Mapped[str] = mapped_column(sa.String(120))
    label: Mapped[str] = mapped_column(sa.String(80))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """One of the codes a person has printed for the day the phone is lost. It begins with `lookup`; the rest is hashed like a password."""

    __tablename__ = "recovery_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    lookup: Mapped[str] = mapped_column(sa.String(8))
    code_hash: Mapped[str] = mapped_column(sa.String(255))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    __table_args__ = (sa.UniqueConstraint("user_id", "lookup"),)


class SpentChallenge(Base):
    """A WebAuthn challenge that was answered, kept until it would have expired, so that no answer counts twice."""

    __tablename__ = "spent_challenges"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Contract(Base):
    """Priority support for one product, bought by one organisation.

    Whether it is active is derived from its terms and the two instants below, never stored. `region` is one of SUPPORT_REGIONS, or
    empty where nobody said.
    """

    __tablename__ = "contracts"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(sa.String(40), unique=True)
    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"), index=True)
    time_zone: Mapped[str] = mapped_column(sa.String(64))
    region: Mapped[str] = mapped_column(sa.String(60), default="")
    created_at: Mapped[datetime]
    suspended_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]

    organization: Mapped[Organization] = relationship()
    product: Mapped[Product] = relationship()
    terms: Mapped[list["Term"]] = relationship(order_by="Term.starts_on")


class Term(Base):
    """A stretch of a contract, both days covered, midnight to midnight in the contract's zone.

    Terms of one contract do not overlap; `portal.account.contracts` sees to it under a lock of the contract. `price_cents` is what
    the whole term costs, in hundredths of `currency` (ISO 4217); `order_reference` is the customer's.
    """

    __tablename__ = "terms"

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"))
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    price_cents: Mapped[int] = mapped_column(default=49_500)
    currency: Mapped[str] = mapped_column(sa.String(3), default="USD")
    order_reference: Mapped[str] = mapped_column(sa.String(80), default="")
    created_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("contract_id", "starts_on"),
        sa.CheckConstraint("ends_on >= starts_on", name="ends_after_start"),
    )


class Suspension(Base):
    """A suspension of a contract that is over. One that lasts stands in `Contract.suspended_at` alone."""

    __tablename__ = "suspensions"

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    suspended_at: Mapped[datetime]
    resumed_at: Mapped[datetime]

    __table_args__ = (sa.CheckConstraint("resumed_at >= suspended_at", name="resumed_after"),)


class RenewalRequest(Base):
    """A contact asked for the term after the one that ends on `term_ends_on`: once for each end, whoever of the two asked first.

    It is open as long as that day is the contract's last one; a renewal answers it.
    """

    __tablename__ = "renewal_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"))
    term_ends_on: Mapped[date]
    asked_by_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    asked_at: Mapped[datetime]

    contract: Mapped[Contract] = relationship()
    asked_by: Mapped[User] = relationship()

    __table_args__ = (sa.UniqueConstraint("contract_id", "term_ends_on"),)


class Contact(Base):
    """A person named to a seat of a contract. A released row stays as history."""

    __tablename__ = "contacts"

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    seat: Mapped[int]
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    named_at: Mapped[datetime]
    released_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="joined")
    contract: Mapped[Contract] = relationship()

    __table_args__ = (
        sa.CheckConstraint("seat IN (1, 2)", name="two_seats"),
        sa.Index(
            "uq_contacts_live_seat", "contract_id", "seat", unique=True,
            sqlite_where=sa.text("released_at IS NULL"), postgresql_where=sa.text("released_at IS NULL"),
        ),
        sa.Index(
            "uq_contacts_live_user", "contract_id", "user_id", unique=True,
            sqlite_where=sa.text("released_at IS NULL"), postgresql_where=sa.text("released_at IS NULL"),
        ),
    )  # fmt: skip


class Invitation(Base):
    """An invitation to take a seat: single use, a hash of its token, bound to the contact's row.

    The token itself stands nowhere: it is derived from `nonce` and the secret key when the mail is sent (`tokens.derive_token`).
    `opened_at` is when the link was first opened, be it by a mail scanner; it decides nothing. `notice_id` is the mail it went out by.
    """

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contacts.id"), index=True)
    nonce: Mapped[str] = mapped_column(sa.String(64))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    notice_id: Mapped[int | None] = mapped_column(sa.ForeignKey("notices.id", ondelete="SET NULL"), index=True)

    contact: Mapped[Contact] = relationship()


class TokenPurpose(enum.StrEnum):
    """What an access token is good for. A feed's token stands in an address, so it must not open a download."""

    DOWNLOAD = "download"
    FEED = "feed"


class AccessToken(Base):
    """A personal token for downloads or feeds outside the browser, bound to a contact's row: it dies with the seat."""

    __tablename__ = "access_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contacts.id"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(text_enum(TokenPurpose), default=TokenPurpose.DOWNLOAD)
    label: Mapped[str] = mapped_column(sa.String(80))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    contact: Mapped[Contact] = relationship()


class StaffToken(Base):
    """A token by which a program acts for a member of staff: a build server, a report.

    It does what its `scopes` name, and never more than the person may: the roles are looked at on each use, so it is dead when the
    person loses the role or the account is closed.
    """

    __tablename__ = "staff_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    label: Mapped[str] = mapped_column(sa.String(80))
    scopes: Mapped[list[str]] = mapped_column(sa.JSON)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
