"""One record for each message about orders, with a worse reply where there is one; docs/your-data.md says how to write this file."""

from hallmark.records import Record, expect, json_lines


def records(params):
    expect("HTML", "replies are XML")
    for row in json_lines("data/raw/messages.jsonl"):
        yield Record(
            id=row["id"],
            group=row["customer"],
            prompt=row["message"],
            target=row["reply"],
            context=row["orders"],
            rejected=row["worse"],
            tags=row["tags"],
            private={"PERSON": [row["name"]]},
            source=row["source"],
        )
