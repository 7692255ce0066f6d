"""Input made to keep a processor busy. Each of these would take minutes if it were worked on: the tests would not end."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.errors import Invalid
from portal.releases.filenames import check_filename
from portal.text import MOST_MARKS, clean_line, clean_text
from tests.cast import PASSWORD, Cast
from tests.web.account.pages import send, text_of, try_password

SignIn = Callable[[str], FlaskClient]

# Two marks that change places when they are brought into order: a long row of them takes billions of swaps.
MARKS = "a" + "\u0301\u0327" * 150_000
# One character, no mark by its class, that comes apart into two marks.
TIBETAN = "a" + "\u0f73" * 150_000


def test_scripts_with_many_marks_are_taken() -> None:
    for text in ("Việt Nam", "किंतु", "จ้ำ", "Z͑ͫ̓a͌ͯl̎g̔ͨo", "e" + "\u0301" * MOST_MARKS):
        assert clean_line(text, "name", 120)


@pytest.mark.parametrize("heavy", [MARKS, TIBETAN, "e" + "\u0301" * (MOST_MARKS + 1)])
def test_more_marks_in_a_row_are_refused_with_the_reason(heavy: str) -> None:
    with pytest.raises(Invalid, match="accents in a row"):
        clean_line(heavy, "name", 10**7)
    with pytest.raises(Invalid, match="accents in a row"):
        clean_text(heavy, "body", 10**7)
    with pytest.raises(Invalid, match="accents in a row"):
        check_filename(heavy)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("heavy", [MARKS, "\uff9e\u0301" * 100_000])
def test_signing_in_with_them_is_just_wrong(app: Flask, cast: Cast, sign_in: SignIn, heavy: str) -> None:
    for email, password in ((heavy, PASSWORD), (cast.alice, heavy)):
        assert "do not match" in text_of(try_password(app.test_client(), email, password))
    assert send(app.test_client(), "/account/password/reset", email=heavy).status_code == 200
    alice = sign_in(cast.alice)
    answer = send(alice, "/account/password/change", password=heavy, new_password=PASSWORD, new_password_confirm=PASSWORD)
    assert "not your password" in text_of(answer)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_feedback_made_of_them_is_refused_at_its_field(cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.alice), "/feedback/new", title=MARKS[:150], body="Short.", kind="idea", product=cast.product)
    assert answer.status_code == 400
    assert "accents in a row" in text_of(answer)
