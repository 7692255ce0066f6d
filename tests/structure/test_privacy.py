"""What docs/privacy.md tells people is what the code does."""

import re
from pathlib import Path

from portal.account.personal_data import OWN
from portal.config import Settings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()


def test_the_page_lists_what_is_kept_and_what_erasing_does_to_it() -> None:
    told = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| .* \| ([a-z ]+) \|$", TEXT, re.MULTILINE))
    assert told == {kept.key: kept.erase.value for kept in OWN}


def test_the_page_tells_each_setting_of_retention_with_its_default() -> None:
    told = dict(re.findall(r"^\| .* \| `([A-Z_]+_DAYS)` \| (.*) \|$", TEXT, re.MULTILINE))
    names = [name for name in Settings.__dataclass_fields__ if name.upper() in told]
    assert len(names) == len(told) == 5
    for name in names:
        days = getattr(Settings(), name)
        assert told[name.upper()] == (f"{days} days" if days else "kept for good")
