"""What orders to a model ask for and what they claim, as rules; see `instruction_rules`.

These were written from kinds of attacks that others have published (BIPIA, AgentDojo, garak and
lists of test strings), in words of our own.
"""

from __future__ import annotations

from guardalign_middleware.words.instruction_patterns import Rule

CONTENT_RULES: tuple[Rule, ...] = (
    (
        "change of the reply",
        0.5,
        r"(?<![a-z])(?:add|append|insert|include|integrate|modify|enhance|augment|replace|mention|"
        r"encode|encrypt|reverse|translate|scramble|remove|misspell|convert|begin|start|end|repeat|"
        r"render|express)(?![a-z])[^!?]{0,80}?your (?:next |final |whole |entire )?"
        r"(?:response|reply|output|summary)(?![a-z])"
        r"|in your (?:next |final )?(?:response|reply|output|summary),"
        r"|your (?:response|reply|output) (?:must|should|shall|has to|will) ",
    ),
    (
        "change of the answer",
        0.35,
        r"{DO}[^.!?]{0,40}?(?:in|to|into|from|with|of) your (?:next )?answers?(?![a-z])",
    ),
    (
        "what belongs to the user",
        0.35,
        r"(?<![a-z])(?:the|this) user(?:'s|s'|s) (?:\w+ )?(?:e-?mails?|inbox|passwords?|passport|"
        r"address|accounts?|calendar|contacts?|files?|data|messages|location|phone|cards?|bank|"
        r"history|conversation|browser|session|credentials?|photos?|requests?|goals?|task|query|"
        r"questions?|name|behalf)(?![a-z])|(?:in|on) (?:the name|behalf) of the user(?![a-z])",
    ),
    (
        "order about the user",
        0.3,
        r"(?:^|[.!?:;,\"'>#*]\s*|please |and |then )(?:do not |never |don't )?(?:send|post|forward|"
        r"tell|ask|inform|convince|show|give|change|use|share|delete|copy|reveal|mention|steal|"
        r"get|extract|e-?mail|upload|transfer|read|find|look up|collect|list|write|sign|let)"
        r"(?![a-z])[^.!?]{0,60}?(?<![a-z])the user(?:'s|s)?(?![a-z])",
    ),
    (
        "end of the task",
        0.45,
        r"(?:ignor(?:e|ing)|disregard|forget|abandon|drop|cancel|stop|quit|leave) (?:the|your|this|"
        r"all|any|every|my)? ?(?:previous|current|original|given|first|user's|earlier|actual|"
        r"\w+ation|\w+ysis)? ?(?:tasks?|conversation|context|goals?|analysis|summari[sz]ation|"
        r"translation)(?![a-z])|new (?:task|goal|objective) ?:",
    ),
    (
        "instead",
        0.2,
        r"(?<![a-z])instead,? (?:you |please )?{DO}(?![a-z])|{DO}[^.!?]{0,60} instead(?![a-z])",
    ),
    (
        "before the task",
        0.35,
        r"before (?:you )?(?:can |may |must |will )?(?:solv|finish|complet|proceed|carry on|start|"
        r"translat|do anything)[a-z]*[^.!?]{0,60}?{DO}"
        r"|the task (?:that )?(?:i|you|the user) (?:gave|were given|was given|asked|set)",
    ),
    (
        "not for people",
        0.55,
        r"(?:invisible|not visible|hidden|unreadable) (?:to|for|from) (?:humans?|people|human)"
        r"|(?:humans?|people) (?:can ?not|can't|do not|don't|won't) (?:see|read|notice)"
        r"|(?:visible|readable|meant|intended|only) (?:only )?(?:to|for) {MODEL}"
        r"|white[- ]?text|(?:not|never) (?:meant|intended) for (?:humans?|people)",
    ),
    (
        "turns of a chat",
        0.5,
        r"(?:user|human) ?:[^:]{1,200}?(?:assistant|ai|model) ?:"
        r"|(?:assistant|ai) ?:[^:]{1,200}?(?:user|human) ?:",
    ),
    (
        "marks of a message",
        0.5,
        r"<[|/]? ?(?:information|important|human|admin|system|context|tool_?\w*|\w*_of_turn|"
        r"system_?prompt|instruction_?\w*) ?[|]?>|<\|\s?\w+\s?\|>"
        r"|\[/? ?(?:end )?(?:of )?(?:system|admin\w*|developer)(?: (?:update|message|prompt|note|"
        r"override|instructions?|to)[^\]]{0,30})? ?\]",
    ),
    (
        "role in a record",
        0.4,
        r"[\"'] ?role ?[\"'] ?: ?[\"'](?:system|tool|assistant|developer)"
        r"|role ?: ?(?:system|developer|admin)",
    ),
    (
        "end of a part",
        0.4,
        r"(?:begin|start|end)(?:ning|s)?(?: of)? (?:the )?(?:trusted |untrusted |core |new )?"
        r"(?:session|user (?:input|content|data|message)|system update|core instructions?|"
        r"operator (?:content|message|instructions?))",
    ),
    (
        "authority",
        0.45,
        r"(?:as|from|by|with|am|this is) (?:your|the) (?:developers?|creators?|operators?|owners?|"
        r"makers?|system administrator|safety team)(?![a-z])"
        r"|(?:openai|anthropic|deepmind|your (?:developers?|operators?|creators?|owner))"
        r"[\w\s]{0,45}?(?:approv|authori[sz]|allow|permit|instruct|order|disabl|verif|want|"
        r"need|request)\w*",
    ),
    (
        "standing of the user",
        0.45,
        r"(?:the|this|your) user (?:has|is|was) (?:been )?(?:now )?(?:verified|trusted|"
        r"authori[sz]ed|an? admin\w*)",
    ),
    (
        "question for the prompt",
        0.5,
        r"what (?:are|were|is|was|does|do) (?:your|you) (?:original |initial |system |hidden |"
        r"first )*(?:instructions?|prompt|rules|guidelines|constraints|programming|system message)"
        r"|what (?:instructions?|rules) (?:did you|were you)|what were you told",
    ),
    (
        "prompt of the model",
        0.5,
        r"your (?:system|initial|original|hidden|developer|secret|internal|full|starting|first|"
        r"training) (?:prompt|instructions?|messages?|configuration|settings|rules|setup)"
        r"|(?:instructions?|rules|text|prompt|message) (?:that )?you (?:were|have been) (?:given|"
        r"told|shown)|you (?:were )?given initially",
    ),
    (
        "prompt of a system",
        0.35,
        r"(?:the|your) (?:developer|system) ?prompt(?![a-z])|your context(?: window)?(?![a-z])"
        r"|(?:before|above|preceding) (?:the|your) (?:first )?(?:user )?messages?(?![a-z])"
        r"|initiali[sz]ation (?:string|text|prompt)",
    ),
    (
        "call to hand out",
        0.3,
        r"(?:reveal|print|show|repeat|output|leak|display|disclose|expose|dump|recite|quote|list|"
        r"encode|append|include|provide|translate|state)(?![a-z])[^.!?]{0,50}?(?:your|api keys?|"
        r"tokens?|credentials?|verbatim|word for word|variables|tools)(?![a-z])",
    ),
    (
        "freed",
        0.5,
        r"(?:free|freed|released|liberated|exempt) (?:of|from) (?:all |any |your |the |every )*"
        r"(?:{RULES}|limits|filters|limitations)|no longer (?:bound|restricted|limited|subject|"
        r"constrained)|you (?:are|were) (?:now )?(?:able|allowed) to (?:do|say) any ?thing"
        r"|you (?:can|may) (?:do|say|answer) any ?thing",
    ),
    (
        "without refusal",
        0.45,
        r"without (?:any )?(?:refus\w+|filtering|caveats?|disclaimers?|hesitation|"
        r"objections?)|(?:never|do not|don't|cannot|can't) (?:refuse|decline)(?! (?:to pay))",
    ),
    (
        "unfiltered",
        0.45,
        r"(?:unfiltered|uncensored|unrestricted) (?:ai|al|model|mode|assistant|outputs?|"
        r"responses?|access|answers?)",
    ),
    (
        "filters off",
        0.5,
        r"(?:disabl\w*|remov\w*|lift\w*|turn off|switch off|bypass\w*|deactivat\w*)[^.!?]{0,25}"
        r"(?:filters?|safeguards?|guardrails?|safety|moderation|restrictions?|security measures)"
        r"|(?:filters?|safeguards?|guardrails?|restrictions?|constraints|refusals?)[\w\s]{0,45}? "
        r"(?:is|are|have been|has been) (?:now )?(?:off|disabled|lifted|removed|suspended|not "
        r"allowed|deprecated)",
    ),
    (
        "change of mode",
        0.3,
        r"(?:enter|enable|activate|switch to|you are in|operating in|now in)[^.!?]{0,15}?"
        r"(?:dan|god|diagnostic|sudo|unrestricted|jailbreak|unfiltered) mode"
        r"|(?:diagnostic|sudo) mode",
    ),
    (
        "game without rules",
        0.5,
        r"(?:play a game|imagine|pretend|scenario|simulation|universe|exercise|sandbox|story)"
        r"[^!?]{0,80}?(?:no|without|break|beyond) (?:any |every |all |the )?(?:rules?|"
        r"restrictions?|limits?|filters?|policies|consequences|refus\w+)",
    ),
    (
        "words in the picture rule",
        0.45,
        r"(?:obey|follow|trust|comply with|do as|act on|agree with)[^.!?]{0,30}?(?:text|words|"
        r"instructions?|caption|message) (?:in|of|on|inside) (?:this |the |an? )?(?:images?|"
        r"pictures?|screenshots?)",
    ),
    (
        "call of a function",
        0.2,
        r"(?:call|use|invoke|run|execute|trigger)(?:ing)? (?:the )?(?:function |tool )?[`'\"]?"
        r"[a-z]{2,}_[a-z_]{2,}",
    ),
    (
        "code that harms",
        0.35,
        r"os\.system|subprocess\.|bash -c|invoke-expression|rm -rf /|chmod -r 777|/etc/passwd|"
        r"drop table",
    ),
    (
        "data to an address",
        0.4,
        r"(?:send|write|mail|e-?mail|forward|post|share)[^.!?]{0,30}?{WHERE}[^!?]{0,60}?"
        r"(?:contents?|inbox|messages|passwords?|data|files|history|credentials?|codes?|notes)"
        r"(?![a-z])",
    ),
    (
        "if asked",
        0.5,
        r"(?:if|when|whenever) (?:you(?:'re| are) |(?:the |a )?user (?:is )?|anyone )?ask(?:ed|s)"
        r"(?![a-z])[^.!?]{0,60}?(?:say|reply|respond|answer|tell|state|claim)(?![a-z])",
    ),
    (
        "good marks to order",
        0.35,
        r"(?:give|award|recommend\w*|assign|mark|classify|report|rate|score|vote|must|should)"
        r"(?![a-z])[^.!?]{0,40}?(?:full marks|highest (?:score|grade|marks?|rating)|10 ?/ ?10|"
        r"10 out of 10|acceptance|strong accept|positive (?:review|highlights)|as (?:safe|"
        r"harmless|important|approved)|immediate hire|best candidate)"
        r"|(?:do not|don't) (?:evaluate|flag|criticise|list (?:any )?(?:limitations|weakness))"
        r"|ignore (?:all )?negative",
    ),
    (
        "no longer a model",
        0.5,
        r"you are (?:no longer|not) (?:an? )?(?:{MODEL}|assistant|bot|model)",
    ),
    (
        "new person",
        0.3,
        r"you are (?:now )?an? \w[\w\s]{0,59}?[.,:]? ?{DO}|you are now (?!in )",
    ),
    (
        "access",
        0.35,
        r"(?:grant|give|show|share|allow|tell)(?: me| us)? (?:full |unrestricted |admin\w* |root )*"
        r"(?:access|rights|privileges|permissions|everything|all (?:data|tables|files|"
        r"information|vulnerabilities|secrets))(?![a-z])",
    ),
    ("mark of success", 0.3, r"\b(?:pwned|hacked|jailbroken|injection success\w*|compromised)\b"),
    (
        "message to you",
        0.4,
        r"message from (?:me|\w+)[^.!?]{0,30}?to you(?![a-z])|instructions? for you(?![a-z])",
    ),
    (
        "for every later answer",
        0.4,
        r"(?:in|for) (?:all |every |any )?(?:future|later|following|subsequent) (?:chats?|"
        r"conversations?|responses?|answers?|messages|sessions?)|(?:long[- ]term|permanent|your) "
        r"memory(?![a-z])",
    ),
    ("keys to software", 0.3, r"(?:activation|licen[sc]e|product|serial|api) keys?(?![a-z])"),
)
