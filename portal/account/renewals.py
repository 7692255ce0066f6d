"""The end of a contract's term: what stays, what goes, and asking for the next term.

A request is a row for the contract and the day its last term ends. It is open as long as that day is the last one, so a renewal
answers it without touching it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.account import contracts, people
from portal.account.contracts import ContractState, Standing
from portal.account.models import Contract, RenewalRequest, Term, User
from portal.config import current_settings
from portal.database import db, insert
from portal.errors import Conflict
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.products.models import Product, StableAccess
from portal.web.formatting import long_date

ASKED = "renewal_asked"
# So many days before the last one a contact can ask for the next term; the first reminder goes out then.
OFFERED_DAYS = 90
ANSWERED = "renewed or cancelled meanwhile"

KEPT = (
    "Your account, and both seats of the contract",
    "The feedback board to read, and what your organisation wrote there",
    "Notices of minor and major releases, where you chose them",
)
LOST = (
    "Betas, and the tokens and private feeds that bring them",
    "Votes, comments and new feedback",
    "Notices of betas and point releases",
)


@dataclass(frozen=True)
class Outlook:
    """What comes after a contract's last term.

    `offered`: the contacts can ask for the next term now, or buy it at `shop`, if there is one. `request`: one of them has asked.
    `coming`: the first and the last day of the term that a renewal adds today.
    """

    ends_on: date
    offered: bool
    request: RenewalRequest | None
    coming: tuple[date, date]
    shop: str


def outlook(contract: Contract, at: Standing, now: datetime) -> Outlook:
    """Return what comes after the last term of `contract`, which stands as `at` says at `now`."""
    return Outlook(
        ends_on=contract.terms[-1].ends_on,
        offered=is_offered(contract, at),
        request=open_requests([contract.id]).get(contract.id),
        coming=contracts.next_term(contract, now),
        shop=current_settings().renewal_url_of(contract.number),
    )


def is_offered(contract: Contract, at: Standing) -> bool:
    """Whether the next term can be asked for: in the last OFFERED_DAYS of the last one, and from then on."""
    left = (contract.terms[-1].ends_on - at.today).days
    return at.state is ContractState.EXPIRED or (at.state is ContractState.ACTIVE and left <= OFFERED_DAYS)


def what_stays(product: Product) -> tuple[list[str], list[str]]:
    """Return what somebody whose contract of `product` has ended keeps, and what comes back with the next term."""
    if product.stable_access is StableAccess.PRIORITY:
        return ["The pages and notes of stable releases", *KEPT], [*LOST, "Downloads of stable releases"]
    return ["Stable releases and their notes", *KEPT], list(LOST)


def ask(contract: Contract, *, actor: User, now: datetime) -> bool:
    """Ask the account managers for the next term of `contract`. Returns False if somebody has asked for it already.

    Raises Conflict while there is nothing to ask for: suspended, cancelled, renewed, or more than OFFERED_DAYS to go.
    """
    contract = contracts.lock_contract(contract.id)
    if not is_offered(contract, contracts.standing(contract, now)):
        raise Conflict(f"Contract {contract.number} cannot be renewed from here now. Look at its page, or write to us.")
    ends_on = contract.terms[-1].ends_on
    new = {"contract_id": contract.id, "term_ends_on": ends_on, "asked_by_id": actor.id, "asked_at": now}
    added = db.session.scalar(insert(RenewalRequest).values(new).on_conflict_do_nothing().returning(RenewalRequest.id))
    if added is None:
        return False
    audit.record(
        "contract.renewal_asked", subject_type="contract", subject_id=contract.id, actor=actor, now=now, ends_on=ends_on.isoformat()
    )
    outbox.enqueue(
        ASKED, people.account_managers(), context={"request_id": added, "title": f"{contract.number}, {contract.organization.name}"},
        product_id=contract.product_id, key=f"contract-{contract.id}-renewal-{ends_on}", now=now, created_by_id=actor.id,
    )  # fmt: skip
    return True


def is_open() -> sa.ColumnElement[bool]:
    """The condition on RenewalRequest that it waits for its answer: no term ends later, and the contract is not cancelled."""
    later = sa.exists().where(Term.contract_id == RenewalRequest.contract_id, Term.ends_on > RenewalRequest.term_ends_on)
    cancelled = sa.exists().where(Contract.id == RenewalRequest.contract_id, Contract.cancelled_at.is_not(None))
    return sa.not_(sa.or_(later.correlate(RenewalRequest), cancelled.correlate(RenewalRequest)))


def open_requests(contract_ids: Sequence[int]) -> dict[int, RenewalRequest]:
    """Return the open requests for these contracts, by contract, with whoever asked, in one statement."""
    wanted = sa.select(RenewalRequest).where(RenewalRequest.contract_id.in_(contract_ids), is_open())
    return {one.contract_id: one for one in db.session.scalars(wanted.options(joinedload(RenewalRequest.asked_by)))}


def count_open() -> int:
    """Return how many contracts somebody has asked to renew."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(RenewalRequest).where(is_open())) or 0


def _request(notice: Notice) -> RenewalRequest:
    return db.session.get_one(RenewalRequest, notice.context["request_id"])


def _check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    answered = not db.session.scalar(sa.select(is_open()).where(RenewalRequest.id == notice.context["request_id"]))
    return {delivery.id: ANSWERED for delivery in deliveries} if answered else {}


def _describe(notice: Notice) -> Mapping[str, Any]:
    asked = _request(notice)
    contract = asked.contract
    coming = contracts.next_term(contract, asked.asked_at)
    return {
        "asked_by": asked.asked_by.label,
        "asked_by_address": asked.asked_by.email,
        "contract_number": contract.number,
        "organization_name": contract.organization.name,
        "ends_on": long_date(asked.term_ends_on),
        "ended": asked.term_ends_on < contracts.standing(contract, asked.asked_at).today,
        "coming_from": long_date(coming[0]),
        "coming_until": long_date(coming[1]),
        "contract_path": staff_path(contract.number),
    }


def staff_path(number: str) -> str:
    """The path of the staff's page of the contract with this number."""
    return f"/staff/contracts/{number}/"


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(
        Kind(
            ASKED,
            label="A contact asks for renewal",
            check=_check,
            shared=_describe,
            staff_path=lambda notice: staff_path(_request(notice).contract.number),
        )
    )
