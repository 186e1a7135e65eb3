"""Small pieces of the page, as plain HTML elements that keyboards and screen readers know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

Made = TypeVar("Made", bound=ui.element)


def text(tag: str, words: str = "", classes: str = "", **attributes: str) -> TextElement:
    """An element that holds words, which are never read as HTML."""
    made = TextElement(tag=tag, text=words)
    return with_attributes(made.classes(classes), attributes)


def box(tag: str, classes: str = "", **attributes: str) -> ui.element:
    """An element that holds others."""
    return with_attributes(ui.element(tag).classes(classes), attributes)


def drawn(tag: str, markup: str = "", classes: str = "", **attributes: str) -> ui.html:
    """An element whose HTML is from `markup`, where every word is escaped."""
    made = ui.html(markup, sanitize=False, tag=tag)
    return with_attributes(made.classes(classes), attributes)


def button(
    words: str,
    on_click: Callable[[], Awaitable[Any] | Any] | None = None,
    classes: str = "",
    **attributes: str,
) -> TextElement:
    """A button; without `on_click`, the script of the page handles it."""
    made = text("button", words, f"ga-button {classes}", type="button", **attributes)
    if on_click is not None:
        made.on("click", lambda _: on_click(), args=[])
    return made


def with_attributes(element: Made, attributes: dict[str, str]) -> Made:
    """Set attributes; "aria_label" is written as "aria-label"."""
    for name, value in attributes.items():
        element.props[name.rstrip("_").replace("_", "-")] = value
    element.update()
    return element


def change(element: ui.element, **attributes: str | None) -> None:
    """Change attributes of an element on the page; None removes one."""
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is None:
            element.props.pop(key, None)
        else:
            element.props[key] = value
    element.update()
