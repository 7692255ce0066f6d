"""The terms of a product's beta programme: published in versions, accepted once per person and version."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from portal import audit
from portal.account.models import Contract, Organization, User
from portal.beta.models import BetaTerms, TermsAcceptance
from portal.database import db, insert, is_violation
from portal.errors import Conflict, Invalid, NotFound
from portal.products.models import Product
from portal.text import clean_text

LONGEST_TEXT = 100_000


_LATEST = sa.select(BetaTerms.product_id, sa.func.max(BetaTerms.version).label("version")).group_by(BetaTerms.product_id).subquery()
_CURRENT = sa.select(BetaTerms).join(_LATEST, sa.and_(BetaTerms.product_id == _LATEST.c.product_id, BetaTerms.version == _LATEST.c.version))
_ACCEPTED = sa.exists().where(TermsAcceptance.beta_terms_id == BetaTerms.id, TermsAcceptance.user_id == sa.bindparam("person_id"))
_UNACCEPTED = _CURRENT.with_only_columns(BetaTerms.product_id).where(sa.not_(_ACCEPTED))


def publish(product: Product, text: str, *, actor: User | None, now: datetime) -> BetaTerms:
    """Publish `text` (Markdown) as the next version of the product's terms. Everybody is asked to accept it before the next download.

    Raises Invalid for an empty or too long text and for the text that is current already; Conflict if somebody else published
    at the same moment.
    """
    text = clean_text(text, "text", LONGEST_TEXT)
    before = current(product.id)
    if before is not None and before.text == text:
        raise Invalid(f"This is version {before.version} word for word. Change the text, or leave it.", "text")
    terms = BetaTerms(product_id=product.id, version=before.version + 1 if before else 1, text=text, published_at=now)
    db.session.add(terms)
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_beta_terms_product_id_version", "beta_terms.product_id", "beta_terms.version"):
            raise Conflict("Somebody else published terms at the same moment. Reload the page and look at theirs first.") from None
        raise
    audit.record("beta_terms.published", subject_type="product", subject_id=product.id, actor=actor, now=now, version=terms.version)
    return terms


def current(product_id: int) -> BetaTerms | None:
    """Return the terms that count now, None while the product has none: then nothing needs accepting."""
    return db.session.scalar(sa.select(BetaTerms).where(BetaTerms.product_id == product_id).order_by(BetaTerms.version.desc()).limit(1))


def current_by_product() -> dict[int, BetaTerms]:
    """Return the terms that count now of every product that has some, by product id."""
    return {terms.product_id: terms for terms in db.session.scalars(_CURRENT)}


def find(product_id: int, version: int) -> BetaTerms:
    """Return one version of a product's terms. Raises NotFound."""
    found = db.session.scalar(sa.select(BetaTerms).where(BetaTerms.product_id == product_id, BetaTerms.version == version))
    if found is None:
        raise NotFound(f"There is no version {version} of these terms.")
    return found


def acceptance(person: User, terms: BetaTerms) -> TermsAcceptance | None:
    """Return when and for which contract `person` accepted `terms`, None if they have not."""
    return db.session.scalar(
        sa.select(TermsAcceptance).where(TermsAcceptance.beta_terms_id == terms.id, TermsAcceptance.user_id == person.id)
    )


def accept(person: User, contract_id: int, product_id: int, version: str, *, now: datetime) -> None:
    """Store that `person` accepted `version` of the product's terms for the organisation of the contract.

    Accepting again changes nothing. Raises Conflict if that is not the version that counts now.
    """
    terms = current(product_id)
    if terms is None or str(terms.version) != version:
        raise Conflict("The beta terms changed while you read them. Read the new version, then accept it.")
    values = {"beta_terms_id": terms.id, "user_id": person.id, "contract_id": contract_id, "accepted_at": now}
    added = db.session.execute(insert(TermsAcceptance).values(values).on_conflict_do_nothing().returning(TermsAcceptance.id)).first()
    if added is not None:
        audit.record(
            "beta_terms.accepted", subject_type="contract", subject_id=contract_id, actor=person, now=now,
            product_id=terms.product_id, version=terms.version,
        )  # fmt: skip


def needs_acceptance(person: User, contract_id: int | None, product_id: int) -> bool:
    """Whether `person` must accept the product's terms before the next download. Staff, under no contract, never."""
    if contract_id is None:
        return False
    terms = current(product_id)
    return terms is not None and acceptance(person, terms) is None


class Accepted(NamedTuple):
    """That somebody accepted a version of the terms, for the organisation of the contract."""

    version: int
    email: str
    organization: str
    contract: str
    accepted_at: datetime


def acceptances(product_id: int) -> list[Accepted]:
    """Return who accepted which version of a product's terms, in the order in which they did."""
    rows = db.session.execute(
        sa.select(BetaTerms.version, User.email, Organization.name, Contract.number, TermsAcceptance.accepted_at)
        .join(BetaTerms, BetaTerms.id == TermsAcceptance.beta_terms_id)
        .join(User, User.id == TermsAcceptance.user_id)
        .join(Contract, Contract.id == TermsAcceptance.contract_id)
        .join(Organization, Organization.id == Contract.organization_id)
        .where(BetaTerms.product_id == product_id)
        .order_by(TermsAcceptance.accepted_at, TermsAcceptance.id)
    )
    return [Accepted(*row) for row in rows]


def unaccepted_products(person: User) -> frozenset[int]:
    """Return the ids of the products with terms whose current version `person` has not accepted."""
    return frozenset(db.session.scalars(_UNACCEPTED, {"person_id": person.id}))
