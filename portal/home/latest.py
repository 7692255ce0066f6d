"""What the sign-in page shows beside its form: the newest stable release, which is nobody's secret."""

from dataclasses import dataclass
from datetime import datetime

from portal.markdown import list_items
from portal.releases.catalog import newest_stable
from portal.releases.models import Release

HIGHLIGHTS = 3


@dataclass(frozen=True)
class Latest:
    """A release in a few words. `highlights` are the first points of its notes, as plain text."""

    product_slug: str
    product_name: str
    version: str
    published_at: datetime
    highlights: list[str]


def latest_release() -> Latest | None:
    """Return the stable release that was published last, of whichever product, or None."""
    published: list[tuple[datetime, Release]] = [
        (release.published_at, release) for release in newest_stable().values() if release.published_at is not None
    ]
    if not published:
        return None
    published_at, release = max(published, key=lambda pair: pair[0])
    product = release.product
    return Latest(product.slug, product.name, release.version, published_at, list_items(release.notes, HIGHLIGHTS))
