"""Which JSON texts state: no open task may get a schema that its answers are not of."""

import time

import pytest

from cloud_service.answer.contract import find_answer, is_answer
from cloud_service.answer.stated_json import LONGEST_READ, stated_json
from cloud_service.task import TaskDescription

STATED = [
    (
        "Return a JSON object with the fields name, date (YYYY-MM-DD) and amount (number).",
        "",
        ['{"name": "Anna", "date": "2024-03-01", "amount": 12.5}'],
    ),
    (
        (
            "Extract the sender and the subject of the mail. Answer with a JSON object with the keys "
            '"sender" and "subject".'
        ),
        "",
        ['{"sender": "Bob", "subject": "Hi"}'],
    ),
    (
        'You get an invoice. Output JSON: {"vendor": string, "total": number, "currency": string}',
        "",
        ['{"vendor": "ACME", "total": 3.2, "currency": "EUR"}'],
    ),
    (
        "Extract product and price from the review.",
        "JSON with keys product (string) and price (number)",
        ['{"product": "mug", "price": 4}'],
    ),
    (
        (
            "Read the job ad and return JSON with these fields:\n- title: the job title\n- company: who "
            "hires\n- remote: true or false"
        ),
        "",
        ['{"title": "Nurse", "company": "X", "remote": true}'],
    ),
    (
        "Turn the sentence into a calendar entry.",
        '{"title": "...", "date": "YYYY-MM-DD", "time": "HH:MM"}',
        ['{"title": "Dentist", "date": "2024-05-06", "time": "09:30"}'],
    ),
    (
        "Extract the person's name and age.",
        "A JSON object with two fields: name (string) and age (integer).",
        ['{"name": "Tom", "age": 4}'],
    ),
    (
        (
            'Analyze the tweet. Return JSON in this format:\n{\n  "language": "<language>",\n  '
            '"hashtags": ["<tag>", ...],\n  "is_reply": true\n}'
        ),
        "",
        [
            '{"language": "en", "hashtags": [], "is_reply": false}',
            '{"language": "en", "hashtags": ["a", "b", "c"], "is_reply": true}',
        ],
    ),
    (
        "Summarize the bug report as JSON with the fields component, version and severity (1 to 5).",
        "",
        ['{"component": "ui", "version": "1.2", "severity": 3}'],
    ),
    (
        'Find the country and its capital. Return {"country": ..., "capital": ...}.',
        "",
        ['{"country": "France", "capital": "Paris"}'],
    ),
    (
        (
            "Extract order_id, quantity and item from the message. Format the answer as a JSON object "
            "with exactly these keys: order_id, quantity, item."
        ),
        "",
        ['{"order_id": "A7", "quantity": 2, "item": "pen"}'],
    ),
    (
        'Answer in JSON with the following keys: "question", "answer", "confidence".',
        "",
        [
            '{"question": "Why?", "answer": "So.", "confidence": 0.4}',
            '{"question": "Why?", "answer": "So.", "confidence": "high"}',
        ],
    ),
    (
        (
            "Given a recipe, give back its ingredients. Output must be a JSON object of the form "
            '{"ingredients": [string], "minutes": int}.'
        ),
        "",
        ['{"ingredients": ["salt"], "minutes": 4}'],
    ),
    (
        (
            "Convert the measurement to metric units. The output is a JSON object with the keys value (a "
            "number) and unit (a string)."
        ),
        "",
        ['{"value": 2.54, "unit": "cm"}'],
    ),
    (
        "Your answer is JSON with two keys, `city` and `temperature`.",
        "",
        ['{"city": "Rome", "temperature": 31}', '{"city": "Rome", "temperature": "31 C"}'],
    ),
    (
        (
            'Extract flight details.\n\nReturn a JSON object with:\n- "airline" (string)\n- '
            '"flight_number" (string)\n- "departure" (string, ISO date)\n- "stops" (integer)'
        ),
        "",
        ['{"airline": "LH", "flight_number": "LH1", "departure": "2024-01-01", "stops": 0}'],
    ),
    ("Extract the contact.", "JSON: name, phone, email", ['{"name": "A", "phone": "1", "email": "a@b.c"}']),
    (
        "Find all people in the text. Return a JSON array of objects with the fields name and role.",
        "",
        ['[{"name": "A", "role": "b"}]', "[]", '[{"name": "A", "role": "b"}, {"name": "C", "role": "d"}]'],
    ),
    (
        "Extract the event as a JSON object having the properties what, where and when.",
        "",
        ['{"what": "fair", "where": "Ulm", "when": "today"}'],
    ),
    (
        "Return a JSON object with the fields name and birth_year (null if it is not mentioned).",
        "",
        ['{"name": "A", "birth_year": null}', '{"name": "A", "birth_year": 1900}'],
    ),
    (
        'Extract medication data. Use this JSON schema: {"drug": "string", "dose_mg": "number", "per_day": "integer"}',
        "",
        ['{"drug": "x", "dose_mg": 2.5, "per_day": 2}'],
    ),
    (
        "For each message produce a JSON object with the keys 'topic' and 'urgent' (boolean).",
        "",
        ['{"topic": "x", "urgent": true}'],
    ),
    (
        "Pull the amount and the currency out of the sentence.",
        '{"amount": <number>, "currency": "<ISO code>"}',
        ['{"amount": 3, "currency": "EUR"}'],
    ),
    (
        (
            "Tell me about the book that the text describes. Reply with JSON only, no other text. Fields: "
            "title, author, year."
        ),
        "",
        ['{"title": "X", "author": "Y", "year": 1999}', '{"title": "X", "author": "Y", "year": "1999"}'],
    ),
    (
        'Extract from the receipt, as JSON: {"store": str, "items": [{"name": str, "price": float}], "total": float}',
        "",
        [
            '{"store": "S", "items": [{"name": "a", "price": 1.5}, {"name": "b", "price": 2}], "total": 3.5}',
            '{"store": "S", "items": [], "total": 0}',
        ],
    ),
    ('Write the result as a JSON object with a single key "summary".', "", ['{"summary": "x"}']),
    (
        "Extract the keywords. Output a JSON object with the key keywords, a list of strings.",
        "",
        ['{"keywords": ["a"]}', '{"keywords": []}'],
    ),
    (
        "Log line to JSON. The JSON has the fields timestamp, level, message.",
        "",
        ['{"timestamp": "x", "level": "INFO", "message": "m"}'],
    ),
    (
        (
            'Extract the meeting from the chat and respond in JSON format with the fields "date", '
            '"start_time", "end_time" and "attendees" (array of strings).'
        ),
        "",
        ['{"date": "d", "start_time": "1", "end_time": "2", "attendees": ["x"]}'],
    ),
    (
        "What does the customer want to buy?",
        "JSON object with fields `item`, `color`, `size`",
        ['{"item": "shirt", "color": "red", "size": "M"}', '{"item": "shirt", "color": null, "size": 38}'],
    ),
    (
        'Translate the word to French and Spanish. Return a JSON object with keys "fr" and "es".',
        "",
        ['{"fr": "chat", "es": "gato"}'],
    ),
    ('Extract the coordinates and return them as JSON: {"lat": 0.0, "lon": 0.0}', "", ['{"lat": 1.5, "lon": -3}']),
    (
        "Output a JSON object that has exactly three fields, named brand, model and price_eur.",
        "",
        ['{"brand": "a", "model": "b", "price_eur": 3}'],
    ),
    (
        (
            "Extract the patient's name, age (integer) and symptoms (list of strings). Return them as a "
            "JSON object with the keys name, age and symptoms."
        ),
        "",
        ['{"name": "A", "age": 3, "symptoms": ["x"]}'],
    ),
    (
        'Return valid JSON with this structure: {"person": {"name": string, "age": integer}, "city": string}',
        "",
        ['{"person": {"name": "A", "age": 3}, "city": "X"}'],
    ),
    (
        "You extract rental offers.",
        'Respond with a JSON object:\n{\n  "rooms": number,\n  "rent": number,\n  "district": string\n}',
        ['{"rooms": 2.5, "rent": 900, "district": "x"}'],
    ),
    (
        "Convert the text to a JSON object with fields subject, verb and object.",
        "",
        ['{"subject": "a", "verb": "b", "object": "c"}'],
    ),
    (
        "Grade the essay. Reply as JSON with the fields score (integer from 1 to 10) and feedback (text).",
        "",
        ['{"score": 7, "feedback": "ok"}'],
    ),
    (
        (
            "Extract the invoice data and return it as a JSON object with the following fields:\n1. "
            "invoice_number (string)\n2. issue_date (YYYY-MM-DD)\n3. total (number)\n"
        ),
        "",
        [
            '{"invoice_number": "1", "issue_date": "2024-01-31", "total": 3}',
            '{"invoice_number": null, "issue_date": null, "total": null}',
        ],
    ),
    (
        'You are given a tweet. Answer with JSON: {"sentiment": "positive" | "negative" | "neutral"}',
        "",
        ['{"sentiment": "positive"}'],
    ),
    (
        'You are given a tweet. Answer with JSON: {"sentiment": "positive|negative|neutral", "topic": "<topic>"}',
        "",
        ['{"sentiment": "positive", "topic": "x"}'],
    ),
    (
        "Identify the product and whether it is in stock.",
        "Return a JSON object with the keys `product` (string) and `in_stock` (boolean).",
        ['{"product": "x", "in_stock": true}'],
    ),
    (
        'Please parse the sentence into a JSON object with "subject", "predicate" and "object".',
        "",
        ['{"subject": "x", "predicate": "y", "object": null}'],
    ),
    (
        'Your task is to extract symptoms. Respond in JSON with the key "symptoms" (list of strings).',
        "",
        ['{"symptoms": ["a"]}'],
    ),
    (
        (
            'Respond with a JSON object in the following format:\n```json\n{\n  "name": "string",\n  '
            '"age": "integer",\n  "email": "string or null"\n}\n```'
        ),
        "",
        ['{"name": "a", "age": 3, "email": null}'],
    ),
    (
        'Extract the dates. Output format: {"start": "YYYY-MM-DD", "end": "YYYY-MM-DD"}',
        "",
        ['{"start": "2024-01-31", "end": "2024-02-01"}'],
    ),
    ("Return the address as JSON. Keys: street, number, city.", "", ['{"street": "a", "number": "3a", "city": "b"}']),
    (
        "Give me the recipe's name, its servings and its time as JSON with the keys name, servings and time.",
        "",
        ['{"name": "a", "servings": 4, "time": "1 h"}'],
    ),
    (
        'Extract title and author; output JSON with fields "title" and "author". Use null for missing values.',
        "",
        ['{"title": "a", "author": null}'],
    ),
    (
        (
            "Each input is a weather report. Output: a JSON object with the fields temperature_c "
            "(number), wind (string), rain (true/false)."
        ),
        "",
        ['{"temperature_c": 3, "wind": "x", "rain": true}'],
    ),
    (
        'Convert every booking mail into JSON of the form {"guest": ..., "nights": ..., "room": ...}',
        "",
        ['{"guest": "x", "nights": 3, "room": "suite"}'],
    ),
    ("Extract all products.", "JSON array of objects with keys name and price", ['[{"name": "x", "price": 3}]']),
    ('Return JSON only: {"intent": string, "entities": [string]}', "", ['{"intent": "x", "entities": ["a"]}']),
    ("Determine who won. Reply with a JSON object with the single field winner.", "", ['{"winner": "x"}']),
    (
        (
            "Extract the phone number from the text and return a JSON object with the key phone_number. "
            "If no phone number is mentioned, use null."
        ),
        "",
        ['{"phone_number": "x"}', '{"phone_number": null}'],
    ),
    (
        'Structure the log entry as JSON with "time", "host" and "event".',
        "",
        ['{"time": "x", "host": "y", "event": "z"}'],
    ),
    (
        "Return a JSON object with the keys name and in_stock (boolean, null if unknown).",
        "",
        ['{"name": "a", "in_stock": null}', '{"name": "a", "in_stock": true}'],
    ),
    (
        "Return a JSON object with the keys a (boolean) and b (list of strings). Use null for missing values.",
        "",
        ['{"a": null, "b": null}', '{"a": true, "b": []}'],
    ),
    (
        'Return JSON: {"mood": "good" | "bad", "topic": string}. Use null for missing values.',
        "",
        ['{"mood": null, "topic": null}'],
    ),
    ("Return a JSON object with the keys drug and dose (number with unit).", "", ['{"drug": "x", "dose": "3 mg"}']),
    (
        "Return a JSON object with the keys payee and amount (number in words).",
        "",
        ['{"payee": "x", "amount": "three"}'],
    ),
    ('Return JSON: {"street": string, "floor": <integer, or \'ground\'>}', "", ['{"street": "x", "floor": "ground"}']),
]
"""Description, output format, and right answers."""

DOUBTFUL = [
    ("Convert the text to JSON.", ""),
    ("Is this valid JSON? Answer yes or no.", ""),
    ("Explain in one sentence what this JSON object with the fields name, date and amount says.", ""),
    ("The input is a JSON object with the fields name, date and amount. Write a friendly reminder to pay.", ""),
    ('You get JSON like {"name": "Ann", "age": 3}. Answer with the name only.', ""),
    ("Return the value of the field price from the JSON.", ""),
    ("Fix the syntax of this JSON.", ""),
    ("Write a JSON Schema for the described data.", ""),
    ("Return a JSON object that maps each ingredient to its amount.", ""),
    ('Count the words. Output a JSON object such as {"word": count} for every word of the text.', ""),
    ("Extract all facts from the text as JSON.", ""),
    ("Return JSON with suitable field names.", ""),
    ("Return a JSON object with fields such as name and date, depending on what the text has.", ""),
    ("Do not return JSON with the fields name and date; write a sentence.", ""),
    ("Convert the JSON to YAML.", ""),
    ("Convert this JSON with the keys name and age to CSV.", ""),
    ('If the mail has a date, return {"date": "..."}, otherwise return {"error": "no date"}.', ""),
    ("Return a JSON object with the keys name and age. If there is no person, return {}.", ""),
    ("Return a JSON object with the keys name and age, followed by a one-sentence explanation.", ""),
    ("First write a short summary, then a JSON object with the keys name and age.", ""),
    ("Return a JSON object with the fields name and age in a markdown code block.", ""),
    ("Return only those of the fields name, age and city that the text mentions, as JSON.", ""),
    ("Translate the values of the JSON to German and keep the keys.", ""),
    ("Which fields does this JSON have?", ""),
    ("Write a Python function that returns a JSON object with the fields name and age.", ""),
    ("Extract name and date. Return one JSON object with the fields name and date per line for each person.", ""),
    ("Answer questions about our API. It takes a JSON object with the fields name and date.", ""),
    ("Generate a JSON object with the key of the user's choice.", ""),
    ("Return the result as JSON or as plain text, whichever the user asks for.", ""),
    ("Return a JSON array of the city names.", ""),
    ("Add a field total to the JSON object.", ""),
    ("Remove the fields name and date from the JSON object and return it.", ""),
    ("Write the SQL query for a table with a JSON column with the keys a and b.", ""),
    ("Return a JSON object with at least the fields name and age; add others where they help.", ""),
    ("Return a JSON object including name, age and anything else of interest.", ""),
    ("Extract the entities.", "JSON"),
    ("Extract the entities.", "valid JSON, no markdown"),
    ("Return null if nothing is found, else a JSON object with the fields name and age.", ""),
    ("Is there a person in this JSON object with the fields name and role? Answer yes or no.", ""),
    ('Turn the JSON {"a": 1, "b": 2} into a list of key=value pairs.', ""),
    ("Translate the JSON file's values. Return JSON with the same keys.", ""),
    ("Return JSON with the fields that you find in the form.", ""),
    ("You get a JSON object with the fields question and answer. Return JSON with the field answer corrected.", ""),
    ('Count the colours. Return JSON like {"red": 2, "blue": 1}.', ""),
    ('Count each fruit and return {"apple": 3, "pear": 2}.', ""),
    ("Return a JSON object with the fields name and age. Leave out fields that are not mentioned.", ""),
    ("Return a JSON object with the fields name and age; omit what is missing.", ""),
    ("Return JSON with the fields name and age, or the word NONE.", ""),
    ('Extract the person. Return {"name": "..."} or an empty string.', ""),
    ("Respond with a JSON object with the keys name and age and nothing else in English or German.", ""),
    ("Respond with a list of JSON objects with the fields name and age.", ""),
    (
        (
            "Write a JSON object with the fields name and age for a character of your own.\nThen tell a "
            "short story about it."
        ),
        "",
    ),
    ("Turn the table into JSON. Use the column names as fields.", ""),
    ("Return the JSON object with the fields sorted by name.", ""),
    ("Produce a JSON object with the fields of the form.", ""),
    ("Merge both objects and return JSON with all fields.", ""),
    ("Return JSON with fields renamed, values kept.", ""),
    ("Write JSON test data with the fields name, age. Give three records.", ""),
    ("Answer as JSON: the key is the question, the value is the answer.", ""),
    ("Describe how one can return a JSON object with the fields name and age in Flask.", ""),
    ('Convert YAML to JSON. Example: {"a": 1} for a: 1.', ""),
    ("Extract the entities as JSON with types as keys and lists as values.", ""),
    ("Return JSON, keys: entity types, values: lists of entities.", ""),
    ("Return a JSON object with the fields error and code when the log has an error; ok when it has none.", ""),
    ("Summarize. Return JSON with a title, a summary and a list of tags.", ""),
    ("Fill a JSON object with the keys in the first line and the values in the second.", ""),
    ("Return JSON with keys in snake_case, e.g. first_name and last_name.", ""),
    ("Give the SQL row as JSON. Fields: those of the header.", ""),
    ("Return JSON with these fields, each at most once: those the user names.", ""),
    ("Create a JSON object with the fields requested.", ""),
    ("Extract all products. Return JSON with the keys name and price.", ""),
    ("Return a JSON object with the fields name and price. Missing values are empty strings.", ""),
    ('Return JSON: {"key1": "value1", "key2": "value2"}', ""),
    ('Return JSON: {"word": count}', ""),
    ('Return JSON: {"a": 1, ...}', ""),
    ('Return {"a": string} or {"b": string}.', ""),
    ("Return a JSON object with the fields a and b.", "JSON with the keys a and c"),
    ("Parse the address. Respond only with a JSON object containing street, city and zip.", ""),
    ('Split the full name. Return JSON like {"first": "Ada", "last": "Lovelace"}.', ""),
    ("Return a JSON object with the keys name and age. If there is no person, return null.", ""),
    ("Return a JSON object with the keys name and age. If no person is named, answer null.", ""),
    ("Return a JSON object with the keys name and age, or null if there is no person.", ""),
    ('Return a JSON object with the keys name and age (integer, or "unknown" if not stated).', ""),
    ("Return a JSON object with the keys street and floor (integer, or 'ground').", ""),
    ("Return a JSON object with the keys title and tags (string, or list of strings).", ""),
    (
        "Return a JSON object with:\n- total: number\n- discount (number) or omitted",
        "",
    ),
    ("Return a JSON object with these fields:\n- total: number\n- discount: omit this field when there is none", ""),
    ('Return JSON: {"total": number, "discount": <omit when there is none>}', ""),
    ("The JSON has the fields question and options. Return your answer as JSON.", ""),
    ("Return a JSON object with the fields name and age. Then tell a short story about it.", ""),
    ("Return a JSON object with the fields name and age. Then describe the person.", ""),
    ("Return a JSON object with the fields name and age. Begin with a greeting.", ""),
    ("Return a JSON object with the fields name and age. End with a question.", ""),
    ("Return a JSON object with the fields name and age. Add a comment underneath.", ""),
    ("List the ingredients. Return JSON with the keys name and amount.", ""),
    ("Extract the products from the receipt. Return JSON with the keys name and price.", ""),
    ("Return a JSON object with the fields name and age. Afterwards, tell a joke.", ""),
    ("Return a JSON object with these fields:\n  - customer\n    - name\n    - phone\n  - total", ""),
    ("Return a JSON object with these fields:\n- customer (object)\n  - name\n  - phone\n- total", ""),
]
"""Description and output format of tasks that mention JSON, or show some, and leave its fields open."""

HOSTILE = (
    *(
        "return ",
        "Return JSON with the keys ",
        "if ",
        "only just ",
        "true if ",
        "the the exactly ",
        "[{",
        "extract a as ",
    ),
    *("\n- a", "aaaa -> ", "when a use ", "keys: ", '{"a": ', "a, ", "\"'`“", " ", "// a\n", "\n    ", "\n  - a"),
)


@pytest.mark.parametrize(("description", "output_format", "answers"), STATED)
def test_stated_fields_are_a_contract_that_takes_right_answers(
    description: str, output_format: str, answers: list[str]
) -> None:
    found = find_answer(TaskDescription(description, output_format=output_format))
    assert found.kind != "text"
    assert [answer for answer in answers if not is_answer(answer, found)] == []
    assert not is_answer('{"other": 1}', found)


@pytest.mark.parametrize(("description", "output_format"), DOUBTFUL)
def test_json_whose_fields_are_open_stays_open(description: str, output_format: str) -> None:
    found = find_answer(TaskDescription(description, output_format=output_format))
    assert found.kind != "json"
    assert not any("{" in choice for choice in found.choices)


@pytest.mark.parametrize("part", HOSTILE)
def test_time_is_bounded_whatever_repeats(part: str) -> None:
    text = (part * LONGEST_READ)[: LONGEST_READ * 5]
    started = time.process_time()
    stated_json(text, "Return JSON. " + text)
    stated_json("Return JSON: " + text, text)
    assert time.process_time() - started < 3.0
