"""Objects in a local directory or in S3: list, read, put if absent."""
