"""Reads of PEM certificates what must be watched: name, end and whether it signs others.

For programs of a host, which has no library for it: a certificate is a tree of DER elements (RFC 5280), and these are
on its first two levels.
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
    """The DER elements that stand one after the other in `data`, as pairs of tag and content."""
    position, found = 0, []
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        if position + length > len(data):
            raise ValueError("the certificate ends in the middle of an element")
        found.append((tag, data[position : position + length]))
        position += length
    return found


def moment(tag, content):
    """A time of the certificate in seconds since 1970: UTCTime has two digits for the year, GeneralizedTime four."""
    form = "%y%m%d%H%M%SZ" if tag == TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(content.decode("ascii"), form).replace(tzinfo=timezone.utc).timestamp()


def common_name(subject):
    """The common name within a subject, empty without one."""
    for _, relative in elements(subject):
        for _, pair in elements(relative):
            (_, kind), (_, value) = elements(pair)
            if kind == COMMON_NAME:
                return value.decode()
    return ""


def signs_others(extensions):
    """Whether the basic constraints make it a certificate authority."""
    for _, extension in elements(elements(extensions)[0][1]):
        parts = elements(extension)
        if parts[0][1] == BASIC_CONSTRAINTS:
            constraints = elements(elements(parts[-1][1])[0][1])
            return bool(constraints) and constraints[0] == (BOOLEAN, b"\xff")
    return False


def certificates(text):
    """Common name, end in seconds since 1970, and whether it is an authority, of each certificate in a PEM text.

    Raises:
        ValueError: One of them cannot be read.
    """
    found = []
    for body in PEM.findall(text):
        try:
            ((_, certificate),) = elements(base64.b64decode(body))
            fields = elements(elements(certificate)[0][1])
            # Version (tag A0), serial number, algorithm, issuer, validity, subject, key, and what is optional.
            validity, subject = fields[4][1], fields[5][1]
            authority = any(tag == EXTENSIONS and signs_others(content) for tag, content in fields[7:])
            found.append((common_name(subject), moment(*elements(validity)[1]), authority))
        except IndexError as error:
            raise ValueError("the certificate has fewer parts than one has") from error
    return found


def control_plane(directory=Path("/etc/kubernetes")):
    """File, end and whether it is an authority, of each certificate of the control plane, those in kubeconfigs too."""
    texts = [(path, path.read_text(encoding="utf-8")) for path in sorted(directory.glob("pki/**/*.crt"))]
    for path in sorted(directory.glob("*.conf")):
        inside = re.findall(r"client-certificate-data: (\S+)", path.read_text(encoding="utf-8"))
        texts += [(path, base64.b64decode(word).decode("ascii")) for word in inside]
    return [(path, end, authority) for path, text in texts for _, end, authority in certificates(text)]
