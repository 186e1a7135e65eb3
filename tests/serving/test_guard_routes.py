"""The guard's own routes, as any HTTP client sees them."""

import base64
import io
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from guardalign_middleware.config import IntakePolicy, ServeConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.remote import RemoteImageGuard
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.serving.service import Service
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    base64_png,
    data_url,
    has_red,
    open_png,
    picture,
    png,
    red_config,
    red_guard,
)
from tests.support.animations import animation
from tests.support.serving import KEY


def serving(**limits: Any) -> TestClient:
    guard = red_guard(red_config(intake=IntakePolicy(frames="scan_all", allow_paths=True)))
    app = create_app(guard, ServeOptions(ServeConfig(**limits), api_key=KEY))
    return TestClient(app, headers={"Authorization": f"Bearer {KEY}"})


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as made:
        yield made


def post(client: TestClient, what: str, *images: Any, **options: Any) -> Any:
    sent = [image if isinstance(image, dict) else {"image": image} for image in images]
    return client.post(f"/v1/guard/{what}", json={"images": sent, **options})


def test_what_a_guard_tells_about_itself(client: TestClient) -> None:
    told = client.get("/v1/guard").json()
    assert told["version"] == 1
    assert told["settings"]["name"] == "red"
    assert told["max_images"] == ServeConfig().max_images
    assert told["guard"] == client.get("/ready").json()["parts"]["guard"]
    assert TestClient(client.app).get("/v1/guard").status_code == 401


def test_a_verdict_on_each_picture(client: TestClient) -> None:
    answer = post(client, "scan", data_url(picture()), base64_png(picture(red=True))).json()
    one, other = answer["verdicts"]
    assert (one["decision"], other["decision"]) == ("allow", "mask")
    assert other["regions"][0]["category"] == "weapon"
    assert one["source"] == "<data URL>"
    assert one["evidence"] is None
    answer = post(client, "scan", data_url(picture()), evidence=True).json()
    assert answer["verdicts"][0]["evidence"]["solver"] == "kernel"


def test_the_label_of_the_worst_frame(client: TestClient) -> None:
    film = base64.b64encode(animation(picture(), picture(red=True))).decode()
    (verdict,) = post(client, "scan", {"image": film, "source": "party.tiff"}).json()["verdicts"]
    assert verdict["source"] == "party.tiff#2"
    refused = post(client, "sanitize", {"image": film, "source": "party.tiff"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "multiple_frames"
    assert refused.json()["guardalign"]["source"] == "party.tiff"


def test_cleaned_pictures_and_overlays(client: TestClient) -> None:
    images = [data_url(picture()), data_url(picture(red=True)), data_url(all_red())]
    results = post(client, "sanitize", *images, overlay=True).json()["results"]
    assert [item["verdict"]["decision"] for item in results] == ["allow", "mask", "block"]
    shown = [item["image"] and decoded(item["image"]) for item in results]
    assert open_png(shown[0]).sha256 == picture().sha256
    assert not has_red(open_png(shown[1]))
    assert shown[2] is None
    assert [item["passed"] for item in results][::2] == ["verdict", None]
    assert results[1]["passed"]["decision"] == "allow"
    for item in results:
        with Image.open(io.BytesIO(decoded(item["overlay"]))) as drawn:
            assert min(drawn.size) >= 64
    bare = post(client, "sanitize", images[1], picture=False).json()["results"][0]
    assert bare["image"] is None
    assert bare["overlay"] is None


def decoded(url: str) -> bytes:
    header, _, body = url.partition(",")
    assert header == "data:image/png;base64"
    return base64.b64decode(body)


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "file:///etc/passwd", "https://example.com/a.png", "", "%%%"]
)
def test_only_pictures_in_the_request_itself_are_read(client: TestClient, image: str) -> None:
    answer = post(client, "scan", image)
    assert answer.status_code == 400
    assert answer.json()["guardalign"]["kind"] == "ImageRejected"


def test_pixels_are_of_any_size_in_bytes_but_png() -> None:
    with serving() as client:
        guard = client.app.state.service.guard  # type: ignore[attr-defined]
        small = guard.config.intake.model_copy(update={"max_bytes": 100})
        guard.config = guard.config.model_copy(update={"intake": small})
        sent = base64_png(picture(red=True))
        assert post(client, "scan", sent).json()["error"]["code"] == "too_many_bytes"
        (verdict,) = post(client, "scan", {"image": sent, "pixels": True}).json()["verdicts"]
        assert verdict["decision"] == "mask"
        buffer = io.BytesIO()
        picture().to_pil().save(buffer, "JPEG")
        jpeg = {"image": base64.b64encode(buffer.getvalue()).decode(), "pixels": True}
        assert post(client, "scan", jpeg).json()["error"]["code"] == "format_not_allowed"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"images": []}, 400, "images"),
        ({"levitate": True}, 400, "levitate"),
        ({"version": 2}, 400, "version"),
        ({"view_seed": "no seed"}, 400, "view_seed"),
        ({"turns": [{"text": "", "images": 2}]}, 400, "turns"),
        ({"turns": [{"text": "", "images": 1}], "view_seed": "0" * 32}, 400, "turns"),
        ({"turns": [{"text": "long" * 9, "images": 1}]}, 413, "turns"),
    ],
)
def test_requests_that_are_refused(change: dict[str, Any], status: int, param: str) -> None:
    with serving(max_text_characters=20) as client:
        body = {"images": [{"image": data_url(picture())}], **change}
        answer = client.post("/v1/guard/sanitize", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


def test_more_pictures_than_a_request_may_hold() -> None:
    with serving(max_images=1) as client:
        answer = post(client, "scan", data_url(picture()), data_url(picture()))
    assert answer.status_code == 413
    assert answer.json()["guardalign"]["kind"] == "BudgetExceeded"


def test_pictures_are_counted(client: TestClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[1]) for line in lines if line.startswith("guardalign_images_t")
        )

    before = counted()
    post(client, "scan", data_url(all_red()))
    post(client, "sanitize", data_url(all_red()))
    assert counted() == before + 2


def test_a_guard_in_another_process_is_not_served_again() -> None:
    chain = GuardAlign.__new__(GuardAlign)
    chain.guard = RemoteImageGuard("http://127.0.0.1:9")
    chain.runner = EchoRunner()
    with pytest.raises(ConfigError, match="where its models are"):
        Service.of(chain, ServeOptions(api_key=KEY))


def test_a_file_as_the_body(client: TestClient) -> None:
    sent = png(picture(red=True))
    by_json = post(client, "scan", base64.b64encode(sent).decode(), evidence=True).json()
    for kind in ("image/png", "IMAGE/PNG; x=1", "application/octet-stream"):
        answer = client.post(
            "/v1/guard/scan?evidence=true", content=sent, headers={"Content-Type": kind}
        )
        assert answer.json() == by_json
    cleaned = client.post("/v1/guard/sanitize?overlay=1", content=sent, headers=PNG).json()
    assert not has_red(open_png(decoded(cleaned["results"][0]["image"])))
    assert cleaned["results"][0]["overlay"]


def test_files_in_a_form(client: TestClient) -> None:
    files = [
        ("image", ("C:\\private\\a.png", png(picture(red=True)), "image/png")),
        ("image", ("b.png", png(picture()), "image/png")),
    ]
    answer = client.post("/v1/guard/sanitize", files=files, data={"picture": "false"}).json()
    assert [each["verdict"]["decision"] for each in answer["results"]] == ["mask", "allow"]
    assert [each["verdict"]["source"] for each in answer["results"]] == ["a.png", "b.png"]
    assert [each["image"] for each in answer["results"]] == [None, None]


PNG = {"Content-Type": "image/png"}


@pytest.mark.parametrize(
    ("query", "body", "headers", "code"),
    [
        ("", b"", PNG, "empty"),
        ("", b"no picture", PNG, "unknown_format"),
        ("?levitate=1", png(picture()), PNG, "unknown_parameter"),
        ("?images=x", png(picture()), PNG, "unknown_parameter"),
        ("?evidence=1&evidence=0", png(picture()), PNG, "invalid_value"),
        ("?evidence=maybe", png(picture()), PNG, "invalid_value"),
        ("", b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, None),
        ("", b"x", {"Content-Type": "multipart/form-data"}, "invalid_form"),
        ("", b"x", {"Content-Type": "text/plain"}, None),
    ],
)
def test_uploads_that_are_refused(
    client: TestClient, query: str, body: bytes, headers: dict[str, str], code: str | None
) -> None:
    answer = client.post(f"/v1/guard/scan{query}", content=body, headers=headers)
    assert answer.status_code == 400
    assert code in (None, answer.json()["error"]["code"])


def test_a_form_stays_in_memory_and_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_disk(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture was written to the disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", on_disk)
    large = 2 * 2**20 * b"x"
    with serving(max_images=1) as client:
        one = client.post("/v1/guard/scan", files=[("image", ("a", large))])
        assert one.json()["error"]["code"] == "unknown_format"
        two = client.post("/v1/guard/scan", files=[("image", ("a", png(picture())))] * 2)
        assert two.status_code == 413
    assert client.post("/v1/guard/scan", files=[("other", ("a", b"x"))]).status_code in (400, 401)
