"""Return paths: made for a delivery, read back whatever mail servers did to them, and believed only with our signature."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config_addresses import ConfigurationError
from portal.notices import return_path
from tests.conftest import make_settings

SETTINGS = make_settings(Path("unused"), mail_return_path="bounces@example.org")
OTHER_KEY = make_settings(Path("unused"), mail_return_path="bounces@example.org", secret_key="another secret, also long enough to pass")
ids = st.integers(min_value=1, max_value=2**63 - 1)


@given(delivery_id=ids)
def test_what_is_made_is_read_back_in_any_case(delivery_id: int) -> None:
    address = return_path.make(SETTINGS, delivery_id)
    for seen in (address, address.upper(), address.title(), f"<{address}>", f" {address}\n"):
        assert return_path.read(SETTINGS, seen) == delivery_id


@given(delivery_id=ids)
def test_the_address_fits_an_envelope_and_says_which_delivery_it_is(delivery_id: int) -> None:
    local, _, domain = return_path.make(SETTINGS, delivery_id).rpartition("@")
    assert domain == "example.org"
    assert local.startswith(f"bounces+{delivery_id}.")
    assert local == local.lower()
    assert local.isascii()
    assert len(local) <= 64


def test_the_longest_base_and_the_largest_id_still_fit() -> None:
    settings = make_settings(Path("unused"), mail_return_path=f"{'b' * 27}@{'d' * 60}.{'d' * 60}.{'d' * 60}.org")
    address = return_path.make(settings, 2**63 - 1)
    assert len(address.partition("@")[0]) == 64
    assert len(address) <= 254
    assert return_path.read(settings, address) == 2**63 - 1


@given(delivery_id=ids, other=ids)
def test_the_signature_of_one_delivery_serves_no_other(delivery_id: int, other: int) -> None:
    forged = return_path.make(SETTINGS, delivery_id).replace(f"+{delivery_id}.", f"+{other}.")
    assert return_path.read(SETTINGS, forged) == (other if other == delivery_id else None)


@given(delivery_id=ids, place=st.integers(0, 15), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_signature_with_one_letter_changed_is_refused(delivery_id: int, place: int, letter: str) -> None:
    before, _, rest = return_path.make(SETTINGS, delivery_id).partition(".")
    changed = rest[:place] + letter + rest[place + 1 :]
    assert return_path.read(SETTINGS, f"{before}.{changed}") == (delivery_id if changed == rest else None)


@given(delivery_id=ids)
def test_another_key_signs_differently(delivery_id: int) -> None:
    assert return_path.read(OTHER_KEY, return_path.make(SETTINGS, delivery_id)) is None


@given(address=st.one_of(st.text(max_size=90), st.from_regex(r"bounces\+[0-9]{1,30}\.[a-zA-Z2-7]{16}@example\.org", fullmatch=True)))
def test_nothing_else_is_a_return_path_and_nothing_raises(address: str) -> None:
    assert return_path.read(SETTINGS, address) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda address: address.replace("bounces+", "prvs=0123abcdef=bounces+"),
        lambda address: address.replace("@example.org", "@mx1.example.org"),
        lambda address: address.replace("bounces+", "old-name+"),
    ],
)
def test_what_servers_and_the_vendor_change_around_the_signed_part_does_not_matter(change: Callable[[str], str]) -> None:
    assert return_path.read(SETTINGS, change(return_path.make(SETTINGS, 4711))) == 4711


def test_a_number_written_otherwise_is_not_the_one_we_signed() -> None:
    address = return_path.make(SETTINGS, 4711)
    assert return_path.read(SETTINGS, address.replace("+4711", "+04711")) is None
    assert return_path.read(SETTINGS, address.replace("+4711", "+٤٧١١")) is None


def test_without_the_setting_mail_bears_the_plain_sender_and_nothing_is_read_back() -> None:
    plain = make_settings(Path("unused"), mail_from="releases@example.org")
    assert return_path.make(plain, 4711) == "releases@example.org"
    assert return_path.read(plain, return_path.make(SETTINGS, 4711)) is None


@pytest.mark.parametrize(
    "address",
    ["bounces", "@example.org", "bounces@", f"{'b' * 28}@example.org", '"odd one"@example.org', "bounces@exämple.org", "a b@example.org",
     "bounces@example.org\n", "<bounces@example.org>", f"bounces@{'d' * 190}"],
)  # fmt: skip
def test_a_setting_that_makes_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_RETURN_PATH"):
        make_settings(Path("unused"), mail_return_path=address)
