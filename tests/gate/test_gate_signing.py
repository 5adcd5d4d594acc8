"""Signatures of what the gate posts, against the scheme's own published example."""

from gate.signing import signed

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'


def test_the_published_example_is_signed_as_published() -> None:
    headers = signed(KEY, BODY, message=MESSAGE, at=1614265330.7)
    assert headers == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_body_id_moment_and_key_all_count() -> None:
    def sign(key: str = "a key", body: bytes = b"{}", message: str = "m", at: float = 1.0) -> str:
        return signed(key, body, message=message, at=at)["webhook-signature"]

    changed = {sign(), sign(key="another"), sign(body=b"[]"), sign(message="n"), sign(at=2.0), sign(key="whsec_a key")}
    assert len(changed) == 6
