"""Options become metadata or a request body, and what the stack would refuse is refused locally."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seedance.errors import InvalidRequest
from seedance.jobs import requests

from cli.requests import METADATA_LIMIT, Wish, header_text, read_labels, read_settings

DEFAULTS = requests.Defaults("seedance-1.0-pro-fast", "a default", "v2")
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\t\n"), min_size=1, max_size=200)


@given(TEXT.filter(str.strip))
def test_a_prompt_arrives_as_it_was_typed(prompt: str) -> None:
    sent = header_text(prompt)
    assert sent.isascii()
    assert sent.isprintable()
    arrived = requests.upload_request({"prompt": sent}, DEFAULTS).parameters["prompt"]
    assert arrived == prompt.strip()


@given(TEXT)
def test_no_encoded_word_is_longer_than_the_standard_allows(prompt: str) -> None:
    sent = header_text(prompt)
    assert sent == prompt or all(len(word) <= 75 for word in sent.split(" "))


def test_plain_text_is_left_alone() -> None:
    assert header_text("A red shoe turns, 50% slower = better?") == "A red shoe turns, 50% slower = better?"


def test_metadata_has_only_the_given_options() -> None:
    wish = Wish(prompt="turn", model="seedance-pro", parameters={"duration": "10", "camera_fixed": "true"})
    assert wish.metadata() == {
        "model": "seedance-pro",
        "prompt": "turn",
        "duration": "10",
        "camera_fixed": "true",
    }
    assert Wish().metadata() == {}


def test_the_stack_reads_the_metadata_as_it_was_meant() -> None:
    wish = Wish(prompt="größer", model="seedance-1.5-pro", transport="v2", parameters={"duration": "7", "audio": "no"})
    request = requests.upload_request(wish.metadata(), DEFAULTS)
    assert request.model.slug == "seedance-1.5-pro"
    assert request.parameters["prompt"] == "größer"
    assert request.parameters["duration"] == 7
    assert request.parameters["generate_audio"] is False


def test_metadata_that_s3_cannot_hold_is_refused_with_an_alternative() -> None:
    Wish(prompt="x" * (METADATA_LIMIT - len("prompt"))).metadata()
    with pytest.raises(InvalidRequest, match="seedance submit --image"):
        Wish(prompt="x" * (METADATA_LIMIT - len("prompt") + 1)).metadata()


def test_a_body_has_only_the_given_options() -> None:
    wish = Wish(prompt="turn", model="seedance-pro", transport="v1", parameters={"duration": "10"})
    assert wish.body() == {
        "model": "seedance-pro",
        "transport": "v1",
        "prompt": "turn",
        "parameters": {"duration": "10"},
    }
    assert Wish(prompt="turn").body() == {"prompt": "turn"}


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (Wish(model="seedance-pr"), "did you mean seedance-pro"),
        (Wish(model="seedance-pro", parameters={"durration": "5"}), "did you mean duration"),
        (Wish(model="seedance-pro", parameters={"duration": "7"}), "duration: must be 5 or 10, not 7"),
        (Wish(model="seedance-pro", parameters={"image_url": "http://x/a.jpg"}), "use only one of them"),
        (Wish(model="seedance-pro", prompt=""), "prompt: must be text of 1 to"),
        (Wish(parameters={"durration": "5"}), "durration is not a parameter of any model; did you mean duration"),
        (Wish(parameters={"duration": "long"}), "must be 5 or 10, not 'long' .seedance-pro; it is not valid for"),
        (Wish(parameters={"generate_audio": "maybe"}), "generate_audio: must be true or false, not 'maybe'"),
        (Wish(parameters={"zzzz": "5"}), "`seedance models` lists them"),
        (Wish(prompt="caf\udce9"), "prompt: is not UTF-8 text"),
        (Wish(parameters={"seed": "\udce9"}), "seed: is not UTF-8 text"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_sent(wish: Wish, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        wish.check(has_image=True)


@pytest.mark.parametrize(
    "wish",
    [
        Wish(),
        Wish(model="seedance-pro"),
        Wish(model="seedance-2.0-fast", parameters={"duration": "-1", "audio": "true"}),
        # Without a model, only the stack knows which parameters its default model takes.
        Wish(parameters={"duration": "7"}),
    ],
)
def test_valid_options_are_accepted(wish: Wish) -> None:
    wish.check(has_image=True)


def test_settings_are_parsed() -> None:
    given = ["duration=10", "aspect-ratio = 16:9", "image_url=http://x/?a=b"]
    assert read_settings(given) == {"duration": "10", "aspect_ratio": "16:9", "image_url": "http://x/?a=b"}


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["duration"], "must be KEY=VALUE"),
        (["=5"], "must be KEY=VALUE"),
        (["duration=5", "duration=10"], "duration is given twice"),
        (["model=seedance-pro"], "use the option --model"),
    ],
)
def test_invalid_settings_are_refused(pairs: list[str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_settings(pairs)


def test_a_request_is_checked_with_the_stacks_defaults() -> None:
    wish = Wish(prompt="turn", parameters={"duration": "4"})
    wish.check(has_image=True)  # 1.5 pro and the 2.0 models have it
    with pytest.raises(InvalidRequest, match="must be 5 or 10, not 4"):
        wish.upload(DEFAULTS)
    with pytest.raises(InvalidRequest, match="must be 5 or 10, not 4"):
        wish.call(DEFAULTS, {"image_key": "images/a.png"})
    other = requests.Defaults("seedance-1.5-pro", "a default", "v2")
    assert wish.upload(other).parameters["duration"] == 4
    assert wish.call(other, {}).image_key is None


def test_a_transport_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"must be v2 for seedance-1\.0-pro-fast"):
        Wish(transport="v1").upload(DEFAULTS)


def test_a_call_carries_its_name_and_metadata_and_an_upload_no_name() -> None:
    wish = Wish(prompt="turn", name="Red shoe", labels=read_labels(["sku=S-1", "note=a=b", "empty="]))
    assert wish.body() == {
        "prompt": "turn",
        "name": "Red shoe",
        "metadata": {"sku": "S-1", "note": "a=b", "empty": ""},
    }
    assert wish.metadata() == {"prompt": "turn", "metadata": '{"sku":"S-1","note":"a=b","empty":""}'}
    wish.check(has_image=False)


PAIRS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(st.dictionaries(PAIRS.filter(bool), PAIRS, max_size=5))
@example({"SKU": "S-1", "model": "red", "Größe": "靴 👟", "=?x?=": '"\\'})
def test_the_stack_reads_the_metadata_of_an_upload_as_it_was_given(pairs: dict[str, str]) -> None:
    wish = Wish(prompt="turn", labels=pairs)
    wish.check(has_image=True)
    assert requests.own_metadata(wish.metadata()) == (pairs, [])
    assert wish.upload(DEFAULTS) == Wish(prompt="turn").upload(DEFAULTS)


def test_metadata_counts_towards_what_s3_can_hold() -> None:
    wish = Wish(labels={f"name-{number}": "é" * 100 for number in range(8)})
    wish.check(has_image=True)
    with pytest.raises(InvalidRequest, match=r"with all options it needs \d+ bytes of metadata"):
        wish.metadata()


@pytest.mark.parametrize("pairs", [["sku"], ["=x"], ["sku=1", "sku=2"]])
def test_metadata_is_name_and_value(pairs: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="--metadata"):
        read_labels(pairs)


@pytest.mark.parametrize("wish", [Wish(name="a/b"), Wish(labels={"sku": "x" * 257})])
def test_a_label_that_the_stack_would_refuse_is_refused_here(wish: Wish) -> None:
    with pytest.raises(InvalidRequest, match=r"name|metadata"):
        wish.check(has_image=False)
