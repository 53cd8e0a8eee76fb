"""What many evaluations remarked is told once, and answers at the limit are counted by task."""

from __future__ import annotations

from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.remarks import padding_remark, remark_notes


def result(*remarks: str, **limited: int) -> EvaluationResult:
    metrics = {task: {"items": 300, "at_limit": count} for task, count in limited.items()}
    return EvaluationResult("dev", 0, 0.5, metrics=metrics, remarks=remarks)


def test_alike_remarks_are_one_note_and_others_stay() -> None:
    notes = remark_notes([
        ("t001", result("Training drops 30 of 40 rows (75%).")),
        ("t002", result("Training drops 1,200 of 4,000 rows (30%).")),
        ("t003", result("Training cuts 9 of 10 rows (90%).")),
        ("t004", result()),
    ])  # fmt: skip
    assert notes == [
        "t001: Training drops 30 of 40 rows (75%). (The same, with other numbers, for 1 more.)",
        "t003: Training cuts 9 of 10 rows (90%).",
    ]


def test_scores_in_bfloat16_of_an_earlier_version_are_told_where_they_were_made_otherwise() -> None:
    def made(trained: bool, weights: str | None = None, dtype: str = "bfloat16") -> tuple[str, EvaluationResult]:
        settings = {"dtype": dtype, "order": 1, **({"trainable_parameters": 1} if trained else {})}
        return "t", EvaluationResult("dev", 0, 0.5, settings=settings | ({"weights": weights} if weights else {}))

    (note,) = remark_notes([made(False), made(True), made(True, "float32")])
    assert note.startswith("1 of 1 scores of the untrained model are of an earlier version")
    (note,) = remark_notes([made(False), made(True), made(True, "bfloat16")])
    assert note.startswith("1 of 2 trainings are of an earlier version, which merged LoRA adapters in bfloat16")
    for told in (
        [made(False), made(True)],
        [made(False, "float32"), made(True), made(True, "float32")],  # trained ones are what they were
        [made(False), made(True, "bfloat16")],
        [made(False, dtype="float32"), made(True, "float32")],
    ):
        assert remark_notes(told) == []


def test_answers_at_the_limit_are_told_by_task_however_few() -> None:
    notes = remark_notes([
        ("t001", result(sums=1, words=0)), ("t002", result(sums=3, words=0)), ("base", EvaluationResult("dev", 0, 0.5)),
    ])  # fmt: skip
    assert notes == ["Generated answers that ended at the limit of their length, at most: sums 3 of 300 (dev, t002)."]
    assert remark_notes([("t001", result(sums=0))]) == []


def test_padded_rows_are_remarked_where_a_gpu_pays_for_them() -> None:
    said = [list(padding_remark("Training", "cuda:1", packed, None)) for packed in (False, True, None)]
    assert [len(each) for each in said] == [1, 0, 0]
    (padded,) = padding_remark("Scoring", "cuda", False, "it has layers of the kind 'chunked_attention'")
    assert padded.startswith("Scoring padded its passes: this model was not packed (it has layers of the kind 'chunked")
    (slower,) = padding_remark("Training", "cuda", True, "no kernel image")
    assert slower.startswith("Training packed its passes without FlashAttention (no kernel image).")
    assert list(padding_remark("Training", "cpu", False, "it has none")) == []
