"""Model servers, their settings, and load tests."""
