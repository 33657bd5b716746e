"""One record for each support ticket; docs/your-data.md says how to write this file for other data."""

from hallmark.records import Record, json_lines


def records(params):
    for row in json_lines("data/raw/tickets.jsonl"):
        yield Record(
            id=row["id"],
            group=row["customer"],
            prompt=f"{row['subject']}\n{row['body']}".strip(),
            target=row["target"],
            tags=row["tags"],
            private={
                "PERSON": [row["contact_name"]],
                "EMAIL_ADDRESS": [row["contact_email"]],
                "PHONE_NUMBER": [row["contact_phone"]],
            },
            source=row["source"],
        )
