"""Names of builds: refused or kept, never changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import Invalid
from portal.releases.filenames import check_filename


@pytest.mark.parametrize(
    "name",
    ["MacroStudio-15.3-x64.msi", "setup (1).exe", "Größe.zip", "マクロ.zip", "a", "CONFIG.txt", "console.log", "x" * 116 + ".zip"],
)  # fmt: skip
def test_ordinary_names_are_kept_as_they_are(name: str) -> None:
    assert check_filename(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "Choose a file"),
        (None, "Choose a file"),
        ("../../etc/passwd", "path"),
        ("/etc/passwd", "path"),
        ("x" * 300, "300 characters; 120 is the most"),
        ("setup.exe.minisig", "are for signatures"),
        ("SETUP.MINISIG", "are for signatures"),
        ("C:\\Temp\\setup.exe", "path"),
        ("..", "starts with a dot"),
        (".htaccess", "starts with a dot"),
        ("setup.exe\x00.txt", "cannot be seen"),
        ("setup\r\nX-Header: 1.exe", "cannot be seen"),
        ("setup\x7f.exe", "cannot be seen"),
        ("setup%0D%0Aname.exe", "cannot be seen"),
        ("gpj.\u202eexe", "cannot be seen"),
        ("set\u200bup.exe", "cannot be seen"),
        ("\ufeffsetup.exe", "cannot be seen"),
        ("set\ud800up.exe", "cannot be seen"),
        ("x" * 121, "120 is the most"),
        ("ü" * 119, "120 is the most"),
        ("setup.exe ", "space or a dot"),
        (" setup.exe", "space or a dot"),
        ("setup.", "space or a dot"),
        ("   ", "space or a dot"),
        ("CON", "Windows reserves"),
        ("con.txt", "Windows reserves"),
        ("NUL.tar.gz", "Windows reserves"),
        ("aux .txt", "Windows reserves"),
        ("COM1", "Windows reserves"),
        ("lpt².log", "Windows reserves"),
        ("a:b.txt", "Windows does not allow"),
        ('"quoted".zip', "Windows does not allow"),
        ("what?.zip", "Windows does not allow"),
    ],
)
def test_unsafe_names_are_refused_with_the_reason(name: str | None, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refusal:
        check_filename(name)
    assert refusal.value.field == "file"


def test_a_name_is_kept_in_composed_form() -> None:
    assert check_filename("Gro\u0308ße.zip") == "Größe.zip"


@given(st.text())
def test_no_name_gets_through_that_could_leave_its_directory_or_break_a_header(name: str) -> None:
    try:
        kept = check_filename(name)
    except Invalid:
        return
    assert not set(kept) & set('/\\\r\n\0"')
    assert kept not in {"", ".", ".."}
