"""OpenAI's Chat Completions, as many services take them."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.conversation.walk import Body, ConversationWalk, fields

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
    # Numbers in which a picture was encoded.
    stored_fields = frozenset({"prompt_embeds"})
    message_fields = {
        **fields("words", "role name tool_calls function_call tool_call_id refusal reasoning"),
        **fields("words", "reasoning_content reasoning_details annotations id status phase"),
        **fields("words", "cache_control thinking_blocks provider_specific_fields"),
        **fields("strict", "content"),
        **fields("block", "audio images"),
    }
    tools = ("function", "custom")

    _by_model = False

    def _message(self, message: Body, place: str) -> Body:
        self._by_model = message.get("role") == "assistant"
        return super()._message(message, place)

    def _message_field(self, key: str, item: Any, place: str) -> Any:
        if key in _SOURCES and self._by_model:
            return self._read(item, None, key, place, "known")
        return super()._message_field(key, item, place)
