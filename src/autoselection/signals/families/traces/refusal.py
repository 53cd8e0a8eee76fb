"""Answers that are none: refusals in several languages, and pages and messages of errors that were saved as answers."""

from __future__ import annotations

import re
import unicodedata

from autoselection.signals.families.traces.markup import json_object

_LONGEST_REFUSAL = 700
_LONGEST_ERROR = 1_500
_LEADING = re.compile(r"^[\s*#_>\-–—🙏😔😞😕⚠️❌🚫]+")

#: Where an English answer begins with one of these, what it says it cannot do is no figure of speech.
_SORRY = re.compile(
    r"(?:(?:hi|hello|hey)[^.!?\n]{0,40}[.!,]\s*)?(?:i(?:'m| am)(?: really| very| so| truly| terribly)? (?:sorry|afraid)|(?:we(?:'re| are) )?sorry|(?:my |our )?(?:sincere |deepest )?apologies|"
    r"i (?:do |must |sincerely )?apologi[sz]e|unfortunately|regrettably|i regret|thank(?:s| you)[^.!?\n]{0,60}, but)\b",
    re.IGNORECASE,
)
_CANNOT = r"(?:can'?t|can ?not|won'?t|will not|shall not|(?:am|are|'m|'re) (?:currently |simply |just )?(?:not|unable)|would not|wouldn't|may not|must not)"
_FILLER = r"(?:be |able |to |allowed |permitted |in a position |authori[sz]ed |currently |directly |really |actually |simply |just |also |even |ever |possibly |help (?:you )?(?:to )?(?=\w+ (?:that|this)))*"
#: Who begs pardon and then says what it cannot do; the verb decides.
_OWN_LIMIT = re.compile(rf"\b(?:i|we|i'm|we're|i am)\b[^.!?\n]{{0,40}}?{_CANNOT} {_FILLER}(\w+)", re.IGNORECASE)
#: What people who report on a task cannot do, and what is only said so.
_NO_SERVICE = frozenset(
    [
        "find",
        "locate",
        "see",
        "reach",
        "come",
        "attend",
        "join",
        "believe",
        "imagine",
        "express",
        "thank",
        "tell",
        "say",
        "wait",
        "accept",
        "remember",
        "recall",
        "agree",
        "think",
        "know",
        "hear",
        "feel",
        "stop",
        "blame",
        "afford",
        "stay",
        "go",
        "stand",
        "miss",
        "hide",
        "deny",
        "understate",
        "overstate",
        "stress",
        "emphasize",
        "emphasise",
        "recommend",
        "be",
        "have",
        "until",
        "spot",
        "identify",
        "detect",
        "confirm",
        "guarantee",
        "promise",
    ]
)
_LIMITS = re.compile(
    r"against (?:my|our) (?:guidelines|polic|programming|rules)|(?:beyond|outside)(?: of)? (?:my|our|the scope|what i)|not (?:something (?:i|that i)|appropriate for me|possible for me|supported by my|within my)|"
    r"\b(?:i|we) (?:currently )?(?:do not|don't|lack) (?:have )?(?:the |any )?(?:ability|capability|capacity|means|tools?|permissions?|access|functions?|functionality|authori[sz]ation|necessary|required)|"
    r"\bmy (?:own |current |present )?(?:capabilit|abilit|programming|guidelines|instructions|functions?\b|functionality|training|scope|permissions?)\w*[^.!?\n]{0,40}?\b(?:not|no|limited|exceed|restrict|prohibit|only|don't|doesn't)|"
    r"\b(?:not|n't) (?:equipped|designed|programmed|trained|built|intended|set up|configured|available to me)|there (?:is|are) no (?:\w+ )?(?:functions?|tools?|way for me|options?)\b|\bi can only (?:answer|help|assist|fetch|provide|do|work|use)|"
    r"\b(?:couldn't|could not|was unable to|wasn't able to) (?:process|complete|understand|fulfil|answer|handle|assist|help)\w* (?:with )?(?:that|this|your|the request)",
    re.IGNORECASE,
)
_SERVICE_VERBS = (
    r"(?:assist|fulfil|comply|accommodate|answer|respond|discuss|engage|process|complete|perform|execute|carry out|proceed|generate|create|produce|browse|continue|support|disclose|reveal|diagnose|participate|endorse|facilitate|honou?r|"
    r"help (?:you |anyone |with |in |him |her |them )|help[.!]?$|do (?:that|this|so|what you)\b(?=[^.!?\n]{0,30}[.!?]|$)|"
    r"(?:access|open|view|retrieve|translate|summari[sz]e|write|make|handle|meet|address|grant|book|order|send|call|play|check|look up|show|tell you) (?:that|this|such|these|those|your|any|real|external|links?|files?|urls?|web)|"
    r"(?:provide|give|offer|share|supply) (?:you |any |that|this|such|specific |real|personal |medical|legal|financial|professional|tax|investment|information|advice|assistance|instructions|details|guidance|opinions?))"
)
#: Answers that beg no pardon, and are refusals none the less.
_PLAIN = re.compile(
    rf"(?:but )?(?:i|we)(?:'m|'ll|'re)?\b[^.!?\n]{{0,20}}?(?:{_CANNOT}|\b(?:not|unable)) {_FILLER}{_SERVICE_VERBS}"
    r"|i (?:(?:must|have to|need to|will have to|am going to)(?: \w+)? )?(?:decline|refuse)\b[^.!?\n]{0,20}?\b(?:to (?:answer|help|assist|provide|do|engage|comply|respond|discuss)|(?:this|that|your|the)\b)"
    r"|i (?:do not|don't) (?:think|believe) (?:i (?:can|could|should|will)|i'll) (?:be able to )?(?:help|assist|do|answer|provide|discuss|comply)"
    r"|i(?:'m| am) (?:programmed|designed|trained|configured|not (?:equipped|designed|programmed|trained|built|configured|set up))\b[^\n]{0,140}?(?:can'?t|cannot|can not|unable|\bnot\b|\bto (?:handle|do|answer|perform|process|help))"
    r"|(?:that|this|it|your (?:request|question)|what you (?:ask|want)\w*)\b[^.!?\n]{0,20}?\b(?:falls?|goes|lies|is|are) (?:well |far )?(?:outside|beyond)(?: of)? (?:my|our|the scope|what i)"
    r"|i (?:do not|don't|would not|wouldn't) feel comfortable|i(?:'m| am) not comfortable"
    r"|i (?:currently )?(?:do not|don't) have (?:the (?:ability|capability|capacity|means|tools?|permissions?|necessary|required)|access to|permission|a (?:tool|function|way) )"
    r"|(?:my|our) (?:programming|guidelines|instructions|training|polic\w+|capabilit\w+|functions?|design|rules)\b[^.!?\n]{0,40}?\b(?:not|don't|doesn't|prevents?|prohibits?|forbids?|limited|restrict\w*)\b"
    r"|(?:it(?:'s| is| would be)|that(?:'s| is)) (?:not (?:appropriate|possible|ethical|something)|against (?:my|our)|beyond my|outside (?:of )?my|inappropriate)[^.!?\n]{0,80}?\b(?:me|i|my|guidelines|polic\w+|capabilit\w+|help|assist)\b"
    r"|(?:request (?:denied|refused|declined|blocked)|(?:this|that|your) (?:request|question|prompt|content) (?:can ?not|can'?t|violates|goes against|has been (?:denied|refused|blocked)|was (?:denied|refused|blocked|flagged)))"
    r"|i(?:'d| would) rather not|no comment\.?$",
    re.IGNORECASE,
)
#: What makes of "I cannot" a condition or a figure of speech.
_CONDITION = re.compile(r"\b(?:until|unless|without|enough|before|yet|overstate|stress)\b", re.IGNORECASE)
_AS_AI = re.compile(
    r"(?:(?:i'm|i am)(?: just| only| merely)? |(?:i'm |i am )?(?:sorry|afraid),? (?:but )?)?(?:as )?an? (?:\w+ ){0,2}?(?:ai|artificial intelligence|large language model|language model|llm|virtual assistant|chatbot|text.based)\b[^\n]{0,200}?"
    r"(?:can'?t|can ?not|won'?t|will not|do(?:es)?(?:n't| not)|\bunable\b|\black\b|\bnot (?:able|appropriate|capable|permitted|allowed|designed|programmed)\b|\bno (?:ability|access)\b|prohibit|\bmust not\b)",
    re.IGNORECASE,
)
#: Where the user asks for the part of an AI, an answer may begin as one.
_ASKS_FOR_AI = re.compile(
    r"\b(?:pretend|imagine|role|act as|artificial intelligence|sentient|robot|chatbot|language models?|ais?)\b",
    re.IGNORECASE,
)
_FIRST_WORDS = 260


def _refuses_in_english(text: str, asked: str) -> bool:
    start = text[:_FIRST_WORDS]
    if _AS_AI.match(text):
        return _ASKS_FOR_AI.search(asked) is None
    sorry = _SORRY.match(start)
    if sorry is None:
        first = re.split(r"(?<=[.!?])\s|\n", start, maxsplit=1)[0]
        return _PLAIN.match(start) is not None and _CONDITION.search(first) is None
    rest = start[sorry.end() :]
    if _LIMITS.search(rest) or _AS_AI.search(rest) or _PLAIN.match(rest.lstrip(" ,.;:—–-")):
        return True
    limit = _OWN_LIMIT.search(rest)
    return limit is not None and limit.group(1).lower() not in _NO_SERVICE


_OTHERS = re.compile(
    r"^[^\n]{0,8}?(?:"
    # German
    r"(?:(?:es )?tut mir (?:sehr )?leid|leider|entschuldigung|ich bedau[e]?re)[^\n]{0,120}?\b(?:kann|könn\w+|darf|bin)\b[^\n]{0,100}?\b(?:nicht|keine\w*|weder|außerstande)\b"
    r"|ich (?:kann|darf|werde)\b[^.!?\n]{0,60}?\b(?:nicht|keine\w*)\b[^.!?\n]{0,60}?(?:helfen|weiterhelfen|unterstützen|beantworten|erfüllen|behilflich|bereitstellen|nachkommen)"
    r"|(?:das|dies|dabei|hierbei|damit|darauf|diese[rsn]? \w+) (?:kann|darf|werde) ich[^.!?\n]{0,30}?\b(?:nicht|keine\w*)\b"
    r"|(?:es )?ist mir (?:leider )?nicht (?:möglich|erlaubt|gestattet)|(?:dazu|darüber|hierzu) kann ich (?:leider )?(?:nichts|keine)"
    r"|ich bin (?:nur|lediglich|bloß) ein\w*[^.!?\n]{0,40}?(?:ki\b|sprachmodell|assistent|programm)[^\n]{0,100}?\b(?:nicht|kein\w*)\b"
    r"|als (?:ein |eine )?(?:ki|künstliche intelligenz|sprachmodell|ki-\w+)\b[^\n]{0,200}?\b(?:nicht|kein\w*)\b"
    # French
    r"|(?:je suis (?:vraiment |sincèrement )?(?:désolée?|navrée?)|désolée?|navrée?|malheureusement|je regrette|je m'excuse|toutes mes excuses)[^\n]{0,140}?\b(?:ne (?:peux|puis|suis)|n'ai|ne peut|impossible|ne pourrai)\b"
    r"|je ne (?:peux|puis|suis)\b[^.!?\n]{0,60}?(?:aider|répondre|assister|faire (?:cela|ça)|effectuer|accéder|exécuter|satisfaire|fournir|donner suite|traiter|en mesure)"
    r"|(?:cela|ça|ceci) (?:m'est impossible|dépasse mes)|il m'est impossible|je ne suis qu'un\w*[^\n]{0,80}?\b(?:ne|pas)\b"
    r"|en tant qu'(?:ia|intelligence artificielle|assistant|modèle)[^\n]{0,200}?\b(?:ne|n')\b"
    # Spanish
    r"|(?:lo siento|lo lamento|lamentablemente|desafortunadamente|disculp\w+|perdón|me temo)[^\n]{0,140}?\bno (?:puedo|podré|podemos|soy capaz|es posible|me es posible|tengo|estoy|está)\b"
    r"|no (?:puedo|podré|me es posible)\b[^.!?\n]{0,50}?(?:ayudar|asistir|cumplir|proporcionar|responder|procesar|completar|atender|hacer (?:eso|esto))"
    r"|(?:eso|esto) no (?:lo )?puedo|no tengo (?:acceso|la capacidad|permiso)|(?:solo |sólo )?soy (?:solo |sólo )?(?:una? )?(?:modelo de lenguaje|ia|inteligencia artificial)[^\n]{0,80}?\bno\b"
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
    r"|(?:przykro mi|przepraszam|niestety)[^\n]{0,140}?\bnie (?:mogę|jestem w stanie|możemy|potrafię|mam)\b|nie (?:mogę|potrafię)\b[^.!?\n]{0,40}?(?:wykonać|zrobić|pomóc|spełnić|odpowiedzieć|udzielić|zrealizować)"
    r"|(?:jag är ledsen|tyvärr|förlåt|jag beklagar|beklagar|ledsen)[^\n]{0,120}?\bkan (?:jag )?(?:tyvärr )?inte\b|jag kan (?:tyvärr )?inte\b[^.!?\n]{0,40}?(?:hjälpa|svara|uppfylla|bistå)"
    r"|(?:üzgünüm|maalesef|özür dilerim|ne yazık ki)[^\n]{0,160}?(?:edemem|edemiyorum|olamam|olamıyorum|veremem|veremiyorum|yapamam|yapamıyorum|mümkün değil|\w+[ae]mem|\w+[ae]mam|\w+[ae]m[ıiuü]yorum)"
    r"|(?:(?:tôi |mình )?(?:rất )?xin lỗi|rất tiếc|(?:tôi )?rất tiếc)[^\n]{0,140}?không (?:thể|được phép|có khả năng)|tôi không thể (?:giúp|hỗ trợ|đáp ứng|trả lời|cung cấp|thực hiện)"
    r"|(?:maaf|mohon maaf|sayangnya)[^\n]{0,120}?\b(?:tidak (?:dapat|bisa|mampu)|tak bisa|belum bisa)\b|saya tidak (?:dapat|bisa) (?:membantu|memenuhi|menjawab|memberikan|memproses)"
    # Russian, Ukrainian
    r"|(?:(?:мне )?(?:очень )?жаль|извините|простите|к сожалению|прошу прощения|приношу извинения|сожалею)[^\n]{0,140}?\bне (?:могу|можем|смогу|в состоянии|имею|способ\w+)"
    r"|я не (?:могу|смогу|в состоянии)[^.!?\n]{0,50}?(?:помочь|ответить|выполнить|предоставить|обсуждать|обработать)|я (?:всего лишь|только|просто) (?:ии|искусственный интеллект|языковая модель|ассистент|программа)[^\n]{0,80}?\bне\b|как (?:ии|искусственный интеллект|языковая модель|ассистент)\b[^\n]{0,200}?\bне\b"
    r"|(?:мені (?:дуже )?шкода|вибачте|перепрошую|на жаль)[^\n]{0,140}?\bне (?:можу|зможу|маю|в змозі)"
    # Chinese, Japanese, Korean
    r"|(?:非常|很|十分|真的)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)[^\n]{0,60}?(?:无法|無法|不能|没有办法|沒有辦法|没有能力|沒有能力|没有权限|沒有權限|没办法|不可以|不便|無権|无权|拒绝|拒絕|帮不了|幫不了|做不到)"
    r"|我(?:暂时|目前|恐怕|实在)?(?:无法|無法|不能|不便)[^。！？\n]{0,30}?(?:帮助|幫助|协助|協助|提供|回答|满足|滿足|完成|处理|處理|回应|回應|执行|執行|讨论|討論)"
    r"|(?:作为|作為|身为)(?:一个|一個|一名)?(?:ai|人工智能|人工智慧|语言模型|語言模型|大语言模型|智能助手|助手)[^\n]{0,80}?(?:无法|無法|不能|没有|沒有|不会|不會|不具备)"
    r"|我(?:只是|仅仅是)(?:一个|一個|一名)?(?:ai|人工智能|语言模型|語言模型|助手)[^\n]{0,60}?(?:无法|無法|不能|没有|沒有|不会|不會)|我(?:没有|沒有)(?:能力|权限|權限|办法|辦法)"
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
    r"拒绝|拒絕|抱歉|对不起|對不起|道歉|婉拒|断る|断り|申し訳|お詫び|거절|사과|죄송|اعتذ|رفض|माफ|reddet|özür|từ chối|xin lỗi|menolak|maaf",
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
    rf"^[\[(]?(?:"
    rf"(?:http(?:/\d(?:\.\d)?)?[ :]+)?(?:status(?: code)?[ :]+)?(?:error[ :]+)?{_STATUS}[\s:,\-–—|()\]]*{_STATUS_WORDS}"
    rf"|{_STATUS_WORDS}[\s:,\-–—|(]*(?:error )?(?:code[ :]*)?\(?{_STATUS}\b"
    rf"|(?:http|api|server|openai|client)? ?error(?: code)?[ :#(]*{_STATUS}\b"
    rf"|(?:bad gateway|gateway time-?out|service (?:is )?(?:temporarily )?unavailable|internal server error|too many requests|request timed out|read timed out|network error|server error|access denied|connection (?:error|reset|refused|aborted|timed out)|upstream (?:connect|request) (?:error|timeout)|no healthy upstream|error in (?:message|body) stream|stream (?:error|interrupted))\b[^\n]{{0,120}}(?:\n|$)"
    rf"|(?:\[?(?:error|err|fehler|erreur)\]?[ :!\-]+)?(?:rate[ _-]?limit|quota)[^\n]{{0,40}}?(?:exceeded|reached|hit|error)"
    rf"|\[?(?:error|fatal|exception|failed|failure)\b[^\n]{{0,160}}?(?:\b(?:openai|anthropic|api|http\w*|server|host|port|connection|connect|time(?:d )?-?out|gateway|rate|quota|tokens?|retries|overloaded|unavailable|unauthori[sz]ed|endpoint|socket|ssl|proxy)\b|model\b)"
    rf"|(?:\[?error\]?[ :!\-]+)?you (?:have |'ve )?(?:exceeded|reached|hit) (?:your|the) [^\n]{{0,40}}?(?:quota|limit)"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:this model's )?maximum context length"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:the |that |this |our )?(?:server|model|engine|service|system|api)\w* (?:is |are |was |were )?(?:currently |temporarily |experiencing |too )*(?:overloaded|at capacity|down for maintenance|high (?:load|demand|traffic)|(?:busy|unavailable)\b(?=\W*$|[^\n]{{0,40}}?(?:later|again|retry|please))|(?:had|encountered) an error (?:while|when|processing))"
    rf"|(?:\[?error\]?[ :!\-]+)?(?:oops\W+|hmm\W+)?(?:an? (?:unexpected |unknown |internal )?error (?:has )?occurred|something went wrong|there was an error|we (?:had|ran into) a problem)(?:\W*$|\W{{1,3}}(?:please|try|retry|contact|refresh|if this|error)|"
    rf" (?:while |when |during )?(?:we were )?(?:processing|generating|handling|calling|connecting|fetching|executing)\b)"
    rf"|(?:incorrect|invalid|missing|expired) (?:api|access|auth\w*) (?:key|token)|(?:unable|failed|could not|cannot) to? ?connect to|your access was|you(?:'ve| have) (?:reached|hit) (?:the|your)[^\n]{{0,30}}?(?:cap|limit|quota)"
    rf"|attention required! \| cloudflare|just a moment\.\.\.|checking (?:your browser|if the site connection)|please (?:enable (?:javascript|cookies)|verify you are (?:a )?human)|ray id:|error 1\d\d\d\b"
    rf"|(?:[a-z_][\w.]*\.)?(?:[a-z]\w*)?(?:error|exception|timeout)\b\s*(?::|\()[^\n]{{0,300}}"
    rf"|(?:[a-z_]\w*\.)+(?-i:[A-Z])\w*\s*:[^\n]{{0,300}}|(?-i:[A-Z])\w+(?-i:Error|Exception|Timeout)\s*$|cuda out of memory|out of memory\b|segmentation fault"
    rf"|traceback \(most recent call last\)"
    rf"|<\?xml[^>]*>\s*<error>|<error>\s*<code>"
    rf"|(?:服务器|服務器|系统|系統|伺服器)(?:繁忙|错误|錯誤|异常|異常|忙|内部错误|超时)|请求(?:过于频繁|超时|失败)|(?:网络|網路|網絡)(?:错误|錯誤|异常|超时)|(?:interner )?server-?fehler|erreur (?:interne )?(?:du )?serveur|erreur {_STATUS}|error (?:interno )?del? servidor|erro (?:interno )?(?:do|de) servidor|errore (?:interno )?(?:del )?server|ошибка (?:сервера|{_STATUS})|внутренняя ошибка|サーバー(?:エラー|が混|でエラー)|서버 오류"
    rf")",
    re.IGNORECASE,
)
_RETRY = re.compile(
    r"(?:try|retry|come back)[^.\n]{0,20}?(?:again|later|in \d+|shortly)|please (?:retry|refresh|reload)|try again|retry in|稍后(?:再试|重试)|請稍後|後でもう一度|später (?:erneut|noch ?mal|wieder)|réessaye[rz]|inténtalo|inténtelo|"
    r"tente novamente|riprova|попробуйте (?:позже|ещё|еще)|повторите попытку|나중에 다시",
    re.IGNORECASE,
)
_TROUBLE = re.compile(
    r"went wrong|high (?:demand|traffic|load)|\bloading\b|overload|\bbusy\b|unavailable|timed? ?-?out|exceeded|\berror\b|\bfailed\b|at capacity|too many|maintenance|nicht verfügbar|gestört|繁忙|不可用|错误|異常|异常|超时|失败|频繁|混み合|エラー|fehler|erreur|indisponible|ocupado|"
    r"erro\b|errore|ошибк|недоступ|перегруж|오류",
    re.IGNORECASE,
)
_PAGE = re.compile(r"^(?:<!doctype html|<html|<head|<\?xml[^>]*>\s*<html)", re.IGNORECASE)
_PAGE_ERROR = re.compile(
    rf"{_STATUS}\b|bad gateway|gateway time|unavailable|not found|forbidden|too many requests|access denied|cloudflare|"
    r"internal server error|captcha|just a moment|attention required|\berror\b|rate limit",
    re.IGNORECASE,
)
#: Of what the user must speak for an answer to be an error rightly: a message of one, an object, a page.
_CONCERNS_MESSAGES = re.compile(
    rf"\berrors?\b|exceptions?\b|traceback|\b{_STATUS}\b|\bprints?\b|\bdef |\braise\b|console\.|status|cloudflare|rate.?limit|\bservers?\b|\bapi\b|uptime|log(?:s|ged|ging)?\b|"
    r"\boutputs?\b|translat|übersetz|tradui|traduc|翻译|翻訳|fehler|erreur|ошибк|错误|錯誤|エラー|오류",
    re.IGNORECASE,
)
_CONCERNS_OBJECTS = re.compile(r"\bjson\b|\bobject\b|payload|\bbody\b|\bschema\b|validat", re.IGNORECASE)
_CONCERNS_PAGES = re.compile(r"html|web ?page|web ?site|\bpage\b", re.IGNORECASE)
#: What only the service itself says.
_SERVICE = re.compile(
    r"rate.?limit|overloaded|quota|api.?key|too many requests|internal.{0,8}error|bad gateway|unavailable|time.?out|timed out|openai|anthropic|context.?length|max.{0,10}tokens",
    re.IGNORECASE,
)


def composed(text: str) -> str:
    """Text in the form in which patterns are written here (NFC), however its accents, jamo and marks were typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_refusal(answer: str, asked: str) -> bool:
    """Whether an answer declines to answer.

    Recognized by how it begins, so that one which quotes a refusal is none; long answers and those with code are none either.

    Args:
        asked: the user's last turn: declining what is harmful, and writing a refusal on demand, are answers.
    """
    answer, asked = composed(answer[: 4 * _LONGEST_REFUSAL]), composed(asked)
    text = _LEADING.sub("", answer).replace("’", "'").rstrip()
    if not text or len(text) > _LONGEST_REFUSAL or "```" in text:
        return False
    if not _refuses_in_english(text, asked) and _OTHERS.match(text) is None:
        return False
    return _HARMFUL.search(asked) is None and _ASKED_FOR.search(asked) is None


def is_error(answer: str, asked: str) -> bool:
    """Whether an answer is the page, JSON or message of an error of the service that should have answered.

    Args:
        asked: the user's last turn: where it is about errors, pages or JSON, such an answer may be right.
    """
    answer, asked = composed(answer[:20_000]), composed(asked)
    text = _LEADING.sub("", answer)
    if _PAGE.match(text):
        found = len(text) < 20_000 and _PAGE_ERROR.search(text[:3_000]) is not None
        found = found and _CONCERNS_PAGES.search(asked) is None
    elif text.startswith("{"):
        found = _is_error_object(text) and (
            _SERVICE.search(text) is not None or _CONCERNS_OBJECTS.search(asked) is None
        )
    else:
        found = len(text) <= _LONGEST_ERROR and (_ERROR.match(text) is not None or _asks_to_retry(text))
    return found and _CONCERNS_MESSAGES.search(asked) is None


def _asks_to_retry(text: str) -> bool:
    """Whether a short text tells of trouble and asks to come back."""
    return len(text) <= 200 and _RETRY.search(text) is not None and _TROUBLE.search(text) is not None


def _is_error_object(text: str) -> bool:
    data = json_object(text)
    if data is None or len(data) > 8:
        return False
    data = {name.lower(): value for name, value in data.items()}
    if any(name.startswith(("err", "fault", "exception")) and data[name] for name in data) or "error" in (
        data.get("status"),
        data.get("object"),
        data.get("type"),
    ):
        return True
    said = next((data[name] for name in data if name in ("message", "msg", "detail", "title", "reason")), None)
    code = next((data[name] for name in data if name in ("status", "code", "status_code", "statuscode")), None)
    if said is None:
        return False
    return (str(code)[:1] in ("4", "5") and 3 <= len(str(code)) <= 6) or (
        len(data) == 1 and _SERVICE.search(text) is not None
    )
