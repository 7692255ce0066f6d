"""Mails as mail servers send them back, for tests: each names the return path it comes to and the address that failed."""

from email.message import EmailMessage

ADDRESS = "alice@logistics.example.org"
RETURN_PATH = "bounces+1.aaaaaaaaaaaaaaaa@example.org"


def report(
    *,
    to: str = RETURN_PATH,
    address: str = ADDRESS,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str | None = "smtp; 550 5.1.1 <alice@logistics.example.org>: Recipient address rejected: User unknown",
    original: str | None = None,
    text: str = "I'm sorry to have to inform you that your message could not be delivered.",
    headers: str = "",
) -> bytes:
    """A delivery report in the style of Postfix (RFC 3464)."""
    fields = [f"Original-Recipient: rfc822;{original}"] if original else []
    fields += [f"Final-Recipient: rfc822; {address}", f"Action: {action}", f"Status: {status}", "Remote-MTA: dns; mx.logistics.example.org"]
    if diagnostic is not None:
        fields.append(f"Diagnostic-Code: {diagnostic}")
    recipient = "\n".join(fields)
    return f"""\
Return-Path: <>
X-Original-To: {to}
Delivered-To: {to}
Date: Tue, 24 Nov 2026 09:00:03 +0000 (UTC)
From: MAILER-DAEMON@mail.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
{headers}MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F1B2A0C.1795511603/mail.example.org"

This is a MIME-encapsulated message.

--4F1B2A0C.1795511603/mail.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mail.example.org.

{text}

--4F1B2A0C.1795511603/mail.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org
X-Postfix-Queue-ID: 4F1B2A0C
X-Postfix-Sender: rfc822; {to}
Arrival-Date: Tue, 24 Nov 2026 09:00:01 +0000 (UTC)

{recipient}

--4F1B2A0C.1795511603/mail.example.org
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <{to}>
From: Northwind Automation <releases@example.org>
To: Alice Example <{address}>
Subject: Macro Studio 15.2.1
Message-ID: <1@portal.example.org>

A new point release.

--4F1B2A0C.1795511603/mail.example.org--
""".replace("\n", "\r\n").encode()


def exim(*, to: str = RETURN_PATH, address: str = ADDRESS, said: str = "Unrouteable address") -> bytes:
    """Exim without delivery reports: a text, and a header of its own."""
    return f"""\
Return-path: <>
Envelope-to: {to}
X-Failed-Recipients: {address}
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mail.example.org>
To: {to}
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {address}
    {said}

------ This is a copy of the message, including all the headers. ------

From: Northwind Automation <releases@example.org>
To: {address}
Subject: Macro Studio 15.2.1

A new point release. It does not exist without you: no such user.
""".encode()


def qmail(*, to: str = RETURN_PATH, address: str = ADDRESS, said: str = "Sorry, no mailbox here by that name. (#5.1.1)") -> bytes:
    """QSBMF, the bounces of qmail (https://cr.yp.to/proto/qsbmf.txt)."""
    return f"""\
Return-Path: <>
Delivered-To: {to}
From: MAILER-DAEMON@logistics.example.org
To: {to}
Subject: failure notice

Hi. This is the qmail-send program at logistics.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{address}>:
{said}

--- Below this line is a copy of the message.

Return-Path: <{to}>
To: {address}
Subject: Macro Studio 15.2.1

A new point release.
""".encode()


def exchange(*, to: str = RETURN_PATH, address: str = ADDRESS) -> bytes:
    """A non-delivery report of Exchange Online: parts in parts, and its own words."""
    return f"""\
From: Microsoft Outlook <postmaster@logistics.example.org>
To: <{to}>
Date: Tue, 24 Nov 2026 09:00:05 +0000
Content-Type: multipart/report; report-type=delivery-status;
 boundary="0b2e1c5d"
X-MS-Exchange-Message-Is-Ndr:
Auto-Submitted: auto-generated
Subject: Undeliverable: Macro Studio 15.2.1
MIME-Version: 1.0

--0b2e1c5d
Content-Type: multipart/alternative; boundary="5a1f"

--5a1f
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Your message to {address} couldn't be delivered.
alice wasn't found at logistics.example.org.

--5a1f
Content-Type: text/html; charset="us-ascii"

<html><body>Your message couldn't be delivered.</body></html>

--5a1f--

--0b2e1c5d
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01.prod.example.org
Received-From-MTA: dns;mail.example.org
Arrival-Date: Tue, 24 Nov 2026 09:00:02 +0000

Final-Recipient: rfc822;{address}
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient
 {address} not found by SMTP address lookup

--0b2e1c5d
Content-Type: message/rfc822

To: {address}
Subject: Macro Studio 15.2.1

A new point release.

--0b2e1c5d--
""".encode()


def out_of_office(*, to: str = RETURN_PATH) -> bytes:
    """An automatic reply (RFC 3834) whose text would pass for a bounce."""
    message = EmailMessage()
    message["Return-Path"] = "<>"
    message["From"] = f"Alice Example <{ADDRESS}>"
    message["To"] = to
    message["Subject"] = "Automatic reply: Macro Studio 15.2.1"
    message["Auto-Submitted"] = "auto-replied (vacation)"
    message.set_content(
        f"Your message could not be delivered to\n{ADDRESS}\n550 5.1.1 user unknown: I have left, this mailbox does not exist."
    )
    return message.as_bytes()
