"""Signed links, envelope addresses, and how long to wait before the next try."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from portal.notices import links
from portal.notices.models import Topic
from portal.notices.settling import FIRST_DELAY, LONGEST_DELAY, retry_delay
from portal.notices.smtp import deliverable_form
from tests.conftest import make_settings

SETTINGS = make_settings(Path("unused"))


def test_a_link_says_whom_and_what_it_is_for_and_nothing_else_opens_it() -> None:
    token = links.unsubscribe_url(SETTINGS, 7, 3, Topic.POINT).rpartition("/")[2]
    assert links.read_unsubscribe(SETTINGS, token) == (7, 3, Topic.POINT)
    assert links.read_preferences(SETTINGS, token) is None
    other = make_settings(Path("unused"), secret_key="another secret, also long enough to pass the check")
    assert links.read_unsubscribe(other, token) is None


@given(user_id=st.integers(1, 2**31), product_id=st.integers(1, 2**31))
def test_links_of_old_mails_go_on_working(user_id: int, product_id: int) -> None:
    """They were signed by the library's serializer, which compresses a payload now and then; `links` takes a shorter way."""
    old = str(URLSafeSerializer(SETTINGS.secret_key, salt="notices.unsubscribe").dumps([user_id, product_id, "point"]))
    new = links.unsubscribe_url(SETTINGS, user_id, product_id, Topic.POINT).rpartition("/")[2]
    assert links.read_unsubscribe(SETTINGS, old) == links.read_unsubscribe(SETTINGS, new) == (user_id, product_id, Topic.POINT)
    assert old == new or old.startswith(".")
    preferences = str(URLSafeSerializer(SETTINGS.secret_key, salt="notices.preferences").dumps([user_id, product_id]))
    assert links.read_preferences(SETTINGS, preferences) == (user_id, product_id)


@given(token=st.text(max_size=60))
def test_no_other_text_is_a_link(token: str) -> None:
    assert links.read_unsubscribe(SETTINGS, token) is None
    assert links.read_preferences(SETTINGS, token) is None


@given(attempts=st.integers(min_value=1, max_value=10_000))
def test_the_wait_is_never_nothing_and_never_much_longer_than_the_longest(attempts: int) -> None:
    wait = retry_delay(attempts)
    assert FIRST_DELAY * 0.75 <= wait <= LONGEST_DELAY * 1.25
    assert retry_delay(attempts, timedelta(minutes=5)) <= timedelta(minutes=5) * 1.25


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("ann@example.org", "ann@example.org"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("jörg@example.org", "jörg@example.org"),
        ("ann@example.org\r\nDATA", None),
        ("<ann@example.org>", None),
        ("ann example@example.org", None),
        ("ann", None),
        ("@example.org", None),
        ("", None),
    ],
)
def test_only_an_address_goes_into_an_envelope(address: str, form: str | None) -> None:
    assert deliverable_form(address) == form
