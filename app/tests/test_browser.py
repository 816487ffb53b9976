"""An evening in a real browser: every person of the house at their own screen, and no accessibility violation.

Run with `pytest -m browser`; needs Debian's chromium. Pictures of every screen are left in `screenshots/`.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from restaurant.database import Database
from restaurant.payments.simulator import Simulator, serve
from restaurant.people import service as people
from restaurant.people.permissions import Role
from support import EGGS, SECRET, STEW, TATIN, WINE, make_settings, serving

pytestmark = pytest.mark.browser

PASSWORD = "une phrase assez longue"
PICTURES = Path(__file__).parent.parent / "screenshots"
PHONE = {"width": 390, "height": 844}
TABLET = {"width": 1024, "height": 768}
DESKTOP = {"width": 1280, "height": 900}
#: What every page has to meet: WCAG 2.1 A and AA, and axe's best practices.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
#: Those of them that depend on the size of the screen, for a page that has met all of them on another one.
OF_THE_SIZE = {"runOnly": {"type": "rule", "values": ["color-contrast", "scrollable-region-focusable"]}}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("these tests need a browser: apt-get install chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)
        running = playwright.chromium.launch(executable_path=chromium, args=[*quiet, "--disable-sync"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, ThreadingHTTPServer]]:
    """Simulators of a card terminal and of a page on which guests pay."""
    servers = {"terminal": serve(Simulator(), secret=SECRET), "online": serve(Simulator(online=True), secret=SECRET)}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield servers
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def terminal(providers: dict[str, ThreadingHTTPServer]) -> ThreadingHTTPServer:
    """The simulator of the card terminal."""
    return providers["terminal"]


@pytest.fixture(scope="module")
def house(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, providers: dict[str, ThreadingHTTPServer]
) -> Iterator[str]:
    """The address of a running service with a person of each role, payment providers, and a mail server that is off."""
    directory = tmp_path_factory.mktemp("house")
    file = directory / "restaurant.sqlite3"
    shutil.copy(sqlite_template, file)
    settings = make_settings(f"sqlite:///{file}")
    secret = directory / "secret"
    secret.write_text(SECRET)
    environment = {
        "RESTAURANT_ADDRESS": settings.address, "RESTAURANT_REGISTRATION": settings.registration,
        "RESTAURANT_SMTP_URL": "smtp://127.0.0.1:9", "RESTAURANT_SMTP_SENDER": "Chez Ana <table@example.org>",
    }  # fmt: skip
    for name, server in providers.items():
        environment[f"RESTAURANT_{name.upper()}_URL"] = f"http://127.0.0.1:{server.server_port}"
        environment[f"RESTAURANT_{name.upper()}_SECRET_FILE"] = str(secret)
    with Database(settings) as database, database.writing() as session:
        for role in Role:
            people.add_person(session, username=role.value, name=role.label, role=role, password=PASSWORD)
    with serving(settings, directory / "log", **environment) as (_process, port, _probes):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visit(browser: Browser, house: str) -> Iterator[Open]:
    """Open a screen of a given size as somebody; a script that fails there fails the test."""
    problems: list[str] = []
    contexts = []

    def make(role: Role | None, size: dict[str, int]) -> Page:
        # axe is put into the page from outside, which the pages' own policy forbids.
        # The service worker takes the connection of a slow machine for lost: the tests of it have their own contexts.
        context = browser.new_context(
            viewport=size, locale="fr-FR", base_url=house, bypass_csp=True, service_workers="block"
        )
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        if role is not None:
            page.goto("/connexion")
            page.get_by_label("Identifiant").fill(role.value)
            page.get_by_label("Mot de passe").fill(PASSWORD)
            page.get_by_role("button", name="Se connecter").click()
            page.wait_for_url("**/accueil")
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def faults_of(page: Page, name: str, *, rules: dict[str, Any] = RULES, whole: bool = False) -> list[str]:
    """Keep a picture, and hold the page against the rules of accessibility and the width of the screen."""
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)
    found = Axe().run(page, options=rules)
    faults = [f"{name}: {found.generate_report()}"] if found.violations_count else []
    if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        faults.append(f"{name} is wider than the screen")
    return faults


def look(page: Page, name: str) -> None:
    """Keep a picture of a page that has no faults."""
    faults = faults_of(page, name)
    assert faults == [], "\n".join(faults)


def test_a_guest_orders_and_books_on_a_phone(visit: Open) -> None:
    page = visit(None, PHONE)
    page.goto("/")
    look(page, "menu-phone")
    page.get_by_role("button", name="Un de plus : Œuf mayonnaise").click()
    page.get_by_role("button", name="Un de plus : Œuf mayonnaise").click()
    expect(page.locator("output.total")).to_contain_text("12,40")
    page.get_by_label("Votre prénom").fill("Ana")
    page.get_by_role("button", name="Commander").click()
    expect(page.get_by_role("heading", name="Merci, Ana")).to_be_visible()
    look(page, "order-phone")
    tomorrow = (datetime.now(ZoneInfo("Europe/Paris")) + timedelta(days=1)).date()
    page.goto(f"/reserver?jour={tomorrow}&couverts=4")
    look(page, "book-phone")
    page.get_by_text("20:00").click()
    page.get_by_label("Nom").fill("Ana")
    page.get_by_label("Téléphone ou courriel").fill("06 12 34 56 78")
    page.get_by_role("button", name="Réserver", exact=True).click()
    expect(page.get_by_text("Confirmée")).to_be_visible()
    look(page, "booked-phone")


def test_a_guest_orders_at_the_table_and_follows_the_order(visit: Open) -> None:
    manager = visit(Role.MANAGER, TABLET)
    code = manager.request.get("/api/v1/tables/16/code").json()["code"]
    guest = visit(None, PHONE)
    guest.goto(f"/table/{code}")
    guest.get_by_text("Des allergies").click()
    guest.get_by_label("Moutarde").check()
    eggs = guest.locator(".dish", has_text="Œuf mayonnaise")
    expect(eggs).to_have_class("dish danger")
    guest.get_by_role("button", name="Un de plus : Tarte Tatin").click()
    guest.get_by_role("button", name="Un de plus : Tarte Tatin").click()
    guest.locator(".cart summary").click()
    expect(guest.locator(".cart li")).to_have_text("2 × Tarte Tatin")
    look(guest, "table-cart-phone")
    guest.get_by_label("Votre prénom").fill("Zoé")
    guest.get_by_role("button", name="Commander").click()
    step = guest.locator("[aria-current=step]")
    expect(step).to_have_text("À confirmer")
    manager.goto("/salle")
    expect(manager.locator("circle.asks")).to_have_count(1)
    look(manager, "floor-asking-tablet")
    manager.get_by_role("link", name="Voir ces commandes").click()
    manager.get_by_role("button", name="Confirmer et envoyer").click()
    expect(manager.get_by_role("heading", name="Table T4", exact=True)).to_be_visible()
    # The guest's page looks again by itself.
    expect(step).to_have_text("Envoyée en cuisine", timeout=60_000)
    look(guest, "table-order-sent-phone")


def test_a_dinner_from_the_door_to_three_receipts(visit: Open) -> None:
    kitchen = visit(Role.KITCHEN, TABLET)
    kitchen.goto("/cuisine")
    expect(kitchen.get_by_role("status")).to_have_text("En direct")

    host = visit(Role.HOST, TABLET)
    host.goto("/salle")
    look(host, "floor-tablet")
    host.locator("a.table", has_text="7").first.click()
    host.get_by_label("Convives", exact=True).fill("3")
    host.get_by_label("Lait").check()
    look(host, "table-tablet")
    host.get_by_role("button", name="Installer les convives").click()
    expect(host.get_by_role("heading", name="Table 7")).to_be_visible()

    server = visit(Role.SERVER, PHONE)
    server.goto("/salle")
    look(server, "floor-phone")
    server.locator("a.table", has_text="7").first.click()
    expect(server.get_by_text("Allergies : lait")).to_be_visible()
    for category, dish in (("Entrées", "Escargots de Bourgogne, les six"), ("Plats", "Bœuf bourguignon")):
        server.get_by_role("link", name=category, exact=True).click()
        server.get_by_role("button", name=f"Un de plus : {dish}").click()
    look(server, "picking-phone")
    server.get_by_role("button", name="Envoyer").click()
    expect(server.locator(".order tr[class^='line-']")).to_have_count(2)
    # The dessert waits for its course.
    server.get_by_role("searchbox", name="Trouver un plat").fill("creme")
    server.get_by_role("button", name="Un de plus : Crème brûlée").click()
    server.get_by_role("button", name="En attente").click()
    server.get_by_role("button", name=re.compile("Envoyer.: Desserts")).click()
    expect(server.get_by_text("Contient : lait").first).to_be_visible()
    look(server, "service-phone")
    assert server.evaluate("document.documentElement.scrollHeight") <= 2 * PHONE["height"]

    ticket = kitchen.locator(".kitchen-ticket", has=kitchen.get_by_role("heading", name="Table 7"))
    expect(ticket).to_contain_text("Allergies : lait", timeout=15_000)
    look(kitchen, "kitchen-tablet")
    ticket.get_by_role("button", name="Commencer").first.click()
    ticket.get_by_role("button", name="Prêt !").first.click()
    expect(ticket.get_by_role("button", name="Prêt !")).to_have_count(0)
    ticket.get_by_role("button", name="Tout est prêt").click()
    expect(ticket.get_by_role("button", name="Rappeler", exact=True)).to_have_count(3)

    server.reload()
    server.get_by_role("button", name="Tout est servi").click()
    expect(server.locator(".line-served")).to_have_count(3)

    cashier = visit(Role.CASHIER, DESKTOP)
    cashier.goto("/caisse")
    look(cashier, "open-bills-desktop")
    cashier.get_by_role("link", name="Table 7").click()
    cashier.get_by_role("button", name="Présenter l’addition").click()
    cashier.get_by_label("Parts").fill("3")
    cashier.get_by_role("button", name="En parts égales").click()
    cashier.wait_for_url("**parts=3**")  # a picture of a page that is being left fails
    look(cashier, "bill-desktop")
    address = cashier.url
    for _part in range(3):
        cashier.goto(
            address.partition("?")[0] if _part == 2 else f"{address.partition('?')[0]}?by=equal&parts={3 - _part}"
        )
        cashier.get_by_role("button", name="Encaisser").first.click()
    expect(cashier.get_by_text("Cette addition est réglée")).to_be_visible()
    expect(cashier.get_by_role("link", name="Ticket n°")).to_have_count(3)
    look(cashier, "settled-desktop")
    cashier.get_by_role("link", name="Ticket n°").first.click()
    cashier.wait_for_url("**/caisse/tickets/*")
    look(cashier, "receipt-desktop")

    manager = visit(Role.MANAGER, PHONE)
    manager.goto("/clotures")
    manager.get_by_role("button", name="Clôturer la journée").click()
    manager.get_by_role("link", name="Z 1").click()
    expect(manager.get_by_role("heading", name="Clôture Z 1")).to_be_visible()
    look(manager, "closing-phone")


def test_an_evening_of_two_tables_with_moves_a_void_a_split_and_change_to_the_closing(visit: Open) -> None:
    kitchen = visit(Role.KITCHEN, TABLET)
    server, manager, cashier = visit(Role.SERVER, PHONE), visit(Role.MANAGER, PHONE), visit(Role.CASHIER, TABLET)

    def button(page: Page, name: str) -> Locator:
        return page.get_by_role("button", name=name, exact=True)

    def pick(category: str, *dishes: str, seat: str = "") -> None:
        server.get_by_role("link", name=category, exact=True).click()
        for dish in dishes:
            server.get_by_role("button", name=f"Un de plus : {dish}").last.click()
        if seat:
            server.get_by_text("Place, service").click()
            server.get_by_label("Place", exact=True).fill(seat)
        server.get_by_role("button", name="Envoyer").click()
        expect(server.locator(".order tbody")).to_contain_text(dishes[-1])

    # The bar's regulars at table 3, friends of theirs at table 2.
    orders = {}
    for table in ("2", "3"):
        server.goto("/salle")
        server.get_by_role("link", name=re.compile(rf"^{table} ")).first.click()
        button(server, "Installer les convives").click()
        server.wait_for_url("**/service/*")
        orders[table] = server.url.rpartition("/")[2]
    pick("Entrées", "Terrine de campagne", seat="1")
    pick("Plats", "Dos de cabillaud, beurre blanc", "Croque-monsieur", seat="2")
    kitchen.goto("/cuisine")
    ticket = kitchen.locator(".kitchen-ticket", has=kitchen.get_by_role("heading", name="Table 3", exact=True))
    expect(ticket).to_contain_text("Croque-monsieur")

    # One dish moves to the friends, the others to a free table; the kitchen hears of both.
    server.get_by_text("Déplacer des lignes").click()
    server.get_by_label("1 × Croque-monsieur").check()
    button(server, "Vers la table 2").click()
    expect(server.locator(".order tr[class^='line-']")).to_have_count(2)
    server.get_by_text("Déplacer ou réunir").click()
    server.get_by_label("Vers une table libre").select_option(label="4")
    button(server, "Déplacer").click()
    expect(server.get_by_role("heading", name="Table 4", exact=True)).to_be_visible()
    moved = kitchen.locator(".kitchen-ticket", has=kitchen.get_by_role("heading", name="Table 4", exact=True))
    expect(moved).to_contain_text("Vient de la table 3")
    friends = kitchen.locator(".kitchen-ticket", has=kitchen.get_by_role("heading", name="Table 2", exact=True))
    expect(friends).to_contain_text("1 × Croque-monsieur ← 3")
    look(kitchen, "kitchen-changes-tablet")
    button(moved, "Vu").click()
    expect(moved).not_to_contain_text("Vient de la table 3")

    # The guests no longer want a dish: a manager voids it, and the kitchen has to see that.
    manager.goto(f"/service/{orders['2']}")
    manager.locator(".order summary", has_text="Croque-monsieur").click()
    manager.get_by_label("Motif").first.fill("plus faim")
    button(manager, "Supprimer cette ligne").click()
    expect(manager.locator(".line-voided")).to_have_count(1)
    expect(friends.locator(".line-voided")).to_contain_text("Croque-monsieur")
    look(kitchen, "kitchen-void-tablet")
    friends.locator(".line-voided").get_by_role("button", name="Vu").click()
    expect(friends.locator(".line-voided")).to_have_count(0)

    # The regulars: prepared, served, and the bill by seat; the first pays in cash and gets change, with a tip by card.
    button(moved, "Tout est prêt").click()
    server.goto(f"/service/{orders['3']}")
    button(server, "Tout est servi").click()
    button(server, "Présenter l’addition").click()
    address = f"/caisse/{orders['3']}"
    cashier.goto(f"{address}?by=seat")
    shares = cashier.locator("ul.shares > li", has=button(cashier, "Encaisser"))
    expect(shares).to_have_count(2)
    look(cashier, "bill-by-seat-tablet")
    share = shares.first
    share.get_by_label("Règlement").select_option("cash")
    share.get_by_label("Remis en espèces").fill("50")
    button(share, "Encaisser").click()
    # The change is shown while it is typed, too; only a recorded payment is deducted.
    expect(cashier.get_by_text("Déjà payé")).to_be_visible()
    expect(cashier.get_by_text("À rendre").first).to_be_visible()
    look(cashier, "change-tablet")
    cashier.goto(f"{address}?by=seat")
    expect(shares).to_have_count(1)
    shares.first.get_by_label("Pourboire").fill("2")
    button(shares.first, "Encaisser").click()
    expect(cashier.get_by_text("Cette addition est réglée")).to_be_visible()

    # The friends have left without anything to pay.
    manager.goto(f"/service/{orders['2']}")
    button(manager, "Les clients sont partis").click()
    manager.wait_for_url("**/salle")

    manager.goto("/clotures/x")
    expect(manager.get_by_text("Espèces").first).to_be_visible()
    look(manager, "x-phone")
    manager.goto("/clotures")
    button(manager, "Clôturer la journée").click()
    manager.get_by_role("link", name=re.compile(r"^Z \d")).first.click()
    expect(manager.get_by_text("Pourboires").first).to_be_visible()
    look(manager, "z-phone")


def test_a_manager_writes_a_dish_and_a_guest_sees_it(visit: Open) -> None:
    manager = visit(Role.MANAGER, TABLET)
    manager.goto("/carte")
    manager.get_by_role("link", name="Ajouter un plat").click()
    manager.get_by_label("Nom", exact=True).fill("Velouté de potimarron")
    manager.get_by_label("Prix TTC, €").fill("7,90")
    manager.get_by_label("Lait", exact=True).check()
    manager.get_by_label("Question, par exemple « Cuisson »").fill("Pain")
    manager.get_by_label("Option", exact=True).first.fill("Complet")
    look(manager, "dish-tablet")
    manager.get_by_role("button", name="Enregistrer").click()
    expect(manager.get_by_role("link", name="Velouté de potimarron")).to_be_visible()
    guest = visit(None, PHONE)
    guest.goto("/")
    dish = guest.locator(".dish", has_text="Velouté de potimarron")
    expect(dish).to_contain_text("7,90")
    expect(dish).to_contain_text("Complet")


def test_a_set_menu_is_written_ordered_on_a_phone_and_paid_as_one(visit: Open) -> None:
    manager = visit(Role.MANAGER, TABLET)
    manager.goto("/carte/offres")
    manager.get_by_role("link", name="Ajouter une formule").click()
    manager.get_by_label("Nom", exact=True).fill("Formule du marché")
    manager.get_by_label("Prix TTC, €").fill("24")
    for number, (name, dishes) in enumerate((("Entrée", (EGGS,)), ("Plat", (STEW, 6)))):
        course = manager.locator("fieldset.group").nth(number)
        course.get_by_label("Nom, par exemple « Entrée »").fill(name)
        for row, dish in enumerate(dishes):
            course.locator(f"select[name$='-dish-{row}']").select_option(str(dish))
        course.get_by_label("Supplément, €").nth(len(dishes) - 1).fill("2,50")
    look(manager, "set-menu-tablet")
    manager.get_by_role("button", name="Enregistrer").click()
    expect(manager.get_by_role("link", name="Formule du marché")).to_be_visible()
    guest = visit(None, PHONE)
    guest.goto("/")
    row = guest.locator(".set-menu", has_text="Formule du marché")
    steak = row.locator(".choice").nth(2)
    expect(steak.locator(".options").first).to_be_hidden()
    steak.get_by_role("radio").first.check()
    expect(steak.locator(".options").first).to_be_visible()
    expect(guest.locator(".total")).to_contain_text("26,50")
    guest.get_by_label("Votre prénom").fill("Zoé")
    guest.get_by_role("button", name="Commander").click()
    # The starter is not chosen: the browser says so, and nothing is sent.
    expect(guest.locator(".set-menu")).to_be_visible()
    row.locator(".choice").first.get_by_role("radio").check()
    expect(guest.locator(".total")).to_contain_text("29,00")
    look(guest, "set-menu-phone")
    guest.get_by_role("button", name="Commander").click()
    expect(guest.get_by_role("row").filter(has_text="Formule du marché")).to_contain_text("29,00")
    look(guest, "set-menu-ordered-phone")


def fill_the_house(page: Page, terminal: ThreadingHTTPServer) -> dict[str, str]:
    """Have a booking, a paid and an unpaid bill, payments at providers, and whatever else has a page of its own.

    Returns the last part of each page's address, by the name of its value in the route.
    """

    def call(path: str, body: object = None) -> dict[str, Any]:
        reply = page.request.post(
            f"/api/v1{path}", data=json.dumps(body) if body is not None else None,
            headers={"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex},
        )  # fmt: skip
        assert reply.ok, reply.text()
        found: dict[str, Any] = reply.json()
        return found

    def bill(table: int) -> str:
        order: str = call("/seatings", {"table": table, "covers": 2, "allergies": ["milk"]})["reference"]
        call(f"/orders/{order}/lines", {"lines": [{"dish": dish, "quantity": 2} for dish in (STEW, TATIN, WINE)]})
        call(f"/orders/{order}/bill")
        return order

    def charge(order: str, amount: int, channel: str = "card_terminal") -> str:
        body = {"channel": channel, "amount": amount}
        attempt: str = call(f"/orders/{order}/payment-attempts", body)["reference"]
        deadline = time.monotonic() + 60
        while page.request.get(f"/api/v1/payment-attempts/{attempt}").json()["state"] == "started":
            if channel == "online_payment" and page.request.get(f"/api/v1/payment-attempts/{attempt}").json()["page"]:
                break
            assert time.monotonic() < deadline
        return attempt

    tomorrow = (datetime.now(ZoneInfo("Europe/Paris")) + timedelta(days=1)).replace(hour=20, minute=30, second=0)
    booking = call("/bookings", {"starts_at": tomorrow.replace(microsecond=0).isoformat(), "covers": 4,
                                 "guest": "Marie-Christine Lefebvre-Duchêne", "contact": "marie-christine@example.org",
                                 "note": "Un gâteau sera apporté.", "allergies": ["gluten"]})  # fmt: skip
    call("/waiting-list", {"guest": "Noé", "covers": 2, "quoted_minutes": 20})
    call("/printers", {"name": "Bar", "host": "127.0.0.1", "port": 9, "stations": ["bar"], "receipts": True})
    call("/ingredients", {"name": "Beurre", "unit": "gram", "quantity": 500, "low_at": 800})
    call("/till/sessions", {"count": {"5000": 2}})
    paid, open_bill = bill(8), bill(9)
    due = page.request.get(f"/api/v1/orders/{paid}/bill").json()["due"]
    call(f"/orders/{paid}/payments", {"amount": due - 1000, "method": "cash", "tendered": due, "tip": 150})
    refunded = charge(paid, 1000)
    address = "12 rue de la République\n69002 Lyon"
    invoice = call(f"/orders/{paid}/invoices", {"customer": "Les Amis du Vin", "address": address})
    declined, online = charge(open_bill, 1091), charge(open_bill, 700, "online_payment")
    # From now on the terminal does not answer: the outcome of this charge stays unknown.
    terminal.shutdown()
    terminal.server_close()
    unknown = charge(open_bill, 500)
    receipt = page.request.get(f"/api/v1/orders/{paid}/bill").json()["payments"][0]["receipts"][0]["number"]
    order = call("/seatings", {"table": 5, "covers": 3})["reference"]
    call(f"/orders/{order}/lines", {"lines": [{"dish": EGGS, "quantity": 2}, {"dish": STEW, "note": "sans sel"}]})
    taken = call("/orders", {"guest": "Ana", "lines": [{"dish": EGGS}]})["reference"]
    course = {"name": "Plat", "course": "main", "choices": [{"dish": STEW}, {"dish": 6, "supplement": 300}]}
    menu = call(
        "/set-menus", {"name": "Formule du midi", "price": 1950, "description": "Plat et café", "courses": [course]}
    )
    happy = {"name": "Apéro", "percent": 20, "starts": "00:00:00", "ends": "00:00:00", "items": [{"dish": WINE}]}
    happy_hour = call("/happy-hours", happy)["id"]
    call(f"/orders/{order}/lines", {"menus": [{"set_menu": menu["id"], "dishes": [{"dish": STEW}]}]})
    code = page.request.get("/api/v1/tables/5/code").json()["code"]
    wanted = {"code": code, "guest": "Zoé", "note": "sans sel", "allergies": ["gluten"], "lines": [{"dish": TATIN}]}
    return {
        "code": code, "asked": call("/table-orders", wanted)["reference"],
        "booking": booking["reference"], "paid": paid, "open": open_bill, "order": order, "taken": taken,
        "refunded": refunded, "declined": declined, "online": online, "unknown": unknown,
        "menu": str(menu["id"]), "happy": str(happy_hour), "invoice": str(invoice["number"]), "receipt": str(receipt),
        "closing": str(call("/closings")["number"]),
    }  # fmt: skip


#: Addresses that are no pages of their own; and that of a closed month, for which a month would have to end.
NO_PAGES = {
    "static", "network.pulse", "network.worker", "kitchen.stream", "kitchen.board", "printers.paper",
    "reports.report_csv", "closings.anchor", "closings.export", "closings.period_page",
}  # fmt: skip


def test_every_page_of_the_house_is_accessible_on_a_phone_and_on_a_tablet(
    visit: Open, house: str, terminal: ThreadingHTTPServer, one_app: Flask
) -> None:
    page = visit(Role.ADMIN, PHONE)
    known = fill_the_house(page, terminal)
    pages = {
        None: "/ connexion hors-ligne reserver reserver/{booking} commandes/{taken} table/{code} table/{code}/{asked}",
        Role.KITCHEN: "cuisine",
        Role.HOST: "salle salle/tables/4 reservations?jour={tomorrow} reservations/nouvelle reservations/{booking} "
        "reservations/clients reservations/clients/1 retraits",
        Role.SERVER: "service/{order} service/{taken} service/demandes",
        Role.CASHIER: "caisse caisse/{open} caisse/{paid} caisse/encaissements caisse/encaissements/{refunded} "
        "caisse/encaissements/{declined} caisse/encaissements/{online} caisse/encaissements/{unknown} caisse/factures "
        "caisse/factures/{invoice} caisse/tickets/{receipt} caisse/tiroir caisse/tiroir/1",
        Role.MANAGER: "salle/plan salle/codes clotures clotures/{closing} clotures/x rapports stock stock/1 stock/recettes/6 carte "
        "carte/plats/6 carte/plats/nouveau carte/offres carte/offres/formules/{menu} carte/offres/formules/nouvelle "
        "carte/offres/happy-hours/{happy} carte/offres/happy-hours/nouvelle horaires imprimantes",
        Role.ADMIN: "accueil equipe compte compte/changement",
    }
    known["tomorrow"] = f"{datetime.now(ZoneInfo('Europe/Paris')) + timedelta(days=1):%Y-%m-%d}"
    seen, faults = set(), list[str]()
    routes = one_app.url_map.bind("house")
    for role, addresses in pages.items():
        page.context.clear_cookies()
        if role is not None:
            reply = page.request.post("/api/v1/sessions", data={"username": role.value, "password": PASSWORD})
            page.context.add_cookies([{"name": "session", "value": reply.json()["token"], "url": house}])
        for address in addresses.split():
            answer = page.goto("/" + address.format_map(known).lstrip("/"))
            assert answer is not None
            assert answer.status == 200, address
            seen.add(routes.match(urlsplit(answer.url).path)[0])
            assert page.evaluate("document.documentElement.lang") == "fr"
            # What is folded is there too.
            page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            name = address.strip("/").partition("?")[0].translate(str.maketrans("/", "-", "{}")) or "menu"
            faults += faults_of(page, f"{name}-phone", whole=True)
            page.set_viewport_size(TABLET)
            faults += faults_of(page, f"{name}-tablet", rules=OF_THE_SIZE, whole=True)
            page.set_viewport_size(PHONE)
    assert faults == [], "\n".join(faults)
    every = {rule.endpoint for rule in one_app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    left = {name for name in every - seen - NO_PAGES if not name.startswith(("api_", "openapi."))}
    assert left == set(), "pages that were not opened"


def test_a_table_is_moved_on_the_plan_by_its_arrow_keys(visit: Open) -> None:
    page = visit(Role.ADMIN, TABLET)
    page.goto("/salle/plan")
    table = page.locator("g.table").first
    table.focus()
    with page.expect_response("**/api/v1/tables/*") as saved:
        table.press("ArrowRight")
    assert saved.value.status == 200
    # The forms beside the plan know of the move.
    page.get_by_text("Tables de cette salle").first.click()
    form = page.get_by_role("form", name="Table 1", exact=True)
    form.get_by_label("Places max.").fill("3")
    form.get_by_role("button", name="Enregistrer").click()
    expect(page.locator("g.table").first).to_contain_text("1–3")


def taps_of_the_readme() -> dict[str, int]:
    """How many taps the table of README.md says that each action takes."""
    table = (Path(__file__).parent.parent / "README.md").read_text().partition("## Taps")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {action: int(now.partition(",")[0]) for action, _before, now in rows[2:]}


def test_no_common_act_of_a_server_takes_more_than_three_taps(visit: Open) -> None:
    page, kitchen = visit(Role.SERVER, PHONE), visit(Role.KITCHEN, TABLET)
    page.context.add_init_script(
        "addEventListener('pointerdown', () => { sessionStorage.taps = Number(sessionStorage.taps ?? 0) + 1 }, true)"
    )
    expected, counted = taps_of_the_readme(), dict[str, int]()

    def taps() -> int:
        page.wait_for_load_state()
        # Not `evaluate`, which fails when a page that was asked for arrives meanwhile.
        return int(page.wait_for_function("String(sessionStorage.taps ?? 0)").json_value())

    def do(action: str, *steps: Locator, text: str = "") -> None:
        before = taps()
        for position, step in enumerate(steps):
            step.click()
            if text and position == 1:  # the page focuses the note in an event that comes after the tap
                expect(page.locator("[name^=note-]:focus")).to_have_count(1)
                page.keyboard.type(text)
        page.wait_for_load_state()
        counted[action] = max(counted.get(action, 0), taps() - before)

    def lines(count: int) -> None:
        expect(page.locator(".order tr[class^='line-']")).to_have_count(count)

    def button(name: str) -> Locator:
        return page.get_by_role("button", name=name)

    def link(name: str) -> Locator:
        return page.get_by_role("link", name=name, exact=True)

    def table(name: str) -> Locator:
        return page.locator("a.table", has_text=name).first

    for name in ("11", "10"):
        page.goto("/salle")
        do("seat two guests", table(name), button("Installer les convives"))
        page.wait_for_url("**/service/*")
    page.goto("/salle")
    do("open a table's order", table("10"))
    page.wait_for_url("**/service/*")
    order = page.url.rpartition("/")[2]
    send = button("Envoyer")
    do("order any dish", link("Boissons"), page.locator("[data-place='20'] .more-one"), send)
    lines(1)
    do("order a dish with an option", link("Plats"), page.locator("[data-place='6']").get_by_label("À point"), send)
    lines(2)
    expect(page.get_by_text("À point, Frites maison")).to_be_visible()
    do("order a dish with a note", link("Plats"), page.locator("[data-place='7'] summary"), send, text="sans sel")
    lines(3)
    expect(page.locator(".order").get_by_text("sans sel")).to_be_visible()
    do("order the same drinks again", button("Même tournée"))
    lines(4)
    for category in ("Entrées", "Plats", "Desserts", "Boissons"):
        link(category).click()
        look(page, f"four-lines-{category}-phone")
        assert page.evaluate("document.documentElement.scrollHeight") <= 2 * PHONE["height"], category
    page.reload()
    do("order one of the most ordered dishes", page.locator("#c0 .more-one").first, send)
    lines(5)
    noted = page.locator(".order summary", has_text="sans sel")
    do("order one more of a line", noted, button("Encore un").locator("visible=true"))
    lines(6)
    hold = button("En attente")
    do("hold a dish for later", link("Desserts"), page.locator("[data-place='13'] .more-one"), hold)
    lines(7)
    do("hold a dish for later", link("Entrées"), page.locator("[data-place='2'] .more-one"), hold)
    lines(8)
    do("send all that is held", button("Tout envoyer"))
    expect(page.locator(".line-fired")).to_have_count(8)
    folded = page.get_by_text("Déplacer des lignes")
    do("move a line to another table", folded, page.locator("[name=lines]").first, button("Vers la table 11"))
    lines(7)
    ready = kitchen.request.post(f"/api/v1/kitchen/orders/{order}/ready")
    assert ready.ok, ready.text()
    page.reload()
    do("mark all that is ready as served", button("Tout est servi"))
    expect(page.locator(".line-served")).to_have_count(7)
    # Two portions of one dish with options of their own.
    link("Plats").click()
    page.locator("[data-place='6']").get_by_label("Bien cuit").click()
    page.locator("[data-place='6'] summary").click()
    page.locator("[data-place='6']").get_by_role("button", name="Un autre, différent").click()
    page.locator("[data-place^='6.']:not([data-place$='.f'])").get_by_label("Saignant").click()
    send.click()
    lines(9)
    sizes = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".filter((entry) => !entry.name.endsWith('/pouls')).map((entry) => entry.decodedBodySize)"
    )
    assert sum(sizes) <= 100_000
    assert counted == expected
    assert len(counted) == 12
    assert max(counted.values()) <= 3


def test_what_is_tapped_without_a_connection_is_sent_once_when_it_is_back(browser: Browser, house: str) -> None:
    def person(role: Role, size: dict[str, int]) -> Page:
        page = browser.new_context(viewport=size, locale="fr-FR", base_url=house).new_page()
        page.goto("/connexion")
        page.get_by_label("Identifiant").fill(role.value)
        page.get_by_label("Mot de passe").fill(PASSWORD)
        page.get_by_role("button", name="Se connecter").click()
        page.wait_for_url("**/accueil")
        return page

    server, kitchen = person(Role.SERVER, PHONE), person(Role.KITCHEN, TABLET)
    server.goto("/salle/tables/13")
    server.get_by_role("button", name="Installer les convives").click()
    server.wait_for_url("**/service/*")
    order = server.url.rpartition("/")[2]
    server.get_by_role("link", name="Plats", exact=True).click()
    server.get_by_role("button", name="Un de plus : Bœuf bourguignon").first.click()
    server.get_by_role("button", name="Envoyer").click()
    expect(server.locator(".line-fired")).to_have_count(1)
    server.evaluate("navigator.serviceWorker.ready.then(() => true)")
    kitchen.goto("/cuisine")
    ticket = kitchen.locator(".kitchen-ticket", has=kitchen.get_by_role("heading", name="Table T1"))
    expect(ticket).to_be_visible()
    server.reload()
    kitchen.reload()

    lost = time.monotonic()
    for page in (server, kitchen):
        page.context.set_offline(True)
    for page in (server, kitchen):
        expect(page.locator("#network")).to_contain_text("Pas de connexion. État à", timeout=5000)
    assert time.monotonic() - lost < 5
    expect(kitchen.locator(".live")).to_have_text("Connexion perdue")
    # Two rounds of dishes, and all of a ticket.
    for category, dish in (("Desserts", "Tarte Tatin"), ("Entrées", "Terrine de campagne")):
        server.get_by_role("link", name=category, exact=True).click()
        server.get_by_role("button", name=f"Un de plus : {dish}").last.click()
        server.get_by_role("button", name="Envoyer").click()
        expect(server.locator("#network li", has_text=f"1 × {dish}")).to_be_visible()
    look_offline(server, "offline-phone")
    ticket.get_by_role("button", name="Tout est prêt").click()
    expect(kitchen.locator("#network li")).to_have_text("Tout est prêt")
    # The page opens again without a connection, and still knows what waits.
    server.reload()
    expect(server.get_by_role("heading", name="Table T1")).to_be_visible()
    expect(server.locator("#network li")).to_have_count(2)
    server.goto("/reservations")
    expect(server.get_by_role("heading", name="Pas de connexion")).to_be_visible()

    kitchen.context.set_offline(False)
    expect(kitchen.locator("#network")).to_be_hidden()
    server.context.set_offline(False)
    # The page sends what waits, and then shows what came of it.
    server.goto(f"/service/{order}")
    expect(server.locator("#network")).to_be_hidden()
    expect(server.locator("tr.line-fired")).to_have_count(2)
    expect(server.locator("tr.line-ready")).to_have_count(1)
    for dish in ("Bœuf bourguignon", "Tarte Tatin", "Terrine de campagne"):
        expect(server.locator(".order tbody tr", has_text=dish)).to_have_count(1)
    for page in (server, kitchen):
        page.context.close()


def look_offline(page: Page, name: str) -> None:
    """Keep a picture of a page that has no connection."""
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def open_page(page: Page, address: str) -> None:
    """Open a page, and again where the machine was so slow that the service worker took the connection for lost."""
    page.goto(address)
    while page.get_by_role("heading", name="Pas de connexion").count():
        page.reload()


def test_below_a_path_pages_scripts_and_the_service_worker_stay_below_it(
    browser: Browser, sqlite_template: Path, tmp_path: Path
) -> None:
    file = tmp_path / "restaurant.sqlite3"
    shutil.copy(sqlite_template, file)
    settings = make_settings(f"sqlite:///{file}")
    with Database(settings) as database, database.writing() as session:
        people.add_person(session, username="admin", name="Ada", role=Role.ADMIN, password=PASSWORD)
    outside: list[str] = []
    with serving(settings, tmp_path / "log", RESTAURANT_PREFIX="/maison/resto") as (_process, port, _probes):
        house = f"http://127.0.0.1:{port}"
        context = browser.new_context(viewport=DESKTOP, locale="fr-FR", base_url=house)
        context.on(
            "request",
            lambda sent: outside.append(sent.url) if not sent.url.startswith(f"{house}/maison/resto/") else None,
        )
        page = context.new_page()
        page.goto("/maison/resto/salle")
        page.get_by_label("Identifiant").fill("admin")
        page.get_by_label("Mot de passe").fill(PASSWORD)
        page.get_by_role("button", name="Se connecter").click()
        page.wait_for_url("**/maison/resto/salle")
        assert {cookie["path"] for cookie in context.cookies()} == {"/maison/resto"}
        scope = page.evaluate("navigator.serviceWorker.ready.then((found) => found.scope)")
        assert scope == f"{house}/maison/resto/"
        # A script that calls the API: a table is moved, and stays where it was put.
        page.get_by_role("link", name="Disposer les tables").click()
        table = page.locator(".plan.editing .table").first
        before = table.get_attribute("data-x")
        with page.expect_response("**/maison/resto/api/v1/tables/*") as moved:
            table.press("ArrowRight")
        assert moved.value.ok
        page.reload()
        assert page.locator(".plan.editing .table").first.get_attribute("data-x") != before
        # A form that is sent by a script, and the page that it leads to.
        open_page(page, "/maison/resto/salle")
        page.locator("a.table").first.click()
        page.get_by_role("button", name="Installer les convives").click()
        page.wait_for_url("**/maison/resto/service/*")
        open_page(page, "/maison/resto/cuisine")
        expect(page.get_by_role("status").first).to_have_text("En direct")
        page.context.set_offline(True)
        page.goto("/maison/resto/reservations")
        expect(page.get_by_role("heading", name="Pas de connexion")).to_be_visible()
        page.context.set_offline(False)
        page.goto("/maison/resto/compte")
        page.get_by_role("button", name="Se déconnecter").click()
        page.wait_for_url("**/maison/resto/")
        context.close()
    assert outside == []
