"""Chat templates: what a model brings along is rendered within limits, or refused.

Bits of Jinja are put where a statement may stand, so that most cases compile and get to run; the
rest are damaged anywhere.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from transformers.utils.chat_template_utils import render_jinja_template

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation.prompt import template_check, template_worker

_TOKENS: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>"}
_SEEDS = (
    Path(str(files("guardalign_middleware"))).joinpath("mini/llava/chat_template.jinja").read_text(),
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {% for p in m.content %}"
    "{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{{ eos_token }}{% endfor %}",
    "{%- set ns = namespace(n=0) %}{%- for m in messages %}\n<|{{ m['role'] }}|>\n"
    "{%- for p in m['content'] %}{%- if p['type'] == 'image' %}{% set ns.n = ns.n + 1 %}"
    "<img{{ ns.n }}>{%- else %}{{ p['text'] | trim }}{%- endif %}{%- endfor %}{%- endfor %}"
    "{%- if tools %}{{ tools | tojson(indent=2) }}{%- endif %}",
    "{% macro say(parts) %}{% for p in parts %}{% if p.type == 'text' %}{{ p.text }}"
    "{% else %}<image>{% endif %}{% endfor %}{% endmacro %}{% for m in messages %}"
    "{% if m.role == 'system' and not loop.first %}{{ raise_exception('system first') }}{% endif %}"
    "[{{ loop.index0 }}] {{ say(m.content) }}{% generation %} {% endgeneration %}{% endfor %}",
)  # fmt: skip
# Whole statements, each of which may stand between two others.
_BITS = (
    *("{{ messages }}", "{{ messages[9].content }}", "{{ messages[-1].content[-1].text }}"),
    *("{{ 1/0 }}", "{{ 9**9**9 }}", "{{ x }}", "{{ x.y }}", "{{ self }}", "{{ lipsum(9) }}"),
    *("{% for a in range(10**9) %}a{% endfor %}", "{{ 'a' * 10**9 }}", "{{ 'a' * 10**6 }}"),
    *("{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ messages.append(1) }}"),
    *("{{ '%s' % messages }}", "{{ '{0.__class__}'.format(1) }}", "{{ cycler('a').next() }}"),
    *("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ raise_exception('no') }}"),
    *("{% set a = [] %}{% for i in range(99) %}{{ a.append(a) }}{% endfor %}{{ a }}",),
    *("{% include 'a' %}", "{% extends 'a' %}", "{% import 'a' as b %}", "{% break %}"),
    *("{{ strftime_now('%d %b %Y') }}", "{{ strftime_now('%' * 99) }}", "{{ strftime_now(1) }}"),
    *("{{ tools | tojson }}", "{{ messages | tojson(default=1) }}", "{{ documents | length }}"),
    *("{% generation %}a{% endgeneration %}", "{% call messages() %}{% endcall %}"),
    *("{{ messages | map(attribute='role') | join }}", "{{ namespace(a=1).a }}", "{{ dict(a=1) }}"),
    *("{{ namespace(_a=1).a }}", "{{ namespace({1: 2}) }}", "{{ dict.fromkeys('ab', 1) }}"),
    *("{{ tools | tojson(separators=(',', ':')) }}", "{{ strftime_now(format='%Y') }}"),
    *("{% if tools %}{{ 1/0 }}{% endif %}", "{% if messages | length > 4 %}{{ x.y }}{% endif %}"),
    *(
        "{% set messages = [] %}",
        "{% set bos_token = none %}",
        "{{ dict.keys }}",
        "{% raw %}{{{% endraw %}",
        "{# a #}",
    ),
    *("{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", "{% filter upper %}a"),
    *("{{ messages | batch(2) | list }}", "{{ messages | groupby('role') }}", "\u2028", "é"),
)
_BROKEN = ("{% if", "{% endfor %}", "{{", "}}", "{# a", "{% generation %}", "\ud800", "\0", "{%-")
_BETWEEN = re.compile(r"(?<=[%}]})")


def make_template(random: Random) -> str:
    """A chat template."""
    template = random.choice(_SEEDS)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        if random.random() < 0.8:
            places = [match.start() for match in _BETWEEN.finditer(template)]
            at, bit = random.choice([0, *places, len(template)]), random.choice(_BITS)
        else:
            at = random.randint(0, len(template))
            bit = random.choice((*_BITS, *_BROKEN))
        cut = random.choice((0, 0, 0, 0, 1, 9))
        template = template[:at] + bit + template[at + cut :]
    return template


def check_template(template: str) -> str:
    """What is accepted, transformers renders as the guard did; or why it is refused."""
    try:
        with patch.object(template_check, "CPU_SECONDS", 1):
            template_check.check_template(template, _TOKENS)
    except ModelLoadError as error:
        return f"refused: {_kind(error)}"
    question = template_check._conversations()[0]["messages"]
    options: dict[str, Any] = {"tools": None, "add_generation_prompt": True, **_TOKENS}
    theirs = render_jinja_template([question], chat_template=template, **options)[0][0]
    ours = template_worker._compiled(template).render(messages=question, documents=None, **options)
    # The clock moves on, some output is random, and what names an object names its address.
    changes = any(word in template for word in ("now", "lipsum", "random"))
    if not changes and " at 0x" not in ours:
        assert theirs == ours, "transformers renders something else"
    assert template_check._WORDS in theirs
    return "accepted"


def _kind(error: ModelLoadError) -> str:
    assert error.remedy, "a refusal without a remedy"
    message = error.message
    words = ("cannot be compiled", "raises", "drops", "becomes", "memory", "characters")
    return next((word for word in words if word in message), message[:60])
