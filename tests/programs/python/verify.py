"""What sigstore-python says of keyless bundles: verify.py FOLDER.

FOLDER has `manifest`, and for each case NAME.bundle and NAME.root. Prints a line for each, in the order
of their names: NAME, a tab, and `ok` or why not.
"""

import json
import hashlib
import pathlib
import sys

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import UnsafeNoOp

folder = pathlib.Path(sys.argv[1])
manifest = (folder / "manifest").read_bytes()
for path in sorted(folder.glob("*.bundle")):
    try:
        root = TrustedRoot.from_file(str(path.with_suffix(".root")))
        verifier = Verifier(trusted_root=root)
        text = path.read_text()
        bundle = Bundle.from_json(text)
        if "dsseEnvelope" in json.loads(text):
            kind, payload = verifier.verify_dsse(bundle, UnsafeNoOp())
            digests = [one["digest"]["sha256"] for one in json.loads(payload)["subject"]]
            if hashlib.sha256(manifest).hexdigest() not in digests:
                raise ValueError("the statement is about something else")
        else:
            verifier.verify_artifact(manifest, bundle, UnsafeNoOp())
        said = "ok"
    except Exception as error:  # whatever it raises is a no
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
    print(f"{path.stem}\t{said}")
