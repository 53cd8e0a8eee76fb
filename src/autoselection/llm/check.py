"""Whether the endpoint answers, by the cheapest request there is: its list of models."""

from __future__ import annotations

from autoselection.errors import ConfigError, MissingExtraError
from autoselection.llm.answers import printable
from autoselection.llm.endpoint import Endpoint
from autoselection.search.llm_config import LLMConfig


def check_settings(config: LLMConfig | None) -> None:
    """Refuse settings that no endpoint can be asked with; sends nothing.

    Raises:
        ConfigError: no model or no key is named.
        MissingExtraError: the package ``openai`` is not installed.
    """
    if config is not None:
        Endpoint(config)


def endpoint_remark(config: LLMConfig) -> str:
    """One sentence for ``autoselection doctor``; takes 5 s at most and costs no tokens."""
    try:
        endpoint = Endpoint(config)
    except (ConfigError, MissingExtraError) as error:
        return str(error)
    where = f"The language model's endpoint {endpoint.base_url or 'of OpenAI'}"
    reply, listed = endpoint.models()
    if reply.status in (401, 403):
        return (
            f"{where} answers, but refuses the key in {endpoint.key_name}."
            if endpoint.key_name
            else f"{where} answers, but wants a key; name its variable in api_key_env."
        )
    if reply.status is not None:
        return f"{where} answers, but lists no models (status {reply.status}); '{endpoint.model}' is untested."
    if reply.body is None:
        return f"{where} does not answer ({printable(reply.error or '', 100).rstrip('.')})."
    if listed is None:
        return f"{where} answers, but with no list of models: is /v1 missing from its address?"
    if endpoint.model in listed:
        return f"{where} answers and has the model '{endpoint.model}'."
    shown = ", ".join(printable(name, 60) for name in listed[:5]) or "none"
    return f"{where} answers, but does not list the model '{endpoint.model}' (it lists {shown})."
