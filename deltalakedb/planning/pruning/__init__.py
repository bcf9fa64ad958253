"""Which files a predicate may match: by partition values, by pruning keys, by statistics."""
