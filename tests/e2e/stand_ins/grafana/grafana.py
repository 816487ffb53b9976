"""A stand-in for Grafana, whose image is not available on the machines that run the tests.

It checks the configuration, provisioning and dashboards at the paths that Grafana reads, queries each data source, and
serves on Grafana's port: /api/health like Grafana, and /report with its findings.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

QUERIES = {"prometheus": "/api/v1/query?query=up", "alertmanager": "/api/v2/status"}


class Found:
    """What was found, and the faults."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.datasources: dict[str, int] = {}
        self.dashboards: dict[str, str] = {}
        self.admin = ""

    def look(self) -> None:
        file = Path(os.environ["GF_PATHS_CONFIG"])
        settings = configparser.ConfigParser(interpolation=None)
        settings.read_string(file.read_text(encoding="utf-8"))
        provisioning = Path(settings["paths"]["provisioning"])
        self.accounts(settings)
        self.writable(Path(settings["paths"]["data"]), file.parent)
        self.sources(provisioning)
        self.folders(provisioning)
        home = Path(settings["dashboards"]["default_home_dashboard_path"])
        if not home.is_file():
            self.faults.append(f"the home dashboard {home} is missing")

    def accounts(self, settings: configparser.ConfigParser) -> None:
        user, password = (
            Path(os.environ[f"GF_SECURITY_ADMIN_{what}__FILE"]).read_text(encoding="utf-8")
            for what in ("USER", "PASSWORD")
        )
        if len(password) < 12:
            self.faults.append("the password is short")
        self.admin = hashlib.sha256(f"{user}:{password}".encode()).hexdigest()
        if settings["auth.anonymous"]["enabled"] != "false":
            self.faults.append("anybody gets in")
        if int(settings["server"]["http_port"]) != 3000:
            self.faults.append("the port is another")

    def writable(self, data: Path, configuration: Path) -> None:
        (data / "written").write_text("x", encoding="utf-8")
        try:
            (configuration / "written").write_text("x", encoding="utf-8")
        except OSError:
            return
        self.faults.append(f"{configuration} can be written")

    def sources(self, provisioning: Path) -> None:
        for file in sorted((provisioning / "datasources").glob("*.yaml")):
            for source in yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]:
                url = source["url"] + QUERIES[source["type"]]
                try:
                    with urllib.request.urlopen(url, timeout=10) as answer:
                        self.datasources[source["name"]] = answer.status
                except OSError as error:
                    self.faults.append(f"{source['name']} at {url}: {error}")

    def folders(self, provisioning: Path) -> None:
        for file in sorted((provisioning / "dashboards").glob("*.yaml")):
            for provider in yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]:
                files = sorted(Path(provider["options"]["path"]).glob("*.json"))
                if not files:
                    self.faults.append(f"{provider['options']['path']} has no dashboards")
                for dashboard in files:
                    self.dashboard(dashboard, provider["folder"])

    def dashboard(self, file: Path, folder: str) -> None:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["uid"] in self.dashboards:
            self.faults.append(f"{file} has the uid of another dashboard")
        if not re.fullmatch(r"[\w-]{1,40}", content["uid"]):
            self.faults.append(f"{file} has a uid that Grafana does not accept")
        self.dashboards[content["uid"]] = f"{folder} / {content['title']}"
        for uid in set(_sources(content)) - {"${datasource}", "-- Grafana --", "grafana"}:
            self.faults.append(f"{file} is fixed to the data source {uid}")


def _sources(node: Any) -> list[str]:
    if isinstance(node, list):
        return [uid for entry in node for uid in _sources(entry)]
    if not isinstance(node, dict):
        return []
    own = node.get("datasource")
    here = [own["uid"]] if isinstance(own, dict) and "uid" in own else []
    return here + [uid for value in node.values() for uid in _sources(value)]


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of Kubernetes and Prometheus like Grafana."""

    def do_GET(self) -> None:
        if self.path == "/report":
            found = Found()
            try:
                found.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test is to read it
                found.faults.append(f"{type(error).__name__}: {error}")
            self._answer(json.dumps(vars(found)))
        elif self.path == "/metrics":
            self._answer("grafana_stand_in 1\n", "text/plain; version=0.0.4")
        else:
            self._answer(json.dumps({"database": "ok", "version": "stand-in"}))

    def _answer(self, text: str, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


ThreadingHTTPServer(("", 3000), Handler).serve_forever()
