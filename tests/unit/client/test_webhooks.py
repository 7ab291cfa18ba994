"""Webhooks: real ones are told from forged ones."""

import base64
import hashlib
import hmac
import json

import pytest

from blueengine.client import SignatureError, Webhook, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ok!").decode()
OTHER = "whsec_" + base64.b64encode(b"quite another one, later").decode()
NOW = 1_700_000_000.0
BODY = json.dumps({"eventId": "e1", "sessionId": "s", "type": "finish", "status": "finished"})


def headers(secret: str = SECRET, *, at: float = NOW, body: str = BODY) -> dict[str, str]:
    """Sign as Standard Webhooks says."""
    stamp = str(int(at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"msg_1.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": "v1," + base64.b64encode(digest).decode(),
    }


def test_a_real_one_is_read() -> None:
    event = verify_webhook(BODY, headers(), SECRET, now=NOW)
    assert (event.event_id, event.type, event.status) == ("e1", "finish", "finished")
    assert verify_webhook(BODY.encode(), headers(), SECRET, now=NOW + 299) == event


def test_the_example_of_the_standard_is_real() -> None:
    """The values are those of the Standard Webhooks specification's libraries."""
    signed = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    event = verify_webhook('{"test": 2432232314}', signed, secret, now=1614265330)
    assert event.session_id == ""


def test_secrets_are_changed_without_a_gap() -> None:
    both = headers(OTHER)
    both["Webhook-Signature"] = f"{headers()['Webhook-Signature']} {both['Webhook-Signature']}"
    assert verify_webhook(BODY, both, SECRET, now=NOW)
    assert verify_webhook(BODY, both, OTHER, now=NOW)
    assert verify_webhook(BODY, headers(OTHER), [SECRET, OTHER], now=NOW)


@pytest.mark.parametrize(
    ("changed", "body", "secret", "now", "said"),
    [
        ({}, BODY + " ", SECRET, NOW, "not signed with this secret"),
        ({}, BODY, OTHER, NOW, "not signed with this secret"),
        ({}, BODY, SECRET, NOW + 301, "301 s old"),
        ({}, BODY, SECRET, NOW - 301, "301 s early"),
        ({"Webhook-Id": "msg_2"}, BODY, SECRET, NOW, "not signed"),
        ({"Webhook-Timestamp": str(int(NOW) + 1)}, BODY, SECRET, NOW, "not signed"),
        ({"Webhook-Timestamp": "soon"}, BODY, SECRET, NOW, "no number"),
        ({"Webhook-Timestamp": "²"}, BODY, SECRET, NOW, "no number"),
        ({"Webhook-Signature": ""}, BODY, SECRET, NOW, "missing"),
        ({"Webhook-Signature": "v1,é v2,x v1a,y"}, BODY, SECRET, NOW, "not signed"),
        ({}, BODY, "whsec_", NOW, "empty"),
        ({}, BODY, "whsec_no!", NOW, "not one of the platform"),
    ],
)
def test_everything_else_is_refused(
    changed: dict[str, str], body: str, secret: str, now: float, said: str
) -> None:
    with pytest.raises(SignatureError, match=said) as caught:
        verify_webhook(body, headers() | changed, secret, now=now)
    assert secret not in str(caught.value) or secret == "whsec_"


def test_signed_nonsense_is_refused() -> None:
    with pytest.raises(SignatureError, match="holds no event"):
        verify_webhook("[]", headers(body="[]"), SECRET, now=NOW)


def test_what_is_asked_for_keeps_its_headers_to_itself() -> None:
    webhook = Webhook(
        url="https://a/b", types=["finish"], headers={"Authorization": "secret"}, result_channel="T"
    )
    assert "secret" not in repr(webhook)
    assert webhook.body() == {
        "callbackUrl": "https://a/b",
        "statusTypes": ["finish"],
        "callbackHeader": {"Authorization": "secret"},
        "resultChan": "T",
    }
