"""Fingerprints of what distances depend on, to which threshold profiles and logs are bound."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from guardalign_middleware.config import PatchConfig, TransportConfig, ViewName
from guardalign_middleware.detection.plan import Look

AS_IS: tuple[ViewName, ...] = ("as_is",)


def binding_of(
    encoder: str,
    anchors: str,
    patches: PatchConfig,
    transport: TransportConfig,
    views: tuple[ViewName, ...],
    look: Look,
) -> dict[str, str]:
    """One fingerprint for each part of a meter.

    Args:
        encoder: fingerprint of the encoder.
        anchors: fingerprint of the concepts.
        patches: how forms are cut.
        transport: how patches are measured.
        views: of each image.
        look: its forms.
    """
    binding = {
        "encoder": encoder,
        "anchors": anchors,
        # Without a layout of crops, to keep profiles valid that are older than layouts.
        "patches": _digest(
            patches.model_dump_json(exclude={"layout"} if patches.layout == "crops" else None)
        ),
        # Without the bound on iterations: it decides whether there is a number, not which.
        "transport": _digest(transport.model_dump_json(exclude={"max_iterations"})),
    }
    if views != AS_IS:
        # Left out for `as_is`, to keep profiles valid that are older than views.
        binding["views"] = _digest(json.dumps(sorted(views)))
    return binding | _form_bindings(look)


def binding_fingerprint(binding: Mapping[str, str]) -> str:
    """One fingerprint of all parts together."""
    return _digest(json.dumps(dict(binding), sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _form_bindings(look: Look) -> dict[str, str]:
    """One fingerprint for each form, so that a profile also fits a guard with fewer of them."""
    configs: dict[str, list[str]] = {}
    for form in look.forms:
        configs.setdefault(form.kind, []).append(form.model_dump_json())
    bindings = {f"form:{kind}": _digest(json.dumps(configs[kind])) for kind in sorted(configs)}
    if look.model_forms is not None:
        bindings["form:model"] = look.model_forms.fingerprint
    return bindings
