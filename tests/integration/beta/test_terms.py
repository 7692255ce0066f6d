"""The terms of the programme: versions, and who accepted which."""

import threading

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.audit import AuditEvent
from portal.beta import terms
from portal.beta.models import TermsAcceptance
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.products.catalog import find_product
from tests.builds import find_contract, find_user, publish_terms
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def accept(email: str, number: str, version: str = "1") -> None:
    with transaction():
        terms.accept(find_user(email), find_contract(number).id, find_product("macro-studio").id, version, now=NOW)


def needs(email: str, number: str) -> bool:
    return terms.needs_acceptance(find_user(email), find_contract(number).id, find_product("macro-studio").id)


def test_without_terms_nothing_needs_accepting(cast: Cast) -> None:
    assert not needs(cast.alice, cast.contract)


def test_terms_are_accepted_once_per_person_and_version(cast: Cast) -> None:
    assert publish_terms("Test machines only.", NOW) == 1
    assert needs(cast.alice, cast.contract)
    accept(cast.alice, cast.contract)
    assert not needs(cast.alice, cast.contract)
    assert needs(cast.bob, cast.contract)
    assert publish_terms("Test machines only, and tell us.", NOW) == 2
    assert needs(cast.alice, cast.contract)


def test_terms_of_another_product_do_not_count(cast: Cast) -> None:
    publish_terms("For the form filler.", NOW, product=cast.other_product)
    assert not needs(cast.alice, cast.contract)


def test_accepting_again_changes_nothing(cast: Cast) -> None:
    publish_terms("Test machines only.", NOW)
    accept(cast.alice, cast.contract)
    accept(cast.alice, cast.contract)
    assert len(list(db.session.scalars(sa.select(TermsAcceptance)))) == 1
    assert len(list(db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "beta_terms.accepted")))) == 1


def test_ten_acceptances_at_once_are_one(app: Flask, cast: Cast) -> None:
    publish_terms("Test machines only.", NOW)
    failures: list[Exception] = []

    def press() -> None:
        with app.app_context():
            try:
                accept(cast.alice, cast.contract)
            except Exception as failure:
                failures.append(failure)

    threads = [threading.Thread(target=press) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(db.session.scalars(sa.select(TermsAcceptance)))) == 1


@pytest.mark.parametrize("version", ["1", "3", "", "x", "²", "9" * 5000])
def test_only_the_version_that_counts_now_can_be_accepted(cast: Cast, version: str) -> None:
    publish_terms("Test machines only.", NOW)
    publish_terms("Test machines only, and tell us.", NOW)
    with pytest.raises(Conflict, match="changed while you read"):
        accept(cast.alice, cast.contract, version)


@pytest.mark.parametrize("text", ["", "  \n ", "x\x00y", "x" * 100_001, " Test machines only.\r\n"])
def test_text_that_is_empty_too_long_broken_or_unchanged_is_refused(cast: Cast, text: str) -> None:
    publish_terms("Test machines only.", NOW)
    with pytest.raises(Invalid) as refusal:
        publish_terms(text, NOW)
    assert refusal.value.field == "text"


def test_an_unknown_version_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        terms.find(find_product(cast.product).id, 1)
