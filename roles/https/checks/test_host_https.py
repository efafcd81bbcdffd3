"""Each name of the app has its certificate at the balancer, and plain HTTP is sent there."""

import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

ASK = """
import http.client, json, socket, ssl, sys
https, name = json.loads(sys.argv[1]), sys.argv[2]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
raw = socket.create_connection((https["address"], https["port"]), 5)
with context.wrap_socket(raw, server_hostname=name) as client:
    der = client.getpeercert(binary_form=True)
plain = http.client.HTTPConnection(*https["plain"], timeout=5)
plain.request("GET", "/a?b=c", headers={"Host": name})
answer = plain.getresponse()
print(json.dumps([ssl.DER_cert_to_PEM_cert(der), answer.status, answer.getheader("Location")]))
"""


@pytest.fixture
def answers(host, deploy):
    """Name → the certificate that is presented for it, and what plain HTTP answers: status, Location."""
    if not deploy.https:
        pytest.skip("tls is off")
    found = {}
    for name in deploy.domains:
        asked = host.run("%s -Ic %s %s %s", deploy.python or "python3", ASK, json.dumps(deploy.https), name)
        assert asked.succeeded, f"https://{name} cannot be asked: {asked.stderr.strip().splitlines()[-1]}"
        pem, *plain = json.loads(asked.stdout)
        found[name] = x509.load_pem_x509_certificate(pem.encode()), plain
    return found


def test_every_name_has_a_certificate_that_is_valid_now(answers, deploy):
    for name, (certificate, _) in answers.items():
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {name, "*." + name.partition(".")[2]} & set(names.get_values_for_type(x509.DNSName))
        assert certificate.not_valid_before_utc <= datetime.now(UTC) < certificate.not_valid_after_utc
        if deploy.https["sha256"]:
            assert certificate.fingerprint(hashes.SHA256()).hex() == deploy.https["sha256"], (
                "not the one of tls.certificate"
            )


def test_plain_http_is_sent_to_https(answers, deploy):
    port = "" if deploy.https["port"] == 443 else f":{deploy.https['port']}"
    assert {name: plain for name, (_, plain) in answers.items()} == {
        name: [308, f"https://{name}{port}/a?b=c"] for name in answers
    }
