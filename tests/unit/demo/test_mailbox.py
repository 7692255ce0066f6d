"""The demo's mail catcher."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from portal.demo.mailbox import Catcher


def test_a_caught_mail_says_where_bounces_of_it_go(tmp_path: Path) -> None:
    envelope = Envelope()
    envelope.mail_from = "bounces+7.abc@example.org"
    envelope.original_content = b"Subject: Hello\r\n\r\nText\r\n"

    async def receive() -> None:
        catcher, loop = Catcher(tmp_path), asyncio.get_running_loop()
        await catcher.handle_DATA(SMTP(catcher, loop=loop), Session(loop), envelope)

    # In a thread of its own, where no other loop runs: the browser tests leave theirs in the main one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, receive()).result()
    assert [path.read_bytes() for path in tmp_path.glob("*.eml")] == [
        b"Return-Path: <bounces+7.abc@example.org>\r\nSubject: Hello\r\n\r\nText\r\n"
    ]
