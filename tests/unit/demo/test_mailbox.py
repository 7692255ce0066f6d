"""The demo's mail catcher."""

import asyncio
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from portal.demo.mailbox import Catcher


def test_a_caught_mail_says_where_bounces_of_it_go(tmp_path: Path) -> None:
    envelope = Envelope()
    envelope.mail_from = "bounces+7.abc@example.org"
    envelope.original_content = b"Subject: Hello\r\n\r\nText\r\n"
    loop = asyncio.new_event_loop()
    try:
        catcher = Catcher(tmp_path)
        loop.run_until_complete(catcher.handle_DATA(SMTP(catcher, loop=loop), Session(loop), envelope))
    finally:
        loop.close()
    assert [path.read_bytes() for path in tmp_path.glob("*.eml")] == [
        b"Return-Path: <bounces+7.abc@example.org>\r\nSubject: Hello\r\n\r\nText\r\n"
    ]
