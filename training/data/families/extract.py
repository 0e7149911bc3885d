"""Family: extract one field of a message. The same messages carry several fields, so only the description tells which.

Source: slot values of Schema-Guided Dialogue (CC BY-SA 4.0), where the value stands in the message word for word.
"""

import random
from collections import defaultdict
from pathlib import Path

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import wording

SLOT_NAMES: dict[str, tuple[str, ...]] = {
    "date": ("date", "day", "calendar day", "date asked for", "day of the booking or event"),
    "city": ("city", "town", "name of the city", "city name", "municipality"),
    "time": ("time", "time of day", "hour", "clock time", "time asked for"),
    "count": ("number", "quantity", "how many", "count", "number of people, things or days", "figure"),
    "genre": ("genre", "style of music or film", "cuisine or genre", "style", "kind of music, film or food"),
    "place": (
        "name of the place",
        "venue",
        "restaurant or hotel name",
        "name of the venue",
        "name of the business",
        "establishment",
    ),
    "person": ("person", "name of the artist or person", "person's name", "name of the person", "full or given name"),
    "title": ("title", "name of the song, film or album", "title of the work", "name of the event or work"),
    "account": ("account type", "kind of account", "type of account", "bank account type", "account kind"),
    "category": ("category", "type of event or service", "type", "kind of event, ride or car", "class of service"),
    "money": ("amount", "amount of money", "sum", "sum of money", "price or amount", "money"),
    "location": ("location", "area", "address", "area or address", "whereabouts", "spot on the map"),
}
_FIELDS = {
    "date": "date event_date check_in_date visit_date departure_date appointment_date show_date check_out_date "
    "dropoff_date pickup_date leaving_date return_date start_date end_date date_of_journey",
    "city": "city city_of_event pickup_city origin_city destination_city from_city to_city",
    "time": "time appointment_time pickup_time event_time leaving_time departure_time new_alarm_time show_time",
    "count": "number_of_rooms number_of_seats number_of_tickets number_of_adults party_size number_of_beds passengers "
    "number_of_riders number_of_baths number_of_days travelers stay_length group_size num_passengers",
    "genre": "genre cuisine",
    "place": "theater_name restaurant_name hotel_name property_name place_name",
    "person": "artist directed_by starring director cast actors contact_name recipient_account_name recipient_name "
    "stylist_name doctor_name dentist_name",
    "title": "movie_name title album song_name event_name",
    "account": "account_type recipient_account_type",
    "category": "category subcategory event_type show_type ride_type car_type seating_class type",
    "money": "amount transfer_amount price_range",
    "location": "location destination where_to area event_location from_location to_location pickup_location",
}
KIND_OF = {field: kind for kind, fields in _FIELDS.items() for field in fields.split()}


class SlotExtraction:
    """Draws a kind of field and messages that hold it; messages with several fields come first."""

    name = "extract"

    def __init__(self, messages: dict[str, dict[Split, list[Instance]]]) -> None:
        self._messages = {kind: by for kind, by in messages.items() if all(len(by[s]) >= 12 for s in by)}
        self.kinds = sorted(self._messages)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one kind of field."""
        kind = rng.choice(self.kinds)
        instances = [rng.choice(self._messages[kind][split]) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        described = rng.random() < 0.95 or not examples
        task = TaskDescription(
            description=wording.choose(rng, wording.EXTRACT, slot=rng.choice(SLOT_NAMES[kind])) if described else "",
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=wording.maybe(rng, 0.5, wording.EXTRACT_FORMAT),
        )
        return Episode(f"extract/{kind}", task, tuple(instances[taken : taken + inputs]))


def load_messages(data: Path) -> dict[str, dict[Split, list[Instance]]]:
    """Messages by kind of field and split; a message with two values of one kind is left out as ambiguous."""
    messages: dict[str, dict[Split, list[Instance]]] = defaultdict(lambda: {"train": [], "validation": [], "test": []})
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        values: dict[str, set[str]] = defaultdict(set)
        for slot, value in (record["arguments"] or {}).items():
            if slot in KIND_OF and isinstance(value, str) and value in record["utterance"]:
                values[KIND_OF[slot]].add(value)
        for kind, found in values.items():
            if len(found) == 1 and len(record["utterance"]) <= 240:
                utterance = " ".join(record["utterance"].split())
                # Messages to the test services stay unseen as inputs, too: `tools-unseen` is measured on them.
                split: Split = "test" if record["split"] == "test" else split_of(utterance)
                messages[kind][split].append(Instance(utterance, found.pop()))
    # The test services say a few things word for word as others do; such a message counts as drawn for training.
    drawn = {i.input for by in messages.values() for i in by["train"] + by["validation"]}
    for by in messages.values():
        by["test"] = [instance for instance in by["test"] if instance.input not in drawn]
    return messages
