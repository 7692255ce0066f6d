"""The words of the sample vendor: invented products, organisations and people, all at example.org."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SampleRelease:
    """A release, published `days_ago`; where that is negative, scheduled for then. `expires_in` counts days from now, for betas.

    `withdrawn` is why it was, two days after the version `safe` to move to was published.
    """

    version: str
    days_ago: int
    summary: str
    notes: str
    what_to_test: str = ""
    known_issues: str = ""
    expires_in: int | None = None
    withdrawn: str = ""
    safe: str = ""


@dataclass(frozen=True)
class SampleItem:
    """A piece of feedback: who wrote it, who voted beside, what was said, and what became of it (`answered` days ago).

    `before` is the description as it first was; `file` is the name and text of what came with it.
    """

    author: str
    title: str
    body: str
    days_ago: int
    voters: tuple[str, ...] = ()
    comments: tuple[tuple[str, str], ...] = ()
    status: str = ""
    version: str = ""
    reason: str = ""
    response: str = ""
    kind: str = "idea"
    severity: str = ""
    before: str = ""
    file: tuple[str, str] = ("", "")
    beta: str = ""
    private: bool = False
    answered: int = 10


MACRO_STUDIO = (
    SampleRelease(
        "14.2.0", 700, "Schedules, and a recorder that understands browsers.",
        "* **New.** Schedules: run a macro at a time, or when a file changes.\n* **New.** The recorder follows clicks in browsers.\n"
        "* **Fixed.** Variables keep their type when a macro is imported.",
    ),
    SampleRelease(
        "14.2.1", 655, "Corrections to schedules.",
        "* **Fixed.** A schedule that started at midnight ran a day late.\n* **Fixed.** The recorder missed clicks in nested frames.",
    ),
    SampleRelease(
        "14.3.0", 540, "Variables with types, and a log one can search.",
        "* **New.** Variables have a type, and a wrong one is marked while you write.\n* **New.** The log can be searched and filtered.\n"
        "* **Changed.** Macros of 12.x can be opened, but no longer saved in their old format.",
    ),
    SampleRelease(
        "15.0.0", 420, "A new editor and a 64-bit engine.",
        "* **New.** The editor shows steps as a tree that folds.\n* **New.** The engine runs as a 64-bit process.\n"
        "* **Changed.** Macros of 13.x and older are converted when they are opened. Keep a copy.",
    ),
    SampleRelease(
        "15.0.1", 390, "Corrections to the converter.",
        "* **Fixed.** The converter kept only the first of several conditions.\n* **Fixed.** Undo after a paste lost the selection.",
    ),
    SampleRelease(
        "15.1.0", 250, "Excel steps without Excel.",
        "* **New.** Read and write workbooks without Excel being installed.\n* **New.** Log files rotate by size.\n"
        "* **Fixed.** The tray icon disappeared after sleep.",
    ),
    SampleRelease(
        "15.1.1", 215, "A security correction.",
        "* **Security.** The update check verifies the signature before it unpacks.\n* **Fixed.** Log rotation on network drives.",
    ),
    SampleRelease(
        "15.1.2", 150, "Corrections to workbooks.",
        "* **Fixed.** Dates before 1904 were read a day late.\n* **Fixed.** Writing to a protected sheet failed without a message.",
    ),
    SampleRelease(
        "15.2.0", 96, "Secrets in the vault, and macros that call each other.",
        "* **New.** Passwords come from the system's vault.\n* **New.** A macro can call another one and wait for its result.\n"
        "* **Changed.** Runs start twice as fast with many variables.",
    ),
    SampleRelease(
        "15.2.1", 12, "Pause from the tray, and a recorder that keeps up.",
        "* **New.** Pause a running macro from the tray without losing its variables.\n"
        "* **Fixed.** The recorder dropped keys on slow remote desktop sessions.\n"
        "* **Fixed.** Schedules ran twice on the night the clocks changed.\n"
        "* **Security.** Unsigned plug-ins no longer load by default. Sign yours, or allow them by policy, before you update.",
    ),
    SampleRelease(
        "15.3b1", 45, "First beta of 15.3: compare, and pause with an open connection.",
        "* **New.** Pause keeps variables and files.\n* **New.** Compare view, read-only.",
        "1. Pause a macro in the middle of a long report.\n2. Open the compare view with two versions of one macro.",
        "* The compare view needs a restart after the theme changes.", expires_in=20,
    ),
    SampleRelease(
        "15.3b2", 4, "Pause keeps database connections open.",
        "* **New.** Compare two versions of a macro side by side.\n* **New.** Pause keeps ODBC and OLE DB connections open.\n"
        "* **Changed.** The scheduler starts 40% faster with 500 jobs.\n* **Fixed.** The tray menu was missing after sleep.",
        "1. Pause and resume a macro that holds a database connection.\n"
        "2. Run your longest schedule overnight and compare the log with 15.2.1.\n"
        "3. Open macros made in 14.x; the converter is new.",
        "* **Data loss.** The converter drops comments longer than 4,000 characters. Keep a copy of the 14.x file.\n"
        "* Pausing over a remote desktop takes up to 8 seconds.\n* The compare view ignores the dark theme.",
        expires_in=68,
    ),
)  # fmt: skip

FORM_FILLER = (
    SampleRelease(
        "7.4.0", 330, "Forms from PDF files.", "* **New.** Fill in forms in PDF files.\n* **Fixed.** Dates before 1970.",
        withdrawn="It leaves radio buttons in PDF files without a value, so forms may have been sent incomplete. Look through those you "
        "filled in with it.", safe="7.4.1",
    ),
    SampleRelease(
        "7.4.1", 280, "Corrections to lists and buttons.",
        "* **Fixed.** Radio buttons without a value.\n* **Fixed.** Very long drop-down lists.",
    ),
    SampleRelease(
        "7.5.0", 190, "Forms that go on over several pages.",
        "* **New.** A form that goes on over several pages is filled in to its end.\n* **New.** Profiles can be kept in folders.\n"
        "* **Fixed.** Fields that appear late were skipped.",
    ),
    SampleRelease(
        "8.0.0", 60, "Profiles for teams.",
        "* **New.** Profiles can be shared within a team.\n* **Changed.** Profiles are encrypted with the system's key store.",
    ),
    SampleRelease(
        "8.0.1", -5, "Corrections to shared profiles.",
        "* **Fixed.** A profile that two people changed at once kept only the first change.\n* **Fixed.** Postal codes with a space.",
    ),
    SampleRelease(
        "8.1b1", 6, "Address look-up, and profiles that sync.",
        "* **New.** Addresses are completed from the postal code.\n* **New.** Profiles sync between two computers.",
        "1. Share one profile between two computers and change it on both.\n2. Fill in an address in another country.",
        "* Sync needs both computers to be on once.", expires_in=50,
    ),
)  # fmt: skip

BETA_TERMS = """You accept once for this version of the terms, on behalf of your organisation.

* Use the beta on test machines. It may change or damage files you open in it.
* Do not pass the files on to people outside your organisation.
* Support answers questions about the beta, but without the two-hour promise.
* The beta stops running on the day its page names."""

FEEDBACK = (
    SampleItem(
        "subscriber", "Pause a macro that holds a database connection",
        "Our month-end macro reads about 40,000 rows and takes two hours. If someone pauses it for more than ten minutes, the "
        "connection times out and the macro fails on the next step. We have to start again from zero.\n\n"
        "**What we need:** after a pause the macro goes on with the same connection, or opens a new one and continues at the same row.",
        170, voters=("foods", "freight"),
        comments=(("foods", "Works with our SQL server. A pause of 45 minutes was no problem."),
                  ("product", "Could someone try a pause longer than the idle limit of their database? We could only test one.")),
        status="in_beta", version="15.3b2", answered=3,
        response="Beta 1 reopened the connection after a pause. Several of you told us that temporary tables were lost, so beta 2 keeps "
                 "the connection alive instead. Please test with your longest report.",
    ),
    SampleItem(
        "colleague", "Pause a running macro from the tray", "One click to stop, one click to go on, with all variables as they were.", 240,
        voters=("foods", "freight"), status="shipped", version="15.2.1", answered=12,
        response="It is in 15.2.1. Thank you for the recording you sent.",
    ),
    SampleItem(
        "foods", "Send a chat message when a schedule fails",
        "Email alerts arrive too late for the night shift. A message with the macro's name and the failed step would do.", 40,
        voters=("subscriber",), comments=(("colleague", "A plain web hook would be enough for us."),),
    ),
    SampleItem(
        "freight", "Run macros from a central server without a logged-in user",
        "Unattended runs should not need an open desktop session on a spare PC.", 120, voters=("subscriber", "foods"),
        status="planned", version="15.4", response="Planned for 15.4. We will ask you about your set-ups before we start.",
    ),
    SampleItem(
        "foods", "Record in remote sessions without the helper service", "The helper service may not be installed in our sessions.", 200,
        status="declined",
        reason="The interface that this needs was withdrawn by its maker. The help page on remote sessions explains what works instead.",
    ),
    SampleItem(
        "subscriber", "The compare view marks unchanged steps as changed", "After a rename, all steps below the renamed one are marked.", 3,
        voters=("foods",), kind="problem", severity="medium", beta="15.3b2",
        before="After a rename, all steps are marked.",
        file=("compare.log", "09:14 step 12 renamed: read rows -> read all rows\n09:14 steps 13 to 40 marked as changed\n"),
    ),
    SampleItem(
        "colleague", "Our naming scheme in the macro list", "Could the list show the first two parts of our names as folders?", 15,
        kind="question", private=True,
    ),
    SampleItem(
        "freight", "Web hook when a scheduled macro fails", "Our ticket system could take it from there.", 20,
        comments=(("freight", "JSON with the macro's name would do."),),
    ),
)  # fmt: skip
# How the product team sorted that: tags by item, item and the one it was merged into, and a vote noted for a caller.
TAGS = {1: ("Database", "Recorder"), 3: ("Alerts", "Scheduler"), 4: ("Scheduler",), 6: ("Compare",)}
MERGED = (8, 3)
CALL = (6, "NW-1988", "Dispatch called: they see it after each rename.")
# What testers say of an item in a beta: item, version, who, verdict, words.
VERDICTS = (
    (1, "15.3b2", "foods", "yes", "An hour's pause over lunch, and it went on where it stood."),
    (1, "15.3b2", "freight", "partly", "The connection stays, but a transaction that was open is rolled back without a message."),
)

# A draft that nobody has sent yet: subject and text.
ANNOUNCEMENT = (
    "Turn on the check of macro files before you open any from outside",
    """A macro file can start other programs. That is what it is for, but a file from a stranger can do so too.

## What to do

* In **Settings > Safety**, turn on *Ask before a macro starts a program*.
* Open macro files from outside only after you have read them.

The check will be on for everybody from 15.3 on. We know of no harm that was done.
""",
)
