"""The parts of the report page: text that is safe to show, charts, records, labels, the data stages, and its templates."""
