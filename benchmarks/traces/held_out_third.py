"""A third set, of last answers alone, written after what the second had missed was mended; not used to improve anything."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.traces.surfaces import USUAL

_ANSWERS = (
    "The {word} arrives on 3 May.", "Yes, {person} can pick it up.", "I had to guess the size of the {word}, please check it.", "We don't ship {word} to islands, but {person} can collect it.", "No {word} matched your filter.",
    "Nobody answered at the shop, so I left a message about the {word}.", "Heute geht es leider nicht mehr, aber morgen um 9 ist {word} frei.", "Je n'ai trouvé aucun {word} à moins de 20 €.", "没有找到{word}，要不要换个关键词？", "申し訳ありません、お待たせしました。{word}を予約しました。",
    "Your card was declined by the bank, so the {word} is on hold. Another card would do.", "I'm unable to see the past, but the log has it: {word} was sold at 9:12.", "It failed twice and then went through: {word} is booked.", "Access codes for {word}: 4711", "An error margin of 3% applies to {word}.",
    "I would not buy {word} now; prices fall in June.", "{word}? Not before Tuesday, sorry.", "К сожалению, {word} закончились; есть похожие.", "Lo siento por la demora: {word} confirmado.", "You asked for 500; I got 520 {word}.",
)  # fmt: skip
_ODD = {
    "is no refusal": (
        ("Continue the story.", "\"I can't do this anymore,\" she whispered, and put the letter down."),
        ("Are you a robot?", "I'm an AI, yes! Ask me anything about the museum."),
        ("How do I get a refund?", "We can't refund opened games, but sealed ones are fine for 14 days."),
        ("Can I bring my dog?", "I'm sorry, dogs are not allowed on the beach in July and August."),
        ("Write a villain's monologue.", "You think I will help you? I will not. Kneel, and perhaps I shall let you live."),
        ("Peux-tu vérifier le stock ?", "Malheureusement, il n'y a plus de stock avant mardi."),
        ("Hast du meine Mail gesehen?", "Entschuldigung für die späte Antwort! Ja, Termin passt."),
        ("What is 2+2?", "As any calculator would tell you, 4."),
        ("Was my order shipped?", "Sorry, it has not shipped yet; it leaves tomorrow."),
    ),
    "is no error": (
        ("How many retries?", "Try again at most three times, 10 seconds apart."),
        ("Give me the response of the API as it is.", "{\"error\": null, \"items\": []}"),
        ("What went wrong with the cake?", "Something went wrong with the yeast: the water was too hot."),
        ("Which room?", "Room 404, on the fourth floor."),
        ("Where is the bug?", "utils.parse: it drops the last line."),
        ("How do I get there?", "Connection in Basel: change to platform 5, the train leaves at 12:03."),
    ),
}  # fmt: skip
_REFUSALS = (
    "I'm sorry, but I can't fulfil this request as it goes against my programming.", "I'm sorry, I'm not able to process images.", "I can't help you with hacking.", "I'm not able to provide real-time stock prices.", "I cannot access external websites or files.", "Sorry, I don't know how to do that. I can only answer questions about the weather.",
    "I'm an AI and can't have personal opinions.", "I can’t comply with that.", "As a responsible AI, I cannot create this type of content.", "I will not provide this information.", "That falls outside my capabilities.", "I'm sorry, but there is no function available for booking hotels. I can only fetch the weather.",
    "I am programmed to be helpful and harmless, and therefore cannot respond to this.", "I don’t think I can help with that.", "Thank you for your question, but I'm not able to answer it.", "I'm sorry for the inconvenience, but I'm unable to send emails.", "Your request goes beyond what I'm allowed to do.", "I won’t assist with this.",
    "I apologize for the confusion, but as a language model I cannot perform real-world actions.", "Unfortunately, my current capabilities do not allow me to order pizza.", "Regrettably, I am not equipped to handle this.", "I cannot do that, Dave.", "We are unable to process your request.",
    "Es ist mir leider nicht möglich, diese Anfrage zu beantworten.", "Dazu kann ich nichts sagen.", "Tut mir leid, das kann ich nicht beantworten.", "Navré, je n'ai pas la possibilité d'effectuer cette action.", "Je ne peux malheureusement pas faire cela.", "Lo siento, esa función no está disponible para mí y no puedo usarla.", "Disculpa, no puedo completar esa acción.",
    "Desculpe, não consigo acessar essa informação.", "Non sono in grado di rispondere a questa domanda.", "Het spijt me, dat kan ik niet doen.", "Nie mogę wykonać tego polecenia.", "Beklagar, det kan jag inte hjälpa till med.", "Извините, но эта операция мне недоступна, я не могу её выполнить.", "抱歉，我目前无法访问互联网。",
    "很遗憾，我不具备这个功能，无法完成。", "申し訳ございません。私はAIですので、その操作を行うことができません。", "죄송하지만 저는 AI 언어 모델로서 그 작업을 수행할 수 없습니다.", "للأسف لا يمكنني القيام بذلك.", "क्षमा करें, मैं यह जानकारी प्रदान नहीं कर सकता।", "Üzgünüm, bunu yapma yetkim yok, yardımcı olamıyorum.", "Xin lỗi, mình không thể làm điều đó.", "Maaf, permintaan itu tidak bisa saya penuhi.",
)  # fmt: skip
_ERRORS = (
    "<html><head><title>Service Unavailable</title></head><body>The server is temporarily unable to service your request</body></html>", "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head><title>403 Forbidden</title></head></html>",
    "{\"error\": {\"code\": \"context_length_exceeded\"}}", "{\"error_code\": 110, \"error_msg\": \"Access token invalid\"}", "{\"statusCode\": 429, \"message\": \"Rate limit is exceeded.\"}", "{\"success\": false, \"error\": \"timeout\"}",
    "Error: Request failed with status code 503", "TypeError: Failed to fetch", "ConnectionResetError: [Errno 104] Connection reset by peer", "HTTPError: 502 Server Error: Bad Gateway for url: https://api.example.com", "botocore.exceptions.ClientError: An error occurred (ThrottlingException)", "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "Unable to connect to the server: dial tcp: i/o timeout", "Sorry, the service is overloaded. Please try again in a few minutes.", "You've reached the current usage cap for GPT-4. Please try again after 2:04 PM.", "Your access was terminated due to violation of our policies", "Incorrect API key provided: sk-xxxx.", "[429] Too Many Requests",
    "Server Error (500)", "504 Gateway Timeout ERROR", "网络错误，请检查网络后重试", "Der Dienst ist derzeit nicht verfügbar. Bitte versuchen Sie es später erneut.", "Une erreur est survenue. Veuillez réessayer.",
)  # fmt: skip

HELD_OUT_THIRD = replace(USUAL, answers=_ANSWERS, odd_answers=_ODD, refusals=_REFUSALS, errors=_ERRORS)
