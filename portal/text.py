"""Text from people: trimmed, bounded, and free of control characters."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from portal.errors import Invalid

# Format characters that reorder or hide text (RTL override and its kin) make one name look like another.
_BANNED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_ALLOWED_FORMAT = {"\u200c", "\u200d"}  # zero-width (non-)joiners, which some scripts need
# Marks in a row, such as accents on one letter. No script needs as many (Unicode Standard Annex 15, "Stream-Safe Text Format").
MOST_MARKS = 30


def compose(text: str, field: str) -> str:
    """Return `text` in composed form (NFC). Raises Invalid for more than MOST_MARKS marks in a row.

    Putting marks into order takes the square of their number: a form of nothing else would keep a processor busy for minutes.
    """
    row = 0
    for character in "" if text.isascii() else text:
        row = row + 1 if unicodedata.category(character)[0] == "M" else 0
        if row > MOST_MARKS:
            raise Invalid(f"The {field.replace('_', ' ')} holds more than {MOST_MARKS} accents in a row. Take them out.", field)
    return unicodedata.normalize("NFC", text)


def clean_line(text: str, field: str, limit: int, *, required: bool = True) -> str:
    """Return `text` trimmed. Raises Invalid if it is empty (when required), longer than `limit` characters, or holds
    controls or what `compose` refuses."""
    text = compose(text, field).strip()
    label = field.replace("_", " ")
    if any(unicodedata.category(c) in _BANNED and c not in _ALLOWED_FORMAT for c in text):
        raise Invalid(f"The {label} holds line breaks or other control characters. Take them out.", field)
    if required and not text:
        raise Invalid(f"Enter the {label}.", field)
    if len(text) > limit:
        raise Invalid(f"The {label} has {len(text)} characters; {limit} is the most.", field)
    return text


def clean_address(text: str, field: str = "email") -> str:
    """Return an email address the way addresses are stored: syntactically valid, without display name or quoting, in lower case.

    Raises Invalid for anything else, so that one address can never be read as two, or as a header.
    """
    address = clean_line(text, field, 254)
    try:
        return validate_email(address, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise Invalid(f"{address} is no email address we can write to. {error}", field) from None


def clean_text(text: str, field: str, limit: int, *, required: bool = True) -> str:
    """Return text of several lines, trimmed, with line ends as `\\n`.

    Raises Invalid if it is empty (when required), longer than `limit` characters, or holds control characters other than
    line ends and tabs (PostgreSQL stores no NUL).
    """
    text = compose(text.replace("\r\n", "\n").replace("\r", "\n"), field).strip()
    label = field.replace("_", " ")
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t" for c in text):
        raise Invalid(f"The {label} holds control characters. Take them out.", field)
    if required and not text:
        raise Invalid(f"Enter the {label}.", field)
    if len(text) > limit:
        raise Invalid(f"The {label} has {len(text):,} characters; {limit:,} is the most. Shorten it.", field)
    return text


# What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"), also in full width.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def defuse(cell: str) -> str:
    """Return `cell` so that a spreadsheet reads it as text, whatever it begins with."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def undefuse(cell: str) -> str:
    """Return what `defuse` was given, for files that come back."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
