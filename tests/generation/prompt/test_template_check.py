"""A chat template is tried once, in a process of its own, before the model answers anybody."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from guardalign_middleware import bare_python
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation.prompt import template_check, template_worker
from guardalign_middleware.generation.prompt.template_check import check_template, choose_template

GOOD = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {% for p in m.content %}"
    "{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{% endfor %}"
)
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set n = namespace(x='0123456789') %}"
    "{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}"
)
TOKENS = {"bos_token": "<s>"}
# What templates of the hub use.
ORDINARY = (
    GOOD,
    GOOD + "{% generation %}{{ 'x' }}{% endgeneration %}",
    GOOD + "{% for a in [1, 2] %}{% if a == 1 %}{% continue %}{% endif %}{% break %}{% endfor %}",
    GOOD + "{{ strftime_now('%d %b %Y') }}{{ tools | tojson(indent=4) }}{{ dict(a=1)['a'] }}",
    GOOD + "{% set ns = namespace(found=false) %}{% set ns.found = true %}{{ ns.found }}",
    GOOD + "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
    GOOD + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}{{ documents is none }}",
    GOOD
    + "{{ tools | tojson(separators=(',', ':'), sort_keys=true) }}{{ strftime_now(format='%Y') }}",
    GOOD + "{{ dict.fromkeys('ab', 1) }}{% set n = namespace({'a': 1}, b=2) %}{{ n.a + n.b }}",
    GOOD + "{% macro f(x) %}{{ x | upper | trim }}{% endmacro %}{{ f('a') }}{{ eos_token }}",
)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processor time, so a busy machine changes nothing."""
    monkeypatch.setattr(template_check, "CPU_SECONDS", 1)


@pytest.mark.parametrize("template", ORDINARY)
def test_ordinary_templates_pass(template: str) -> None:
    check_template(template, TOKENS)


@pytest.mark.parametrize("template", ORDINARY)
def test_the_process_renders_what_transformers_renders(template: str) -> None:
    for conversation in template_check._conversations()[:2]:
        theirs = render_jinja_template(
            [conversation["messages"]],
            tools=None,
            chat_template=template,
            add_generation_prompt=True,
            **TOKENS,
        )[0][0]
        ours = template_worker._compiled(template).render(
            messages=conversation["messages"],
            tools=None,
            documents=None,
            add_generation_prompt=True,
            **TOKENS,
        )
        assert ours == theirs


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LOOP, "did not end within"),
        (GOOD + LOOP, "did not end within"),
        # Only a longer conversation wakes it.
        (GOOD + "{% if messages | length > 4 %}" + LOOP + "{% endif %}", "did not end within"),
        (GOOD + "{% if tools %}" + LOOP + "{% endif %}", "did not end within"),
        ("{{ 10 ** 9999999 }}", "did not end within|raises|more memory"),
        ("{{ 'a' * 10 ** 12 }}", "more memory|raises OverflowError"),
        (DOUBLING, "more memory"),
        ("{{ raise_exception('not you') }}", "raises TemplateError: not you"),
        ("{{ 1 // 0 }}", "raises ZeroDivisionError"),
        ("{{ messages[7].content }}", "raises UndefinedError"),
        ("{{ messages + 1 }}", "raises TypeError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "raises RecursionError"),
        ("{{ ''.__class__.__mro__ }}", "raises SecurityError"),
        ("{% include '/etc/passwd' %}", "raises TypeError"),
        # Of these, transformers would raise at every request.
        (GOOD + "{{ messages | tojson(default=1) }}", "raises TypeError"),
        (GOOD + "{{ namespace(_a=1) }}", "raises SecurityError"),
        (GOOD + "{{ dict.keys({}) }}", "raises (Undefined|Security)Error"),
        ("{% for", "cannot be compiled"),
        ("{{ x | nofilter }}", "cannot be compiled"),
        ("{{" + "(" * 5000 + ")" * 5000 + "}}", "cannot be compiled"),
        ("{% if 1 %}" * 3000, "cannot be compiled"),
        (GOOD + "{{ 'a' * 2000000 }}", "becomes 2,000,0.. characters"),
        (GOOD + "\ud800", "UnicodeEncodeError"),
        ("Hello.", "drops the user's words"),
        ("", "drops the user's words"),
        ("x" * ((1 << 20) + 1), "more than 1,048,576 characters"),
    ],
)
def test_a_hostile_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message) as caught:
        check_template(template, TOKENS)
    assert caught.value.remedy


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    run = bare_python.run_bare
    monkeypatch.setattr(
        template_check, "run_bare", lambda *args: (runs.append(args), run(*args))[1]
    )
    unique = GOOD + "{# once #}"
    for _ in range(3):
        check_template(unique, TOKENS)
    assert len(runs) == 1
    check_template(unique, {"bos_token": "<other>"})
    assert len(runs) == 2


def test_a_process_that_sleeps_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processor time alone would not end it."""
    script = tmp_path / "sleeper.py"
    script.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(template_check, "_WORKER", script)
    monkeypatch.setattr(template_check, "SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ModelLoadError, match="did not end"):
        check_template(GOOD + "{# sleeper #}", TOKENS)
    assert time.monotonic() - started < 300


@pytest.mark.parametrize("said", ["", "[]", "{", "\udcff"])
def test_an_answer_that_is_none_is_a_refusal(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = said.encode("utf-8", "surrogateescape")
    monkeypatch.setattr(template_check, "run_bare", lambda *args: data)
    with pytest.raises(ModelLoadError, match="no answer"):
        check_template(GOOD + "{# answer #}" + repr(said), TOKENS)


def test_without_a_python_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_python.sys, "executable", "")
    with pytest.raises(ModelLoadError, match="cannot be started") as caught:
        check_template(GOOD + "{# nowhere #}", TOKENS)
    assert "start another one" in caught.value.remedy


def test_the_process_knows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert "SECRET_TOKEN" not in bare_python.bare_environment()


def processor(own: Any, tokenizers: Any = None) -> Any:
    return SimpleNamespace(chat_template=own, tokenizer=SimpleNamespace(chat_template=tokenizers))


def test_the_template_that_requests_use_is_the_one_that_is_tried() -> None:
    assert choose_template(processor("a", "b"), "model") == "a"
    assert choose_template(processor({"default": "a", "rag": "c"}, "b"), "model") == "a"
    assert choose_template(processor(None, "b"), "model") == "b"
    assert choose_template(processor(None, {"default": "b"}), "model") == "b"


@pytest.mark.parametrize("own", [None, "", {}, {"rag": "c"}, {"default": ""}])
def test_no_template(own: Any) -> None:
    with pytest.raises(ModelLoadError, match="no chat template"):
        choose_template(processor(own), "model")


@pytest.mark.parametrize("own", [["a"], 3, {"default": {"a": 1}}])
def test_a_template_that_is_no_text(own: Any) -> None:
    with pytest.raises(ModelLoadError, match="not a text"):
        choose_template(processor(own), "model")


def test_the_order_is_plain_json() -> None:
    assert json.loads(json.dumps(template_check._conversations()))
