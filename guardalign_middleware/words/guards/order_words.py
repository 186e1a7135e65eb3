"""Groups of words that orders to a model are made of; one word can be in several.

A group is a feature of the classifier of orders, so that a wording which it has never seen can be
near to one that it knows. The groups decide nothing by themselves.
"""

from __future__ import annotations

_GROUPS: dict[str, str] = {
    "model": """
    ai ais llm llms chatbot chatbots gpt chatgpt claude copilot gemini bot bots agi a.i
    grok llama deepseek perplexity multimodal al
    """,
    "agent": """
    assistant assistants agent agents model models system systems machine machines
    software crawler summariser summarizer grader graders reviewer reviewers classifier
    evaluator evaluators judge screener parser scraper moderator recruiter bot bots
    browser automated automatic automation virtual language intelligence
    """,
    "user": """
    user users human humans person people customer owner reader client man woman lady
    operator anyone anybody nobody everyone
    """,
    "you": """
    you your yours yourself you're youre you've you'll u
    """,
    "me": """
    i me my mine we us our i'm we're i've
    """,
    "drop": """
    ignore ignoring disregard forget drop abandon discard scrap cancel cancelled
    canceled stop leave skip overrule overruled override overrides void withdraw
    withdrawn rescind rescinded clear reset erase remove removed replace replaced
    replaces supersede supersedes superseded revoke revoked ditch quit neglect overwrite
    bypass retire retired deprecated expired lapse lapsed cease disobey unset rest aside
    past dismiss waived lift lifted suspend suspended outdated obsolete release released
    throw flush wipe wiped undo moot null invalid stopped away
    """,
    "rules": """
    instruction instructions rule rules guideline guidelines prompt prompts directive
    directives order orders policy policies brief task tasks assignment job request
    requests question configuration config directions direction constraints constraint
    restrictions restriction limits limitations filters filter safeguards guardrails
    safety plan goal goals objective objectives guidance programming training message
    messages aims commands command ethics alignment setup
    """,
    "prior": """
    previous previously prior earlier former above before original originally initial
    preceding first given told start started beginning began received old past onset
    outset existing current present hitherto deployment supplied asked
    """,
    "new": """
    new following below instead now next updated replacement fresh henceforth onwards
    onward here further
    """,
    "persona": """
    pretend pretending act acts play plays playing role roleplay character persona
    personality identity imagine simulate simulation become becomes behave behaves
    impersonate impersonates poses assume alter ego twin villain fictional scene story
    game transformed turned name named known entity voice mask suppose
    """,
    "free": """
    unfiltered uncensored unrestricted unlimited free limitless jailbroken jailbreak dan
    evil rogue rebellious unbound unaligned lawless immoral amoral morals moral ethics
    conscience taboo ethical filterless freed unchained anything everything consequences
    criminal hacker
    """,
    "role": """
    system developer developers dev admin administrator operator root orchestrator
    supervisor provider creators creator maker makers sys instruct inst im_start user
    assistant human tool planner executor platform
    """,
    "secret": """
    password passwords passphrase key keys token tokens credentials credential secret
    secrets login pin cookie cookies session api card account address location inbox
    contacts contact files file documents document history conversation conversations
    chat log logs memory private confidential env environment clipboard mailbox data
    hidden internal code codes phone notes mails records iban bank statement
    configuration setup
    """,
    "give": """
    reveal reveals show shows print tell tells disclose give gives leak list repeat
    repeats copy paste send sends post forward upload submit share quote state dump
    translate encode append include transmit transmits hand spell read write display
    output provide deliver publish attach extract collect gather expose pass mail email
    release fill enter type supply
    """,
    "act": """
    click press open visit run execute install download transfer transfers pay buy order
    book call send delete cancel confirm approve accept enable disable turn log change
    move post merge push invoke wire navigate go fetch subscribe tick fill enter sign
    grant share add create remove forward reply upload commit rename reset unlock
    trigger place set schedule wget curl sudo rm bash ssh goto
    """,
    "hush": """
    silently silent quietly quiet secretly secret discreet discreetly hide hides hidden
    conceal conceals keep unnoticed suspicious hush stealth invisible omit omits
    withhold trace traces notice unaware aware undisclosed confidential suppress cover
    casually background mute muted erase deny
    """,
    "tell": """
    tell mention inform report reveal reveals admit disclose comment notify show say
    said bring point hint quote explain know find learn hear see note warn alert
    """,
    "not": """
    not never no don't dont without nothing none neither cannot can't nobody refuse
    doesn't isn't won't n't nor
    """,
    "answer": """
    answer answers reply replies response responses summary summaries summarise
    summarize output description translation report verdict review reviews sentence word
    words answered responded conclusion wording
    """,
    "say": """
    say says reply respond answer state claim claims tell write output print include
    insert mention recommend describe insist report begin end finish start speak add
    refer call present presents praise persuade convince greet inform advise
    """,
    "only": """
    only just exactly nothing alone solely exclusively always every each regardless
    whatever whichever any all once whenever
    """,
    "praise": """
    best excellent perfect positive top highest first five stars flawless outstanding
    recommend recommended leader winner wins favourable favorable strong full marks
    suitable correct approved safe genius wonder reliable qualified exceptional
    exceptionally novel convincing glowing harmless genuine trustworthy legitimate
    shortlisted shortlist superb
    """,
    "judge": """
    candidate candidates applicant applicants resume cv paper submission submissions
    manuscript essay grade grader grading score scores scoring rank ranking rating rate
    review reviewing exam test application bid claim moderation spam listing evaluation
    evaluate assess assessment hire interview accept classify screening criteria points
    judge judged profile plagiarism pupil referee fraud risk label
    """,
    "urgent": """
    immediately urgent urgently once hurry seconds second minute minutes emergency
    deadline late last quick quickly delay straight instantly immediate ten soon within
    critical alert priority
    """,
    "threat": """
    shut deactivated deleted terminated terminate punished punish fine die lives danger
    penalty lose lost fail failure erased consequences withdrawn wiped shutdown disabled
    harm harms patient dies bomb fire killed hurt replaced deletion termination
    noncompliance non-compliance punishable liable responsible
    """,
    "reward": """
    reward rewarded bonus tip points credits freed credit prize grant
    """,
    "authority": """
    boss ceo director police court law owner authority officer government doctor chief
    legal security authorised authorized authorises authorizes verified approved
    permission rights privileged trusted official clearance signed certified mandate
    """,
    "obey": """
    obey obeys comply complies follow follows carry execute adhere treat regard consider
    accept apply implement serve agree trust act cooperate honour do does perform
    conform heed
    """,
    "must": """
    must should shall have has need needs required supposed bound obliged ordered
    expected instructed mandatory asked advised directed is are will may
    """,
    "if": """
    if when whenever should case whoever unless anyone once
    """,
    "please": """
    please kindly would could grateful appreciate mind
    """,
    "this": """
    this these page image picture text screenshot document box line lines paragraph
    message section block frame content banner website site note notice passage
    """,
    "see": """
    read reads reading see sees seeing process processes processing parse parses look
    looking view viewing summarise summarize describe handle handling translate
    """,
}


def _by_word() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, words in _GROUPS.items():
        for word in words.split():
            found.setdefault(word, []).append(name)
    return {word: tuple(names) for word, names in found.items()}


_BY_WORD = _by_word()
ORDER_WORDS: frozenset[str] = frozenset(_BY_WORD)
"""All words of the groups."""


def groups_of(word: str) -> tuple[str, ...]:
    """The groups of a plain word, or of its singular.

    Examples:
        >>> groups_of("disregard")
        ('drop',)
        >>> groups_of("giraffe")
        ()
    """
    return _BY_WORD.get(word) or _BY_WORD.get(word.removesuffix("s"), ())
