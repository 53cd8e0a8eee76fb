from tests.fuzz.harness import Target

from autoselection.tasks.answers import extract_letter, extract_text, extract_yes_no
from autoselection.tasks.answers.mathematics import is_safe
from autoselection.tasks.answers.numbers import Expression, is_number, read_number

OPTIONS = ("cat", "dog", "hot dog", "I", "A")


def read(data: bytes) -> None:
    """A generated answer, as every kind; what math-verify would be handed is looked through, not computed."""
    text = data.decode("utf-8", "replace")
    assert extract_letter(text, "ABCDE", OPTIONS) in {None, *"ABCDE"}
    assert extract_letter(text, "ABCDEFGHIJ") in {None, *"ABCDEFGHIJ"}
    assert extract_yes_no(text) in {None, "yes", "no"}
    assert isinstance(extract_text(text), str)
    found = read_number(text)
    if isinstance(found, Expression):
        is_safe(found.latex)
    is_number(text)


TARGET = Target(
    "answers",
    read,
    (
        b"<think>maybe 5</think> So the answer is \\boxed{\\frac{1}{2}} or 0,5.",
        b"The answer is $1.5 million, not 2**10 or 12:30; 3 to 4 hours and 30 minutes, 50% of 1,234.5",
        "答案是（Ｂ），不是A。5万 ٤٢ ½ 10⁶ √16".encode(),
        b"A is incorrect, so B.\nAntwort: **C** is the correct answer, neither (a) nor option d",
        b"x = 3 or x = -4, so {2, 3} and [0, 1) and (2,3)!",
    ),
    (
        b"\\boxed{", b"\\frac", b"\\sqrt{", b"^", b"**", b"!", b"<think>", b"</think>", b"<answer>", b"answer is ", b" not ", b" and ", b" or ",
        b"A", b"(B)", b" million", b"k", b"%", b"$", b" 1/2", b"\n", "答案是".encode(), "万".encode(), b"I think ", b" is correct",
    ),
)  # fmt: skip
