"""Read common name, expiry and CA flag of PEM certificates with the standard library, for programs on a host.

A certificate is a tree of DER elements (RFC 5280); these fields are on its first two levels.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone
from pathlib import Path

SEQUENCE, BOOLEAN, OCTETS, TIME, EXTENSIONS = 0x30, 0x01, 0x04, 0x17, 0xA3
COMMON_NAME, BASIC_CONSTRAINTS = bytes.fromhex("550403"), bytes.fromhex("551d13")
PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)


def elements(data):
    """Return the DER elements in `data` as pairs of tag and content."""
    position, found = 0, []
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        if position + length > len(data):
            raise ValueError("the certificate is truncated")
        found.append((tag, data[position : position + length]))
        position += length
    return found


def unix_time(tag, content):
    """Return a time of the certificate as Unix time: UTCTime has two digits for the year, GeneralizedTime four."""
    form = "%y%m%d%H%M%SZ" if tag == TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(content.decode("ascii"), form).replace(tzinfo=timezone.utc).timestamp()


def common_name(subject):
    """Return the common name of a subject, empty if it has none."""
    for _, relative in elements(subject):
        for _, pair in elements(relative):
            (_, kind), (_, value) = elements(pair)
            if kind == COMMON_NAME:
                return value.decode()
    return ""


def is_ca(extensions):
    """Return whether the basic constraints say that the certificate is a CA."""
    for _, extension in elements(elements(extensions)[0][1]):
        parts = elements(extension)
        if parts[0][1] == BASIC_CONSTRAINTS:
            constraints = elements(elements(parts[-1][1])[0][1])
            return bool(constraints) and constraints[0] == (BOOLEAN, b"\xff")
    return False


def certificates(text):
    """Return common name, expiry as Unix time and CA flag of each certificate in a PEM text.

    Raises:
        ValueError: A certificate is malformed.
    """
    found = []
    for body in PEM.findall(text):
        try:
            ((_, certificate),) = elements(base64.b64decode(body))
            fields = elements(elements(certificate)[0][1])
            # Version (tag A0), serial number, algorithm, issuer, validity, subject, key, optional fields.
            validity, subject = fields[4][1], fields[5][1]
            authority = any(tag == EXTENSIONS and is_ca(content) for tag, content in fields[7:])
            found.append((common_name(subject), unix_time(*elements(validity)[1]), authority))
        except IndexError as error:
            raise ValueError("the certificate has too few fields") from error
    return found


def control_plane(directory=Path("/etc/kubernetes")):
    """Return file, expiry and CA flag of each certificate of the control plane, including those in kubeconfigs."""
    texts = [(path, path.read_text(encoding="utf-8")) for path in sorted(directory.glob("pki/**/*.crt"))]
    for path in sorted(directory.glob("*.conf")):
        inside = re.findall(r"client-certificate-data: (\S+)", path.read_text(encoding="utf-8"))
        texts += [(path, base64.b64decode(word).decode("ascii")) for word in inside]
    return [(path, end, authority) for path, text in texts for _, end, authority in certificates(text)]
