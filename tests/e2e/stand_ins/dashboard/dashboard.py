"""A stand-in for both dashboards, whose images are not available on the machines that run the tests.

It runs as the program that its arguments are for: it checks these arguments, its mounts, its process, and through the API
server the rights of its service account. On the port and with the scheme of that program it serves a page for the probes,
/report with its findings, and the objects of the cluster to clients with a token, as both programs do.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CERTIFICATE = "/opt/certificate.pem"

SECONDS = r"[1-9][0-9]*"
ENGINES: dict[str, dict[str, Any]] = {
    "headlamp": {
        # The options of the program, with the pattern of their values; None for an option without a value.
        "arguments": {
            "-in-cluster": None,
            "-in-cluster-context-name": r"[a-z]+",
            "-plugins-dir": r"/headlamp/plugins",
            "-session-ttl": SECONDS,
        },
        "environment": {"HEADLAMP_CONFIG_METRICS_ENABLED": "true", "HOME": "/home/headlamp"},
        "ids": (100, 101),
        "writable": ("/tmp", "/home/headlamp/.config"),  # noqa: S108 - it is its own
        "port": 4466,
        "scheme": "http",
        "may": (),
    },
    "kubernetes-dashboard": {
        "arguments": {
            "--namespace": r"[a-z-]+",
            "--auto-generate-certificates": None,
            "--authentication-mode": "token",
            "--token-ttl": SECONDS,
            "--metrics-provider": "none",
        },
        "environment": {},
        "ids": (1001, 2001),
        "writable": ("/tmp",),  # noqa: S108
        "port": 8443,
        "scheme": "https",
        "may": (
            *(
                ("secrets", f"kubernetes-dashboard-{name}", verb)
                for name in ("certs", "csrf", "key-holder")
                for verb in ("get", "update", "delete")
            ),
            *(("configmaps", "kubernetes-dashboard-settings", verb) for verb in ("get", "update")),
        ),
    },
}
"""Each program, and the rights of its service account: resource, name and verb in its own namespace."""

ASKED = (
    "secrets",
    "configmaps",
    "pods",
    "serviceaccounts",
    "deployments.apps",
    "clusterroles.rbac.authorization.k8s.io",
    "*.*",
)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "impersonate", "*")


def engine_of(arguments: list[str]) -> str:
    """Return the program that the arguments are for."""
    return "headlamp" if "-in-cluster" in arguments else "kubernetes-dashboard"


class Found:
    """What was found, and the faults."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.faults: list[str] = []
        self.account = ""
        self.questions = 0
        self._own = ENGINES[engine]
        self._api = Api(_token())

    def look(self) -> None:
        self.arguments(sys.argv[1:])
        self.process()
        self.files()
        self.token()
        self.rights()

    def arguments(self, given: list[str]) -> None:
        known: dict[str, str | None] = self._own["arguments"]
        words = [word.partition("=") for word in given]
        for name, equals, value in words:
            if name not in known:
                self.faults.append(f"the argument {name} is not one of this program's")
            elif (pattern := known[name]) is None:
                if equals:
                    self.faults.append(f"{name} is a switch, and was given {value!r}")
            elif not re.fullmatch(pattern, value):
                self.faults.append(f"{name} was given {value!r}")
        self.faults += [f"{name} is missing" for name in known.keys() - {name for name, _, _ in words}]
        for name, value in self._own["environment"].items():
            if os.environ.get(name) != value:
                self.faults.append(f"{name} is {os.environ.get(name)!r} and not {value!r}")

    def process(self) -> None:
        if (os.getuid(), os.getgid()) != self._own["ids"]:
            self.faults.append(f"it runs as {os.getuid()}:{os.getgid()}")
        status = dict(
            re.findall(r"^(\w+):\s+(\S+)", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
        )
        wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        self.faults += [f"{name} is {status[name]}" for name, value in wanted.items() if status[name] != value]

    def files(self) -> None:
        for place in self._own["writable"]:
            try:
                _write(Path(place))
            except OSError as error:
                self.faults.append(f"{place} cannot be written: {error}")
        others = ["/", "/home", "/var", "/opt", str(ACCOUNT)]
        if self.engine == "kubernetes-dashboard":
            others.append("/certs")
            if not os.path.ismount("/certs"):
                self.faults.append("/certs is no mount")
        for place in others:
            try:
                _write(Path(place))
            except OSError:
                continue
            self.faults.append(f"{place} can be written")

    def token(self) -> None:
        body = _token().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        bound = claims["kubernetes.io"]
        if "pod" not in bound or claims["exp"] - time.time() > 366 * 86400:
            self.faults.append("its token is valid without its pod")
        self.account = f"{bound['namespace']}/{bound['serviceaccount']['name']}"
        if self.account != f"{_namespace()}/{self.engine}":
            self.faults.append(f"its account is {self.account}")
        given = next((word.partition("=")[2] for word in sys.argv if word.startswith("--namespace=")), _namespace())
        if given != _namespace():
            self.faults.append(f"its namespace is given as {given}")

    def rights(self) -> None:
        """Check that the account has the rights above, and no other in its namespace, in another or in all."""
        for resource, name, verb in self._own["may"]:
            if not self.allowed(resource, verb, namespace=_namespace(), name=name):
                self.faults.append(f"it may not {verb} {resource}/{name}")
        for namespace in (_namespace(), "kube-system", ""):
            for resource in ASKED:
                for verb in VERBS:
                    if self.allowed(resource, verb, namespace=namespace):
                        self.faults.append(f"it may {verb} {resource} in {namespace or 'the whole cluster'}")
        self.rules()
        for resource, name, verb in self._own["may"]:
            if verb == "get":
                status, _ = self._api.ask(f"/api/v1/namespaces/{_namespace()}/{resource}/{name}")
                if status != 200:
                    self.faults.append(f"{resource}/{name} was answered with {status}")

    def rules(self) -> None:
        """Check every rule that the API server lists for the account, also those of resources not listed above."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": _namespace()},
        }
        _, answer = self._api.ask("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)
        written = {(resource, name) for resource, name, _ in self._own["may"]}
        for rule in answer["status"]["resourceRules"]:
            if set(rule.get("apiGroups", ())) <= {"authorization.k8s.io", "authentication.k8s.io"}:
                continue  # every account may query its own name and rights
            if set(rule["verbs"]) <= {"get", "list", "watch"} and rule["resources"] == ["clustertrustbundles"]:
                continue  # and the CAs that the cluster trusts
            named = {(resource, name) for resource in rule["resources"] for name in rule.get("resourceNames", [""])}
            if not named <= written:
                self.faults.append(f"it may {rule['verbs']} {sorted(named - written)}")

    def allowed(self, resource: str, verb: str, *, namespace: str, name: str = "") -> bool:
        self.questions += 1
        kind, _, group = resource.partition(".")
        attributes = {"group": group, "resource": kind, "verb": verb, "namespace": namespace, "name": name}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        status, answer = self._api.ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if status != 201:
            raise OSError(f"the API server answered {status}: {answer}")
        return bool(answer["status"]["allowed"])


def _write(directory: Path) -> None:
    file = directory / ".written"
    file.write_text("x", encoding="utf-8")
    file.unlink()


def _token() -> str:
    return (ACCOUNT / "token").read_text(encoding="utf-8").strip()


def _namespace() -> str:
    return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


class Api:
    """A connection to the API server, with a token or without."""

    def __init__(self, token: str) -> None:
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        self._connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def ask(self, path: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the object of an answer."""
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        self._connection.request(method, path, body=data, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of Kubernetes, Prometheus and the release's test like the two programs."""

    engine = engine_of(sys.argv[1:])

    def do_GET(self) -> None:
        # One forwards requests to the API server, the other has an API of its own.
        secrets = re.fullmatch(r"/api/v1/secret/([a-z-]+)", self.path)
        if self.path == "/report":
            found = Found(self.engine)
            try:
                found.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test is to read it
                found.faults.append(f"{type(error).__name__}: {error}")
            report = {name: value for name, value in vars(found).items() if not name.startswith("_")}
            self._answer(200, json.dumps(report), "application/json")
        elif self.engine == "headlamp" and self.path.startswith("/clusters/main/"):
            self._pass_on(self.path.removeprefix("/clusters/main"))
        elif self.engine == "kubernetes-dashboard" and secrets:
            self._pass_on(f"/api/v1/namespaces/{secrets[1]}/secrets")
        elif self.engine == "headlamp" and self.path == "/metrics":
            self._answer(200, "dashboard_stand_in 1\n", "text/plain; version=0.0.4")
        else:
            self._answer(200, f"<!doctype html><html><title>{self.engine}</title></html>", "text/html")

    def _pass_on(self, path: str) -> None:
        """Return the objects with the client's token, never with the account's own."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        status, answer = Api(token).ask(path)
        self._answer(status, json.dumps(answer), "application/json")

    def _answer(self, status: int, text: str, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


# The first process of a container ignores SIGTERM unless it handles it.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = ThreadingHTTPServer(("", ENGINES[Handler.engine]["port"]), Handler)
if ENGINES[Handler.engine]["scheme"] == "https":
    encrypted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encrypted.load_cert_chain(CERTIFICATE)
    server.socket = encrypted.wrap_socket(server.socket, server_side=True)
server.serve_forever()
