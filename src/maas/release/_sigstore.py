"""Signing with an identity instead of a key, by Sigstore: the extra `keyless` brings its library.

A short-lived certificate binds the signature to the identity that an OpenID provider vouches for (in a workflow: the workflow
itself), and a public log keeps it. All three are asked over the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maas.errors import ReleaseError, UsageError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

_BUNDLE = ".sigstore.json"


class Keyless:
    """The identity of the workflow that runs this."""

    def __init__(self) -> None:
        self._signing: Any = None
        self._token: Any = None

    def ready(self) -> None:
        """Get the identity, and the services that bind it.

        Raises:
            UsageError: The library is not there.
            ReleaseError: There is no identity here, or a service does not answer.
        """
        try:
            from sigstore.models import ClientTrustConfig  # noqa: PLC0415
            from sigstore.oidc import IdentityToken, detect_credential  # noqa: PLC0415
            from sigstore.sign import SigningContext  # noqa: PLC0415
        except ImportError as error:
            raise _missing() from error
        try:
            self._signing = SigningContext.from_trust_config(ClientTrustConfig.production())
            credential = detect_credential()
        except Exception as error:  # the library lets errors of its transports through
            raise ReleaseError(
                "Sigstore cannot be reached from here",
                context=[repr(error)[:300]],
                hint="keyless signing needs the network; offline, sign with --sign gpg:FINGERPRINT or --sign key:FILE",
            ) from error
        if credential is None:
            raise ReleaseError(
                "there is no identity here that Sigstore could vouch for",
                hint="run this in a workflow with the permission `id-token: write`, or sign with gpg: or key:",
            )
        self._token = IdentityToken(credential)

    def sign(self, file: Path) -> Path:
        """Write a bundle with the signature of a file."""
        with self._signing.signer(self._token) as signer:
            return _write(file, signer.sign_artifact(file.read_bytes()))

    def attest(self, statement: Path) -> Path:
        """Write a bundle with the statement in an envelope (DSSE)."""
        from sigstore.dsse import Statement  # noqa: PLC0415

        with self._signing.signer(self._token) as signer:
            return _write(statement, signer.sign_dsse(Statement(statement.read_bytes())))


def verify(bundle: Path, file: Path, identity: str, issuer: str) -> str:
    """Check a bundle against an identity, offline, and return that identity.

    Raises:
        UsageError: The library is not there.
        VerificationError: The signature does not hold, or is somebody else's.
    """
    try:
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import Bundle  # noqa: PLC0415
        from sigstore.verify import Verifier, policy  # noqa: PLC0415
    except ImportError as error:
        raise _missing() from error
    try:
        verifier = Verifier.production(offline=True)
        said = Bundle.from_json(bundle.read_bytes())
        believed = policy.Identity(identity=identity, issuer=issuer)
        if b'"dsseEnvelope"' in bundle.read_bytes():
            _, payload = verifier.verify_dsse(said, believed)
            if payload != file.read_bytes():
                raise VerificationError(f"{bundle.name} is about another file than {file.name}")
        else:
            verifier.verify_artifact(file.read_bytes(), said, believed)
    except (Error, ValueError) as error:
        raise VerificationError(
            f"the signature {bundle.name} does not hold for {identity}",
            context=[str(error)[:300]],
            hint="the file was changed, or somebody else has signed it; do not use it",
        ) from error
    return f"{identity} ({issuer})"


def _write(file: Path, bundle: Any) -> Path:
    target = file.with_name(file.name + _BUNDLE)
    target.write_text(bundle.to_json() + "\n", encoding="utf-8")
    return target


def _missing() -> UsageError:
    return UsageError("Sigstore's library is not installed", command="pip install 'maas[keyless]'")
