"""OpenAI's Chat Completions, as many services take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign_middleware.conversation.tools import CALLED, keys, keys_fault
from guardalign_middleware.conversation.walk import Body, ConversationWalk, fields
from guardalign_middleware.intake.other_keys import is_read
from guardalign_middleware.intake.part import block_type

_WORDS = (
    "model stream stream_options max_tokens max_completion_tokens temperature top_p top_k min_p n"
    " seed stop stop_token_ids frequency_penalty presence_penalty repetition_penalty logit_bias"
    " logprobs top_logprobs response_format tool_choice parallel_tool_calls function_call"
    " metadata user safety_identifier prompt_cache_key prompt_cache_retention service_tier store"
    " reasoning_effort reasoning verbosity modalities audio thinking"
    " chat_template_kwargs guided_json guided_regex guided_choice guided_grammar moderation"
    " structured_outputs json_schema grammar regex ebnf allowed_token_ids"
)
# Those of requests without messages that sound like pictures, and hold none.
_WORDS_OF_OTHERS = "return_documents partial_images num_images image_size search_domain_filter"
_SEARCH = keys(
    "search_context_size user_location filters search_content_types allowed_domains",
    "blocked_domains excluded_domains max_uses max_results",
    "search_type image_results_enhanced_relevance",  # Perplexity's
)
# Where an answer has its words from: Perplexity, Cohere, and Azure on one's own data. No model is
# shown it, so that an address there leads to no picture.
_SOURCES = frozenset("citations search_results context".split())


class ChatWalk(ConversationWalk):
    """Messages with a role and content; tools answer in messages of their own."""

    turns_key = "messages"
    body_fields = {
        **fields("words", f"{_WORDS} {_WORDS_OF_OTHERS}"),
        **fields("strict", "prediction documents"),
    }
    # Completions, embeddings, moderations, speech, drawing and search are asked in these.
    prose_fields = frozenset("prompt negative_prompt suffix input instructions query".split())
    message_fields = {
        **fields("words", "role name tool_calls function_call tool_call_id refusal reasoning"),
        **fields("words", "reasoning_content reasoning_details annotations id status phase"),
        **fields("words", "cache_control thinking_blocks provider_specific_fields"),
        **fields("strict", "content"),
        **fields("block", "audio"),
    }
    tools = CALLED

    _by_model = False

    def _body_field(self, key: str, item: Any, place: str) -> Any:
        if key != "web_search_options" or not isinstance(item, Mapping):
            return super()._body_field(key, item, place)
        walked = self.value(item, place, "words")
        # LiteLLM makes a tool of them, of whatever type they name.
        fault = keys_fault(item, _SEARCH, place)
        return walked if fault is None else self._kept(walked, fault, place)

    def _is_stored(self, key: str, item: Any) -> bool:
        # A stored prompt of Responses; completions are asked in texts.
        stored_prompt = key == "prompt" and isinstance(item, Mapping) and "id" in item
        return stored_prompt or super()._is_stored(key, item)

    def _is_judged(self, key: str, item: Any) -> bool:
        options = key == "web_search_options" and isinstance(item, Mapping)
        if options and keys_fault(item, _SEARCH, key) is not None:
            return True
        return super()._is_judged(key, item)

    def _message(self, message: Body, place: str) -> Body:
        self._by_model = message.get("role") == "assistant"
        return super()._message(message, place)

    def _message_field(self, key: str, item: Any, place: str) -> Any:
        if key in _SOURCES and self._by_model:
            return self._read(item, None, key, place, "known")
        if key == "images" and isinstance(item, list):
            return self._elements(item, place, self._image_beside)
        if key == "images" and item is not None:
            return self._image_beside(item, place)
        return super()._message_field(key, item, place)

    def _image_beside(self, item: Any, place: str) -> Any:
        """Ollama's base64 or OpenRouter's block; what is neither could be an address."""
        if isinstance(item, Mapping) and block_type(item) is not None:
            return self.value(item, place, "strict")
        if isinstance(item, Mapping) and isinstance(item.get("image_url"), Mapping):
            typed = {**item, "type": "image_url"}
            new = self.value(typed, place, "strict")
            return item if new is typed else new
        return self._read(item, "block" if is_read(item) else None, "images", place)
