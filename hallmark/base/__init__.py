"""What every room builds on: files, hashes, errors, records, reports, the machine, dvc.lock and provenance."""
