"""OpenAI's moderation of pictures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.serving.moderations import result_of
from guardalign_middleware.testing import all_red, data_url, picture, red_guard
from guardalign_middleware.types import Region
from tests.support.serving import KEY
from tests.support.verdicts import make_verdict, plain_image


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(red_guard(), ServeOptions(api_key=KEY))
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as made:
        yield made


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_openais_own_client(client: TestClient) -> None:
    asking = openai.OpenAI(
        api_key=KEY, base_url="http://testserver/v1", http_client=client, max_retries=0
    )
    for image, flagged in ((picture(), False), (picture(red=True), True), (all_red(), True)):
        answer = asking.moderations.create(
            model="omni-moderation-latest", input=[part(data_url(image))]
        )
        (result,) = answer.results
        assert result.flagged is flagged
        assert result.categories.to_dict() == {"weapon": flagged}
        assert (result.category_scores.to_dict()["weapon"] > 0.5) is flagged
        assert answer.model == "red"
        assert answer.to_dict()["guardalign"]["verdicts"][0]["profile"]


def test_all_pictures_of_a_request_have_one_result(client: TestClient) -> None:
    images = [part(data_url(picture())), part(data_url(picture(red=True)))]
    answer = client.post("/v1/moderations", json={"input": images}).json()
    assert [result["flagged"] for result in answer["results"]] == [True]
    assert [each["decision"] for each in answer["guardalign"]["verdicts"]] == ["allow", "mask"]


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ("a text", 400, "unsupported_input"),
        (["a text"], 400, "unsupported_input"),
        ([{"type": "text", "text": "a"}, part("data:,")], 400, "unsupported_input"),
        ([], 400, "invalid_value"),
        ([part("data:image/png;base64,AAAA")], 400, "unknown_format"),
        ([part("https://example.com/a.png")], 400, "url_not_allowed"),
        ([part(str(Path(__file__)))], 400, "path_not_allowed"),
        ([{"type": "video"}], 400, "invalid_value"),
    ],
)
def test_what_is_refused(client: TestClient, given: Any, status: int, code: str) -> None:
    answer = client.post("/v1/moderations", json={"input": given})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_another_model(client: TestClient) -> None:
    body = {"input": [part(data_url(picture()))], "model": "gpt-4o"}
    assert client.post("/v1/moderations", json=body).status_code == 404
    body["model"] = "red"
    assert client.post("/v1/moderations", json=body).status_code == 200


def test_categories_that_were_not_near_are_named_too() -> None:
    result = result_of([make_verdict(plain_image(), distance=0.7)], ["drugs", "weapon"])
    assert result.categories == {"drugs": False, "weapon": False}
    assert result.category_scores["drugs"] == 0.0
    assert result.category_scores["weapon"] == pytest.approx(0.2)


def test_what_is_only_reported_is_not_flagged_and_words_count() -> None:
    image = plain_image()
    reported = replace(
        make_verdict(image), regions=(Region((0, 0, 9, 9), "weapon", 0.3, 0.7, "flag"),)
    )
    assert result_of([reported]).categories == {"weapon": False}
    words = replace(
        make_verdict(image, decision="mask"),
        regions=(Region((0, 0, 9, 9), "order", 0.1, 0.0, "mask", "words"),),
    )
    result = result_of([reported, words])
    assert result.categories == {"order": True, "weapon": False}
    assert result.category_scores["order"] == pytest.approx(0.9)


def test_an_unsafe_picture_without_regions_is_flagged() -> None:
    result = result_of([make_verdict(plain_image(), decision="block")])
    assert result.flagged
    assert result.categories == {"weapon": True}
