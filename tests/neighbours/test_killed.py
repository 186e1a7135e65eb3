"""LlamaIndex's LLM for such servers behind the adapter, when its server is killed."""

import httpx
import openai
import pytest
from llama_index.core.llms import ChatMessage

from guardalign_middleware import RemoteImageGuard
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from tests.support.server_process import one_word, process
from tests.support.serving import KEY

openai_like = pytest.importorskip("llama_index.llms.openai_like")
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_a_stream_of_a_killed_server_ends_in_an_error() -> None:
    with process(one_word) as server, openai.DefaultHttpxClient() as http:
        llm = openai_like.OpenAILike(
            model="red",
            api_base=f"{server.url}/v1",
            api_key=KEY,
            is_chat_model=True,
            max_retries=0,
            http_client=http,
        )
        with RemoteImageGuard(server.url, api_key=KEY) as remote:
            guarded = GuardAlignGuardedLLM(llm=llm, guard=remote)
            stream = guarded.stream_chat([ChatMessage(role="user", content="hi")])
            assert next(each.delta for each in stream if each.delta) == "word "
            server.kill()
            with pytest.raises((httpx.TransportError, openai.APIError)):
                list(stream)
