"""The application: everything is wired here, and nowhere else.

Lower floors never import higher ones; what must go upward is registered in this module.
"""

import logging
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from portal import checks, config, database, storage
from portal.account import (
    address_staff,
    circles,
    confirm_views,
    contract_files_staff,
    contract_views,
    email_change_views,
    email_changes,
    entitlements,
    factor_sign_in_views,
    factor_staff,
    factor_views,
    invitation_views,
    invitations,
    privacy_views,
    reminders,
    renewals,
    seat_news,
    security_mail,
    session_cookie,
    signing_in,
    team_staff,
)
from portal.account import api_views as account_api
from portal.account import staff as account_staff
from portal.account import views as account_views
from portal.beta import adoption, adoption_staff, expiry, nudges
from portal.beta import staff as beta_staff
from portal.beta import views as beta_views
from portal.config import Settings
from portal.extensions import Migrations, bootstrap, csrf, limiter, mail, queue
from portal.feedback import announcements as feedback_announcements
from portal.feedback import answers as feedback_answers
from portal.feedback import api_views as feedback_api
from portal.feedback import asked_for as feedback_asked_for
from portal.feedback import asking as feedback_asking
from portal.feedback import attachment_views as feedback_attachments
from portal.feedback import attachments as feedback_files
from portal.feedback import behalf_staff as feedback_behalf
from portal.feedback import digest
from portal.feedback import edit_views as feedback_edits
from portal.feedback import kept_views as feedback_kept
from portal.feedback import loop_staff as feedback_loop_staff
from portal.feedback import loop_views as feedback_loop
from portal.feedback import merging_staff as feedback_merging
from portal.feedback import reports_staff as feedback_reports
from portal.feedback import roadmap_views as feedback_roadmap
from portal.feedback import shipping as feedback_shipping
from portal.feedback import staff as feedback_staff
from portal.feedback import tags_staff as feedback_tags
from portal.feedback import views as feedback_views
from portal.feedback import writing_views as feedback_writing
from portal.home import audit_staff
from portal.home import views as home_views
from portal.notices import (
    announcement_staff,
    announcements,
    audiences,
    mail_templates,
    outbox,
    requests,
    smtp,
    subscriptions,
    suppression_staff,
)
from portal.notices import staff as notices_staff
from portal.notices import views as notices_views
from portal.products import staff as products_staff
from portal.releases import announcements as release_announcements
from portal.releases import api_views as releases_api
from portal.releases import audience as release_audience
from portal.releases import builds, capacity, feed_views, followups, integrity, schedule_staff, scheduling, subscribe_views
from portal.releases import staff as releases_staff
from portal.releases import views as releases_views
from portal.web import bearer, errors, filters, forms, frame, guards, headers, health, hosts, icons, origin, sections, urls

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
DELIVER = "deliver"
FORM_BYTES = 2_000_000

BLUEPRINTS = (
    home_views.blueprint,
    home_views.staff_blueprint,
    audit_staff.blueprint,
    audit_staff.api_blueprint,
    releases_views.blueprint,
    subscribe_views.blueprint,
    feed_views.blueprint,
    releases_staff.blueprint,
    schedule_staff.blueprint,
    releases_api.blueprint,
    beta_views.blueprint,
    beta_staff.blueprint,
    adoption_staff.blueprint,
    feedback_views.blueprint,
    feedback_writing.blueprint,
    feedback_edits.blueprint,
    feedback_attachments.blueprint,
    feedback_kept.blueprint,
    feedback_staff.blueprint,
    feedback_loop.blueprint,
    feedback_loop_staff.blueprint,
    feedback_reports.blueprint,
    feedback_tags.blueprint,
    feedback_merging.blueprint,
    feedback_behalf.blueprint,
    feedback_roadmap.blueprint,
    feedback_api.blueprint,
    account_views.blueprint,
    email_change_views.blueprint,
    contract_views.blueprint,
    invitation_views.blueprint,
    confirm_views.blueprint,
    factor_sign_in_views.blueprint,
    factor_views.blueprint,
    factor_staff.blueprint,
    contract_files_staff.blueprint,
    account_staff.contracts_blueprint,
    account_staff.customers_blueprint,
    address_staff.blueprint,
    account_api.blueprint,
    privacy_views.blueprint,
    privacy_views.staff_blueprint,
    team_staff.team_blueprint,
    team_staff.tokens_blueprint,
    notices_views.blueprint,
    notices_staff.blueprint,
    suppression_staff.blueprint,
    announcement_staff.blueprint,
    products_staff.blueprint,
    health.blueprint,
    icons.blueprint,
)

NAVIGATION = (
    frame.Entry("Home", "home.index"),
    frame.Entry("Beta", "beta.index"),
    frame.Entry("Releases", "releases.index"),
    frame.Entry(
        "Feedback",
        "feedback.index",
        also=(
            feedback_writing.blueprint.name,
            feedback_edits.blueprint.name,
            feedback_kept.blueprint.name,
            feedback_roadmap.blueprint.name,
            feedback_loop.blueprint.name,
        ),
    ),
    frame.Entry("Contract", "contracts.index"),
    frame.Entry("Home", "home_staff.index", staff=True),
    frame.Entry(
        "Releases",
        "releases_staff.index",
        staff=True,
        shown=guards.holds_role("publisher"),
        also=(adoption_staff.blueprint.name, schedule_staff.blueprint.name),
    ),
    frame.Entry("Beta terms", "beta_staff.index", staff=True, shown=guards.holds_role("publisher")),
    frame.Entry(
        "Feedback",
        "feedback_staff.index",
        staff=True,
        shown=guards.holds_role("product"),
        also=(
            feedback_tags.blueprint.name,
            feedback_merging.blueprint.name,
            feedback_behalf.blueprint.name,
            feedback_reports.blueprint.name,
        ),
    ),
    frame.Entry(
        "Contracts",
        "contracts_staff.index",
        staff=True,
        shown=guards.holds_role("accounts", "support"),
        also=(contract_files_staff.blueprint.name,),
    ),
    frame.Entry("Customers", "customers_staff.index", staff=True, shown=guards.holds_role("accounts", "support")),
    frame.Entry(
        "Notices",
        "notices_staff.index",
        staff=True,
        shown=guards.holds_role("publisher"),
        also=(announcement_staff.blueprint.name, suppression_staff.blueprint.name),
    ),
    frame.Entry("Products", "products_staff.index", staff=True, shown=guards.holds_role("admin")),
)
ACCOUNT_MENU = (
    frame.Entry("Notices", "notices.preferences"),
    frame.Entry("Profile and time zone", "account.profile"),
    frame.Entry("Password and sessions", "account.security"),
    frame.Entry("Your data", "privacy.index"),
    frame.Entry("Staff tokens", "tokens_staff.index_tokens", shown=guards.holds_role(*guards.STAFF_ROLES)),
    frame.Entry("Team and roles", "team_staff.index", shown=guards.holds_role("admin")),
    frame.Entry("Audit log", "audit_staff.index", shown=guards.holds_role("admin")),
)


def create_app(settings: Settings | None = None) -> Flask:
    """Build the portal from `settings`, or from the environment.

    Raises ConfigurationError when a setting is unsafe. Opens no connection and sends nothing.
    """
    settings = settings or config.load()
    logging.getLogger("portal").setLevel(settings.log_level)
    app = Flask("portal")
    app.extensions["portal.settings"] = settings
    app.config.update(flask_config(settings))
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    hosts.init_app(app, settings)
    database.init_app(app, settings)
    app.extensions["migrate"] = Migrations(app, database.db, MIGRATIONS)
    storage.init_app(app, settings)
    capacity.init_app(app, settings)
    mail.init_app(app)
    queue.init_app(app, settings)
    origin.init_app(app)
    forms.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    bootstrap.init_app(app)
    signing_in.init_app(app, settings)
    factor_sign_in_views.init_app(app)
    confirm_views.init_app(app)
    session_cookie.init_app(app, settings)

    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    guards.init_app(app)
    factor_views.init_app(app)
    bearer.init_app(app, team_staff.authenticate)
    headers.init_app(app, settings)
    errors.init_app(app)
    filters.init_app(app, settings)
    urls.init_app(app)
    frame.init_app(app, settings, NAVIGATION, ACCOUNT_MENU)
    sections.init_app(app)
    mail_templates.init_app(app)
    checks.init_app(app, settings)
    _register_across_floors()
    return app


def flask_config(settings: Settings) -> dict[str, object]:
    """Translate our settings into those of Flask and its extensions."""
    return {
        "SECRET_KEY": settings.secret_key,
        "MAX_CONTENT_LENGTH": FORM_BYTES,
        "MAX_FORM_MEMORY_SIZE": FORM_BYTES,
        "SESSION_COOKIE_NAME": settings.session_cookie_name,
        "SESSION_COOKIE_SECURE": settings.is_https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "WTF_CSRF_TIME_LIMIT": None,
        "BOOTSTRAP_SERVE_LOCAL": True,
        "SEND_FILE_MAX_AGE_DEFAULT": 3600,
        "RATELIMIT_STORAGE_URI": settings.rate_limit_url,
        **smtp.flask_mail_config(settings),
    }


def _register_across_floors() -> None:
    """Hand to lower floors what they need of higher ones."""
    outbox.on_enqueue(lambda: queue.wake(DELIVER))
    release_announcements.on_asked_for(feedback_asked_for.asked_for)
    adoption.on_answers(feedback_answers.answers)
    builds.on_kept(feedback_files.named)
    followups.register(feedback_shipping.release_published, feedback_shipping.release_withdrawn, feedback_shipping.release_discarded)
    subscriptions.on_priority(entitlements.priority_products)
    feedback_loop.register_sections()
    feedback_loop_staff.register_sections()
    for module in (
        requests,
        invitations,
        seat_news,
        reminders,
        renewals,
        security_mail,
        email_changes,
        release_announcements,
        integrity,
        scheduling,
        expiry,
        nudges,
        feedback_announcements,
        feedback_asking,
        digest,
        announcements,
    ):
        module.register_kinds()
    for source in (circles, release_audience, audiences):
        source.register_audiences()
