"""Rules between a lab's networks are found again by the lab's name alone."""

from __future__ import annotations

from maas.lab.isolation import rules_of

SAVED = """\
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -i br-1 -o br-2 -m comment --comment "maas.lab=demo" -j DROP
-A FORWARD -i br-3 -o br-4 -m comment --comment maas.lab=demo2 -j DROP
-A FORWARD -i br-1 -o br-2 -j ACCEPT
-A INPUT -m comment --comment "maas.lab=demo" -j ACCEPT
COMMIT
"""


def test_only_forwarding_rules_of_this_lab_are_removed() -> None:
    assert rules_of("demo", SAVED) == [
        ["-D", "FORWARD", "-i", "br-1", "-o", "br-2", "-m", "comment", "--comment", "maas.lab=demo", "-j", "DROP"]
    ]
    assert len(rules_of("demo2", SAVED)) == 1
    assert rules_of("dem", SAVED) == []
