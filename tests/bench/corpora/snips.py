"""One record for each request to a voice assistant; nobody knows who asked, so each is a group by itself."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/snips.jsonl"):
        yield Record(
            id=row["source"],
            group=row["source"],
            prompt=row["utterance"],
            target={"intent": row["intent"], "slots": row["slots"]},
            source=row["source"],
        )
