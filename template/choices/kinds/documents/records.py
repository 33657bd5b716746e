"""One record for each question, below the passages found for it; docs/your-data.md says how to write this file for other data."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/questions.jsonl"):
        yield Record(
            id=row["id"],
            group=row["organisation"],
            prompt=row["question"],
            target=row["answer"],
            context=row["passages"],
            tags=row["tags"],
            source=row["source"],
        )
