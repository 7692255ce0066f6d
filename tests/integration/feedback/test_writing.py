"""What a piece of feedback can be written about."""

import pytest

from portal.feedback import writing
from portal.releases.models import ReleaseState
from tests.board import product, release
from tests.cast import Cast

pytestmark = pytest.mark.usefixtures("app_context")


def versions(*slugs: str, limit: int = 60) -> list[str]:
    return [found.version for found in writing.versions_to_write_about([product(slug).id for slug in slugs], limit=limit)]


def test_only_published_versions_of_the_own_products_are_offered(cast: Cast) -> None:
    release("15.4b1", state=ReleaseState.DRAFT)
    release("15.3b1", state=ReleaseState.WITHDRAWN)
    release("15.3b2")
    release("8.1b1", slug=cast.other_product)
    assert versions(cast.product) == ["15.3b2"]


def test_many_versions_of_one_product_leave_room_for_another(cast: Cast) -> None:
    for number in range(1, 6):
        release(f"15.3b{number}")
    release("8.1b1", slug=cast.other_product)
    assert versions(cast.product, cast.other_product, limit=4) == ["8.1b1", "15.3b5", "15.3b4", "15.3b3"]
