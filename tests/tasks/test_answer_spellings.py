"""Right and wrong answers in the spellings that models write, each with the verdict it must get."""

from __future__ import annotations

import pytest

from autoselection.tasks.answers import answers_match, can_be_gold, kind_of

MATRIX = r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"


@pytest.mark.parametrize(
    "text",
    [
        MATRIX, r"\boxed{\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}}", r"\boxed{\begin{pmatrix}1&2\\3&4\end{pmatrix}}",
        "\\[ \\boxed{\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}} \\]",
        "The answer is:\n\\[\n\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}\n\\]",
        "**Final Answer:**\n$$\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}$$",
        r"The answer is $\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$.", r"\boxed{A = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}}",
        r"\boxed{\begin{bmatrix} 1 & 2 \\ 3 & 4 \\ \end{bmatrix}}", r"\boxed{\begin{pmatrix} 1 & 2 \\[4pt] 3 & \frac{8}{2} \end{pmatrix}}",
        r"\boxed{\left[\begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array}\right]}", r"\boxed{\left(\begin{smallmatrix}1&2\\3&4\end{smallmatrix}\right)}",
    ],
)  # fmt: skip
def test_a_matrix_is_read_in_any_spelling(text):
    assert can_be_gold(MATRIX, kind="number") and kind_of(MATRIX) == "number"
    assert answers_match(text, MATRIX)
    others = [MATRIX.replace("3", "5"), r"\begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix}", "1", "4"]
    assert not any(answers_match(text, other) for other in others)


@pytest.mark.parametrize(
    "gold", [r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1/3 \\ 2/3 \\ 100 \end{pmatrix}", r"\begin{pmatrix} 1\\ 100 \end{pmatrix}"]
)  # fmt: skip
def test_a_column_is_a_matrix_too(gold):
    assert can_be_gold(gold, kind="number")
    assert answers_match(rf"\boxed{{{gold}}}", gold) and not answers_match(rf"\boxed{{{MATRIX}}}", gold)
