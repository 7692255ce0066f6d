"""The topics in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from portal.notices.models import Topic


@dataclass(frozen=True)
class Words:
    """`label` stands inside a sentence ("unsubscribe from …"), `title` beside a checkbox, `meaning` below it."""

    label: str
    title: str
    meaning: str


WORDS = {
    Topic.BETA: Words("new beta builds", "New beta builds", "Each new beta you can download, with what to test."),
    Topic.POINT: Words("point releases", "Point releases", "Each correction release, such as 2.1.1."),
    Topic.MINOR: Words("minor releases", "Minor releases", "New features, such as 2.2.0, a few times a year."),
    Topic.MAJOR: Words("major releases", "Major releases", "A new generation, such as 3.0.0."),
    Topic.FEEDBACK: Words(
        "feedback you follow",
        "Feedback you follow",
        "When we answer what you wrote or follow, its status changes, or a beta brings what you asked for.",
    ),
}


def in_words(topics: Iterable[Topic]) -> str:
    """Name topics inside a sentence: "minor and major releases"."""
    labels = [WORDS[topic].label for topic in topics]
    last = labels[-1].rpartition(" ")[2] if labels else ""
    if len(labels) > 1 and all(label.endswith(f" {last}") for label in labels):
        labels = [label.removesuffix(f" {last}") for label in labels[:-1]] + labels[-1:]
    return " and ".join(labels)
