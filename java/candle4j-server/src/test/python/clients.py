"""OpenAI's and Ollama's own Python clients against a server: `clients.py URL KEY`.

The server has the built-in models `smollm2` and `minilm`, and asks for the key.
"""

import concurrent.futures
import sys
import typing
import unittest

import ollama
import openai
import pydantic

URL, KEY = sys.argv[1:3]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class City(pydantic.BaseModel):
    """What an answer is parsed as."""

    large: bool
    rank: typing.Literal["first", "second"]


class OpenAi(unittest.TestCase):
    """The package `openai`."""

    def setUp(self) -> None:
        self.client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
        self.chats = self.client.chat.completions

    def test_models(self) -> None:
        self.assertEqual(["smollm2", "minilm"], [model.id for model in self.client.models.list()])
        self.assertEqual("minilm", self.client.models.retrieve("minilm").id)

    def test_stream_is_the_answer(self) -> None:
        whole = self.chats.create(model="smollm2", messages=QUESTION, max_tokens=20, temperature=0)
        text, usage = "", None
        for chunk in self.chats.create(
            model="smollm2",
            messages=QUESTION,
            max_tokens=20,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        ):
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            usage = chunk.usage or usage
        self.assertEqual(whole.choices[0].message.content, text)
        self.assertEqual(whole.usage.completion_tokens, usage.completion_tokens)

    def test_stop(self) -> None:
        choice = self.chats.create(model="smollm2", messages=QUESTION, temperature=0, stop=["Paris"]).choices[0]
        self.assertNotIn("Paris", choice.message.content)
        self.assertEqual("stop", choice.finish_reason)

    def test_tools(self) -> None:
        for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
            answer = self.chats.create(model="smollm2", messages=QUESTION, tools=[WEATHER], tool_choice=choice)
            self.assertEqual("tool_calls", answer.choices[0].finish_reason)
            self.assertEqual("weather", answer.choices[0].message.tool_calls[0].function.name)
        with self.chats.stream(
            model="smollm2", messages=QUESTION, tools=[WEATHER], tool_choice="required"
        ) as stream:
            calls = stream.get_final_completion().choices[0].message.tool_calls
        self.assertIn(calls[0].function.parsed_arguments["city"], ("Paris", "Rome"))

    def test_schema(self) -> None:
        answer = self.chats.parse(model="smollm2", messages=QUESTION, response_format=City)
        self.assertIsInstance(answer.choices[0].message.parsed, City)

    def test_logprobs(self) -> None:
        answer = self.chats.create(
            model="smollm2", messages=QUESTION, logprobs=True, top_logprobs=3, max_tokens=4, temperature=0
        )
        for token in answer.choices[0].logprobs.content:
            self.assertEqual(3, len(token.top_logprobs))
            self.assertEqual(token.token.encode(), bytes(token.bytes))

    def test_completions(self) -> None:
        answer = self.client.completions.create(
            model="smollm2", prompt="One, two,", max_tokens=3, logprobs=2, temperature=0
        )
        self.assertEqual(answer.choices[0].text, "".join(answer.choices[0].logprobs.tokens))

    def test_embeddings(self) -> None:
        packed = self.client.embeddings.create(model="minilm", input=["a fox", "Paris"])
        floats = self.client.embeddings.create(model="minilm", input=["a fox"], encoding_format="float")
        self.assertEqual(384, len(packed.data[1].embedding))
        for a, b in zip(packed.data[0].embedding, floats.data[0].embedding):
            self.assertAlmostEqual(a, b, places=6)

    def test_exceptions(self) -> None:
        with self.assertRaises(openai.BadRequestError):
            self.chats.create(model="smollm2", messages=QUESTION, top_p=3)
        with self.assertRaises(openai.BadRequestError) as full:
            self.chats.create(model="smollm2", messages=[{"role": "user", "content": "word " * 20000}])
        self.assertEqual("context_length_exceeded", full.exception.code)
        with self.assertRaises(openai.NotFoundError):
            self.chats.create(model="other", messages=QUESTION)
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=URL + "/v1", api_key="other").models.list()

    def test_many_equal_streams(self) -> None:
        def text(_: int) -> str:
            chunks = self.chats.create(
                model="smollm2", messages=QUESTION, seed=5, temperature=1.0, max_tokens=20, stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        with concurrent.futures.ThreadPoolExecutor(32) as threads:
            self.assertEqual(1, len(set(threads.map(text, range(32)))))


class Ollama(unittest.TestCase):
    """The package `ollama`."""

    def setUp(self) -> None:
        self.client = ollama.Client(host=URL, headers={"Authorization": "Bearer " + KEY})

    def test_chat(self) -> None:
        options = {"temperature": 0, "num_predict": 20}
        whole = self.client.chat(model="smollm2", messages=QUESTION, options=options)
        parts = self.client.chat(model="smollm2", messages=QUESTION, options=options, stream=True)
        self.assertEqual(whole.message.content, "".join(part.message.content for part in parts))
        self.assertEqual("stop", whole.done_reason)

    def test_generate(self) -> None:
        answer = self.client.generate(model="smollm2:latest", prompt="Hello", options={"num_predict": 3})
        self.assertEqual("length", answer.done_reason)

    def test_embed(self) -> None:
        self.assertEqual(2, len(self.client.embed(model="minilm", input=["a", "b"]).embeddings))

    def test_models(self) -> None:
        self.assertEqual(["smollm2", "minilm"], [model.model for model in self.client.list().models])
        self.assertIn("embedding", self.client.show("minilm").capabilities)

    def test_error(self) -> None:
        with self.assertRaises(ollama.ResponseError) as none:
            self.client.chat(model="other", messages=QUESTION)
        self.assertEqual(404, none.exception.status_code)


if __name__ == "__main__":
    # The clients leave connections open until they are collected.
    unittest.main(argv=sys.argv[:1], warnings="ignore")
