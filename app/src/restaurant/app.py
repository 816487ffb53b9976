"""The application factory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import SessionInterface
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter

from restaurant import errors, home, i18n, logs, metrics
from restaurant.billing import api as billing_api
from restaurant.billing.invoice_web import invoice_pages
from restaurant.billing.till_web import till_pages
from restaurant.billing.web import cash_desk, closing_pages
from restaurant.database import Database
from restaurant.fault_injection import FaultSwitch
from restaurant.floor import api as floor_api
from restaurant.floor.web import floor, plan
from restaurant.http import assets, openapi, security
from restaurant.http.failover import Failover
from restaurant.http.guard import Guard
from restaurant.http.network import network
from restaurant.http.prefix import Prefix
from restaurant.http.templates import NoIndentation
from restaurant.kitchen.api import api as kitchen_api
from restaurant.kitchen.outbox import Hub
from restaurant.kitchen.web import kitchen
from restaurant.lifecycle import Lifecycle
from restaurant.menu import api as menu_api
from restaurant.menu.offer_web import pages as offer_pages
from restaurant.menu.web import pages as card_pages
from restaurant.opening import api as opening_api
from restaurant.opening.web import pages as opening_pages
from restaurant.orders.api import api as orders_api
from restaurant.orders.api import seating_api, service_api
from restaurant.orders.staff_web import pages as service_pages
from restaurant.orders.web import web as orders_web
from restaurant.payments import api as payments_api
from restaurant.payments.gateway import Gateway
from restaurant.payments.web import payment_pages
from restaurant.payments.webhooks import webhooks
from restaurant.people import api as people_api
from restaurant.people.permissions import Access, Permission
from restaurant.people.web import account, sessions, team
from restaurant.printing import api as printing_api
from restaurant.printing import web as printing_web
from restaurant.reports.api import api as reports_api
from restaurant.reports.web import pages as report_pages
from restaurant.reservations import api as booking_api
from restaurant.reservations import web as booking_web
from restaurant.settings import Settings
from restaurant.stock.api import api as stock_api
from restaurant.stock.web import pages as stock_pages
from restaurant.table_orders import api as table_orders_api
from restaurant.table_orders import web as table_orders_web

#: No form or document a restaurant sends is larger, in bytes.
LARGEST_BODY = 256 * 1024


class KeyConverter(IntegerConverter):
    """A number that can be a key in the database; any other number is no address, whatever the method."""

    regex = "[1-9][0-9]{0,8}"


class Application(Flask):
    """Flask without coroutines: it looks for one in each function that it calls, some twelve times per request.

    Its views may lose the database, and are then called again where that is safe.
    """

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """`func`, which is none."""
        return func

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view, again if that is safe when it loses its database connection."""
        failover: Failover = self.extensions["failover"]
        return failover.execute(super().dispatch_request)


class NoSession(SessionInterface):
    """Flask's own session is not used (people's sessions are rows, see `people`), so no cookie is read for it."""

    def open_session(self, app: Flask, request: Request) -> None:
        """None."""


def create_app(settings: Settings) -> Flask:
    """The service for `settings`. It opens no connection before its first request."""
    app = Application(__name__)
    app.config.update(
        SECRET_KEY=settings.signing_keys[0],
        SECRET_KEY_FALLBACKS=list(settings.signing_keys[1:]),
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
    )
    app.session_interface = NoSession()
    app.jinja_options = {"trim_blocks": True, "extensions": [NoIndentation]}
    app.wsgi_app = Prefix(app.wsgi_app, settings.prefix)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        # One proxy of several removes a path from its requests.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=1)  # type: ignore[method-assign]

    switch = FaultSwitch() if settings.fault_injection else None
    database = connect(app, settings, switch)

    app.url_map.converters["key"] = KeyConverter
    metrics.register(app)
    logs.register(app)
    if settings.traces_endpoint is not None:
        from restaurant import tracing

        tracing.register(app, database.engine, endpoint=settings.traces_endpoint, ratio=settings.traces_ratio)
    security.register(app, https=settings.https)
    if switch is not None:
        switch.register(app, database)
    assets.register(app)
    i18n.register(app)
    errors.register(app)
    home.register(app)
    app.jinja_env.globals.update(
        restaurant_name=settings.name, restaurant_address=settings.address, registration=settings.registration
    )

    register_blueprints(app)
    return app


def connect(app: Flask, settings: Settings, switch: FaultSwitch | None = None) -> Database:
    """Give `app` the database of `settings`, and what looks at it; returns it."""
    database = Database(settings)
    failover = Failover(database, threads=settings.threads)
    app.extensions.update(
        settings=settings,
        database=database,
        failover=failover,
        lifecycle=Lifecycle(database, switch, threads=settings.threads, failover=failover),
        hub=Hub(database, capacity=settings.stream_capacity),
        gateway=Gateway.of(database, settings),
    )
    return database


def register_blueprints(app: Flask) -> None:
    """Every part of the service with who may read from it and who may write."""
    guard = Guard(app)
    guard.register(network, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(floor, read=Permission.SEE_FLOOR, write=Permission.SEAT)
    guard.register(plan, read=Permission.EDIT_FLOOR, write=Permission.EDIT_FLOOR)
    guard.register(table_orders_web.guests, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(table_orders_web.desk, read=Permission.SEE_FLOOR, write=Permission.TAKE_ORDERS)
    guard.register(table_orders_web.printed, read=Permission.EDIT_FLOOR, write=Permission.EDIT_FLOOR)
    guard.register(service_pages, read=Permission.SEE_FLOOR, write=Permission.TAKE_ORDERS)
    guard.register(booking_web.guests, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(booking_web.desk, read=Permission.BOOK, write=Permission.BOOK)
    guard.register(opening_pages, read=Permission.EDIT_OPENING, write=Permission.EDIT_OPENING)
    guard.register(printing_web.printers, read=Permission.MANAGE_PRINTERS, write=Permission.MANAGE_PRINTERS)
    guard.register(printing_web.receipts, read=Permission.CASH, write=Permission.CASH)
    guard.register(printing_web.closings, read=Permission.CLOSE_DAY, write=Permission.CLOSE_DAY)
    guard.register(cash_desk, read=Permission.CASH, write=Permission.CASH)
    guard.register(invoice_pages, read=Permission.CASH, write=Permission.CASH)
    guard.register(payment_pages, read=Permission.CASH, write=Permission.CASH)
    guard.register(till_pages, read=Permission.CASH, write=Permission.CASH)
    guard.register(closing_pages, read=Permission.CLOSE_DAY, write=Permission.CLOSE_DAY)
    guard.register(stock_pages, read=Permission.MANAGE_STOCK, write=Permission.MANAGE_STOCK)
    guard.register(report_pages, read=Permission.SEE_REPORTS, write=Permission.SEE_REPORTS)
    guard.register(card_pages, read=Permission.EDIT_MENU, write=Permission.EDIT_MENU)
    guard.register(offer_pages, read=Permission.EDIT_MENU, write=Permission.EDIT_MENU)
    guard.register(kitchen, read=Permission.COOK, write=Permission.COOK)
    guard.register(orders_web, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(sessions, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(account, read=Access.SIGNED_IN, write=Access.SIGNED_IN)
    guard.register(team, read=Permission.MANAGE_PEOPLE, write=Permission.MANAGE_PEOPLE)
    guard.register(home.home, read=Access.SIGNED_IN, write=Access.SIGNED_IN)

    # An event is signed by the provider.
    guard.register(webhooks, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(openapi.web, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(menu_api.api, read=Access.PUBLIC, write=Permission.EDIT_MENU)
    guard.register(menu_api.editor, read=Permission.EDIT_MENU, write=Permission.EDIT_MENU)
    guard.register(orders_api, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(service_api, read=Permission.SEE_FLOOR, write=Permission.TAKE_ORDERS)
    guard.register(seating_api, read=Permission.SEE_FLOOR, write=Permission.SEAT)
    guard.register(floor_api.plan, read=Permission.SEE_FLOOR, write=Permission.SEAT)
    guard.register(floor_api.edit, read=Permission.EDIT_FLOOR, write=Permission.EDIT_FLOOR)
    guard.register(table_orders_api.api, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(table_orders_api.desk, read=Permission.SEE_FLOOR, write=Permission.TAKE_ORDERS)
    guard.register(table_orders_api.editor, read=Permission.EDIT_FLOOR, write=Permission.EDIT_FLOOR)
    guard.register(booking_api.guests, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(booking_api.desk, read=Permission.BOOK, write=Permission.BOOK)
    guard.register(opening_api.public, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(opening_api.editor, read=Permission.EDIT_OPENING, write=Permission.EDIT_OPENING)
    guard.register(printing_api.printers, read=Permission.MANAGE_PRINTERS, write=Permission.MANAGE_PRINTERS)
    guard.register(printing_api.receipts, read=Permission.CASH, write=Permission.CASH)
    guard.register(printing_api.closings, read=Permission.CLOSE_DAY, write=Permission.CLOSE_DAY)
    guard.register(billing_api.bills, read=Permission.CASH, write=Permission.CASH)
    guard.register(payments_api.api, read=Permission.CASH, write=Permission.CASH)
    guard.register(billing_api.closings, read=Permission.CLOSE_DAY, write=Permission.CLOSE_DAY)
    guard.register(stock_api, read=Permission.MANAGE_STOCK, write=Permission.MANAGE_STOCK)
    guard.register(reports_api, read=Permission.SEE_REPORTS, write=Permission.SEE_REPORTS)
    guard.register(kitchen_api, read=Permission.COOK, write=Permission.COOK)
    guard.register(people_api.sessions, read=Access.PUBLIC, write=Access.PUBLIC)
    guard.register(people_api.account, read=Access.SIGNED_IN, write=Access.SIGNED_IN)
    guard.register(people_api.approvals, read=Access.SIGNED_IN, write=Access.SIGNED_IN)
    guard.register(people_api.people, read=Permission.MANAGE_PEOPLE, write=Permission.MANAGE_PEOPLE)
