"""Signs a manifest with keys of securesystemslib's own making: sign.py FOLDER.

FOLDER has `manifest` and `statement`; for each kind of key KIND this writes KIND.pub, KIND.message
(a signature over the manifest), KIND.envelope (a DSSE envelope over the statement, as securesystemslib
writes it) and KIND.payload with KIND.simple, a signature over `payload`.
"""

import json
import pathlib
import sys

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

folder = pathlib.Path(sys.argv[1])
read = {name: (folder / name).read_bytes() for name in ("manifest", "statement", "payload")}
for kind, signer in {
    "ecdsa": CryptoSigner.generate_ecdsa(),
    "ed25519": CryptoSigner.generate_ed25519(),
    "rsa": CryptoSigner.generate_rsa(),
}.items():
    key = load_pem_private_key(signer.private_bytes, None).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{kind}.pub").write_bytes(pem)
    for name, what in (("message", "manifest"), ("simple", "payload")):
        signature = signer.sign(read[what]).signature
        (folder / f"{kind}.{name}").write_bytes(bytes.fromhex(signature))
    envelope = Envelope(read["statement"], "application/vnd.in-toto+json", {})
    envelope.sign(signer)
    (folder / f"{kind}.envelope").write_text(json.dumps(envelope.to_dict()))
