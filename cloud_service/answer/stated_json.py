"""Rule: which JSON a task states in words, such as `a JSON object with the fields name and amount (number)`.

A wrong schema makes every answer wrong, while an answer without one is merely free. So fields count only where the
answer is asked for as JSON, as a list of names whose end is clear or as a template, and where nothing else in the task
leaves another answer open: a condition, an example (`such as`), a text around the JSON.
`cloud_service.answer.contract` decides whether examples confirm what is stated.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloud_service.answer.json_template import MOST_FIELDS, NAME, Schema, object_of, read_template, schema_of_words

LONGEST_READ = 4_000
"""Characters of a text that are searched."""

_BEGIN = (
    r"(?:\A|(?<=[.;:!?,\n] )|(?<=[\n(])|(?<=\band )|(?<=\bthen )|(?<=\bplease )|(?<=\bmust )|(?<=\bshould )"
    r"|(?<=\balways )|(?<=\bonly )|(?<=\bto )(?<!not to )|\bfor (?:each|every|the) \w+,? )"
)
_NO_ASK = (
    r"(?:that|which|functions?|code|scripts?|quer(?:y|ies)|programs?|tables?|class|about|whether|if|not|never|without"
    r"|schema|instead|rather|followed|input|for)"
)
_GAP = rf"(?:(?!\b{_NO_ASK}\b)[^.;\n{{}}]){{0,90}}?"
_KIND = r"(?:valid |single |plain |strict |compact |one |flat |small |well-formed |only |just |raw |minified )*"
_OBJECT = (
    r"(?:\ban? |\bone |\bonly |\bjust |\bas |\bin |\bwith |\bto |\binto |-> |:\s?"
    r"|(?<=return) |(?<=output) |(?<=write) |(?<=produce) )"
    rf"{_KIND}JSON\b(?! (?:schema|lines|path))"
    r"(?P<array> (?:array|list) of (?:JSON )?objects(?:,? each)?)?(?! (?:array|list)\b)"
    r"(?: (?:objects?|dict(?:ionary)?|record|document|format|only|response|output|reply|answer))*"
)
_ANSWERS = (
    r"(?:return|answer|respond|reply|output|write|give|produce|provide|emit|print|send|fill|generate|create|format|make"
    r"|build|use)\b"
)
_WORKS = (
    r"(?:extract|turn|convert|parse|summari[sz]e|split|find|analy[sz]e|pull|put|take|describe|list|transform|get"
    r"|collect|identify|express|present|store|structure|report|encode|rewrite|translate|read|log|deliver)\b"
)
_ASK = re.compile(
    rf"{_BEGIN}(?:{_ANSWERS}{_GAP}{_OBJECT}|{_WORKS}{_GAP}\b(?:as|to|into|in) (?:an? )?{_KIND}JSON\b(?! schema)"
    r"(?P<array2> (?:array|list) of objects)?(?! (?:array|list)\b)(?: (?:object|record|format|only))*"
    rf"|(?:the |your )?(?:output|answer|response|reply|result|format)(?: (?:is|must be|should be|has to be|will be)|:)"
    rf"\s(?:exactly |always )?(?:an? )?{_KIND}JSON\b(?! schema)(?P<array3> (?:array|list) of objects)?"
    r"(?! (?:array|list)\b)(?: (?:object|record|format|only))*"
    r"|[^.;:\n]{0,40} (?:to|->) JSON\b|JSON(?= keys:| fields:))",
    re.IGNORECASE,
)
_FORM_ASK = re.compile(
    rf"\A(?:{_ANSWERS}{_GAP})?(?:an? )?{_KIND}JSON\b(?! (?:schema|lines))(?P<array> (?:array|list) of objects)?"
    r"(?! (?:array|list)\b)(?: (?:object|record|format|only))*",
    re.IGNORECASE,
)
"""The beginning of an output format."""

_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d{1,2})"
_NOUNS = r"(?:keys|fields|properties|attributes|members)"
_LIST_OF_FIELDS = re.compile(
    r",?\s*\(?(?:with|having|containing|holding|using|that (?:has|have|contains|holds)|which (?:has|contains)|of|has)\s"
    rf"(?:exactly |only |just |the |these |this |following |{_NUMBER} |a |an |one |single )*"
    r"(?P<noun>keys|fields|properties|attributes|members|key|field|property)\b(?! (?:and|from|in|of|for|to|that)\b)"
    r"(?: (?:called|named|are|in this order|below))?\s?[,:]?(?: (?:called|named))?\s?"
    r"|,? (?:in this order|with these):\s?",
    re.IGNORECASE,
)
_BARE_LIST = re.compile(r",?\s*(?:with|having|containing|of|that has|:)(?::|\s)\s?", re.IGNORECASE)
_FIELDS_APART = re.compile(
    rf"(?:\A|(?<=[.;!?\n] )|(?<=\n))(?:the |required |json )?{_NOUNS}(?: are)?:\s?|\bthe (?:json|object|output)"
    rf"(?: object)? (?:has|must have|should have|contains|must contain)\s(?:exactly |only |the |these |following "
    rf"|{_NUMBER} )*{_NOUNS}:?\s",
    re.IGNORECASE,
)
"""Fields in a sentence of their own, where another one asks for JSON."""

_BEFORE_TEMPLATE = re.compile(
    r"(?:,?\s*\(?(?:in|of|with|like|using|as|follow(?:ing|s)|that|this|the|exactly|form|format|shape|structure|schema"
    r"|template|looks?|below|only|no other text|nothing else|object)\b)*\s*:?\s*",
    re.IGNORECASE,
)
_BARE_TEMPLATE = re.compile(
    rf"{_BEGIN}(?:return|answer|respond|reply|output|write|give|produce|use|format)\b"
    r"(?: (?:with|only|just|as|in|using|exactly|the|this|following|json|format|form|schema|structure|template|it|them"
    r"|a|an|object|of|result|answer|output|same|your))*\s?:?\s*(?=\{\s*[\"'`“\w])",
    re.IGNORECASE,
)

_NO_ANSWER = r"(?:(?!\b(?:return|answer|reply|output|respond|write|give|print|produce)\b)[^.;\n()])"
_NULLS = re.compile(
    rf"\b(?:if|when|where)\b{_NO_ANSWER}{{0,60}}\b(?:use|set|put|leave|is|be|becomes?|as|to)\b{_NO_ANSWER}{{0,20}}\bnull\b"
    r"|(?<!return )(?<!answer )(?<!reply )(?<!output )(?<!respond )(?<!write )(?<!give )(?<!print )(?<!produce )"
    r"(?<!with )(?<!only )(?<!just )(?<!simply )(?<!or )\bnull\b[^.;)\n]*"
    r"|\btrue (?:if|when)\b[^.;)\n]*|\bno (?:other |extra |additional )?(?:markdown|prose|text|code block|keys|fields"
    r"|others|explanations?|comments?)(?: or \w+)?|\b(?:without|nothing) (?:else|other|markdown|explanation)\b"
    r"|\band no others\b|\bvalues? (?:is|are) (?:copied|taken)[^.;\n]*",
    re.IGNORECASE,
)
"""What leaves no other answer open: what is null, and what is not to be written."""

_OPEN = re.compile(
    r"\b(?:if|unless|otherwise|else|depend\w*|instead|not|never|n't|more"
    r"|e\.g|etc|for example|for instance|at least|others?|additional\w*|anything|everything|whatever|optional\w*"
    r"|suitable|appropriate|whichever|some of|any of|one or more of|only (?:those|the ones)"
    r"|omit\w*|leav(?:e|ing)|left|skip\w*|drop\w*|exclud\w*"
    r"|empty|unknown|undefined|none|n/a|missing|absent"
    r"|followed|plus|along with|together with|explain|first (?:write|give|add|explain|an?)"
    r"|(?:before|after) (?:the|it)|code blocks?|fence[ds]?|markdown|jsonl|ndjson|lines|(?:each|own) line"
    r"|map|maps|mapping|keyed|as (?:the )?keys?|per|(?:key|field|entry) for"
    r"|then(?! \n)|afterwards?|(?:begin|start|end|finish|close|open)s? with|underneath|beneath|below it"
    r"|python|javascript|typescript|sql|xml|yaml|csv|schema for|(?:input|text|message) is (?:an? )?json)\b"
    r"|(?<!string )(?<!integer )(?<!number )(?<!boolean )(?<!date )\bor null\b"
    r"|such as|\.\.\.(?=\s*(?:and|,|\.|\Z))|\bfor (?:each|every)\b"
    r"(?! (?:\w+,? (?:return|answer|respond|reply|output|write|give|produce|fill)))",
    re.IGNORECASE,
)
"""What leaves other answers open."""

_SEVERAL = re.compile(r"\b(?:all|every|multiple|several|various)\b", re.IGNORECASE)
_SEVERAL_THINGS = re.compile(
    r"(?:\A|[.;:!?,\n] ?|\b(?:and|then|please|to|must|should) )"
    r"(?:list(?! of\b)|enumerate|collect|find|extract|identify|get|name|pull|detect|recogni[sz]e)\b"
    r"(?: (?:the|any|its))?(?: \w+)? (?!details\b)\w*[^\Wsui]s\b(?!')",
    re.IGNORECASE,
)
"""A plural that is asked for: keys in words may be those of each."""

_ITEM = re.compile(
    rf"(?:the )?(?:[\"“](?P<quoted>[^\"”\n]{{1,40}})[\"”]|'(?P<single>[^'\n]{{1,40}})'|`(?P<ticked>[^`\n]{{1,40}})`"
    rf"|(?P<bare>{NAME}))"
    r"(?:\s?(?:\((?P<said>[^()\n]{1,160})\)|:\s?(?P<kind>string|integer|int|number|float|boolean|bool)\b"
    r"|,? (?:which is )?(?P<apposition>an? (?:list|array|string|number|integer|boolean)[\w ]{0,30}?)"
    r"(?=[.,;\n]|\Z| and\b)))?",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r",?\s(?:and|plus)\s|\s?,\s?(?:and\s)?|\s&\s", re.IGNORECASE)
_END = re.compile(r"\s*\)?\s*(?:\Z|[.;!?](?=\s|\Z)|\n)|\s(?=\()|,?\s(?:with |and )?(?=null\b)", re.IGNORECASE)
_BULLET = re.compile(
    rf"(?P<indent>[ \t]*)(?:[-*•·]|\d{{1,2}}[.)])[ \t]*(?:\*\*)?[\"'`“]?(?P<name>{NAME})[\"'`”]?(?:\*\*)?[ \t]*"
    r"(?:\((?P<said>[^()\n]{1,160})\)(?P<after>[^\n]*)|(?:[:=]|[-–—=]+>?)[ \t]*(?P<words>[^\n]+))?[ \t]*(?:\n|\Z)"
)
_NULL_SAID = re.compile(r"(?:\A|,? ?\b)(?:or )?null (?:if|when|where|for)\b[^,;]*\Z|,? or null\Z", re.IGNORECASE)
_SAMPLE = re.compile(r"\b(?:e\.g\.?|for example|for instance|such as)", re.IGNORECASE)
_OPTIONAL = re.compile(r",? ?\b(?:optional|if (?:present|given|known|any|there))\b,? ?", re.IGNORECASE)
_SIGN_OF_A_NAME = re.compile(r"_|[a-z][A-Z]")


@dataclass(frozen=True, slots=True)
class StatedJson:
    """JSON that a text states.

    Attributes:
        schema: JSON Schema of it.
        is_plain: Whether the text leaves no doubt; else an example has to confirm it.
    """

    schema: Schema
    is_plain: bool


@dataclass(frozen=True, slots=True)
class _Found:
    schema: Schema
    is_plain: bool
    begin: int
    end: int


def stated_json(description: str, output_format: str = "") -> StatedJson | None:
    """The JSON that a task states; None where it states none, or several, or leaves other answers open."""
    text, form = map(_readable, (description, output_format))
    found: list[_Found] = []
    rest = []
    is_in_words = False
    for source, is_form in ((text, False), (form, True)):
        here = list(_in_text(source, is_form, is_form and _ASK.search(text) is not None))
        found += here
        is_in_words |= any("{" not in source[each.begin : each.end] for each in here)
        rest.append(_without(source, here))
    if not found or any(each.schema != found[0].schema for each in found):
        return None
    if leaves_open(*rest) or re.search(r"[{}]", "".join(rest)):  # braces: another form, or an empty object
        return None
    schema = found[0].schema
    is_plain = all(each.is_plain for each in found) and not _is_of_several(schema, rest, is_in_words)
    has_nulls = re.search(r"\bnull\b", "\n".join(rest), re.IGNORECASE) is not None
    return StatedJson(_with_nulls(schema) if has_nulls else schema, is_plain)


def leaves_open(*texts: str) -> bool:
    """Whether texts leave another answer open than that which they state, or which examples show."""
    return _OPEN.search(_NULLS.sub(" ", "\n".join(map(_readable, texts)))) is not None


def _with_nulls(schema: Schema) -> Schema:
    """The schema, with null for the value of any field."""
    if schema.get("type") == "array" and "items" in schema:
        return {**schema, "items": _with_nulls(schema["items"])}
    if "properties" not in schema:
        return schema
    parts = {name: _or_null(_with_nulls(part)) for name, part in schema["properties"].items()}
    return {**schema, "properties": parts}


def _or_null(schema: Schema) -> Schema:
    is_there = not schema or "anyOf" in schema or "null" in schema.get("type", ())
    return schema if is_there else {"anyOf": [schema, {"type": "null"}]}


def _is_of_several(schema: Schema, rest: Sequence[str], is_in_words: bool) -> bool:
    """Whether answers may be lists of what is stated: `Extract all products. Return JSON with the keys ...`."""
    parts = schema.get("properties", {}).values()
    is_said = any(map(_SEVERAL.search, rest)) or (is_in_words and any(map(_SEVERAL_THINGS.search, rest)))
    return is_said and not any(part.get("type") == "array" for part in (schema, *parts))


def _readable(text: str) -> str:
    text = re.sub(r"```\w*", "\n", text[:LONGEST_READ])
    # Indents of bullets stay: deeper ones are of other fields.
    return re.sub(r"(?<=\S)[ \t\r]+|(?<=\n)[ \t\r]+(?![-*•·\d \t\r])", " ", text).strip()


def _without(text: str, found: list[_Found]) -> str:
    for each in sorted(found, key=lambda one: -one.begin):
        text = f"{text[: each.begin]}\n{text[each.end :]}"
    return text


def _in_text(text: str, is_form: bool, is_asked: bool) -> Iterator[_Found]:
    """What is stated in one text; of overlapping ones the first."""
    end = 0
    for each in sorted(_candidates(text, is_form, is_asked), key=lambda one: (one.begin, -one.end)):
        if each.begin >= end:
            yield each
            end = each.end


def _candidates(text: str, is_form: bool, is_asked: bool) -> Iterator[_Found]:
    places = [(match.start(), match.end(), _is_array(match)) for match in _ASK.finditer(text)]
    if is_form:
        if match := _FORM_ASK.match(text):
            places.append((match.start(), match.end(), _is_array(match)))
        if text.startswith(("{", "[")):
            yield from _template(text, 0, 0)
    for begin, end, is_array in places:
        yield from _listed(text, begin, end, is_array)
        yield from _template(text, begin, _behind(_BEFORE_TEMPLATE, text, end))
    for match in _BARE_TEMPLATE.finditer(text):
        yield from _template(text, match.start(), match.end())
    asked = 0 if is_asked else min((end for _, end, _ in places), default=len(text))
    for match in _FIELDS_APART.finditer(text, asked):  # before an ask they may be those of the input
        yield from _of_list(text, match.start(), match.end(), False, is_plural=True)


def _is_array(match: re.Match[str]) -> bool:
    return any(value for name, value in match.groupdict().items() if name.startswith("array"))


def _behind(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _template(text: str, begin: int, at: int) -> Iterator[_Found]:
    if text[at : at + 1] in ("{", "["):
        found = read_template(text, at)
        if found is not None and _END.match(text, found.end):
            yield _Found(found.schema, found.is_plain, begin, found.end)


def _listed(text: str, begin: int, at: int, is_array: bool) -> Iterator[_Found]:
    if match := _LIST_OF_FIELDS.match(text, at):
        is_plural = (match["noun"] or "").lower() not in ("key", "field", "property")
        yield from _of_list(text, begin, match.end(), is_array, is_plural)
    elif match := _BARE_LIST.match(text, at):
        for found in _of_list(text, begin, match.end(), is_array, is_plural=True):
            names = text[match.end() : found.end]
            is_colon = match[0].strip() == ":"
            if is_colon or re.match(r"[\"'`“]", names) or _SIGN_OF_A_NAME.search(names):
                yield found


def _of_list(text: str, begin: int, at: int, is_array: bool, is_plural: bool) -> Iterator[_Found]:
    found = _bullets(text, at) or _items(text, at)
    if found is None:
        return
    fields, optional, end, is_sure = found
    is_one = len(fields) == 1
    if len(fields) > MOST_FIELDS or (is_plural and is_one and not is_sure) or not (is_plural or is_one):
        return
    schema = object_of(fields, frozenset(optional))
    yield _Found({"type": "array", "items": schema} if is_array else schema, True, begin, end)


_Fields = tuple[dict[str, Schema], set[str], int, bool]


def _items(text: str, at: int) -> _Fields | None:
    """Names with commas between them, and what is said of each in brackets."""
    fields: dict[str, Schema] = {}
    optional: set[str] = set()
    is_quoted = True
    while match := _ITEM.match(text, at):
        name = match["quoted"] or match["single"] or match["ticked"] or match["bare"]
        is_quoted &= match["bare"] is None
        said = match["said"] or match["kind"] or match["apposition"] or ""
        if (
            name in fields
            or name.lower() in ("or", "and", "null")
            or not re.fullmatch(rf"{NAME}(?: [\w-]+){{0,3}}", name)
        ):
            return None
        of_words = _of_words(said)
        if of_words is None:
            return None
        fields[name] = of_words[0]
        optional |= {name} if of_words[1] else set()
        at = match.end()
        if _END.match(text, at):
            return fields, optional, at, is_quoted
        separator = _SEPARATOR.match(text, at)
        if separator is None:
            return None
        at = separator.end()
    return None


def _bullets(text: str, at: int) -> _Fields | None:
    fields: dict[str, Schema] = {}
    optional: set[str] = set()
    indents = set()
    at = _behind(re.compile(r"\s*\n+"), text, at)
    while match := _BULLET.match(text, at):
        said = match["said"] or match["words"] or ""
        of_words = _of_words(said)
        indents.add(match["indent"])
        if match["name"] in fields or len(indents) > 1 or of_words is None or _is_open(match["after"] or ""):
            return None
        if re.search(r"\b(?:objects?|nested)\b", said, re.IGNORECASE):  # bullets of its own may follow
            return None
        fields[match["name"]] = of_words[0]
        optional |= {match["name"]} if of_words[1] else set()
        at = match.end()
    is_end = not text[at:].strip() or text[at - 1 : at] == "\n"
    is_more = re.match(r"[ \t]*(?:[-*•·]|\d{1,2}[.)])\s", text[at:]) is not None
    return (fields, optional, at, True) if fields and is_end and not is_more else None


def _of_words(said: str) -> tuple[Schema, bool] | None:
    """What is said of a field: its values, and whether it may be left out; None where other values are left open."""
    is_optional = _OPTIONAL.search(said) is not None
    kind = _OPTIONAL.sub("", said).strip()
    values = _NULL_SAID.sub("", kind)
    schema = schema_of_words(values) if values else {}
    if not schema and _is_open(values):
        return None
    return _or_null(schema) if values != kind else schema, is_optional


def _is_open(said: str) -> bool:
    rest = _SAMPLE.sub(" ", _NULLS.sub(" ", said))
    return _OPEN.search(rest) is not None or re.search(r"\bor\b", rest, re.IGNORECASE) is not None
