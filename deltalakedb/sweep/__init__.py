"""What catalogs and logs are held against each other by each night, and what was found."""
