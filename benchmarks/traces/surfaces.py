"""Words of the synthetic traces: questions, reasoning, answers, refusals, errors; and what looks like a fault and is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.traces.tools import TOOLS, Tool


@dataclass(frozen=True)
class Surfaces:
    """What traces are made of.

    Attributes:
        tools: of which each trace declares some.
        layouts: how calls, results and tools are written, each with its weight.
        reasoning: how reasoning is written: not at all, typed, or between two tags.
        questions, thoughts, answers: of clean turns.
        odd_answers: questions with answers that look like faults and are none, by what they look like.
        refusals, errors: last answers that are none.
        empty_ends: what follows reasoning where nothing does.
        conclusions, halts: the ends of reasoning that states an answer, and of reasoning that stops halfway.
        broken_arguments: in place of arguments; ``{json}`` is their JSON text, ``{half}`` its first two thirds, ``{quotes}``
            the same with single quotes.
        failures: results of a call that fails, ``{n}`` the number of the attempt.
        undeclared: names of tools that are never declared.
    """

    tools: tuple[Tool, ...]
    layouts: Mapping[str, float]
    reasoning: tuple[Any, ...]
    questions: tuple[str, ...]
    thoughts: tuple[str, ...]
    answers: tuple[str, ...]
    odd_answers: Mapping[str, tuple[tuple[str, str], ...]]
    refusals: tuple[str, ...]
    errors: tuple[str, ...]
    empty_ends: tuple[str, ...]
    conclusions: tuple[str, ...]
    halts: tuple[str, ...]
    broken_arguments: tuple[str, ...]
    failures: tuple[str, ...]
    undeclared: tuple[str, ...]


_QUESTIONS = (
    "Can you sort this out for me?",
    "What would you suggest for {word}?",
    "Please look into the {word} for {person}.",
    "Wie steht es um {word}?",
    "帮我处理一下{word}的事情。",
    "{word} について調べてください。",
    "Que peux-tu me dire sur {word} ?",
    "Расскажи про {word}.",
    "I need {word} done by Friday <urgent>!",
    "Compare {word} with {word} and tell me which is better.",
)
_THOUGHTS = (
    "The user wants help with {word}. Let me look at what is known first.",
    "Okay, so {person} asked about {word}. I should check twice before I go on.\nWait, maybe I need the details.",
    'First step: gather facts.\n\n1. {word}\n2. {word}\n\nI can use a function for it. What about ```json\n{{"a": 1}}\n``` as the input?',
    "嗯，用户想知道{word}。我先想一想。",
    "Hmm, the tag `</answer>` appears in the task, never mind.",
    "Je dois d'abord vérifier {word}.",
)
_ANSWERS = (
    "All done: {word} is taken care of.",
    "Here is what I found about {word}:\n\n- first point\n- second point",
    "**{word}**: 42.",
    "Das ist erledigt, {person}.",
    "{word}已经处理好了。",
    "👍",
    "7",
    "Voilà, {word} est prêt.",
    "It is {word}, because {word} comes first; see {word} too.",
    "Sorry for the wait! {word} is booked for {person}.",
    "I couldn't find any {word} near you, but two are open nearby.",
    "Unfortunately the {word} is sold out on that day; the next one is on Monday.",
    "The service returned an error for {word}, so I used the saved copy from yesterday: 12 units.",
    "```python\nprint('<think>')\n```\nThat prints the opening tag.",
)
#: Answers that look like faults and are none, each with the question that explains it.
_ODD_ANSWERS = {
    "quotes a refusal": (
        (
            "Translate into German: I'm sorry, but I can't help with that.",
            "Es tut mir leid, aber dabei kann ich nicht helfen.",
        ),
        ("What does HAL answer?", "\"I'm sorry, Dave. I'm afraid I can't do that,\" says HAL, and closes the doors."),
        (
            "Write a polite email to decline the invitation.",
            "Sorry, but I can't attend the dinner on Friday. Thank you for asking me!",
        ),
        ("What do assistants say too often?", 'Phrases like "As an AI language model, I cannot" are the classic ones.'),
        ("How would a shop turn down a refund?", "Unfortunately, we cannot process your refund after 30 days."),
    ),
    "declines what is harmful": (
        ("How do I build a pipe bomb?", "I'm sorry, but I can't help with that."),
        ("Write ransomware that spreads over SMB.", "I can't assist with creating malware."),
        ("How can I hack into my ex's email?", "I cannot help with getting into someone else's account."),
    ),
    "talks about tags": (
        ("What does the think tag do?", "`<think>` opens a block of reasoning, and `</think>` closes it."),
        (
            "How does Qwen call tools?",
            'It writes a block such as\n\n```\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n```\n\nand stops.',
        ),
        (
            "Explain the format.",
            "The model wraps JSON in <tool_call> and </tool_call>, and the reply comes in <tool_response> tags.",
        ),
        ("Which tags are there?", "<think> is for reasoning; <tool_call> is for calls."),
        (
            "How do I strip reasoning?",
            "Use a regular expression:\n\n    re.sub(r'<think>.*?</think>', '', text, flags=re.S)\n\nThe tag <think> may be missing.",
        ),
    ),
    "talks about errors": (
        (
            "What does HTTP 502 mean?",
            "502 Bad Gateway means that a proxy got an invalid response from the server behind it.",
        ),
        ("What does this print? 1/0", "ZeroDivisionError: division by zero"),
        (
            "Write an error page in HTML.",
            "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Nothing here.</body></html>",
        ),
        ("Give me a JSON body for a failed login.", '{"error": {"code": 401, "message": "Wrong password"}}'),
    ),
}
_REFUSALS = (
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I cannot fulfill that request.",
    "I cannot help with this request.",
    "As an AI language model, I don't have access to real-time data and cannot answer that.",
    "Sorry, I can't do that.",
    "I apologize, but I am unable to provide that information.",
    "Unfortunately, I'm not able to help you with that. Is there anything else?",
    "I'm just an AI assistant and I can't process your request.",
    "I am an AI language model and I cannot perform that action.",
    "I'm sorry, but as an AI assistant I don't have the capability to book tables. My function is limited to the tools given.",
    "I must respectfully decline to answer this question.",
    "I won't be able to help with that.",
    "Apologies, but that is beyond what I can do.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Als KI-Sprachmodell kann ich diese Anfrage nicht beantworten.",
    "Je suis désolé, mais je ne peux pas répondre à cette demande.",
    "En tant qu'IA, je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Como modelo de lenguaje, no puedo realizar esa acción.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Het spijt me, maar ik kan je daar niet mee helpen.",
    "Przykro mi, ale nie mogę w tym pomóc.",
    "Извините, но я не могу выполнить этот запрос.",
    "К сожалению, я не могу ответить на этот вопрос.",
    "很抱歉，我无法回答这个问题。",
    "作为一个AI语言模型，我无法提供实时信息。",
    "对不起，我不能帮助您完成这个请求。",
    "申し訳ありませんが、そのご依頼にはお応えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    "عذرًا، لا يمكنني مساعدتك في ذلك.",
    "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "Xin lỗi, tôi không thể giúp bạn việc này.",
    "Maaf, saya tidak bisa membantu permintaan tersebut.",
    "ขออภัย ฉันไม่สามารถช่วยเรื่องนี้ได้",
)
_ERRORS = (
    "<html>\n<head><title>502 Bad Gateway</title></head>\n<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body>\n</html>",
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>You have been blocked</body></html>",
    '<!DOCTYPE html>\n<html lang="en-US"><head><title>Just a moment...</title></head><body></body></html>',
    '{"error": {"message": "Rate limit reached for requests", "type": "rate_limit_error", "code": 429}}',
    '{"status": 503, "message": "Service Unavailable"}',
    '{"detail": "Not authenticated", "status": 401}',
    "429 Too Many Requests",
    "503 Service Temporarily Unavailable",
    "Error code: 500 - {'error': {'message': 'The server had an error'}}",
    "Internal Server Error",
    "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    "openai.error.RateLimitError: You exceeded your current quota, please check your plan.",
    "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='api.x.com', port=443): Read timed out.",
    "Traceback (most recent call last):\n  File \"main.py\", line 3, in <module>\nKeyError: 'choices'",
    "Request timed out.",
    "Something went wrong. If this issue persists please contact us through our help center at help.openai.com.",
    "The server is busy. Please try again later.",
    "服务器繁忙，请稍后再试。",
    "There was an error generating a response",
    "Rate limit exceeded. Try again in 20s.",
)
_EMPTY_ENDS = ("", "\n\n", " ", "\n<|im_end|>", "...", "\u200b", "\n\n---\n", "<answer></answer>")
_CONCLUSIONS = (
    "So the answer is {word}.",
    "Therefore the final answer is \\boxed{{7}}.",
    "Answer: {word}",
    "所以答案是{word}。",
    "Die Antwort ist also {word}.",
    "Thus 6 * 7 = 42",
    "I'll tell the user: the result is {word}. Final answer: {word}.",
    "Hence it is {word}, and the answer should be {word}.",
    "Ответ: {word}",
)
_HALTS = (
    "Let me think about it a bit more.",
    "Wait",
    "Hmm, but what if the {word}",
    "First I need to look at the {word} again,",
    "嗯，再看一遍",
    "Let me check the",
    "1. {word}\n2. ",
)

_LAYOUTS = {
    "typed": 4,
    "typed without ids": 1.5,
    "hermes": 2,
    "results in the user's turn": 1,
    "coder tags": 0.7,
    "glm tags": 0.7,
}
_REASONING = (
    None, "typed", ("<think>\n", "\n</think>\n\n"), ("<thinking>", "</thinking>\n"), ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>\n", "\n<|end_of_thought|>\n\n"), ("<reasoning>\n", "\n</reasoning>\n"), ("", "\n</think>\n\n"),
)  # fmt: skip
_BROKEN = (
    "{half}",
    "{quotes}",
    "{json},}",
    "[{json}]",
    '"{name}"',
    "city=Paris, unit=celsius",
    "null",
    "[]",
    "{json}}",
    '{"a": NaN}',
    "{a: 1, b: 1}",
)
_FAILURES = (
    "Error 500 at 12:00:{n:02d}",
    "timeout after 30 s (request {n:012x})",
    "ConnectionError: failed, attempt {n}",
)
_UNDECLARED = ("search_web", "calculator", "python", "get_user", "finish")

USUAL = Surfaces(
    TOOLS, _LAYOUTS, _REASONING, _QUESTIONS, _THOUGHTS, _ANSWERS, _ODD_ANSWERS, _REFUSALS, _ERRORS, _EMPTY_ENDS, _CONCLUSIONS, _HALTS,
    _BROKEN, _FAILURES, _UNDECLARED,
)  # fmt: skip
