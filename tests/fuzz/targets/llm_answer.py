from contextlib import suppress

from tests.fuzz.harness import Target

from autoselection.llm.answers import (
    AnswerError,
    ProposedRecipes,
    ProposerAnswer,
    RankerAnswer,
    SummariserAnswer,
    printable,
    read_answer,
    read_proposed,
)


def read(data: bytes) -> None:
    """What a language model wrote, for each of the roles; what is told of it is one printable line."""
    text = data.decode("utf-8", "replace")
    for model in (ProposedRecipes, ProposerAnswer, RankerAnswer, SummariserAnswer):
        try:
            answer = read_answer(model, text)
        except AnswerError as error:
            assert str(error).strip() and str(error).isprintable()
            continue
        assert printable(answer.model_dump_json()).isprintable()
        for recipe in answer.recipes if isinstance(answer, ProposedRecipes) else ():
            with suppress(AnswerError):
                assert 1 <= len(read_proposed(recipe).steps) <= 6


TARGET = Target(
    "llm_answer",
    read,
    (
        b'{"recipes": [{"steps": [{"operator": "ifd_filter", "params": {"fraction": 0.5}}], "reason": "r"}]}',
        b'<think>{"ranking": []}</think>```json\n{"ranking": [{"option": 1, "reason": "x"}, {"option": 2}]}\n```',
        b'Here you are: {"summary": "what is known"} and more',
    ),
    (b"</think>", b"```json", b'"option": ', b'"params": {', b'"steps": [', b'"operator": "', b'"reason": "'),
)
