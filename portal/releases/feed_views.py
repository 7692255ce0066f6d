"""The feeds of a product: public, or with `?token=` for the holder of a seat. What stands in them: `portal.releases.feeds`.

A session means nothing here: the public feed is the same for everybody, and may lie in shared caches. A private one may be kept by
its reader, who asks each time; and each time the gate is asked again.
"""

import hashlib
import logging
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date, parse_date, parse_etags
from werkzeug.wrappers import Response

from portal import clock
from portal.account import access_tokens
from portal.account.models import TokenPurpose
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Busy
from portal.products.catalog import find_product
from portal.products.models import Product
from portal.releases import feeds
from portal.releases.feed_formats import FORMATS, Feed
from portal.web import errors, wrong_tokens
from portal.web.guards import protect, public

log = logging.getLogger(__name__)

blueprint = Blueprint("feeds", __name__, url_prefix="/releases")
protect(blueprint, public)

PUBLIC = "public, max-age=300"
PRIVATE = "private, no-cache"


@blueprint.get("/<product>/feed.<any(atom, json):form>")
def feed(product: str, form: str) -> ResponseReturnValue:
    """Answer with a product's feed as Atom or JSON Feed. Only a reader that gives a token gets more, or less, than everybody."""
    found = find_product(product)
    token = request.args.get("token")
    if token is not None:
        return _private(found, form, token)
    settings = current_settings()
    url = f"{settings.base_url}/releases/{found.slug}/feed.{form}"
    return _answer(feeds.public_feed(found, url, settings), form, PUBLIC)


def _private(product: Product, form: str, token: str) -> Response:
    now = clock.now()
    wrong_tokens.refuse_if_too_many()
    contact = access_tokens.authenticate(token, TokenPurpose.FEED)
    found = feeds.private_feed(product, contact, current_settings(), now) if contact is not None else None
    if found is None:
        wrong_tokens.count()
        answer = _gone(product)
    else:
        _touch(token, now)
        answer = _answer(found, form, PRIVATE)
    answer.headers["X-Robots-Tag"] = "noindex"
    answer.headers["Referrer-Policy"] = "no-referrer"  # a browser that shows the feed would hand on its secret with each click
    return answer


def _gone(product: Product) -> Response:
    """The one answer to a token that opens no feed of this product, whatever it was once good for."""
    base = current_settings().base_url
    return errors.in_words(
        HTTPStatus.GONE,
        "This private feed does not exist, or not any more: its address was revoked, or the seat it belonged to was released.",
        f"Make a new one in your account: {base}/account/security/",
        f"Stable releases are here for everybody: {base}/releases/{product.slug}/",
    )


def _touch(token: str, now: datetime) -> None:
    """Note that the address is in use. Reading goes on even if that cannot be written just now."""
    try:
        with transaction():
            access_tokens.touch(token, now=now)
    except Busy:
        log.warning("the last use of a feed could not be written", exc_info=True)


def _answer(feed: Feed, form: str, cache_control: str) -> Response:
    """Answer the current GET or HEAD by its conditions (RFC 9110, section 13.2.2).

    Dates are compared for being equal, not for order: when a contract is resumed or a beta expires, what a private feed shows can
    be older than what it showed before.
    """
    content_type, write = FORMATS[form]
    body = write(feed)
    etag = hashlib.sha256(body).hexdigest()
    updated = feed.updated.replace(microsecond=0)
    if "If-None-Match" in request.headers:
        unchanged = parse_etags(request.headers["If-None-Match"]).contains_weak(etag)
    else:
        unchanged = parse_date(request.headers.get("If-Modified-Since")) == updated
    answer = Response(status=HTTPStatus.NOT_MODIFIED) if unchanged else Response(body, content_type=content_type)
    answer.headers["ETag"] = f'"{etag}"'
    answer.headers["Last-Modified"] = http_date(updated)
    answer.headers["Cache-Control"] = cache_control
    return answer
