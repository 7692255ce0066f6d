"""Flask-Security, with the gaps closed that it leaves open."""

from flask import Flask
from flask_security import SQLAlchemyUserDatastore

from portal import database
from portal.account.models import Role, User
from portal.config import Settings
from portal.database import db
from portal.extensions import security


class Datastore(SQLAlchemyUserDatastore):
    """Flask-Security's datastore, committing where everything else commits."""

    def commit(self) -> None:
        database.commit_pending()


datastore = Datastore(db, User, Role)


def init_app(app: Flask, settings: Settings) -> None:
    app.config.update(
        SECURITY_PASSWORD_SALT=settings.secret_key,
        SECURITY_PASSWORD_HASH="argon2",
        SECURITY_LOGIN_URL="/sign-in",
        SECURITY_LOGOUT_URL="/sign-out",
        SECURITY_LOGOUT_METHODS=["POST"],
    )
    security.init_app(app, datastore)


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
