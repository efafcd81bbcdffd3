"""A certificate authority of a test's own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Made:
    """A certificate and its key, as PEM."""

    pem: str
    key: str

    @property
    def sha256(self) -> str:
        return x509.load_pem_x509_certificate(self.pem.encode()).fingerprint(hashes.SHA256()).hex()


class Authority:
    """Signs for any name. `file` is what clients trust."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
        self.file = folder / "authority.pem"
        made = self._built(self._name, self._key.public_key(), -1.0, 3650.0)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def signs(self, *names: str, begins: float = -1.0, days: float = 90.0) -> Made:
        """A certificate for `names`, from `begins` days from now on, for `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._built(subject, key.public_key(), begins, days).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signed = made.sign(self._key, hashes.SHA256())
        return Made(signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode())

    def _built(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, begins: float, days: float
    ) -> x509.CertificateBuilder:
        begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=begins)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=days))
        )
