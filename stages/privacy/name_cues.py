"""The words around a name that show what it names: words before it, words after it, and its endings."""

from __future__ import annotations

import re

from stages.privacy.lexicon import any_of, word_list

_UP = r"[^\W\d_a-zà-öø-ÿ]"  # a letter that is not a Latin small letter
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|das|do|du|la|le|el|al|bin|ibn|ter|ten|zu|af|av|y|e|nad|of)"
CAP = rf"(?:{_UP}\.(?=\W)|(?:St|Jr|Sr|Ph)\.(?=\W)|{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*(?=\W|$))"
RUN = re.compile(
    rf"(?<![\w@.#/-])(?![\w-]*\d){CAP}(?:(?:[ \u00a0]{{1,2}}|-){CAP}|[ ](?:{_PARTICLE}[ ]){{1,2}}(?={_UP}){CAP})*"
)
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*\.?")
_NAME = rf"{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*(?:[ ](?:{_UP}\.?(?=[ ])|{_PARTICLE}(?=[ ])|{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*)){{0,4}}"

_TITLES = r"(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|dame|lord|herr|frau|mme|mlle|monsieur|madame|señor|señora|sr|sra|signor|signora)"
TITLED = re.compile(rf"\b((?i:{_TITLES})\b\.?)[ ]({_NAME})")
TITLED_LOWER = re.compile(rf"\b({_TITLES}\b\.?)[ ]([a-z][\w'-]+(?: [a-z][\w'-]+)?)")

# A person's name follows these words.
PERSON_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|the|your|full|first|last|maiden|given|family|middle|contact|customer|user|account holder|card holder|"
    r"cardholder)(?:'s)? name(?:'s| is| was|:)?|name(?::| is)|i am called|(?:call|calls|called|named|name) (?:me|him|her|it)|known as|"
    r"i am|i'm|im|this is|it's|here is|signed(?: by)?|attn\.?:?|attention:?|contact(?: person)?:|from:|to:|cc:|author:|by|dear|hi|hello|"
    r"hey|regards|best|thanks|sincerely|cheers|greetings|yours|speak (?:to|with)|talk (?:to|with)|ask for|with|via|met|heard|see|add|under|"
    r"between|starring|directed by|sung by|written by|beneficiary|payee|patient|recipient|names?)[,:]?[ \n]+(?:is |are |was )?$",
    re.IGNORECASE,
)
STRONG_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|full|first|last|maiden|given|family|middle|contact|customer|user|your) name(?:'s| is| was|:)?|^name(?: is|:)|"
    r"name:|call(?:s|ed)? me|named (?:him|her)|i am called|regards,?|sincerely,?|cheers,?|dear|ask for|speak (?:to|with)|attn\.?:?|caller:|contact:|from:)[,:]?[ \n]+"
    r"(?:is |was )?$",
    re.IGNORECASE,
)
PERSON_CUE_LOWER = re.compile(
    r"\b(?:name(?: is)?|i am|i'm|im|this is|with|by|to|for|from|called|see|met|heard|and)[ ]$"
)
# A person follows these, even if the name is an everyday word ("my sister Rose").
RELATED = re.compile(
    r"\b(?:my|his|her|their|our|your|the)(?: \w+)? (?:wife|husband|spouse|fianc[eé]e?|partner|girlfriend|boyfriend|mother|father|mom|mum|dad|"
    r"parents?|brother|sister|siblings?|son|daughter|child|kids?|cousin|niece|nephew|aunt|uncle|grand(?:ma|pa|mother|father|son|daughter)|"
    r"friend|buddy|flatmate|roommate|housemate|neighbou?r|colleague|coworker|co-worker|boss|manager|supervisor|assistant|landlord|tenant|"
    r"lawyer|doctor|nurse|teacher|coach|driver|client|patient|customer|guest|late)[ ]$",
    re.IGNORECASE,
)
# Things only a person does: "Sofie lives on ...", "Megan is a very ..."
PERSON_AFTER = re.compile(
    r"^(?:'s (?:\w+ )?(?:wife|husband|mother|father|brother|sister|son|daughter|account|address|house|birthday|phone|email|card|order|"
    r"killers?|friend|boss|team)\b|,? (?:lives|lived|said|says|told|asked|wrote|called|emailed|works|worked|is (?:my|his|her|very|so|an? (?:very|really|good|great|nice|old|close|friend|colleague|person|man|woman|student|nurse|doctor|teacher))\b|"
    r"was born|has been\b|moved|married|thinks|wants|listed|spent|here\b)|: |, (?:the |a |our |my |head |chief |senior |vice |can |could )|"
    r" so \w+\?|[,]? aged? \d)",
)

_ORG_END = (
    r"(?:Inc|Incorporated|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Co|Company|GmbH|AG|KG|S\.?A|S\.?r\.?l|S\.?p\.?A|B\.?V|N\.?V|AB|Oyj?|"
    r"ApS|A/S|ASA|PLC|LLP|LP|Pty|Pvt|Kft|Zrt|Sp\. z o\.o|d\.o\.o|s\.r\.o|Group|Holdings?|Partners|Associates|Bank|University|College|"
    r"Institute|Hospital|Clinic|Foundation|Association|Agency|Technologies|Consulting|Insurance|Investments|Ventures|Industries|"
    r"Enterprises|Laboratories|Airlines|Airways|Motors|Pharmaceuticals|Bros|Brothers|Sons)"
)
ORG = re.compile(
    rf"(?<![\w-])(?:\d+ )?{_UP}[\w&'’.-]*(?:,? (?:&|and|of|the|for|{_UP}[\w&'’.-]*|{_ORG_END})){{0,5}},? {_ORG_END}\b\.?(?![\w-])"
)
ORG_ANY = re.compile(r"(?<![\w-])((?:[a-z][\w&'-]* ){1,4})(?:inc|llc|ltd|corp|gmbh|incorporated|corporation)\b\.?")
FIRM = re.compile(r"[^\W\d_][\w'’-]+(?:, [^\W\d_][\w'’-]+){1,3},? (?:and|&) [^\W\d_][\w'’-]+")
# Words before a company name that are not part of it.
LEADS = frozenset(["work", "works", "worked", "working", "company", "named", "called", "became"])
HYPHENED = re.compile(rf"(?<![\w-]){_UP}[^\W\d_]+-{_UP}[^\W\d_]+(?![\w-])")
ORG_CUE = re.compile(
    r"\b(?:work(?:s|ed|ing)? (?:for|at|with)|job at|employ(?:ed|er|ee)s? (?:by|at|of|is|:)?|company(?: name)?(?: is|:| called| named)?|"
    r"(?:ceo|cto|cfo|founder|co-founder|director|president|owner|manager|employee|intern|analyst|partner|chair) (?:of|at|for)|"
    r"(?:years?|months?|time|career|position|role|office) at|later became|formerly|acquired(?: by)?|subsidiary of|merged with|brand|"
    r"organi[sz]ation:?|firm(?: called)?|startup|bank with|insured (?:by|with)|studied at|graduated from|on behalf of|meet \w+ at)[ ]+$",
    re.IGNORECASE,
)
ORG_AFTER = re.compile(
    r"^(?:'s)? (?:(?:offices?|branch|store) (?:is|was|in|at|of|on|are)|headquarters|hq|ceo|employees?|shareholders?|founders?|"
    r"(?:is|was) (?:an?|the|our) (?:\w+[ -]){0,3}(?:company|agency|firm|startup|bank|brand|supplier|brainchild|business|employer|vendor|"
    r"organi[sz]ation|manufacturer|studio|publisher))\b",
    re.IGNORECASE,
)

PLACE_CUE = re.compile(
    r"\b(?:(?:live[sd]?|living|based|born|located|reside[sd]?|residing|stay(?:ed|ing)?|grew up|raised|staying|situated|arriv(?:ed?|ing)|work(?:s|ed)?|"
    r"i am|i'm|i was|here|office|branch|factory|store|street|road|city|town|village|flight|trip) (?:in|at|near|outside|of)|"
    r"(?:came?|come|comes|moved?(?: here| back)?|originally|flew|flying|travel(?:l?ed|l?ing)?|return(?:ed|ing)?|back|went|go|going|"
    r"visit(?:ed|ing)?|driv(?:e|ing)|mov(?:e|ing)|relocat(?:ed|ing)|ship(?:ped|ping)?|deliver(?:ed|y)?|sent|heading|morning|waist down|flights?|trains?|is|am|are)"
    r"(?: from| to)|citizen of|resident of|native of|capital of|city of|town of|village of|north of|south of|east of|west of|serving|"
    r"visit(?:ed|ing)?|via|destination:?|city:|town:|country:|state:|location:|place of birth:?|(?:southern|northern|eastern|western|central))[ ]+$",
    re.IGNORECASE,
)
IN = re.compile(
    r"\b(?:in|near|to|from|at|for|via|reach(?:ed)?|leav(?:e|ing)|left|towards?|between|around|outside)[ ]+$",
    re.IGNORECASE,
)
PLACE_AFTER = re.compile(
    r"^(?:,? (?:was|is) (?:super |so |very |really )?(?:fun|nice|great|beautiful|cold|hot|lovely) |, (?:[A-Z]{2}\b))"
)

_GROUPS = any_of(word_list("words/groups.txt"))
NRP = re.compile(rf"\b(?:{_GROUPS})s?\b", re.IGNORECASE)
# Those of them that more often mean something else or are someone's name.
NOT_NRP = frozenset(["pole", "poles", "finn", "finns", "scot", "dane", "swede", "turk", "turks", "chilean"])
LOWER_NRP = re.compile(r"\b(?:i am|i'm|im|an?|the|is|are|was)[ ]+$", re.IGNORECASE)

_JOBS = any_of(word_list("words/jobs.txt"))
_JOB_HEAD = rf"(?:{_JOBS}|\w{{3,}}ographer|\w{{3,}}ologist|\w{{3,}}ician)s?"
JOB_LINE = re.compile(rf"^[ \t>?|]*((?:[\w'’,/&-]+ ){{0,6}}{_JOB_HEAD})[ \t]*$", re.IGNORECASE | re.MULTILINE)
JOB_AFTER_NAME = re.compile(
    rf"[^\W\d_], (?:the|an?|our) ((?:[\w'’/&-]+ ){{0,4}}(?:{_JOB_HEAD}))(?=[,.])", re.IGNORECASE
)

SENTENCE_START = re.compile(r"(?:^|[.!?:\n>*\"“•(-])\s*$")
ALONE = re.compile(r"(?:\A|[\n ])[^\n]+(?=\n|\Z)")

# Abbreviations that are also given names, and months and the like that are.
ABBREVIATIONS = frozenset(["nas", "sim", "dsl", "ram", "rom"])
MONTHS = frozenset(["april", "august", "may", "june", "july", "march", "january", "jan", "summer", "autumn", "sunday"])
DATED = re.compile(
    r"(?:\d(?:st|nd|rd|th)?(?: of)?|\b(?:in|on|since|until|till|by|of|from|to|last|next|this|early|late|mid|and|or|for))[ -]$",
    re.I,
)
