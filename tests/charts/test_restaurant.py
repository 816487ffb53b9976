"""The application: scaling, draining, lost nodes, and its database."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.charts import (
    PROFILES,
    Object,
    containers,
    environment,
    of_profile,
    one,
    pod_labels,
    pod_spec,
    refusal,
)

from maas import paths

if TYPE_CHECKING:
    from tests.support.charts import Rendered

WITH_IT = sorted(PROFILES.keys() - {"network-only", "probes"})

DATABASE_CLIENTS = ["restaurant", "restaurant-database-metrics", "restaurant-seed"]


def deployment(objects: tuple[Object, ...]) -> Object:
    return one(objects, "Deployment", "restaurant")


def program(objects: tuple[Object, ...]) -> Object:
    (container,) = containers(deployment(objects), initial=False)
    return container


@pytest.mark.parametrize("name", WITH_IT)
def test_replicas_are_set_only_without_an_autoscaler(name: str) -> None:
    # With `replicas` beside the autoscaler, every upgrade would reset the number of pods; helm/helm#7090.
    objects = of_profile(name)
    scaled = [entry for entry in objects if entry["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    assert ("replicas" in deployment(objects)["spec"]) == (not scaled)


def test_it_scales_between_1_and_40_pods_at_300_percent_of_its_cpu_request() -> None:
    scaler = one(of_profile("default"), "HorizontalPodAutoscaler", "restaurant")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 40)
    (metric,) = scaler["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 300}}
    assert program(of_profile("default"))["resources"]["requests"]["cpu"] == "100m"
    assert scaler["behavior"].keys() == {"scaleUp", "scaleDown"}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] > 0


def test_the_cpu_target_is_below_the_cpu_limit() -> None:
    # With a limit below the target, no pod could ever reach the target.
    def cores(quantity: str) -> float:
        return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)

    resources = program(of_profile("default"))["resources"]
    assert cores(resources["limits"]["cpu"]) > 3 * cores(resources["requests"]["cpu"])


@pytest.mark.parametrize("name", WITH_IT)
def test_pods_of_a_lost_node_are_started_elsewhere_within_seconds(name: str) -> None:
    found = {
        entry["key"]: entry["tolerationSeconds"]
        for entry in pod_spec(deployment(of_profile(name)))["tolerations"]
        if entry["key"].startswith("node.kubernetes.io/")
    }
    assert found == {"node.kubernetes.io/not-ready": 10, "node.kubernetes.io/unreachable": 10}


def test_a_dns_server_on_a_lost_node_delays_a_query_by_two_seconds_at_most() -> None:
    options = pod_spec(deployment(of_profile("default")))["dnsConfig"]["options"]
    assert {option["name"]: option["value"] for option in options} == {"timeout": "1", "attempts": "2"}


def test_tolerations_of_the_user_are_added_to_those_of_lost_nodes() -> None:
    tolerations = pod_spec(deployment(of_profile("airgap")))["tolerations"]
    assert {"key": "dedicated", "value": "restaurant", "effect": "NoSchedule"} in tolerations
    assert len(tolerations) == 3


def test_pods_are_spread_over_nodes_but_scheduled_anyway() -> None:
    workload = deployment(of_profile("default"))
    (constraint,) = pod_spec(workload)["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["labelSelector"]["matchLabels"].items() <= pod_labels(workload).items()


def test_a_terminating_pod_has_time_to_drain_and_to_finish_requests(rendered: Rendered) -> None:
    for objects in (
        rendered("restaurant"),
        rendered("restaurant", settings__drainSeconds="30", settings__graceSeconds="100"),
    ):
        name = "maas-restaurant"
        spec = pod_spec(one(objects, "Deployment", name))
        (container,) = spec["containers"]
        given = environment(container)
        needed = int(given["RESTAURANT_DRAIN_SECONDS"]) + int(given["RESTAURANT_GRACE_SECONDS"])
        assert spec["terminationGracePeriodSeconds"] > needed
        assert container["lifecycle"]["preStop"]["httpGet"] == {"path": "/drain", "port": "probes"}


def test_probes_use_the_second_port_and_liveness_does_not_depend_on_the_database() -> None:
    container = program(of_profile("default"))
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 8080, "probes": 9797}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "probes"}
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "probes"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}


def served(objects: tuple[Object, ...]) -> dict[str, Any]:
    """Return the settings of the container that serves, without the beginning of their variables' names."""
    _migrate, serve = containers(one(objects, "Deployment", "maas-restaurant"))
    return {name.removeprefix("RESTAURANT_"): value for name, value in environment(serve).items()}


@pytest.mark.parametrize("name", WITH_IT)
def test_every_variable_is_one_that_the_application_reads(name: str) -> None:
    settings = (paths.content() / "app" / "src" / "restaurant" / "settings.py").read_text(encoding="utf-8")
    known = {f"RESTAURANT_{field.upper()}" for field in re.findall(r"^    ([a-z_]+): ", settings, re.MULTILINE)}
    for container in containers(deployment(of_profile(name))):
        assert environment(container).keys() <= known


def test_the_registration_and_the_times_for_bookings_can_be_set(rendered: Rendered) -> None:
    given = {
        "registration": '"SIRET 1"',
        "bookingTimes": '"18:30-21:00"',
        "takeAwayTimes": '"11:30-14:30"',
        "ordersPerAddress": "40",
        "bookingsPerAddress": "25",
        "bookingsPerContact": "0",
        "tableOrders": '"direct"',
        "tableOrdersPerAddress": "100",
        "tableOrdersPerTable": "8",
        "closedDays": '["sun", "mon"]',
        "bookingStays": '"4:60,75"',
    }
    objects = rendered("restaurant", **{f"settings.{name}": value for name, value in given.items()})
    wanted = {
        "REGISTRATION": "SIRET 1",
        "BOOKING_TIMES": "18:30-21:00",
        "TAKE_AWAY_TIMES": "11:30-14:30",
        "ORDERS_PER_ADDRESS": "40",
        "BOOKINGS_PER_ADDRESS": "25",
        "BOOKINGS_PER_CONTACT": "0",
        "TABLE_ORDERS": "direct",
        "TABLE_ORDERS_PER_ADDRESS": "100",
        "TABLE_ORDERS_PER_TABLE": "8",
        "CLOSED_DAYS": "sun,mon",
        "BOOKING_STAYS": "4:60,75",
    }
    assert wanted.items() <= served(objects).items()


def test_deposits_of_bookings_are_set_with_the_provider_that_guests_pay_them_at(rendered: Rendered) -> None:
    given = {
        "settings.depositPerCover": "1000",
        "settings.depositFixed": "1000000",
        "settings.depositCovers": "6",
        "settings.depositRefundHours": "48",
        "settings.depositPayMinutes": "60",
        "payments.online.url": '"https://pay.example.org"',
        "payments.online.existingSecret": '"pay"',
    }
    wanted = {
        "DEPOSIT_PER_COVER": "1000",
        "DEPOSIT_FIXED": "1000000",
        "DEPOSIT_COVERS": "6",
        "DEPOSIT_REFUND_HOURS": "48",
        "DEPOSIT_PAY_MINUTES": "60",
        "ONLINE_URL": "https://pay.example.org",
    }
    assert wanted.items() <= served(rendered("restaurant", **given)).items()


@pytest.mark.parametrize("name", WITH_IT)
def test_no_secret_is_in_an_environment_or_an_argument(name: str) -> None:
    for entry in of_profile(name):
        if entry["kind"] in {"Deployment", "StatefulSet", "Job", "Pod"}:
            for container in containers(entry):
                assert not [value for value in environment(container).values() if "secretKeyRef" in str(value)]


def test_the_schema_is_migrated_before_a_pod_serves() -> None:
    migrate, serve = containers(deployment(of_profile("default")))
    assert (migrate["args"], serve["args"]) == (["migrate"], ["serve"])
    assert migrate["image"] == serve["image"]
    assert migrate["env"] == serve["env"]


def test_the_image_has_the_version_of_the_application() -> None:
    text = (paths.content() / "app" / "src" / "restaurant" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "(.+)"', text)
    assert version is not None
    assert program(of_profile("default"))["image"] == f"ghcr.io/maas/restaurant:{version[1]}"


def test_the_job_of_the_example_menu_is_replaced_only_when_it_changes(rendered: Rendered) -> None:
    def job(**settings: str) -> str:
        (name,) = (entry["metadata"]["name"] for entry in rendered("restaurant", **settings) if entry["kind"] == "Job")
        return str(name)

    assert job() == job(autoscaling__maxReplicas="39")
    assert job() != job(image__tag='"0.2.0"')


def test_the_volume_and_the_password_of_the_database_are_both_kept() -> None:
    # A new password does not match that in an old volume.
    objects = of_profile("default")
    kept = {
        entry["metadata"]["name"]
        for entry in objects
        if entry["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert {"restaurant-database", "restaurant-key"} <= kept
    policy = one(objects, "StatefulSet", "restaurant-database")["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize(("existing", "key", "signed"), [("", "", True), ("given", "", False), ("given", "pem", True)])
def test_the_journal_is_signed_with_a_key_from_a_secret(
    rendered: Rendered, existing: str, key: str, signed: bool
) -> None:
    values = {"secretKey__existingSecret": existing, "journalKey": key}
    objects = rendered("restaurant", **{path: f'"{value}"' for path, value in values.items()})
    found = one(objects, "Deployment", "maas-restaurant")
    variables = [environment(container) for container in containers(found)]
    assert [("RESTAURANT_JOURNAL_KEY_FILE" in names) for names in variables] == [signed, signed]
    mounted = [
        item["path"]
        for source in pod_spec(found)["volumes"][1]["projected"]["sources"]
        for item in source["secret"]["items"]
    ]
    assert ("journal-key" in mounted) == signed
    generated = [entry for entry in objects if entry["kind"] == "Secret" and "journal-key" in entry.get("data", {})]
    assert bool(generated) == (not existing)
    assert all(
        b64decode(entry["data"]["journal-key"]).startswith(b"-----BEGIN PRIVATE KEY-----") for entry in generated
    )


def policy(objects: tuple[Object, ...], name: str) -> Any:
    return one(objects, "NetworkPolicy", name)["spec"]


def test_only_the_application_can_connect_to_the_database() -> None:
    objects = of_profile("default")
    spec = policy(objects, "restaurant-database")
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    named = [peer["podSelector"]["matchLabels"] for rule in spec["ingress"] for peer in rule["from"]]
    assert named == [
        {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "maas"} for name in DATABASE_CLIENTS
    ]


def test_the_application_connects_to_its_database_and_dns_and_nothing_else() -> None:
    objects = of_profile("default")
    names, database = policy(objects, "restaurant")["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    (peer,) = database["to"]
    assert (
        peer["podSelector"]["matchLabels"].items()
        <= pod_labels(one(objects, "StatefulSet", "restaurant-database")).items()
    )


def test_the_application_connects_to_printers_only_at_their_addresses(rendered: Rendered) -> None:
    given = {"printers.addresses": '["192.168.1.50/32", "192.168.1.51/32"]', "printers.port": "9101"}
    *_, printers = policy(rendered("restaurant", **given), "maas-restaurant")["egress"]
    assert printers == {
        "to": [{"ipBlock": {"cidr": "192.168.1.50/32"}}, {"ipBlock": {"cidr": "192.168.1.51/32"}}],
        "ports": [{"port": 9101, "protocol": "TCP"}],
    }


def test_messages_to_guests_take_their_passwords_from_secrets(rendered: Rendered) -> None:
    given = {
        "messages.publicUrl": '"https://ana.example"',
        "messages.email.url": '"smtp://ana@mail.example:587"',
        "messages.email.sender": '"Chez Ana <table@ana.example>"',
        "messages.email.existingSecret": '"mail"',
        "messages.sms.url": '"https://sms.example/send"',
        "messages.sms.existingSecret": '"sms"',
    }
    found = one(rendered("restaurant", **given), "Deployment", "maas-restaurant")
    _migrate, serve = containers(found)
    variables = environment(serve)
    assert variables["RESTAURANT_SMTP_SENDER"] == "Chez Ana <table@ana.example>"
    sources = pod_spec(found)["volumes"][1]["projected"]["sources"]
    mounted = {
        f"/run/secrets/restaurant/{item['path']}": (source["secret"]["name"], item["key"])
        for source in sources
        for item in source["secret"]["items"]
    }
    assert mounted[variables["RESTAURANT_SMTP_PASSWORD_FILE"]] == ("mail", "password")
    assert mounted[variables["RESTAURANT_SMS_TOKEN_FILE"]] == ("sms", "token")


def test_an_external_database_has_its_own_port() -> None:
    _, database, terminal = policy(of_profile("external-database"), "restaurant")["egress"]
    assert [port["port"] for port in database["ports"]] == [5433]
    assert [port["port"] for port in terminal["ports"]] == [443]
    url = environment(program(of_profile("external-database")))["RESTAURANT_DATABASE_URL"]
    assert url == "postgresql://restaurant@db.example.org:5433/restaurant?sslmode=verify-full"


def test_a_payment_provider_has_its_address_and_a_file_with_its_secret() -> None:
    objects = of_profile("external-database")
    variables = environment(program(objects))
    assert variables.items() >= {
        ("RESTAURANT_TERMINAL_URL", "https://pay.example.org/v1"),
        ("RESTAURANT_TERMINAL_SECRET_FILE", "/run/secrets/restaurant/terminal-secret"),
    }
    assert "RESTAURANT_ONLINE_URL" not in variables
    (volume,) = (entry for entry in pod_spec(deployment(objects))["volumes"] if entry["name"] == "secrets")
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    (source,) = (entry for entry in sources if entry["name"] == "restaurant-terminal")
    assert source["items"] == [{"key": "secret", "path": "terminal-secret"}]


def test_below_a_path_the_application_and_its_routes_agree_on_it(rendered: Rendered) -> None:
    objects = of_profile("external-database")
    (rule,) = one(objects, "Ingress", "restaurant")["spec"]["rules"]
    assert [entry["path"] for entry in rule["http"]["paths"]] == ["/restaurant"]
    assert environment(program(objects))["RESTAURANT_PREFIX"] == "/restaurant"
    values = {"httpRoute__enabled": "true", "httpRoute__parentRefs": '[{"name": "public"}]'}
    for path in ("", "/a/b"):
        objects = rendered("restaurant", settings__prefix=f'"{path}"', **values)
        (route,) = (entry for entry in objects if entry["kind"] == "HTTPRoute")
        (rule,) = route["spec"]["rules"]
        expected = [{"path": {"type": "PathPrefix", "value": path}}] if path else None
        assert rule.get("matches") == expected
    assert "RESTAURANT_PREFIX" not in environment(program(of_profile("default")))


def test_restricted_ingress_still_allows_the_releases_own_test() -> None:
    objects = of_profile("airgap")
    guests, itself = policy(objects, "restaurant")["ingress"][:2]
    assert guests["ports"] == itself["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert [sorted(peer) for peer in guests["from"]] == [["namespaceSelector"]]
    test, (peer,) = one(objects, "Pod", "restaurant-test-order"), itself["from"]
    assert peer["podSelector"]["matchLabels"].items() <= pod_labels(test).items()
    namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    # Helm reads the logs of a test only in the release's namespace.
    assert namespace == test["metadata"]["namespace"] == "maas"


def test_the_releases_own_test_uses_the_service(rendered: Rendered) -> None:
    def service(objects: tuple[Object, ...]) -> str:
        pods = [entry for entry in objects if entry["kind"] == "Pod"]
        (own,) = (pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "restaurant-test")
        (container,) = containers(own)
        return str(environment(container)["SERVICE"])

    assert service(of_profile("default")) == "restaurant.restaurant:80"
    assert service(rendered("restaurant", service__port="8000")) == "maas-restaurant.maas:8000"


def test_metrics_can_be_scraped_from_the_monitoring_namespace_only() -> None:
    metrics = policy(of_profile("default"), "restaurant")["ingress"][-1]
    assert metrics["ports"] == [{"port": "probes", "protocol": "TCP"}]
    assert metrics["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_the_connection_limit_of_the_values_is_that_of_the_database(rendered: Rendered) -> None:
    config = one(of_profile("default"), "ConfigMap", "restaurant-database")["data"]["postgresql.conf"]
    assert "max_connections = 120" in config.splitlines()
    name = "maas-restaurant-database"
    other = one(rendered("restaurant", database__postgresql__maxConnections="500"), "ConfigMap", name)
    assert "max_connections = 500" in other["data"]["postgresql.conf"].splitlines()


def test_the_database_requires_a_password_on_the_network() -> None:
    rules = one(of_profile("default"), "ConfigMap", "restaurant-database")["data"]["pg_hba.conf"]
    found = [line.split() for line in rules.splitlines() if line.strip() and not line.startswith("#")]
    assert [words[-1] for words in found] == ["peer", "reject", "scram-sha-256"]


def test_the_pod_of_the_database_restarts_only_for_its_configuration(rendered: Rendered) -> None:
    def template(**settings: str) -> Any:
        return one(rendered("restaurant", **settings), "StatefulSet", "maas-restaurant-database")["spec"]["template"]

    assert template() == template(settings__threads="4")
    assert template() != template(database__postgresql__sharedBuffers='"128MB"')


def test_with_sqlite_a_pod_is_replaced_only_after_it_is_deleted() -> None:
    objects = of_profile("minimal")
    assert deployment(objects)["spec"]["strategy"] == {"type": "Recreate"}
    assert [container["name"] for container in containers(deployment(objects))] == ["migrate", "seed", "restaurant"]
    assert environment(program(objects))["RESTAURANT_DATABASE_URL"].startswith("sqlite:////var/lib/restaurant/")


def test_a_name_that_contains_the_release_name_is_not_repeated(rendered: Rendered) -> None:
    assert one(rendered("restaurant"), "Service", "maas-restaurant")
    assert one(rendered("restaurant", fullnameOverride='"bistro"'), "Service", "bistro-database")


REPLICATED = {"restaurant__database__postgresql__replicas": "3"}


def test_servers_of_a_replicated_database_are_on_different_nodes(rendered: Rendered) -> None:
    found = one(rendered(**REPLICATED), "StatefulSet", "restaurant-database")
    assert found["spec"]["replicas"] == 3
    (term,) = pod_spec(found)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= pod_labels(found).items()


def test_a_replicated_database_takes_over_the_volume_of_a_single_one(rendered: Rendered) -> None:
    """The names, the selector and the claims of a StatefulSet cannot change, and its first volume has the data."""
    before = one(rendered(), "StatefulSet", "restaurant-database")["spec"]
    after = one(rendered(**REPLICATED), "StatefulSet", "restaurant-database")["spec"]
    for field in ("serviceName", "selector", "volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"):
        assert before[field] == after[field], field
    for spec in (before, after):
        (container,) = spec["template"]["spec"]["containers"]
        assert environment(container)["PGDATA"] == "/var/lib/postgresql/data/pgdata"
        assert "/var/lib/postgresql/data" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert spec["template"]["spec"]["securityContext"]["runAsUser"] == 999


def test_only_the_first_server_can_create_a_database(rendered: Rendered) -> None:
    files = one(rendered(**REPLICATED), "ConfigMap", "restaurant-database")["data"]
    assert "bootstrap" not in files["patroni.yml"]
    assert '"${PATRONI_NAME##*-}" = 0' in files["start.sh"]


def test_a_replicated_database_acknowledges_no_commit_that_only_one_server_has(rendered: Rendered) -> None:
    files = one(rendered(**REPLICATED), "ConfigMap", "restaurant-database")["data"]
    shared = json.loads(files["shared.json"])
    assert (shared["synchronous_mode"], shared["synchronous_mode_strict"]) == ("quorum", True)
    # Patroni requires it: otherwise a primary could lose its lease before it notices.
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]


def test_clients_of_a_replicated_database_know_each_server(rendered: Rendered) -> None:
    objects = rendered(**REPLICATED)
    url = environment(program(objects))["RESTAURANT_DATABASE_URL"]
    hosts = re.findall(r"host=([a-z0-9-]+):5432", url)
    assert hosts == [f"restaurant-database-{number}" for number in range(3)]
    for host in hosts:
        selector = one(objects, "Service", host)["spec"]["selector"]
        assert selector["statefulset.kubernetes.io/pod-name"] == host
    assert one(objects, "Service", "restaurant-database")["spec"]["selector"]["role"] == "primary"


def test_patroni_may_change_its_own_objects_only(rendered: Rendered) -> None:
    objects = rendered(**REPLICATED)
    role = one(objects, "Role", "restaurant-database")
    changing = {"update", "patch", "delete", "deletecollection"}
    for rule in role["rules"]:
        assert rule["resources"] in (["configmaps"], ["pods"])
        assert not changing & set(rule["verbs"]) or all(
            name.startswith("restaurant-database-") for name in rule["resourceNames"]
        )
    (other,) = [entry for entry in objects if entry["kind"] == "Role" and entry["metadata"]["namespace"] == "default"]
    assert other["rules"] == [
        {"apiGroups": [""], "resources": ["endpoints"], "resourceNames": ["kubernetes"], "verbs": ["get"]}
    ]


def test_only_postgresql_of_this_release_can_have_replicas() -> None:
    said = refusal(
        "4",
        restaurant__database__type="sqlite",
        restaurant__autoscaling__enabled=False,
        restaurant__database__postgresql__replicas=3,
    )
    assert "database.postgresql.replicas: 1" in said
