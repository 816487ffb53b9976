"""The application factory."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from restaurant import errors, i18n, logs, metrics
from restaurant.database import Database
from restaurant.http import assets, security
from restaurant.lifecycle import Lifecycle
from restaurant.menu.api import api as menu_api
from restaurant.orders.api import api as orders_api
from restaurant.orders.web import web as orders_web
from restaurant.settings import Settings

#: No form or document a restaurant sends is larger, in bytes.
LARGEST_BODY = 256 * 1024


def create_app(settings: Settings) -> Flask:
    """The service for `settings`. It opens no connection before its first request."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=settings.signing_keys[0],
        SECRET_KEY_FALLBACKS=list(settings.signing_keys[1:]),
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    database = Database(settings)
    app.extensions.update(settings=settings, database=database, lifecycle=Lifecycle(database))

    metrics.register(app)
    logs.register(app)
    security.register(app, https=settings.https)
    assets.register(app)
    i18n.register(app)
    errors.register(app)
    app.jinja_env.globals["restaurant_name"] = settings.name

    for blueprint in (menu_api, orders_api, orders_web):
        app.register_blueprint(blueprint)
    return app
