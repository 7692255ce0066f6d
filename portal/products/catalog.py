"""The products the vendor sells."""

import re
from datetime import datetime

import sqlalchemy as sa

from portal import audit, signatures
from portal.database import db, is_violation
from portal.errors import Invalid, NotFound
from portal.products.models import Product, StableAccess
from portal.text import clean_line, clean_text

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAKEN_BY_PAGES = {"new", "preview"}  # /staff/releases/new and its like
LONGEST_SLUG = 60
LONGEST_SUMMARY = 2_000


def create_product(
    slug: str,
    name: str,
    *,
    summary: str = "",
    stable_access: StableAccess = StableAccess.CUSTOMERS,
    signing_key: str = "",
    actor: audit.Actor | None,
    now: datetime,
) -> Product:
    """Add a product. `slug` names it in URLs and commands for good. `signing_key`: its minisign public key, or the text of the file.

    Raises Invalid for a slug that is not made of a-z, 0-9 and single hyphens, for a taken slug or name, and for what is no key.
    """
    product = Product(slug=_clean_slug(slug), name=_clean_name(name), stable_access=stable_access, created_at=now)
    product.summary = clean_text(summary, "summary", LONGEST_SUMMARY, required=False)
    product.signing_key = _clean_key(signing_key)
    db.session.add(product)
    _save(product)
    audit.record("product.created", subject_type="product", subject_id=product.id, actor=actor, now=now, slug=product.slug)
    return product


def edit_product(
    slug: str,
    *,
    name: str,
    summary: str,
    stable_access: StableAccess,
    signing_key: str,
    actor: audit.Actor | None,
    now: datetime,
) -> Product:
    """Change what may change: everything but the slug. Raises NotFound, and Invalid for a taken name or what is no key.

    With another key, drafts must be signed anew before they are published; what is published stays as it is.
    """
    product = find_product(slug)
    before = _audited(product)
    product.name, product.stable_access, product.signing_key = _clean_name(name), stable_access, _clean_key(signing_key)
    product.summary = clean_text(summary, "summary", LONGEST_SUMMARY, required=False)
    _save(product)
    changes = audit.changes(before, _audited(product))
    audit.record("product.edited", subject_type="product", subject_id=product.id, actor=actor, now=now, changes=changes)
    db.session.flush()
    return product


def find_product(slug: str) -> Product:
    """Return the product with this slug. Raises NotFound."""
    product = db.session.scalar(sa.select(Product).where(Product.slug == slug)) if is_slug(slug) else None
    if product is None:
        raise NotFound(f"There is no product {slug}.")
    return product


def is_slug(text: str) -> bool:
    """Say whether `text` could be a slug at all; what comes out of an address may be anything."""
    return len(text) <= LONGEST_SLUG and _SLUG.fullmatch(text) is not None


def all_products() -> list[Product]:
    """Return all products, by name."""
    return list(db.session.scalars(sa.select(Product).order_by(Product.name)))


def _clean_slug(slug: str) -> str:
    slug = clean_line(slug, "slug", LONGEST_SLUG)
    if not is_slug(slug):
        raise Invalid("Write the slug in a-z, 0-9 and single hyphens, like macro-studio. It stands in every address.", "slug")
    if slug in _TAKEN_BY_PAGES:
        raise Invalid(f"{slug} is the address of a page of the portal. Choose another slug.", "slug")
    return slug


def _clean_key(text: str) -> str | None:
    return signatures.clean_public_key(text) if text.strip() else None


def _audited(product: Product) -> dict[str, str | None]:
    return {
        "name": product.name,
        "summary": product.summary,
        "stable_access": product.stable_access.value,
        "signing_key": product.signing_key,
    }


def _clean_name(name: str) -> str:
    return clean_line(name, "name", 120)


def _save(product: Product) -> None:
    """Write a product down. Raises Invalid for a slug or name that another has: the database says so, to however many at once."""
    slug, name = product.slug, product.name
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_products_slug", "products.slug"):
            raise Invalid(f"There is already a product with the slug {slug}.", "slug") from None
        if is_violation(error, "uq_products_name", "products.name"):
            raise Invalid(f"There is already a product called {name}.", "name") from None
        raise
