"""LangChain's cache for prompts with pictures that are objects: they are keyed by their pixels.

LangChain's key of such an object is its `repr`. That of a PIL picture is its address, which another
picture can have later, and that of an array leaves out most of it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from PIL import Image

_PLAIN = (str, int, float, bool, type(None))
_INFO = ("transparency", "icc_profile", "exif")


class PictureCache(BaseChatModel):
    """A chat model whose cached answers belong to the pixels that were asked about."""

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cache, prompt = self._cache_and_prompt(messages)
        if cache is None:
            return super()._generate_with_cache(messages, stop, run_manager, **kwargs)
        uncached = self.model_copy(update={"cache": False})
        if prompt is None:
            return uncached._generate_with_cache(messages, stop, run_manager, **kwargs)
        key = prompt, self._get_llm_string(stop=stop, **kwargs)
        if isinstance(known := cache.lookup(*key), list):
            generations = self._convert_cached_generations(known)
            self._replay_v2_events_for_cache_hit(generations, run_manager=run_manager, **kwargs)
            return ChatResult(generations=generations)
        result = uncached._generate_with_cache(messages, stop, run_manager, **kwargs)
        cache.update(*key, result.generations)
        return result

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cache, prompt = self._cache_and_prompt(messages)
        if cache is None:
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)
        uncached = self.model_copy(update={"cache": False})
        if prompt is None:
            return await uncached._agenerate_with_cache(messages, stop, run_manager, **kwargs)
        key = prompt, self._get_llm_string(stop=stop, **kwargs)
        if isinstance(known := await cache.alookup(*key), list):
            generations = self._convert_cached_generations(known)
            await self._areplay_v2_events_for_cache_hit(
                generations, run_manager=run_manager, **kwargs
            )
            return ChatResult(generations=generations)
        result = await uncached._agenerate_with_cache(messages, stop, run_manager, **kwargs)
        await cache.aupdate(*key, result.generations)
        return result

    def _cache_and_prompt(
        self, messages: Sequence[BaseMessage]
    ) -> tuple[BaseCache | None, str | None]:
        """The cache, if LangChain's own key will not do; then a key, or None for an unknown object.

        The answer to what has no key is not cached.
        """
        if self.cache is False:
            return None, None
        cache = self.cache if isinstance(self.cache, BaseCache) else get_llm_cache()
        fields = [
            {**message.__dict__, **(message.model_extra or {}), "id": None} for message in messages
        ]
        if cache is None or _is_plain(fields):
            return None, None
        try:
            keyed = [
                type(message).model_construct(**_keyed(each))
                for message, each in zip(messages, fields, strict=True)
            ]
        except TypeError:
            return cache, None
        return cache, dumps(keyed)


def _is_plain(value: Any) -> bool:
    """Whether JSON shows all of a value."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _keyed(value: Any) -> Any:
    """A copy with a digest in place of every object.

    Raises:
        TypeError: an object of another kind.
    """
    if isinstance(value, Mapping):
        return {str(key): _keyed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_keyed(item) for item in value]
    if isinstance(value, _PLAIN):
        return value
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    return {"object": name, "sha256": hashlib.sha256(_contents(value)).hexdigest()}


def _contents(value: Any) -> bytes:
    if isinstance(value, Image.Image):
        about = [value.mode, value.size, value.getpalette(), getattr(value, "n_frames", 1)]
        about += [value.info.get(name) for name in _INFO]
        return repr(about).encode() + value.tobytes()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype.str} {value.shape} ".encode() + value.tobytes()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, io.BytesIO):
        return value.getvalue()
    if isinstance(value, Path):
        return str(value).encode()
    raise TypeError(f"A {type(value).__name__} has no key.")
