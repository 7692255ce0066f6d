"""What a mail server's words mean for an address: is it gone, or was it this one mail?

Only the first kind is "hard" and suppresses the address, since from then on nobody there is mailed: not even about their own
contract. So a code must speak of the address itself, by RFC 3463 (3.2-3.8):

* hard: 5.1.1 no such mailbox, 5.1.2 no such system, 5.1.3 bad syntax, 5.1.4 ambiguous, 5.1.6 moved; 5.1.10 the domain takes no
  mail (null MX, RFC 7505); 5.2.1 mailbox disabled; 5.4.4 no route, which is how Postfix calls a domain that does not exist, and
  5.4.310, which is how Exchange Online does.
* not hard: 5.1.7 and 5.1.8 speak of our own address; 5.2.2 mailbox full, 5.2.3 and 5.3.4 mail too big; 5.3.x and 5.4.x the state
  of systems and of the net; 5.5.x protocol; 5.6.x content; 5.7.x policy, spam and trust. And all of 4.x.x, whatever became of the
  mail: "persistent transient" by its definition.
* 5.0.0, 5.1.0, 5.2.0, 5.4.1 and 5.5.0 say nothing, or are used for everything: Exim and qmail report 5.0.0, Exchange Online says
  "5.4.1 Recipient address rejected: Access denied" for a mailbox it does not have (Microsoft, "Fix NDR error code 550 5.4.1").
  There the words decide, then the plain code.
* Without an enhanced code, 550, 551 and 553 in answer to RCPT mean the mailbox (RFC 5321, 4.2.3 and 4.3.2), unless the words
  speak of something else: a server that has put us on a block list must not suppress all its people. 552 and 554 are not hard.
"""

import re

# An enhanced status code (RFC 3463, 2), wherever it stands in a text; not a part of an IP address or of a longer number.
_STATUS = re.compile(r"(?<![\d.])([245]\.[0-7]\.\d{1,3})(?![\d]|\.\d)", re.ASCII)
# A reply code (RFC 5321, 4.2): at the start, or after "host mx.example.org said: ".
_CODE = re.compile(r"(?:^|[:;]\s*)([245]\d\d)(?=[\s-]|$)", re.ASCII)
_IN_BRACKETS = re.compile(r"<[^<>]*>")

_ADDRESS_IS_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.4.4", "5.4.310"})
_DISABLED = "5.2.1"
_SAYS_LITTLE = frozenset({None, "5.0.0", "5.1.0", "5.2.0", _DISABLED, "5.4.1", "5.5.0"})
_CODE_DECIDES = frozenset({None, "5.0.0", "5.1.0"})
_MAILBOX_CODES = frozenset({"550", "551", "553"})
_SAYS_GONE = re.compile(
    r"(user|recipient|mailbox|address|account) (is )?(unknown|not found|unavailable|inactive|disabled)"
    r"|(unknown|invalid|no such|nonexistent) (local )?(user|recipient|mailbox|address|account|person)|does(n't| not) (exist|have an)"
    r"|unrouteable address|no mailbox here|recipient address rejected: access denied",
    re.IGNORECASE,
)
_SAYS_SOMETHING_ELSE = re.compile(
    r"\b(spam\w*|(dns)?bl|rbl|block(ed|ing)?|(block|black) ?list\w*|reputation|polic(y|ies)|relay\w*|sender\w*|spf|dkim|dmarc|virus\w*"
    r"|content|(over ?)?quota|full|size|rate|too (big|large|many|much)|temporar\w+|try (again|later)|gr[ea]y ?list\w*)\b",
    re.IGNORECASE,
)


def is_hard(reply: str) -> bool:
    """Say whether an SMTP reply to RCPT, such as "550 5.1.1 No such user", tells that the address is gone.

    The enhanced code (RFC 2034) decides where there is one, else the reply code and the words, as told above.
    """
    return judge(find_status(reply), find_code(reply), reply)


def judge(status: str | None, code: str | None, words: str) -> bool:
    """Say whether an address is gone, by enhanced status, reply code (of an answer to RCPT) and words; None is not known."""
    if status in _ADDRESS_IS_GONE:
        return code is None or code.startswith("5")
    if status not in _SAYS_LITTLE or (code is not None and not code.startswith("5")):
        return False
    words = _IN_BRACKETS.sub(" ", words)  # an address may be called full@example.org
    if _SAYS_GONE.search(words):
        return True
    if _SAYS_SOMETHING_ELSE.search(words):
        return False
    return status == _DISABLED or (status in _CODE_DECIDES and code in _MAILBOX_CODES)


def find_status(text: str) -> str | None:
    """Return the first enhanced status code in a text, None if there is none."""
    found = _STATUS.search(text)
    return found[1] if found else None


def find_code(text: str) -> str | None:
    """Return the SMTP reply code that a text begins with or quotes, None if there is none."""
    found = _CODE.search(text.strip())
    return found[1] if found else None


def in_words(status: str | None, *, hard: bool) -> str:
    """Say for staff what came back, in a few words."""
    if hard:
        return "came back: no such address"
    kinds = {"5.2.2": "mailbox full", "5.2.3": "mail too big", "5.3.4": "mail too big"}
    if status in kinds:
        return f"came back: {kinds[status]}"
    if status is not None and status.startswith("4."):
        return "came back: given up by a mail server"
    if status is not None and status.startswith(("5.6.", "5.7.")):
        return "came back: refused by a mail server"
    return "came back"
