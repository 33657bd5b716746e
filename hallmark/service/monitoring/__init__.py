"""What live traffic says of a release: sequential tests of a canary, and predicted and found quality."""
