"""Sets that texts in other languages state."""

import pytest

from cloud_service.answer.stated.other_languages import in_english
from cloud_service.answer.stated.stated_choices import stated_sets

STATED = {
    "Enthält der Satz ein Verb? Antworte mit ja oder nein.": ("ja", "nein"),
    "Kategorien: Sport, Politik, Kultur. Gib nur die Kategorie zurück.": ("Sport", "Politik", "Kultur"),
    "Ordne die Nachricht einer der Kategorien Lob, Tadel oder Frage zu.": ("Lob", "Tadel", "Frage"),
    "Gib „Spam“ aus, wenn die Mail Werbung ist, sonst „Ham“.": ("Spam", "Ham"),
    "Es gibt: Bauamt, Jugendamt. Gib nur den Namen des Amtes aus.": ("Bauamt", "Jugendamt"),
    "Réponds uniquement par vrai ou faux.": ("vrai", "faux"),
    "Tu lis des avis. Réponds par « positif » ou « négatif ».": ("positif", "négatif"),
    "Classe le message comme urgent, normal ou faible.": ("urgent", "normal", "faible"),
    "¿Contiene carne? Contesta sí o no.": ("sí", "no"),
    "Responde sí si el cliente está contento, no en caso contrario.": ("sí", "no"),
    "Clasifica el mensaje como queja, pregunta o elogio.": ("queja", "pregunta", "elogio"),
    "Classifica la recensione come positiva, neutra o negativa.": ("positiva", "neutra", "negativa"),
    "Responda apenas com sim ou não.": ("sim", "não"),
    "Antwoord alleen met ja of nee.": ("ja", "nee"),
}

OPEN = (
    "Antworte freundlich auf Deutsch oder Englisch.",
    "Übersetze den Satz ins Englische oder Französische.",
    "Gib den Namen oder die Adresse des Absenders aus.",
    "Schreibe eine kurze Antwort: freundlich, klar und hilfreich.",
    "Fasse den Text in ein oder zwei Sätzen zusammen.",
    "Réponds au client avec une phrase polie ou amicale.",
    "Réponds à la question en français ou en anglais.",
    "Devuelve el nombre o el apellido del cliente.",
    "Rispondi alla domanda con una o due frasi.",
)


@pytest.mark.parametrize(("text", "members"), STATED.items())
def test_set_is_found_in_another_language(text: str, members: tuple[str, ...]) -> None:
    assert next(stated for stated in stated_sets(text) if stated.is_plain).members == members


@pytest.mark.parametrize("text", OPEN)
def test_open_task_of_another_language_has_none(text: str) -> None:
    assert not [stated for stated in stated_sets(text) if stated.is_plain]


@pytest.mark.parametrize("text", ["Labels: spam, ham", "Options: a, b. Pick one.", "Answer yes or no.", ""])
def test_english_stays_as_it_is(text: str) -> None:
    assert in_english(text) is None


def test_label_that_the_change_would_spoil_is_none() -> None:
    english = in_english("Kategorien: Haus und Hof, Sport.")
    assert english is not None
    sets = [("Haus and Hof", "Sport"), ("der Hof", "Sport"), ("Haus", "Sport")]
    assert [english.has_labels(members) for members in sets] == [False, False, True]
