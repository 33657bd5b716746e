"""One record for each till receipt."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/receipts.jsonl"):
        yield Record(
            id=row["id"],
            group=row["company"],
            prompt=row["text"],
            target=row["target"],
            source=row["source"],
        )
