"""Products: added, edited, found."""

from threading import Thread

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Invalid, NotFound
from portal.products import catalog
from portal.products.models import StableAccess
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def create(slug: str = "macro-studio", name: str = "Macro Studio") -> None:
    with transaction():
        catalog.create_product(slug, name, actor=None, now=NOW)


def test_a_product_is_found_by_its_slug(database_url: str) -> None:
    create()
    product = catalog.find_product("macro-studio")
    assert (product.name, product.stable_access) == ("Macro Studio", StableAccess.CUSTOMERS)


@pytest.mark.parametrize(
    ("slug", "name", "field"),
    [
        ("macro-studio", "Another", "slug"),
        ("another", "Macro Studio", "name"),
        ("", "Another", "slug"),
        ("Macro Studio", "Another", "slug"),
        ("../etc", "Another", "slug"),
        ("new", "Another", "slug"),
        ("x" * 61, "Another", "slug"),
        ("another", "", "name"),
        ("another", "two\nlines", "name"),
        ("another", "x" * 121, "name"),
    ],
)
def test_bad_input_is_refused_at_its_field(slug: str, name: str, field: str) -> None:
    create()
    with pytest.raises(Invalid) as refusal:
        create(slug, name)
    assert refusal.value.field == field
    assert len(catalog.all_products()) == 1


def test_a_product_can_be_renamed_but_not_to_a_taken_name(database_url: str) -> None:
    create()
    create("form-filler", "Form Filler")
    with transaction():
        catalog.edit_product(
            "form-filler", name="Form Filler Pro", summary="Forms", stable_access=StableAccess.PUBLIC, signing_key="", actor=None, now=NOW
        )  # fmt: skip
    assert catalog.find_product("form-filler").stable_access is StableAccess.PUBLIC
    with pytest.raises(Invalid), transaction():
        catalog.edit_product(
            "form-filler", name="Macro Studio", summary="", stable_access=StableAccess.PUBLIC, signing_key="", actor=None, now=NOW
        )  # fmt: skip
    assert catalog.find_product("form-filler").name == "Form Filler Pro"


def test_of_two_who_give_the_same_name_at_once_the_second_is_told(app: Flask) -> None:
    create()
    create("form-filler", "Form Filler")
    refusals: list[Invalid] = []

    def rename(slug: str) -> None:
        catalog.edit_product(
            slug, name="Studio", summary="", stable_access=StableAccess.PUBLIC, signing_key="", actor=None, now=NOW
        )  # fmt: skip

    def rename_too() -> None:
        with app.app_context():
            try:
                with transaction():
                    rename("form-filler")
            except Invalid as refusal:
                refusals.append(refusal)

    second = Thread(target=rename_too)
    with transaction():
        rename("macro-studio")
        second.start()
        second.join(0.1)  # the second has looked meanwhile, and waits
    second.join()
    assert [refusal.field for refusal in refusals] == ["name"]


def test_an_edit_leaves_in_the_log_what_it_changed() -> None:
    create()
    with transaction():
        catalog.edit_product(
            "macro-studio", name="Macro Studio", summary="Macros", stable_access=StableAccess.PUBLIC, signing_key="", actor=None, now=NOW
        )  # fmt: skip
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "product.edited")).one()
    assert event.details == {"changes": {"summary": ["", "Macros"], "stable_access": ["customers", "public"]}}


@pytest.mark.parametrize("slug", ["no-such", "", "a\x00b", "x" * 10_000])
def test_an_unknown_slug_is_not_found(slug: str) -> None:
    with pytest.raises(NotFound):
        catalog.find_product(slug)
