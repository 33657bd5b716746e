"""Traces back into data: reading logs, masking them again, raw rows of what people judged, a queue of what nobody did."""
