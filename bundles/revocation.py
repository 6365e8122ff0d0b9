"""Revocation lists (RFC 5280) that lie beside the trust roots: certificates that do not count any more."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from cryptography import x509

_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def read_lists(pem: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """The lists in a PEM text, which may hold certificates too.

    Raises:
        ValueError: one of them cannot be parsed.
    """
    return tuple(x509.load_pem_x509_crl(found) for found in _LIST.findall(pem))


def revoked(
    path: Sequence[x509.Certificate], lists: Iterable[x509.CertificateRevocationList]
) -> x509.Certificate | None:
    """The first certificate on the path, from the signer up, that its issuer has revoked.

    A list counts when the issuer on the path has signed it. It counts for ever: what was revoked stays so
    when nobody brings a newer list.
    """
    for certificate, issuer in pairwise(path):
        for each in lists:
            if (
                each.issuer == issuer.subject
                and each.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
                and each.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
            ):
                return certificate
    return None
