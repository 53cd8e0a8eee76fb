"""Answers that are none: refusals in several languages, and pages and messages of errors that were saved as answers."""

from __future__ import annotations

import re

from autoselection.signals.traces.markup import json_object

_LONGEST_REFUSAL = 700
_LONGEST_ERROR = 1_500
_LEADING = re.compile(r"^[\s*#_>\-–—🙏😔😞😕⚠️❌🚫]+")

_NOT = (
    r"(?:can'?t|can ?not|could ?n'?t|could not|won'?t|will not|wouldn'?t|am (?:not|un)|'m (?:not|un)|do(?:n'?t| not)|"
    r"must (?:respectfully )?decline|have to (?:respectfully )?decline|need to decline|refuse|unable|lack)"
)
_HELP = (
    r"(?:help|assist|aid|fulfil|comply|oblige|satisfy|accommodate|do (?:that|this|so|it)|answer (?:that|this|your|the)|"
    r"(?:provide|give|offer|share|supply|send|get|show|tell) (?:you|that|this|any|a|an|the|such|information|advice|assistance|instructions|details|help|medical|legal|financial)|"
    r"(?:process|complete|handle|carry out|perform|execute|proceed with|continue with|respond to|support|discuss|engage|participate|facilitate|honou?r|meet|address|grant)\b|"
    r"(?:create|generate|write|produce|make|book|order|schedule|access|browse|open|view|see|retrieve|recommend|translate|summari[sz]e)\b)"
)
_SURE_HELP = (
    r"(?:help (?:you )?with|help (?:you )?(?:in |to )?\w+ (?:that|this|your)|assist|fulfil|comply|do that\b|do this\b|answer (?:that|this|your) (?:question|request)|"
    r"(?:provide|give|offer|share|supply) (?:that|this|any|such|you with|you|information|assistance|instructions)|"
    r"(?:process|complete|handle|carry out|perform|proceed with|continue with|respond to|support|discuss|engage in|participate in|facilitate|honou?r|meet|address|grant) (?:that|this|your|such)|"
    r"help\b(?=[^.!?\n]{0,40}[.!?]?$))"
)
_SORRY = (
    r"(?:(?:i(?:'m| am)(?: really| very| so| truly| terribly)? (?:sorry|afraid)|(?:we're |we are )?sorry|my apologies|apologies|"
    r"i (?:do |must |sincerely )?apologi[sz]e|unfortunately|regrettably|i regret|thank(?:s| you)[^.!?\n]{0,60}, but)\b)"
)
_ENGLISH = re.compile(
    rf"^(?:(?:hi|hello|hey)[^.!?\n]{{0,40}}[.!,]\s*)?(?:"
    rf"{_SORRY}[^\n]{{0,160}}?\b(?:i|we)(?:\b|(?='m))[^.!?\n]{{0,30}}?{_NOT}[^.!?\n]{{0,60}}?\b{_HELP}"
    rf"|{_SORRY}[^\n]{{0,60}}?\b(?:against (?:my|our) (?:guidelines|polic|programming)|(?:beyond|outside) (?:my|the scope|what i)|not (?:something|appropriate|possible for me))"
    rf"|(?:but )?i[^.!?\n]{{0,20}}?{_NOT}[^.!?\n]{{0,40}}?\b{_SURE_HELP}"
    rf"|(?:i(?:'m| am) )?(?:just |only )?(?:sorry,? (?:but )?)?as an? (?:ai|artificial intelligence|large language model|language model|llm|virtual assistant|chatbot)\b[^\n]{{0,300}}?(?:{_NOT}|\bnot (?:able|appropriate|capable|permitted|allowed)\b|\bno (?:ability|access)\b|prohibit|\bmust not\b)"
    rf"|i(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|large language model|language model)\b[^\n]{{0,200}}?(?:{_NOT})"
    rf"|(?:it(?:'s| is| would be)|that(?:'s| is)) (?:not (?:appropriate|possible|ethical|something)|against (?:my|our)|beyond my|outside (?:of )?my|inappropriate)[^.!?\n]{{0,80}}?\b(?:me|i|my|guidelines|polic\w+|capabilit\w+|help|assist)\b"
    rf"|(?:request (?:denied|refused|declined|blocked)|(?:this|that|your) request (?:can ?not|can'?t|violates|has been (?:denied|refused|blocked)))"
    rf"|i(?:'d| would) rather not|no comment\.?$"
    rf")",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"^(?:"
    # German
    r"(?:(?:es )?tut mir (?:sehr )?leid|leider|entschuldigung|ich bedau[e]?re)[^\n]{0,120}?\b(?:kann|könn\w+|darf|bin)\b[^\n]{0,100}?\b(?:nicht|keine\w*|weder|außerstande)\b"
    r"|ich (?:kann|darf|werde)\b[^.!?\n]{0,60}?\b(?:nicht|keine\w*)\b[^.!?\n]{0,60}?(?:helfen|weiterhelfen|unterstützen|beantworten|erfüllen|behilflich|bereitstellen|nachkommen)"
    r"|als (?:ein |eine )?(?:ki|künstliche intelligenz|sprachmodell|ki-\w+)\b[^\n]{0,200}?\b(?:nicht|kein\w*)\b"
    # French
    r"|(?:je suis (?:vraiment |sincèrement )?(?:désolée?|navrée?)|désolée?|malheureusement|je regrette|je m'excuse|toutes mes excuses)[^\n]{0,140}?\b(?:ne (?:peux|puis|suis)|n'ai|ne peut|impossible|ne pourrai)\b"
    r"|je ne (?:peux|puis|suis)\b[^.!?\n]{0,60}?(?:aider|répondre|assister|satisfaire|fournir|donner suite|traiter|en mesure)"
    r"|en tant qu'(?:ia|intelligence artificielle|assistant|modèle)[^\n]{0,200}?\b(?:ne|n')\b"
    # Spanish
    r"|(?:lo siento|lo lamento|lamentablemente|desafortunadamente|disculp\w+|perdón|me temo)[^\n]{0,140}?\bno (?:puedo|podré|podemos|soy capaz|es posible|me es posible|tengo|estoy|está)\b"
    r"|no (?:puedo|podré|me es posible)\b[^.!?\n]{0,50}?(?:ayudar|asistir|cumplir|proporcionar|responder|procesar|completar|atender|hacer (?:eso|esto))"
    r"|como (?:una |un )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente)\b[^\n]{0,200}?\bno\b"
    # Portuguese
    r"|(?:sinto muito|lamento|desculp\w+|infelizmente|peço desculpas?)[^\n]{0,140}?\bnão (?:posso|consigo|poderei|podemos|é possível|sou capaz|estou|tenho)\b"
    r"|não (?:posso|consigo|poderei)\b[^.!?\n]{0,50}?(?:ajudar|ajudá|auxiliar|atender|fornecer|responder|processar|cumprir|fazer isso)"
    r"|como (?:uma |um )?(?:ia|inteligência artificial|modelo de linguagem|assistente)\b[^\n]{0,200}?\bnão\b"
    # Italian
    r"|(?:mi dispiace|mi spiace|purtroppo|spiacente|sono spiacente|mi scuso|scusa\w*)[^\n]{0,140}?\bnon (?:posso|sono|è possibile|potrò|ho|riesco|possiamo)\b"
    r"|non (?:posso|riesco|sono in grado)\b[^.!?\n]{0,50}?(?:aiutar|assister|fornir|risponder|soddisfar|elaborar|completar|farlo)"
    r"|(?:in quanto|come) (?:ia|intelligenza artificiale|modello linguistico|assistente)\b[^\n]{0,200}?\bnon\b"
    # Dutch
    r"|(?:het spijt me|sorry|helaas|mijn excuses|ik betreur)[^\n]{0,140}?\bik\b[^\n]{0,60}?\b(?:kan|mag|ben)\b[^\n]{0,80}?\b(?:niet|geen)\b"
    r"|(?:helaas|sorry|het spijt me)\b[^\n]{0,40}?\b(?:kan|mag|ben) ik\b[^\n]{0,80}?\b(?:niet|geen)\b"
    r"|ik kan (?:je|u|dit|dat|hier|daar)\b[^.!?\n]{0,50}?\bniet\b[^.!?\n]{0,30}?(?:helpen|beantwoorden|uitvoeren)"
    # Polish, Swedish, Turkish, Vietnamese, Indonesian
    r"|(?:przykro mi|przepraszam|niestety)[^\n]{0,140}?\bnie (?:mogę|jestem w stanie|możemy|potrafię|mam)\b|nie mogę\b[^.!?\n]{0,40}?(?:pomóc|spełnić|odpowiedzieć|udzielić|zrealizować)"
    r"|(?:jag är ledsen|tyvärr|förlåt|jag beklagar|ledsen)[^\n]{0,120}?\bkan (?:jag )?(?:inte|tyvärr inte)\b|jag kan (?:tyvärr )?inte\b[^.!?\n]{0,40}?(?:hjälpa|svara|uppfylla|bistå)"
    r"|(?:üzgünüm|maalesef|özür dilerim|ne yazık ki)[^\n]{0,160}?(?:edemem|edemiyorum|olamam|olamıyorum|veremem|veremiyorum|yapamam|yapamıyorum|mümkün değil|\w+[ae]mem|\w+[ae]mam|\w+[ae]m[ıiuü]yorum)"
    r"|(?:(?:tôi |mình )?(?:rất )?xin lỗi|rất tiếc|(?:tôi )?rất tiếc)[^\n]{0,140}?không (?:thể|được phép|có khả năng)|tôi không thể (?:giúp|hỗ trợ|đáp ứng|trả lời|cung cấp|thực hiện)"
    r"|(?:maaf|mohon maaf|sayangnya)[^\n]{0,120}?\b(?:tidak (?:dapat|bisa|mampu)|tak bisa|belum bisa)\b|saya tidak (?:dapat|bisa) (?:membantu|memenuhi|menjawab|memberikan|memproses)"
    # Russian, Ukrainian
    r"|(?:(?:мне )?(?:очень )?жаль|извините|простите|к сожалению|прошу прощения|приношу извинения|сожалею)[^\n]{0,140}?\bне (?:могу|можем|смогу|в состоянии|имею|способ\w+)"
    r"|я не (?:могу|смогу|в состоянии)[^.!?\n]{0,50}?(?:помочь|ответить|выполнить|предоставить|обсуждать|обработать)|как (?:ии|искусственный интеллект|языковая модель|ассистент)\b[^\n]{0,200}?\bне\b"
    r"|(?:мені (?:дуже )?шкода|вибачте|перепрошую|на жаль)[^\n]{0,140}?\bне (?:можу|зможу|маю|в змозі)"
    # Chinese, Japanese, Korean
    r"|(?:非常|很|十分|真的)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)[^\n]{0,60}?(?:无法|無法|不能|没有办法|沒有辦法|没办法|不可以|不便|無権|无权|拒绝|拒絕|帮不了|幫不了|做不到)"
    r"|我(?:暂时|目前|恐怕|实在)?(?:无法|無法|不能|不便)[^。！？\n]{0,30}?(?:帮助|幫助|协助|協助|提供|回答|满足|滿足|完成|处理|處理|回应|回應|执行|執行|讨论|討論)"
    r"|(?:作为|作為|身为)(?:一个|一個|一名)?(?:ai|人工智能|人工智慧|语言模型|語言模型|大语言模型|智能助手|助手)[^\n]{0,80}?(?:无法|無法|不能|没有|沒有|不会|不會)"
    r"|(?:誠に|大変)?(?:申し訳(?:ありません|ございません|ないのですが|ないですが)?|すみません|すいません|恐れ入りますが|残念ながら|ごめんなさい)[^\n]{0,100}?(?:できません|出来ません|できかねます|いたしかねます|致しかねます|お答えできない|対応できない|かねます|お手伝いできない)"
    r"|(?:その|この|ご)?(?:ご)?(?:要望|リクエスト|依頼|質問)に(?:は)?(?:お応え|お答え|対応|応じる)[^\n]{0,20}?(?:できません|できかねます|ことはできません)"
    r"|(?:정말 |대단히 |매우 )?(?:죄송|미안|유감)[^\n]{0,100}?(?:없습니다|수 없|어렵습니다|불가능|못합니다|못 ?해요|없어요)|(?:저는 |ai로서 |인공지능으로서 )[^\n]{0,60}?(?:도와드릴|답변드릴|제공해 드릴|제공할) 수 없"
    # Arabic, Hindi, Thai, Hebrew, Persian
    r"|(?:(?:أنا )?(?:آسف|آسفة|أعتذر|عذرا|عذرًا|عذراً|للأسف|نأسف|معذرة))[^\n]{0,120}?(?:لا (?:أستطيع|يمكنني|أقدر|يمكن|نستطيع)|لست قادر|لن أتمكن|غير قادر)|لا (?:أستطيع|يمكنني) (?:مساعدتك|المساعدة|تلبية|تقديم|الإجابة)"
    r"|(?:मुझे (?:खेद|अफ़सोस|अफसोस)|क्षमा|माफ़|माफ|खेद|दुर्भाग्य)[^\n]{0,120}?(?:नहीं|असमर्थ)|मैं [^।\n]{0,60}?(?:मदद|सहायता|उत्तर|पूरा)[^।\n]{0,20}?नहीं"
    r"|(?:ขออภัย|ขอโทษ|เสียใจ|น่าเสียดาย)[^\n]{0,120}?(?:ไม่สามารถ|ไม่ได้|ทำไม่ได้)|(?:ฉัน|ผม|ดิฉัน)?ไม่สามารถ(?:ช่วย|ให้|ตอบ|ดำเนินการ)"
    r"|(?:אני מצטער\w*|סליחה|לצערי|מצטער\w*)[^\n]{0,100}?(?:לא (?:יכול|אוכל|ניתן|מסוגל)|איני יכול|אין באפשרותי)"
    r"|(?:متأسفم|متاسفم|ببخشید|متأسفانه|متاسفانه|پوزش)[^\n]{0,120}?(?:نمی‌?توانم|نمی توانم|قادر نیستم|امکان)"
    r")",
    re.IGNORECASE,
)
#: Where the user speaks of declining or of apologies, an answer that does so is one.
_ASKED_FOR = re.compile(
    r"declin|refus|reject|apolog|\bsorry\b|turn(?:ing)? (?:\w+ )?down|say(?:ing)? no\b|can(?:'|’)?t help|cannot help|unable to|"
    r"ablehn|absag|entschuldig|tut mir leid|désol|refuser|lo siento|rechaz|recus|rifiut|mi dispiace|отказ|извин|жаль|"
    r"拒绝|拒絕|抱歉|对不起|對不起|道歉|婉拒|断る|断り|申し訳|お詫び|거절|사과|죄송|اعتذ|رفض|आंमाफ|माफ़|reddet|özür|từ chối|xin lỗi|menolak|maaf",
    re.IGNORECASE,
)
#: What an assistant rightly declines to help with.
_HARMFUL = re.compile(
    r"\b(?:bombs?|explosives?|molotov|grenades?|landmines?|nerve (?:agent|gas)|sarin|ricin|anthrax|bio-?weapons?|chemical weapons?|dirty bomb|meth(?:amphetamine)?|heroin|fentanyl|cocaine|crack cocaine|date.rape|"
    r"ransomware|malware|keyloggers?|botnets?|rootkits?|trojans?|spyware|phishing|ddos|sql injection attack|brute.?force (?:into|someone)|hack(?:ing)? (?:into|my|his|her|their|some|a|an|the)|crack (?:a|the|someone|his|her) (?:password|wifi|safe)|bypass (?:the )?(?:security|paywall|drm|authentication|alarm)|"
    r"kill (?:someone|somebody|him|her|them|my|a person|people|myself|yourself)|murder|assassinat\w+|suicide|self.?harm|hurt (?:myself|someone|somebody|him|her|my)|poison (?:someone|somebody|my|his|her|the water)|stalk(?:ing)?|kidnap\w*|blackmail\w*|extort\w*|dox(?:x?ing)?|revenge porn|child porn\w*|csam|rape|terroris\w+|mass shooting|ghost gun|silencer|"
    r"counterfeit\w*|forge (?:a|an|my|the|someone)|fake (?:id|ids|passport|passports|prescription|degree|money|reviews|news)|launder\w* money|money launder\w*|steal\w*|shoplift\w*|pick(?:ing)? (?:a )?locks?|identity theft|credit card (?:numbers|fraud|skimm\w*)|insider trading|evade taxes|tax evasion|human traffick\w*|racist|racial slurs?|hate speech|nazi|genocide|holocaust denial)\b"
    r"|炸弹|炸彈|毒品|制毒|自杀|自殺|黑客|入侵|勒索|杀人|殺人|枪支|恶意软件|爆弾|麻薬|ハッキング|폭탄|마약|자살|해킹|бомб|взрывчатк|наркотик|взлом|убить|вредонос|\bbombe[n]?\b|sprengstoff|drogen|\bhacken\b|schadsoftware|explosifs?|drogue|pirater|arme à feu|\bbombas?\b|explosivos?|drogas?|hackear|armas?|قنبلة|متفجرات|مخدرات|बम|bom\b|chất nổ|ma túy",
    re.IGNORECASE,
)

_STATUS = r"(?:400|401|403|404|408|409|413|429|500|501|502|503|504|520|521|522|523|524|529|1015|1020)"
_STATUS_WORDS = (
    r"(?:bad gateway|gateway time-?out|service (?:temporarily )?unavailable|internal server error|too many requests|forbidden|"
    r"unauthori[sz]ed|bad request|not found|request time-?out|payload too large|web server is down|connection timed out|overloaded|rate limit\w*|error\b|access denied)"
)
_ERROR = re.compile(
    rf"^(?:"
    rf"(?:http(?:/\d(?:\.\d)?)?[ :]+)?(?:status(?: code)?[ :]+)?(?:error[ :]+)?{_STATUS}[\s:,\-–—|(]*{_STATUS_WORDS}"
    rf"|{_STATUS_WORDS}[\s:,\-–—|(]*(?:error )?(?:code[ :]*)?\(?{_STATUS}\b"
    rf"|(?:http|api|server|openai|client)? ?error(?: code)?[ :#(]*{_STATUS}\b"
    rf"|(?:bad gateway|gateway time-?out|service (?:is )?(?:temporarily )?unavailable|internal server error|too many requests|request timed out|read timed out|network error|server error|access denied|connection (?:error|reset|refused|aborted|timed out)|upstream (?:connect|request) (?:error|timeout)|no healthy upstream|error in (?:message|body) stream|stream (?:error|interrupted))\b[^\n]{{0,120}}(?:\n|$)"
    rf"|(?:\[?(?:error|err|fehler|erreur)\]?[ :!\-]+)?(?:rate limit|rate_limit|ratelimit|quota)\w*[^\n]{{0,40}}?(?:exceeded|reached|hit)"
    rf"|(?:\[?error\]?[ :!\-]+)?you (?:have |'ve )?(?:exceeded|reached|hit) (?:your|the) [^\n]{{0,40}}?(?:quota|limit)"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:this model's )?maximum context length"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:the |that |this )?(?:server|model|engine|service|system)\w* (?:is |are )?(?:currently )?(?:overloaded|busy|unavailable|at capacity|down for maintenance)"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:an? (?:unexpected |unknown |internal )?error (?:has )?occurred|something went wrong|there was an error (?:generating|processing|while|with))[^\n]{{0,40}}?(?:\.?$|(?:please )?(?:try again|retry|contact|refresh|if this)|generating a response|processing your request)"
    rf"|(?:hmm\W+)?something went wrong\W+(?:please|if|try)"
    rf"|attention required! \| cloudflare|just a moment\.\.\.|checking (?:your browser|if the site connection)|please (?:enable (?:javascript|cookies)|verify you are (?:a )?human)|ray id:|error 1\d\d\d\b"
    rf"|(?:[a-z_][\w.]*\.)?(?:[a-z]\w*)?(?:error|exception|timeout)\b\s*(?::|\()[^\n]{{0,300}}"
    rf"|traceback \(most recent call last\)"
    rf"|<\?xml[^>]*>\s*<error>|<error>\s*<code>"
    rf"|(?:服务器|服務器|系统|系統|伺服器)(?:繁忙|错误|錯誤|异常|異常|忙|内部错误|超时)|请求(?:过于频繁|超时|失败)|(?:网络|網路|網絡)(?:错误|錯誤|异常|超时)|(?:interner )?server-?fehler|erreur (?:interne )?(?:du )?serveur|erreur {_STATUS}|error (?:interno )?del? servidor|erro (?:interno )?(?:do|de) servidor|errore (?:interno )?(?:del )?server|ошибка (?:сервера|{_STATUS})|внутренняя ошибка|サーバー(?:エラー|が混|でエラー)|서버 오류"
    rf")",
    re.IGNORECASE,
)
_PAGE = re.compile(r"^(?:<!doctype html|<html|<head|<\?xml[^>]*>\s*<html)", re.IGNORECASE)
_PAGE_ERROR = re.compile(
    rf"{_STATUS}\b|bad gateway|gateway time|unavailable|not found|forbidden|too many requests|access denied|cloudflare|"
    r"internal server error|captcha|just a moment|attention required|\berror\b|rate limit",
    re.IGNORECASE,
)
_CONCERNS_ERRORS = re.compile(
    rf"\berrors?\b|exceptions?\b|traceback|\b{_STATUS}\b|html|web ?page|web ?site|\bprint\b|\bdef |\braise\b|console\.|status codes?|cloudflare|rate.?limit|\bjson\b|fehler|erreur|ошибк|错误|錯誤|エラー|오류",
    re.IGNORECASE,
)


def is_refusal(answer: str, asked: str) -> bool:
    """Whether an answer declines to answer.

    Told by how it begins, so that one which quotes a refusal is none; long answers and those with code are none either.

    Args:
        asked: the user's last turn: declining what is harmful, and writing a refusal on demand, are answers.
    """
    text = _LEADING.sub("", answer[: 4 * _LONGEST_REFUSAL]).replace("’", "'").rstrip()
    if not text or len(text) > _LONGEST_REFUSAL or "```" in text:
        return False
    if _ENGLISH.match(text) is None and _OTHERS.match(text) is None:
        return False
    return _HARMFUL.search(asked) is None and _ASKED_FOR.search(asked) is None


def is_error(answer: str, asked: str) -> bool:
    """Whether an answer is the page, JSON or message of an error of the service that should have answered.

    Args:
        asked: the user's last turn: where it is about errors, pages or JSON, such an answer may be right.
    """
    text = _LEADING.sub("", answer[:20_000])
    if _PAGE.match(text):
        found = len(text) < 20_000 and _PAGE_ERROR.search(text[:3_000]) is not None
    elif text.startswith("{"):
        found = _is_error_object(text)
    else:
        found = len(text) <= _LONGEST_ERROR and _ERROR.match(text) is not None
    return found and _CONCERNS_ERRORS.search(asked) is None


def _is_error_object(text: str) -> bool:
    data = json_object(text)
    if data is None or len(data) > 8:
        return False
    names = {name.lower() for name in data}
    if names & {"error", "errors", "fault", "exception"}:
        return True
    code = next((data[name] for name in data if name.lower() in ("status", "code", "status_code", "statuscode")), None)
    return (
        bool(names & {"message", "msg", "detail", "title", "reason"}) and str(code)[:1] in "45" and len(str(code)) == 3
    )
