"""Services, Ingress and HTTPRoute, the network around the pods, and who watches them."""

from typing import Any

import httpx
import pytest
import yaml

from support import observability
from support.chart import CHART, DEFAULTS, KEYED, Chart, model, named, of_kind, only
from support.replica import PLAIN, Replica


def test_a_single_model_has_the_front_door_too(chart: Chart) -> None:
    assert {"r3mes", "r3mes-tiny"} == set(map(named, of_kind(chart.render(), "Service")))

    two = {"models": [{"name": "a"}, {"name": "b"}]}
    assert {"r3mes-a", "r3mes-b"} == set(map(named, of_kind(chart.render(two), "Service")))


def test_an_ingress_lets_streams_through_nginx(chart: Chart) -> None:
    values = {
        **KEYED,
        "ingress": {"enabled": True, "hosts": [{"host": "a.example.org"}, {"host": ""}]},
        "config": {"server": {"max_body_bytes": 5000000}},
    }

    ingress = only(chart.render(values), "Ingress")

    nginx = "nginx.ingress.kubernetes.io/"
    expected = {
        f"{nginx}proxy-buffering": "off",
        f"{nginx}proxy-read-timeout": "3600",
        f"{nginx}proxy-send-timeout": "3600",
        f"{nginx}proxy-body-size": "5000000",
    }
    assert expected == ingress["metadata"]["annotations"]
    backend = {"service": {"name": "r3mes-tiny", "port": {"name": "http"}}}
    opened = DEFAULTS["ingress"]["paths"]
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in opened]
    first, second = ingress["spec"]["rules"]
    assert {"host": "a.example.org", "http": {"paths": paths}} == first
    assert {"http": {"paths": paths}} == second


@pytest.mark.parametrize("way", ["ingress", "httpRoute"])
def test_a_way_in_opens_the_api_and_not_the_metrics(way: str, fake_replica: Replica) -> None:
    opened = DEFAULTS[way]["paths"]
    document = httpx.get(f"{fake_replica.url}/openapi.json", verify=PLAIN).json()

    def below(path: str) -> set[str]:
        return {top for top in opened if path == top or path.startswith(f"{top}/")}

    found = {path: below(path) for path in [*document["paths"], "/docs", "/openapi.json"]}
    assert set(opened) == set().union(*found.values())  # none of them leads nowhere
    closed = {path for path, tops in found.items() if not tops}
    assert {"/metrics", "/docs", "/openapi.json", "/load"} <= closed
    assert {"/v1/chat/completions", "/v1/models", "/tokenize"} & closed == set()


def test_a_route_matches_the_paths_that_are_asked_for(chart: Chart) -> None:
    route = {
        "parentRefs": [{"name": "gate"}],
        "hosts": [{"host": "a.x"}],
        "paths": ["/v1", "/docs"],
    }

    things = chart.render({**KEYED, "httpRoute": {"enabled": True, **route}})

    [rule] = only(things, "HTTPRoute")["spec"]["rules"]
    paths = [match["path"] for match in rule["matches"]]
    assert [{"type": "PathPrefix", "value": path} for path in ("/v1", "/docs")] == paths


def test_an_annotation_of_ones_own_goes_over_the_charts(chart: Chart) -> None:
    size = {"nginx.ingress.kubernetes.io/proxy-body-size": "64m"}
    hosts = [{"host": "a.example.org"}]
    values = {**KEYED, "ingress": {"enabled": True, "hosts": hosts, "annotations": size}}

    annotations = only(chart.render(values), "Ingress")["metadata"]["annotations"]

    assert "64m" == annotations["nginx.ingress.kubernetes.io/proxy-body-size"]


def test_each_host_leads_to_its_model(chart: Chart) -> None:
    hosts = [{"host": "a.x", "model": "a"}, {"host": "b.x", "model": "b"}, {"host": "c.x"}]
    hosts[2]["model"] = "b"
    values = {
        **KEYED,
        "models": [{"name": "a"}, {"name": "b"}],
        "ingress": {"enabled": True, "hosts": hosts},
        "httpRoute": {"enabled": True, "hosts": hosts, "parentRefs": [{"name": "gate"}]},
    }

    things = chart.render(values)

    rules = only(things, "Ingress")["spec"]["rules"]
    backends = [rule["http"]["paths"][0]["backend"]["service"]["name"] for rule in rules]
    assert ["r3mes-a", "r3mes-b", "r3mes-b"] == backends
    routes = {named(route): route["spec"] for route in of_kind(things, "HTTPRoute")}
    assert {"r3mes-a": ["a.x"], "r3mes-b": ["b.x", "c.x"]} == {
        name: spec["hostnames"] for name, spec in routes.items()
    }
    assert {"request": "0s"} == routes["r3mes-a"]["rules"][0]["timeouts"]


def test_without_keys_a_way_in_needs_to_be_allowed(chart: Chart) -> None:
    ingress = {"ingress": {"enabled": True, "hosts": [{"host": "a.x"}]}}

    assert of_kind(chart.render({**ingress, "auth": {"allowAnonymous": True}}), "Ingress") != []


# The network.

DNS = [53, 53, 5353, 5353]


def egress_ports(things: list[dict[str, Any]], name: str = "r3mes-m") -> list[list[int]]:
    [policy] = [each for each in of_kind(things, "NetworkPolicy") if named(each) == name]
    return [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]


def test_a_pod_reaches_dns_and_its_hub_and_its_collector_and_no_more(chart: Chart) -> None:
    collector = {"telemetry": {"otlp_endpoint": "http://collector.observe:4318"}}

    assert [DNS] == egress_ports(chart.render(model()))
    hub = model(source={"hub": {"id": "org/name"}})
    assert [DNS, [443]] == egress_ports(chart.render(hub))
    mirror = model(source={"hub": {"id": "org/name", "endpoint": "http://mirror:8080/x"}})
    assert [DNS, [8080]] == egress_ports(chart.render(mirror))
    traced = model(config=collector)
    assert [DNS, [4318]] == egress_ports(chart.render(traced))


@pytest.mark.parametrize(
    ("address", "port"),
    [("http://x", 80), ("https://x/path", 443), ("http://[fd00::1]:4318", 4318)],
)
def test_the_port_of_an_address_is_what_it_names_or_implies(
    chart: Chart, address: str, port: int
) -> None:
    traced = model(config={"telemetry": {"otlp_endpoint": address}})

    assert [DNS, [port]] == egress_ports(chart.render(traced))


def test_requests_come_from_the_namespace_and_where_asked_from_controllers(chart: Chart) -> None:
    def peers(**values: Any) -> list[dict[str, Any]]:
        things = chart.render({**KEYED, **values})
        [policy] = [x for x in of_kind(things, "NetworkPolicy") if named(x) == "r3mes-tiny"]
        [rule] = policy["spec"]["ingress"]
        assert [{"port": "http", "protocol": "TCP"}] == rule["ports"]
        return rule["from"][1:]  # after the pods of helm test

    network = DEFAULTS["networkPolicy"]
    base = network["allowFrom"]
    ingress = {"enabled": True, "hosts": [{"host": "a.x"}]}
    assert base == peers()
    assert base + network["allowFromController"] == peers(ingress=ingress)
    assert base + network["allowFromPrometheus"] == peers(podMonitor={"enabled": True})


def test_a_mirror_is_reached_where_asked_and_by_default_wherever_it_may_be(chart: Chart) -> None:
    mirrored = model(source={"hub": {"id": "org/name", "endpoint": "http://mirror:8080"}})
    elsewhere = [{"ipBlock": {"cidr": "169.254.1.1/32"}}]

    def peers(**network: Any) -> Any:
        things = chart.render({**mirrored, "networkPolicy": network})
        [policy] = [each for each in of_kind(things, "NetworkPolicy") if named(each) == "r3mes-m"]
        return policy["spec"]["egress"][1]["to"]

    assert DEFAULTS["networkPolicy"]["allowToMirror"] == peers()
    assert elsewhere == peers(allowToMirror=elsewhere)


@pytest.mark.parametrize("endpoint", ["", "http://mirror"])
@pytest.mark.parametrize("nobody", [[], None])
def test_no_peers_are_nobody(chart: Chart, nobody: list[Any] | None, endpoint: str) -> None:
    lists = [name for name in DEFAULTS["networkPolicy"] if name.startswith("allow")]
    values = {
        **model(source={"hub": {"id": "org/name", "endpoint": endpoint}}),
        "config": {"telemetry": {"otlp_endpoint": "http://collector:4318"}},
        "auth": {"allowAnonymous": True},
        "ingress": {"enabled": True, "hosts": [{"host": "a.x"}]},
        "podMonitor": {"enabled": True},
        "networkPolicy": dict.fromkeys(lists, nobody),
    }

    things = chart.render(values)

    [policy] = [each for each in of_kind(things, "NetworkPolicy") if named(each) == "r3mes-m"]
    assert ["Ingress", "Egress"] == policy["spec"]["policyTypes"]
    assert not policy["spec"]["egress"]
    [rule] = policy["spec"]["ingress"]
    assert 1 == len(rule["from"])  # the pods of helm test


def test_network_policies_can_be_left_out(chart: Chart) -> None:
    assert [] == of_kind(chart.render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


# Observability.


def test_nothing_that_needs_an_operator_is_there_unless_asked_for(chart: Chart) -> None:
    kinds = {thing["kind"] for thing in chart.render()}

    assert {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "Pod"} == kinds


def test_alerts_and_dashboard_are_the_files_of_the_chart(chart: Chart) -> None:
    values = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    things = chart.render(values)

    files = CHART / "files"
    assert (
        yaml.safe_load((files / "alerts.yaml").read_text())
        == (only(things, "PrometheusRule")["spec"])
    )
    dashboard = only(things, "ConfigMap")
    text = (files / "dashboards" / "r3mes.json").read_text()
    assert text.strip() == dashboard["data"]["r3mes.json"].strip()
    assert "1" == dashboard["metadata"]["labels"]["grafana_dashboard"]


def test_alerts_link_to_a_runbook_of_ones_own(chart: Chart) -> None:
    page = "https://wiki.example.org/r3mes"
    rule = {"prometheusRule": {"enabled": True, "runbook": page}}

    groups = only(chart.render(rule), "PrometheusRule")["spec"]["groups"]

    links = {r["alert"]: r["annotations"]["runbook_url"] for g in groups for r in g["rules"]}
    assert {name: f"{page}#{name.lower()}" for name in observability.alerts()} == links


def test_a_monitor_names_the_job_after_the_models_service(chart: Chart) -> None:
    pods = only(chart.render({"podMonitor": {"enabled": True}}), "PodMonitor")

    [endpoint] = pods["spec"]["podMetricsEndpoints"]
    [naming] = endpoint["relabelings"]
    assert ("job", "r3mes-$1") == (naming["targetLabel"], naming["replacement"])
