"""The OpenAPI document is the committed one, is valid, and is what the service answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yarl
from aiopenapi3 import OpenAPI
from aiopenapi3.loader import FileSystemLoader
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from restaurant.people.permissions import Role
from support import COMMITTED, SignIn, post, seat

DOCUMENT: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
NOBODY = "00000000-0000-0000-0000-000000000000"
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def test_the_committed_document_is_the_served_one(client: FlaskClient) -> None:
    served = client.get("/api/v1/openapi.json")
    assert served.status_code == 200
    message = "run `restaurant openapi > openapi.json` in app/ and commit it"
    assert served.get_json() == DOCUMENT, message


def test_every_reference_of_the_document_leads_to_a_schema() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    schemas = DOCUMENT["components"]["schemas"]
    references = re.findall(r'"\$ref": "([^"]+)"', text)
    assert references
    assert [entry for entry in references if entry.removeprefix("#/components/schemas/") not in schemas] == []


def test_the_document_is_what_openapi_3_1_allows() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [f"{fault.json_path}: {fault.message}" for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values())), "two operations have one name"


def test_a_generator_makes_a_client_with_a_function_for_each_operation(tmp_path: Path) -> None:
    generator = str(Path(sys.executable).with_name("openapi-python-client"))
    command = [
        generator,
        "generate",
        "--path",
        str(COMMITTED),
        "--meta",
        "none",
        "--output-path",
        str(tmp_path / "client"),
    ]
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    made = subprocess.run(
        [*command, "--config", str(tmp_path / "config.yml"), "--fail-on-warning"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert {file.stem for file in (tmp_path / "client/api").glob("*/*.py")} - {"__init__"} == set(OPERATIONS)


def test_another_library_makes_a_client_from_the_document() -> None:
    client = OpenAPI.load_file(
        "http://service/openapi.json", yarl.URL(COMMITTED.name), loader=FileSystemLoader(COMMITTED.parent)
    )
    assert all(client.createRequest(name).operation.operationId == name for name in OPERATIONS)


def test_what_is_not_there_is_not_found_and_other_methods_are_not_allowed(sign_in: SignIn) -> None:
    admin = sign_in(Role.ADMIN)
    methods = {"get", "post", "put", "patch", "delete"}
    faults = []
    for path, described in DOCUMENT["paths"].items():
        for wrong in {re.sub(r"\{\w+\}", value, path) for value in ("x", "0", "99999999999", "-1", "1.5")} - {path}:
            for method in methods:
                reply = admin.open(wrong, method=method.upper())
                known = [other for other in DOCUMENT["paths"] if other == wrong]
                if reply.status_code != 404 and not known:
                    faults.append((method, wrong, reply.status_code))
        address = re.sub(
            r"\{\w+\}",
            lambda found: NOBODY if found[0] in {"{reference}", "{payment}", "{attempt}"} else "999999",
            path,
        )
        for method in methods - set(described):
            reply = admin.open(address, method=method.upper())
            allowed = set(map(str.strip, reply.headers.get("Allow", "").lower().split(",")))
            if reply.status_code != 405 or not set(described) <= allowed or method in allowed:
                faults.append((method, address, reply.status_code))
            assert reply.content_type == "application/problem+json"
    nowhere = ("/api/v1/nothing", "/api/v1/orders/", "/api/v2/orders", "/nothing")
    faults += [
        (method, path, reply.status_code)
        for method in methods
        for path in nowhere
        if (reply := admin.open(path, method=method.upper())).status_code != 404
    ]
    assert faults == []


def test_each_form_of_if_match_names_what_the_client_has_read(sign_in: SignIn) -> None:
    server = sign_in(Role.SERVER)
    path = f"/api/v1/orders/{seat(server)['reference']}/guests"

    def change(header: str, covers: int = 3) -> int:
        version = server.get(path.removesuffix("/guests")).headers["ETag"]
        body = {"covers": covers, "guest": "", "note": "", "allergies": []}
        return server.put(path, json=body, headers={"If-Match": header.format(version)}).status_code

    # A proxy that compresses makes the tag weak; programs that know several tags send them all.
    for header in ("{}", "W/{}", '"x", {}', '{},"98"', ', "" ,{}', "  {}  ", "*", '"a,b", {}'):
        assert change(header, covers=4) == 200, header
        assert change(header, covers=5) == 200, header
    for header in ('"98"', 'W/"98"', '"97", "98"', "x", "**", '"*"', '{} "98"', '"', "{}x", "1", '"0{}"'):
        assert change(header, covers=6) == 412, header
    for header in ("", " "):
        assert change(header) == 428
    gone = path.replace(path.split("/")[4], NOBODY)
    assert server.put(gone, json={"covers": 2}, headers={"If-Match": "*"}).status_code == 404


def test_what_is_wrong_between_values_is_said(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    reference = seat(manager)["reference"]
    for language, sentence in (
        ("fr", "Saisissez soit un montant, soit un pourcentage."),
        ("en", "Enter either an amount or a percentage."),
    ):
        body = {"amount": 100, "percent": 10, "reason": "geste"}
        reply = post(manager, f"/orders/{reference}/discounts", body, **{"Accept-Language": language})
        assert [entry["detail"] for entry in reply.get_json()["errors"]] == [sentence]
