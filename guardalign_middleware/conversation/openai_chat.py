"""OpenAI's Chat Completions, as many services take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign_middleware.conversation.walk import ConversationWalk, fields
from guardalign_middleware.intake.other_keys import is_read
from guardalign_middleware.intake.part import block_type

_WORDS = (
    "model stream stream_options max_tokens max_completion_tokens temperature top_p top_k min_p n"
    " seed stop stop_token_ids frequency_penalty presence_penalty repetition_penalty logit_bias"
    " logprobs top_logprobs response_format tool_choice parallel_tool_calls functions function_call"
    " metadata user safety_identifier prompt_cache_key prompt_cache_retention service_tier store"
    " reasoning_effort reasoning verbosity modalities audio web_search_options thinking"
    " chat_template_kwargs guided_json guided_regex guided_choice guided_grammar moderation"
    " structured_outputs json_schema grammar regex ebnf allowed_token_ids"
)
# Those of requests without messages that sound like pictures, and hold none.
_WORDS_OF_OTHERS = "return_documents partial_images num_images image_size search_domain_filter"


class ChatWalk(ConversationWalk):
    """Messages with a role and content; tools answer in messages of their own."""

    turns_key = "messages"
    body_fields = {
        **fields("words", f"{_WORDS} {_WORDS_OF_OTHERS}"),
        **fields("strict", "prediction documents"),
    }
    # Completions, embeddings, moderations, speech, drawing and search are asked in these.
    prose_fields = frozenset("prompt negative_prompt suffix input instructions query".split())
    # Numbers in which a picture was encoded.
    stored_fields = frozenset({"prompt_embeds"})
    message_fields = {
        **fields("words", "role name tool_calls function_call tool_call_id refusal reasoning"),
        **fields("words", "reasoning_content reasoning_details annotations id status phase"),
        **fields("words", "cache_control thinking_blocks provider_specific_fields"),
        **fields("strict", "content"),
        **fields("block", "audio"),
    }
    tools = ("function", "custom")

    def _message_field(self, key: str, item: Any, place: str) -> Any:
        if key == "images" and isinstance(item, list):
            return self._listed(item, place, self._image_beside)
        if key == "images" and item is not None:
            return self._image_beside(item, place)
        return super()._message_field(key, item, place)

    def _image_beside(self, item: Any, place: str) -> Any:
        """Ollama's base64 or OpenRouter's block; what is neither could be an address."""
        if isinstance(item, Mapping) and block_type(item) is not None:
            return self.value(item, place, "strict")
        return self._read(item, "block" if is_read(item) else None, "images", place)
