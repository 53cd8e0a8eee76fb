"""Right and wrong answers in the spellings that models write, each with the verdict it must get."""

from __future__ import annotations

import time

import pytest

from autoselection.tasks.answers import (
    answers_match,
    can_be_gold,
    extract_letter,
    extract_number,
    extract_yes_no,
    kind_of,
)

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


@pytest.mark.parametrize(
    "gold", [r"\text{Evelyn}", r"$\text{Evelyn}$", r"\mathrm{Evelyn}", r"\textbf{ Evelyn }", "Evelyn"]
)
@pytest.mark.parametrize(
    "text",
    [r"\boxed{\text{Evelyn}}", r"\boxed{Evelyn}", r"$\boxed{\textbf{Evelyn}}$", r"The final answer is $\text{Evelyn}$.",
     r"\text{Evelyn}", "**Evelyn**", "Evelyn"],
)  # fmt: skip
def test_words_in_latex_are_words_in_the_gold_answer_too(text, gold):
    assert kind_of(gold) == "text"
    assert answers_match(text, gold)
    assert not answers_match(text.replace("Evelyn", "Carla"), gold)


@pytest.mark.parametrize(
    ("gold", "kind", "right", "wrong"),
    [
        (r"\text{(C)}", "choice", (r"\boxed{C}", r"\boxed{\text{(C)}}", "The answer is (C)."), (r"\boxed{\text{(B)}}", "C or B")),
        (r"\text{Yes}", "yes_no", (r"\boxed{\text{Yes}}", "Yes."), (r"\boxed{\text{No}}", "No.")),
        (r"\text{even}", "text", (r"\boxed{\text{even}}", r"\boxed{\text{ even }}", "Answer: even"), (r"\boxed{\text{odd}}",)),
        (r"\text{6:30 p.m.}", "text", (r"\boxed{6:30 \text{ p.m.}}", r"\boxed{6\text{:}30\text{ p.m.}}"), (r"\boxed{6:30 \text{ a.m.}}", "6")),
        (r"\text{June } 20", "text", (r"\boxed{\text{June 20}}", r"\boxed{\text{June } 20}"), (r"\boxed{\text{July 20}}", r"\boxed{20}")),
        (r"12\text{ cm}", "number", (r"\boxed{12\text{ cm}}", r"\boxed{12}", "It is 12 cm long."), (r"\boxed{13\text{ cm}}",)),
    ],
)  # fmt: skip
def test_the_words_of_a_gold_answer_say_its_kind(gold, kind, right, wrong):
    assert kind_of(gold) == kind and can_be_gold(gold, kind=kind)
    assert all(answers_match(text, gold) for text in right)
    assert not any(answers_match(text, gold) for text in wrong)


SQL = "SELECT a FROM t WHERE b = 'a';"


@pytest.mark.parametrize(
    ("gold", "texts"),
    [
        ("E. coli", ("Answer: E. coli", "The answer is E. coli. It lives in the gut.", "**E. coli**")),
        ("J. K. Rowling", ("The answer is: J. K. Rowling.", "**Answer:** J. K. Rowling", r"\boxed{\text{J. K. Rowling}}")),
        ("Mr. Smith", ("Answer: Mr. Smith", "The answer is Mr. Smith.")),
        ("St. Petersburg", ("Answer: St. Petersburg", "The answer is St. Petersburg! It is cold.")),
        ("U.S.", ("The answer is the U.S.", "Answer: U.S.", "the U.S.")),
        ("Yahoo! Inc.", ("Answer: Yahoo! Inc.", "The answer is Yahoo! Inc.")),
        ("Who's Who?", ('The answer is "Who\'s Who?"', 'The answer is "Who\'s Who?".', "Answer: Who's Who")),
        ("f(x) = 2; g(x) = 3", ("Answer: f(x) = 2; g(x) = 3", "f(x) = 2; g(x) = 3")),
        (SQL, (SQL, f"Answer: {SQL}", f"```sql\n{SQL}\n```", f"Answer:\n```sql\n{SQL}\n```", f"`{SQL}`")),
        ("__init__", ("__init__", "Answer: __init__", "The answer is `__init__`.", "**`__init__`**")),
        ("**kwargs", ("**kwargs", "Answer: **kwargs", "`**kwargs`")),
        ("Paris and Rome", ("**Paris** and **Rome**", "Answer: **Paris** and **Rome**")),
        ("Paris", ("### Answer\nParis", "### Final Answer\n\n**Paris**", "### Explanation\nIt is the capital.\n\nParis")),
        ("Paris", ("### Paris", "## Answer: Paris", "#### Paris", "### Final Answer: **Paris**", "# Paris", "- Paris")),
        ("Paris", ("**Final Answer**\nParis\n\n**Explanation**\nIt is the capital.", "## Answer\nParis\n\n## Why\nIt is.")),
        ("Paris", ("Paris!", '"Paris."', "(Paris)", "*Paris*", "_Paris_", "“Paris”", "The answer is 'Paris'!", "[Paris]")),
        ("Denver Broncos", ("the Denver Broncos", "The answer is the Denver Broncos.", "**The Denver Broncos**")),
        ("the Denver Broncos", ("Denver Broncos", "Answer: Denver Broncos")),
        ("Oklahoma!", ("Oklahoma", "Answer: Oklahoma!")),
        ("पेरिस", ("पेरिस।", "उत्तर: पेरिस।")), ("پیرس", ("پیرس۔",)), ("巴黎", ("巴黎。", "答案是巴黎！", "「巴黎」")),
    ],
)  # fmt: skip
def test_an_answer_of_words_is_found_in_what_stands_around_it(gold, texts):
    assert [text for text in texts if not answers_match(text, gold, kind="text")] == []


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("Answer: Paris. Not Lyon.", "Lyon"), ("### Explanation\nParis is big.\n\nLyon", "Paris"), ("Answer: E. coli", "coli"),
        ("### Paris\nIt is not this one.\n\nLyon", "Paris"), ("The answer is not St. Petersburg.", "St. Petersburg"),
        ("Answer: *args", "**args"), ("*args", "**args"), ("args", "*args"), ("init", "__init__"), ("Answer: init", "__init__"),
        ("(3, 4)", "3, 4"), ("[cat, dog]", "cat, dog"), ("(x + y)", "x + y"), ("b", "a b"), ("a b", "b"), ("n", "n!"), ("x!", "x"),
        ("Answer: a < b", "a > b"), ("Paris and Rome", "Paris"), ("**Paris** and **Rome**", "Paris"), ("", "the"), ("- x", "x"),
        ("Answer: The Hague", "The"), ("foo", "foo()"), ("SELECT a;", "SELECT b;"), ("\\boxed{Lyon}\nParis", "Paris"),
        ("Answer: Lyon\nParis", "Paris"), ("```\nLyon\n```", "Paris"), ("f(x) = 2; g(x) = 3", "g(x) = 3"),
    ],
)  # fmt: skip
def test_other_words_are_not_the_answer(text, gold):
    assert not answers_match(text, gold, kind="text")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("## Step 1\nWe add 2 and 40.\n\n## Step 2\nSo we get 42.", 42), ("### Step 3: add\n5 + 37 = 42", 42), ("### 42", 42),
        ("### Answer\n42\n\n### Explanation\nIt is 6 times 7, and 3 is odd.", 42), ("**Final Answer**\n42\n\nThat took 3 steps.", 42),
        ("### Answer\nWe first add 3 to 4, which is 7.\nSo 42.", 42), ("#### 42\n\nQuestion: what is 3 + 4?", 42),
        ("### 42\n\nThat took 3 steps.", 42), ("### Answer: 42\n\n### Explanation\nIt is 6 times 7, and 3 is odd.", 42),
    ],
)  # fmt: skip
def test_a_heading_is_no_answer_unless_it_holds_one_alone(text, number):
    assert extract_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "Option: B", "Option: (B)", "Option: B) dog", "Choice: B", "Selected option: B", "My choice: **B**", "Response: B",
        "Result: B", "Selection: b", "Pick: B.", "Ans. B", "Ans: B", "Ans B", "ans. (b)", "The answer's B.", "The answer's (B).",
        "The most likely answer among the options is B.", "The answer from the options is B.", "The best answer from the list is B",
        "The correct option among these is B.", "The answer that best fits is B.", "Opción: B", "Wahl: B", "选项：B",
    ],
)  # fmt: skip
def test_the_usual_labels_of_an_option_are_read(text):
    assert extract_letter(text, "ABCD") == "B"
    assert (
        extract_letter(f"A is the largest, and C is older.\n{text}", "ABCD", ("cat", "dog", "hot dog", "bird")) == "B"
    )


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Option: A\nIt barks.\nOption: B\nIt does not.\nThe answer is A.", "A"), ("Choice: the one that barks", None),
        ("Options: A, B, C, D", None), ("Response: A dog barks, so C is right.", "C"), ("The answer's clear.", None),
        ("The answer's not B.", None), ("Option: A or B", None),
    ],
)  # fmt: skip
def test_a_label_in_front_of_something_else_is_none(text, letter):
    assert extract_letter(text, "ABCD") == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Let's evaluate each choice:\n\nA) London is wrong.\nB) Paris is right.\n\nTherefore B is correct.", "B"),
        ("Consider each option:\n(A) London is in England.\n(B) Paris is in France.\nI choose B.", "B"),
        ("Analicemos cada opción:\nA) London no es.\nB) Paris sí.\n\nB es correcta.", "B"),
        ("Option: A\n\nLondon is in England.\n\nOption: B\n\nParis is not.\n\nSo C.", "C"),
        ("First option: A. too small\nSecond option: B. fits\nHence (B) is correct.", "B"),
        ("Paul a 12 ans.\na) vrai\nb) faux\nDonc (B).", "B"), ("Choice: (A) London (B) Paris (C) Rome", None),
        ("Option: B\n\nExplanation: London (A) is in England.", "B"), ("So 3 fit, and 2 do not.\n- **Option:** B) Paris", "B"),
    ],
)  # fmt: skip
def test_an_option_that_is_looked_at_is_no_answer(text, letter):
    assert extract_letter(text, "ABC", ("London", "Paris", "Rome")) == letter


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Intermediate result: 5\nDoubling that gives 10.", 10), ("Partial result: 3/4\nAdding 1/4 makes 1", 1),
        ("First choice: 4\nSecond choice: 3\nTotal number of ways is 12", 12), ("Result: 5\nResult: 6\nTheir sum is 11.", 11),
        ("Result: 5\n\nWait, I forgot one. It is 6.", 6), ("It took 3 steps.\nFinal result: 42", 42), ("It took 3 steps.\n**Result:** 42\n```", 42),
    ],
)  # fmt: skip
def test_a_result_on_the_way_is_no_answer(text, number):
    assert extract_number(text) == number


def test_the_labels_hold_for_numbers_and_words_too():
    assert extract_number("Result: 42\n\nThat took 3 steps.") == 42
    assert extract_number("<think>hm</think>\n\nResult: 42\n\nThat took 3 steps.") == 42
    assert extract_number("The answer's 42 apples, in 3 bags.") == 42
    assert extract_number("Response: it took 3 steps.\nSo 42.") == 42
    assert answers_match("The answer's Paris.", "Paris")
    assert extract_yes_no("Response: No\n\nYes would be wrong.") == "no"
    assert extract_yes_no("Response: Yes.\nOn reflection the statement is false.") == "no"
    assert answers_match("Lap 1 result: 12\nParis", "Paris")


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("The answer is 0.5", ("5", "50"), None), ("1,500.", ("500", "50"), None), ("The answer is -20.", ("20", "30"), None),
        ("The answer is 12.5 m/s", ("12", "13"), None), ("The answer is 2/3", ("2", "3"), None), ("It is .5", ("5", "6"), None),
        ("The answer is 1.25 N", ("25 N", "20 N"), None), (r"\boxed{\frac{1}{2}}", ("1", "3"), None), ("It is 12:30.", ("12", "30"), None),
        ("$x+1$", ("x", "y"), None), ("So it is x + 1.", ("1", "2"), None), ("The answer is 2^10.", ("2", "10"), None), ("2*5", ("5", "6"), None),
        ("The answer is non-linear", ("linear", "quadratic"), None), ("No change.", ("change", "growth"), None),
        ("It stays without change.", ("change", "growth"), None), ("20% of them left", ("20", "30"), "A"), ("the 20-year plan", ("20", "30"), None),
        ("The answer is 20%.", ("20", "0.2"), None), ("The answer is 20%.", ("20%", "20"), "A"), ("The answer is 20%.", ("30", "20"), "B"),
        ("The answer is 0.5", ("0.5", "5"), "A"), ("The answer is 0.5", ("5", "1/2"), "B"), (r"\boxed{\frac{1}{2}}", ("1", "1/2"), "B"),
        (r"The answer is \frac{1}{2}.", (r"$\frac{1}{2}$", "1"), "A"), ("1,500.", ("500", "1500"), "B"),
        ("The answer is 1500.", ("1,500", "500"), "A"), ("The answer is -20.", ("20", "-20"), "B"), ("The answer is +5 V", ("5 V", "6 V"), "A"),
        ("The answer is 12.5 m/s.", ("12 m/s", "12.5 m/s"), "B"), ("The answer is $20.", ("$20", "$30"), "A"), ("The answer is $20.", ("20", "30"), "A"),
        ("x = 5", ("5", "6"), "A"), ("So there is no change.", ("no change", "change"), "A"), ("It is linear.", ("linear", "non-linear"), "A"),
        ("It is non-linear.", ("linear", "non-linear"), "B"), ("It is C++.", ("C", "C++"), "B"), ("It is 5.", ("5", "5.5"), "A"),
        ("The change is large, 5, as said.", ("5", "6"), "A"), ("It is 5 (five).", ("5", "6"), "A"),
    ],
)  # fmt: skip
def test_an_option_is_named_by_its_words_and_not_by_a_part_of_others(text, options, letter):
    assert extract_letter(text, "AB", options) == letter


@pytest.mark.parametrize(
    "text",
    [
        "60 cm²", "The area is 60 cm².", "So 5 × 12 = 60 cm².", "60 m^2", "The area is 60 m^2.", "60 cm^{2} in total.", "60 m³",
        r"So the area is $60\text{ cm}^2$.", r"The area is 60 $\text{cm}^2$.", r"60\,\mathrm{cm}^{2}", "60 cm2", "It is 60 km2.", "60 m²/s²",
        "It is 60 m² of floor.", "**60 cm³**", "60 ft²", "60 in³", "60 kg·m²", "60 kg/m³", "60 W/m²", "60 m/s²", "60 m/s^2", "60 m/s2",
        r"$60\ \text{m/s}^2$", "60 m s⁻²", "60 kg m^2 s^-2", "60 square metres", "60 units²", "It is 4 m by 15 m, so 60 m².",
        "The answer is 60 cm²", r"\boxed{60\text{ cm}^2}", r"So the length is $60\text{ m}$.", r"$60\text{ m}$",
    ],
)  # fmt: skip
def test_a_raised_unit_is_no_number(text):
    assert extract_number(text) == 60


@pytest.mark.parametrize(
    "text", ["So A = 3 s^2", "So A = 3s^2", "So V = 3L^2", "60 cm² + 3 cm²", "So 60 cm + 3 cm", "So it is x^2", "3 N2", "So 4 a b^2"]
)  # fmt: skip
def test_a_raised_variable_and_a_sum_of_units_stay_unread(text):
    assert extract_number(text) is None


@pytest.mark.parametrize(
    "text",
    ["Answer:\n- 12 apples", "The answer is:\n- 12", "The answer is:\n\n- 12", "The answer is — 12.",
     "The answer is:\n* 12", "The answer is:\n• 12", "**Answer:**\n- **12**", "Die Antwort lautet:\n– 12 Äpfel"],
)  # fmt: skip
def test_a_bullet_or_a_dash_is_no_minus(text):
    assert extract_number(text) == 12 and not answers_match(text, "-12")


@pytest.mark.parametrize(
    "text",
    ["The answer is -12", "The answer is −12", "The answer is –12.", r"\boxed{- 12}", "<answer>- 12</answer>", "$x = - 12$",
     "Answer: $-12$", "The answer is $- 12$.", "The answer is:\n-12", "The answer is:\n$$- 12$$", "The answer is - 12", "#### -12"],
)  # fmt: skip
def test_a_minus_stays_one(text):
    assert extract_number(text) == -12


def test_a_bullet_is_no_part_of_a_letter_or_of_words():
    assert extract_letter("The answer is:\n- B", "ABCD") == "B"
    assert answers_match("The answer is:\n- Paris", "Paris") and extract_yes_no("Answer:\n- No") == "no"


@pytest.mark.parametrize("form", [r"\boxed{{{}}}", "The answer is ${}$.", "Answer: {}", "{}", "**{}**"])
@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("2x + 3", ("2x+3", "3 + 2x", "2x + 3"), ("2x+4", "3", "2")), ("9i+6", ("6+9i", "9i + 6"), ("9i-6", "6")),
        ("p-q", ("p - q",), ("q - p", "p")), ("x=5", ("x = 5", "5"), ("x = 6", "6")), ("y = 2x+3", ("2x + 3", "y=2x+3"), ("y = 2x", "3")),
        ("x > 3", ("x>3",), ("x < 3", "3")), ("1/x", ("1 / x",), ("1", "x")), ("3, 5, 7", ("3,5,7", "3, 5, 7"), ("3, 5", "3, 7, 5", "7", "3")),
        (r"\frac{3}{2},-\frac{1}{2}", (r"\frac{3}{2}, -\frac{1}{2}", "1.5, -0.5"), (r"\frac{3}{2}", r"-\frac{1}{2}")),
        ("1,-2", ("1, -2",), ("1", "-2", "-2, 1")), ("1, 2", ("1,2", "1, 2"), ("1.2", "1", "2", "1, 3")), ("1,2", ("1, 2", "1,2"), ("1, 3", "1")),
        (r"5, \sqrt{2}", (r"5,\sqrt{2}",), ("5", "5, 2")), ("5", ("5",), (r"5, \sqrt{2}", "5, 6")), ("10, 20, 30", ("10,20,30",), ("30", "10, 20")),
        ("x^2+y^2=25", ("x^2 + y^2 = 25", "y^2+x^2=25"), ("25", "x+y=25", "x^2+y^2=16")), ("2x+3=0", ("2x + 3 = 0",), ("0", "5x-1=0")),
    ],
)  # fmt: skip
def test_mathematics_in_plain_signs_is_mathematics(gold, right, wrong, form):
    assert [text for text in right if not answers_match(form.format(text), gold)] == []
    assert [text for text in wrong if answers_match(form.format(text), gold)] == []


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("2x + 3", "number"), ("x=5", "number"), ("3, 5, 7", "number"), ("1,-2", "number"), ("i+1", "number"), ("p-q", "text"),
        ("F-16", "text"), ("e2-e4", "text"), ("H2O", "text"), ("x1 + x2", "text"), ("C++", "text"), ("(1+2)*8", "text"), ("3 × 4", "text"),
        ("3 - 4", "text"), ("555-1234", "text"), ("2021-05-03", "text"), ("A, B", "text"), ("1-0", "text"), ("x == 5", "text"), ("A/B", "text"),
        ("18 + 1,000 + 90", "text"), ("2 and 1/2", "number"), ("24/7", "number"), ("n!", "text"),
    ],
)  # fmt: skip
def test_names_ranges_and_sums_of_numbers_are_no_mathematics(gold, kind):
    assert kind_of(gold) == kind
    assert (
        answers_match(gold, gold)
        and answers_match(f"The answer is {gold}.", gold)
        and answers_match(rf"\boxed{{{gold}}}", gold)
    )


def test_mathematics_in_words_is_found_without_a_mark():
    assert answers_match("So the circle is $x^2+y^2=25$.", "x^2+y^2=25")
    assert answers_match("So the circle is x^2 + y^2 = 25.", "x^2+y^2=25")
    assert answers_match("So a + b = 7.", "7") and answers_match(r"\boxed{a+b=7}", "7")
    assert not answers_match("So the circle is x^2 + y^2 = 16.", "x^2+y^2=25")
    assert answers_match("3 - 4", "3-4") and not answers_match("3, 4", "7") and extract_number("3, 4") is None


@pytest.mark.parametrize(
    "text",
    [
        "- " * 8000 + "xx", "#\n" * 8000 + "x", "5 m" + "^{2}" * 4900, "*" * 16_000, "_" * 16_000, "~" * 16_000 + "x", "(" + "," * 19_900,
        "5 " + "\x0b" * 16_000 + "x", "5" + "\u00a0" * 16_000 + "x", "5" + " \u200b" * 8000 + "x", "\n\x0b" * 8000, r"5 \(" * 4000, "5 " + r"\(" * 8000 + "x", "Option: A\n" * 1600 + "x",
        "no 5 " * 4000, r"\boxed{" + "type B " * 2800 + "}", "I don't think it is B " * 880,
    ],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_signs_that_go_on_and_on_take_no_time(text):
    began = time.process_time()
    extract_letter(text, "ABCD", ("Paris", "x", "5", "20"))
    extract_yes_no(text), extract_number(text), kind_of(text)
    assert not answers_match(text, "foo")
    assert time.process_time() - began < 1
