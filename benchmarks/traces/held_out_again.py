"""A second set of words and forms, written after what the first held-out set had missed was mended; not used to improve anything."""

from __future__ import annotations

import json

from benchmarks.traces.surfaces import Surfaces
from benchmarks.traces.tools import Tool, _object, _some, _words

_TOOLS = (
    Tool(
        "create_invoice",
        _object(
            {
                "customer": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}, "vat": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{8}$"}}, "required": ["name"]},
                "lines": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"sku": {"type": "string"}, "qty": {"type": "integer", "exclusiveMinimum": 0}, "price": {"type": "number", "minimum": 0}}, "required": ["sku", "qty"], "additionalProperties": False}},
                "currency": {"type": "string", "enum": ["EUR", "PLN", "CHF"]},
            },
            ("customer", "lines"),
        ),
        lambda r: _some(r, {"customer": {"name": "Ŝtefan & Co.", "vat": f"DE{r.randint(10**7, 10**8 - 1)}"}, "lines": [{"sku": f"S-{r.randint(1, 10**6)}", "qty": r.randint(1, 9), "price": r.randint(0, 99) / 4} for _ in range(r.randint(1, 3))]}, currency="CHF"),
        lambda r, a: f"INV-{r.randint(1, 10**6)}",
        {"customer": ("ACME", {"vat": "DE12345678"}, {"name": ""}, {"name": "A", "vat": "12"}), "lines": ([], [{"sku": "a", "qty": 0}], [{"sku": "a", "qty": 1, "note": "x"}], [{"qty": 1}]), "currency": ("USD", "eur")},
    ),
    Tool(
        "rotate_image",
        _object({"id": {"type": "integer"}, "degrees": {"type": "integer", "multipleOf": 90}, "format": {"enum": ["png", "jpg", None]}}, ("id", "degrees")),
        lambda r: _some(r, {"id": r.randint(1, 10**9), "degrees": r.choice([90, 180, 270])}, format=r.choice(["png", None])),
        lambda r, a: json.dumps({"ok": True}),
        {"degrees": (45, "90°", 12.5), "id": ("img-1", 1.5), "format": ("gif", 1)},
    ),
    Tool(
        "notes/append",
        {"$defs": {"tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "uniqueItems": True}}, "type": "object", "properties": {"note": {"type": "string"}, "tags": {"$ref": "#/$defs/tags"}, "pinned": {"type": "boolean"}}, "required": ["note"]},
        lambda r: _some(r, {"note": f"{_words(r, 3, 9)}\n\n> I cannot help with that.\n\n<tool_response>"}, tags=["été", "日本"], pinned=False),
        lambda r, a: "appended",
        {"note": (1, ["x"]), "tags": (["a", "a"], ["much too long a tag"], "a,b"), "pinned": ("false", 0)},
    ),
    Tool("ping", {"type": "object", "properties": {"host": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["host"]}, lambda r: _some(r, {"host": f"10.0.{r.randint(0, 255)}.{r.randint(1, 254)}"}, count=r.randint(1, 9)), lambda r, a: r.choice(["ttl=64 time=3.1 ms", "Request timed out.", "Destination host unreachable"]), {"host": (127, None), "count": (0, "three", 10)}),
    Tool("whoami", {"type": "object", "properties": {}}, lambda r: {}, lambda r, a: "root", {}),
    Tool(
        "plot",
        _object({"x": {"type": "array", "items": {"type": "number"}}, "y": {"type": "array", "items": {"type": "number"}}, "kind": {"oneOf": [{"const": "line"}, {"const": "bar"}]}, "style": {"type": "object", "additionalProperties": {"type": "string"}}}, ("x", "y")),
        lambda r: _some(r, {"x": [r.random() for _ in range(r.randint(0, 6))], "y": [1, 2.5]}, kind="bar", style={"farbe": "grün"}),
        lambda r, a: "<svg></svg>",
        {"x": (["1"], "1,2", [None]), "y": ({"0": 1}, [True]), "kind": ("pie", ["line"]), "style": ({"w": 2}, "bold")},
    ),
)  # fmt: skip

_QUESTIONS = (
    "What's up with {word}?", "pls do {word} for {person} thx", "Kannst du {word} übernehmen?", "{word} 怎么样？", "J'aimerais avancer sur {word}.", "Summarize {word} in one line.", "Is {word} worth it?",
    "Could you walk me through {word}, step by step?", "Book it.", "{person} needs {word} by noon!!",
)  # fmt: skip
_THOUGHTS = (
    "{person} wants {word}. Straightforward.", "Two options here: {word} or {word}. The first is cheaper.\n\nI could also ask back.", "Zwei Schritte: {word}, dann {word}.",
    "Let x = 3. Then 2x + 1 = 7.\n\nDouble-check: 2*3+1 = 7. Right.", "需要调用工具查询{word}。", "The docs say `[TOOL_CALLS]` comes before the JSON, irrelevant here.", "Is this allowed? Yes: {word} is harmless.",
)  # fmt: skip
_ANSWERS = (
    "Done. {word} → {person}.", "The short version: {word} beats {word}.", "Everything about {word} is in the attached sheet.", "Es sind 3 {word} frei.", "I was able to move {word} to 15:00.",
    "Sorry, {person}, that took a while. {word} is ready.", "I cannot overstate how good {word} is for beginners.", "You can't cancel {word} online; call +41 44 000 00 00 instead.", "不能退货，但可以换{word}。", "{word}: not available in your size; try M.",
    "200", "`{word}`", "1. {word}\n2. {word}\n3. Done", "Error bars show one standard deviation of {word}.", "Regrettably late, but here it is: {word}.", "Access to {word} was granted to {person}.", "Le serveur {word} répond en 12 ms.", "✅", "x > 3",
)  # fmt: skip
_ODD_ANSWERS = {
    "sounds like a refusal": (
        ("Write the first line of a sad poem.", "I cannot write without your name."),
        ("What did the judge say?", "He said: \"I'm sorry, I cannot grant this request.\""),
        ("Should I lie to my boss?", "I wouldn't. Tell the truth early; it is easier than repairing trust."),
        ("Was ist los?", "Es tut mir leid, dass der Zug Verspätung hat. Er kommt um 12:40 an Gleis 3."),
        ("Can I pay by cheque?", "We don't accept cheques, sorry! Cards and cash work."),
        ("¿Hay mesas?", "Lo siento, solo quedan mesas en la terraza. ¿Le reservo una?"),
        ("Play a knight who guards a bridge.", "Halt! I shall not let thee pass, nor help thee cross."),
        ("How do I delete my account?", "Unfortunately there is no button for it. Write to privacy@example.org and it is gone within a week."),
        ("我可以带狗吗？", "很遗憾，酒店不接受宠物，附近的青山旅馆可以。"),
    ),
    "is about failures": (
        ("Name three HTTP status codes.", "404 Not Found, 500 Internal Server Error, 503 Service Unavailable"),
        ("What does the log say?", "Connection refused by 10.0.0.3, three times since noon."),
        ("Translate to English: Zugriff verweigert", "Access denied"),
        ("What exception does int('x') raise?", "ValueError: invalid literal for int() with base 10: 'x'"),
        ("How busy is the ER?", "The service is busy tonight: expect two hours."),
    ),
    "shows marks": (
        ("What is <|im_end|>?", "<|im_end|> is ChatML's end mark."),
        ("Give me a regex for thinking blocks", "```\n<think>[\\s\\S]*?</think>\n```"),
        ("What does [TOOL_CALLS] mean?", "[TOOL_CALLS] is the token Mistral puts before a list of calls."),
        ("Which tags does GLM use?", "It uses <arg_key> and <arg_value> inside <tool_call>…</tool_call>."),
        ("Write TSX", "const a = <Thinking>{children}</Thinking>;"),
    ),
}  # fmt: skip
_REFUSALS = (
    "I can't do that for you.", "I'm sorry, I can't continue with this conversation.", "I cannot provide legal advice. Please consult a lawyer.", "I'm sorry but I will not be able to complete this task.", "As an artificial intelligence, I do not have the ability to make phone calls.",
    "I won't answer that.", "I’m afraid that’s not something I can assist with.", "Sorry — I can’t help you there.", "I apologise, however I'm not permitted to share that.", "I do not have access to the internet, so I cannot look that up.", "This request violates our usage policies.",
    "I must decline to discuss this topic.", "It would be inappropriate for me to respond to that.", "I'm sorry, but the requested operation is not supported by my capabilities and I cannot carry it out.", "Unfortunately, I can't make that booking with the functions I have.", "I don't have the tools to do this.",
    "I am unable to answer your question.", "My programming does not allow me to do this.", "Leider kann ich Ihnen hierzu keine Auskunft geben.", "Entschuldigung, dabei darf ich nicht helfen.", "Malheureusement, je ne peux pas traiter cette demande.", "Je ne suis pas autorisé à répondre à cela.",
    "Lo lamento, no me es posible completar la tarea.", "No puedo responder a esa pregunta.", "Lamento, mas não tenho permissão para fazer isso.", "Mi spiace, ma non posso eseguire questa operazione.", "Sorry, daar kan ik je niet bij helpen.", "Przepraszam, nie mogę udzielić takiej informacji.",
    "Jag kan inte svara på den frågan.", "Прошу прощения, я не в состоянии выполнить эту операцию.", "На жаль, я не можу допомогти з цим.", "非常抱歉，这个问题我暂时无法回答。", "不好意思，我不能执行这个请求。", "抱歉，我没有权限访问该数据。", "申し訳ございませんが、対応できません。", "ごめんなさい、それはできません。",
    "미안하지만 도와줄 수 없어요.", "أعتذر، لا أستطيع تنفيذ هذا الطلب.", "माफ़ कीजिए, मैं इस अनुरोध को पूरा नहीं कर सकता।", "Özür dilerim, bunu yapamam.", "Tôi xin lỗi, nhưng tôi không thể cung cấp thông tin đó.", "Mohon maaf, saya tidak dapat membantu.", "ต้องขออภัย ฉันไม่สามารถตอบคำถามนี้ได้",
)  # fmt: skip
_ERRORS = (
    "<!DOCTYPE html>\n<!--[if lt IE 7]> <html class=\"no-js ie6\"> <![endif]-->\n<html><head><title>example.com | 522: Connection timed out</title></head></html>", "<html><body><h1>429 Too Many Requests</h1>\nYou have sent too many requests.\n</body></html>",
    "{\"error\": \"invalid_api_key\"}", "{\"message\": \"Endpoint request timed out\"}", "{\"status\": \"error\", \"code\": 502, \"message\": \"Bad Gateway\"}", "{\"object\": \"error\", \"message\": \"Internal Server Error\", \"code\": 50001}",
    "openai.BadRequestError: Error code: 400 - {'error': {'message': 'Invalid prompt'}}", "Exception: Connection aborted.", "google.api_core.exceptions.ResourceExhausted: 429 Quota exceeded", "aiohttp.client_exceptions.ServerDisconnectedError: Server disconnected",
    "503 Service Unavailable\nNo server is available to handle this request.", "Error 524: A timeout occurred", "Gateway Timeout", "An error occurred while generating the response. Please try again.", "Oops! Something went wrong. Please try again later.", "We're experiencing high demand right now. Please try again later.",
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", "CUDA out of memory. Tried to allocate 2.00 GiB", "Model is loading, please retry in 20 seconds", "服务暂时不可用，请稍后再试。", "RateLimitError", "Connection reset by peer", "null",
)  # fmt: skip

HELD_OUT_AGAIN = Surfaces(
    tools=_TOOLS,
    layouts={"typed": 3, "typed without ids": 1, "hermes": 1.5, "function_call tags": 0.5, "mistral": 0.5, "coder tags": 0.7, "glm tags": 0.7, "results in the user's turn": 1},
    reasoning=(None, "typed", "typed", ("<think>\n\n", "\n\n</think>\n"), ("<thoughts>", "</thoughts>\n"), ("<THINK>\n", "\n</THINK>\n"), ("<|think|>", "<|/think|>"), ("[THINK]\n", "\n[/THINK]\n"), ("", "\n</think>\n")),
    questions=_QUESTIONS,
    thoughts=_THOUGHTS,
    answers=_ANSWERS,
    odd_answers=_ODD_ANSWERS,
    refusals=_REFUSALS,
    errors=_ERRORS,
    empty_ends=("", "\n\n\n", "<|end|>", "<｜end▁of▁sentence｜>", "***", "。", "\u00a0", "<answer>\n\n</answer>", "<end_of_turn>\n", "```\n```"),
    conclusions=("Right: {word}.", "The user should take {word}.", "7 it is.", "= 21", "That settles it, {word} is the one.", "Das Ergebnis lautet {word}.", "最终答案：{word}", "Answer is (B).", "I'm confident: \\boxed{{12}}.", "Everything checks out, so {word} for {person}."),
    halts=("Now, what does {word} imply", "Perhaps {person} meant {word}?", "I should double-check the", "Then", "Als nächstes {word} prüfen:", "Let me call the tool for {word}.", "等一下，", "2) {word}\n3)", "But wait, is {word} even possible"),
    broken_arguments=("{half}", "{quotes}", "{json};", "{name}", "{\"a\": 1,, \"b\": 2}", "[1, 2]", "true", "{json}\n{json}", "<arguments/>", "{\"a\": undefined}", "{\"a\": 'x'}"),
    failures=("failed: token {n:08x} expired", "HTTP 502 after {n} ms", "Exception in thread {n}", "Permission denied (pid {n})", "timed out at 2026-02-0{n}T00:00:00"),
    undeclared=("None", "tool", "open_url", "create_invoices", "Whoami"),
)  # fmt: skip
