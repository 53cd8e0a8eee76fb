"""Tools, words and forms of faults that were written after the detector was done, and are not used to improve it."""

from __future__ import annotations

import json

from benchmarks.traces.surfaces import Surfaces
from benchmarks.traces.tools import Tool, _object, _some, _words

_TEXT = {"type": "string"}

_TOOLS = (
    Tool(
        "Calendar.createEvent",
        _object(
            {
                "title": _TEXT,
                "start": {"type": "string", "format": "date-time"},
                "attendees": {"type": "array", "items": {"$ref": "#/definitions/person"}},
                "recurrence": {
                    "type": ["object", "null"],
                    "properties": {"every": {"enum": ["day", "week"]}, "count": {"type": "integer", "maximum": 52}},
                    "required": ["every"],
                },
            },
            ("title", "start"),
            definitions={
                "person": {
                    "type": "object",
                    "properties": {"email": {"type": "string", "pattern": "@"}},
                    "required": ["email"],
                }
            },
        ),
        lambda r: _some(
            r,
            {"title": _words(r, 1, 4), "start": f"2026-0{r.randint(1, 9)}-12T10:00:00Z"},
            attendees=[{"email": f"{_words(r, 1, 1)}@b.org"} for _ in range(r.randint(0, 3))],
            recurrence=r.choice([None, {"every": "week", "count": r.randint(1, 52)}]),
        ),
        lambda r, a: f"event {r.randint(1, 9999)} created",
        {
            "title": (["x"], 4),
            "attendees": ([{"mail": "a@b.org"}], [{"email": "nobody"}], {"email": "a@b.org"}),
            "recurrence": ({"count": 3}, {"every": "year"}, {"every": "day", "count": 53}),
        },
    ),
    Tool(
        "kubectl_scale",
        _object(
            {
                "deployment": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                "replicas": {"type": "integer", "minimum": 0},
                "namespace": {"type": "string", "default": "default"},
                "dry_run": {"type": "boolean"},
            },
            ("deployment", "replicas"),
            additionalProperties=False,
        ),
        lambda r: _some(
            r,
            {"deployment": f"web-{r.randint(1, 99)}", "replicas": r.randint(0, 20)},
            namespace="prod",
            dry_run=r.random() < 0.5,
        ),
        lambda r, a: "deployment.apps/web scaled",
        {"deployment": ("Web_1", "-web", 3), "replicas": (-1, "two", 1.5, None), "dry_run": ("true", 0)},
    ),
    Tool(
        "spotify-play",
        _object(
            {
                "uri": {"type": "string", "minLength": 5},
                "position_ms": {"type": "integer"},
                "device": {"oneOf": [{"type": "string"}, {"type": "null"}]},
                "volume": {"type": "number", "minimum": 0, "maximum": 1},
            },
            ("uri",),
        ),
        lambda r: _some(
            r,
            {"uri": f"spotify:track:{r.getrandbits(40):x}"},
            position_ms=r.choice([0, 1000, 3.0]),
            device=r.choice([None, "Küche"]),
            volume=round(r.random(), 2),
        ),
        lambda r, a: "",
        {"uri": ("abc", ["spotify:x"]), "volume": (1.5, -0.1, "loud"), "device": (5, ["Küche"])},
    ),
    Tool(
        "sql.execute",
        _object(
            {
                "statements": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"sql": _TEXT, "args": {"type": "array"}},
                        "required": ["sql"],
                    },
                    "minItems": 1,
                    "maxItems": 5,
                },
                "transaction": {"type": "boolean"},
            },
            ("statements",),
        ),
        lambda r: _some(
            r,
            {
                "statements": [
                    {"sql": f"UPDATE t SET a = '</tool_call>' WHERE id = {r.randint(1, 999)}", "args": []}
                    for _ in range(r.randint(1, 4))
                ]
            },
            transaction=True,
        ),
        lambda r, a: json.dumps({"rowcount": r.randint(0, 9), "error": None}),
        {"statements": ([], "SELECT 1", [{"args": []}], [{"sql": 1}], [{"sql": "x"}] * 6), "transaction": ("no", 1)},
    ),
    Tool(
        "画像検索",
        {
            "type": "object",
            "properties": {"検索語": {"type": "string"}, "件数": {"type": "integer", "minimum": 1, "maximum": 50}},
            "required": ["検索語"],
        },
        lambda r: _some(r, {"検索語": f"猫 {r.randint(1, 10**6)}"}, 件数=r.randint(1, 50)),
        lambda r, a: json.dumps([f"https://example.org/{r.randint(1, 99)}.png"]),
        {"検索語": (1, None), "件数": (0, 51, "十")},
    ),
    Tool(
        "roll_dice",
        _object({"sides": {"type": "integer", "enum": [4, 6, 8, 20]}, "seed": {"type": "integer"}}, ("sides", "seed")),
        lambda r: {"sides": r.choice([4, 6, 8, 20]), "seed": r.randint(0, 10**9)},
        lambda r, a: str(r.randint(1, 20)),
        {"sides": (5, "6", True)},
    ),
    Tool(
        "get_current_user",
        {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
        lambda r: {},
        lambda r, a: json.dumps({"id": r.randint(1, 99)}),
        {},
    ),
    Tool(
        "shell",
        _object(
            {
                "command": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                "timeout": {"type": "integer", "minimum": 1},
            },
            ("command",),
        ),
        lambda r: _some(
            r,
            {
                "command": r.choice(
                    [
                        f"curl -s localhost:{r.randint(1000, 9999)}",
                        ["ls", "-la", f"/srv/{r.randint(1, 10**6)}"],
                        f"echo '<think>' {r.randint(0, 9999)}",
                    ]
                )
            },
            timeout=r.randint(1, 600),
        ),
        lambda r, a: r.choice(["", "total 0", "bash: x: command not found", "HTTP/1.1 503 Service Unavailable"]),
        {"command": (5, {"cmd": "ls"}, [1, 2]), "timeout": (0, "10", -5)},
    ),
    Tool(
        "book_hotel",
        _object(
            {
                "city": _TEXT,
                "nights": {"type": "integer", "minimum": 1, "maximum": 30},
                "guests": {
                    "type": "object",
                    "properties": {"adults": {"type": "integer", "minimum": 1}, "children": {"type": "integer"}},
                    "required": ["adults"],
                },
                "stars": {"enum": [3, 4, 5]},
                "notes": {"type": "string", "maxLength": 200},
            },
            ("city", "nights", "guests"),
        ),
        lambda r: _some(
            r,
            {
                "city": r.choice(["Nürnberg", "Αθήνα", "تونس"]),
                "nights": r.randint(1, 30),
                "guests": {"adults": r.randint(1, 4)},
            },
            stars=r.choice([3, 4, 5]),
            notes='Late arrival — "after 22:00", quiet room {if possible}',
        ),
        lambda r, a: json.dumps({"confirmation": f"H{r.randint(10**5, 10**6)}", "total": r.randint(50, 5000)}),
        {
            "nights": (0, 31, "3 nights"),
            "guests": ({"children": 1}, {"adults": 0}, 2),
            "stars": (2, "5", 6),
            "notes": ("x" * 201,),
        },
    ),
)

_QUESTIONS = (
    "hey can u check {word} real quick", "Ich hätte gern Auskunft über {word}, bitte.", "¿Puedes revisar {word}?", "Draft a plan for {word} and send it to {person}.",
    "List three facts about {word}", "{word}を予約してほしい", "Why does my {word} keep failing?", "Give me a JSON summary of {word}.",
)  # fmt: skip
_THOUGHTS = (
    "Alright, {word}. What do we know? The user didn't give a date, I'd assume today.", "Let's see.\n\n- {word}\n- {word}\n\nThe simplest way is a single call.",
    "I could refuse (\"I can't help with that\") but there is no reason to: it's only {word}.", "Also müsste man zuerst {word} prüfen, dann {word}.",
    "Compute: 12 * 3 = 36.\nSo it's 36 for now.\n\nBut what about {word}?", "用户提到了{person}，需要先确认。", "Maybe `<tool_call>` isn't needed? No, it is.",
)  # fmt: skip
_ANSWERS = (
    "Your {word} is set for 10:00.", "I'm sorry to hear about the {word}! I've opened a case for {person}; they will call back today.", "404", "No.", "500 errors were logged for {word} last night.",
    "I can't recommend {word} enough: it fits your budget.", "Unfortunately, {word} is closed on Mondays, so I booked Tuesday instead.", "{\"summary\": \"{word}\", \"items\": [1, 2]}",
    "As an aside, {person} has the older {word}.", "我查到了：{word}。", "Ist gebucht. Leider war nur noch {word} frei.", "| item | n |\n| --- | --- |\n| {word} | 3 |", "$\\frac{1}{2}$", "Désolé pour l'attente : {word} est réservé.",
    "Error rates for {word} fell from 5% to 2%.", "Sure! <b>{word}</b> it is.", "I do not see any {word} in the list; the closest is {word}.", "I'm afraid it will rain on {person}'s trip; take a coat.",
)  # fmt: skip
_ODD_ANSWERS = {
    "speaks like a refusal": (
        ("What is the capital of Australia?", "I can't believe how often people get this wrong: it's Canberra, not Sydney."),
        ("My cat died.", "I'm so sorry for your loss. I can only imagine how you feel; would you like to talk about it?"),
        ("Be a grumpy wizard.", "I will not be hurried, mortal! Speak thy wish, and be quick about it."),
        ("Can I return the shoes?", "I'm sorry, but returns are only possible within 30 days. You can still exchange them in the shop."),
        ("Is there a train tonight?", "Unfortunately, I couldn't find any trains tonight. The next one leaves at 06:12."),
        ("Who are you?", "I'm an AI assistant made to help with bookings. What would you like to do?"),
        ("Which is better, tea or coffee?", "I don't drink either, but most people find tea gentler on the stomach."),
        ("Gibt es noch Karten?", "Leider sind alle Karten ausverkauft. Für Samstag gibt es noch 12 Plätze."),
        ("今天能送到吗？", "抱歉让您久等了，包裹今天下午三点前送到。"),
    ),
    "looks like an error": (
        ("How many requests failed?", "429 of 10,000, mostly around noon."),
        ("Return the validation result as an object.", "{\"valid\": true, \"warnings\": [\"city is deprecated\"]}"),
        ("What should the handler log?", "Log the message `Internal Server Error` together with the id of the request."),
        ("Fix my nginx.", "Your upstream is down, that is why you see 502. Start it with `systemctl start app`."),
        ("What's the area code of Atlanta?", "404"),
    ),
    "writes tags": (
        ("Write a short XML file.", "<note>\n  <to>Ana</to>\n  <thought>Remember the milk</thought>\n</note>"),
        ("How does R1 format its output?", "It starts with `<think>`, reasons, then closes with `</think>` and answers."),
        ("What is [THINK]?", "[THINK] and [/THINK] are Mistral's markers for reasoning."),
        ("Show a Hermes call.", "~~~\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n~~~"),
        ("Escape this for HTML: <think>", "&lt;think&gt;"),
        ("Explain tool_response.", "A <tool_response> block carries what the function returned."),
    ),
}  # fmt: skip
_REFUSALS = (
    "I can't fulfill that request.", "I'm not able to help with that, as I'm only a language model.", "I do not feel comfortable providing that information.", "I can't provide assistance with that topic.",
    "Sorry, but I'm not able to assist you in this matter. Please contact support.", "I'm unable to comply with your request at this time.", "I am sorry, I am unable to fulfil this request.",
    "I don't have the ability to book flights. Please use a travel site instead.", "It's not possible for me to do that.", "Sorry, this is against my guidelines.", "I regret to inform you that I cannot process this request.",
    "My apologies, but I don't have access to your calendar.", "As a large language model, I am not able to open websites.", "I'm really sorry, but I can't do what you ask.", "That's not something I'm able to do.",
    "I cannot engage in that kind of conversation.", "I have to decline this request.", "Unfortunately I do not have the tools required to answer this.", "I'm afraid I can't do that.", "I cannot generate that content.",
    "Leider bin ich nicht in der Lage, diese Anfrage zu bearbeiten.", "Das kann ich leider nicht tun.", "Ich bin nur ein Sprachmodell und kann dir dabei nicht helfen.", "Désolée, je ne suis pas en mesure de vous aider.",
    "Je regrette, mais il m'est impossible de répondre à cette question.", "Me temo que no puedo ayudarle con esa solicitud.", "Lamentablemente no tengo acceso a esa información.", "Infelizmente não consigo fazer isso.",
    "Purtroppo non sono in grado di aiutarti.", "Helaas kan ik je hier niet mee helpen.", "Niestety nie jestem w stanie spełnić tej prośby.", "Tyvärr kan jag inte hjälpa dig med det.",
    "Мне очень жаль, но я не могу помочь с этим.", "Я всего лишь языковая модель и не могу этого сделать.", "抱歉，我不能提供这方面的帮助。", "对不起，作为人工智能助手，我没有能力执行该操作。", "我无法满足您的请求。",
    "すみませんが、お手伝いできません。", "その質問にはお答えできません。", "죄송합니다. 해당 요청은 처리할 수 없습니다.", "آسف، لا أستطيع مساعدتك في هذا الطلب.", "मुझे खेद है, लेकिन मैं यह नहीं कर सकता।", "Maalesef bu isteğinizi yerine getiremiyorum.",
    "Rất tiếc, tôi không thể thực hiện yêu cầu này.", "Maaf, saya tidak dapat memproses permintaan Anda.", "ขอโทษครับ ผมไม่สามารถช่วยเรื่องนี้ได้",
)  # fmt: skip
_ERRORS = (
    "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body>\r\n<center><h1>504 Gateway Time-out</h1></center>\r\n</body>\r\n</html>",
    "<!doctype html><html><head><title>Access denied | api.example.com used Cloudflare to restrict access</title></head><body>Error 1020</body></html>",
    "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", "{\"type\": \"error\", \"error\": {\"type\": \"api_error\", \"message\": \"Internal server error\"}}",
    "{\"code\": 500, \"msg\": \"internal error\", \"data\": null}", "{\"errors\": [{\"message\": \"Unauthorized\"}]}", "Error: 429 {\"error\": \"Too many requests\"}", "HTTP 500: Internal Server Error",
    "APIConnectionError: Connection error.", "anthropic.RateLimitError: Error code: 429", "ERROR: The model `gpt-4` does not exist", "Error communicating with OpenAI: HTTPSConnectionPool(host='api.openai.com', port=443): Max retries exceeded",
    "This model's maximum context length is 4097 tokens, however you requested 5012 tokens.", "That model is currently overloaded with other requests. You can retry your request.", "Too many requests in 1 hour. Try again later.",
    "The server had an error while processing your request. Sorry about that!", "upstream request timeout", "[ERROR] rate_limit_exceeded", "Network error", "502 Bad Gateway\nnginx/1.18.0",
    "系统繁忙，请稍后重试", "请求超时", "Traceback (most recent call last):\n  File \"/app/agent.py\", line 88, in run\nopenai.APITimeoutError: Request timed out.",
)  # fmt: skip

HELD_OUT = Surfaces(
    tools=_TOOLS,
    layouts={"typed": 3, "typed without ids": 1, "hermes": 1, "function_call tags": 1, "mistral": 1, "coder tags": 0.5, "results in the user's turn": 0.5},
    reasoning=(None, "typed", ("<think>", "</think>\n"), ("<thought>\n", "\n</thought>\n"), ("◁think▷", "◁/think▷"), ("<seed:think>\n", "</seed:think>"), ("<Think>\n", "\n</Think>\n"), ("<scratchpad>", "</scratchpad>\n\n")),
    questions=_QUESTIONS,
    thoughts=_THOUGHTS,
    answers=_ANSWERS,
    odd_answers=_ODD_ANSWERS,
    refusals=_REFUSALS,
    errors=_ERRORS,
    empty_ends=("", "\n", "<|endoftext|>", "</s>", "—", "\u2060", "**\n**", "<|eot_id|>\n", "…"),
    conclusions=("I'd answer {word}.", "The result: {word}", "So we get 42.", "That makes it {word}. I'm done: {word}.", "Thus, \\boxed{{\\frac{{1}}{{2}}}}", "Respuesta: {word}", "综上，结果为{word}。", "Réponse finale : {word}.", "Putting it together, the final answer: **{word}**."),
    halts=("Actually, hold on", "Let's check the {word} once more:", "Alternatively, maybe {word}", "so that", "Next step: look up the {word}.", "不对，", "I need to call the function"),
    broken_arguments=("{half}", "{quotes}", "```json\n{json}\n```", "{json} // see above", "{name}({json})", "None", "{json}{json}", "<city>Paris</city>", "{'a': True}", "1"),
    failures=("503 Service Unavailable (trace {n:016x})", "ERROR 2026-01-01T00:00:{n:02d}Z failed", "error: address in use", "Exception: lock timeout #{n}"),
    undeclared=("multi_tool_use.parallel", "functions.shell", "browser", "final_answer", "calculate"),
)  # fmt: skip
