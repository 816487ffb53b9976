"""Invoices: issued from a paid bill, numbered without a gap, corrected by credit notes only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient

from restaurant.billing import verification
from restaurant.database import Database
from restaurant.people.permissions import Role
from support import EGGS, STEW, WINE, SignIn, billed, make_settings, pay, post

CUSTOMER = {"customer": "Durand SARL", "address": "2 rue Neuve\n69001 Lyon", "siret": "732 829 320 00074"}


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def faults(database: Database) -> list[str]:
    with database.snapshot() as session:
        return verification.verify(session)[1]


def test_an_invoice_says_what_was_sold_to_whom_and_is_corrected_by_credit_notes(
    server: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    order = billed(server, EGGS, STEW, WINE)
    assert post(server, f"/orders/{order}/invoices", CUSTOMER).get_json()["type"].endswith(":not-paid")
    post(manager, f"/orders/{order}/discounts", {"amount": 200, "reason": "attente"})
    pay(server, order, 1000, tip=100)
    paid = pay(server, order, 2000, method="cash").get_json()["reference"]
    post(manager, f"/payments/{paid}/refunds", {"amount": 300, "reason": "froid"})
    invoice = post(server, f"/orders/{order}/invoices", CUSTOMER).get_json()
    assert (invoice["number"], invoice["siret"], invoice["total"]) == (1, "73282932000074", 2700)
    assert (invoice["discount"], invoice["refunded"], invoice["by_method"]) == (200, 300, {"card": 1000, "cash": 1700})
    sold = sum(line["quantity"] * line["unit_price"] for line in invoice["lines"])
    assert sold - 200 - 300 == 2700 == sum(share["total"] for share in invoice["shares"])
    assert "SIRET 732 829 320 00074" in invoice["seller"]
    # One bill has one invoice.
    assert post(server, f"/orders/{order}/invoices", CUSTOMER).get_json()["type"].endswith(":invoiced")
    # A refund issues a credit note, and only a manager cancels what is left.
    post(manager, f"/payments/{paid}/refunds", {"amount": 100, "tip": 0, "reason": "geste"})
    assert post(server, "/invoices/1/credit-notes", {"reason": "nom"}).status_code == 403
    note = post(manager, "/invoices/1/credit-notes", {"reason": "nom"}).get_json()
    assert (note["number"], note["corrects"], note["total"], note["lines"]) == (3, 1, -2600, [])
    assert post(manager, "/invoices/1/credit-notes", {"reason": "nom"}).status_code == 409
    assert post(manager, "/invoices/3/credit-notes", {"reason": "nom"}).status_code == 409
    again = post(server, f"/orders/{order}/invoices", CUSTOMER | {"customer": "Dupont SARL"}).get_json()
    assert (again["number"], again["total"], again["refunded"]) == (4, 2600, 400)
    of_order = manager.get(f"/api/v1/orders/{order}/invoices").get_json()["items"]
    assert sum(entry["total"] for entry in of_order) == 2600
    assert [entry["number"] for entry in server.get("/api/v1/invoices").get_json()["items"]] == [4, 3, 2, 1]
    assert faults(database) == []


def test_many_who_want_an_invoice_at_once_get_one_number_each(app: Flask, server: FlaskClient, sign_in: SignIn) -> None:
    orders = [billed(server, EGGS, table=table) for table in (1, 2, 3)]
    for order in orders:
        pay(server, order, 620)
    clients = [sign_in(Role.CASHIER) for _ in range(6)]

    def ask(number: int) -> int:
        return int(post(clients[number], f"/orders/{orders[number % 3]}/invoices", CUSTOMER).status_code)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, range(6))) == [201, 201, 201, 409, 409, 409]
    found = server.get("/api/v1/invoices").get_json()["items"]
    assert [entry["number"] for entry in found] == [3, 2, 1]


def test_the_pages_of_an_invoice(server: FlaskClient, manager: FlaskClient, database: Database) -> None:
    order = billed(server, EGGS)
    bill = f"/caisse/{order}"
    assert "Établir une facture" not in server.get(bill).text
    pay(server, order, 620)
    assert "Établir une facture" in server.get(bill).text
    form = {"key": "a", **CUSTOMER}
    refused = server.post(f"/caisse/factures/commandes/{order}", data=form | {"siret": "73282932000075"})
    assert (refused.status_code, "SIRET" in refused.text) == (422, True)
    issued = server.post(f"/caisse/factures/commandes/{order}", data=form)
    assert server.post(f"/caisse/factures/commandes/{order}", data=form).location == issued.location
    page = server.get(issued.location).text
    for told in ("Facture F1", "Durand SARL", "69001 Lyon", "73282932000074", "1 rue du Four", "6,20", "5,64", "0,56"):
        assert told in page
    assert "Établir une facture" not in server.get(bill).text
    # A copy that was not counted cannot be printed.
    assert "data-print" not in server.get(f"{issued.location}?impression=1").text
    copies = [server.post(f"{issued.location}/copies", data={"key": key}).location for key in ("a", "a", "b")]
    assert [location.rpartition("=")[2] for location in copies] == ["1", "1", "2"]
    assert "DUPLICATA" not in server.get(copies[0]).text
    assert "DUPLICATA 1" in server.get(copies[2]).text
    credited = manager.post(f"{issued.location}/avoir", data={"key": "c", "reason": "nom"})
    assert "Avoir F2" in manager.get(credited.location).text
    assert "Rectifie la facture F1" in manager.get("/caisse/factures/2").text
    assert "Avoir F2" in server.get("/caisse/factures").text
    assert "Établir une facture" in server.get(bill).text
    assert server.get("/caisse/factures/99").status_code == 404
    # For the accountant, who has the sales in the closings already.
    register = manager.get("/clotures/export?du=2020-01-01&au=2099-12-31&format=invoices").text.splitlines()
    assert [row.split(";")[1:] for row in register[1:]] == [
        ["F1", "", "Durand SARL", "73282932000074", "10", "5,64", "0,56", "6,20"],
        ["F2", "F1", "Durand SARL", "73282932000074", "10", "-5,64", "-0,56", "-6,20"],
    ]
    assert faults(database) == []


def test_an_invoice_needs_the_sellers_address_and_numbers(app: Flask, server: FlaskClient) -> None:
    order = billed(server, EGGS)
    pay(server, order, 620)
    settings = app.extensions["settings"]
    app.extensions["settings"] = make_settings(settings.database_url, registration="")
    refused = post(server, f"/orders/{order}/invoices", CUSTOMER)
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:restaurant:problem:seller-missing")
