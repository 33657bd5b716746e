"""One record for each line to the help desk; docs/your-data.md says how to write this file for other data."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/lines.jsonl"):
        yield Record(
            id=row["id"],
            group=row["office"],
            prompt=row["text"],
            target=row["queue"],
            tags=row["tags"],
            private={"PERSON": [row["sender"]], "EMAIL_ADDRESS": [row["mail"]]},
            source=row["source"],
        )
