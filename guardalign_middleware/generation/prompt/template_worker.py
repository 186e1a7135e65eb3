"""Renders a chat template, as a script in a process of its own.

`template_check.py` starts it without the caller's environment. It imports jinja2 and nothing of
this package or of torch, so that it starts fast. A template that loops or fills the memory ends
this process only.

Input: JSON with the template, the special tokens, the conversations and the longest text. Output:
JSON with an error, or with whether each conversation gave a text, and whether the first one's words
are in it.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

MAX_BYTES = 512 << 20
"""Address space of the process; jinja2 and a long template take a tenth of it."""


def _limit(seconds: int) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: only the time is limited there, by the caller.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))


def _compiled(source: str) -> Any:
    """The template in the environment that transformers gives it."""
    from jinja2 import TemplateError, nodes, pass_eval_context
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> nodes.CallBlock:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            call = self.call_method("_said")
            block = nodes.CallBlock(call, [], [], body)
            block.set_lineno(line)
            return block

        @pass_eval_context
        def _said(self, context: Any, caller: Any) -> str:
            return str(caller())

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    # The signatures are those of transformers, which a template may call by keyword.
    def tojson(
        x: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def strftime_now(format: str) -> str:  # noqa: A002
        return datetime.now().strftime(format)

    class Dicts:
        """What a template gets as `dict`."""

        def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            return dict(*args, **kwargs)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    class Names(Namespace):
        """A namespace that stores nothing under the names of Python's own attributes."""

        def __init__(*given: Any, **names: Any) -> None:
            Namespace.__init__(given[0])
            for name, value in dict(*given[1:], **names).items():
                given[0][name] = value

        def __setitem__(self, name: Any, value: Any) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise SecurityError(f"a namespace cannot store {name!r}")
            super().__setitem__(name, value)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(
        raise_exception=raise_exception, strftime_now=strftime_now, dict=Dicts(), namespace=Names
    )
    return environment.from_string(source)


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    template = _compiled(order["template"])
    words, longest = order["words"], order["longest"]
    given = []
    for index, conversation in enumerate(order["conversations"]):
        try:
            text = template.render(
                messages=conversation["messages"],
                tools=conversation["tools"],
                documents=None,
                add_generation_prompt=True,
                **order["tokens"],
            )
            text.encode()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            # Templates may refuse an order of roles, but not a question about a picture.
            if index == 0:
                return {"error": f"it raises {type(error).__name__}: {error}"[:300]}
            given.append(False)
            continue
        if len(text) > longest:
            return {"error": f"a short conversation becomes {len(text):,} characters"}
        if index == 0 and words not in text:
            return {"error": "it drops the user's words"}
        given.append(True)
    return {"given": given}


def main() -> None:
    """Serve one template, then end."""
    _limit(int(sys.argv[1]))
    sys.path[:0] = sys.argv[2:]
    try:
        answer = _answer(json.loads(sys.stdin.buffer.read()))
    except MemoryError:
        answer = {"error": "it needs more memory than a template may have"}
    except Exception as error:  # noqa: BLE001 - so can its compilation
        answer = {"error": f"it cannot be compiled: {type(error).__name__}: {error}"[:300]}
    sys.stdout.buffer.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
