"""One record for each request, with the tools that may be called; docs/your-data.md says how to write this file for other data."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/requests.jsonl"):
        in_template = params["tools"] == "template"
        yield Record(
            id=row["id"],
            group=row["firm"],
            prompt=row["request"],
            target=row["calls"],
            context=None if in_template else row["offered"],
            tools=row["tools"] if in_template else None,
            tags=row["tags"],
            private={"PERSON": [row["asked_by"]]},
            source=row["source"],
        )
