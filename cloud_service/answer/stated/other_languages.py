"""Rule: the words with which texts in other languages announce answers, put into English; all else stays as it is.

So the rules for English texts read `Antworte mit ja oder nein` as `Answer with ja or nein`, and find its labels. A text
has a language when one of the words that announce is in it. German, French, Spanish, Italian, Portuguese and Dutch are
known.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_WORDS = 3
"""Words of one label in a text of another language."""


@dataclass(frozen=True, slots=True)
class _Language:
    """The words of one language, as regular expressions, with what stands for them in English.

    Attributes:
        announcing: Words that ask for an answer; one of them tells the language.
        joining: Words between labels and in front of conditions.
        begins_no_label: Articles and prepositions.
    """

    announcing: Sequence[tuple[re.Pattern[str], str]]
    joining: Sequence[tuple[re.Pattern[str], str]]
    begins_no_label: re.Pattern[str]


def _language(announcing: dict[str, str], joining: dict[str, str], no_label: str) -> _Language:
    def compiled(words: dict[str, str]) -> Sequence[tuple[re.Pattern[str], str]]:
        return [(re.compile(rf"(?<!\w)(?:{word})(?!\w)", re.IGNORECASE), english) for word, english in words.items()]

    return _Language(compiled(announcing), compiled(joining), re.compile(rf"(?:{no_label})\b(?=.)", re.IGNORECASE))


_GERMAN = _language(
    {
        r"antworte(?:n sie)?(?: bitte)?(?: nur| ausschließlich| immer| einfach| lediglich| stets)? mit"
        r"(?: nur| genau)?(?: einem der wörter| dem wort| einem wort)?:?": "answer with",
        r"gib (?:nur |bitte |genau |immer )*([^.;:\n]{1,120}?) (?:aus|zurück|an)": r"answer with \1",
        r"(?:die )?antwort (?:ist|lautet|muss lauten)(?: entweder| immer)?": "the answer is either",
        r"(?:klassifiziere|kategorisiere|klassifizier)": "classify",
        r"ordne ([^.;:\n]{1,160}?) zu": r"assign \1",
        r"stufe ([^.;:\n]{1,160}?) ein": r"rate \1",
        r"sortiere": "sort",
        r"bestimme": "determine",
        r"(?:entscheide|prüfe|sag mir|sage),? ob": "decide whether",
        r"wähle(?: genau)?(?: eine?[nrs]?)?(?: der folgenden| aus| von| unter)?"
        r"(?: (?:kategorien|labels|optionen))?": "choose one of",
        r"(?:mögliche |erlaubte |folgende |die )?(?:kategorien|klassen|optionen|antworten|möglichkeiten|etiketten)"
        r"(?: sind| lauten)?:": "labels:",
        r"es gibt(?: nur)?:": "labels:",
        r"einer? der(?: folgenden)? (?:kategorien|klassen|gruppen|optionen|labels)": "to one of the following labels",
        r"(?:ist|sind) (?=(?:der|die|das|dieser?|dieses|es|er|sie)\b)": "is ",
    },
    {
        "oder": "or", "und": "and", "als": "as", "sonst|andernfalls|ansonsten": "otherwise",
        r"wenn|falls": "if",
        "für": "for", "bedeutet|steht für|heißt": "means", "übersetze": "translate", "fasse": "summarize",
        "extrahiere": "extract", "schreibe? (?:eine?n?|die|den|das)": "write a",
        "mehrere|alle zutreffenden": "multiple",
        "satz|sätze|sätzen": "sentence", "nur": "only",
    },
    "der|die|das|dem|den|ein|eine|einen|einem|einer|auf|mit|in|im|zu|zur|zum|von|für|bei|aus|an|dein|ihre?",
)  # fmt: skip
_FRENCH = _language(
    {
        r"répond(?:s|ez|re)(?: uniquement| seulement| juste| simplement| toujours| exclusivement)?(?: par| avec)?"
        r"(?: un seul mot :| l'un des mots)?": "answer with",
        r"(?:class(?:e|ez|ifie|ifiez)|catégorise[z]?)": "classify",
        r"(?:indiqu|dis|dit|détermin|décid)(?:e|es|ez)?(?: si| quel| quelle)": "decide whether",
        r"choisi(?:s|ssez)(?: une?)?(?: parmi| entre| dans)?": "choose from",
        r"(?:les |étiquettes |catégories )?(?:catégories|étiquettes|réponses)(?: possibles)?"
        r"(?: sont)? ?:": "labels:",
        r"(?:l'une?|une?) des (?:catégories|étiquettes|options|classes)(?: suivantes)?": "one of the following labels",
    },
    {
        "ou": "or", "et": "and", "comme": "as", "sinon|autrement": "otherwise", "si": "if", "pour": "for",
        "signifie": "means", "tradui(?:s|sez|re)": "translate", "résume[zr]?": "summarize",
        "extrai(?:s|re|yez)": "extract",
        "écri(?:s|vez) (?:une?|le|la)": "write a", "plusieurs": "multiple", "phrases?": "sentence",
    },
    "le|la|les|l|un|une|des|du|de|au|aux|avec|par|en|dans|pour|sur|à|ton|ta|votre|son|sa",
)  # fmt: skip
_SPANISH = _language(
    {
        r"(?:respond[ea]|contest[ea])(?: solo| sólo| únicamente| solamente| siempre)?(?: con)?"
        r"(?: una palabra:)?": "answer with",
        r"(?:devuelve|devuelva)(?: solo| sólo)?": "return",
        r"(?:clasifi(?:ca|que)|categoriza)": "classify",
        r"(?:indica|di|decide|determina) si": "decide whether",
        r"(?:elige|elija|escoge|selecciona)(?: una?)?(?: de| entre)?": "choose from",
        r"(?:las )?(?:etiquetas|categorías|opciones|clases|respuestas)(?: posibles)?(?: son)?:": "labels:",
        r"una de (?:las |estas )?(?:siguientes )?(?:categorías|etiquetas|opciones)"
        r"(?: siguientes)?": "one of the following labels",
    },
    {
        "o|u": "or", "y|e": "and", "como": "as", "de lo contrario|en caso contrario|si no": "otherwise", "si": "if",
        "para": "for", "significa": "means", "traduce|traduzca": "translate", "resume|resuma": "summarize",
        "extrae|extraiga": "extract", "escrib[ea] (?:una?|el|la)": "write a", "varias": "multiple",
        "frases?": "sentence",
    },
    "el|la|los|las|un|una|de|del|al|con|por|en|para|sobre|su|tu",
)  # fmt: skip
_ITALIAN = _language(
    {
        r"rispond(?:i|a|ere)(?: solo| soltanto| unicamente| sempre)?(?: con)?(?: una parola:)?": "answer with",
        r"(?:classifica|classifichi|categorizza)": "classify",
        r"(?:indica|dimmi|decidi|stabilisci) se": "decide whether",
        r"(?:scegli|scelga|seleziona)(?: una?)?(?: delle etichette| delle categorie| tra| fra)?:?": "choose from",
        r"(?:le )?(?:etichette|categorie|opzioni|classi|risposte)(?: possibili)?(?: sono)?:": "labels:",
        r"una delle (?:seguenti )?(?:categorie|etichette|opzioni)(?: seguenti)?": "one of the following labels",
    },
    {
        "o|oppure": "or", "e|ed": "and", "come": "as", "altrimenti": "otherwise", "se": "if", "per": "for",
        "significa": "means", "traduci": "translate", "riassumi": "summarize", "estrai": "extract",
        "scrivi (?:una?|il|la)": "write a", "più": "multiple", "frasi|frase": "sentence",
    },
    "il|lo|la|i|gli|le|un|una|uno|di|del|della|al|con|per|in|su|suo|tuo",
)  # fmt: skip
_PORTUGUESE = _language(
    {
        r"respond[ae](?: apenas| só| somente| sempre)?(?: com)?(?: uma palavra:)?": "answer with",
        r"(?:classifique|classifica|categorize)": "classify",
        r"(?:indique|diga|decida|determine) se": "decide whether",
        r"(?:escolha|escolhe|selecione)(?: uma?)?(?: das opções| das categorias| entre| de)?:?": "choose from",
        r"(?:as )?(?:etiquetas|categorias|opções|rótulos|respostas)(?: possíveis)?(?: são)?:": "labels:",
        r"uma das (?:seguintes )?(?:categorias|etiquetas|opções)(?: seguintes)?": "one of the following labels",
    },
    {
        "ou": "or", "e": "and", "como": "as", "caso contrário|senão": "otherwise", "se": "if", "para": "for",
        "significa": "means", "traduza": "translate", "resuma": "summarize", "extraia": "extract",
        "escreva (?:uma?|o|a)": "write a", "várias": "multiple", "frases?": "sentence",
    },
    "o|a|os|as|um|uma|de|do|da|ao|com|por|em|no|na|para|sobre|seu|sua",
)  # fmt: skip
_DUTCH = _language(
    {
        r"antwoord(?: alleen| enkel| uitsluitend| altijd)? met(?: alleen| één woord:)?": "answer with",
        r"(?:classificeer|categoriseer)": "classify",
        r"bepaal": "determine",
        r"(?:bepaal|zeg|beslis) of": "decide whether",
        r"kies(?: een| één)?(?: uit| tussen| van)?:?": "choose from",
        r"(?:de )?(?:mogelijke )?(?:categorieën|opties|antwoorden|klassen)(?: zijn)?:": "labels:",
        r"(?:een|één) van de (?:volgende )?(?:categorieën|labels|opties)": "one of the following labels",
    },
    {
        "of": "or", "en": "and", "als": "as", "anders": "otherwise", "indien": "if", "voor": "for", "betekent": "means",
        "vertaal": "translate", "vat": "summarize", "schrijf (?:een|de|het)": "write a", "meerdere": "multiple",
        "zin|zinnen": "sentence",
    },
    "de|het|een|van|met|in|op|aan|voor|bij|uit|naar|je|uw",
)  # fmt: skip
_LANGUAGES = (_GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH)


@dataclass(frozen=True, slots=True)
class EnglishText:
    """A text whose announcing words are English.

    Attributes:
        text: The text, changed.
        original: As it was.
        begins_no_label: Of its language.
    """

    text: str
    original: str
    begins_no_label: re.Pattern[str]

    def has_labels(self, members: Sequence[str]) -> bool:
        """Whether a set that was found in the changed text is one of the text as it was."""
        return all(
            member in self.original
            and len(member.split()) <= MOST_WORDS
            and not self.begins_no_label.match(f"{member} x" if " " not in member else member)
            for member in members
        )


def in_english(text: str) -> EnglishText | None:
    """The text with the words that announce answers put into English; None where it has none of another language."""
    scored = [(_score(text, language), number) for number, language in enumerate(_LANGUAGES)]
    score, number = max(scored, key=lambda pair: (pair[0], -pair[1]))
    if not score:
        return None
    language, changed = _LANGUAGES[number], text
    for word, english in (*language.announcing, *language.joining):
        changed = word.sub(english, changed)
    changed = re.sub(r",(?= if\b)", "", changed)  # which stands there in German and Dutch
    return EnglishText(changed, text, language.begins_no_label)


def _score(text: str, language: _Language) -> int:
    """How many of the language's words are in a text; 0 where none announces an answer."""
    announcing = sum(word.search(text) is not None for word, _ in language.announcing)
    return announcing and announcing + sum(word.search(text) is not None for word, _ in language.joining)
