"""Network devices, UPSs and appliances, as snmp-exporter reads them."""

from __future__ import annotations

from maas.dashboards.model import Dashboard
from maas.dashboards.panels import (
    ANY_IS_BAD,
    NONE_IS_BAD,
    UTILIZATION,
    Column,
    Query,
    Row,
    Steps,
    lines,
    number,
    states,
    table,
)

_SNMP = 'cluster=~"$cluster", job="snmp"'
_PORT = "device, ifName, ifAlias"

SNMP = Dashboard(
    folder="platform",
    name="snmp",
    title="Network devices",
    description="Do the network devices and UPSs answer, are their interfaces up, and is there power?",
    content=(
        Row("Now"),
        number(
            "Reachable",
            "Devices that answer.",
            "short",
            Query(f"count(min by (device) (up{{{_SNMP}}}) == 1)"),
            steps=NONE_IS_BAD,
        ),
        number(
            "Unreachable",
            "Devices that do not answer.",
            "short",
            Query(f"count(min by (device) (up{{{_SNMP}}}) == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Interfaces down",
            "Enabled interfaces that are down, among them ports without a cable.",
            "short",
            Query(f"count((ifOperStatus{{{_SNMP}}} == 2) and (ifAdminStatus{{{_SNMP}}} == 1)) or vector(0)"),
        ),
        number(
            "On battery",
            "UPSs that run on their battery.",
            "short",
            Query(f"count(upsOutputSource{{{_SNMP}}} == 5) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        table(
            "Devices",
            "Every device and module: whether it answers, and how long that takes.",
            {"device": "Device", "module": "Module", "instance": "Address"},
            Column("Answers", f"max by (device, module, instance) (up{{{_SNMP}}})"),
            Column("Duration", f"max by (device, module, instance) (scrape_duration_seconds{{{_SNMP}}})", "s"),
            Column("Up for", f"max by (device, module, instance) (sysUpTime{{{_SNMP}}}) / 100", "s"),
        ),
        Row("Interfaces", width=12),
        states(
            "State",
            "State of the enabled interfaces.",
            Query(
                f"max by ({_PORT}) (ifOperStatus{{{_SNMP}}}) and max by ({_PORT}) (ifAdminStatus{{{_SNMP}}}) == 1",
                "{{device}} {{ifName}}",
            ),
            words={1: ("up", "green"), 2: ("down", "red"), 5: ("dormant", "orange"), 7: ("lower layer down", "red")},
        ),
        lines(
            "Received",
            "Bits received per second, by interface.",
            "bps",
            Query(
                f"sum by ({_PORT}) (rate(ifHCInOctets{{{_SNMP}}}[$__rate_interval])) * 8 > 0", "{{device}} {{ifName}}"
            ),
        ),
        lines(
            "Sent",
            "Bits sent per second, by interface.",
            "bps",
            Query(
                f"sum by ({_PORT}) (rate(ifHCOutOctets{{{_SNMP}}}[$__rate_interval])) * 8 > 0", "{{device}} {{ifName}}"
            ),
        ),
        lines(
            "Errors",
            "Packets with errors per second, by interface.",
            "pps",
            Query(
                f"sum by ({_PORT}) (rate(ifInErrors{{{_SNMP}}}[$__rate_interval]) + rate(ifOutErrors{{{_SNMP}}}[$__rate_interval])) > 0",
                "{{device}} {{ifName}}",
            ),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Discards",
            "Packets discarded per second, by interface; a full line discards.",
            "pps",
            Query(
                f"sum by ({_PORT}) (rate(ifInDiscards{{{_SNMP}}}[$__rate_interval]) + rate(ifOutDiscards{{{_SNMP}}}[$__rate_interval])) > 0",
                "{{device}} {{ifName}}",
            ),
            steps=ANY_IS_BAD,
        ),
        Row("Power and storage", width=8),
        lines(
            "Charge",
            "Charge of the batteries.",
            "percentunit",
            Query(f"max by (device) (upsEstimatedChargeRemaining{{{_SNMP}}}) / 100", "{{device}}"),
            most=1,
        ),
        lines(
            "Load",
            "Load of the UPSs, as a share of their capacity.",
            "percentunit",
            Query(f"max by (device) (upsOutputPercentLoad{{{_SNMP}}}) / 100", "{{device}}"),
        ),
        table(
            "UPSs",
            "Every UPS: minutes for which its battery lasts, its temperature in degrees Celsius, and active alarms.",
            {"device": "Device"},
            Column(
                "Minutes",
                f"min by (device) (upsEstimatedMinutesRemaining{{{_SNMP}}})",
                steps=Steps("red", ((10, "orange"), (20, "green"))),
            ),
            Column("Temperature", f"max by (device) (upsBatteryTemperature{{{_SNMP}}})"),
            Column("Alarms", f"max by (device) (upsAlarmsPresent{{{_SNMP}}})", steps=ANY_IS_BAD),
            width=8,
        ),
        table(
            "Storage",
            "Storage of servers and appliances, with memory.",
            {"device": "Device", "hrStorageDescr": "Storage"},
            Column(
                "Used",
                f"max by (device, hrStorageDescr) (hrStorageUsed{{{_SNMP}}} / (hrStorageSize{{{_SNMP}}} > 0))",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Size",
                f"max by (device, hrStorageDescr) (hrStorageSize{{{_SNMP}}} * hrStorageAllocationUnits{{{_SNMP}}})",
                "bytes",
            ),
            width=12,
        ),
        lines(
            "Processors",
            "Use of the processors.",
            "percentunit",
            Query(f"avg by (device) (hrProcessorLoad{{{_SNMP}}}) / 100", "{{device}}"),
            most=1,
            width=12,
        ),
    ),
)

DASHBOARDS = (SNMP,)
