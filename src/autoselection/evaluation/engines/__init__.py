"""Where answers come from: a model in memory (transformers), vLLM, or a server that speaks OpenAI's protocol."""
