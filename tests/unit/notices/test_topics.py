"""Topics in words, as they stand in sentences of pages and mails."""

import pytest

from portal.notices.models import Topic
from portal.notices.topics import in_words


@pytest.mark.parametrize(
    ("topics", "text"),
    [
        ([], ""),
        ([Topic.MINOR], "minor releases"),
        ([Topic.MINOR, Topic.MAJOR], "minor and major releases"),
        ([Topic.POINT, Topic.FEEDBACK], "point releases and feedback you follow"),
    ],
)
def test_topics_are_named_once_for_what_they_share(topics: list[Topic], text: str) -> None:
    assert in_words(topics) == text
