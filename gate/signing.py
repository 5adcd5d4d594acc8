"""Signs what the gate posts to an address of the user's own, so that the receiver knows who asks, and when.

The scheme is Standard Webhooks 1.0 (standardwebhooks.com): libraries in most languages check it. Sends nothing.
"""

import base64
import hmac
from binascii import Error as NotBase64
from collections.abc import Mapping

_PREFIX = "whsec_"


def signed(key: str, body: bytes, *, message: str, at: float) -> Mapping[str, str]:
    """The headers that sign ``body``: whoever changes it, its id or its moment needs the key.

    Args:
        key: the shared secret; after ``whsec_`` it is base64, otherwise its own bytes.
        body: exactly what is sent.
        message: what the message is called; the same when it is sent again, so that a receiver does it once.
        at: the moment of sending, in seconds since the epoch: receivers refuse old ones.
    """
    moment = str(int(at))
    content = b".".join((message.encode(), moment.encode(), body))
    digest = hmac.digest(_bytes(key), content, "sha256")
    return {
        "webhook-id": message,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _bytes(key: str) -> bytes:
    if key.startswith(_PREFIX):
        try:
            return base64.b64decode(key.removeprefix(_PREFIX), validate=True)
        except NotBase64:
            return key.encode()
    return key.encode()
