"""Raw rows and live requests to records, and relations between records: duplicates, groups, leaks."""
