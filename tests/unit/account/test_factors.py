"""Codes, secrets and challenges, without a database."""

from base64 import urlsafe_b64decode
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portal.account import factors_passkeys, factors_recovery, factors_throttle, factors_totp
from portal.account.factors_passkeys import Ceremony, Site
from portal.config import Settings
from portal.config_addresses import ConfigurationError
from portal.tokens import derive_token, make_token
from tests.authenticators import code_at
from tests.conftest import NOW, SECRET

KEY = b"12345678901234567890"
STEP = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("second", "code"), [(59, "94287082"), (1111111109, "07081804"), (1234567890, "89005924"), (2000000000, "69279037")]
)
def test_codes_are_those_of_the_standard(second: int, code: str) -> None:
    """RFC 6238, appendix B, which has eight digits."""
    assert TOTP(KEY, 8, SHA1(), 30).generate(second).decode() == code
    assert code_at(KEY, datetime.fromtimestamp(second, NOW.tzinfo)) == code[2:]


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(steps: int, taken: bool) -> None:
    counter = factors_totp.match(KEY, code_at(KEY, NOW + steps * STEP), NOW)
    assert counter == (int(NOW.timestamp()) // 30 + steps if taken else None)


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "１２３４５６"])
def test_what_is_no_code_matches_nothing(typed: str) -> None:
    assert factors_totp.match(KEY, typed, NOW) is None


def test_a_sealed_secret_opens_for_its_person_under_its_key_in_time() -> None:
    sealed = factors_totp.seal(KEY, 7, SECRET, now=NOW)
    assert KEY.decode() not in sealed
    assert factors_totp.unseal(sealed, 7, SECRET) == KEY
    assert factors_totp.unseal(sealed, 8, SECRET) is None
    assert factors_totp.unseal(sealed, 7, SECRET[::-1]) is None
    within = factors_totp.SET_UP_WITHIN
    assert factors_totp.unseal(sealed, 7, SECRET, sealed_within=within, now=NOW + within) == KEY
    assert factors_totp.unseal(sealed, 7, SECRET, sealed_within=within, now=NOW + within + STEP) is None
    for broken in ("", "x", sealed[:-2], "é"):
        assert factors_totp.unseal(broken, 7, SECRET) is None


def test_the_address_for_the_app_says_what_the_typed_key_says() -> None:
    address = factors_totp.address_of(KEY, account="alice@example.org", issuer="Northwind Portal")
    assert address.startswith("otpauth://totp/Northwind%20Portal:alice%40example.org?")
    assert f"secret={factors_totp.typed_secret(KEY).replace(' ', '')}" in address


def test_codes_and_links_hold_as_many_bits_as_they_should() -> None:
    """OWASP ASVS 5.0, 6.5.4 asks for 20."""
    assert len(set(factors_recovery.ALPHABET)) ** factors_recovery.SECRET == 2**40
    for link in (make_token(), derive_token(SECRET, "invitation", "nonce")):
        assert len(urlsafe_b64decode(link + "=")) * 8 == 256


@pytest.mark.parametrize("typed", ["4f7k-2qx9-mtbw", "4F7K2QX9MTBW", " 4f7k 2qx9 mtbw ", "4f7k–2qx9".replace("–", "-") + "-mtbw"])
def test_recovery_codes_are_read_however_they_are_typed(typed: str) -> None:
    assert factors_recovery.normalize(typed) == "4f7k2qx9mtbw"
    assert factors_recovery.is_shaped_like_one(typed)


def test_letters_that_are_mistaken_are_read_as_what_was_printed() -> None:
    assert factors_recovery.normalize("oil0-1abc-defg") == "0110" + "1abcdefg"
    for typed in ("", "4f7k", "4f7k-2qx9-mtb!", "4f7k-2qx9-mtbw-x", "u" * 12):
        assert not factors_recovery.is_shaped_like_one(typed)


def test_codes_stay_locked_for_twice_as_long_each_time_up_to_a_day() -> None:
    hours = [factors_throttle.lock_after(times, 15) / timedelta(hours=1) for times in range(1, 10)]
    assert hours == [0.25, 0.5, 1, 2, 4, 8, 16, 24, 24]
    assert factors_throttle.lock_after(10**9, 15) == timedelta(days=1)
    assert factors_throttle.lock_after(1, 3 * 1440) == timedelta(days=3)


@pytest.mark.parametrize(
    ("public_url", "site"),
    [
        ("https://portal.example.org", Site("portal.example.org", "https://portal.example.org")),
        ("https://portal.example.org:443/", Site("portal.example.org", "https://portal.example.org")),
        ("https://portal.example.org:8443/x", Site("portal.example.org", "https://portal.example.org:8443")),
        ("http://127.0.0.1:8008", Site("localhost", "http://localhost:8008")),
        ("http://localhost", Site("localhost", "http://localhost")),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]", None),
    ],
)
def test_passkeys_belong_to_a_host_name(public_url: str, site: Site | None) -> None:
    assert factors_passkeys.site(Settings(secret_key=SECRET, public_url=public_url)) == site


def test_a_challenge_belongs_to_its_purpose_person_browser_and_key() -> None:
    settings = Settings(secret_key=SECRET)
    mine = Ceremony("second", 7, "browser")
    head = b"head"
    others = [
        Ceremony("register", 7, "browser"),
        Ceremony("second", 8, "browser"),
        Ceremony("second", None, "browser"),
        Ceremony("second", 7, ""),
    ]
    assert mine.mark(settings, head) == Ceremony("second", 7, "browser").mark(settings, head)
    assert mine.mark(settings, head) not in [other.mark(settings, head) for other in others]
    assert mine.mark(settings, head) != mine.mark(Settings(secret_key=SECRET[::-1]), head)


@pytest.mark.parametrize(
    ("public_url", "said", "needed"),
    [
        ("https://portal.example.org", "", True),
        ("https://portal.example.org", "optional", False),
        ("http://127.0.0.1:8000", "", False),
        ("http://127.0.0.1:8000", "required", True),
    ],
)
def test_staff_need_a_second_factor_where_the_portal_is_public(public_url: str, said: str, needed: bool) -> None:
    settings = Settings(secret_key=SECRET, public_url=public_url, staff_second_factor=said).check()
    assert settings.staff_needs_second_factor is needed


def test_another_word_for_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="STAFF_SECOND_FACTOR"):
        Settings(secret_key=SECRET, staff_second_factor="yes").check()
