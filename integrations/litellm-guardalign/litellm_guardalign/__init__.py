"""A guardrail for LiteLLM's proxy that has pictures checked and cleaned: `GuardAlignGuardrail`."""

from litellm_guardalign.guardrail import GuardAlignGuardrail

__all__ = ["GuardAlignGuardrail"]
