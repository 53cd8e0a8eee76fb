"""Contamination against its definition, step by step, and what a guard must find or let pass."""

from __future__ import annotations

import json
import tracemalloc
import unicodedata
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection import segmentation
from autoselection.errors import ConfigError, SignalError
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.families import contamination as overlap
from autoselection.signals.families.contamination import contamination, item_grams
from autoselection.signals.families.contamination_cosine import contamination_cosine
from autoselection.tasks import TaskConfig, TaskItem


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[str, ...]:
    return tuple(regex.findall(r"[\p{Han}\p{Thai}]\p{M}*|(?:(?![\p{Han}\p{Thai}])\w)+|[-+*/=<>^%×÷]", text.lower()))


def weight(units: tuple[str, ...]) -> int:
    """In sixths of a word: a Chinese character is two thirds of one, a Thai one a third."""
    return sum(4 if "一" <= unit[0] <= "龥" else 2 if "ก" <= unit[0] <= "๛" else 6 for unit in units)


@lru_cache(maxsize=4096)
def windows(units: tuple[str, ...], words: int) -> list[tuple[int, int]]:
    """From each place on the fewest units that weigh so many words."""
    found = []
    for i in range(len(units)):
        end = next((j for j in range(i + 1, len(units) + 1) if weight(units[i:j]) >= 6 * words), None)
        if end is not None:
            found.append((i, end))
    return found


def limit(questions: int) -> int:
    """In how many of so many different questions a run is a template."""
    return max(2, min(-(-questions // 4), 21), questions * 2 // 100 + 1)


def texts_of(item: TaskItem) -> list[str]:
    return [item.prompt, f"{item.question()}\n{item.reference()}", item.question()]


def templates(items: dict[str, list[TaskItem]]) -> set[tuple[str, ...]]:
    """Runs of five words that many questions of a part, of a task or of a task's subtask share."""
    groups: dict[tuple[str, ...], list[TaskItem]] = {}
    for part, entries in items.items():
        for entry in entries:
            task = part.split("/")[0]
            for group in ((part,), (task, ""), (task, "subtask", str(entry.subtask))):
                groups.setdefault(group, []).append(entry)
    found: set[tuple[str, ...]] = set()
    for entries in groups.values():
        holders: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for entry in entries:
            for text in texts_of(entry):
                units = split(text)
                for i, j in windows(units, 5):
                    holders.setdefault(units[i:j], set()).add(split(entry.question()))
        many = limit(len({split(entry.question()) for entry in entries}))
        found |= {run for run, questions in holders.items() if len(questions) >= many}
    return found


def known_by(text: str, n: int, shared: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The n-grams by which an item's text is known: those that hold the most besides the template."""
    units = split(text)
    template = [False] * len(units)
    for i, j in windows(units, 5):
        if units[i:j] in shared:
            template[i:j] = [True] * (j - i)
    if weight(units) >= 6 * n:
        spans = windows(units, n)
    else:
        spans = [(0, len(units))] if weight(units) >= 6 * 5 else []
    held = [min(6 * n, weight(tuple(units[k] for k in range(i, j) if not template[k]))) for i, j in spans]
    return {units[i:j] for (i, j), own in zip(spans, held, strict=True) if 0 < own == max(held)}


def owns_words(text: str, shared: set[tuple[str, ...]]) -> bool:
    units = split(text)
    covered = {k for i, j in windows(units, 5) if units[i:j] in shared for k in range(i, j)}
    return len(covered) < len(units) or not units


def contains(text: str, gram: tuple[str, ...]) -> bool:
    words = split(text)
    return any(words[i : i + len(gram)] == gram for i in range(len(words) - len(gram) + 1))


PLACES = ("x/dev", "y/test", "y/dev")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, list[TaskItem]], list[str]]:
    """Items that share instructions or not, and rows made of pieces of their texts."""
    word = st.sampled_from(["a", "B", "c", "d,", "-", "é", "+ 1", "中", "文字", "กี่", "วัน", "ก"])
    sentence = st.lists(word, max_size=14).map(" ".join)
    heads = draw(st.lists(st.lists(word, min_size=5, max_size=12).map(" ".join), min_size=1, max_size=2))
    items: dict[str, list[TaskItem]] = {part: [] for part in PLACES}
    for number in range(draw(st.integers(1, 8))):
        head = draw(st.sampled_from(["", "", *heads]))
        tail = draw(st.sampled_from(["", "", "", *heads]))
        prompt = " ".join([head, draw(sentence), tail])
        subtask = draw(st.sampled_from([None, "s"]))
        items[draw(st.sampled_from(PLACES))].append(TaskItem(str(number), prompt, draw(sentence), subtask=subtask))
    texts = [text for entries in items.values() for entry in entries for text in texts_of(entry)]
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        pieces = []
        for _ in range(draw(st.integers(1, 3))):
            units = draw(st.sampled_from(texts)).split(" ")
            start = draw(st.sampled_from([0, 0, *range(len(units))]))
            pieces += units[start : draw(st.sampled_from([len(units), *range(start, len(units))]))]
        rows.append(" ".join([*pieces, draw(st.sampled_from(["", "z", "中"]))]))
    return items, rows


def check(items: dict[str, list[TaskItem]], rows: list[str], n: int) -> tuple[list[float], dict[str, int]]:
    """Compare with the definition, step by step; the shares and counts that both give."""
    index = item_grams(items, n)
    shares, touched = contamination(rows, index)
    shared = templates(items)
    best = np.zeros(len(rows))
    parts = np.zeros((len(rows), len(items)), bool)
    short = only_template = 0
    for code, part in enumerate(sorted(items)):
        for entry in items[part]:
            known = [known_by(text, n, shared) for text in texts_of(entry)[:2]]
            if all(weight(split(text)) < 6 * 5 for text in texts_of(entry)[:2]):
                short += 1
            elif not owns_words(entry.question(), shared) or not any(known):
                only_template += 1
                continue
            for grams in known:
                for row, text in enumerate(rows):
                    held = [gram for gram in grams if contains(text, gram)]
                    if held:
                        best[row] = max(best[row], len(held) / len(grams))
                        parts[row, code] = True
    np.testing.assert_allclose(shares, best, atol=1e-6)
    np.testing.assert_array_equal(touched, parts)
    stats = dict(index.stats)
    assert (stats["items_too_short"], stats["items_of_template_only"]) == (short, only_template)
    return best.tolist(), stats


def test_the_largest_share_of_an_items_n_grams():
    """Rows are pieces of items, so that short items, parts of items and templates are all met many times."""
    seen: Counter[str] = Counter()

    # The same examples every time: how often each kind is met is asserted, too.
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(worlds(), st.integers(5, 9))
    def compare(world, n):
        items, rows = world
        shares, stats = check(items, rows, n)
        seen["a whole item"] += 1.0 in shares
        seen["a part of one"] += any(0 < share < 1 for share in shares)
        seen["nothing"] += 0.0 in shares
        seen["a template"] += stats["template_ngrams"] > 0
        seen["only template"] += stats["items_of_template_only"] > 0

    compare()
    assert len(seen) == 5 and min(seen.values()) >= 3, seen


def test_arithmetic_signs_count_and_other_punctuation_does_not():
    items = {"t/dev": [TaskItem("1", "Please compute 17 + 25 right now.", "42")]}
    rows = ["please compute: 17 + 25, right now!", "Please compute 17 - 25 right now.", "17 + 25"]
    assert contamination(rows, item_grams(items))[0].tolist() == [1.0, 0.0, 0.0]


def test_an_item_with_its_answer_is_one_more_text_to_find():
    item = TaskItem("1", " ".join(f"p{i}" for i in range(13)), " ".join(f"a{i}" for i in range(13)))
    row = f"something before {item.prompt} a0 a1"
    shares, _ = contamination([row, f"p12 {item.answer}", item.answer], item_grams({"t/test": [item]}))
    assert shares.tolist() == [1.0, pytest.approx(2 / 14), pytest.approx(1 / 14)]


HEAD = (
    "Draw up the whole table of truth values for the argument below and then say with its help whether it holds or not:"
)
TAIL = "Think about it step by step and give the answer on a last line of its own behind four number signs."
VOCABULARY = [
    "apple",
    "river",
    "stone",
    "cloud",
    "paper",
    "metal",
    "glass",
    "wood",
    "fire",
    "wind",
    "rain",
    "snow",
    "moon",
    "star",
    "field",
    "hill",
]


def question(number: int, words: int = 8) -> str:
    return " ".join(np.random.default_rng(number).choice(VOCABULARY, words))


def made(count: int, form: str, answer: str = "valid", words: int = 8) -> list[TaskItem]:
    """Items of one form, in which {} is their own text."""
    return [TaskItem(str(i), form.format(question(i, words)), answer) for i in range(count)]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 14, 15, 20, 21, 30, 100, 1200])
@pytest.mark.parametrize("form", [HEAD + " {}", "{} " + TAIL, HEAD + " {} " + TAIL, HEAD[:60] + " {} " + TAIL])
def test_what_the_items_of_a_task_share_tells_nothing_at_any_size(count, form):
    items = item_grams({"logic/dev": made(count, form)})
    other = "if all the cats nap then no dog barks at night"
    rows = [
        form.format(other),
        form.format(""),
        f"{HEAD} {TAIL}",
        form.format(question(count - 1)),
        question(count - 1),
    ]
    shares = contamination(rows, items)[0].tolist()
    assert shares[:3] == [0.0, 0.0, 0.0]
    assert shares[3] == 1.0, "the item itself is found"
    assert items.stats["items_too_short"] == items.stats["items_of_template_only"] == 0


@pytest.mark.parametrize("words", [1, 2, 4, 8, 13, 40])
def test_items_of_few_own_words_are_found_in_their_template(words):
    items = item_grams({"logic/dev": made(12, HEAD + " {} " + TAIL, words=words)})
    rows = [f"{HEAD} {question(3, words)} {TAIL}", f"{HEAD} seven {TAIL}", f"{HEAD} {question(3, words)} so {TAIL}"]
    shares = contamination(rows, items)[0].tolist()
    assert shares[0] == 1.0 and shares[1] == 0.0 and (words >= 8 or shares[2] < 1)


@pytest.mark.parametrize("length", [5, 8, 12, 13, 25])
def test_instructions_shorter_than_an_n_gram_are_templates_too(length):
    head = " ".join(HEAD.split()[:length])
    items = item_grams({"t/dev": [TaskItem(str(i), f"{head} what {question(i)}", "x") for i in range(15)]})
    rows = [f"{head} what colour has the sky over the old town in winter", f"{head} what {question(4)}"]
    assert contamination(rows, items)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("count", [4, 6, 9, 14, 30])
def test_two_templates_in_one_task(count):
    other = "Read the passage, then name the one word in it that does not belong there and say why in a sentence: {}"
    entries = [*made(count // 2, HEAD + " {}"), *(made(count, other)[count // 2 :])]
    items = item_grams({"mixed/test": [TaskItem(str(i), entry.prompt, "x") for i, entry in enumerate(entries)]})
    rows = [
        f"{HEAD} no dog barks when all cats nap",
        other.format("no dog barks when all cats nap"),
        entries[-1].prompt,
    ]
    assert contamination(rows, items)[0].tolist() == [0.0, 0.0, 1.0]


def test_a_template_shared_by_dev_and_test_or_by_a_subtask():
    foreign = {"else/dev": [TaskItem(str(i), question(100 + i, 30), "x") for i in range(400)]}
    row = f"{HEAD} no dog barks when all cats nap"
    split_up = {"a/dev": made(1, HEAD + " {}"), "a/test": [TaskItem("t", f"{HEAD} {question(7)}", "x")]}
    assert contamination([row, f"{HEAD} {question(7)}"], item_grams({**foreign, **split_up}))[0].tolist() == [0.0, 1.0]
    many = [TaskItem(str(i), question(100 + i, 30), "x", subtask=f"s{i % 40}") for i in range(400)]
    few = [TaskItem(f"f{i}", f"{HEAD} {question(i)}", "x", subtask="logic") for i in range(5)]
    assert contamination([row, few[2].prompt], item_grams({"big/dev": [*many, *few]}))[0].tolist() == [0.0, 1.0]


def test_each_part_has_its_own_limit():
    """Fifteen items of a part share a template, however many items the other tasks, and the other part, have."""
    other = {f"{name}/test": [TaskItem(str(i), question(1000 + i, 30), "x") for i in range(1200)] for name in "ab"}
    items = item_grams({"a/dev": made(15, HEAD + " {}"), **other})
    assert contamination([f"{HEAD} no dog barks when all cats nap"], items)[0].tolist() == [0.0]


def test_text_of_few_items_of_a_larger_task_is_no_template():
    passage = question(5, 60)
    entries = [TaskItem(str(i), f"{passage if i < 2 else question(50 + i, 60)} {question(i)}", "x") for i in range(30)]
    assert contamination([passage], item_grams({"reading/dev": entries}))[0][0] > 0.4


@pytest.mark.parametrize(
    ("sharing", "of", "template"),
    [
        *[(1, 2, False), (2, 8, True), (2, 9, False), (3, 9, True), (10, 40, True), (9, 40, False)],
        *[(21, 300, True), (20, 300, False), (25, 1200, True), (24, 1200, False)],
    ],
)
def test_how_many_items_make_a_template(sharing, of, template):
    """Two and a quarter of the items; or more than twenty and 2% of them."""
    head = " ".join(f"head{i}" for i in range(20))
    others = [TaskItem(f"o{i}", question(5000 + i, 30), "x") for i in range(of - sharing)]
    items = item_grams({"t/dev": [*made(sharing, head + " {}"), *others]})
    assert (contamination([head], items)[0][0] == 0) == template


@pytest.mark.parametrize("copies", [2, 5, 30])
def test_an_item_that_stands_several_times_is_found(copies):
    item = question(1, 30)
    entries = [TaskItem(str(i), item, str(i)) for i in range(copies)]
    alone = item_grams({"t/dev": entries})
    among = item_grams({"t/dev": [*entries, *made(9, HEAD + " {}")], "t/test": [TaskItem("again", item, "x")]})
    for items in (alone, among):
        assert contamination([f"Well: {item}"], items)[0].tolist() == [1.0]


def test_an_item_of_nothing_but_template_is_counted_as_not_looked_for():
    entries = [*made(8, HEAD + " {}"), TaskItem("bare", HEAD, "valid"), TaskItem("short", "Why?", "so")]
    items = item_grams({"t/dev": entries})
    assert items.stats["items_of_template_only"] == items.stats["items_too_short"] == 1
    assert contamination([HEAD, f"{HEAD} valid"], items)[0].tolist() == [0.0, 0.0]


def test_solved_examples_in_front_of_every_item_are_a_template():
    shots = " ".join(f"Question: {question(900 + i, 20)} Answer: yes." for i in range(5))
    entries = [TaskItem(str(i), f"{shots} Question: {question(i, 12)} Answer:", "yes") for i in range(6)]
    items = item_grams({"t/test": entries})
    rows = [f"{shots} Question: no dog barks when all of the cats nap Answer: yes", entries[4].prompt, shots]
    assert contamination(rows, items)[0].tolist() == [0.0, 1.0, 0.0]


ITEMS = {
    "chinese": ("小明有十二个苹果，他每天吃三个，请问他可以吃几天？", "4"),
    "chinese, short": ("中国的首都是哪一座城市？", "北京"),
    "japanese": ("日本で一番高い山の名前とその高さを答えてください。", "富士山"),
    "thai": ("นายสมชายมีส้มอยู่สิบสองผล เขากินวันละสามผล ถามว่าเขาจะกินได้กี่วัน", "4"),
    "thai, short": ("ประเทศไทยมีกี่จังหวัด", "77"),
    "lao": ("ນາຍບຸນມີມີໝາກກ້ຽງສິບສອງໜ່ວຍ ລາວກິນມື້ລະສາມໜ່ວຍ", "4"),
    "khmer": ("តើប្រទេសកម្ពុជាមានរាជធានីឈ្មោះអ្វី", "ភ្នំពេញ"),
    "burmese": ("မြန်မာနိုင်ငံ၏ မြို့တော်သည် မည်သည့်မြို့ ဖြစ်သနည်း", "နေပြည်တော်"),
    "hindi": ("राम के पास बारह सेब हैं और वह रोज़ तीन खाता है, कितने दिन चलेंगे?", "4"),
    "tamil": ("ராமனிடம் பன்னிரண்டு ஆப்பிள்கள் உள்ளன, அவன் தினமும் மூன்று சாப்பிடுகிறான்", "4"),
    "korean": ("철수는 사과 열두 개를 가지고 있고 매일 세 개씩 먹는다. 며칠 동안 먹을 수 있는가?", "4"),
    "arabic": ("لدى أحمد اثنتا عشرة تفاحة ويأكل ثلاثا كل يوم فكم يوما تكفيه؟", "4"),
    "vietnamese": ("Minh có mười hai quả táo và mỗi ngày ăn ba quả thì ăn được mấy ngày?", "4"),
    "formula": ("x + 1 = 2 * y - 3 < z", "y"),
    "code": ("print(a if a <= b else b ** 2 % 7)", "2"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_is_found_in_any_script(name):
    prompt, answer = ITEMS[name]
    items = item_grams({"t/test": [TaskItem(name, prompt, answer)]})
    assert items.stats["items_too_short"] == 0
    others = [f"{text}\n{gold}" for own, (text, gold) in ITEMS.items() if own != name]
    decomposed = unicodedata.normalize("NFD", prompt)
    rows = [f"Q: {prompt}\nA: {answer}", f"好 {prompt.upper()}", decomposed, *others]
    shares = contamination(rows, items)[0].tolist()
    assert shares[:3] == [1.0, 1.0, 1.0] and not any(shares[3:])


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("一二三四五六七", False), ("一二三四五六七八", True), ("ก" * 14, False), ("ก" * 15, True), ("a b c d", False)],
)
def test_the_shortest_items_looked_for(prompt, words):
    assert item_grams({"t/dev": [TaskItem("1", prompt, "?")]}).stats["items_too_short"] == (not words)


def test_names_that_scripts_without_spaces_make_of_many_characters_are_not_contamination():
    items = {
        "t/test": [
            TaskItem("zh", "请问中华人民共和国全国人民代表大会的常务委员会由多少名委员组成以及他们的任期是几年", "5"),
            TaskItem("th", "มหาวิทยาลัยเชียงใหม่ก่อตั้งขึ้นในปีพุทธศักราชใดและใครเป็นอธิการบดีคนแรกของมหาวิทยาลัย", "2507"),
        ]
    }
    rows = ["他在中华人民共和国全国人民代表大会上讲话。", "เขาเรียนที่มหาวิทยาลัยเชียงใหม่มาสี่ปี"]
    assert contamination(rows, item_grams(items))[0].tolist() == [0.0, 0.0]


def test_a_batch_larger_than_is_held_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abc"), 30)) for _ in range(40)]
    items = item_grams({"t/dev": [TaskItem(str(i), text, "x") for i, text in enumerate(texts[:19])]}, 9)
    whole = contamination(texts, items)
    monkeypatch.setattr(overlap, "_PAIRS", 50)
    monkeypatch.setattr(segmentation, "_BATCH_CHARACTERS", 200)
    parts = contamination(texts, items)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_texts_without_words_share_nothing():
    items = item_grams({"t/dev": [TaskItem("1", "?", "!"), TaskItem("2", "\ud800 one two three four five", "six")]})
    assert items.stats["items_too_short"] == 1
    assert contamination(["", "...", "one two three four five six"], items)[0].tolist()[:2] == [0.0, 0.0]


def test_cosine_with_the_nearest_item():
    rows = np.array([[1.0, 0], [0.6, 0.8], [np.nan, np.nan]], np.float32)
    items = np.array([[0.0, 1.0], [0.8, 0.6], [np.nan, np.nan]], np.float32)
    found = contamination_cosine(rows, items, block=2)
    assert found[:2].tolist() == pytest.approx([0.8, 0.96]) and np.isnan(found[2])


@pytest.mark.parametrize("n", [13, 30], ids=["n-grams", "as a whole"])
def test_a_formula_is_found_however_it_is_set(n):
    item = "Let {0}x{1} be a real number such that {0}x^2 + 3x + 1 = 0{1}. Find {2}x^3 + 8x{3} for the larger root."
    forms = [("$", "$", "$$", "$$"), ("\\(", "\\)", "\\[", "\\]"), ("", "", "", ""), ("$", "$", "\n\\[\n", "\n\\]\n")]
    texts = [item.format(*form) for form in forms]
    for asked in texts:
        shares, _ = contamination(texts, item_grams({"t/test": [TaskItem("1", asked, "It costs \\$5.")]}, n))
        assert shares.tolist() == [1.0] * 4
    other = texts[0].replace("x^2 + 3x", "x^2 - 3x").replace("x^3 + 8x", "x^3 / 8x")
    assert contamination([other], item_grams({"t/test": [TaskItem("1", texts[1], "x")]}, n))[0][0] < 0.5
    priced = [TaskItem("1", "A pen costs $5, and a book costs $20 more than two pens do: what does it cost?", "x")]
    rows = ["A pen costs \\$5, and a book costs \\$20 more than two pens do: what does it cost?"]
    assert contamination(rows, item_grams({"t/test": priced}, n))[0].tolist() == [1.0]


def test_few_cosines_with_items_are_in_memory_at_once():
    rng = np.random.default_rng(0)
    rows, items = (rng.normal(size=(count, 8)) for count in (1_500, 30_000))
    rows, items = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (rows, items))
    rows[7] = np.nan
    tracemalloc.start()
    found = contamination_cosine(rows, items)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(rows) * len(items) / 4, "all of them are 180 MB"
    np.testing.assert_allclose(found, (rows @ items.T).max(axis=1), atol=1e-6)


@pytest.fixture
def small_pool(tmp_path):
    prompts = ["Name the three longest rivers of the northern part of this old continent today.", "Hello there."]
    raw = tmp_path / "pool.jsonl"
    lines = [{"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": "ok"}]} for p in prompts]
    raw.write_text("\n".join(json.dumps(line) for line in lines))
    ingest([raw], tmp_path / "pool")
    files = {}
    for name, prompt in (("dev", "What is the capital city of a far away country?"), ("test", prompts[0])):
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text(json.dumps({"id": "1", "prompt": prompt, "answer": "yes"}))
    return Pool.open(tmp_path / "pool"), TaskConfig(name="geo", **files)


def test_score_pool_counts_rows_by_task_and_split_and_caches_by_items(small_pool, tmp_path):
    pool, task = small_pool
    report = score_pool(pool, SignalsConfig(), tasks=[task], signals=["contamination"])
    (signal,) = report.signals
    counts = {name: count for name, count in signal.stats.items() if name.startswith(overlap.STAT)}
    assert counts == {"overlap with any item": 1, "overlap with geo/dev": 0, "overlap with geo/test": 1}
    assert load_table(pool).column("contamination").tolist() == [1.0, 0.0]
    assert score_pool(pool, SignalsConfig(), tasks=[task], signals=["contamination"]).cached
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"id": "1", "prompt": "Hello there.", "answer": "one two three four"}))
    changed = score_pool(pool, SignalsConfig(), tasks=[task.model_copy(update={"test": other})])
    assert not {signal.name: signal for signal in changed.signals}["contamination"].cached
    assert load_table(pool).column("contamination").tolist() == [0.0, 0.0]


def test_without_benchmark_items_it_is_skipped_or_refused(small_pool, tmp_path):
    pool, task = small_pool
    assert score_pool(pool, SignalsConfig()).skipped["contamination"] == "no task with dev items was given"
    only_target = TaskConfig(name="geo", target=task.dev, dev=task.dev)
    with pytest.raises(SignalError, match="needs tasks with dev or test items"):
        score_pool(pool, SignalsConfig(), tasks=[only_target], signals=["contamination"])
    with pytest.raises(ConfigError, match="does not exist"):
        absent = task.model_copy(update={"test": tmp_path / "absent.jsonl"})
        score_pool(pool, SignalsConfig(), tasks=[absent], signals=["contamination"])
