"""The OpenAPI document is the committed one, is valid, and is what the service answers."""

from __future__ import annotations

import json
import re

from flask.testing import FlaskClient

from support import COMMITTED


def test_the_committed_document_is_the_served_one(client: FlaskClient) -> None:
    served = client.get("/api/v1/openapi.json")
    assert served.status_code == 200
    message = "run `restaurant openapi > openapi.json` in app/ and commit it"
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == served.get_json(), message


def test_every_reference_of_the_document_leads_to_a_schema() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    schemas = json.loads(text)["components"]["schemas"]
    references = re.findall(r'"\$ref": "([^"]+)"', text)
    assert references
    assert [entry for entry in references if entry.removeprefix("#/components/schemas/") not in schemas] == []
