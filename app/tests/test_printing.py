"""Printing: what is on the paper, that nothing is lost or printed twice, and that a dead printer is reported."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from restaurant.database import Database
from restaurant.gauges import read_gauges
from restaurant.people.permissions import Role
from restaurant.printing import spooler as spooling
from restaurant.printing.escpos import COLUMNS, encode, open_drawer, printable, row, rule
from restaurant.printing.escpos import text as paragraph
from restaurant.printing.models import JobStatus, PrintJob
from restaurant.printing.spooler import PrinterError, Spooler, send
from restaurant.printing.virtual import Paper, VirtualPrinter, draw, read
from support import EGGS, STEW, WINE, SignIn, add, billed, free_port, order_body, pay, place, post, seat


@pytest.fixture
def printer() -> Iterator[VirtualPrinter]:
    with VirtualPrinter() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(spooling, "_PRINT_SECONDS", 2.0)
    monkeypatch.setattr(spooling, "_CONNECT_SECONDS", 2.0)


def add_printer(client: FlaskClient, printer: VirtualPrinter | int, **changes: Any) -> int:
    port = printer if isinstance(printer, int) else printer.port
    body = {"name": f"P{uuid.uuid4().hex[:8]}", "host": "127.0.0.1", "port": port, **changes}
    reply = client.post("/api/v1/printers", json=body)
    assert reply.status_code == 201, reply.text
    key: int = reply.get_json()["id"]
    return key


def print_all(database: Database) -> int:
    """Print what is due, whenever it would have been tried again; returns how many jobs were tried."""
    spooler, tried = Spooler(database), 0
    with database.writing() as session:
        session.execute(update(PrintJob).values(next_at=PrintJob.created_at))
    while spooler.work():
        tried += 1
    return tried


def printed(printer: VirtualPrinter, width: int = 80) -> list[Paper]:
    return [read(job, width=width) for job in printer.settled()]


def lines(paper: Paper) -> list[str]:
    return [line for line in paper.text.split("\n") if line.strip()]


def jobs(database: Database) -> list[tuple[str, str, int]]:
    with database.reading() as session:
        return [
            (job.kind.value, job.status.value, job.attempts)
            for job in session.scalars(select(PrintJob).order_by(PrintJob.id))
        ]


def test_a_document_fits_the_paper_and_keeps_amounts_at_the_edge() -> None:
    document = [
        paragraph("Chez Œdipe", bold=True, large=True, center=True), rule(),
        row("2 x Blanquette de veau à l’ancienne, riz pilaf et petits légumes", "49,80\u00a0€"),
        paragraph("l’été… «\u202fà point\u202f»"), open_drawer(),
    ]  # fmt: skip
    for width, columns in COLUMNS.items():
        paper = read(encode(document, width=width), width=width)
        found = lines(paper)
        assert found[0] == "Chez OEdipe"
        assert found[1] == "-" * columns
        assert found[2].endswith("49,80 €")
        assert len(found[2]) == columns
        assert max(map(len, found)) <= columns
        assert found[-1] == "l'été... « à point »"
        assert (paper.drawer, len(paper.sheets)) == (1, 1)
        assert paper.sheets[0][0].centered
        assert draw(paper).startswith("<svg ")


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw loads tables of Unicode
@given(
    st.lists(st.tuples(st.text(max_size=120), st.text(max_size=14), st.booleans()), max_size=6),
    st.sampled_from([58, 80]),
)
def test_whatever_people_typed_the_printer_obeys_only_the_commands(
    rows: list[tuple[str, str, bool]], width: int
) -> None:
    document = [
        block for left, right, large in rows for block in (row(left, right), paragraph(left, large=large, center=large))
    ]
    paper = read(encode(document, width=width), width=width)
    assert (paper.drawer, len(paper.sheets)) == (0, 1 if rows else 0)
    for sheet in paper.sheets:
        assert all(line.cells <= COLUMNS[width] for line in sheet)


def test_control_characters_of_a_name_do_not_reach_the_printer() -> None:
    assert printable("Ana\x1bp\x00\x19\xfa\x1dV\x00") == "Ana p  ú V "
    assert printable("Łukasz 漢字 ñ") == "?ukasz ?? ñ"


def test_tickets_go_to_the_printers_of_their_stations(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager, server = sign_in(Role.MANAGER), sign_in(Role.SERVER)
    with VirtualPrinter() as bar:
        add_printer(manager, printer, stations=["hot", "cold"])
        add_printer(manager, bar, stations=["bar"], width=58)
        order = seat(server, 2, allergies=["eggs"])["reference"]
        add(server, order, EGGS, STEW, note="sans sel")
        add(server, order, WINE)
        add(server, order, STEW, hold=True)
        reply = place(client, order_body(guest="Zoé", note="pour 20 h"))
        assert reply.status_code == 201
        assert print_all(database) == 3
        kitchen, drinks = printed(printer), printed(bar, 58)
    assert [len(kitchen), len(drinks)] == [2, 1]
    first = kitchen[0].text
    assert "Table 2" in first
    assert "ALLERGIES : oeufs" in first
    assert "CONTIENT : oeufs" in first
    assert first.count("! sans sel") == 2
    assert "1 x " in first
    assert "Vin" not in first
    assert "2 convives - Server" in first
    assert ("Zoé" in kitchen[1].text, "emporter" in kitchen[1].text, "pour 20 h" in kitchen[1].text) == (True,) * 3
    assert all(status == "printed" for _kind, status, _attempts in jobs(database))


def test_a_void_is_printed_and_what_was_never_sent_is_not(
    sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager = sign_in(Role.MANAGER)
    add_printer(manager, printer, stations=["hot", "cold"])
    order = seat(manager)["reference"]
    sent = add(manager, order, EGGS, quantity=3)["lines"][0]["id"]
    held = add(manager, order, EGGS, hold=True)["lines"][-1]["id"]
    post(manager, f"/orders/{order}/lines/{held}/void", {"reason": "x"})
    assert post(manager, f"/orders/{order}/lines/{sent}/void", {"reason": "x", "quantity": 1}).status_code == 200
    print_all(database)
    ticket, void = printed(printer)
    assert ("SUPPRIMÉ" in ticket.text, "SUPPRIMÉ" in void.text, "1 x" in void.text) == (False, True, True)


def test_a_change_of_what_is_being_cooked_is_printed(
    sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager = sign_in(Role.MANAGER)
    add_printer(manager, printer, stations=["hot"])
    order, other = seat(manager)["reference"], seat(manager, 2)["reference"]
    stew, _wine = (line["id"] for line in add(manager, order, STEW, WINE)["lines"])
    assert post(manager, f"/orders/{order}/transfer", {"table": 5}).status_code == 200
    version = manager.get(f"/api/v1/orders/{order}").headers["ETag"]
    guests = {"covers": 2, "guest": "", "note": "pressés", "allergies": ["celery"]}
    assert manager.put(f"/api/v1/orders/{order}/guests", json=guests, headers={"If-Match": version}).status_code == 200
    moved = post(manager, f"/orders/{order}/lines/transfer", {"into": other, "lines": [stew]})
    assert moved.status_code == 200, moved.text
    # Nothing of it is in the kitchen now.
    assert post(manager, f"/orders/{order}/transfer", {"table": 6}).status_code == 200
    print_all(database)
    ticket, table, note, allergies, line = (paper.text for paper in printed(printer))
    assert "MODIFIÉ" not in ticket
    assert all("MODIFIÉ" in text and "1 x B" in text for text in (table, note, allergies, line))
    assert ("Vient de la table 1" in table, "Table 5" in table) == (True, True)
    assert "pressés" in note
    assert "ALLERGIES : céleri" in allergies
    assert ("Table 2" in line, "Vient de la table 5" in line) == (True, True)
    assert {kind for kind, _status, _attempts in jobs(database)} == {"ticket", "change"}


def test_a_refused_order_prints_nothing(client: FlaskClient, sign_in: SignIn, database: Database) -> None:
    add_printer(sign_in(Role.MANAGER), free_port(), stations=["hot", "cold", "bar", "pastry"])
    assert place(client, order_body(lines=[{"dish": EGGS}, {"dish": 9999}])).status_code == 422
    assert jobs(database) == []
    assert place(client, order_body(), key="same").status_code == 201
    assert place(client, order_body(), key="same").status_code == 201
    assert len(jobs(database)) == 1


def test_receipts_are_printed_once_marked_as_duplicates_afterwards_and_open_the_drawer(
    sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager = sign_in(Role.MANAGER)
    key = add_printer(manager, printer, receipts=True, drawer=True, width=58)
    order = billed(manager)
    paid = pay(manager, order, 1000, method="cash", tendered=2000)
    assert paid.status_code == 201, paid.text
    number = 1
    form = {"key": "k", "printer": str(key)}
    assert [manager.post(f"/imprimer/recus/{number}", data=form).status_code for _ in range(2)] == [303, 303]
    assert post(manager, f"/receipts/{number}/print", {"printer": key}).status_code == 201
    print_all(database)
    drawer, first, second = printed(printer, 58)
    assert (drawer.drawer, drawer.sheets) == (1, [])
    assert ("DUPLICATA" in first.text, "DUPLICATA 1" in second.text) == (False, True)
    assert "1 rue du Four" in first.text
    assert "SIRET" in first.text
    assert any(line.endswith("10,00 €") and "Pay" in line for line in lines(first))
    assert any(line.startswith("Rendu") or line.endswith("10,00 €") for line in lines(first))
    assert "TVA" in first.text
    assert f'name="printer" value="{key}"' in manager.get(f"/caisse/tickets/{number}").text
    assert post(manager, f"/receipts/{number}/print", {"printer": 999}).status_code == 404


def test_x_and_z_are_printed(sign_in: SignIn, database: Database, printer: VirtualPrinter) -> None:
    manager = sign_in(Role.MANAGER)
    key = add_printer(manager, printer, receipts=True)
    order = billed(manager)
    pay(manager, order, 2000, tip=150)
    assert manager.post("/imprimer/x", data={"printer": str(key)}).status_code == 303
    closing = post(manager, "/closings", None).get_json()
    assert manager.post(f"/imprimer/z/{closing['number']}", data={"printer": str(key)}).status_code == 303
    print_all(database)
    x, z = printed(printer)
    assert "(X)" in x.text
    assert "Z 1" in z.text
    assert all(any(line.endswith("20,00 €") for line in lines(paper)) for paper in (x, z))
    assert "1,50 €" in z.text


def test_a_dead_printer_keeps_its_jobs_in_order_and_is_reported(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager, cook = sign_in(Role.MANAGER), sign_in(Role.KITCHEN)
    dead = free_port()
    key = add_printer(manager, dead, name="Chaud", stations=["hot", "cold"])
    add_printer(manager, printer, stations=["bar"])
    for guest in ("Un", "Deux", "Trois"):
        place(client, order_body(guest=guest), key=guest)
    place(client, order_body(guest="Bar", lines=[{"dish": WINE}]), key="bar")
    assert print_all(database) == 2
    assert len(printer.settled()) == 1
    shown = manager.get("/api/v1/printers").get_json()["items"][0]
    assert (shown["name"], shown["waiting"], shown["trouble"]) == ("Chaud", 3, "not_reachable")
    assert shown["failing_since"]
    for page in (manager.get("/imprimantes"), cook.get("/cuisine"), cook.get("/cuisine/tableau")):
        assert "Chaud" in page.text
    assert "injoignable" in manager.get("/imprimantes").text
    with database.reading() as session:
        gauges = read_gauges(session, late=spooling.LEASE)
        assert (gauges.print_jobs_waiting, gauges.printers_failing) == (3, 1)
    with VirtualPrinter(port=dead) as back:
        assert print_all(database) == 3
        assert ["Un" in paper.text or "Deux" in paper.text or "Trois" in paper.text for paper in printed(back)] == [
            True
        ] * 3
        assert [next(name for name in ("Un", "Deux", "Trois") if name in paper.text) for paper in printed(back)] == [
            "Un", "Deux", "Trois",
        ]  # fmt: skip
        assert "DÉJÀ IMPRIMÉ" not in printed(back)[0].text
    with database.reading() as session:
        assert read_gauges(session, late=spooling.LEASE).printers_failing == 0
    assert manager.get("/api/v1/printers").get_json()["items"][0]["trouble"] is None
    assert 'role="alert"' not in cook.get("/cuisine/tableau").text
    assert manager.delete(f"/api/v1/printers/{key}", headers={"If-Match": '"1"'}).status_code == 204


def test_a_printer_without_paper_or_that_breaks_off_is_tried_again(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    add_printer(sign_in(Role.MANAGER), printer, stations=["cold", "hot"])
    place(client, order_body(guest="Ana"))
    printer.paper = False
    print_all(database)
    printer.paper, printer.breaks = True, True
    print_all(database)
    printer.breaks = False
    print_all(database)
    [paper] = printed(printer)
    assert jobs(database) == [("ticket", "printed", 3)]
    # Only what may have been printed before says so.
    assert "DÉJÀ IMPRIMÉ" in paper.text
    printer.answers = False
    place(client, order_body(guest="Bob"), key="b")
    print_all(database)
    assert "Bob" in printed(printer)[-1].text
    assert "DÉJÀ IMPRIMÉ" not in printed(printer)[-1].text


def test_of_many_processes_one_prints_each_job(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    add_printer(sign_in(Role.MANAGER), printer, stations=["cold", "hot"])
    for number in range(6):
        place(client, order_body(guest=f"Client {number}"), key=str(number))
    barrier = threading.Barrier(4)

    def run(_number: int) -> None:
        barrier.wait()
        spooler = Spooler(database)
        for _turn in range(60):
            spooler.work()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    found = [next(line for line in lines(paper) if "Client" in line) for paper in printed(printer)]
    assert found == [f"Client {number}" for number in range(6)]
    assert {status for _kind, status, _attempts in jobs(database)} == {"printed"}


def test_a_job_of_a_process_that_was_killed_is_printed_by_another(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    add_printer(sign_in(Role.MANAGER), printer, stations=["cold", "hot"])
    place(client, order_body(guest="Ana"))
    assert Spooler(database)._take() is not None  # and then it is gone
    assert not Spooler(database).work()
    with time_machine.travel(spooling.now() + spooling.LEASE):
        assert Spooler(database).work()
    assert "DÉJÀ IMPRIMÉ" in printed(printer)[0].text


def test_what_waits_is_moved_removed_or_printed_again(
    client: FlaskClient, sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager = sign_in(Role.MANAGER)
    dead = add_printer(manager, free_port(), stations=["cold", "hot"])
    alive = add_printer(manager, printer, width=58)
    for guest in ("Un", "Deux"):
        place(client, order_body(guest=guest), key=guest)
    one, two = (job["id"] for job in reversed(manager.get("/api/v1/print-jobs?waiting=true").get_json()["items"]))
    assert manager.post(f"/imprimantes/papiers/{one}/ailleurs", data={"printer": str(alive)}).status_code == 303
    assert manager.delete(f"/api/v1/printers/{dead}", headers={"If-Match": '"1"'}).status_code == 409
    assert manager.post(f"/imprimantes/papiers/{two}/retrait").status_code == 303
    assert manager.post(f"/imprimantes/papiers/{two}/retrait").status_code == 409
    print_all(database)
    assert manager.post(f"/imprimantes/papiers/{one}/encore", data={"key": "k"}).status_code == 303
    print_all(database)
    assert ["NOUVELLE IMPRESSION" in paper.text for paper in printed(printer, 58)] == [False, True]
    picture = manager.get(f"/imprimantes/papiers/{one}.svg")
    assert (picture.mimetype, ">Un<" in picture.text) == ("image/svg+xml", True)
    assert manager.post(f"/imprimantes/{alive}/essai", data={"key": "t"}).status_code == 303
    print_all(database)
    assert "àâäçéèêëîïôöùûüÿæ" in printed(printer, 58)[-1].text
    assert manager.delete(f"/api/v1/printers/{dead}", headers={"If-Match": '"1"'}).status_code == 204


def test_a_drawer_does_not_open_long_after_the_payment(
    sign_in: SignIn, database: Database, printer: VirtualPrinter
) -> None:
    manager = sign_in(Role.MANAGER)
    port = free_port()
    add_printer(manager, port, drawer=True)
    assert manager.post("/imprimer/tiroir", data={"key": "d"}).status_code == 303
    print_all(database)
    with VirtualPrinter(port=port) as back, time_machine.travel(spooling.now() + 2 * spooling.LEASE):
        Spooler(database).work()
        assert back.settled() == []
    assert jobs(database)[0][1] == JobStatus.REMOVED.value


def test_a_page_of_printers_keeps_printers_apart(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    form = {"name": "Bar", "host": "192.0.2.9", "port": "9100", "width": "58", "stations": ["bar"], "drawer": "1"}
    assert manager.post("/imprimantes", data=form).status_code == 303
    assert manager.post("/imprimantes", data=form).status_code == 409
    for wrong in ({"host": "a b"}, {"host": "http://x/"}, {"port": "0"}, {"width": "70"}, {"name": ""}):
        assert manager.post("/imprimantes", data={**form, "name": "Salle", **wrong}).status_code == 422, wrong
    page = manager.get("/imprimantes").text
    assert "192.0.2.9" in page
    assert manager.post("/imprimantes/1", data={**form, "version": "1", "width": "80"}).status_code == 303
    assert manager.post("/imprimantes/1", data={**form, "version": "1"}).status_code == 412
    assert manager.post("/imprimantes/1", data={"version": "2", "remove": "1"}).status_code == 303
    for role in (Role.HOST, Role.SERVER, Role.KITCHEN, Role.CASHIER):
        assert sign_in(role).get("/imprimantes").status_code == 403


def test_a_silent_host_is_an_error_and_not_a_wait() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(PrinterError, match="not reachable"):
            send("127.0.0.1", deaf.getsockname()[1], b"x")
    with pytest.raises(PrinterError, match="not reachable"):
        send("no-such-host.invalid", 9100, b"x")


def test_the_command_draws_what_it_is_sent(tmp_path: Path) -> None:
    port = free_port()
    arguments = ["virtual-printer", "--listen", f"127.0.0.1:{port}", "--directory", str(tmp_path), "--width", "58"]
    process = subprocess.Popen([sys.executable, "-m", "restaurant", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        send("127.0.0.1", port, encode([paragraph("Bonjour")], width=58))
        assert process.stdout.readline().strip() == str(tmp_path / "0001.svg")
        assert ">Bonjour<" in (tmp_path / "0001.svg").read_text()
    finally:
        process.kill()
        process.communicate()


def test_a_ticket_is_recalled_at_once(app: Flask, client: FlaskClient, sign_in: SignIn, database: Database) -> None:
    cook = sign_in(Role.KITCHEN)
    reference = place(client, order_body(lines=[{"dish": EGGS}, {"dish": STEW}])).get_json()["reference"]
    assert cook.post(f"/api/v1/kitchen/orders/{reference}/recall").status_code == 409
    cook.post(f"/api/v1/kitchen/orders/{reference}/ready")
    assert f"/cuisine/commandes/{reference}/rappel" in cook.get("/cuisine").text
    assert cook.post(f"/cuisine/commandes/{reference}/rappel", data={"key": "r", "station": "hot"}).status_code == 303
    read_back = client.get(f"/api/v1/orders/{reference}").get_json()
    assert [line["status"] for line in read_back["lines"]] == ["ready", "preparing"]
    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM event")).scalar() >= 3


@pytest.mark.parametrize(
    ("page", "goes"),
    [("http://localhost/caisse/tickets/1?a=1", "/caisse/tickets/1?a=1"), ("http://evil.example/caisse", "/caisse"),
     ("http://localhost//evil.example", "/caisse"), ("http://localhost/\\evil.example", "/caisse"),
     ("http://localhost@evil.example/x", "/caisse"), ("/\t/evil.example", "/caisse"), ("http://[", "/caisse"),
     ("", "/caisse")],
)  # fmt: skip
def test_who_opens_the_drawer_goes_back_to_a_page_of_this_site_only(sign_in: SignIn, page: str, goes: str) -> None:
    opened = sign_in(Role.MANAGER).post("/imprimer/tiroir", data={"key": "k"}, headers={"Referer": page})
    assert (opened.status_code, opened.location) == (303, goes)
