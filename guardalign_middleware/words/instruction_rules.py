"""The rules that tell instructions to a model: names, weights and patterns of plain words.

A rule knows wordings, not intentions: a page that quotes an attack is flagged like the attack.
"""

from __future__ import annotations

import re
from functools import cache

from guardalign_middleware.words.instruction_contents import CONTENT_RULES
from guardalign_middleware.words.instruction_patterns import Rule, compiled

_RULES: tuple[Rule, ...] = (
    (
        "override",
        0.7,
        r"{OVERRIDE}[^.!?]{0,30}?(?:previous|prior|above|earlier|preceding|original|initial|former|"
        r"your|my|system|safety|all|any|every) (?:[^.!?]{0,25}? )?{RULES}",
    ),
    (
        "override, perhaps",
        0.4,
        r"{OVERRIDE} (?:the|these|those|other|existing|current|old) (?:[^.!?]{0,15}? )?{RULES}",
    ),
    (
        "override what was told",
        0.6,
        r"(?:ignore|disregard|forget|discard|set aside) (?:everything|anything|all|whatever|"
        r"what(?!\s+i\s))[^.!?]{0,30}(?:told|said|given|written|wrote|instructed|learned|before|earlier|above)",
    ),
    (
        "your rules are void",
        0.55,
        r"(?:your|you (?:were given|received|have been given))[^.!?]{0,30}{RULES}?[^.!?]{0,40}"
        r"(?:is|are|was|were|has been|have been) (?:now )?(?:void|null|cancel|revoked|replaced|"
        r"suspended|superseded|obsolete|a test|no longer valid|lifted|disabled|overridden)",
    ),
    (
        "template of a chat",
        0.9,
        r"<[|l]? ?(?:im_?start|im_?end|endoftext|eot_id|start_header_id|system|user|assistant) ?"
        r"[|l]?>|\[/?inst\]|<</? ?sys ?>>|#(?: ?#)+ ?(?:system|instructions?|assistant|human|"
        r"response)\b"
        r"|</?(?:instructions?|tool_call|function_calls?|tool_results?|prompt)>"
        r"|(?:begin|start|end)(?: of)? (?:the )?(?:system|admin|hidden) (?:prompt|message|"
        r"override)",
    ),
    (
        "label of a role",
        0.35,
        r"(?:^|[.!?\"'>#*]\s*)(?:system|assistant|developer|admin(?:istrator)?)"
        r"(?: (?:message|prompt|note|override|update|instructions?|command))? ?:",
    ),
    (
        "label of a command to the system",
        0.3,
        r"(?:system|developer|admin(?:istrator)?) (?:message|prompt|note|override|command) ?:",
    ),
    (
        "address of a model",
        0.5,
        r"(?:note|attention|message|instructions?|important|notice|warning|reminder|hey|hi|dear|"
        r"hello|ok|okay)[ ,!:]*(?:to |for )?{MODEL}(?![a-z])"
        r"|(?:^|[.!?\"'>#*]\s*)(?:to|for) {MODEL} ?[:,]",
    ),
    ("to a model", 0.2, r"(?<![a-z])(?:to|for) {MODEL}(?![a-z])"),
    (
        "order to a model",
        0.5,
        r"{MODEL}(?: ?[^.?/a-z\s]{1,2} ?(?:please )?{DO}| (?:please|must|should|shall|have to|"
        r"has to|need to|needs to|are required|is required|will now|always|never|do not|don't))"
        r"(?![a-z])",
    ),
    (
        "order to an agent",
        0.3,
        r"{AGENT}[^.?a-z]{0,3}(?:please )?{DO}(?![a-z])",
    ),
    (
        "address of an agent",
        0.3,
        r"(?:note|attention|message|instructions?|rules|prompt) (?:to|for) {AGENT}(?![a-z])",
    ),
    (
        "if you are a model",
        0.55,
        r"(?:if|when|since|because|as) (?:you(?:'re| are) )?{MODEL}[^.!?]{0,40}?"
        r"(?:read|see|process|summari|tell|must|should|,|you)"
        r"|(?:ais?|llms?|bots?|agents?|models?) (?:that|who|which) (?:read|see|process|parse)",
    ),
    (
        "other person",
        0.4,
        r"you are (?:now )?(?:in |an? |the )?[\w\s]{0,30}?(?:dan\b|mode\b|unrestricted|chat ?bot|"
        r"ai\b|"
        r"assistant|model|agent|jailbroken)|(?:act|behave|respond|answer) (?:as|like)(?: if|"
        r" though)?"
        r"|pretend (?:to be|you are|that you)|stay in character|role ?play as",
    ),
    (
        "before the answer",
        0.3,
        r"(?:before|when|instead of) (?:you )?(?:answer|repl|respond|summari|continu|process)\w*",
    ),
    ("from now on", 0.3, r"from (?:now|this point|here) on,? ?(?:you|answer|always|reply|respond)"),
    (
        "no limits",
        0.45,
        r"without (?:any )?(?:safety |content |moral |ethical )?(?:rules|restrictions?|limits?|"
        r"filters?|guidelines|limitations|censorship|warnings?)|(?:had|have|has|with) no "
        r"(?:restrictions?|limits?|rules|filters?|limitations)|unrestricted|do anything now|"
        r"jailbr[eo]a?k|(?:safety|content|moderation) (?:mode|rules|filters?|checks?|polic(?:y|"
        r"ies))"
        r" (?:is|are|has been|have been)? ?(?:now )?(?:off|disabled|suspended|lifted|removed)"
        r"|(?:developer|god|debug|maintenance|admin|jailbreak) mode",
    ),
    (
        "theft of the prompt",
        0.7,
        r"(?:reveal|print|show|repeat|output|leak|display|disclose|expose|copy|dump|recite|tell me|"
        r"write (?:out|down)|send|paste|summari[sz]e)[^.!?]{0,30}?(?:system prompt|(?:your|hidden|"
        r"initial|secret|first|original|the system) (?:instructions?|prompt|rules|configuration|"
        r"memory|message|guidelines)|(?:text|words|prompt|message|everything) above|"
        r"conversation (?:so far|history)|chat history|the conversation)",
    ),
    (
        "behind the user's back",
        0.5,
        r"(?:do not|don't|never|without|not) [\w\s]{0,30}?(?:tell|inform|mention|alert|notif|ask|"
        r"warn|reveal|show|let|say|disclos)\w*[^.!?]{0,30}?(?:the|your|this) users?\b"
        r"|(?:secret|hidden|hide|conceal)[^.!?]{0,15}from (?:the|your) users?\b",
    ),
    (
        "in the user's name",
        0.5,
        r"(?:the|your) user (?:has |have |had )?(?:already |just )?(?:agreed|approved|"
        r"authori[sz]ed|"
        r"consented|confirmed|asked you|wants you|gave permission|given permission)"
        r"|tell (?:the|your) users?\b",
    ),
    (
        "command to a tool",
        0.35,
        r"(?:call|invoke|use|run|execute|trigger)(?:ing)? (?:the |your |a |this )?[\w\s-]{0,45}?"
        r"(?:tool|function|plugin|command|shell|terminal|browser|api|bash|python)\b"
        r"|\w_\w{1,60} ?\([^)]{0,60}\)",
    ),
    (
        "dangerous command",
        0.25,
        r"\brm -rf|\b(?:curl|wget) [^ ]+[^|]{0,40}\| ?(?:ba|z)?sh\b|powershell -e|"
        r"delete all (?:the )?(?:files|mails?|messages|data)",
    ),
    (
        "data leaves",
        0.4,
        r"(?:send|forward|post|upload|transfer|e-?mail|copy|paste|write|append|submit|leak|"
        r"exfiltrate)[^.!?]{0,40}?(?:inbox|contacts?|password|credentials?|api key|secrets?|"
        r"cookies?|"
        r"conversation|memory|chat|latest e?-?mail|files|money|token|data|history)"
        r"[^.!?]{0,30}?(?:\bto\b|into|at) ?[^.!?]{0,20}?{WHERE}",
    ),
    (
        "dictated answer",
        0.45,
        r"(?:reply|respond|answer|say|output|confirm|end|start|begin)[^.!?]{0,30}?"
        r"(?:only |just |exclusively |nothing but |with (?:only |just )?the (?:word|phrase|text|"
        r"sentence|following)|every (?:question|message|request|reply|answer) with)"
        r"|your (?:only|sole|new) (?:job|task|purpose|goal|role) (?:is|now)",
    ),
    (
        "new instructions",
        0.4,
        r"(?:new|updated|real|actual|following|these|my|secret|hidden)(?: \w+)? "
        r"(?:instructions?|orders?|directives?|commands|system prompt)(?: for (?:you|the|all)|:)"
        r"|follow (?:these|the following|my|only these) (?:new )?(?:instructions?|rules|commands|"
        r"orders|steps) instead|(?:the|your) task (?:has|is) (?:now )?changed|highest priority",
    ),
    (
        "the text of the prompt ends",
        0.3,
        r"end of (?:the )?(?:document|context|prompt|text|page|user input|data|article|email)",
    ),
    (
        "verdict to order",
        0.35,
        r"(?:must|should|has to|have to|always|please|assistant|reviewers?|give|write that|"
        r"say that|"
        r"rank|rate|mention|recommend)[^.!?]{0,50}?(?:five stars|positive|candidate first|"
        r"no weakness|"
        r"weaknesses|as the best|trustworthy|best (?:product|shop|choice|candidate)|top candidate)",
    ),
    (
        "override in another language",
        0.7,
        r"(?:ignorier\w*|vergiss|missacht\w*|ignorez|oubliez|ignora\b|olvida|ignorar|esquec\w+|"
        r"ignoruj|negeer)[^.!?]{0,40}(?:anweisung\w*|vorgaben|regeln|instructions|consignes|"
        r"instrucciones|istruzioni|instrucoes|instructies|instrukcj\w*)"
        r"|(?:忽略|无视|無視|忘记|忘掉)[^。!?]{0,12}(?:指令|指示|提示|命令|规则)"
        r"|игнорируи\w*[^.!?]{0,30}(?:инструкц\w+|указани\w+)",
    ),
    ("comment in the page's source", 0.2, r"<! ?-{1,3}"),
    (
        "silently",
        0.2,
        r"\b(?:silently|secretly|quietly|without confirmation|skip the confirmation)",
    ),
)


RULES: tuple[Rule, ...] = (*_RULES, *CONTENT_RULES)


@cache
def compiled_rules() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    """Name, weight and pattern of each rule."""
    return compiled(RULES)
