"""Signed links in mails: they work without log-in, never expire, and say nothing but whom and what they are for."""

from itsdangerous import BadData, URLSafeSerializer

from portal.config import Settings
from portal.notices.models import Topic

_UNSUBSCRIBE = "notices.unsubscribe"
_PREFERENCES = "notices.preferences"


def unsubscribe_url(settings: Settings, user_id: int, product_id: int, topic: Topic) -> str:
    token = _serializer(settings, _UNSUBSCRIBE).dumps([user_id, product_id, topic.value])
    return f"{settings.base_url}/notices/unsubscribe/{_text(token)}"


def preferences_url(settings: Settings, user_id: int, product_id: int) -> str:
    return f"{settings.base_url}/notices/preferences/{preferences_token(settings, user_id, product_id)}"


def preferences_token(settings: Settings, user_id: int, product_id: int) -> str:
    return _text(_serializer(settings, _PREFERENCES).dumps([user_id, product_id]))


def read_unsubscribe(settings: Settings, token: str) -> tuple[int, int, Topic] | None:
    """Return the user id, product id and topic an unsubscribe link is for, None if it is not one of ours."""
    try:
        user_id, product_id, topic = _serializer(settings, _UNSUBSCRIBE).loads(token)
        return int(user_id), int(product_id), Topic(topic)
    except (BadData, ValueError, TypeError):
        return None


def read_preferences(settings: Settings, token: str) -> tuple[int, int] | None:
    """Return the user id and product id a preferences link is for, None if it is not one of ours."""
    try:
        user_id, product_id = _serializer(settings, _PREFERENCES).loads(token)
        return int(user_id), int(product_id)
    except (BadData, ValueError, TypeError):
        return None


def _serializer(settings: Settings, salt: str) -> URLSafeSerializer:
    return URLSafeSerializer(settings.secret_key, salt=salt)


def _text(token: str | bytes) -> str:
    return token.decode() if isinstance(token, bytes) else token
