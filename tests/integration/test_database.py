"""The one transaction: no lost update, no "locked", nested ones refused, hints only after the commit."""

import threading
import traceback

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import database
from portal.database import after_commit, db, one_of, transaction
from portal.products.models import Product
from tests.conftest import NOW

THREADS = 32
ROUNDS = 5


@pytest.fixture
def counter(app_context: None) -> int:
    """A row whose summary holds a number; returns its id."""
    with transaction() as session:
        product = Product(slug="counter", name="Counter", summary="0", created_at=NOW)
        session.add(product)
        session.flush()
        product_id = product.id
    database.release_connection()
    return product_id


def read_number(product_id: int) -> int:
    db.session.rollback()
    return int(db.session.get_one(Product, product_id).summary)


def add_one(app: Flask, product_id: int, *, reads_before: bool) -> None:
    """Read, then write what was read plus one, as every act of the portal does.

    `reads_before`: the request has read the row already, as guards and forms do, before it opens its transaction.
    """
    with app.app_context():
        if reads_before:
            db.session.get_one(Product, product_id)
        with transaction() as session:
            row = session.scalars(sa.select(Product).where(Product.id == product_id).with_for_update()).one()
            row.summary = str(int(row.summary) + 1)


@pytest.mark.parametrize("reads_before", [False, True])
def test_thirty_two_threads_lose_no_update_and_are_never_locked_out(app: Flask, counter: int, reads_before: bool) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(THREADS)

    def work() -> None:
        try:
            barrier.wait()
            for _ in range(ROUNDS):
                add_one(app, counter, reads_before=reads_before)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert read_number(counter) == THREADS * ROUNDS


def test_a_transaction_sees_what_was_committed_after_an_earlier_read(app: Flask, counter: int) -> None:
    stale = db.session.get_one(Product, counter)
    assert stale.summary == "0"
    other = threading.Thread(target=add_one, args=(app, counter), kwargs={"reads_before": False})
    other.start()
    other.join()
    with transaction():
        assert stale.summary == "1"


def test_a_transaction_inside_a_transaction_is_refused(counter: int) -> None:
    def nest() -> None:
        with transaction() as session:
            session.get_one(Product, counter).summary = "7"
            with transaction():
                pass

    with pytest.raises(RuntimeError, match="only the edge commits"):
        nest()
    assert read_number(counter) == 0


def test_an_exception_rolls_back_and_the_next_transaction_works(counter: int) -> None:
    def fail() -> None:
        with transaction() as session:
            session.get_one(Product, counter).summary = "7"
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read_number(counter) == 0
    with transaction() as session:
        session.get_one(Product, counter).summary = "8"
    assert read_number(counter) == 8


def test_hints_run_once_and_only_after_the_commit(app: Flask, counter: int) -> None:
    seen: list[int] = []

    def look() -> None:
        """Look from outside, as the worker that is woken would."""
        with app.app_context():
            seen.append(int(db.session.get_one(Product, counter).summary))

    with transaction() as session:
        session.get_one(Product, counter).summary = "3"
        after_commit(look)
        after_commit(look)
        session.flush()
        assert seen == []
    assert seen == [3]
    with transaction():
        pass
    assert seen == [3]


def test_a_rolled_back_act_gives_no_hint(counter: int) -> None:
    seen: list[str] = []

    def fail() -> None:
        with transaction():
            after_commit(lambda: seen.append("hint"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with transaction() as session:
        session.get_one(Product, counter).summary = "1"
    assert seen == []


def test_a_hint_that_fails_undoes_nothing(counter: int) -> None:
    with transaction() as session:
        session.get_one(Product, counter).summary = "4"
        after_commit(lambda: 1 / 0)  # type: ignore[arg-type]
    assert read_number(counter) == 4


def test_a_released_connection_leaves_the_pool_full(counter: int) -> None:
    pool = db.engine.pool
    assert isinstance(pool, sa.QueuePool)
    with transaction():
        assert pool.checkedout() == 1
    read_number(counter)
    assert pool.checkedout() == 1
    database.release_connection()
    assert pool.checkedout() == 0


def test_a_list_of_numbers_is_one_parameter_however_long(counter: int) -> None:
    assert list(db.session.scalars(sa.select(Product.id).where(one_of(Product.id, range(counter, counter + 2_000))))) == [counter]
    assert list(db.session.scalars(sa.select(Product.id).where(one_of(Product.id, [])))) == []


def test_connections_that_died_while_they_rested_are_replaced(counter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RESTED_SECONDS", -1)
    assert read_number(counter) == 0
    database.release_connection()
    if db.engine.dialect.name == "postgresql":  # SQLite's connections lead to a file
        with db.engine.connect() as killer:
            with db.engine.connect() as other:
                other.execute(sa.text("SELECT 1"))
            killer.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"))
    assert read_number(counter) == 0


def test_an_error_names_the_rule_that_was_broken_and_not_what_was_written(counter: int) -> None:
    again = sa.insert(Product).values(slug="counter", name="Another", summary="", created_at=NOW)
    with pytest.raises(sa.exc.IntegrityError) as caught, transaction() as session:
        session.execute(again)
    logged = "".join(traceback.format_exception(caught.value))
    assert "slug" in logged
    assert "(counter)" not in logged
    assert database.is_violation(caught.value, "uq_products_slug", "products.slug")
