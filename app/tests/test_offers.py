"""Set menus and happy hours: what they cost to the cent, when they are on, and where guests and staff see them."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from restaurant.billing.split import apportion
from restaurant.billing.verification import verify
from restaurant.business_day import BusinessDay
from restaurant.database import Database
from restaurant.menu.schedule import Schedule, Weekday
from restaurant.people.permissions import Role
from support import EGGS, SNAILS, STEW, TATIN, WINE, SignIn, add, pay, place, post, seat

STEAK, PINT = 6, 20
#: Of the example menu: eggs 6.20 and snails 12.50 at 10 %, stew 18.90 at 10 %, wine 5.50 at 20 %.
LUNCH: dict[str, Any] = {
    "name": "Formule du midi",
    "name_en": "Lunch menu",
    "price": 2500,
    "courses": [
        {"name": "Entrée", "name_en": "Starter", "course": "starter",
         "choices": [{"dish": EGGS}, {"dish": SNAILS, "supplement": 350}]},
        {"name": "Plat", "course": "main", "choices": [{"dish": STEW}, {"dish": STEAK, "supplement": 200}]},
        {"name": "Boisson", "course": "drink", "choices": [{"dish": WINE}]},
    ],
}  # fmt: skip
FRIDAY_EVENING = datetime(2026, 6, 12, 18, 30, tzinfo=ZoneInfo("Europe/Paris"))
PARIS = BusinessDay(zone=ZoneInfo("Europe/Paris"), start=time(5))


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def written(client: FlaskClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = client.post(f"/api/v1{path}", json=body)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def dish(client: FlaskClient, key: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/dishes/{key}").get_json()
    return found


def lunch(menu: int, *dishes: int, **more: Any) -> dict[str, Any]:
    return {"set_menu": menu, "dishes": [{"dish": key} for key in dishes], **more}


def add_menu(client: FlaskClient, order: str, *menus: dict[str, Any], hold: bool = False) -> Any:
    return post(client, f"/orders/{order}/lines", {"menus": list(menus), "hold": hold})


def test_a_set_menu_is_divided_over_its_dishes_and_their_vat_rates_to_the_cent(manager: FlaskClient) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    order = seat(manager)["reference"]
    reply = add_menu(manager, order, lunch(menu, SNAILS, STEW, WINE, quantity=2, seat=1))
    assert reply.status_code == 201, reply.text
    lines = reply.get_json()["lines"]
    assert reply.get_json()["total"] == 2 * (2500 + 350)
    regular = {key: dish(manager, key)["price"] for key in (SNAILS, STEW, WINE)}
    shares = apportion(regular, 2500)
    assert {line["dish_id"]: line["unit_price"] for line in lines} == {
        SNAILS: shares[SNAILS] + 350, STEW: shares[STEW], WINE: shares[WINE]
    }  # fmt: skip
    assert {line["dish_id"]: line["regular_price"] for line in lines} == regular
    assert {line["offer"] for line in lines} == {"Formule du midi"}
    assert len({line["portion"] for line in lines}) == 1
    bill = manager.get(f"/api/v1/orders/{order}/bill").get_json()
    by_rate = Counter[int]()
    for line in lines:
        by_rate[line["vat_rate"]] += line["total"]
    assert {share["rate"]: share["total"] for share in bill["shares"]} == dict(by_rate)
    assert set(by_rate) == {1000, 2000}
    assert sum(by_rate.values()) == bill["due"] == 5700


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=8), st.integers(0, 20_000), st.integers(1, 9))
def test_the_parts_of_a_set_menu_add_up_for_any_prices(prices: list[int], price: int, quantity: int) -> None:
    weights = dict(enumerate(prices))
    shares = apportion(weights if any(prices) else dict.fromkeys(weights, 1), price)
    assert sum(share * quantity for share in shares.values()) == price * quantity
    assert all(share >= 0 for share in shares.values())


def test_drinks_and_the_first_course_go_to_the_kitchen_and_each_further_course_when_it_is_sent(
    manager: FlaskClient, sign_in: SignIn
) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    order = seat(manager)["reference"]
    note = {"set_menu": menu, "dishes": [{"dish": EGGS, "note": "sans mayonnaise"}, {"dish": STEW}, {"dish": WINE}]}
    lines = add_menu(manager, order, note).get_json()["lines"]
    assert {line["dish_id"]: line["status"] for line in lines} == {EGGS: "fired", STEW: "held", WINE: "fired"}
    cook = sign_in(Role.KITCHEN)
    tickets = cook.get("/api/v1/kitchen/tickets").get_json()["tickets"]
    assert {line["name"]: line["note"] for line in tickets[0]["lines"]} == {
        dish(manager, EGGS)["name"]: "sans mayonnaise", dish(manager, WINE)["name"]: "",
    }  # fmt: skip
    assert post(manager, f"/orders/{order}/fire", {"course": "main"}).get_json()["lines"][1]["status"] == "fired"
    held = add_menu(manager, order, lunch(menu, EGGS, STEW, WINE), hold=True).get_json()["lines"][3:]
    assert {line["status"] for line in held} == {"held"}


@pytest.mark.parametrize(
    ("dishes", "code"),
    [
        ((EGGS, STEW), "course-choice"),
        ((), "course-choice"),
        ((EGGS, SNAILS, STEW, WINE), "course-choice"),
        ((EGGS, STEW, WINE, TATIN), "course-choice"),
        ((EGGS, STEW, WINE, WINE), "course-choice"),
    ],
    ids=["a course missing", "nothing", "two of a course", "a dish of no course", "a dish twice"],
)
def test_a_set_menu_needs_one_dish_of_each_course(manager: FlaskClient, dishes: tuple[int, ...], code: str) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    order = seat(manager)["reference"]
    refused = add_menu(manager, order, lunch(menu, *dishes))
    assert (refused.status_code, refused.get_json()["type"]) == (422, f"urn:restaurant:problem:{code}")
    assert manager.get(f"/api/v1/orders/{order}").get_json()["lines"] == []


def test_a_set_menu_is_ordered_only_when_it_is_offered(manager: FlaskClient, client: FlaskClient) -> None:
    menu = written(manager, "/set-menus", {**LUNCH, "days": ["friday"], "starts": "12:00:00", "ends": "14:30:00"})
    body = {"guest": "Ana", "menus": [lunch(menu["id"], EGGS, STEW, WINE)]}
    for hour, status, shown in ((11, 409, False), (12, 201, True), (14, 201, True), (15, 409, False)):
        with time_machine.travel(FRIDAY_EVENING.replace(hour=hour, minute=15)):
            assert place(client, body, key=uuid.uuid4().hex).status_code == status, hour
            assert client.get("/api/v1/menu").get_json()["set_menus"][0]["available"] is shown
            assert (f'name="quantity-m{menu["id"]}"' in client.get("/").text) is shown
    with time_machine.travel(FRIDAY_EVENING.replace(day=13, hour=13)):
        assert place(client, body, key=uuid.uuid4().hex).status_code == 409
    hidden = manager.put(
        f"/api/v1/set-menus/{menu['id']}",
        json={**LUNCH, "archived": True},
        headers={"If-Match": f'"{menu["version"]}"'},
    )
    assert hidden.status_code == 200, hidden.text
    assert client.get("/api/v1/menu").get_json()["set_menus"] == []
    assert place(client, body, key=uuid.uuid4().hex).get_json()["type"].endswith("unknown-set-menu")


def test_a_set_menu_goes_through_the_pages_to_the_invoice(
    manager: FlaskClient, client: FlaskClient, database: Database
) -> None:
    form = {
        "name": "Menu dégustation", "name_en": "Tasting menu", "description": "", "price": "32,00", "starts": "",
        "ends": "", "course-0-name": "Entrée", "course-0-course": "starter", "course-0-dish-0": str(EGGS),
        "course-0-dish-1": str(SNAILS), "course-0-supplement-1": "3,50", "course-1-name": "Plat",
        "course-1-course": "main", "course-1-dish-0": str(STEAK), "course-2-name": "", "course-2-course": "dessert",
    }  # fmt: skip
    assert manager.post("/carte/offres/formules/nouvelle", data=form).status_code == 303
    assert "Menu dégustation" in manager.get("/carte/offres").text
    found = manager.get("/api/v1/set-menus").get_json()["items"][0]
    assert [[choice["supplement"] for choice in course["choices"]] for course in found["courses"]] == [[0, 350], [0]]
    page = f"/carte/offres/formules/{found['id']}"
    assert 'value="32,00"' in manager.get(page).text
    assert manager.post(page, data={**form, "version": "7"}).status_code == 412
    assert manager.post(page, data={**form, "version": str(found["version"]), "price": "30"}).status_code == 303
    assert "Menu dégustation" in client.get("/").text
    assert "Tasting menu" in client.get("/", headers={"Accept-Language": "en"}).text
    groups = dish(manager, STEAK)["option_groups"]
    options = {f"options-m{found['id']}-{STEAK}-{group['id']}": str(group["options"][0]["id"]) for group in groups}
    order = seat(manager)["reference"]
    places = manager.get("/api/v1/menu").get_json()["set_menus"][0]["courses"]
    chosen = {
        f"choice-m{found['id']}-{places[0]['id']}": str(SNAILS),
        f"choice-m{found['id']}-{places[1]['id']}": str(STEAK),
    }
    sent = {
        f"quantity-m{found['id']}": "1",
        f"note-m{found['id']}-{places[1]['id']}": "bleu",
        **chosen,
        **options,
        "key": "k",
    }
    missing = {name: value for name, value in sent.items() if not name.startswith("choice")}
    refused = manager.post(f"/service/{order}/lignes", data=missing)
    assert (refused.status_code, "choisissez un plat" in refused.text.replace("\u00a0", " ")) == (422, True)
    assert manager.post(f"/service/{order}/lignes", data=sent).status_code == 303
    lines = manager.get(f"/api/v1/orders/{order}").get_json()["lines"]
    assert [(line["dish_id"], line["note"], len(line["options"])) for line in lines] == [
        (SNAILS, "", 0), (STEAK, "bleu", len(groups)),
    ]  # fmt: skip
    assert sum(line["total"] for line in lines) == 3350
    assert post(manager, f"/orders/{order}/fire", {}).status_code == 200
    assert post(manager, f"/orders/{order}/bill", None).status_code == 200
    assert "Menu dégustation" in manager.get(f"/caisse/{order}").text
    paid = pay(manager, order, 3350).get_json()
    assert "Menu dégustation" in manager.get(f"/caisse/tickets/{paid['receipts'][0]['number']}").text
    invoice = post(manager, f"/orders/{order}/invoices", {"customer": "Durand", "address": "Lyon"}).get_json()
    assert sum(line["quantity"] * line["unit_price"] for line in invoice["lines"]) == 3350
    assert "Menu dégustation" in invoice["lines"][0]["name"]
    with database.snapshot() as session:
        assert verify(session)[1] == []


def test_a_guest_orders_a_set_menu_at_the_table_and_a_dish_that_is_sold_out_leaves_it_out(
    manager: FlaskClient, client: FlaskClient
) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    code = manager.get("/api/v1/tables/4/code").get_json()["code"]
    assert f'name="quantity-m{menu}"' in client.get(f"/table/{code}").text
    body = {"code": code, "lines": [{"dish": TATIN}], "menus": [lunch(menu, EGGS, STEW, WINE, quantity=2)]}
    sent = post(client, "/table-orders", body).get_json()
    assert [line["offer"] for line in sent["lines"]] == [None, *["Formule du midi"] * 3]
    assert sent["total"] == dish(manager, TATIN)["price"] + 5000
    accepted = post(manager, f"/table-orders/{sent['reference']}/accept", {"covers": 2}).get_json()
    assert accepted["total"] == sent["total"]
    assert {line["dish_id"]: line["status"] for line in accepted["lines"]} == {
        TATIN: "fired", EGGS: "fired", STEW: "held", WINE: "fired"
    }  # fmt: skip
    followed = client.get(f"/api/v1/table-orders/{sent['reference']}").get_json()
    assert [line["status"] for line in followed["lines"]] == ["fired", "fired", "held", "fired"]
    assert "Formule du midi" in client.get(f"/table/{code}/{sent['reference']}").text
    form = {"key": "k", f"quantity-m{menu}": "1"}
    courses = manager.get("/api/v1/menu").get_json()["set_menus"][0]["courses"]
    form |= {f"choice-m{menu}-{course['id']}": str(course["choices"][0]["dish"]) for course in courses}
    assert client.post(f"/table/{code}", data=form).status_code == 303
    again = post(client, "/table-orders", body).get_json()
    stew = dish(manager, STEW)
    change = {"json": {"out_of_stock": True}, "headers": {"If-Match": f'"{stew["version"]}"'}}
    assert manager.patch(f"/api/v1/dishes/{STEW}", **change).status_code == 200
    rest = post(manager, f"/table-orders/{again['reference']}/accept", {"covers": 2}).get_json()
    assert [line["dish_id"] for line in rest["lines"][4:]] == [TATIN]
    followed = client.get(f"/api/v1/table-orders/{again['reference']}").get_json()
    assert [line["status"] for line in followed["lines"]] == ["fired", None, None, None]


def test_a_set_menu_without_a_dish_left_for_a_course_is_neither_offered_nor_ordered(
    manager: FlaskClient, client: FlaskClient
) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    order = seat(manager)["reference"]
    code = manager.get("/api/v1/tables/4/code").get_json()["code"]
    pages = ((client, "/"), (client, f"/table/{code}"), (manager, f"/service/{order}"))
    main = f'name="choice-m{menu}-{manager.get("/api/v1/menu").get_json()["set_menus"][0]["courses"][1]["id"]}"'
    for sold_out, offered in ((STEW, True), (STEAK, False)):
        version = f'"{dish(manager, sold_out)["version"]}"'
        change = {"json": {"out_of_stock": True}, "headers": {"If-Match": version}}
        assert manager.patch(f"/api/v1/dishes/{sold_out}", **change).status_code == 200
        assert client.get("/api/v1/menu").get_json()["set_menus"][0]["available"] is offered
        for who, page in pages:
            text = who.get(page).text
            assert (f'name="quantity-m{menu}"' in text) is offered, page
            assert (main in text) is offered, page
            assert f'name="quantity-{sold_out}"' not in text
        placed = place(client, {"guest": "Ana", "menus": [lunch(menu, EGGS, sold_out, WINE)]}, key=uuid.uuid4().hex)
        for refused in (placed, add_menu(manager, order, lunch(menu, EGGS, sold_out, WINE))):
            assert (refused.status_code, refused.get_json()["type"][-16:]) == (409, "dish-unavailable")
            assert dish(manager, sold_out)["name"] in refused.get_json()["detail"]
    body = {"code": code, "lines": [], "menus": [lunch(menu, EGGS, STEAK, WINE)]}
    assert post(client, "/table-orders", body).get_json()["type"].endswith("dish-unavailable")
    assert manager.get(f"/api/v1/orders/{order}").get_json()["lines"] == []


def test_one_more_of_a_set_menus_wine_costs_what_wine_costs(manager: FlaskClient) -> None:
    menu = written(manager, "/set-menus", LUNCH)["id"]
    order = seat(manager)["reference"]
    add_menu(manager, order, lunch(menu, EGGS, STEW, WINE))
    repeated = post(manager, f"/orders/{order}/repeat", None).get_json()
    assert repeated["total"] == 2500 + dish(manager, WINE)["price"]
    assert repeated["lines"][-1]["portion"] is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"courses": []}, "courses"),
        ({"courses": [{"name": "Plat", "course": "main", "choices": []}]}, "courses"),
        ({"starts": "12:00:00"}, ""),
        ({"days": ["someday"]}, "days"),
        ({"price": -1}, "price"),
        ({"courses": [*LUNCH["courses"], {"name": "Vin", "course": "drink", "choices": [{"dish": WINE}]}]}, ""),
    ],
    ids=["no course", "no dish", "half a window", "no day", "no price", "a dish in two courses"],
)
def test_a_set_menu_that_cannot_be_ordered_is_refused(manager: FlaskClient, wrong: dict[str, Any], field: str) -> None:
    reply = manager.post("/api/v1/set-menus", json={**LUNCH, **wrong})
    assert reply.status_code == 422
    assert any(entry["pointer"].startswith(f"/{field}") for entry in reply.get_json()["errors"])


def test_two_offers_of_one_name_and_unknown_dishes_are_refused(manager: FlaskClient) -> None:
    written(manager, "/set-menus", LUNCH)
    assert manager.post("/api/v1/set-menus", json=LUNCH).get_json()["type"].endswith("name-taken")
    unknown = {**LUNCH, "name": "Autre", "courses": [{"name": "Plat", "course": "main", "choices": [{"dish": 9999}]}]}
    assert manager.post("/api/v1/set-menus", json=unknown).status_code == 404
    happy = {"name": "Apéro", "percent": 20, "starts": "18:00:00", "ends": "20:00:00", "items": [{"category": 9999}]}
    assert manager.post("/api/v1/happy-hours", json=happy).status_code == 404


HAPPY: dict[str, Any] = {
    "name": "Apéro", "name_en": "Early evening", "percent": 30, "days": ["friday"], "starts": "18:00:00",
    "ends": "19:00:00", "items": [{"dish": WINE}],
}  # fmt: skip


def test_a_happy_hour_fixes_the_price_of_a_line_when_it_is_ordered(
    manager: FlaskClient, client: FlaskClient, database: Database
) -> None:
    written(manager, "/happy-hours", HAPPY)
    full = dish(manager, WINE)["price"]
    reduced = full - (full * 30 + 50) // 100
    with time_machine.travel(FRIDAY_EVENING, tick=False):
        assert dish(manager, WINE)["offer"] == {
            "name": "Apéro", "name_en": "Early evening", "price": reduced, "until": "19:00:00"
        }  # fmt: skip
        page = client.get("/").text
        assert "Apéro" in page
        assert "jusqu’à 19:00" in page
        order = seat(manager)["reference"]
        add(manager, order, WINE, quantity=2)
        assert "Apéro" in manager.get(f"/service/{order}").text
    with time_machine.travel(FRIDAY_EVENING.replace(hour=19), tick=False):
        assert dish(manager, WINE)["offer"] is None
        assert "Apéro" not in client.get("/").text
        lines = add(manager, order, WINE)["lines"]
        assert [(line["unit_price"], line["regular_price"], line["offer"]) for line in lines] == [
            (reduced, full, "Apéro"), (full, None, None)
        ]  # fmt: skip
        post(manager, f"/orders/{order}/bill", None)
        due = 2 * reduced + full
        assert pay(manager, order, due).status_code == 201
    with database.snapshot() as session:
        assert verify(session)[1] == []
        recorded = session.execute(text("SELECT content FROM journal_entry WHERE kind = 'presentation'")).scalar_one()
    assert '"offer":"Apéro","offer_en":"Early evening"' in recorded
    assert f'"regular_price":{full}' in recorded


def test_a_price_of_a_dish_comes_before_the_percentage_of_its_category_and_the_lowest_offer_wins(
    manager: FlaskClient, client: FlaskClient
) -> None:
    category = next(
        entry["id"]
        for entry in client.get("/api/v1/menu").get_json()["categories"]
        if WINE in {found["id"] for found in entry["dishes"]}
    )
    items = [{"category": category}, {"dish": WINE, "price": 400}]
    first = written(manager, "/happy-hours", {**HAPPY, "items": items, "percent": 50})
    written(manager, "/happy-hours", {**HAPPY, "name": "Tard", "percent": 1})
    with time_machine.travel(FRIDAY_EVENING):
        assert dish(manager, WINE)["offer"]["price"] == 400
        others = client.get("/api/v1/menu").get_json()["categories"]
        found = next(entry for entry in others if entry["id"] == category)["dishes"]
        assert all(
            entry["offer"]["price"] == entry["price"] - (entry["price"] * 50 + 50) // 100
            for entry in found
            if entry["id"] != WINE
        )
    match = {"If-Match": f'"{first["version"]}"'}
    assert manager.delete(f"/api/v1/happy-hours/{first['id']}", headers={"If-Match": '"9"'}).status_code == 412
    assert manager.delete(f"/api/v1/happy-hours/{first['id']}", headers=match).status_code == 204
    with time_machine.travel(FRIDAY_EVENING):
        assert dish(manager, WINE)["offer"]["name"] == "Tard"


def test_guests_at_a_table_pay_what_it_cost_when_they_sent_it(manager: FlaskClient, client: FlaskClient) -> None:
    written(manager, "/happy-hours", HAPPY)
    code = manager.get("/api/v1/tables/4/code").get_json()["code"]
    with time_machine.travel(FRIDAY_EVENING.replace(minute=58)):
        sent = post(client, "/table-orders", {"code": code, "lines": [{"dish": WINE}]}).get_json()
    with time_machine.travel(FRIDAY_EVENING.replace(hour=19, minute=3)):
        accepted = post(manager, f"/table-orders/{sent['reference']}/accept", {"covers": 2}).get_json()
    assert accepted["total"] == sent["total"] < dish(manager, WINE)["price"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"items": [{}]},
        {"items": [{"dish": WINE, "category": 1}]},
        {"items": [{"category": 1, "price": 100}]},
        {"percent": None},
        {"percent": 0},
        {"percent": 101},
        {"items": [{"dish": WINE}, {"dish": WINE, "price": 1}]},
    ],
)
def test_a_happy_hour_without_a_price_for_each_dish_is_refused(manager: FlaskClient, wrong: dict[str, Any]) -> None:
    assert manager.post("/api/v1/happy-hours", json={**HAPPY, **wrong}).status_code == 422
    assert manager.get("/api/v1/happy-hours").get_json()["items"] == []


def test_a_happy_hour_is_written_on_its_pages(manager: FlaskClient) -> None:
    form = {"name": "Apéro", "percent": "20", "days": ["monday", "friday"], "starts": "18:00", "ends": "20:00",
            "categories": ["1"], "dish-0": str(WINE), "price-0": "4,50", "dish-1": "", "price-1": ""}  # fmt: skip
    assert manager.post("/carte/offres/happy-hours/nouvelle", data=form).status_code == 303
    found = manager.get("/api/v1/happy-hours").get_json()["items"][0]
    assert found["items"] == [
        {"dish": None, "category": 1, "price": None}, {"dish": WINE, "category": None, "price": 450}
    ]  # fmt: skip
    assert "lun., ven. 18:00–20:00" in manager.get("/carte/offres").text
    page = f"/carte/offres/happy-hours/{found['id']}"
    assert 'value="4,50"' in manager.get(page).text
    assert manager.post(page, data={**form, "version": "9"}).status_code == 412
    assert manager.post(page, data={"version": str(found["version"]), "remove": "1"}).status_code == 303
    assert manager.get("/api/v1/happy-hours").get_json()["items"] == []


@pytest.mark.parametrize(
    ("schedule", "moment", "covered"),
    [
        ((["friday"], time(22), time(2)), "2026-06-13T01:30+02:00", True),
        ((["friday"], time(22), time(2)), "2026-06-13T02:00+02:00", False),
        ((["saturday"], time(22), time(2)), "2026-06-13T01:30+02:00", False),
        ((["friday"], time(1), time(3)), "2026-06-13T01:30+02:00", True),
        ((["saturday"], time(1), time(3)), "2026-06-13T01:30+02:00", False),
        ((["friday"], time(4), time(6)), "2026-06-13T05:30+02:00", True),
        ((["friday"], None, None), "2026-06-13T04:59+02:00", True),
        ((["friday"], None, None), "2026-06-13T05:00+02:00", False),
        (([], time(18), time(19)), "2026-06-12T16:59:59Z", True),
        (([], time(18), time(19)), "2026-06-12T17:00Z", False),
        # The night in which the clock goes back has 02:30 twice.
        (([], time(2), time(3)), "2026-10-25T02:30+02:00", True),
        (([], time(2), time(3)), "2026-10-25T02:30+01:00", True),
        (([], time(2), time(3)), "2026-10-25T03:00+01:00", False),
    ],
)
def test_hours_belong_to_the_business_day_on_which_they_begin(
    schedule: tuple[list[str], time | None, time | None], moment: str, covered: bool
) -> None:
    assert Schedule.of(*schedule).covers(datetime.fromisoformat(moment), PARIS) is covered


@given(
    st.sets(st.sampled_from(Weekday)), st.times(), st.times(),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),
)  # fmt: skip
def test_a_schedule_and_the_rest_of_the_day_cover_each_moment_once(
    days: set[Weekday], starts: time, ends: time, moment: datetime
) -> None:
    within = Schedule(frozenset(days), starts, ends)
    without = Schedule(frozenset(days), ends, starts)
    if starts == ends or days:
        return
    assert within.covers(moment, PARIS) is not without.covers(moment, PARIS)
