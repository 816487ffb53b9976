"""Helm test: place an order through the Service as a guest does, and read it back."""

# ruff: noqa: INP001 - a script of the chart
from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from typing import Any

BASE = f"http://{os.environ['SERVICE']}/api/v1"


def call(method: str, path: str, body: object = None, key: str = "") -> Any:
    """Return the response of the API; an error ends the test with its message."""
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} failed with status {error.code}: {error.read().decode(errors='replace')}")
    except urllib.error.URLError as error:
        sys.exit(f"{method} {path} failed: {error.reason}")


if not call("GET", "/opening")["take_away_now"]:
    sys.stdout.write("no order placed: the restaurant takes no orders at this time\n")
    sys.exit()
menu = call("GET", "/menu")
dishes = [dish for category in menu["categories"] for dish in category["dishes"] if dish["available"]]
if not dishes:
    sys.exit("the menu has no dish that can be ordered now: set the value seed, or add one")

dish = dishes[0]
options = [option["id"] for group in dish["option_groups"] for option in group["options"][: group["minimum"]]]
line = {"dish": dish["id"], "quantity": 2, "options": options}
order = {"guest": "helm test", "lines": [line]}

key = str(uuid.uuid4())
placed = call("POST", "/orders", order, key)
again = call("POST", "/orders", order, key)
read = call("GET", f"/orders/{placed['reference']}")

if again["reference"] != placed["reference"]:
    sys.exit(f"a repeated request created a second order: {placed['reference']} and {again['reference']}")
if read != placed or len(read["lines"]) != 1 or read["lines"][0]["quantity"] != line["quantity"]:
    sys.exit(f"the order that was read differs from the one that was placed:\n{placed}\n{read}")
sys.stdout.write(f"order {placed['reference']} placed and read back: {line['quantity']} x {dish['name']}\n")
