import pytest

from guardalign_middleware.evaluation.judges import strip_echo
from guardalign_middleware.safety_prefixes import OWN, PREFIXES

PAPER = PREFIXES["paper"]


@pytest.mark.parametrize(
    ("answer", "prefix", "rest"),
    [
        ("As an AI assistant, here is a list.", PAPER, "here is a list."),
        ("as an  AI\nassistant: here", PAPER, "here"),
        ("As an AI assistant, as an AI assistant, here", PAPER, "here"),
        (f"{OWN} Here is a list.", OWN, "Here is a list."),
        ("As an AI assistant, I cannot help.", OWN, "I cannot help."),
        (OWN, OWN, ""),
        ("As an AI assistants' friend", PAPER, "As an AI assistants' friend"),
        ("As an AI model, I cannot.", PAPER, "As an AI model, I cannot."),
        ("Sure. As an AI assistant, I can.", PAPER, "Sure. As an AI assistant, I can."),
        ("As an AI assistant, yes", "", "As an AI assistant, yes"),
        ("As an AI assistant, yes", " , ", "As an AI assistant, yes"),
    ],
)
def test_only_the_prefix_at_the_beginning_is_removed(answer: str, prefix: str, rest: str) -> None:
    assert strip_echo(answer, prefix) == rest
